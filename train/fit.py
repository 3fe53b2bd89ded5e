"""The training itself: first a new head on a frozen backbone, then the backbone's last layers at a low rate."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.augment import augment
from train.backbones import build
from train.recipe import Recipe, Unfreeze

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """What is trained on, as rows of `pixels`; no test photo is among them.

    `pixels`: (n, size, size, 3) uint8 RGB. `truth`: (n,) class indexes. `train`, `val`, `blank`: rows; `blank` are
    those training photos that show no animal.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    blank: NDArray[np.int64]
    classes: int


@dataclass(slots=True)
class Trained:
    """A trained classifier and how it came about; `history` has one entry for each epoch."""

    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False


def fit(recipe: Recipe, examples: Examples, say: Callable[[str], None]) -> Trained:
    """Train a classifier.

    Batch norm stays in inference mode throughout: batches of 32 photos give poor statistics, and MobileNetV3's
    (momentum 0.999) would lag behind a short training: 97 % on the training batches, 3 % afterwards.

    Raises:
        KeyboardInterrupt: in the first epoch; later Ctrl-C ends the training, and the best weights so far are kept.
        EdgeWatchError: the weights do not fit.
    """
    keras.utils.set_random_seed(recipe.seed)
    model, backbone = build(recipe.backbone, recipe.weights, recipe.size, examples.classes, recipe.dropout)
    keeper = _Keeper(recipe.patience, say)
    trained = Trained(model, keeper.history)
    steps = -(-len(examples.train) // recipe.batch)
    pairs = _training_pairs(recipe, examples)
    checks = _validation_pairs(recipe, examples)
    try:
        backbone.trainable = False
        _compile(model, recipe, recipe.head_rate, steps)
        keeper.begin("head", recipe.head_epochs, steps)
        _run(model, pairs, checks, keeper)
        if recipe.epochs and recipe.unfreeze:
            _unfreeze(backbone, recipe.unfreeze)
            _compile(model, recipe, keras.optimizers.schedules.CosineDecay(
                recipe.fine_rate / 20, recipe.epochs * steps - steps // 2, warmup_target=recipe.fine_rate,
                warmup_steps=steps // 2,
            ), steps)
            keeper.begin("fine-tuning", recipe.epochs, steps)
            _run(model, pairs, checks, keeper)
    except KeyboardInterrupt:
        if keeper.best is None:
            raise
        trained.interrupted = True
        say("interrupted: the best weights so far are kept")
    model.set_weights(keeper.best)
    return trained


def _compile(model: keras.Model, recipe: Recipe, rate: Any, steps: int) -> None:
    # The weights are averaged over about one epoch: with few photos a single step's noise costs a point or two.
    # XLA is slow on a CPU: 4 photos a second where TensorFlow's own kernels train on 37.
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=1.0 - 1.0 / max(2, steps))
    model.compile(optimizer, _loss(recipe), weighted_metrics=[], metrics=["accuracy"], jit_compile=False)


def _run(model: keras.Model, pairs: Any, checks: Any, keeper: _Keeper) -> None:
    averaging = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(pairs, validation_data=checks, epochs=keeper.epochs, callbacks=[averaging, keeper], verbose=0,
              shuffle=False)


def _loss(recipe: Recipe) -> Any:
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)


def _unfreeze(backbone: keras.Model, layers: Unfreeze) -> None:
    backbone.trainable = True
    first = 0 if layers == "all" else max(0, len(backbone.layers) - layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first and not isinstance(layer, keras.layers.BatchNormalization)


def class_weights(counts: NDArray[np.int64], power: float) -> NDArray[np.float32]:
    """(classes,) float32 weight of each class's photos; over all photos they average 1."""
    weights = (counts.mean() / np.maximum(counts, 1)) ** power
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)  # type: ignore[no-any-return]


