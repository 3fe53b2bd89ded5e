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


@dataclass(slots=True)
class Trained:
    """A trained classifier and how it came about; `history` has one entry for each epoch."""

    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False


def fit(recipe: Recipe, examples: Examples, working: Path, say: Callable[[str], None]) -> Trained:
    """Train a classifier; the result is never worse on the validation photos than a new head on the frozen backbone.

    Batch norm stays in inference mode throughout: batches of 32 photos give poor statistics, and MobileNetV3's
    (momentum 0.999) would lag behind a short training: 97 % on the training batches, 3 % afterwards.

    Args:
        recipe: how.
        examples: on what.
        working: a folder for what is needed only meanwhile.
        say: shows a line.

    Raises:
        KeyboardInterrupt: before the head is trained; later Ctrl-C ends the training with the best weights so far.
        EdgeWatchError: the weights do not fit, or nothing was learned.
    """
    keras.utils.set_random_seed(recipe.seed)
    model, backbone = build(recipe.backbone, recipe.weights, recipe.size, examples.classes, recipe.dropout, recipe.decay)
    backbone.trainable = False
    weights = class_weights(np.bincount(examples.truth[examples.train], minlength=examples.classes), recipe.imbalance)
    checks = validation_pairs(examples, recipe.batch)
    keeper = Keeper(recipe.patience, say)
    say("training the head")
    loss, accuracy = fit_head(model, recipe, examples, weights, working)
    _compile(model, recipe, recipe.fine_rate, 1)
    found = model.evaluate(checks, verbose=0, return_dict=True)
    keeper.keep(model, {"loss": loss, "accuracy": accuracy, "val_loss": found["loss"], "val_accuracy": found["accuracy"]})
    trained = Trained(model, keeper.history)
    if recipe.epochs and recipe.unfreeze:
        try:
            _fine_tune(model, backbone, recipe, examples, weights, checks, keeper)
        except KeyboardInterrupt:
            trained.interrupted = True
            say("interrupted: the best weights so far are kept")
    model.set_weights(keeper.best())
    return trained


def _fine_tune(
    model: keras.Model, backbone: keras.Model, recipe: Recipe, examples: Examples, weights: Array, checks: Any,
    keeper: Keeper,
) -> None:
    _unfreeze(backbone, recipe.unfreeze)
    steps = -(-len(examples.train) // recipe.batch)
    warm = steps // 2
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.fine_rate / 20, recipe.epochs * steps - warm, warmup_target=recipe.fine_rate, warmup_steps=warm
    )
    _compile(model, recipe, rate, steps)
    keeper.begin(recipe.epochs, steps)
    pairs = training_pairs(recipe, examples, weights).batch(recipe.batch).prefetch(2)
    averaging = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(pairs, validation_data=checks, epochs=recipe.epochs, callbacks=[averaging, keeper], verbose=0, shuffle=False)


def _compile(model: keras.Model, recipe: Recipe, rate: Any, steps: int) -> None:
    # The weights are averaged over about one epoch: with few photos a single step's noise costs a point or two.
    # XLA is slow on a CPU: 4 photos a second where TensorFlow's own kernels train on 37.
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=1.0 - 1.0 / max(2, steps))
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), weighted_metrics=[], metrics=["accuracy"], jit_compile=False)


def _unfreeze(backbone: keras.Model, layers: Unfreeze) -> None:
    backbone.trainable = True
    first = 0 if layers == "all" else max(0, len(backbone.layers) - layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first and not isinstance(layer, keras.layers.BatchNormalization)
