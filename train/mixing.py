"""Two pictures in one, and their labels in the same shares: MixUp and CutMix."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.recipe import Recipe

SHARE, CUT, ACROSS, DOWN, ORDER = range(5)
"""The columns of the dice."""


def throw(recipe: Recipe, purpose: int, epoch: int, count: int) -> NDArray[np.float32]:
    """(count, 5) float32: what decides how each picture of an epoch is mixed; its seed and number alone say so.

    By column: the share that is its own, 1 where a box is cut and 0 where it is laid over, the box's centre as shares
    of the sides, and a number by whose order a batch's partners are found.
    """
    dice = np.random.default_rng([recipe.seed, purpose, epoch, 2])
    found = dice.random((count, 5))
    cut = found[:, CUT] < (0.5 if recipe.mixup else 1.0) if recipe.cutmix else np.zeros(count, bool)
    shares = [dice.beta(alpha, alpha, count) if alpha else np.zeros(count) for alpha in (recipe.mixup, recipe.cutmix)]
    found[:, CUT], found[:, SHARE] = cut, np.where(cut, shares[1], shares[0])
    return found.astype(np.float32)


def mix(pictures: Any, classes: Any, weights: Any, dice: Any) -> tuple[Any, Any, Any]:
    """Mix each picture of a batch with another of it, maybe itself, and their labels with them.

    MixUp lays one over the other (Zhang et al. 2018), CutMix cuts a box out of the other (Yun et al. 2019); both are a
    mask, of which the mean is the label's share.

    Args:
        pictures: (n, size, size, 3) float32.
        classes: (n, classes) one-hot.
        weights: (n,) of the pictures in the loss.
        dice: (n, 5) as `throw` throws them.

    Returns:
        The same of the mixtures. A loss that is a sum over the classes, as both of `train.head.loss` are, then is the
        sum of both pictures' weighted losses in their shares, as if each had been learned from by itself.
    """
    partner = tf.argsort(dice[:, ORDER])
    mask = _mask(dice, int(pictures.shape[1]))
    own = tf.reduce_mean(mask, axis=(1, 2, 3)) * weights
    other = (1.0 - tf.reduce_mean(mask, axis=(1, 2, 3))) * tf.gather(weights, partner)
    mixed = mask * pictures + (1.0 - mask) * tf.gather(pictures, partner)
    wanted = own[:, None] * classes + other[:, None] * tf.gather(classes, partner)
    return mixed, wanted / (own + other)[:, None], own + other


def _mask(dice: Any, size: int) -> Any:
    """(n, size, size, 1) float32: how much of each place is the picture's own."""
    half = tf.sqrt(1.0 - dice[:, SHARE]) / 2  # Of the box's side.
    places = (tf.range(size, dtype=tf.float32) + 0.5) / size
    down, across = (tf.abs(places[None] - dice[:, axis, None]) < half[:, None] for axis in (DOWN, ACROSS))
    outside = 1.0 - tf.cast(down[:, :, None] & across[:, None, :], tf.float32)
    return tf.where(dice[:, CUT] > 0, 1.0, 0.0)[:, None, None, None] * outside[..., None] + tf.where(
        dice[:, CUT] > 0, 0.0, dice[:, SHARE])[:, None, None, None]
