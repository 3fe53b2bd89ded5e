"""What camera traps do to a picture, as Keras layers that draw all they need from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Tensor = Any

GREY = (0.299, 0.587, 0.114)
"""Luma as in `models.preprocess.infrared`."""


class Sometimes(keras.layers.Layer):  # type: ignore[misc]
    """A layer that acts on a share (0-1) of the pictures, decided by a seed that comes with the picture.

    Keras' own random layers draw from a state that they keep, and refuse a tensor as a seed: in a parallel `tf.data`
    map it would depend on the threads which picture gets which draw. These have their form, but no state:
    `layer(image, seed)`.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def decide(self, image: Tensor, seed: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """`change(another seed)` for the share, the image itself for the rest, which then cost nothing."""
        if self.share == 0:
            return image
        seeds = tf.unstack(tf.random.split(seed))
        chosen = tf.random.stateless_uniform((), seeds[0]) < self.share
        return tf.cond(chosen, lambda: change(seeds[1]), lambda: image)


class MotionBlur(Sometimes):
    """Blurs a share of the pictures along a line in any direction, 3 to 8 % of the side long."""

    def call(self, image: Tensor, seed: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.blur(image, *dice(seed, 2)))

    def blur(self, image: Tensor, turn: Tensor, extent: Tensor) -> Tensor:
        """The image, blurred; `turn` 0-1 is half a turn of the line, from across to down; `extent` 0-1 its length."""
        reach = max(1, round(0.04 * image.shape[0]))
        length = 2 * reach * between(0.4, 1.0, extent)
        steps = tf.range(-reach, reach + 1, dtype=tf.float32)
        along, off = turned(steps, math.pi * turn)
        line = tf.nn.relu(1.0 - tf.abs(off)) * tf.clip_by_value((length + 1) / 2 - tf.abs(along), 0.0, 1.0)
        kernel = tf.repeat((line / tf.reduce_sum(line))[..., None, None], 3, axis=2)
        wide = tf.pad(image, [[reach, reach], [reach, reach], [0, 0]], "SYMMETRIC")
        return tf.nn.depthwise_conv2d(wide[None], kernel, [1, 1, 1, 1], "VALID")[0]


class Occlusion(Sometimes):
    """Something stands before a share of the pictures: a trunk, a branch, or leaves near the lens, out of focus.

    It is cut from the background and darkened, and covers less than a third. Stretched along a trunk, it looks like
    bark.
    """

    def call(self, image: Tensor, seed: Tensor, background: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.cover(image, seed, background))

    def cover(self, image: Tensor, seed: Tensor, background: Tensor) -> Tensor:
        """The image, covered."""
        seeds = tf.unstack(tf.random.split(seed, 3))
        kind, turn, right, down, dark, *form = dice(seeds[0], 9)
        angle = tf.where(kind < 0.4, math.pi / 2 + either(0.25, turn), math.pi * turn)
        steps = tf.linspace(-0.5, 0.5, image.shape[0])
        along, off = turned(steps, angle, either(0.5, right), either(0.5, down))
        thick = tf.where(kind < 0.4, between(0.05, 0.12, form[0]), between(0.015, 0.05, form[0]))
        there = tf.cond(kind < 0.7, lambda: self.wood(along, off, thick, form), lambda: self.leaves(along, off, form))
        streaks = tf.where(kind < 0.7, 0.1, 0.3)
        surface = self.surface(surroundings(background, image, seeds[1]), angle, streaks, seeds[2])
        return image + (surface * between(0.3, 0.6, dark) - image) * there[..., None]

    def wood(self, along: Tensor, off: Tensor, thick: Tensor, form: list[Tensor]) -> Tensor:
        """(size, size) 0-1: where a trunk or branch is, that is twice as `thick`, in shares of the side."""
        wave = 0.3 * thick * tf.sin(between(3.0, 8.0, form[1]) * along + 2 * math.pi * form[2])
        return tf.clip_by_value((thick - tf.abs(off + wave)) / between(0.008, 0.02, form[3]), 0.0, 1.0)

    def leaves(self, along: Tensor, off: Tensor, form: list[Tensor]) -> Tensor:
        """(size, size) 0-1: where a tuft of leaves is, as wide as half the side at most."""
        around = tf.atan2(off, along)
        tips = tf.sin(3.0 * around + 2 * math.pi * form[1]) + 0.7 * tf.sin(7.0 * around + 2 * math.pi * form[2])
        reach = between(0.12, 0.22, form[0]) * (1.0 + 0.25 * tips)
        away = tf.sqrt(along**2 + off**2)
        return tf.clip_by_value((reach - away) / between(0.04, 0.1, form[3]), 0.0, 1.0)

    def surface(self, background: Tensor, angle: Tensor, streaks: Tensor, seed: Tensor) -> Tensor:
        """The background, enlarged along an angle so that only a share of it is seen."""
        towards = matrix(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
        shape = towards @ matrix(streaks, 0.0, 0.0, 0.6) @ tf.transpose(towards)
        offset = 0.5 * background.shape[0] * tf.random.stateless_uniform((2, 1), seed)
        return affine(background, shape, offset, "reflect")


class Infrared(Sometimes):
    """Turns a share of the pictures infrared-grey; in half of those the lamp does not reach the corners.

    `falloff`: the light that is missing at the middle of an edge, at most; in the corners it is twice that.
    """

    def __init__(self, share: float, falloff: float = 0.35) -> None:
        super().__init__(share)
        self.falloff = falloff

    def call(self, image: Tensor, seed: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.night(image, seed))

    def night(self, image: Tensor, seed: Tensor) -> Tensor:
        """The image by night."""
        half, much = dice(seed, 2)
        across = tf.linspace(-1.0, 1.0, image.shape[0]) ** 2
        missing = tf.where(half < 0.5, self.falloff * much, 0.0) * (across[:, None] + across[None, :])
        return tf.repeat(grey(image) * (1.0 - missing[..., None]), 3, axis=-1)


class Coarse(Sometimes):
    """Shrinks a share of the pictures, to 0.3 of their side at least, and enlarges them again: an animal far away."""

    def call(self, image: Tensor, seed: Tensor, strength: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.shrink(image, 1.0 - 0.7 * strength * dice(seed, 1)[0]))

    def shrink(self, image: Tensor, share: Tensor) -> Tensor:
        """The image, shrunk to a share of its side and enlarged again."""
        size = image.shape[0]
        small = tf.cast(share * size, tf.int32)
        return tf.image.resize(tf.image.resize(image, [small, small], antialias=True), [size, size])


class LowLight(Sometimes):
    """Leaves a share of the pictures 0.1-0.5 of their light, and noise; half of them are then lifted again.

    Light counts before the gamma of the file, 1 / 2.2. That makes the noise of photons about equal in dark and bright
    parts: their root and the gamma cancel. It is the same in all colours: a camera's filter leaves little of the rest,
    and an infrared picture stays grey.
    """

    def call(self, image: Tensor, seed: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.darken(image, seed))

    def darken(self, image: Tensor, seed: Tensor) -> Tensor:
        """The image in low light."""
        seeds = tf.unstack(tf.random.split(seed))
        much, half, lift, grain = dice(seeds[0], 4)
        left = between(0.1, 0.5, much) ** (1 / 2.2)
        dark = tf.clip_by_value(image, 0.0, 255.0) * left
        dark += between(3.0, 8.0, grain) * tf.random.stateless_normal((*image.shape[:2], 1), seeds[1])
        return tf.nn.relu(dark) * tf.where(half < 0.5, between(0.5, 1.0, lift) / left, 1.0)


class Noise(Sometimes):
    """Adds the same noise to all colours of a share of the pictures, with a deviation of up to 14 of 255."""

    def call(self, image: Tensor, seed: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.add(image, *tf.unstack(tf.random.split(seed))))

    def add(self, image: Tensor, much: Tensor, seed: Tensor) -> Tensor:
        """The image with noise; both are seeds."""
        return image + tf.random.stateless_normal((*image.shape[:2], 1), seed) * 14.0 * dice(much, 1)[0]


class Jpeg(Sometimes):
    """Compresses a share of the pictures with a JPEG quality of 10 to 40."""

    def call(self, image: Tensor, seed: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: self.compress(
            image, tf.random.stateless_uniform((), seed, 10, 41, tf.int32)))

    def compress(self, image: Tensor, quality: Tensor) -> Tensor:
        """The image, encoded and decoded again."""
        pixels = tf.saturate_cast(tf.round(image), tf.uint8)
        return tf.ensure_shape(tf.cast(tf.image.adjust_jpeg_quality(pixels, quality), tf.float32), image.shape)


def dice(seed: Tensor, count: int) -> list[Tensor]:
    """So many float32 numbers from 0 to 1; the same seed gives the same ones."""
    return tf.unstack(tf.random.stateless_uniform((count,), seed))  # type: ignore[no-any-return]


def between(low: Tensor, high: Tensor, die: Tensor) -> Tensor:
    """From low to high as the die, 0-1, falls."""
    return low + (high - low) * die


def either(extent: Tensor, die: Tensor) -> Tensor:
    """From -extent to extent as the die, 0-1, falls."""
    return between(-extent, extent, die)


def matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """(2, 2), row by row."""
    return tf.stack([tf.stack([a, b]), tf.stack([c, d])])


def turned(steps: Tensor, angle: Tensor, right: Tensor = 0.0, down: Tensor = 0.0) -> tuple[Tensor, Tensor]:
    """(n, n) each: how far a square's pixels lie along and off a line at an angle, in radians from across to down."""
    x, y = steps[None, :] - right, steps[:, None] - down
    return x * tf.cos(angle) + y * tf.sin(angle), y * tf.cos(angle) - x * tf.sin(angle)


def grey(image: Tensor) -> Tensor:
    """(size, size, 1) luma of a (size, size, 3) RGB image."""
    return tf.reduce_sum(image * tf.constant(GREY), axis=-1, keepdims=True)


def affine(image: Tensor, shape: Tensor, offset: Tensor, fill: str) -> Tensor:
    """The image, mapped: (2, 2) `shape` and (2, 1) `offset` lead from a pixel of the result back to one of its own."""
    back = tf.concat([tf.reshape(tf.concat([shape, offset], axis=1), (6,)), tf.zeros(2)], axis=0)
    return keras.ops.image.affine_transform(image, back, fill_mode=fill)


def surroundings(background: Tensor, image: Tensor, seed: Tensor) -> Tensor:
    """The background as light and as grey as the image, half of them mirrored.

    A meadow by day around a photo by night would give away that it is pasted.
    """
    behind = tf.cond(dice(seed, 1)[0] < 0.5, lambda: background, lambda: tf.reverse(background, [1]))
    few, few_behind = image[::4, ::4], behind[::4, ::4]
    light = tf.reduce_mean(few) / (tf.reduce_mean(few_behind) + 1.0)
    colour, colour_behind = (tf.reduce_mean(tf.abs(some - grey(some))) for some in (few, few_behind))
    luma = grey(behind)
    matched = luma + (behind - luma) * tf.minimum(colour / (colour_behind + 0.1), 1.0)
    return matched * tf.clip_by_value(light, 0.4, 1.6)
