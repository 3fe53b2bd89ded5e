"""What is odd about a photo or clip that can be read all the same, for one line of the log."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.images import decode_image, read_file

log = logging.getLogger("edge-watch")

_PICTURES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "WebP": (".webp",), "BMP": (".bmp",)}
_SUFFIXES = {
    **_PICTURES,
    "TIFF": (".tif", ".tiff"),
    "MP4": (".mp4", ".mov", ".m4v", ".3gp"),
    "AVI": (".avi",),
    "Matroska": (".mkv", ".webm"),
}
_WARNINGS = ("Corrupt JPEG data", "Premature end of JPEG file", "Invalid SOS parameters")
_HARMLESS_BYTES = 64
"""So many bytes too many are what some cameras' firmware leaves behind each picture."""
_SMALL_SHARE = 0.1


def tell(path: Path, found: list[str]) -> None:
    """Say in one line what is odd about a file; nothing where nothing is."""
    if found:
        log.warning("%s: %s", path, "; ".join(found))


def read_photo(path: Path) -> NDArray[np.uint8]:
    """`models.images.read_image`, which also says what is odd about the file."""
    data = read_file(path)
    with heard() as said:
        image = decode_image(data, str(path))
    found = [*misnamed(path, data[:12])]
    if data[:4] == b"\x89PNG" and data[24] > 8:
        found.append(f"found {data[24]} bits a color: the upper 8 were looked at")
    if any(map(_is_damage, said)):
        found.append("expected a whole picture, found damage within: what can be read was looked at; copy it again")
    tell(path, found)
    return image


def clip_oddities(path: Path, capture: cv2.VideoCapture, times: Times) -> list[str]:
    """What is odd about a clip that was read to its end."""
    with path.open("rb") as file:
        head = file.read(12)
    found, kind = misnamed(path, head), kind_of(head)
    if kind in _PICTURES and times.frames == 1:
        return found
    bits = _bits(int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)))
    if bits > 8:
        found.append(f"found {bits} bits a color: the upper 8 were looked at")
    turn = capture.get(cv2.CAP_PROP_ORIENTATION_META)
    if turn % 360:
        found.append(f"found a picture that lies on its side or head: it was turned upright, by {turn:.0f} degrees")
    return found + times.oddities(capture.get(cv2.CAP_PROP_FRAME_COUNT), kind)


def misnamed(path: Path, head: bytes) -> list[str]:
    """Whether a file's first bytes are of another kind than its name says."""
    kind = kind_of(head)
    if kind is None or path.suffix.lower() in (*_SUFFIXES[kind], ".mjpeg" if kind == "JPEG" else ""):
        return []
    return [f"expected what {path.suffix} says, found {kind}: it was read as that"]


def kind_of(head: bytes) -> str | None:
    """The kind of file that begins with these 12 bytes; None for one that cannot be told."""
    riff = {b"WEBP": "WebP", b"AVI ": "AVI"}.get(head[8:12]) if head[:4] == b"RIFF" else None
    starts = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"BM": "BMP", b"\x1a\x45\xdf\xa3": "Matroska"}
    starts |= {b"II*\x00": "TIFF", b"MM\x00*": "TIFF"}
    if head[4:8] == b"ftyp":
        return "MP4"
    return riff or next((kind for start, kind in starts.items() if head.startswith(start)), None)


class Times:
    """The times of a clip's frames, in memory that does not grow with it.

    Attributes:
        frames: how many were read.
        last: the time of the last one; negative before the first.
    """

    def __init__(self, rate: float) -> None:
        self.frames, self.last = 0, timedelta(-1)
        self._rate, self._made_up, self._gaps = rate, 0, Counter[int]()

    def add(self, at: timedelta) -> timedelta:
        """The time of the next frame, for which the file says `at`: some carry no times, or they stand still."""
        time = at if at > self.last else max(self.last, timedelta(0)) + timedelta(seconds=1 / self._rate)
        self._made_up += time != at
        if self.frames:
            self._gaps[round((time - self.last) / timedelta(milliseconds=1))] += 1
        self.frames, self.last = self.frames + 1, time
        return time

    def oddities(self, expected: float, kind: str | None) -> list[str]:
        """What is odd about them.

        Args:
            expected: how many frames the file says that it has; 0 or less where it does not.
            kind: of the file, as `kind_of` says.
        """
        lost = max(0.0, expected - self.frames)
        # A frame left out here and there is what a slow camera writes; damage leaves holes.
        in_holes = sum(n * (gap * self._rate / 1000 - 1) for gap, n in self._gaps.items() if gap * self._rate > 3500)
        end = (self.last.total_seconds() * self._rate + 1) >= (1 - _SMALL_SHARE) * expected
        if lost > _SMALL_SHARE * expected and not end:
            return [_lost(expected, self.frames, "is cut off, and what there is")]
        if lost > 2 and in_holes > lost / 2:
            return [_lost(expected, self.frames, "is damaged within, and what can be read")]
        if self.frames == 1:
            return ["found a clip of one frame: it was looked at"]
        if self._made_up or kind == "JPEG":
            return [f"found no times of its frames: {self._rate:g} a second were assumed"]
        # An AVI has one rate, and leaves out frames.
        return [] if kind == "AVI" else self._varying()

    def _varying(self) -> list[str]:
        middle, usual = 0, 0
        for gap, count in sorted(self._gaps.items()):
            middle += count
            if 2 * middle >= self._gaps.total():
                usual = gap
                break
        unusual = sum(count for gap, count in self._gaps.items() if not usual / 1.5 < gap < 1.5 * usual)
        if unusual <= _SMALL_SHARE * self._gaps.total():
            return []
        low, high = min(self._gaps) / 1000, max(self._gaps) / 1000
        return [f"found a frame rate that varies, {low:g} to {high:g} s a frame: the times in the file were kept"]


def _lost(expected: float, found: int, what: str) -> str:
    return f"expected {expected:.0f} frames, found {found}: it {what} was looked at; copy it again"


def _bits(pixel_format: int) -> int:
    """The bits of a color of FFmpeg's raw picture formats: the last of four letters, where it is no letter."""
    letters = pixel_format & 0xFFFFFFFF
    bits = [letter for letter in (letters >> 24, letters & 0xFF) if 8 < letter <= 16]
    return bits[0] if pixel_format > 0 and bits else 8


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """What libjpeg writes to stderr, past Python: only so does it tell of damage in a picture that it gives.

    What others write there meanwhile is passed on afterwards. Not for two threads at once.
    """
    said: list[str] = []
    # In memory: a card is not written to while nothing moves.
    with open(os.memfd_create("heard"), "w+b") as file, contextlib.ExitStack() as closing:
        before = os.dup(2)
        closing.callback(os.close, before)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(before, 2)
            file.seek(0)
            lines = file.read().decode(errors="replace").splitlines(keepends=True)
            said += [line for line in lines if line.startswith(_WARNINGS)]
            os.write(2, "".join(line for line in lines if not line.startswith(_WARNINGS)).encode())


def _is_damage(line: str) -> bool:
    more = re.search(r"(\d+) extraneous bytes", line)
    return more is None or int(more[1]) > _HARMLESS_BYTES
