"""What the epochs of a training brought: which was better, and how long nothing got better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

NOTHING = -math.inf


def score(found: Mapping[str, float], loss: str = "val_loss") -> float:
    """What is better: the lower loss, which on few photos says more than how many are right. No number is nothing."""
    return -found[loss] if math.isfinite(found[loss]) else NOTHING


def stalls(history: Iterable[Mapping[str, float]], patience: int) -> int:
    """How often so many epochs in a row had no better score than all before; each time the counting starts again."""
    best, waited, found = NOTHING, 0, 0
    for entry in history:
        best, waited = (score(entry), 0) if score(entry) > best else (best, waited + 1)
        if waited == patience:
            waited, found = 0, found + 1
    return found
