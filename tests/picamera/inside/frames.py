"""frames.py N [DEGREES]: keep N frames of the daemon's own camera in /work/frames.npz."""

import sys
import threading

import numpy as np

from edge.cameras import open_camera

stop, images, lumas = threading.Event(), [], []
for frame in open_camera("picamera", rotate=int((sys.argv[2:] or ["0"])[0])).frames(stop):
    images.append(frame.image)
    lumas.append(np.zeros((0, 0), np.uint8) if frame.luma is None else frame.luma)
    if len(images) == int(sys.argv[1]):
        stop.set()
np.savez("/work/frames.npz", images=images, lumas=lumas)
