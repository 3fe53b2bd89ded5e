"""Training pictures as a trap might have taken them: each layer does its one thing, and the seed alone decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

import tensorflow as tf

from models.preprocess import infrared
from train.augment import Brightness, Colour, Contrast, Flip, Gamma, Place, augment
from train.recipe import NO_AUGMENTATION, Augmentation
from train.trap import Coarse, Infrared, Jpeg, LowLight, MotionBlur, Noise, Occlusion

SIZE = 48
EVERYTHING = Augmentation(strong=1.0, flip=1.0, infrared=1.0, low_light=1.0, noise=1.0, motion_blur=1.0, occlusion=1.0,
                          jpeg=1.0, coarse=1.0)
SEEDS = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
Picture = NDArray[np.uint8]


def drawn(number: int) -> Picture:
    """A picture with soft colours and some grain."""
    die = np.random.default_rng(number)
    spots = np.kron(die.integers(30, 220, (6, 6, 3)), np.ones((SIZE // 6, SIZE // 6, 1)))
    return np.clip(spots + die.normal(0, 8, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


PICTURE, BACKGROUND = drawn(1), drawn(2)


def seed(number: int) -> Any:
    return tf.constant([number, 7], tf.int64)


def floats(picture: Picture) -> Any:
    return tf.constant(picture, tf.float32)


def augmented(number: int, options: Augmentation) -> NDArray[np.float32]:
    image = augment(tf.constant(PICTURE), tf.constant(BACKGROUND), seed(number), options)
    return image.numpy()  # type: ignore[no-any-return]


@given(SEEDS)
@settings(max_examples=20)
def test_with_everything_off_the_picture_is_unchanged(pair: tuple[int, int]) -> None:
    for options in (NO_AUGMENTATION, replace(NO_AUGMENTATION, strong=1.0)):
        image = augment(tf.constant(PICTURE), tf.constant(BACKGROUND), tf.constant(pair, tf.int64), options)
        assert image.dtype == tf.float32
        np.testing.assert_array_equal(image, PICTURE.astype(np.float32))


@pytest.mark.parametrize("options", [Augmentation(), EVERYTHING], ids=["default", "everything"])
def test_shape_type_and_range_are_those_of_a_picture(options: Augmentation) -> None:
    run = tf.function(lambda pair: augment(tf.constant(PICTURE), tf.constant(BACKGROUND), pair, options))

    @given(SEEDS)
    @settings(max_examples=60)
    def check(pair: tuple[int, int]) -> None:
        image = run(tf.constant(pair, tf.int64)).numpy()
        assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.float32)
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 255

    check()


def test_the_seed_alone_decides_whatever_the_order_and_the_threads() -> None:
    def pictures(pairs: NDArray[np.int64], threads: int) -> list[NDArray[np.float32]]:
        rows = tf.data.Dataset.from_tensor_slices(pairs).map(
            lambda pair: augment(tf.constant(PICTURE), tf.constant(BACKGROUND), pair, Augmentation()),
            num_parallel_calls=threads, deterministic=True)
        return [image.numpy() for image in rows]

    pairs = np.stack([np.arange(24), np.full(24, 7)], axis=1)
    once, again = pictures(pairs, 1), pictures(pairs[::-1], 4)[::-1]
    np.testing.assert_array_equal(once, again)
    assert len({image.tobytes() for image in once}) == len(once)


@pytest.mark.parametrize("name", [entry.name for entry in fields(Augmentation) if entry.name != "strong"])
def test_every_setting_does_something(name: str) -> None:
    options = replace(NO_AUGMENTATION, strong=1.0, **{name: getattr(EVERYTHING, name)})
    assert any((augmented(number, options) != PICTURE).any() for number in range(3))


def test_pictures_that_are_not_strong_vary_by_a_third_of_it() -> None:
    def most(strong: float) -> float:
        options = replace(NO_AUGMENTATION, strong=strong, brightness=0.2)
        return float(max(abs(augmented(number, options).mean() / PICTURE.mean() - 1) for number in range(40)))

    assert most(0.0) < 0.3 * 0.2 + 0.001 < 0.15 < most(1.0) < 0.2 + 0.001


SOMETIMES: dict[str, Callable[[float], Callable[..., Any]]] = {
    "flip": Flip,
    "motion_blur": MotionBlur,
    "occlusion": lambda share: lambda image, pair: Occlusion(share)(image, pair, floats(BACKGROUND)),
    "infrared": Infrared,
    "coarse": lambda share: lambda image, pair: Coarse(share)(image, pair, tf.constant(1.0)),
    "low_light": LowLight,
    "noise": Noise,
    "jpeg": Jpeg,
}


@pytest.mark.parametrize("name", SOMETIMES)
@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.25, 70, 130), (1.0, 400, 400)])
def test_a_share_of_the_pictures_is_changed(name: str, share: float, low: int, high: int) -> None:
    # 400 draws of 0.25 have a deviation of 8.7; the bounds are 3.5 of it away.
    layer, image = SOMETIMES[name](share), floats(PICTURE)
    changed = tf.data.Dataset.range(400).map(
        lambda number: tf.reduce_any(layer(image, tf.stack([number, tf.constant(7, tf.int64)])) != image))
    assert low <= sum(bool(flag) for flag in changed) <= high


def test_flip_mirrors_exactly() -> None:
    np.testing.assert_array_equal(Flip(1.0)(floats(PICTURE), seed(1)), PICTURE[:, ::-1].astype(np.float32))


def test_infrared_is_the_grey_that_the_edge_sees() -> None:
    image = Infrared(1.0, falloff=0.0)(floats(PICTURE), seed(1)).numpy()
    assert np.abs(image - infrared(PICTURE)).max() <= 1
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 1] == image[..., 2]).all()


def test_infrared_lamp_leaves_the_corners_dark_in_half_of_the_pictures() -> None:
    grey = tf.fill((SIZE, SIZE, 3), 200.0)
    corners, middles = zip(*((image[0, 0, 0], image[SIZE // 2, SIZE // 2, 0]) for image in (
        Infrared(1.0)(grey, seed(number)).numpy() for number in range(100))), strict=True)
    assert min(middles) > 199
    assert min(corners) >= 200 * 0.3
    assert 35 <= sum(corner < 199 for corner in corners) <= 65


def test_low_light_is_darker_noisy_and_half_of_it_lifted_again() -> None:
    flat = tf.fill((SIZE, SIZE, 3), 120.0)
    images = [LowLight(1.0)(flat, seed(number)).numpy() for number in range(100)]
    shares = np.array([image.mean() / 120 for image in images])
    assert shares.min() > 0.1 ** (1 / 2.2) - 0.02
    assert shares.max() < 1.01
    assert 0.5 < shares.mean() < 0.8
    assert min(image.std() for image in images) > 2.5
    assert max(image.std() for image in images) > 12
    for image in images:
        assert (image[..., 0] == image[..., 2]).all()


def test_noise_is_the_same_in_all_colours_and_has_no_bias() -> None:
    flat = tf.fill((SIZE, SIZE, 3), 120.0)
    images = [Noise(1.0)(flat, seed(number)).numpy() for number in range(60)]
    deviations = np.array([image.std() for image in images])
    assert deviations.max() < 15
    assert deviations.min() < 2
    assert 5 < deviations.mean() < 9
    assert abs(np.mean(images) - 120) < 0.2
    assert all((image[..., 0] == image[..., 1]).all() for image in images)


def stripes(period: int) -> NDArray[np.float32]:
    """Upright stripes."""
    across = 128 + 100 * np.sin(2 * math.pi * np.arange(SIZE) / period)
    return np.broadcast_to(across[None, :, None], (SIZE, SIZE, 3)).astype(np.float32)


def test_motion_blur_acts_along_its_line_only() -> None:
    upright = tf.constant(stripes(6))
    level = tf.transpose(upright, (1, 0, 2))
    for image, along, across in ((upright, 0.0, 0.5), (level, 0.5, 0.0)):
        blurred = MotionBlur(1.0).blur(image, tf.constant(along), tf.constant(1.0)).numpy()
        assert blurred[4:-4, 4:-4].std() < 0.5 * image.numpy().std()
        kept = MotionBlur(1.0).blur(image, tf.constant(across), tf.constant(1.0)).numpy()
        np.testing.assert_allclose(kept, image, atol=0.05)


def test_motion_blur_keeps_the_light() -> None:
    for number in range(30):
        assert MotionBlur(1.0)(floats(PICTURE), seed(number)).numpy().mean() == pytest.approx(PICTURE.mean(), rel=0.01)
        flat = tf.fill((SIZE, SIZE, 3), 90.0)
        np.testing.assert_allclose(MotionBlur(1.0)(flat, seed(number)), flat, rtol=1e-5)


def test_motion_blur_is_at_most_8_percent_long() -> None:
    size = 200
    dot = tf.constant(np.pad(np.full((1, 1, 3), 255.0, np.float32), ((100, 99), (100, 99), (0, 0))))
    for number in range(20):
        down, across = np.nonzero(MotionBlur(1.0)(dot, seed(number)).numpy()[..., 0] > 1)
        length = math.hypot(np.ptp(down), np.ptp(across))
        assert 0.03 * size - 2 < length < 0.08 * size + 3


def test_occlusion_covers_at_most_a_third() -> None:
    flat, behind = tf.fill((SIZE, SIZE, 3), 180.0), floats(BACKGROUND)
    covered = [np.mean(np.abs(Occlusion(1.0)(flat, seed(number), behind).numpy() - 180).max(-1) > 1e-3)
               for number in range(150)]
    assert min(covered) > 0
    assert max(covered) < 1 / 3
    assert max(covered) > 0.15


def test_occlusion_is_darker_than_the_picture_and_has_a_soft_edge() -> None:
    flat = tf.fill((SIZE, SIZE, 3), 180.0)
    for number in range(40):
        image = Occlusion(1.0)(flat, seed(number), tf.fill((SIZE, SIZE, 3), 90.0)).numpy()[..., 0]
        assert image.max() <= 180.01
        assert image.min() < 0.65 * 180
        assert ((image < 179) & (image > image.min() + 1)).any()


@pytest.mark.parametrize("quality", [10, 40])
def test_jpeg_is_what_an_encoder_makes_of_it(quality: int) -> None:
    expected = tf.io.decode_jpeg(tf.io.encode_jpeg(PICTURE, quality=quality))
    np.testing.assert_array_equal(Jpeg(1.0).compress(floats(PICTURE), tf.constant(quality)), expected)


def test_jpeg_keeps_an_infrared_picture_grey() -> None:
    image = Jpeg(1.0)(floats(infrared(PICTURE)), seed(1)).numpy()
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 1] == image[..., 2]).all()


def test_coarse_loses_what_is_small_and_keeps_what_is_large() -> None:
    for period, low, high in ((4, 0.0, 0.3), (24, 0.8, 1.01)):
        image = stripes(period)
        coarse = Coarse(1.0).shrink(tf.constant(image), tf.constant(0.35)).numpy()
        assert low <= coarse[8:-8, 8:-8].std() / image.std() <= high


def spread(layer: Any, image: Any, strength: float = 1.0) -> list[NDArray[np.float32]]:
    return [layer(image, seed(number), tf.constant(strength)).numpy() for number in range(60)]


def test_brightness_adds_the_same_everywhere() -> None:
    mean = PICTURE.mean()
    for image in spread(Brightness(0.4), floats(PICTURE)):
        added = image - PICTURE
        assert np.ptp(added) < 1e-3
        assert abs(added.mean()) <= 0.4 * mean


def test_contrast_keeps_the_mean() -> None:
    factors = []
    for image in spread(Contrast(0.4), floats(PICTURE)):
        assert image.mean() == pytest.approx(PICTURE.mean(), rel=1e-4)
        factors.append(image.std() / PICTURE.std())
    assert 0.6 <= min(factors) < 0.7
    assert 1.3 < max(factors) <= 1.4


def test_gamma_leaves_black_and_white() -> None:
    ramp = tf.repeat(tf.linspace(0.0, 255.0, SIZE * SIZE), 3)
    middles = []
    for image in spread(Gamma(0.5), tf.reshape(ramp, (SIZE, SIZE, 3))):
        line = image[..., 0].ravel()
        assert line[0] == 0
        assert line[-1] == pytest.approx(255, abs=1e-3)
        assert (np.diff(line) > 0).all()
        middles.append(line[line.size // 2] / 255)
    assert 0.5 ** math.exp(0.5) <= min(middles) < 0.4
    assert 0.6 < max(middles) <= 0.5 ** math.exp(-0.5) + 0.001


def test_colour_tints_grey_a_little_and_changes_saturation() -> None:
    for image in spread(Colour(0.5), tf.fill((SIZE, SIZE, 3), 100.0)):
        assert image[..., 1] == pytest.approx(100, abs=0.01)
        assert (np.abs(image - 100) <= 7.01).all()
    chroma = [np.ptp(image, axis=-1).mean() / np.ptp(PICTURE.astype(float), axis=-1).mean()
              for image in spread(Colour(0.5), floats(PICTURE))]
    assert 0.45 < min(chroma) < 0.7
    assert 1.1 < max(chroma) < 1.5


PLACES = {
    "rotation": Place(15.0, 0.0, 0.0, 1.0, 1.0, 1.0),
    "shift": Place(0.0, 0.06, 0.0, 1.0, 1.0, 1.0),
    "shear": Place(0.0, 0.0, 5.0, 1.0, 1.0, 1.0),
    "stretch": Place(0.0, 0.0, 0.0, 1.2, 1.0, 1.0),
    "near": Place(0.0, 0.0, 0.0, 1.0, 1.5, 1.0),
    "far": Place(0.0, 0.0, 0.0, 1.0, 1.0, 0.52),
}


def maps(name: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """From a pixel of the picture to one of the result: (2, 2), and how far the middle moves, in sides."""
    found = []
    for number in range(200):
        shape, offset = (part.numpy().astype(float) for part in PLACES[name].map(SIZE, seed(number), tf.constant(1.0)))
        forth, middle = np.linalg.inv(shape), np.full((2, 1), (SIZE - 1) / 2)
        found.append((forth, (forth @ (middle - offset) - middle)[:, 0] / SIZE))
    return found


def test_place_turns_to_both_sides_without_changing_form() -> None:
    angles = [math.degrees(math.atan2(shape[1, 0], shape[0, 0])) for shape, _ in maps("rotation")]
    assert -15 <= min(angles) < -12
    assert 12 < max(angles) <= 15
    assert all(np.allclose(shape.T @ shape, np.eye(2), atol=1e-5) for shape, _ in maps("rotation"))
    assert all(np.allclose(moved, 0, atol=1e-5) for _, moved in maps("rotation"))


def test_place_shifts_at_most_so_far() -> None:
    moved = np.array([moved for _, moved in maps("shift")])
    assert 0.055 < np.abs(moved[:, 0]).max() < 0.0601
    assert 0.055 < np.abs(moved[:, 1]).max() < 0.0601
    assert (moved < 0).any()
    assert (moved > 0).any()
    assert all(np.allclose(shape, np.eye(2), atol=1e-6) for shape, _ in maps("shift"))


def test_place_leans_sideways() -> None:
    leans = [math.degrees(math.atan(shape[0, 1])) for shape, _ in maps("shear")]
    assert -5.001 < min(leans) < -4
    assert 4 < max(leans) < 5.001
    assert all(np.allclose(shape[[0, 1, 1], [0, 0, 1]], [1, 0, 1], atol=1e-6) for shape, _ in maps("shear"))


def test_place_stretches_and_keeps_the_area() -> None:
    wider = [shape[0, 0] / shape[1, 1] for shape, _ in maps("stretch")]
    assert 1 / 1.2001 < min(wider) < 0.86
    assert 1.16 < max(wider) < 1.2001
    assert all(np.linalg.det(shape) == pytest.approx(1, abs=1e-5) for shape, _ in maps("stretch"))


@pytest.mark.parametrize(("name", "low", "high"), [("near", 1.0, 1.5), ("far", 0.52, 1.0)])
def test_place_zooms_and_uses_the_room_that_this_leaves(name: str, low: float, high: float) -> None:
    scales = [shape[0, 0] for shape, _ in maps(name)]
    assert low - 1e-5 < min(scales) < low + 0.03
    assert high - 0.03 < max(scales) < high + 1e-5
    for shape, moved in maps(name):
        assert (np.abs(moved) <= abs(shape[0, 0] - 1) / 2 + 1e-5).all()


@pytest.mark.parametrize("name", PLACES)
def test_place_interpolates_where_the_map_says(name: str) -> None:
    # Bilinear interpolation of a slope is exact.
    down, across = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    slope = np.stack([2 * across + down + 20, across + 3 * down + 10, across + 5], axis=-1)
    for number in range(10):
        strength, pair = tf.constant(1.0), seed(number)
        image = PLACES[name](tf.constant(slope), pair, floats(BACKGROUND), strength).numpy()
        shape, offset = PLACES[name].map(SIZE, tf.random.split(pair)[0], strength)
        x, y = np.einsum("ij,jhw->ihw", shape.numpy(), np.stack([across, down])) + offset.numpy()[:, :, None]
        margin = 0.04 * SIZE + 1
        inside = (np.minimum(x, y) > margin) & (np.maximum(x, y) < SIZE - 1 - margin)
        assert inside.any()
        expected = np.stack([2 * x + y + 20, x + 3 * y + 10, x + 5], axis=-1)
        np.testing.assert_allclose(image[inside], expected[inside], atol=0.02)


def test_background_shows_where_the_picture_is_not() -> None:
    red = tf.constant(np.broadcast_to(np.array([200, 0, 0], np.float32), (SIZE, SIZE, 3)))
    blue = tf.constant(np.broadcast_to(np.array([0, 0, 200], np.float32), (SIZE, SIZE, 3)))
    layer = PLACES["far"]
    for number in range(30):
        pair, strength = seed(number), tf.constant(1.0)
        image = layer(red, pair, blue, strength).numpy()
        scale = 1 / float(layer.map(SIZE, tf.random.split(pair)[0], strength)[0][0, 0])
        assert image[..., 0].mean() / 200 == pytest.approx((scale * 0.96) ** 2, abs=0.04)
        np.testing.assert_allclose(image[..., 0] + image[..., 2], 200, atol=4)
        assert image[..., 1].max() < 2


def test_background_takes_on_the_light_and_the_grey_of_the_picture() -> None:
    night = tf.constant(infrared(PICTURE) // 2, tf.float32)
    image = PLACES["far"](night, seed(3), floats(BACKGROUND), tf.constant(1.0)).numpy()
    assert np.ptp(image, axis=-1).max() < 3
    assert image.mean() == pytest.approx(night.numpy().mean(), rel=0.15)
