"""From a picture to what the network sees: one function for training, calibration, verification and the edge."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

GREY_CHROMA = 6.0
"""Mean difference between colour channels (of 255) below which a picture is infrared-grey."""


def prepare(
    image: NDArray[np.uint8],
    size: int,
    box: tuple[float, float, float, float] | None = None,
    order: Literal["RGB", "BGR"] = "RGB",
) -> NDArray[np.uint8]:
    """Cut out a box and stretch it to the network's input.

    INTER_LINEAR_EXACT gives the same bits on x86 and arm64, INTER_LINEAR and INTER_AREA do not; the colour order is
    changed after the resize, when there is little left to change.

    Args:
        image: (height, width, 3) uint8.
        size: pixels a side of the result.
        box: left, top, width, height as shares 0-1 of the picture; the part outside the picture is cut off.
        order: colour order of `image`; OpenCV reads BGR.

    Returns:
        (size, size, 3) uint8, RGB.

    Raises:
        ValueError: another dtype or shape, or a box of no pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (height, width, 3) uint8 image, found {image.shape} {image.dtype}")
    if box is not None:
        image = cut(image, box)
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    return cv2.cvtColor(resized, cv2.COLOR_BGR2RGB) if order == "BGR" else resized  # type: ignore[return-value]


def cut(image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """The part of a picture in a box, without a copy; arguments and errors as for `prepare`."""
    height, width = image.shape[:2]
    left, top = max(0, round(box[0] * width)), max(0, round(box[1] * height))
    right, bottom = min(width, round((box[0] + box[2]) * width)), min(height, round((box[1] + box[3]) * height))
    if right <= left or bottom <= top:
        raise ValueError(f"expected a box with pixels inside a {width} x {height} image, found {box}")
    return image[top:bottom, left:right]


def infrared(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as an infrared camera shows it: grey. (height, width, 3) uint8 RGB in and out."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]


def is_infrared(image: NDArray[np.uint8]) -> bool:
    """Whether a picture, (height, width, 3) uint8 in any colour order, is infrared-grey (a slight tint is forgiven)."""
    small = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)]
    # A tint is the same everywhere: take it off before looking for colour. Channels apart, as a camera asks often.
    first, green, third = (np.ascontiguousarray(small[..., channel], np.int16) for channel in range(3))
    first, green, third = (channel - np.int16(channel.mean()) for channel in (first, green, third))
    chroma = np.abs(first - green) + np.abs(third - green)
    return float(chroma.mean()) / 2 < GREY_CHROMA
