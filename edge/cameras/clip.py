"""A recorded clip, replayed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2

from edge.cameras import FRAME_RATE, Pace
from edge.cameras.oddities import Times, clip_oddities, tell
from edge.types import Frame
from models.errors import CameraError

MOST_PIXELS = 100_000_000
MOST_DAMAGED = 10_000
"""A damaged header may promise any number of frames; after so many damaged ones no other is looked for."""
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
        times = Times(capture.get(cv2.CAP_PROP_FPS) or 25.0)
        source, given = fingerprint(self._path), timedelta(-1)
        while _grab(capture, times.frames, stop):
            at = times.add(timedelta(milliseconds=capture.get(cv2.CAP_PROP_POS_MSEC)))
            if at - given < LEAST_GAP:
                continue
            read, image = capture.retrieve()
            if not read:
                continue
            if self._pace == "real" and given >= timedelta(0) and stop.wait((at - given).total_seconds()):
                return
            given = at
            yield Frame(image, start + at, times.frames - 1, source, replay=True)  # type: ignore[arg-type]
        if stop.is_set():
            return
        if given < timedelta(0):
            raise CameraError(
                f"{self._path}: expected a video, found one without a frame that can be decoded; copy it again"
            )
        tell(self._path, clip_oddities(self._path, capture, times))


def _grab(capture: cv2.VideoCapture, before: int, stop: threading.Event) -> bool:
    """Go to the next frame that is whole; False at the end.

    OpenCV says of a damaged one the same as at the end, and goes on when it is asked again.
    """
    left = min(max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - before), MOST_DAMAGED)
    return any(capture.grab() for _ in range(left) if not stop.is_set())


def fingerprint(path: Path) -> str:
    """A file's name and the first digits of its content's hash: the same wherever a copy lies."""
    with path.open("rb") as file:
        return f"{path.name}@{hashlib.sha256(file.read(1 << 20)).hexdigest()[:12]}"
