"""What the epochs of a training brought: which was better, and how long nothing got better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

NOTHING = (-1.0, 0.0)


def score(found: Mapping[str, float]) -> tuple[float, float]:
    """What is better: more validation photos right; of equals, the lower loss. A loss that is no number is nothing."""
    return (found["val_accuracy"], -found["val_loss"]) if math.isfinite(found["val_loss"]) else NOTHING


def stalls(history: Iterable[Mapping[str, float]], patience: int) -> int:
    """How often so many epochs in a row had no better score than all before; each time the counting starts again."""
    best, waited, found = NOTHING, 0, 0
    for entry in history:
        best, waited = (score(entry), 0) if score(entry) > best else (best, waited + 1)
        if waited == patience:
            waited, found = 0, found + 1
    return found
