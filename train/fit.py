"""The training itself: first a new head on a frozen backbone, then the backbone's last layers at a low rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.backbones import build
from train.head import fit_head
from train.pipeline import Examples, augmented, class_weights, validation
from train.progress import Keeper, describe
from train.recipe import Recipe, Unfreeze

Array = NDArray[Any]


@dataclass(slots=True)
class Trained:
    """A trained classifier and how it came about; `history` is the `Keeper`'s."""

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
    model, backbone = build(recipe.backbone, recipe.weights, recipe.size, examples.classes, recipe.dropout,
                            recipe.decay)
    backbone.trainable = False
    weights = class_weights(np.bincount(examples.truth[examples.train], minlength=examples.classes), recipe.imbalance)
    checks = validation(examples, recipe.batch)
    keeper = Keeper(recipe.patience, say)
    say("training the head")
    loss, accuracy = fit_head(model, recipe, examples, weights, working)
    _compile(model, recipe.fine_rate, 1)
    found = model.evaluate(checks, verbose=0, return_dict=True)
    keeper.keep(model, {"loss": loss, "accuracy": accuracy, "val_loss": found["nll"],
                        "val_accuracy": found["accuracy"]})
    say(f"head: {describe(keeper.history[-1])}")
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
    _compile(model, rate, steps)
    keeper.begin(recipe.epochs, steps)
    pairs = augmented(recipe, examples).map(
        lambda image, label: (image, tf.one_hot(label, examples.classes), tf.gather(weights, label))
    ).batch(recipe.batch).prefetch(2)
    averaging = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(pairs, validation_data=checks, epochs=recipe.epochs, callbacks=[averaging, keeper], verbose=0,
              shuffle=False)


def _compile(model: keras.Model, rate: Any, steps: int) -> None:
    # The weights are averaged over about one epoch: with few photos a single step's noise costs a point or two.
    # XLA is slow on a CPU: 4 photos a second where TensorFlow's own kernels train on 37.
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=1.0 - 1.0 / max(2, steps))
    likelihood = keras.metrics.CategoricalCrossentropy(name="nll", from_logits=True)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), weighted_metrics=[],
                  metrics=["accuracy", likelihood], jit_compile=False)


def _unfreeze(backbone: keras.Model, layers: Unfreeze) -> None:
    backbone.trainable = True
    first = 0 if layers == "all" else max(0, len(backbone.layers) - layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first and not isinstance(layer, keras.layers.BatchNormalization)


def logits(model: keras.Model, pixels: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """(n, classes) float32 logits of (n, size, size, 3) uint8 RGB pictures, a batch at a time."""
    run = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    found = [
        run(tf.constant(pixels[start : start + batch], tf.float32)).numpy() for start in range(0, len(pixels), batch)
    ]
    return np.concatenate(found)
