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

from models.evaluation import fit_temperature, softmax
from models.manifest import LIGHTINGS
from train.backbones import build
from train.head import fit_head
from train.pipeline import Examples, augmented, class_weights, hard_views, logits
from train.progress import Keeper, describe
from train.recipe import Recipe, Unfreeze

Array = NDArray[Any]
MOMENTUM = 0.95
"""Of batch norm: its statistics are those of about the last 20 batches."""


@dataclass(slots=True)
class Trained:
    """A trained classifier and how it came about; `history` is the `Keeper`'s."""

    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False


def fit(recipe: Recipe, examples: Examples, working: Path, say: Callable[[str], None]) -> Trained:
    """Train a classifier; the result is never worse on the validation photos than a new head on the frozen backbone.

    Batch norm is trained too, in the layers that are: with its statistics frozen, fine-tuning on 1,500 photos (at 2e-5)
    did no better than the head alone. Its own momentum of 0.999 would let the statistics lag behind a short training
    (97 % on the training batches, 3 % afterwards), so it is lowered.

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
    views = hard_views(recipe, examples, working)
    keeper = Keeper(recipe.patience, lambda: check(model, examples, views), say)
    say("training the head")
    keeper.keep(model, fit_head(model, recipe, examples, weights, working))
    say(f"head: {describe(keeper.history[-1])}")
    trained = Trained(model, keeper.history)
    if recipe.epochs and recipe.unfreeze:
        try:
            _fine_tune(model, backbone, recipe, examples, weights, keeper)
        except KeyboardInterrupt:
            trained.interrupted = True
            say("interrupted: the best weights so far are kept")
        _mix(model, keeper)
    model.set_weights(keeper.best())
    return trained


def _mix(model: keras.Model, keeper: Keeper) -> None:
    """Try weights between those of the first entry and the best later ones (Wortsman et al. 2022, WiSE-FT).

    They are often better than both: as sure of clear photos as the untouched backbone, and good at hard ones.
    """
    if keeper.tuned is None:
        return
    for share in (0.25, 0.5, 0.75):
        model.set_weights([a + share * (b - a) for a, b in zip(keeper.first, keeper.tuned, strict=True)])
        keeper.try_mix(model, share)


def _fine_tune(
    model: keras.Model, backbone: keras.Model, recipe: Recipe, examples: Examples, weights: Array, keeper: Keeper
) -> None:
    _unfreeze(backbone, recipe.unfreeze)
    steps = -(-len(examples.train) // recipe.batch)
    warm = steps // 2
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.fine_rate / 20, recipe.epochs * steps - warm, warmup_target=recipe.fine_rate, warmup_steps=warm
    )
    # The weights are averaged over about one epoch: with few photos a single step's noise costs a point or two.
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=1.0 - 1.0 / max(2, steps))
    # Without XLA: on a CPU it trains on 4 photos a second where TensorFlow's own kernels train on 37.
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), weighted_metrics=[],
                  metrics=["accuracy"], jit_compile=False)
    keeper.begin(recipe.epochs, steps)
    pairs = augmented(recipe, examples).map(
        lambda image, label: (image, tf.one_hot(label, examples.classes), tf.gather(weights, label))
    ).batch(recipe.batch).prefetch(2)
    averaging = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(pairs, epochs=recipe.epochs, callbacks=[averaging, keeper], verbose=0, shuffle=False)


def _unfreeze(backbone: keras.Model, layers: Unfreeze) -> None:
    backbone.trainable = True
    first = 0 if layers == "all" else max(0, len(backbone.layers) - layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM


def check(model: keras.Model, examples: Examples, views: NDArray[np.uint8]) -> dict[str, float]:
    """Loss and accuracy on the validation photos by day, in grey, and as the given hard views of them.

    The loss is taken after fitting the temperature, as the finished bundle has one: else the surer model would lose to
    the more hesitant one for the few photos that are labelled wrongly.
    """
    every = np.arange(len(views))
    raw = np.concatenate([*(logits(model, examples.pixels, examples.val, lighting) for lighting in LIGHTINGS),
                          logits(model, views, every, "day")])
    truth = np.tile(examples.truth[examples.val], 3)
    chosen = softmax(raw, fit_temperature(raw, truth))[np.arange(len(truth)), truth]
    return {"val_loss": float(-np.log(np.maximum(chosen, 1e-12)).mean()),
            "val_accuracy": float((raw.argmax(1) == truth).mean())}
