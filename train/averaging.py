"""Of the weights that fine-tuning goes through, a mean: what is checked and kept after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from train.recipe import Recipe

Weights = list[NDArray[Any]]
SWA_RATE = 0.5
"""Of the highest rate, which the rate falls to and stays at while weights are averaged (Izmailov et al. 2018)."""


def swa_begins(epochs: int) -> int:
    """The epoch from which on weights are averaged: the second half. Its authors take the last quarter, of hundreds."""
    return epochs // 2


class Ema(keras.callbacks.SwapEMAWeights):  # type: ignore[misc]
    """The optimizer's running mean of the weights stands in the model between epochs."""

    def __init__(self, done: int) -> None:
        """Start, or go on after so many epochs: checkpoints are written when the mean stands in the model."""
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = done > 0

    def state(self) -> Weights:
        """What a checkpoint has to keep beside model and optimizer: nothing."""
        return []


class Swa(keras.callbacks.Callback):  # type: ignore[misc]
    """The mean of the weights after each step since an epoch stands in the model between epochs, from that one on.

    After Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"; they average once
    an epoch, but fine-tuning has few. The statistics of batch norm are measured again for it.
    """

    def __init__(self, first: int, measure: Callable[[int], None], state: Weights) -> None:
        """Start, or go on.

        Args:
            first: the epoch from whose beginning on weights are averaged.
            measure: measures the statistics of batch norm on the pictures of an epoch.
            state: of an earlier run.
        """
        super().__init__()
        self._first, self._measure, self._count, self._mean = first, measure, 0, Weights()
        self._trained: Weights = state[1:]
        if state:
            self._count = int(state[0])

    def state(self) -> Weights:
        """What a checkpoint has to keep beside model and optimizer: over how many steps the mean is, and the weights
        with which training goes on."""
        return [np.array(self._count), *self._trained] if self._trained else []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keras: an epoch starts."""
        self._averages = epoch >= self._first
        if self._trained:
            self._mean = [variable.numpy() for variable in self.model.trainable_variables]
            self.model.set_weights(self._trained)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keras: a step is done."""
        if not self._averages:
            return
        weights = [variable.numpy() for variable in self.model.trainable_variables]
        self._count += 1
        self._mean = [mean + (now - mean) / np.float32(self._count)
                      for mean, now in zip(self._mean or weights, weights, strict=True)]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keras: an epoch is done."""
        if self._averages:
            self._trained = self.model.get_weights()
            for variable, mean in zip(self.model.trainable_variables, self._mean, strict=True):
                variable.assign(mean)
            self._measure(epoch)


class Nothing(keras.callbacks.Callback):  # type: ignore[misc]
    """No mean."""

    def state(self) -> Weights:
        """Nothing."""
        return []


Averaging = Ema | Swa | Nothing


def averaging(recipe: Recipe, done: int, epochs: int, measure: Callable[[int], None], state: Weights) -> Averaging:
    """What keeps a mean while fine-tuning, to stand before all other callbacks.

    Args:
        recipe: which mean.
        done: epochs of an earlier run that is gone on with.
        epochs: of fine-tuning.
        measure: as for `Swa`.
        state: what that run kept.
    """
    if recipe.average == "ema":
        return Ema(done)
    return Swa(swa_begins(epochs), measure, state) if recipe.average == "swa" else Nothing()
