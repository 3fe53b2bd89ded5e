"""The contract between training, conversion and the edge: what a model bundle is, and how to run one."""

import os

__version__ = "0.1.0"

# OpenCV reads this once, when it is loaded: a 2.6 MB PNG of 30000 x 30000 px would take 5 GB to decode.
# Every package here imports `models` before cv2, so the limit holds everywhere.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
