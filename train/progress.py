"""What is shown and kept while a model is fine-tuned."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from models.errors import EdgeWatchError
from train import stop
from train.history import NOTHING, score, stalls
from train.partial import EVENTS
from train.recipe import Recipe

Weights = list[NDArray[Any]]
CLEAR = "clear_loss"
STALLED = 2
"""Epochs without a better score, after which the schedule `plateau` lowers the rate."""
FALL = 0.2
"""What is then left of the rate."""


class Bar:
    """On a terminal one line that is drawn again and again: what is done, and the time left. In a log it is silent."""

    WIDTH = 30
    EVERY = 0.2  # Seconds.

    def __init__(self, total: int, done: int = 0) -> None:
        """Something of `total` steps starts, or goes on after `done` of them."""
        self._total, self._first, self._started, self._drawn = total, done, time.monotonic(), 0.0
        self._live = sys.stderr.isatty()

    def show(self, done: int, title: str) -> None:
        """So many steps are done.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        stop.check()
        if self._live and time.monotonic() - self._drawn > self.EVERY:
            self._drawn, full = time.monotonic(), self.WIDTH * done // self._total
            print(f"\r{title} [{'#' * full}{'.' * (self.WIDTH - full)}] {self.left(done)}\033[K", end="",
                  file=sys.stderr, flush=True)

    def left(self, done: int) -> str:
        """The time left, in words."""
        seconds = (time.monotonic() - self._started) / max(1, done - self._first) * (self._total - done)
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"

    def clear(self) -> None:
        """Wipe the line, so that another can be said."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class Curves:
    """The files that TensorBoard shows, also while the training runs, and beside those of other trainings."""

    def __init__(self, folder: Path, anew: bool) -> None:
        """Write into a folder; if the training starts anew, what an earlier one of its name left there is removed.

        Raises:
            EdgeWatchError: it cannot be written.
        """
        for old in folder.glob(EVENTS) if anew else ():
            old.unlink()
        try:
            self._writer = tf.summary.create_file_writer(str(folder))
        except tf.errors.OpError as error:
            raise _unwritten(error) from error

    def add(self, epoch: int, found: dict[str, float]) -> None:
        """Write what was found in an epoch.

        Raises:
            EdgeWatchError: it cannot be written.
        """
        # As raw values: tf.summary.scalar needs TensorBoard itself, which not every machine that trains has.
        values = [tf.compat.v1.Summary.Value(tag=key, simple_value=value) for key, value in found.items()]
        try:
            with self._writer.as_default():
                tf.summary.experimental.write_raw_pb(tf.compat.v1.Summary(value=values).SerializeToString(), epoch)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise _unwritten(error) from error


def _unwritten(error: tf.errors.OpError) -> EdgeWatchError:
    return EdgeWatchError(f"the files for TensorBoard cannot be written: {error.message.splitlines()[0][:160]}; make "
                          f"room or choose another --out")


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the best weights, lowers the rate or stops when nothing gets better, and says what each epoch brought.

    `history` has an entry for each epoch, the first of them for the trained head: `loss` and `accuracy` in training,
    what `check` finds, and the learning `rate` at its end. `first` and `tuned` are the weights of the head alone and
    the best fine-tuned; `tuned` is empty before there are such.
    """

    def __init__(
        self, recipe: Recipe, check: Callable[[], dict[str, float]], say: Callable[[str], None],
        curves: Curves | None = None,
    ) -> None:
        super().__init__()
        self.history: list[dict[str, float]] = []
        self.first: Weights = []
        self.tuned: Weights = []
        self._mixed: list[tuple[float, str, Weights]] = []
        self._recipe, self._check, self._say, self._curves = recipe, check, say, curves

    def best(self) -> tuple[str, Weights]:
        """The weights that do best on clear views, and which they are; of equal ones the least changed.

        Raises:
            EdgeWatchError: no validation loss was a number.
        """
        found = [(score(self.history[0], CLEAR), "a new head on the untouched backbone", self.first), *self._mixed]
        if self.tuned:
            epoch = max(range(1, len(self.history)), key=lambda epoch: score(self.history[epoch]))
            found.append((score(self.history[epoch], CLEAR), f"fine-tuned, epoch {epoch}", self.tuned))
        highest, kept, weights = max(found, key=lambda entry: entry[0])
        if highest == NOTHING:
            raise EdgeWatchError("expected a validation loss that is a number, found none; try other --weights")
        return kept, weights

    def go_on(self, history: list[dict[str, float]], first: Weights, tuned: Weights) -> None:
        """Take over what an interrupted training had reached."""
        self.history.extend(history)
        self.first, self.tuned = first, tuned
        self._say(f"going on after epoch {len(history) - 1} of fine-tuning")

    def follow(self, history: list[dict[str, float]]) -> None:
        """Take over what the chief of several machines had found, to decide as it does."""
        self.history[:] = history

    def keep_head(self, model: keras.Model, found: dict[str, float]) -> None:
        """Note the trained head's `loss` and `accuracy`, and check it."""
        self.first = model.get_weights()
        self._note(found | self._check() | {"rate": 0.0})
        self._say(f"head: {_describe(self.history[-1])}")

    def try_mix(self, model: keras.Model, share: float) -> None:
        """Check weights of which a share are fine-tuned."""
        model.set_weights([a + share * (b - a) for a, b in zip(self.first, self.tuned, strict=True)])
        found = self._check()
        kept = f"{100 * share:g} % of the way from the new head on the untouched backbone to fine-tuned"
        self._say(f"{100 * share:g} % fine-tuned: {_validated(found)}")
        self._mixed.append((score(found, CLEAR), kept, model.get_weights()))

    def begin(
        self, epochs: int, steps: int, save: Callable[[], None],
        agree: Callable[[Callable[[], dict[str, float]]], dict[str, float]],
    ) -> None:
        """Fine-tuning starts or goes on: so many epochs of so many steps; `save` is called after each.

        `agree` gives what the check found, the same on all machines that train together.
        """
        self._epochs, self._steps, self._save, self._agree = epochs, steps, save, agree
        self._bar: Bar | None = None

    def over(self) -> bool:
        """Whether fine-tuning has nothing left to do."""
        # The head alone may be better at first, so patience looks at the fine-tuned epochs only.
        return len(self.history) > self._epochs or stalls(self.history[1:], self._recipe.patience) > 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keras: an epoch starts."""
        self._epoch = epoch
        if self._recipe.schedule == "plateau":
            self.model.optimizer.learning_rate = self._recipe.fine_rate * FALL ** stalls(self.history[1:], STALLED)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keras: a batch is done."""
        done = self._epoch * self._steps + batch + 1
        # Timed from the end of the first batch: before it TensorFlow prepares for long.
        self._bar = self._bar or Bar(self._epochs * self._steps, done)
        self._bar.show(done, f"fine-tuning {self._epoch + 1}/{self._epochs}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keras: an epoch is done."""
        found = {key: float(logs[key]) for key in ("loss", "accuracy")} | self._agree(self._check)
        if score(found) > max(map(score, self.history[1:]), default=NOTHING):
            self.tuned = self.model.get_weights()
        bar = self._bar or Bar(self._epochs * self._steps)
        bar.clear()
        self._note(found | {"rate": float(self.model.optimizer.learning_rate)})
        self._say(f"fine-tuning {epoch + 1}/{self._epochs}: {_describe(self.history[-1])}; "
                  f"{bar.left((epoch + 1) * self._steps)}")
        self._save()
        if self.over() and epoch + 1 < self._epochs:
            self._say(f"no better for {self._recipe.patience} epochs, stopped")
            self.model.stop_training = True

    def _note(self, found: dict[str, float]) -> None:
        self.history.append(found)
        if self._curves:
            self._curves.add(len(self.history) - 1, found)


def _describe(found: dict[str, float]) -> str:
    return f"{found['accuracy']:.1%} right in training; {_validated(found)}"


def _validated(found: dict[str, float]) -> str:
    return (f"in validation {found['val_accuracy']:.1%} right, loss {found['val_loss']:.3f}, of clear views "
            f"{found[CLEAR]:.3f}")
