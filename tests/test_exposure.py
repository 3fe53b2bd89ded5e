"""Dark pictures are lifted before they are looked at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.seeing.exposure import lifted


def scene(dark: int, bright: int, share: float = 0.1) -> np.ndarray:
    """A (120, 200, 3) picture with a bright part below."""
    image = np.full((120, 200, 3), dark, np.uint8)
    image[round(120 * (1 - share)) :] = bright
    return image


@pytest.mark.parametrize(
    ("dark", "bright", "expected"),
    [(5, 40, (15, 120)), (5, 12, (20, 48)), (0, 0, (0, 0)), (20, 60, (20, 60)), (3, 200, (3, 200))],
    ids=["three times", "four times at most", "black stays black", "not dark", "a lit animal at night"],
)
def test_bright_parts_of_a_dark_picture_are_lifted(dark: int, bright: int, expected: tuple[int, int]) -> None:
    found = lifted(scene(dark, bright))
    assert (found[0, 0, 0], found[-1, 0, 0]) == expected
    assert (found.dtype, found.shape) == (np.uint8, (120, 200, 3))


def test_picture_that_is_not_dark_is_not_even_copied() -> None:
    image = scene(20, 90)
    assert lifted(image) is image


@pytest.mark.parametrize("most", [4, 20, 45, 59])
def test_factor_is_that_of_the_brightest_twentieth(most: int) -> None:
    dark = np.random.default_rng(most).integers(0, most, (45, 80, 3), np.uint8)
    factor = min(4.0, 120 / max(1.0, float(np.percentile(dark[..., 1], 95))))
    np.testing.assert_array_equal(lifted(dark), cv2.convertScaleAbs(dark, alpha=factor))
