"""Training pictures as a camera trap might have taken them: small Keras layers that draw all they need from a seed."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from train.recipe import Augmentation
from train.trap import (
    Coarse,
    Infrared,
    Jpeg,
    LowLight,
    MotionBlur,
    Noise,
    Occlusion,
    Sometimes,
    affine,
    between,
    dice,
    either,
    grey,
    matrix,
    surroundings,
)

Tensor = Any

MILD = 0.3
"""Of the full strength, for geometry and light of those pictures that are not in the strong share."""
FEATHER = 0.04
"""Width of the soft edge of a pasted picture, as a share of its side: a hard one would be learned."""


def augment(picture: Tensor, background: Tensor, seed: Tensor, settings: Augmentation) -> Tensor:
    """A training picture as a trap might have taken it.

    The order is that of the scene: the animal, what stands around and before it, its light, the camera, the file.

    Args:
        picture: (size, size, 3) uint8 RGB.
        background: the same, of a picture without an animal where there is one; it shows around and before the animal.
        seed: (2,) int64; the same seed gives the same picture, in whatever order and on however many threads.
        settings: what is done, how often and how much. With all of it switched off the picture stays as it is.

    Returns:
        (size, size, 3) float32 RGB, 0-255.
    """
    # One seed each: a layer that is switched off does not change what the others draw.
    seeds = tf.unstack(tf.random.split(seed, 14))
    strength = tf.where(tf.random.stateless_uniform((), seeds[0]) < settings.strong, 1.0, MILD)
    image, behind = tf.cast(picture, tf.float32), tf.cast(background, tf.float32)
    image = Flip(settings.flip)(image, seeds[1])
    image = MotionBlur(settings.motion_blur)(image, seeds[2])
    image = Place(settings.rotation, settings.shift, settings.shear, settings.stretch, settings.near, settings.far)(
        image, seeds[3], behind, strength)
    image = Occlusion(settings.occlusion)(image, seeds[4], behind)
    image = Gamma(settings.gamma)(image, seeds[5], strength)
    image = Contrast(settings.contrast)(image, seeds[6], strength)
    image = Brightness(settings.brightness)(image, seeds[7], strength)
    image = Colour(settings.colour)(image, seeds[8], strength)
    image = Infrared(settings.infrared)(image, seeds[9])
    image = Coarse(settings.coarse)(image, seeds[10], strength)
    image = LowLight(settings.low_light)(image, seeds[11])
    image = Noise(settings.noise)(image, seeds[12])
    image = Jpeg(settings.jpeg)(image, seeds[13])
    return tf.ensure_shape(tf.clip_by_value(image, 0.0, 255.0), picture.shape)


class Flip(Sometimes):
    """Mirrors a share of the pictures; not part of `Place`, because it needs no interpolation."""

    def call(self, image: Tensor, seed: Tensor) -> Tensor:
        return self.decide(image, seed, lambda seed: tf.reverse(image, [1]))


class Place(keras.layers.Layer):  # type: ignore[misc]
    """Turns, shifts, shears, stretches and zooms the picture; where it then is not, the background shows.

    All as one affine map and so one interpolation, where Keras' layers in a row would blur the picture five times. A
    zoomed picture is shifted as far as there is room for: the animal is cut off by the edge, or small and anywhere.
    """

    def __init__(self, rotation: float, shift: float, shear: float, stretch: float, near: float, far: float) -> None:
        super().__init__()
        self.rotation, self.shift, self.shear = rotation, shift, shear
        self.stretch, self.near, self.far = stretch, near, far

    def call(self, image: Tensor, seed: Tensor, background: Tensor, strength: Tensor) -> Tensor:
        if self.rotation == self.shift == self.shear == 0 and self.stretch == self.near == self.far == 1:
            return image
        seeds = tf.unstack(tf.random.split(seed))
        size = image.shape[0]
        edge = tf.minimum(tf.range(size), size - 1 - tf.range(size))
        ramp = tf.clip_by_value(tf.cast(edge, tf.float32) / (FEATHER * size), 0.0, 1.0)
        layers = tf.concat([image, (ramp[:, None] * ramp[None, :])[..., None]], axis=-1)
        moved = affine(layers, *self.map(size, seeds[0], strength), "constant")
        there = moved[..., 3:]
        return moved[..., :3] * there + surroundings(background, image, seeds[1]) * (1.0 - there)

    def map(self, size: int, seed: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """(2, 2) and (2, 1) float32: from a pixel of the result back to one of the picture, as `affine` wants it."""
        zoom, narrow, turn, lean, right, down = dice(seed, 6)
        scale = tf.exp(strength * between(math.log(self.far), math.log(self.near), zoom))
        stretch = tf.exp(strength * either(math.log(self.stretch) / 2, narrow))
        angle = strength * either(math.radians(self.rotation), turn)
        shear = tf.tan(strength * either(math.radians(self.shear), lean))
        turned = matrix(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
        shape = tf.linalg.inv(
            turned @ matrix(1.0, shear, 0.0, 1.0) @ matrix(scale * stretch, 0.0, 0.0, scale / stretch))
        room = (tf.abs(scale - 1.0) / 2 + self.shift * strength) * size
        centre = tf.fill((2, 1), (size - 1) / 2)
        return shape, centre - shape @ (centre + room * tf.stack([[either(1.0, right)], [either(1.0, down)]]))


class Varied(keras.layers.Layer):  # type: ignore[misc]
    """A layer that varies something of every picture, by `extent` at most, times the picture's strength."""

    def __init__(self, extent: float) -> None:
        super().__init__()
        self.extent = extent

    def call(self, image: Tensor, seed: Tensor, strength: Tensor) -> Tensor:
        return self.vary(image, seed, strength * self.extent) if self.extent else image


class Gamma(Varied):
    """Lightens or darkens the middle tones: 255 * (image / 255) ** e ** (-extent to extent)."""

    def vary(self, image: Tensor, seed: Tensor, extent: Tensor) -> Tensor:
        exponent = tf.exp(either(extent, *dice(seed, 1)))
        return 255.0 * tf.pow(tf.clip_by_value(image / 255.0, 0.0, 1.0), exponent)


class Contrast(Varied):
    """Contrast, about the picture's mean, times 1 - extent to 1 + extent."""

    def vary(self, image: Tensor, seed: Tensor, extent: Tensor) -> Tensor:
        mean = tf.reduce_mean(image)
        return (image - mean) * (1.0 + either(extent, *dice(seed, 1))) + mean


class Brightness(Varied):
    """Adds -extent to extent of the picture's mean."""

    def vary(self, image: Tensor, seed: Tensor, extent: Tensor) -> Tensor:
        return image + tf.reduce_mean(image) * either(extent, *dice(seed, 1))


class Colour(Varied):
    """Saturation times 1 - extent to 1 + 0.6 extent, red and blue times 1 - 0.14 extent to 1 + 0.14 extent."""

    def vary(self, image: Tensor, seed: Tensor, extent: Tensor) -> Tensor:
        saturation, red, blue = dice(seed, 3)
        luma = grey(image)
        image = luma + (image - luma) * (1.0 + between(-extent, 0.6 * extent, saturation))
        return image * tf.stack([1.0 + either(0.14 * extent, red), 1.0, 1.0 + either(0.14 * extent, blue)])
