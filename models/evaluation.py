"""From logits to numbers one can rely on: probabilities, temperature, metrics and operating points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.manifest import ClassMetrics, Metrics, OperatingPoint

PRECISION = 0.95
"""Of the pictures that a species' operating point lets through, this share must be right."""
FEW = 30
"""Validation photos below which the temperature may only make a network less sure."""
LEAST_THRESHOLD = 0.5
"""A class that is never confused on a few validation photos still has to beat all others together."""

Array = NDArray[np.float32]
Truth = NDArray[np.int64]


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Calibrated probabilities: (..., classes) logits to (..., classes) float32 summing to 1."""
    # In place and by the bare ufuncs: for twenty classes numpy's conveniences take longer than the numbers.
    shares = np.divide(logits, temperature, dtype=np.float64)
    shares -= np.maximum.reduce(shares, axis=-1, keepdims=True)
    np.exp(shares, out=shares)
    shares /= np.add.reduce(shares, axis=-1, keepdims=True)
    return shares.astype(np.float32)


def fit_temperature(logits: Array, truth: Truth) -> float:
    """The temperature that gives the least negative log-likelihood (Guo et al. 2017, On Calibration).

    Args:
        logits: (n, classes) float32 of photos that were not trained on.
        truth: (n,) class indexes.

    Returns:
        A number from 0.05 to 20, found by golden-section search on its logarithm.
    """
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        chosen = softmax(logits, float(np.exp(log_temperature)))[rows, truth]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    low, high, golden = np.log(0.05), np.log(20.0), (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    while high - low > 1e-4:
        if loss(left) < loss(right):
            high, right = right, left
            left = high - golden * (high - low)
        else:
            low, left = left, right
            right = low + golden * (high - low)
    return float(np.exp((low + high) / 2))


def measure(probabilities: Array, truth: Truth, names: Sequence[str]) -> Metrics:
    """All metrics of one set of photos.

    Args:
        probabilities: (n, classes) float32.
        truth: (n,) class indexes.
        names: the classes' names, in order.
    """
    answers = probabilities.argmax(axis=1)
    per_class = {name: _class_metrics(answers, truth, index) for index, name in enumerate(names)}
    present = [found.f1 for found in per_class.values() if found.n]
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    return Metrics(
        n=len(truth),
        accuracy=float((answers == truth).mean()),
        top3=float((best == truth[:, None]).any(axis=1).mean()),
        macro_f1=float(np.mean(present)),
        calibration_error=calibration_error(probabilities, truth),
        per_class=per_class,
    )


def _class_metrics(answers: NDArray[np.intp], truth: Truth, index: int) -> ClassMetrics:
    right = int(((answers == index) & (truth == index)).sum())
    said, there = int((answers == index).sum()), int((truth == index).sum())
    precision, recall = right / said if said else 0.0, right / there if there else 0.0
    f1 = 2 * right / (said + there) if said + there else 0.0
    return ClassMetrics(precision, recall, f1, there)


def calibration_error(probabilities: Array, truth: Truth, bins: int = 15) -> float:
    """Expected calibration error (Naeini et al. 2015): mean gap of confidence and accuracy over equal-width bins."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    edges = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[inside].mean()) - float(right[inside].mean())) * int(inside.sum())
        for inside in (edges == index for index in range(bins))
        if inside.any()
    ]
    return sum(gaps) / len(truth)


def operating_point(scores: Array, positive: NDArray[np.bool_], precision: float = PRECISION) -> OperatingPoint:
    """The lowest threshold, of at least `LEAST_THRESHOLD`, at which a class reaches a precision.

    Where no threshold reaches it, the one with the best precision is taken and the point says how little that is.

    Args:
        scores: (n,) probability of the class on each validation photo.
        positive: (n,) whether the photo shows it.
    """
    candidates = sorted({LEAST_THRESHOLD, *(float(score) for score in scores if score > LEAST_THRESHOLD)})
    points = []
    for threshold in candidates:
        passed = scores >= threshold
        right = int((passed & positive).sum())
        reached = right / int(passed.sum()) if passed.any() else 0.0
        points.append(OperatingPoint(threshold, reached, right / max(1, int(positive.sum())), int(positive.sum())))
        if reached >= precision:
            return points[-1]
    return max(points, key=lambda point: (point.precision, point.recall))


def operating_points(
    by_lighting: dict[str, Array], truth: Truth, names: Sequence[str]
) -> dict[str, dict[str, OperatingPoint]]:
    """Operating points of every class for every lighting.

    Args:
        by_lighting: `day` and `night`, each the (n, classes) probabilities of the same validation photos.
        truth: (n,) class indexes.
        names: the classes' names, in order.
    """
    return {
        name: {
            lighting: operating_point(probabilities[:, index], truth == index)
            for lighting, probabilities in by_lighting.items()
        }
        for index, name in enumerate(names)
    }


def calibrate(
    by_lighting: dict[str, Array], truth: Truth, names: Sequence[str]
) -> tuple[float, dict[str, dict[str, OperatingPoint]]]:
    """The temperature, fitted over all lightings together, and with it the operating points.

    Args:
        by_lighting: `day` and `night`, each the (n, classes) float32 logits of the same validation photos.
        truth: (n,) class indexes.
        names: the classes' names, in order.
    """
    temperature = fit_temperature(np.concatenate(list(by_lighting.values())), np.tile(truth, len(by_lighting)))
    if len(truth) < FEW:
        # All of a handful being right does not make a network surer than it says it is.
        temperature = max(1.0, temperature)
    probabilities = {lighting: softmax(logits, temperature) for lighting, logits in by_lighting.items()}
    return temperature, operating_points(probabilities, truth, names)
