"""A folder of photos, replayed oldest first: an archive, or the SD card of another trap."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from edge import exif
from edge.cameras import Pace
from edge.cameras.clip import fingerprint
from edge.types import Frame
from models.errors import CameraError, ImageError
from models.images import SUFFIXES, read_image

log = logging.getLogger("edge-watch")


class PhotoFolder:
    """All photos below a folder by the time they were taken (EXIF, else the file's time).

    Each is a still: something made the camera take it. A photo that cannot be read is named, counted in `skipped` and
    left out.
    """

    live = False

    def __init__(self, folder: Path, pace: Pace = "full") -> None:
        self.name, self.skipped = folder.name, 0
        self._folder, self._pace = folder, pace

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the photos.

        Raises:
            CameraError: no photo in the folder, or none that can be read.
        """
        found = [path for path in sorted(self._folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not found:
            raise CameraError(
                f"{self._folder}: expected photos ({' '.join(sorted(SUFFIXES))}), found none; "
                f"name the folder they are in"
            )
        last: datetime | None = None
        for time, path in sorted((photo_time(path), path) for path in found):
            if stop.is_set():
                return
            try:
                image = read_image(path)
            except ImageError as error:
                self.skipped += 1
                log.warning("left out: %s", error)
                continue
            if self._pace == "real" and last and stop.wait((time - last).total_seconds()):
                return
            last = time
            yield Frame(image, time, 0, fingerprint(path), replay=True, still=True)
        if last is None:
            raise CameraError(f"{self._folder}: expected photos, found {self.skipped} files and none can be read")


def photo_time(path: Path) -> datetime:
    """When a photo was taken, timezone-aware: its EXIF time (local time where EXIF has no offset), else the file's."""
    try:
        with path.open("rb") as file:
            taken = exif.read(file.read(1 << 16)).taken
    except (ImageError, OSError):  # no JPEG, so no EXIF; what cannot be read is named when its picture is read
        taken = None
    return (taken or datetime.fromtimestamp(path.stat().st_mtime)).astimezone()
