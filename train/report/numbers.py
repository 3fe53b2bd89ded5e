"""What a model is worth on photos that it never saw: all numbers of the report, and `report.json`."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation import (
    PRECISION,
    Bin,
    Curve,
    at_threshold,
    calibration_error,
    confusion,
    measure,
    precision_recall,
    reliability,
    softmax,
    wilson,
)
from models.manifest import LIGHTINGS, Lighting, Metrics, OperatingPoint
from models.preprocess import infrared, is_infrared
from train.measure import GEOMETRY, Array, Network, Pixels, View, evenly, logits, same

SCHEMA_VERSION = 1
PAGE, DATA = "report.html", "report.json"
LIGHTING_VIEWS: dict[Lighting, View] = {"day": same, "night": infrared}
GEOMETRY_PHOTOS = 400
"""Enough to tell a loss of two points from chance, and ten views of them take no longer than the rest."""
MISTAKES = 24
Truth = NDArray[np.int64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Photos that were not measured on: unreadable ones (a line each), counts of others; `notes`: what else to say."""

    unreadable: tuple[str, ...] = ()
    excluded: int = 0
    trained_on: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that a report is about.

    `points` are its operating points by class and lighting, chosen on validation photos. `history` has an entry
    {loss, accuracy, val_loss, val_accuracy} for each epoch where it was just trained, the first for the head, and
    `kept` says in words which weights it has of those. `doubts`: why its numbers may be too good, a line each.
    """

    title: str
    kind: str
    bundle: str
    data: str
    names: tuple[str, ...]
    temperature: float
    points: Mapping[str, Mapping[str, OperatingPoint]]
    left_out: LeftOut = LeftOut()
    history: Sequence[Mapping[str, float]] = ()
    kept: str = ""
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class: of its `n` photos so many `right` and `wrong`; `false_alarms` are photos of others that got its name.

    `precision` is None where no photo got its name, the other shares where it has no photos.
    """

    n: int
    right: int
    wrong: int
    false_alarms: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    curve: Curve


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities can be believed: the expected calibration error, and the answers in bins."""

    temperature: float
    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """All that was measured on the test photos in one lighting; `confusion`: rows are the truth, columns the answer."""

    metrics: Metrics
    interval: Interval
    classes: dict[str, ClassResult]
    confusion: list[list[int]]
    before_temperature: Reliability
    after_temperature: Reliability

    def measured(self) -> dict[str, Any]:
        """`metrics` as plain values, with None for what was not measured, where a manifest has 0."""
        return asdict(self.metrics) | {"per_class": {
            name: {"precision": found.precision, "recall": found.recall, "f1": found.f1, "n": found.n}
            for name, found in self.classes.items()}}


@dataclass(frozen=True, slots=True)
class Point:
    """An operating point: what its threshold gave on the validation photos, and what it gives on the test photos.

    By day, only test photos count that are not grey as taken: to those that are the camera applies the point for night.
    `reached`: whether it has the wanted precision in validation. `precision` and `recall` are None where no validation
    photo shows the class, `test_precision` where nothing passes.
    """

    threshold: float
    precision: float | None
    recall: float | None
    n: int
    reached: bool
    test_precision: float | None
    test_recall: float | None
    test_n: int


@dataclass(frozen=True, slots=True)
class Share:
    """So many of `n` photos right, with the 95 % interval of the share."""

    n: int
    right: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Moved:
    """The same photos with their geometry changed: `lost` were right only unchanged, `won` only changed."""

    name: str
    stands_for: str
    accuracy: float
    lost: int
    won: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer; `row` is the photo's row among the decoded pictures."""

    path: str
    truth: str
    answer: str
    probability: float
    row: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `report.html` shows.

    `grey_as_taken`: test photos that are infrared-grey already (or hardly have colour, as of a polar bear in snow), as
    they are; None where there are none. `grey_classes` counts them by class. `in_colour`: the others.
    """

    subject: Subject
    results: dict[str, Result]
    points: dict[str, dict[str, Point]]
    in_colour: Share | None
    grey_as_taken: Share | None
    grey_classes: dict[str, int]
    unmoved: Share
    moved: tuple[Moved, ...]
    mistakes: tuple[Mistake, ...]

    def to_json(self, summary: Sequence[str]) -> str:
        """The text of `report.json`, with a summary in words; numbers that are none become null."""
        fields = asdict(self)
        subject = fields.pop("subject")
        del subject["points"]  # They stand in the report's own, with what they give on the test photos.
        for lighting, found in self.results.items():
            fields["results"][lighting]["metrics"] = found.measured()
        whole = {"schema_version": SCHEMA_VERSION, "summary": list(summary)} | subject | fields
        return json.dumps(_plain(whole), indent=1, allow_nan=False) + "\n"


def build(
    subject: Subject, network: Network, pixels: Pixels, rows: NDArray[np.int64], truth: Truth, paths: Sequence[str]
) -> Report:
    """Measure a model on its test photos.

    Args:
        subject: the model.
        network: runs it.
        pixels: (n, size, size, 3) uint8 RGB, all decoded photos.
        rows: (k,) the test photos' rows, at least one.
        truth: (k,) their class indexes.
        paths: their k names, as the data has them.
    """
    raw = {lighting: logits(network, pixels, rows, view) for lighting, view in LIGHTING_VIEWS.items()}
    shares = {lighting: softmax(found, subject.temperature) for lighting, found in raw.items()}
    right = shares["day"].argmax(axis=1) == truth
    grey = grey_as_taken(pixels, rows)
    counted = {"day": np.flatnonzero(~grey), "night": np.arange(len(rows))}
    chosen = evenly(truth, GEOMETRY_PHOTOS)
    return Report(
        subject=subject,
        results={light: _result(raw[light], subject, truth) for light in LIGHTINGS},
        points={name: {light: _point(subject.points[name][light], shares[light][counted[light], index],
                                     truth[counted[light]] == index)
                       for light in LIGHTINGS} for index, name in enumerate(subject.names)},
        in_colour=_share(right[~grey]) if not grey.all() else None,
        grey_as_taken=_share(right[grey]) if grey.any() else None,
        grey_classes=dict(Counter(subject.names[label] for label in truth[grey])),
        unmoved=_share(right[chosen]),
        moved=tuple(_moved(geometry.name, geometry.stands_for, right[chosen], truth[chosen],
                           softmax(logits(network, pixels, rows[chosen], geometry.view), subject.temperature))
                    for geometry in GEOMETRY),
        mistakes=_mistakes(shares["day"], truth, rows, paths, subject.names),
    )


def grey_as_taken(pixels: Pixels, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the given rows of (n, size, size, 3) uint8 RGB pictures are infrared-grey already: (k,)."""
    return np.array([is_infrared(pixels[row]) for row in rows], np.bool_)


