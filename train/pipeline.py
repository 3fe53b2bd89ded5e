"""Decoded photos to batches for training; which photo comes when, and what is done to it, follows from the seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.augment import augment
from train.measure import Network, Pixels
from train.mixing import mix, throw
from train.photos.store import Store
from train.recipe import Recipe

Array = NDArray[Any]
HEAD, TUNING, VIEWS = range(3)
"""What dice are thrown for: each use has its own."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What is trained on, as rows of `pixels`; test photos are in none of the lists.

    `pixels`: (n, size, size, 3) uint8 RGB. `truth`: (n,) class indexes. `train`, `val`, `blank`: rows; `blank` are
    those training photos that show no animal. `teacher`: the network whose answers are learned as well.
    """

    pixels: Pixels
    truth: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    blank: NDArray[np.int64]
    classes: int
    teacher: Network | None = None


def class_weights(recipe: Recipe, examples: Examples) -> NDArray[np.float32]:
    """(classes,) float32 weight of each class's training photos; over all of them the weights average 1."""
    counts = np.bincount(examples.truth[examples.train], minlength=examples.classes)
    # Where classes are drawn equally often, weights would make the rare ones count twice.
    power = recipe.imbalance if recipe.sampling == "natural" else 0.0
    weights = (counts.mean() / np.maximum(counts, 1)) ** power
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)  # type: ignore[no-any-return]


def order(recipe: Recipe, truth: NDArray[np.int64], purpose: int, epoch: int) -> NDArray[np.int64]:
    """Which of some photos come in an epoch, and in which order: as many indexes of `truth` as it has.

    Each photo comes once; with `balanced` sampling each class equally often, and its photos in turn.

    Args:
        recipe: its seed decides, and its sampling.
        truth: (n,) class indexes.
        purpose: what for; another one gives another order.
        epoch: so does another epoch.
    """
    dice = np.random.default_rng([recipe.seed, purpose, epoch])
    if recipe.sampling == "natural":
        return dice.permutation(len(truth))
    labels = dice.permutation(np.unique(truth))
    each, more = divmod(len(truth), len(labels))
    drawn = [np.resize(dice.permutation(np.flatnonzero(truth == label)), each + (place < more))
             for place, label in enumerate(labels)]
    return dice.permutation(np.concatenate(drawn))


def batches(recipe: Recipe, examples: Examples, first: int, epochs: int, size: int | None = None) -> Any:
    """The batches of fine-tuning, epoch after epoch from `first` on: pictures, one-hot classes and weights.

    The pictures are (batch, size, size, 3) float32 RGB, 0-255, shuffled, augmented and mixed anew in each epoch, and
    then shrunk to `size` if it is given. An epoch depends on its number and the recipe's seed only. Nothing is kept in
    memory but the batches that come next.

    With a teacher its logits of the same pictures, before they are shrunk, stand beside the classes: (batch,
    2 * classes).
    """
    truth, weights = tf.constant(examples.truth), tf.constant(class_weights(recipe, examples))

    def draw(epoch: Array) -> tuple[Array, Array]:
        rows = examples.train[order(recipe, examples.truth[examples.train], TUNING, int(epoch))]
        return rows, _seeds(recipe, TUNING, int(epoch), len(rows))

    def one_epoch(epoch: Any) -> Any:
        rows, seeds = tf.numpy_function(draw, (epoch,), (tf.int64, tf.int64), stateful=False)
        rows, seeds = tf.ensure_shape(rows, (None,)), tf.ensure_shape(seeds, (None, 2))
        dice = tf.numpy_function(lambda epoch, rows: throw(recipe, TUNING, int(epoch), len(rows)), (epoch, rows),
                                 tf.float32, stateful=False)
        dice = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(dice, (None, 5))).batch(recipe.batch)
        if recipe.augmentation.off:
            found = _as_they_are(tf.data.Dataset.from_tensor_slices(rows).batch(recipe.batch), examples)
        else:
            found = _augmented(tf.data.Dataset.from_tensor_slices((rows, seeds)), recipe, examples).batch(recipe.batch)
        return tf.data.Dataset.zip(found, dice)

    def labelled(found: tuple[Any, Any], dice: Any) -> tuple[Any, Any, Any]:
        pictures, labels = found[0], tf.gather(truth, found[1])
        wanted, weight = tf.one_hot(labels, examples.classes), tf.gather(weights, labels)
        if recipe.mixup or recipe.cutmix:
            pictures, wanted, weight = mix(pictures, wanted, weight, dice)
        if teacher := examples.teacher:
            said = tf.numpy_function(lambda pictures: teacher(np.rint(pictures).astype(np.uint8)), (pictures,),
                                     tf.float32, stateful=False)
            wanted = tf.concat([wanted, tf.ensure_shape(said, wanted.shape)], axis=1)
        if size is not None and size != pictures.shape[1]:
            pictures = tf.image.resize(pictures, (size, size), tf.image.ResizeMethod.AREA)
        return pictures, wanted, weight

    return tf.data.Dataset.range(first, epochs).flat_map(one_epoch).map(labelled).prefetch(2)


def hard_views(recipe: Recipe, examples: Examples, folder: Path) -> Store:
    """One augmented view of every validation photo, always the same: (validation photos, size, size, 3) uint8 RGB.

    Without augmentation there are none.
    """
    count = 0 if recipe.augmentation.off else len(examples.val)
    views = Store(folder / "views", (count, *examples.pixels.shape[1:]), np.uint8)
    if count:
        rows = tf.data.Dataset.from_tensor_slices((examples.val, _seeds(recipe, VIEWS, 0, count)))
        for index, (picture, _) in enumerate(_augmented(rows, recipe, examples)):
            views[index] = picture.numpy().astype(np.uint8)
    return views


def _seeds(recipe: Recipe, purpose: int, epoch: int, count: int) -> NDArray[np.int64]:
    """(count, 2) int64: what decides about each picture's augmentation."""
    return np.random.default_rng([recipe.seed, purpose, epoch, 1]).integers(2**31, size=(count, 2))


def _as_they_are(rows: Any, examples: Examples) -> Any:
    def read(rows: Any) -> tuple[Any, Any]:
        pictures = tf.numpy_function(lambda rows: examples.pixels[rows], (rows,), tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(pictures, (None, *examples.pixels.shape[1:])), tf.float32), rows

    return rows.map(read, num_parallel_calls=os.cpu_count(), deterministic=True)


def _augmented(drawn: Any, recipe: Recipe, examples: Examples) -> Any:
    shape = examples.pixels.shape[1:]

    def read(row: Array, die: Array) -> tuple[Array, Array]:
        blank = examples.blank[int(die) % len(examples.blank)] if len(examples.blank) else row
        return examples.pixels[int(row)], examples.pixels[int(blank)]

    def one(row: Any, seed: Any) -> tuple[Any, Any]:
        picture, background = tf.numpy_function(read, (row, seed[0]), (tf.uint8, tf.uint8), stateful=False)
        picture, background = tf.ensure_shape(picture, shape), tf.ensure_shape(background, shape)
        return augment(picture, background, seed, recipe.augmentation), row

    return drawn.map(one, num_parallel_calls=os.cpu_count(), deterministic=True)
