"""From logits to numbers one can rely on: probabilities, temperature, metrics and operating points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.manifest import ClassMetrics, Metrics, OperatingPoint

PRECISION = 0.95
"""Of the pictures that a species' operating point lets through, this share must be right."""
LEAST_THRESHOLD = 0.5
"""A class that is never confused on a few validation photos still has to beat all others together."""

Z = 1.959964
"""The normal quantile of a 95 % interval."""

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


def _temperature_of(logits: Array, sure: float) -> float:
    """The temperature, from 0.05 to 20, at which the highest probabilities are so high on average, or come nearest."""
    low, high = np.log(0.05), np.log(20.0)
    while high - low > 1e-4:
        middle = (low + high) / 2
        surer = softmax(logits, float(np.exp(middle))).max(axis=1).mean() > sure
        low, high = (middle, high) if surer else (low, middle)
    return float(np.exp((low + high) / 2))


def measure(probabilities: Array, truth: Truth, names: Sequence[str]) -> Metrics:
    """All metrics of one set of photos; a share of no photos is 0.

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
    return ClassMetrics(precision, recall, f1, there, said)


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same probability: how many, how sure on average, and which share of them is right."""

    n: int
    confidence: float
    accuracy: float


def reliability(probabilities: Array, truth: Truth, bins: int = 15) -> tuple[Bin, ...]:
    """A reliability diagram (Guo et al. 2017): the answers by their probability, in bins of equal width.

    Args:
        probabilities: (n, classes) float32.
        truth: (n,) class indexes.
        bins: from 0 to 1; those without an answer are left out.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return tuple(
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (places == index for index in range(bins))
        if inside.any()
    )


def calibration_error(probabilities: Array, truth: Truth, bins: int = 15) -> float:
    """Expected calibration error (Naeini et al. 2015): mean gap of confidence and accuracy over equal-width bins."""
    found = reliability(probabilities, truth, bins)
    return sum(each.n * abs(each.confidence - each.accuracy) for each in found) / len(truth)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `n` were seen (Wilson 1927); (0, 1) where nothing was seen."""
    if not n:
        return 0.0, 1.0
    share = right / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired(lost: int, gained: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a loss seen on the same photos, `(lost - gained) / n`; (-1, 1) where there are none.

    The score interval for paired proportions (Tango 1998, Statistics in Medicine 17:891): it keeps its level where few
    answers changed, and has a width where none did.

    Args:
        lost: photos right before and wrong after.
        gained: photos wrong before and right after.
        n: all photos.
    """
    if not n:
        return -1.0, 1.0

    def score(loss: float) -> float:
        """How many standard errors the loss seen lies above a true one of `loss`."""
        b = (2 * n - lost + gained) * loss - lost - gained
        # The likeliest share of photos gained if that were so.
        share = (math.sqrt(max(0.0, b * b + 8 * n * gained * loss * (1 - loss))) - b) / (4 * n)
        variance = n * (2 * share + loss * (1 - loss))
        gap = lost - gained - n * loss
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    def crossing(wanted: float, low: float, high: float) -> float:
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if score(middle) > wanted else (low, middle)
        return low

    seen = (lost - gained) / n
    return crossing(Z, -1.0, seen), crossing(-Z, seen, 1.0)


def confusion(answers: NDArray[np.intp], truth: Truth, classes: int) -> NDArray[np.int64]:
    """(classes, classes) int64: how many photos of each row's class were called each column's."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, answers), 1)
    return table


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall of a class at each threshold that lets one more photo of it through, the highest first."""

    threshold: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]

    @property
    def average_precision(self) -> float | None:
        """The mean precision over the recall, as in retrieval; None where there is no photo of the class."""
        if not self.recall:
            return None
        return float(np.dot(self.precision, np.diff(self.recall, prepend=0.0)))


def precision_recall(scores: Array, positive: NDArray[np.bool_]) -> Curve:
    """The precision-recall curve of one class.

    Args:
        scores: (n,) probability of the class on each photo.
        positive: (n,) whether the photo shows it.
    """
    thresholds = np.unique(scores[positive])[::-1]
    # Of ascending scores, those from the found place on reach the threshold.
    passed, right = (len(kept) - np.searchsorted(np.sort(kept), thresholds) for kept in (scores, scores[positive]))
    precision, recall = right / np.maximum(passed, 1), right / max(1, int(positive.sum()))
    return Curve(tuple(thresholds.tolist()), tuple(precision.tolist()), tuple(recall.tolist()))


def at_threshold(scores: Array, positive: NDArray[np.bool_], threshold: float) -> OperatingPoint:
    """What a threshold gives; arguments as for `operating_point`. Where nothing passes, the precision is 0."""
    passed, there = scores >= threshold, int(positive.sum())
    right = int((passed & positive).sum())
    return OperatingPoint(threshold, right / max(1, int(passed.sum())), right / max(1, there), there)


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
        points.append(at_threshold(scores, positive, threshold))
        if points[-1].precision >= precision:
            return points[-1]
    return max(points, key=lambda point: (point.precision, point.recall))


def operating_points(
    by_lighting: dict[str, Array], truth: Truth, names: Sequence[str], grey: NDArray[np.bool_]
) -> dict[str, dict[str, OperatingPoint]]:
    """Operating points of every class for every lighting.

    Args:
        by_lighting: `day` and `night`, each the (n, classes) probabilities of the same validation photos.
        truth: (n,) class indexes.
        names: the classes' names, in order.
        grey: (n,) whether a photo is infrared-grey as taken. The daemon applies `night` to such a one, so `day` is
            chosen on the others; on all photos for a class that has no other.
    """

    def chosen(lighting: str, index: int) -> OperatingPoint:
        scores, positive = by_lighting[lighting][:, index], truth == index
        if lighting == "day" and (positive & ~grey).any():
            scores, positive = scores[~grey], positive[~grey]
        return operating_point(scores, positive)

    return {name: {lighting: chosen(lighting, index) for lighting in by_lighting} for index, name in enumerate(names)}


def calibrate(
    by_lighting: dict[str, Array], truth: Truth, names: Sequence[str], grey: NDArray[np.bool_]
) -> tuple[float, dict[str, dict[str, OperatingPoint]]]:
    """The temperature, fitted over all photos in all lightings together, and with it the operating points.

    On average the network may be as sure as so many photos allow, (right + 1) / (n + 2) (Laplace's rule of succession):
    else, where a few dozen photos are all right, nothing would be sure enough, and wrong answers the surest of all.

    Args:
        by_lighting: `day` and `night`, each the (n, classes) float32 logits of the same validation photos.
        truth: (n,) class indexes.
        names: the classes' names, in order.
        grey: (n,) whether a photo is infrared-grey as taken, as in `operating_points`.
    """
    logits, answers = np.concatenate(list(by_lighting.values())), np.tile(truth, len(by_lighting))
    right = float((logits.argmax(axis=1) == answers).mean())
    sure = (right * len(truth) + 1) / (len(truth) + 2)
    temperature = max(fit_temperature(logits, answers), _temperature_of(logits, sure))
    probabilities = {lighting: softmax(found, temperature) for lighting, found in by_lighting.items()}
    return temperature, operating_points(probabilities, truth, names, grey)
