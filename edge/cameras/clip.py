"""A recorded clip, replayed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2

from edge.cameras import Pace
from edge.types import Frame
from models.errors import CameraError


class Clip:
    """A video file, oldest frame first; its time is the file's modification time plus the time in it."""

    live = False

    def __init__(self, path: Path, pace: Pace = "full") -> None:
        self.name, self.skipped = path.name, 0
        self._path, self._pace = path, pace

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield every frame that can be decoded.

        Raises:
            CameraError: no video, or not one frame in it.
        """
        capture = cv2.VideoCapture(str(self._path))
        try:
            if not capture.isOpened():
                raise CameraError(f"{self._path}: expected a video, found none that can be opened; copy it again")
            yield from self._read(capture, stop)
        finally:
            capture.release()

    def _read(self, capture: cv2.VideoCapture, stop: threading.Event) -> Iterator[Frame]:
        start = datetime.fromtimestamp(self._path.stat().st_mtime).astimezone()
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        source, last, index = fingerprint(self._path), timedelta(-1), 0
        while not stop.is_set():
            read, image = capture.read()
            if not read:
                break
            at = timedelta(milliseconds=capture.get(cv2.CAP_PROP_POS_MSEC))
            # Some containers carry no times, or stand still: then the frame rate tells.
            at = at if at > last else max(last, timedelta(0)) + timedelta(seconds=1 / rate)
            if self._pace == "real" and index and stop.wait((at - last).total_seconds()):
                break
            yield Frame(image, start + at, index, source, replay=True)  # type: ignore[arg-type]
            last, index = at, index + 1
        if not index and not stop.is_set():
            raise CameraError(
                f"{self._path}: expected a video, found one without a frame that can be decoded; copy it again"
            )


def fingerprint(path: Path) -> str:
    """A file's name and the first digits of its content's hash: the same wherever a copy lies."""
    with path.open("rb") as file:
        return f"{path.name}@{hashlib.sha256(file.read(1 << 20)).hexdigest()[:12]}"
