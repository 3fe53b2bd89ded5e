"""A new head on a frozen backbone: the backbone sees each view of a photo once, the head learns from what it said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.pipeline import Examples, plain
from train.recipe import Recipe

BATCH = 256


def fit_head(
    model: keras.Model, recipe: Recipe, examples: Examples, weights: NDArray[np.float32], working: Path
) -> dict[str, float]:
    """Train the layer `logits` of a classifier until it no longer changes; the other layers stay as they are.

    It learns from each training photo as it is, mirrored, in grey and both: augmented views made it worse.

    Args:
        model: the classifier.
        recipe: how.
        examples: on what.
        weights: (classes,) float32 weight of each class's photos.
        working: a folder for the features, which are kept out of memory.

    Returns:
        `loss` and `accuracy` in training.
    """
    features, truth = _features(model, examples, working)
    head = keras.Sequential([keras.Input(features.shape[1:]), model.get_layer("logits")])
    steps = -(-len(truth) // BATCH) * recipe.head_epochs
    rate = keras.optimizers.schedules.CosineDecay(recipe.head_rate, steps)
    head.compile(keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(from_logits=True),
                 metrics=["accuracy"], weighted_metrics=[], jit_compile=False)

    def read(rows: Any) -> Any:
        return features[rows]

    def batch(rows: Any) -> tuple[Any, Any, Any]:
        labels = tf.gather(truth, rows)
        found = tf.ensure_shape(tf.numpy_function(read, (rows,), tf.float32), (None, features.shape[1]))
        return found, tf.one_hot(labels, examples.classes), tf.gather(weights, labels)

    rows = tf.data.Dataset.range(len(truth)).shuffle(len(truth), seed=recipe.seed).batch(BATCH)
    history = head.fit(rows.map(batch).prefetch(2), epochs=recipe.head_epochs, verbose=0, shuffle=False).history
    return {key: float(history[key][-1]) for key in ("loss", "accuracy")}


def _features(
    model: keras.Model, examples: Examples, working: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(views, channels) float32 of what the backbone says of each view, in a memory map, and (views,) int64 classes."""
    pool = keras.Model(model.input, model.get_layer("pool").output)
    run = tf.function(lambda images: pool(images, training=False), reduce_retracing=True)
    count = len(examples.train)
    night, mirrored = (np.repeat(flags, count) for flags in ([False, True, False, True], [False, False, True, True]))
    views = plain(examples, np.tile(examples.train, 4), night, mirrored)
    total = 4 * count
    features = np.memmap(working / "features", np.float32, "w+", shape=(total, pool.output.shape[-1]))
    truth, done = np.zeros(total, np.int64), 0
    for images, labels in views.batch(64).prefetch(2):
        features[done : done + len(labels)] = run(images)
        truth[done : done + len(labels)] = labels
        done += len(labels)
    return features, truth
