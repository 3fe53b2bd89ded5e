"""The contract between training, conversion and the edge: what a model bundle is, and how to run one."""

import os

__version__ = "0.1.0"

# OpenCV reads these once, when it is loaded, and every package here imports `models` before cv2.
# A 2.6 MB PNG of 30000 x 30000 px would take 5 GB to decode:
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
# What OpenCV and FFmpeg say of a camera that is not there or a damaged file, the commands say in one line of their own:
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
