"""A recorded clip, replayed."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2

from edge.cameras import FRAME_RATE, Pace
from edge.types import Frame
from models.errors import CameraError

log = logging.getLogger("edge-watch")

MOST_PIXELS = 100_000_000
LEAST_GAP = timedelta(seconds=0.95 / FRAME_RATE)
"""A little less than a frame's time: clips of just this rate round it now up, now down."""


class Clip:
    """A video file, oldest frame first, thinned to the rate of a live camera.

    Its time is the file's modification time, taken as the recording's start, plus the time in it.
    """

    live = False

    def __init__(self, path: Path, pace: Pace = "full") -> None:
        self.name, self.skipped = path.name, 0
        self._path, self._pace = path, pace

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield at most `FRAME_RATE` frames for each second of the recording.

        Raises:
            CameraError: no video, or not one frame in it.
        """
        # This reader only: the others guess, say so on stderr, and take "clip01.mp4" for a series of pictures.
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise CameraError(f"{self._path}: expected a video, found none that can be opened; copy it again")
            if capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) > MOST_PIXELS:
                raise CameraError(
                    f"{self._path}: expected at most 100 megapixels a frame, found more; shrink it or leave it out"
                )
            yield from self._read(capture, stop)
        finally:
            capture.release()

    def _read(self, capture: cv2.VideoCapture, stop: threading.Event) -> Iterator[Frame]:
        start = datetime.fromtimestamp(self._path.stat().st_mtime).astimezone()
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        source, last, given, index = fingerprint(self._path), timedelta(-1), timedelta(-1), -1
        while not stop.is_set() and capture.grab():
            at = timedelta(milliseconds=capture.get(cv2.CAP_PROP_POS_MSEC))
            # Some containers carry no times, or stand still: then the frame rate tells.
            last, index = at if at > last else max(last, timedelta(0)) + timedelta(seconds=1 / rate), index + 1
            if last - given < LEAST_GAP:
                continue
            read, image = capture.retrieve()
            if not read:
                break
            if self._pace == "real" and given >= timedelta(0) and stop.wait((last - given).total_seconds()):
                break
            given = last
            yield Frame(image, start + last, index, source, replay=True)  # type: ignore[arg-type]
        if stop.is_set():
            return
        if given < timedelta(0):
            raise CameraError(
                f"{self._path}: expected a video, found one without a frame that can be decoded; copy it again"
            )
        if index + 1 < 0.9 * capture.get(cv2.CAP_PROP_FRAME_COUNT):
            log.warning(
                "%s: expected %d frames, found %d: it is cut off, and what there is was looked at; copy it again",
                self._path, capture.get(cv2.CAP_PROP_FRAME_COUNT), index + 1,
            )  # fmt: skip


def fingerprint(path: Path) -> str:
    """A file's name and the first digits of its content's hash: the same wherever a copy lies."""
    with path.open("rb") as file:
        return f"{path.name}@{hashlib.sha256(file.read(1 << 20)).hexdigest()[:12]}"
