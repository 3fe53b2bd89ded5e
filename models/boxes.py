"""Boxes around animals, and the square around such a box that a network sees: one rule for training and the edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.images import decode_image
from models.preprocess import cut, prepare

Box = tuple[float, float, float, float]
"""Left, top, width, height as shares 0-1 of an upright picture; (0, 0) is top-left."""

MARGIN = 0.2
"""Of a box's longer side, added on each side: the wider of the two with which the edge looks at a place."""
LEAST_PIXELS = 96
"""A smaller crop shows the network little but blur."""
ROUNDING = 0.01
"""Share of a picture by which a box may reach over its edge: detectors round, and people draw by hand."""


def square(box: Box, margin: float, width: int, height: int) -> Box:
    """A box around a box that is square in pixels and inside a picture of width x height pixels.

    It is moved, not cut, at the picture's edge; where it is larger than the picture it ends with the picture.
    """
    left, top, across, down = box
    side = max(max(across * width, down * height) * (1 + 2 * margin), LEAST_PIXELS)
    x, y = left + across / 2, top + down / 2
    across, down = min(side / width, 1.0), min(side / height, 1.0)
    return min(max(x - across / 2, 0.0), 1 - across), min(max(y - down / 2, 0.0), 1 - down), across, down


def seen(content: bytes, name: str, size: int, box: Box | None) -> NDArray[np.uint8]:
    """What the network sees of a photo: all of it, or the square around an animal's box.

    Args:
        content: of the photo's file.
        name: what messages call it.
        size: pixels a side.
        box: the animal's, or None for the whole photo.

    Returns:
        (size, size, 3) uint8, RGB.

    Raises:
        ImageError: it is no picture that can be read.
    """
    if box is None:
        return prepare(decode_image(content, name, at_least=size), size, order="BGR")
    # At its full size, as the edge cuts its frames.
    return prepare(cut_out(decode_image(content, name), box), size, order="BGR")


def cut_out(image: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
    """The square around an animal's box in a (height, width, 3) picture; all of it where there is no box."""
    if box is None:
        return image
    height, width = image.shape[:2]
    return cut(image, square(box, MARGIN, width, height))


def within(box: Sequence[object]) -> Box | None:
    """Four values as a box, cut at the picture's edge and to six digits; None if they are no box inside a picture."""
    if len(box) != 4 or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in box):
        return None
    left, top, width, height = (float(value) for value in box)  # type: ignore[arg-type]
    if not (all(map(math.isfinite, (left, top, width, height))) and width > 0 and height > 0):
        return None
    right, bottom = left + width, top + height
    if min(left, top) < -ROUNDING or max(right, bottom) > 1 + ROUNDING:
        return None
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in (left, top, right, bottom))
    found = (round(left, 6), round(top, 6), round(right - left, 6), round(bottom - top, 6))
    return found if min(found[2:]) > 0 else None


def as_text(box: Box | None) -> str:
    """A box as it stands in `split.csv`: `0.1 0.25 0.5 0.4`; empty for none."""
    return " ".join(f"{value:.6g}" for value in box) if box else ""


def from_text(text: str) -> Box | None:
    """The box in a cell of `split.csv`; None for an empty cell.

    Raises:
        ValueError: it is neither empty nor a box inside a picture.
    """
    if not text:
        return None
    try:
        found = within([float(word) for word in text.split()])
    except ValueError:
        found = None
    if found is None:
        raise ValueError(
            f"expected a box as 0.1 0.25 0.5 0.4 (left, top, width and height as shares of the picture), found {text}"
        )
    return found
