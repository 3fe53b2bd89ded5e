"""The Raspberry Pi's camera: the only module that imports picamera2."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import FRAME_RATE, STALL
from edge.cameras.newest import Newest
from edge.types import Frame
from models.errors import CameraError, MissingRuntimeError

WIDTH, HEIGHT = 1280, 720
CONVERSIONS = {"RGB888": None, "NV12": cv2.COLOR_YUV2BGR_NV12, "YUV420": cv2.COLOR_YUV2BGR_I420}
"""From picamera2's formats to BGR; "RGB888" is its name for bytes in the order B, G, R. A camera may grant another."""


class PiCamera:
    """A CSI camera by picamera2, 1280 x 720, at most five frames a second."""

    live = True
    name = "picamera"

    def __init__(self) -> None:
        self._newest: Newest | None = None

    @property
    def skipped(self) -> int:
        """Frames that came while the one before was still being looked at."""
        return self._newest.skipped if self._newest else 0

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the newest frames; see `edge.cameras.Camera`."""
        camera = _open()
        conversion = _conversion(camera)

        def read() -> NDArray[np.uint8]:
            # Without `wait` a camera that stopped blocks for ever.
            try:
                image = camera.capture_array("main", wait=STALL.total_seconds())
                return image if conversion is None else cv2.cvtColor(image, conversion)  # type: ignore[no-any-return]
            except (TimeoutError, RuntimeError) as error:
                raise CameraError(
                    f"picamera: expected a frame within {STALL.total_seconds():.0f} s, found {str(error) or 'none'}; "
                    "check the ribbon cable and see `edge-doctor`"
                ) from error

        self._newest = Newest(read, camera.close)
        yield from self._newest.frames(self.name, stop, FRAME_RATE)


def _open() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingRuntimeError(
            f"picamera: expected picamera2, found {error}; on a Raspberry Pi type: sudo apt install python3-picamera2, "
            "and make the environment with: python3 -m venv --system-site-packages"
        ) from error
    try:
        camera = Picamera2()
        main = {"size": (WIDTH, HEIGHT), "format": "RGB888"}
        camera.configure(camera.create_video_configuration(main=main, controls={"FrameRate": FRAME_RATE}))
        camera.start()
    except (RuntimeError, IndexError) as error:
        raise CameraError(
            f"picamera: expected a camera that is free, found {error}; check the ribbon cable, and that "
            "no other program uses it"
        ) from error
    return camera


def _conversion(camera: Any) -> int | None:
    """How to make BGR of what the camera was configured to after all; None where it is BGR."""
    granted = str(camera.camera_configuration()["main"]["format"])
    if granted not in CONVERSIONS:
        camera.close()
        raise CameraError(
            f"picamera: expected one of the formats {', '.join(CONVERSIONS)}, found {granted}; use another camera"
        )
    return CONVERSIONS[granted]
