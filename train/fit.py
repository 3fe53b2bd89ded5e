"""The training itself: first a new head on a frozen backbone, then the backbone's last layers at a low rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.evaluation import fit_temperature, softmax
from models.preprocess import infrared
from train import stop
from train.averaging import SWA_RATE, averaging, swa_begins
from train.backbones import at_size, build
from train.distribute import Copies, Devices, devices
from train.head import Taught, fit_head, loss, right
from train.measure import Network, keras_network, logits, same
from train.norms import Norms, fuse
from train.partial import Partial, State
from train.photos.store import Store
from train.pipeline import Examples, batches, hard_views
from train.progress import Curves, Keeper
from train.recipe import STEP, Recipe, Unfreeze

Array = NDArray[Any]
MOMENTUM = 0.95
"""Of batch norm: its statistics are those of about the last 20 batches."""
AUTO_EPOCHS, AUTO_STEPS = 4, 180
"""Of fine-tuning, at least, where the recipe leaves it open."""


@dataclass(slots=True)
class Trained:
    """A trained classifier and how it came about; `history` is the `Keeper`'s."""

    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False
    kept: str = ""
    """Which weights it has, in words."""


def fit(
    recipe: Recipe, examples: Examples, working: Path, say: Callable[[str], None],
    partial: Partial | None = None, curves: Path | None = None, found: Devices | None = None,
) -> Trained:
    """Train a classifier; on clear validation photos it is never worse than a new head on the frozen backbone.

    Args:
        recipe: how.
        examples: on what.
        working: a folder for what is needed only meanwhile.
        say: shows a line.
        partial: where each epoch's checkpoint goes, and where an earlier run's is.
        curves: a folder for TensorBoard's files.
        found: what fine-tuning computes on, if not as `devices` says. On machines of a team that are not the chief
            only fine-tuning takes place, and the result has no weights to keep.

    Raises:
        KeyboardInterrupt: before the head is trained; later Ctrl-C ends the training with the best weights so far.
        EdgeWatchError: the weights do not fit, or nothing was learned.
    """
    found = found or devices(recipe)
    model, backbone = _classifier(recipe, examples.classes)
    if found.team and not found.team.task.chief:
        follower = Keeper(recipe, dict, lambda line: None)
        if recipe.epochs and recipe.unfreeze:
            _fine_tune(model, backbone, recipe, examples, follower, None, found)
        return Trained(model, follower.history)
    state = partial.state if partial else None
    views = hard_views(recipe, examples, working)
    network = keras_network(model)
    keeper = Keeper(recipe, lambda: check(network, examples, views), say,
                    Curves(curves, anew=state is None) if curves else None)
    trained = Trained(model, keeper.history)
    if state:
        keeper.go_on(state.history, state.arrays["first"], state.arrays["tuned"])
    else:
        say("training the head")
        keeper.keep_head(model, fit_head(model, recipe, examples, working))
    if recipe.epochs and recipe.unfreeze:
        try:
            _fine_tune(model, backbone, recipe, examples, keeper, partial, found)
        except KeyboardInterrupt:
            if found.team:
                raise
            stop.clear()
            trained.interrupted = True
            say("interrupted: the best weights so far are kept")
        _mix(model, keeper)
    trained.kept, weights = keeper.best()
    model.set_weights(weights)
    say(f"kept: {trained.kept}")
    return trained


def _classifier(recipe: Recipe, classes: int) -> tuple[keras.Model, keras.Model]:
    """The classifier with its backbone frozen, and the backbone; from here on the seed decides."""
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(recipe.seed)
    model, backbone = build(recipe.backbone, recipe.weights, recipe.size, classes, recipe.dropout, recipe.decay,
                            recipe.head, recipe.hidden)
    backbone.trainable = False
    return model, backbone


def _mix(model: keras.Model, keeper: Keeper) -> None:
    """Try weights between those of the head alone and the best fine-tuned (Wortsman et al. 2022, WiSE-FT).

    They are often better than both: as sure of clear photos as the untouched backbone, and good at hard ones.
    """
    if keeper.tuned:
        for share in (0.125, 0.25, 0.5, 0.75):
            keeper.try_mix(model, share)


