"""Crop and resize to the bit: the one function that training, calibration and the edge share."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.preprocess import infrared, is_infrared, prepare


def numbered(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: red counts columns, green rows, blue is 200."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


def test_same_size_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    assert np.array_equal(prepare(image, 5), image)


def test_halving_is_the_mean_of_four_rounded() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2, 0] = [[10, 20], [30, 41]]  # 101 / 4 = 25.25
    image[:2, 2:, 1] = [[1, 2], [2, 2]]  # 7 / 4 = 1.75
    image[2:, :2, 2] = 255
    assert prepare(image, 2).tolist() == [[[25, 0, 0], [0, 2, 0]], [[0, 0, 255], [0, 0, 0]]]


def test_enlarging_interpolates_between_pixel_centres() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 100
    # Centres at -0.25, 0.25, 0.75 and 1.25 of the source: outside the edge pixel holds.
    assert prepare(image, 4)[0, :, 0].tolist() == [0, 25, 75, 100]


def test_picture_is_stretched_to_the_square() -> None:
    image = np.zeros((2, 8, 3), np.uint8)
    image[:, 4:] = 80
    assert prepare(image, 2).tolist() == [[[0] * 3, [80] * 3]] * 2


def test_bgr_gives_the_same_as_rgb() -> None:
    image = np.random.default_rng(1).integers(0, 256, (37, 53, 3), np.uint8)
    turned = np.ascontiguousarray(image[..., ::-1])
    box = (0.1, 0.2, 0.7, 0.5)
    assert np.array_equal(prepare(image, 24, box, "RGB"), prepare(turned, 24, box, "BGR"))
    assert prepare(np.full((2, 2, 3), (1, 2, 3), np.uint8), 2, order="BGR")[0, 0].tolist() == [3, 2, 1]


@pytest.mark.parametrize(("box", "rows", "columns"), [
    ((0.0, 0.0, 1.0, 1.0), (0, 10), (0, 20)),
    ((0.25, 0.5, 0.5, 0.3), (5, 8), (5, 15)),
    ((-0.5, -0.5, 1.0, 1.0), (0, 5), (0, 10)),
    ((0.9, 0.8, 0.5, 0.5), (8, 10), (18, 20)),
    ((0.12, 0.26, 0.11, 0.11), (3, 4), (2, 5)),  # edges are rounded, not the size: 2.4..4.6 and 2.6..3.7
])
def test_box_is_cut_at_whole_pixels(
    box: tuple[float, float, float, float], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    image = numbered(10, 20)
    expected = cv2.resize(image[slice(*rows), slice(*columns)], (16, 16), interpolation=cv2.INTER_LINEAR_EXACT)
    assert np.array_equal(prepare(image, 16, box), expected)


def test_bits_of_a_known_picture() -> None:
    """The same on every machine; a change here means that every published model has to be measured again."""
    image = np.random.default_rng(7).integers(0, 256, (270, 480, 3), np.uint8)
    found = prepare(image, 224, (0.1, 0.05, 0.8, 0.9), "BGR")
    assert hashlib.sha256(found.tobytes()).hexdigest() == KNOWN


KNOWN = "573c58fba0a3d2ea229b421e13c61ad00b3613c49ddc0ae3306b807d6266e3f1"


@pytest.mark.parametrize(("image", "box"), [
    (np.zeros((4, 4, 3), np.float32), None),
    (np.zeros((4, 4), np.uint8), None),
    (np.zeros((4, 4, 4), np.uint8), None),
    (np.zeros((4, 4, 3), np.uint8), (0.5, 0.5, 0.0, 0.5)),
    (np.zeros((4, 4, 3), np.uint8), (1.1, 0.0, 0.5, 0.5)),
    (np.zeros((4, 4, 3), np.uint8), (-1.0, 0.0, 0.5, 1.0)),
])
def test_what_is_no_picture_is_refused(image: np.ndarray, box: tuple[float, float, float, float] | None) -> None:
    with pytest.raises(ValueError, match=r"expected .*, found "):
        prepare(image, 4, box)


shares = st.floats(-0.5, 1.5, allow_nan=False)
sizes = st.integers(1, 40)


@settings(max_examples=150)
@given(height=sizes, width=sizes, size=sizes, box=st.none() | st.tuples(shares, shares, shares, shares))
def test_any_box_gives_a_square_from_within_the_picture_or_is_refused(
    height: int, width: int, size: int, box: tuple[float, float, float, float] | None
) -> None:
    image = np.random.default_rng(3).integers(50, 201, (height, width, 3), np.uint8)
    left, top, wide, high = box or (0.0, 0.0, 1.0, 1.0)
    columns = min(width, round((left + wide) * width)) - max(0, round(left * width))
    rows = min(height, round((top + high) * height)) - max(0, round(top * height))
    if columns <= 0 or rows <= 0:
        with pytest.raises(ValueError, match="expected a box with pixels inside"):
            prepare(image, size, box)
        return
    found = prepare(image, size, box)
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    assert 50 <= found.min() <= found.max() <= 200


@settings(max_examples=50)
@given(height=sizes, width=sizes, size=sizes, colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_stays_that_colour(height: int, width: int, size: int, colour: tuple[int, int, int]) -> None:
    found = prepare(np.full((height, width, 3), colour, np.uint8), size)
    assert (found == np.array(colour, np.uint8)).all()


def test_infrared_is_grey_by_the_usual_weights() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    assert infrared(image).tolist() == [[[76] * 3, [150] * 3, [29] * 3, [18] * 3]]
    again = infrared(image)
    assert np.array_equal(infrared(again), again)


def test_infrared_pictures_are_recognised_even_with_a_tint() -> None:
    dice = np.random.default_rng(5)
    grey = np.repeat(dice.integers(30, 200, (90, 160, 1), np.uint8), 3, axis=2)
    assert is_infrared(grey)
    tinted = (grey.astype(np.int16) + np.array([0, 12, 20])).clip(0, 255).astype(np.uint8)
    assert is_infrared(tinted)
    colour = grey.copy()
    colour[:, :80, 0] //= 2
    assert not is_infrared(colour)
    assert not is_infrared(dice.integers(0, 256, (90, 160, 3), np.uint8))
