"""What looks at one animal add up to: probabilities over a visit, not over a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.labels import LabelMap

MISSED = 0.3
"""Share of the looks at an animal that show nothing of it: its tail, the grass before it."""
WRONG = 0.05
"""Share of the looks that the model is wrong about, however sure it is."""
MOST = 10.0
"""More evidence than so many independent looks is forgotten bit by bit: a place may see another animal."""
ARRIVES = 0.05
"""How likely an animal is to come to a place that is empty, at each moment: no wait makes a place emptier than this."""


class Evidence:
    """Weighted log-probabilities of the classes, for one animal that is the same one in every look.

    Each look is a noisy witness (naive Bayes): of an animal it shows nothing with the chance `MISSED`, of anything it
    says nonsense with the chance `WRONG`. A look of the weight 1 is an independent witness; one that follows another
    at once, or shows the same picture, has a smaller weight, so that its word counts as a power of its probability.
    All classes are as likely before the first look.

    Attributes:
        weight: independent looks so far.

    Args:
        labels: the classes of the probabilities.
    """

    def __init__(self, labels: LabelMap) -> None:
        self._blank = np.array([label.observation_type == "blank" for label in labels])
        self._sums = np.zeros(len(labels))
        self.weight = 0.0

    def add(self, probabilities: NDArray[np.float32], weight: float, most: float = MOST) -> None:
        """Hear of a look: (classes,) calibrated probabilities. What is more than `most` is forgotten."""
        shares = (1 - WRONG) * probabilities.astype(np.float64) + WRONG / len(probabilities)
        missed = shares[self._blank].sum()
        shares[~self._blank] = (1 - MISSED) * shares[~self._blank] + MISSED * missed
        self._sums += weight * np.log(shares)
        self.weight += weight
        if self.weight > most:
            self._sums *= most / self.weight
            self.weight = most
        if self._blank.any() and not self._blank.all():
            animals = np.logaddexp.reduce(self._sums[~self._blank])
            self._sums[self._blank] = np.minimum(self._sums[self._blank], animals - np.log(ARRIVES))

    def posterior(self) -> NDArray[np.float64]:
        """(classes,) probabilities after all looks, summing to 1."""
        shares = np.exp(self._sums - self._sums.max())
        return shares / shares.sum()  # type: ignore[no-any-return]

    def shows(self, probabilities: NDArray[np.float32]) -> bool:
        """Whether one look, (classes,) probabilities, shows more than the place."""
        return float(probabilities[self._blank].sum()) < 0.5

    @property
    def blank(self) -> float:
        """The probability that no animal was there."""
        return float(self.posterior()[self._blank].sum())
