"""What camera traps do to a picture, done at random to training pictures (TensorFlow operations, run in parallel)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any

GREY = (0.299, 0.587, 0.114)
"""Luma as in `models.preprocess.infrared`."""
FEATHER = 0.04
"""Width of the soft edge of a pasted picture, as a share of its side: a hard one would be learned."""


def augment(picture: Tensor, background: Tensor, seed: Tensor, infrared: float) -> Tensor:
    """A training picture as a trap might have taken it.

    The animal is mirrored, turned, shifted, stretched, brought nearer (and so cut off) or farther away; what then
    shows around the photo is `background`. Light, contrast and colour vary; some pictures become infrared-grey, with
    darker corners; some are noisy, some have been enlarged from few pixels.

    Args:
        picture: (size, size, 3) uint8 RGB.
        background: the same, of a picture without an animal where there is one.
        seed: (2,) int64; the same seed gives the same picture.
        infrared: share of pictures to turn grey.

    Returns:
        (size, size, 3) float32, 0-255.
    """
    dice = tf.random.stateless_uniform((21,), seed)
    # Most pictures stay close to the photo: clear views come too, and too many hard ones spoil what is known of them.
    strength = tf.where(dice[20] < 0.3, 1.0, 0.3)
    image = _place(tf.cast(picture, tf.float32), tf.cast(background, tf.float32), dice, strength)
    image = _light(image, dice, strength, infrared)
    image = tf.cond(dice[16] < 0.3, lambda: _coarse(image, 1.0 - 0.7 * strength * dice[17]), lambda: image)
    noise = tf.random.stateless_normal((*picture.shape[:2], 1), seed) * 14.0 * dice[19]
    image = tf.cond(dice[18] < 0.25, lambda: image + noise, lambda: image)
    return tf.ensure_shape(tf.clip_by_value(image, 0.0, 255.0), picture.shape)


def _between(low: float, high: float, die: Tensor) -> Tensor:
    return low + (high - low) * die


def _place(image: Tensor, background: Tensor, dice: Tensor, strength: Tensor) -> Tensor:
    """Move the picture by one affine map, and let the background show where it is not."""
    size = image.shape[0]
    scale = tf.exp(strength * _between(-0.65, 0.4, dice[0]))  # 0.52 to 1.5
    stretch = tf.exp(strength * _between(-0.18, 0.18, dice[1]))
    mirror = tf.where(dice[2] < 0.5, 1.0, -1.0)
    angle = strength * _between(-0.26, 0.26, dice[3])
    room = (tf.abs(scale - 1.0) / 2 + 0.06 * strength) * size
    right, down = _between(-1.0, 1.0, dice[4]) * room, _between(-1.0, 1.0, dice[5]) * room
    centre = (size - 1) / 2
    # The map leads from the result back to the picture, as the operation wants it.
    a, b = tf.cos(angle) / (scale * stretch) * mirror, tf.sin(angle) / (scale * stretch) * mirror
    c, d = -tf.sin(angle) / (scale / stretch), tf.cos(angle) / (scale / stretch)
    zero = tf.zeros_like(a)
    transform = tf.stack([
        a, b, centre - a * (centre + right) - b * (centre + down),
        c, d, centre - c * (centre + right) - d * (centre + down), zero, zero,
    ])
    edge = tf.minimum(tf.range(size), size - 1 - tf.range(size))
    ramp = tf.clip_by_value(tf.cast(edge, tf.float32) / (FEATHER * size), 0.0, 1.0)
    layers = tf.concat([image, (ramp[:, None] * ramp[None, :])[..., None]], axis=-1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=layers[None], transforms=transform[None], output_shape=[size, size], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT",
    )[0]
    behind = tf.cond(dice[6] < 0.5, lambda: background, lambda: background[:, ::-1])
    # A night picture on a bright meadow would give itself away.
    match = tf.reduce_mean(image) / (tf.reduce_mean(behind) + 1.0)
    return moved[..., :3] * moved[..., 3:] + behind * tf.clip_by_value(match, 0.4, 2.5) * (1.0 - moved[..., 3:])


def _light(image: Tensor, dice: Tensor, strength: Tensor, infrared: float) -> Tensor:
    """Vary gamma, contrast, brightness and colour; turn some pictures infrared-grey."""
    image = 255.0 * tf.pow(tf.clip_by_value(image / 255.0, 0.0, 1.0), tf.exp(strength * _between(-0.4, 0.4, dice[7])))
    mean = tf.reduce_mean(image)
    contrast, brightness = (1.0 + strength * _between(-0.35, 0.35, die) for die in (dice[8], dice[9]))
    image = (image - mean) * contrast + mean * brightness
    grey = tf.reduce_sum(image * tf.constant(GREY), axis=-1, keepdims=True)
    night = dice[10] < infrared
    image = grey + (image - grey) * tf.where(night, 0.0, 1.0 + strength * _between(-0.5, 0.3, dice[11]))
    tint = tf.stack([_between(0.93, 1.07, dice[12]), 1.0, _between(0.93, 1.07, dice[13])])
    image = image * tf.where(night, tf.ones(3), tint)
    across = tf.linspace(-1.0, 1.0, image.shape[0])
    corners = (across[:, None] ** 2 + across[None, :] ** 2)[..., None]
    return image * (1.0 - tf.where(night & (dice[14] < 0.5), 0.35 * dice[15], 0.0) * corners)


def _coarse(image: Tensor, share: Tensor) -> Tensor:
    """The picture, shrunk to a share of its size and enlarged again: a small animal far away."""
    size = image.shape[0]
    small = tf.cast(share * size, tf.int32)
    return tf.image.resize(tf.image.resize(image, [small, small], antialias=True), [size, size])
