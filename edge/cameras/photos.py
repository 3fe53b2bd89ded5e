"""A folder of photos and clips, replayed oldest first: an archive, or the SD card of another trap."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from edge.cameras import Pace
from edge.cameras.files import CLIP_SUFFIXES, frames_of, in_order, wanted
from edge.types import Frame
from models.errors import CameraError, ImageError
from models.images import SUFFIXES

log = logging.getLogger("edge-watch")


class PhotoFolder:
    """All photos and clips below a folder by the time they were taken (EXIF, else the file's time).

    Each photo is a still: something made the camera take it. What cannot be read is named, counted in `skipped` and
    left out.
    """

    live = False

    def __init__(self, folder: Path, pace: Pace = "full") -> None:
        self.name, self.skipped = folder.name, 0
        self._folder, self._pace = folder, pace

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the photos and the frames of the clips.

        Raises:
            CameraError: nothing of the kind in the folder, or nothing that can be read.
        """
        found = [path for path in sorted(self._folder.rglob("*")) if wanted(path, self._folder)]
        if not found:
            raise CameraError(
                f"{self._folder}: expected photos or clips ({' '.join(sorted(SUFFIXES | CLIP_SUFFIXES))}), found none; "
                f"name the folder they are in"
            )
        last: datetime | None = None
        for taken, path in in_order(found):
            try:
                for frame in frames_of(path, taken, self._pace, stop):
                    # Within a clip its own adapter keeps the pace.
                    if self._pace == "real" and last and frame.index == 0 and stop.wait((taken - last).total_seconds()):
                        return
                    last = frame.timestamp
                    yield frame
            except (ImageError, CameraError) as error:
                self.skipped += 1
                log.warning("left out: %s", error)
            if stop.is_set():
                return
        if last is None:
            raise CameraError(f"{self._folder}: expected photos, found {self.skipped} files and none can be read")