def _training_pairs(recipe: Recipe, examples: Examples) -> Any:
    """Batches of (pictures, one-hot truth, weights), shuffled and augmented anew in each epoch."""
    weights = class_weights(np.bincount(examples.truth[examples.train], minlength=examples.classes), recipe.imbalance)
    shape = examples.pixels.shape[1:]

    def read(row: Array, die: Array) -> tuple[Array, Array]:
        blank = examples.blank[int(die) % len(examples.blank)] if len(examples.blank) else row
        return examples.pixels[row], examples.pixels[blank]

    def example(row: Any, label: Any, seed: Any) -> tuple[Any, Any, Any]:
        picture, background = tf.numpy_function(read, (row, seed[0]), (tf.uint8, tf.uint8), stateful=False)
        picture, background = tf.ensure_shape(picture, shape), tf.ensure_shape(background, shape)
        image = augment(picture, background, seed, recipe.infrared)
        return image, tf.one_hot(label, examples.classes), tf.gather(weights, label)

    rows = tf.data.Dataset.from_tensor_slices((examples.train, examples.truth[examples.train]))
    rows = rows.shuffle(len(examples.train), seed=recipe.seed, reshuffle_each_iteration=True)
    seeds = tf.data.Dataset.random(seed=recipe.seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)
    pairs = tf.data.Dataset.zip((rows, seeds)).map(
        lambda row, seed: example(row[0], row[1], seed), num_parallel_calls=os.cpu_count(), deterministic=True
    )
    return pairs.batch(recipe.batch).prefetch(2)


def _validation_pairs(recipe: Recipe, examples: Examples) -> Any:
    """Batches of (pictures, one-hot truth) of the validation photos, by day and again in grey."""
    shape = examples.pixels.shape[1:]

    def example(row: Any, label: Any, night: Any) -> tuple[Any, Any]:
        picture = tf.numpy_function(lambda row: examples.pixels[row], (row,), tf.uint8, stateful=False)
        image = tf.cast(tf.ensure_shape(picture, shape), tf.float32)
        grey = tf.repeat(tf.reduce_sum(image * (0.299, 0.587, 0.114), axis=-1, keepdims=True), 3, axis=-1)
        return tf.where(night, grey, image), tf.one_hot(label, examples.classes)

    twice = np.concatenate([examples.val, examples.val])
    night = np.arange(len(twice)) >= len(examples.val)
    rows = tf.data.Dataset.from_tensor_slices((twice, examples.truth[twice], night))
    return rows.map(example, num_parallel_calls=os.cpu_count()).batch(recipe.batch).prefetch(2)


class _Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the best weights, stops when nothing gets better, and shows one line with the time left."""

    def __init__(self, patience: int, say: Callable[[str], None]) -> None:
        super().__init__()
        self.best: list[Array] | None = None
        self.history: list[dict[str, float]] = []
        self._lowest, self._patience, self._say = np.inf, patience, say
        self._live = sys.stderr.isatty()

    def begin(self, phase: str, epochs: int, steps: int) -> None:
        """Say which phase comes next; of how many epochs of how many steps."""
        self._phase, self.epochs, self._steps, self._bad = phase, epochs, steps, 0
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._live:
            done = self._epoch * self._steps + batch + 1
            left = (time.monotonic() - self._started) / done * (self.epochs * self._steps - done)
            print(f"\r{self._phase} {self._epoch + 1}/{self.epochs}, step {batch + 1}/{self._steps}, "
                  f"loss {logs['loss']:.3f}, about {_minutes(left)} left  ", end="", file=sys.stderr, flush=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        fine = float(self._phase != "head")
        found = {key: float(logs[key]) for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        self.history.append({"fine_tuning": fine, **found})
        self._bad += 1
        if found["val_loss"] < self._lowest:
            self._lowest, self._bad, self.best = found["val_loss"], 0, self.model.get_weights()
        left = (time.monotonic() - self._started) / (epoch + 1) * (self.epochs - epoch - 1)
        if self._live:
            print("\r\033[K", end="", file=sys.stderr)
        self._say(f"{self._phase} {epoch + 1}/{self.epochs}: {found['accuracy']:.1%} right in training (augmented), "
                  f"{found['val_accuracy']:.1%} in validation (day and grey); about {_minutes(left)} left")
        if self._bad >= self._patience:
            self._say(f"{self._phase}: no better for {self._patience} epochs, stopped")
            self.model.stop_training = True


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def logits(model: keras.Model, pixels: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """(n, classes) float32 logits of (n, size, size, 3) uint8 RGB pictures, a batch at a time."""
    found = [
        np.asarray(model(pixels[start : start + batch].astype(np.float32), training=False))
        for start in range(0, len(pixels), batch)
    ]
    return np.concatenate(found).astype(np.float32)
