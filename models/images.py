"""Reading a picture from a file, safely: one function for training, archives and folders."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MAX_BYTES = 64_000_000
"""A larger file is no photo of a trap or a phone; it is refused before it is read."""


def read_image(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """Read a picture, turned upright by its EXIF orientation.

    Args:
        path: JPEG, PNG, WebP, BMP or TIFF.
        at_least: the picture will only be shrunk to this many pixels a side, so a JPEG may be decoded at 1/2, 1/4 or
            1/8 of its size as long as its shorter side stays at least that long (several times faster).

    Returns:
        (height, width, 3) uint8, BGR.

    Raises:
        ImageError: unreadable, empty, too large (refused before decoding) or no picture.
    """
    return decode_image(read_file(path), str(path), at_least)


def read_file(path: Path) -> bytes:
    """The content of a picture's file.

    Raises:
        ImageError: it does not exist, cannot be read, is too large, or is no file: a pipe would be waited for
            without end.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise ImageError(f"{path}: expected a picture, found a pipe or a device; leave it out")
        if found.st_size > MAX_BYTES:
            raise ImageError(
                f"{path}: expected a picture of at most {MAX_BYTES // 1_000_000} MB, found "
                f"{found.st_size // 1_000_000} MB; shrink it or leave it out"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: does not exist; correct the path, or the table that names it") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from error


def decode_image(data: bytes, name: str, at_least: int | None = None) -> NDArray[np.uint8]:
    """Decode a picture held in memory; arguments, result and errors as for `read_image`."""
    if not data:
        raise ImageError(f"{name}: expected a picture, found an empty file; copy it again or delete it")
    damaged = ImageError(
        f"{name}: expected a picture, found data that is none or is damaged; copy it again or delete it"
    )
    if data.startswith(b"\x89PNG") and b"IEND" not in data:  # It is cut off; libpng would say so on stderr itself.
        raise damaged
    flags = cv2.IMREAD_COLOR
    if at_least is not None:
        flags = _reduced_flags(data, at_least)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error) or "pixels" in str(error):
            raise ImageError(
                f"{name}: expected at most 100 megapixels, found more; shrink it or leave it out"
            ) from error
        raise ImageError(f"{name}: expected a picture, found damaged data; copy it again or delete it") from error
    if image is None:
        raise damaged
    return image  # type: ignore[return-value]


def _reduced_flags(data: bytes, at_least: int) -> int:
    size = jpeg_size(data)
    if size is None:
        return cv2.IMREAD_COLOR
    for factor, flag in (
        (8, cv2.IMREAD_REDUCED_COLOR_8),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
    ):
        if min(size) // factor >= at_least:
            return flag
    return cv2.IMREAD_COLOR


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) as a JPEG's frame header states them, or None if there is no such header."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
