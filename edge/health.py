"""What the daemon measures of itself for its health message."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classifier


class TimedClassifier:
    """A classifier that knows how long its looks take."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.labels, self.bundle = classifier.labels, classifier.bundle
        self.mean_ms: float | None = None

    def classify(
        self, image: NDArray[np.uint8], box: tuple[float, float, float, float] | None = None
    ) -> NDArray[np.float32]:
        """As `models.classifier.Classifier.classify`, with the time taken into `mean_ms` (a running mean)."""
        started = time.perf_counter()
        probabilities = self._classifier.classify(image, box)
        taken = (time.perf_counter() - started) * 1000
        self.mean_ms = round(taken if self.mean_ms is None else 0.9 * self.mean_ms + 0.1 * taken, 2)
        return probabilities


def temperature() -> float | None:
    """The processor's temperature in degrees Celsius, where Linux tells it."""
    try:
        return int(Path("/sys/class/thermal/thermal_zone0/temp").read_text()) / 1000
    except (OSError, ValueError):
        return None