def _result(raw: Array, subject: Subject, truth: Truth) -> Result:
    probabilities = softmax(raw, subject.temperature)
    metrics = measure(probabilities, truth, subject.names)
    table = confusion(probabilities.argmax(axis=1), truth, len(subject.names))
    before, after = (Reliability(temperature, calibration_error(found, truth), reliability(found, truth))
                     for temperature, found in ((1.0, softmax(raw)), (subject.temperature, probabilities)))
    return Result(
        metrics=metrics, interval=wilson(int(np.trace(table)), len(truth)),
        classes={name: _class(probabilities[:, index], truth == index, table, index)
                 for index, name in enumerate(subject.names)},
        confusion=table.tolist(), before_temperature=before, after_temperature=after,
    )


def _class(scores: Array, positive: NDArray[np.bool_], table: NDArray[np.int64], index: int) -> ClassResult:
    n, said, right = int(table[index].sum()), int(table[:, index].sum()), int(table[index, index])
    curve = precision_recall(scores, positive)
    return ClassResult(
        n=n, right=right, wrong=n - right, false_alarms=said - right, precision=right / said if said else None,
        recall=right / n if n else None, f1=2 * right / (said + n) if n else None,
        average_precision=curve.average_precision, curve=curve,
    )


def _point(chosen: OperatingPoint, scores: Array, positive: NDArray[np.bool_]) -> Point:
    found = at_threshold(scores, positive, chosen.threshold)
    return Point(
        chosen.threshold, chosen.precision if chosen.n else None, chosen.recall if chosen.n else None, chosen.n,
        reached=chosen.n > 0 and chosen.precision >= PRECISION,
        test_precision=found.precision if (scores >= chosen.threshold).any() else None,
        test_recall=found.recall if found.n else None, test_n=found.n,
    )


def _share(right: NDArray[np.bool_]) -> Share:
    return Share(len(right), int(right.sum()), float(right.mean()), wilson(int(right.sum()), len(right)))


def _moved(name: str, stands_for: str, before: NDArray[np.bool_], truth: Truth, probabilities: Array) -> Moved:
    after = probabilities.argmax(axis=1) == truth
    return Moved(name, stands_for, float(after.mean()), int((before & ~after).sum()), int((after & ~before).sum()))


def _mistakes(
    probabilities: Array, truth: Truth, rows: NDArray[np.int64], paths: Sequence[str], names: Sequence[str]
) -> tuple[Mistake, ...]:
    answers, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != truth)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    return tuple(Mistake(paths[at], names[truth[at]], names[answers[at]], float(sure[at]), int(rows[at]))
                 for at in worst)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
