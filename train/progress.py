"""What is shown and kept while a model is fine-tuned."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from models.errors import EdgeWatchError

NOTHING = (-1.0, 0.0)


def score(found: dict[str, float]) -> tuple[float, float]:
    """What is better: more validation photos right; of equals, the lower loss. A loss that is no number is nothing."""
    return (found["val_accuracy"], -found["val_loss"]) if np.isfinite(found["val_loss"]) else NOTHING


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the best weights, stops when nothing gets better, and shows one line with the time left.

    `history` has an entry for each epoch, the first of them for the trained head: `loss`, `accuracy`, and what `check`
    finds: `val_loss` and `val_accuracy`. `first` and `tuned` are the weights of the head alone and the best fine-tuned.
    """

    def __init__(self, patience: int, check: Callable[[], dict[str, float]], say: Callable[[str], None]) -> None:
        super().__init__()
        self.history: list[dict[str, float]] = []
        self.first: list[NDArray[Any]] = []
        self.tuned: list[NDArray[Any]] | None = None
        self._best: list[NDArray[Any]] | None = None
        self._score = self._score_tuned = NOTHING
        self._bad, self._patience, self._check, self._say = 0, patience, check, say
        self._live = sys.stderr.isatty()

    def best(self) -> list[NDArray[Any]]:
        """The weights with the best score.

        Raises:
            EdgeWatchError: no validation loss was a number.
        """
        if self._best is None:
            raise EdgeWatchError("expected a validation loss that is a number, found none; try other --weights")
        return self._best

    def keep(self, model: keras.Model, found: dict[str, float]) -> None:
        """Note an epoch's `loss` and `accuracy`, check the model, and keep its weights if it is the best so far."""
        self.history.append(found | self._check())
        self._compare(model, self.history[-1])
        self.first = self.first or model.get_weights()

    def try_mix(self, model: keras.Model, share: float) -> None:
        """Check weights of which a share are fine-tuned; keep them if they are the best so far."""
        found = self._check()
        self._say(f"{share:.0%} fine-tuned: {found['val_accuracy']:.1%} in validation, loss {found['val_loss']:.3f}")
        self._compare(model, found)

    def _compare(self, model: keras.Model, found: dict[str, float]) -> None:
        if score(found) > self._score:
            self._score, self._best = score(found), model.get_weights()

    def begin(self, epochs: int, steps: int) -> None:
        """Fine-tuning starts: so many epochs of so many steps."""
        self._epochs, self._steps, self._started = epochs, steps, time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keras: an epoch starts."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keras: a batch is done."""
        if self._live:
            done = self._epoch * self._steps + batch + 1
            left = (time.monotonic() - self._started) / done * (self._epochs * self._steps - done)
            print(f"\rfine-tuning {self._epoch + 1}/{self._epochs}, step {batch + 1}/{self._steps}, "
                  f"about {_minutes(left)} left  ", end="", file=sys.stderr, flush=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keras: an epoch is done."""
        self.keep(self.model, {key: float(logs[key]) for key in ("loss", "accuracy")})
        left = (time.monotonic() - self._started) / (epoch + 1) * (self._epochs - epoch - 1)
        if self._live:
            print("\r\033[K", end="", file=sys.stderr)
        self._say(f"fine-tuning {epoch + 1}/{self._epochs}: {describe(self.history[-1])}; about {_minutes(left)} left")
        # The head alone may be better at first, so patience looks at the fine-tuned epochs only.
        self._bad += 1
        if score(self.history[-1]) > self._score_tuned:
            self._score_tuned, self._bad, self.tuned = score(self.history[-1]), 0, self.model.get_weights()
        if self._bad >= self._patience:
            self._say(f"no better for {self._patience} epochs, stopped")
            self.model.stop_training = True


def describe(found: dict[str, float]) -> str:
    """An epoch's results in words."""
    return (f"{found['accuracy']:.1%} right in training, {found['val_accuracy']:.1%} in validation, "
            f"loss {found['val_loss']:.3f}")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
