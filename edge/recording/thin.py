"""Pictures made small enough: for a thin link, or for a broker that takes no larger ones."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recording import exif
from edge.types import BBox
from models.errors import ImageError

CROP_BYTES = 10_000
"""Most of a picture that is sent over a thin link before anybody asks, metadata and all."""
_MARGIN = 0.15
_WIDEST = 480
_STEPS = ((1.0, 70), (1.0, 50), (0.8, 60), (0.8, 40), (0.6, 50), (0.5, 40), (0.4, 40), (0.3, 40), (0.2, 40), (0.1, 30))
"""Tried in turn: the share of width and height that is left, and JPEG's quality."""


def cropped(jpeg: bytes, box: BBox, most_bytes: int) -> bytes | None:
    """The animal, with a margin around its box, in at most so many bytes; None if it cannot be that small.

    Raises:
        ImageError: `jpeg` cannot be decoded.
    """
    image = _decoded(jpeg)
    height, width = image.shape[:2]
    beside, above = box.width * _MARGIN, box.height * _MARGIN
    left, right = round(width * max(0.0, box.x - beside)), round(width * min(1.0, box.x + box.width + beside))
    top, bottom = round(height * max(0.0, box.y - above)), round(height * min(1.0, box.y + box.height + above))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return _first_within(_smaller(part, _WIDEST), most_bytes)


def fitted(jpeg: bytes, most_bytes: int) -> bytes | None:
    """The same picture with the same metadata in at most so many bytes; None if it cannot be that small.

    Raises:
        ImageError: `jpeg` cannot be decoded.
    """
    if len(jpeg) <= most_bytes:
        return jpeg
    metadata = exif.segments(jpeg)
    small = _first_within(_smaller(_decoded(jpeg)), most_bytes - len(metadata))
    return None if small is None else small[:2] + metadata + small[2:]


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"expected a JPEG picture, found {len(jpeg)} bytes that cannot be decoded")
    return image  # type: ignore[return-value]


def _smaller(image: NDArray[np.uint8], widest: int | None = None) -> Iterator[bytes]:
    """JPEGs of a picture, each smaller than the one before."""
    height, width = image.shape[:2]
    begin = min(1.0, widest / max(height, width)) if widest else 1.0
    for share, quality in _STEPS:
        size = max(1, round(width * begin * share)), max(1, round(height * begin * share))
        scaled = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        yield cv2.imencode(".jpg", scaled, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def _first_within(jpegs: Iterator[bytes], most_bytes: int) -> bytes | None:
    return next((jpeg for jpeg in jpegs if len(jpeg) <= most_bytes), None)
