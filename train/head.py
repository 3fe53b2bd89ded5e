"""A new head on a frozen backbone: the backbone sees each view of a photo once, the head learns from what it said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.preprocess import infrared
from train import stop
from train.measure import View, keras_network, logits, same
from train.photos.store import Store
from train.pipeline import HEAD, Examples, class_weights, order
from train.progress import Bar
from train.recipe import Recipe

BATCH = 256
FOCUS = 2.0
"""Of the focal loss; its authors' choice."""


def loss(recipe: Recipe) -> keras.losses.Loss:
    """The loss of logits against one-hot classes; classes have their weights from elsewhere, so none here."""
    if recipe.loss == "focal":
        return keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=FOCUS, from_logits=True,
                                                         label_smoothing=recipe.label_smoothing)
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)


class Taught(keras.losses.Loss):  # type: ignore[misc]
    """The loss of logits against one-hot classes and, beside them, a teacher's logits of the same pictures."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._loss, self._share, self._temperature = loss(recipe), recipe.teacher_share, recipe.teacher_temperature

    def call(self, wanted: Any, logits: Any) -> Any:
        """(n,) float32, for (n, 2 * classes) and (n, classes)."""
        classes, said = tf.split(wanted, 2, axis=1)
        likely = tf.nn.softmax(said / self._temperature)
        soft = tf.nn.softmax_cross_entropy_with_logits(likely, logits / self._temperature)
        # Times the square, as what one logit moves it by falls with that (Hinton et al. 2015).
        return ((1.0 - self._share) * self._loss.call(classes, logits)
                + self._share * self._temperature**2 * soft)


def accuracy(wanted: Any, logits: Any) -> Any:
    """(n,) float32: 1 where logits are right; a teacher's, beside the one-hot classes, do not count."""
    classes = wanted[:, : logits.shape[1]]
    return tf.cast(tf.argmax(classes, axis=1) == tf.argmax(logits, axis=1), tf.float32)


def right() -> list[keras.metrics.Metric]:
    """What to compile with, to know the accuracy in training.

    Made beforehand, as the optimizer's variables have to be: what is first made within the training step makes
    TensorFlow trace that twice, which for a MobileNet takes longer than an epoch of a small set.
    """
    return [keras.metrics.MeanMetricWrapper(accuracy, "accuracy")]


def fit_head(model: keras.Model, recipe: Recipe, examples: Examples, working: Path) -> dict[str, float]:
    """Train the head of a classifier until it no longer changes; what comes before its features stays as it is.

    It learns from each training photo as it is, mirrored, in grey and both: augmented views made it worse.

    Args:
        model: the classifier.
        recipe: how.
        examples: on what.
        working: a folder for the features, which are kept out of memory.

    Returns:
        `loss` and `accuracy` in training.
    """
    features = _features(model, examples, working)
    truth, weights = np.tile(examples.truth[examples.train], len(VIEWS)), class_weights(recipe, examples)
    head = keras.Sequential([keras.Input(features.shape[1:]),
                             *(layer for layer in model.layers if layer.name in ("hidden", "logits"))])
    steps = -(-len(truth) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(recipe.head_rate, steps * recipe.head_epochs)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(head.trainable_variables)
    head.compile(optimizer, loss(recipe), metrics=right(), weighted_metrics=[], jit_compile=False)

    def one_epoch(epoch: Any) -> Any:
        rows = tf.numpy_function(lambda epoch: order(recipe, truth, HEAD, int(epoch)), (epoch,), tf.int64,
                                 stateful=False)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, (None,))).batch(BATCH)

    def read(rows: Any) -> tuple[Any, Any, Any]:
        labels = tf.gather(truth, rows)
        found = tf.numpy_function(lambda rows: features[rows], (rows,), tf.float32, stateful=False)
        return tf.ensure_shape(found, (None, features.shape[1])), tf.one_hot(labels, examples.classes), \
            tf.gather(weights, labels)

    data = tf.data.Dataset.range(recipe.head_epochs).flat_map(one_epoch).map(read).prefetch(2)
    history = head.fit(data, epochs=recipe.head_epochs, steps_per_epoch=steps, verbose=0, shuffle=False,
                       callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: stop.check())]).history
    features.close()
    features.path.unlink()  # Flattened features are many.
    return {key: float(history[key][-1]) for key in ("loss", "accuracy")}


def mirrored(view: View) -> View:
    """Another view, seen in a mirror."""
    return lambda picture: view(picture)[:, ::-1]


VIEWS = (same, infrared, mirrored(same), mirrored(infrared))


def _features(model: keras.Model, examples: Examples, working: Path) -> Store:
    """(views x photos, features) float32: what the backbone says of each training photo, view after view."""
    bare = keras.Model(model.input, model.get_layer("features").output)
    network = keras_network(bare)
    total, done = len(VIEWS) * len(examples.train), 0
    features = Store(working / "features", (total, bare.output.shape[-1]), np.float32)
    bar = Bar(total)
    for view in VIEWS:
        for start in range(0, len(examples.train), 64):
            rows = examples.train[start : start + 64]
            for found in logits(network, examples.pixels, rows, view, len(rows)):
                features[done] = found
                done += 1
            bar.show(done, "training the head")
    bar.clear()
    return features
