"""The photos and clips of a folder: which there are, when each was taken, and its frames."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from edge.cameras import Pace
from edge.cameras.clip import Clip, fingerprint
from edge.cameras.oddities import read_photo
from edge.recording import exif
from edge.types import Frame
from models.errors import ImageError
from models.images import SUFFIXES

CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp", ".mjpeg"})
_TAIL = 1 << 16


def wanted(path: Path, folder: Path) -> bool:
    """Whether a path names a photo or clip; hidden ones are somebody's unfinished work."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in SUFFIXES | CLIP_SUFFIXES and path.is_file()


def in_order(paths: Iterable[Path]) -> list[tuple[datetime, Path]]:
    """Files with the time at which each was taken, oldest first; one that has just gone is left out."""
    timed = []
    for path in paths:
        try:
            timed.append((time_taken(path), path))
        except FileNotFoundError:
            continue
    return sorted(timed)


def time_taken(path: Path) -> datetime:
    """When a photo was taken, timezone-aware: its EXIF time (local time where EXIF has no offset), else the file's."""
    taken = None
    if path.suffix.lower() in SUFFIXES:
        try:
            with path.open("rb") as file:
                taken = exif.read(file.read(_TAIL)).taken
        except ImageError:  # no JPEG, so no EXIF
            taken = None
        except PermissionError:  # it is named when its picture is read
            taken = None
    return (taken or datetime.fromtimestamp(path.stat().st_mtime)).astimezone()


def frames_of(path: Path, taken: datetime, pace: Pace, stop: threading.Event) -> Iterator[Frame]:
    """The one still of a photo, or the frames of a clip.

    Raises:
        ImageError: a photo that cannot be read.
        CameraError: a clip without a frame that can be read.
    """
    if path.suffix.lower() in SUFFIXES:
        yield Frame(read_photo(path), taken, 0, fingerprint(path), replay=True, still=True)
    else:
        yield from Clip(path, pace).frames(stop)


def complete(path: Path) -> bool:
    """Whether a file has its end; True for kinds that do not tell."""
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        if head[:3] == b"\xff\xd8\xff" or head[:4] == b"\x89PNG":
            file.seek(max(0, size - _TAIL))
            return (b"\xff\xd9" if head[0] == 0xFF else b"IEND") in file.read()
        if head[:4] == b"RIFF":
            return int.from_bytes(head[4:8], "little") + 8 <= size
        if head[4:8] != b"ftyp":
            return size > 0
        at, index = 0, False  # The boxes of an MP4 or MOV: the index may be the last of them.
        while at + 8 <= size:
            file.seek(at)
            box = file.read(16)
            length = int.from_bytes(box[:4], "big")
            if length == 1:
                length = int.from_bytes(box[8:16], "big")
            index = index or box[4:8] == b"moov"
            at += length if length >= 8 else size
        return index and at == size
