"""A camera that hangs on its side or upside down: its frames, upright."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import Camera
from edge.types import Frame

CODES = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Turned:
    """A live camera whose frames are turned clockwise by 90, 180 or 270 degrees."""

    live = True

    def __init__(self, camera: Camera, degrees: int) -> None:
        self.name, self._camera, self._code = camera.name, camera, CODES[degrees]

    @property
    def skipped(self) -> int:
        """As the camera says."""
        return self._camera.skipped

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the camera's frames; see `edge.cameras.Camera`."""
        for frame in self._camera.frames(stop):
            luma = None if frame.luma is None else self._upright(frame.luma)
            yield dataclasses.replace(frame, image=self._upright(frame.image), luma=luma)

    def _upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return cv2.rotate(picture, self._code)  # type: ignore[return-value]
