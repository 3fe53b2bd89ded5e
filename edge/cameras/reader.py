"""The child process of `edge.cameras.capture`: reads a camera, and answers each `?` with its newest picture."""

from __future__ import annotations

import os
import select
import sys

# Read by OpenCV when a stream is opened. UDP loses packets and gets through no router.
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"

import models  # noqa: F401  (how loud OpenCV is, before it is loaded)

import cv2  # isort: skip

from edge.cameras import FRAME_RATE, STALL
from edge.cameras.child import Child

WIDTH, HEIGHT = 1280, 720


def main() -> int:
    """Serve the camera named in the first line of standard input until the input ends or the camera does."""
    child = Child()
    # What libraries say of each damaged picture would fill the journal; Python's own errors still show.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    capture = _open(child.source)
    if not capture.isOpened():
        return 1
    read, asked = 0, False
    while capture.grab():
        read += 1
        if not asked and select.select([0], [], [], 0)[0]:
            if not child.asked():
                return 0
            asked = True
        if asked:
            found, image = capture.retrieve()
            if not found:
                continue
            child.answer(image, read)  # type: ignore[arg-type]
            read, asked = 0, False
    return 1


def _open(source: str) -> cv2.VideoCapture:
    if not source.isdigit():
        # Longer than the parent waits: after a time-out of its own OpenCV hands over pictures that it had kept back.
        milliseconds = round(STALL.total_seconds() * 3000)
        times = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, times)
    capture = cv2.VideoCapture(int(source), cv2.CAP_V4L2)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, WIDTH)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, HEIGHT)
    # Frames that nobody looks at cost a decoding each; a camera that cannot go so slowly ignores this.
    capture.set(cv2.CAP_PROP_FPS, FRAME_RATE)
    return capture


if __name__ == "__main__":
    sys.exit(main())
