"""A USB camera (V4L2), read by OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import FRAME_RATE
from edge.cameras.newest import Newest
from edge.types import Frame
from models.errors import CameraError

WIDTH, HEIGHT = 1280, 720


class UsbCamera:
    """`/dev/videoN`, at most 1280 x 720 and five frames a second."""

    live = True

    def __init__(self, number: int) -> None:
        self.name, self._number = f"usb:{number}", number
        self._newest: Newest | None = None

    @property
    def skipped(self) -> int:
        """Frames that came while the one before was still being looked at."""
        return self._newest.skipped if self._newest else 0

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the newest frames; see `edge.cameras.Camera`."""
        capture = cv2.VideoCapture(self._number, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                f"{self.name}: expected a camera at /dev/video{self._number}, found none that opens; plug "
                "it in, or choose another --source (`ls /dev/video*` lists them)"
            )
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, WIDTH)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, HEIGHT)
        # Frames that nobody looks at cost a decoding each; a camera that cannot go so slowly ignores this.
        capture.set(cv2.CAP_PROP_FPS, FRAME_RATE)

        def read() -> NDArray[np.uint8]:
            read, image = capture.read()
            if not read:
                raise CameraError(f"{self.name}: expected a frame, found the camera gone; plug it in again")
            return image  # type: ignore[return-value]

        self._newest = Newest(read, capture.release)
        yield from self._newest.frames(self.name, stop, FRAME_RATE)
