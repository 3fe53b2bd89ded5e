"""From decoded photos to batches: shuffled, augmented in parallel, never held in memory together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.manifest import Lighting
from models.preprocess import infrared
from train.augment import GREY, augment
from train.recipe import Recipe

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """What is trained on, as rows of `pixels`; test photos are in none of the lists.

    `pixels`: (n, size, size, 3) uint8 RGB. `truth`: (n,) class indexes. `train`, `val`, `blank`: rows; `blank` are
    those training photos that show no animal.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    blank: NDArray[np.int64]
    classes: int


def class_weights(counts: NDArray[np.int64], power: float) -> NDArray[np.float32]:
    """(classes,) float32 weight of each class's photos; over all photos they average 1."""
    weights = (counts.mean() / np.maximum(counts, 1)) ** power
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)  # type: ignore[no-any-return]


def augmented(recipe: Recipe, examples: Examples) -> Any:
    """(picture, class index) of every training photo, shuffled and augmented anew in each pass.

    The pictures are (size, size, 3) float32, 0-255. The recipe's seed decides them all.
    """
    rows = tf.data.Dataset.from_tensor_slices((examples.train, examples.truth[examples.train]))
    rows = rows.shuffle(len(examples.train), seed=recipe.seed, reshuffle_each_iteration=True)
    return _augment(rows, recipe, examples, anew=True)


def hard_views(recipe: Recipe, examples: Examples, folder: Path) -> NDArray[np.uint8]:
    """One augmented view of every validation photo, always the same: (validation photos, size, size, 3) uint8 RGB."""
    shape = (len(examples.val), *examples.pixels.shape[1:])
    views = np.memmap(folder / "views", np.uint8, "w+", shape=shape)
    rows = tf.data.Dataset.from_tensor_slices((examples.val, examples.truth[examples.val]))
    for index, (image, _) in enumerate(_augment(rows, recipe, examples, anew=False)):
        views[index] = image.numpy().astype(np.uint8)
    return views


def _augment(rows: Any, recipe: Recipe, examples: Examples, anew: bool) -> Any:
    shape = examples.pixels.shape[1:]

    def read(row: Array, die: Array) -> tuple[Array, Array]:
        blank = examples.blank[int(die) % len(examples.blank)] if len(examples.blank) else row
        return examples.pixels[row], examples.pixels[blank]

    def one(row: Any, label: Any, seed: Any) -> tuple[Any, Any]:
        picture, background = tf.numpy_function(read, (row, seed[0]), (tf.uint8, tf.uint8), stateful=False)
        picture, background = tf.ensure_shape(picture, shape), tf.ensure_shape(background, shape)
        return augment(picture, background, seed, recipe.infrared), label

    seeds = tf.data.Dataset.random(seed=recipe.seed, rerandomize_each_iteration=anew).batch(2, drop_remainder=True)
    return tf.data.Dataset.zip((rows, seeds)).map(
        lambda row, seed: one(row[0], row[1], seed), num_parallel_calls=os.cpu_count(), deterministic=True
    )


def plain(examples: Examples, rows: Array, night: Array, mirrored: Array) -> Any:
    """(picture, class index) of the given photos as they are, in grey where `night` and turned where `mirrored`.

    `rows`, `night` and `mirrored` are of one length; the pictures are (size, size, 3) float32, 0-255.
    """
    shape = examples.pixels.shape[1:]

    def one(row: Any, label: Any, night: Any, mirrored: Any) -> tuple[Any, Any]:
        picture = tf.numpy_function(lambda row: examples.pixels[row], (row,), tf.uint8, stateful=False)
        image = tf.cast(tf.ensure_shape(picture, shape), tf.float32)
        image = tf.where(mirrored, image[:, ::-1], image)
        grey = tf.repeat(tf.reduce_sum(image * tf.constant(GREY), axis=-1, keepdims=True), 3, axis=-1)
        return tf.where(night, grey, image), label

    pairs = tf.data.Dataset.from_tensor_slices((rows, examples.truth[rows], night, mirrored))
    return pairs.map(one, num_parallel_calls=os.cpu_count(), deterministic=True)


def logits(
    model: Any, pixels: NDArray[np.uint8], rows: NDArray[np.int64], lighting: Lighting, batch: int = 32
) -> NDArray[np.float32]:
    """(rows, classes) float32 logits of some of the (n, size, size, 3) uint8 RGB pictures, a batch at a time.

    By `night` the model sees them in infrared-grey.
    """
    found = []
    for start in range(0, len(rows), batch):
        pictures = pixels[rows[start : start + batch]]
        if lighting == "night":
            pictures = np.stack([infrared(picture) for picture in pictures])
        found.append(model(tf.constant(pictures, tf.float32), training=False).numpy())
    return np.concatenate(found)
