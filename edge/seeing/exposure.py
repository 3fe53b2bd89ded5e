"""Pictures that the camera left dark are lifted before they are looked at, as a person would turn up a screen."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

DARK, LIFTED, MOST = 60.0, 120.0, 4.0
"""A picture is dark if its bright parts, the brightest twentieth, are below `DARK` of 255; they are lifted to `LIFTED`,
by a factor of at most `MOST`: more would only show noise. A night picture with a lit animal in it is not dark."""
SAMPLED = 32
"""About so many rows of pixels tell how bright a picture is."""


def lifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A (height, width, 3) uint8 picture as it is, or a lighter one where it is dark."""
    step = max(1, image.shape[0] // SAMPLED)
    bright = _percentile(image[::step, ::step, 1], 0.95)
    if bright >= DARK:
        return image
    gain = min(MOST, LIFTED / max(bright, 1.0))
    return cv2.convertScaleAbs(image, alpha=gain)  # type: ignore[return-value]


def _percentile(values: NDArray[np.uint8], share: float) -> float:
    """As np.percentile has it, but without what that costs beside the sorting of so few values."""
    ordered = np.sort(values, axis=None)
    place = share * (ordered.size - 1)
    low = int(place)
    high = min(low + 1, ordered.size - 1)
    return float(ordered[low]) + (float(ordered[high]) - float(ordered[low])) * (place - low)