def _fine_tune(
    model: keras.Model, backbone: keras.Model, recipe: Recipe, examples: Examples, keeper: Keeper,
    partial: Partial | None, found: Devices,
) -> None:
    """Fine-tune from where the keeper's history ends, with the partial's state if it has one."""
    unfreeze(backbone, recipe.unfreeze)
    epochs, steps = length(recipe, len(examples.train))
    copies = Copies(model, found, recipe)
    tuned = copies.model
    # Before it is compiled: Keras would compile what it clones, and with copies of what it was compiled with.
    models = {size: at_size(tuned, backbone, size) for *_, size in sizes(recipe, 0, epochs) if size < recipe.size}
    learned = Taught(recipe) if examples.teacher else loss(recipe)
    copies.compile(lambda: optimizer(recipe, steps, epochs), learned)
    for small in models.values():
        small.compile(tuned.optimizer, learned, weighted_metrics=[], metrics=right(), jit_compile=False)
    if partial and partial.state:
        copies.assign(tuned.variables, partial.state.arrays["model"])
        copies.assign(tuned.optimizer.variables, partial.state.arrays["optimizer"])
    if found.team:
        keeper.follow(copies.begin_together(found.team, keeper.history))
    done, norms = len(keeper.history) - 1, Norms(tuned)
    mean = averaging(recipe, done, epochs, lambda epoch: norms.measure(
        batches(recipe, replace(examples, teacher=None), epoch, epoch + 1)),
        partial.state.arrays["average"] if partial and partial.state else [])

    def save() -> None:
        if partial:
            partial.save(State(keeper.history, {
                "first": keeper.first, "tuned": keeper.tuned, "model": _values(tuned.variables),
                "optimizer": _values(tuned.optimizer.variables), "average": mean.state(),
            }))

    keeper.begin(epochs, steps, save, copies.agree)
    if done == 0:
        save()
    # With `ema` each size begins with the mean of the one before: when a fit ends, Keras puts it in the weights' place.
    for first, last, size in sizes(recipe, done, epochs):
        if not keeper.over():
            with copies.together():
                models.get(size, tuned).fit(
                    batches(recipe, examples, first, last, size, found.part), initial_epoch=first, epochs=last,
                    steps_per_epoch=steps, callbacks=[mean, keeper], verbose=0, shuffle=False)


def sizes(recipe: Recipe, done: int, epochs: int) -> Iterator[tuple[int, int, int]]:
    """The sizes that fine-tuning goes through after so many epochs of all: first epoch, the one after the last, pixels.

    They grow evenly from `start_size` to `size`, as in Howard's progressive resizing (fast.ai, DAWNBench 2018); the
    last epoch always has `size`, for which the statistics of batch norm are needed.
    """
    grown = (recipe.size - (recipe.start_size or recipe.size)) // STEP

    def size(epoch: int) -> int:
        left = epochs - 1 - epoch
        return recipe.size - STEP * int(grown * left / max(1, epochs - 1) + 0.5)

    for pixels, group in groupby(range(done, epochs), size):
        first, *more = group
        yield first, first + len(more) + 1, pixels


def length(recipe: Recipe, photos: int) -> tuple[int, int]:
    """Of fine-tuning on so many photos: the epochs, at most, and the steps of each."""
    steps = math.ceil(photos / recipe.batch)
    return max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / steps)) if recipe.epochs == "auto" else recipe.epochs, steps


def optimizer(recipe: Recipe, steps: int, epochs: int) -> keras.optimizers.Optimizer:
    """Of fine-tuning over so many epochs of so many steps."""
    warm = steps // 2
    falls, to = (swa_begins(epochs), SWA_RATE) if recipe.average == "swa" else (epochs, 0.0)
    rate = recipe.fine_rate if recipe.schedule == "plateau" else keras.optimizers.schedules.CosineDecay(
        recipe.fine_rate / 20, max(1, falls * steps - warm), to, warmup_target=recipe.fine_rate, warmup_steps=warm
    )
    return keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=recipe.average == "ema",
                                 ema_momentum=1.0 - 1.0 / max(2, steps))


def unfreeze(backbone: keras.Model, layers: Unfreeze) -> None:
    """Make a backbone's last layers trainable, their batch norm too.

    With its statistics frozen, fine-tuning on 1,500 photos (at 2e-5) did no better than the head alone. MobileNetV3's
    own momentum of 0.999 would let the statistics lag behind a short training (97 % on the training batches, 3 %
    afterwards), so it is lowered for all.
    """
    backbone.trainable = True
    first = 0 if layers == "all" else max(0, len(backbone.layers) - layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
            fuse(layer)


def _values(variables: Sequence[Any]) -> list[Array]:
    return [variable.numpy() for variable in variables]


def check(network: Network, examples: Examples, views: Store) -> dict[str, float]:
    """How the validation photos fare: as taken, in grey, and as the given hard views of them.

    `val_loss` and `val_accuracy` are over all of that and guide fine-tuning. `clear_loss` leaves the hard views out and
    decides what is kept: fine-tuning helps with hard views, but can spoil what ImageNet taught of clear ones.

    A loss is taken after fitting the temperature, as the finished bundle has one: else the surer model would lose to
    the more hesitant one for the few photos that are labelled wrongly.
    """
    raw = [logits(network, examples.pixels, examples.val, view) for view in (same, infrared)]
    if len(views):
        raw.append(logits(network, views, np.arange(len(views))))
    found, truth = np.concatenate(raw), np.tile(examples.truth[examples.val], len(raw))
    chosen = softmax(found, fit_temperature(found, truth))[np.arange(len(truth)), truth]
    # Not below 0, which rounding would bring where every photo is right beyond doubt.
    losses = np.maximum(0.0, -np.log(np.maximum(chosen, 1e-12)))
    return {"val_loss": float(losses.mean()), "val_accuracy": float((found.argmax(1) == truth).mean()),
            "clear_loss": float(losses[: 2 * len(examples.val)].mean())}
