"""The charts of the report: what can be read off them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from models.manifest import OperatingPoint
from train.report.charts import DAY, NIGHT, confusion_chart, learning_chart, precision_recall_charts
from train.report.numbers import LeftOut, Subject, build

NAMES = ("ape", "bear")


def texts(chart: bytes) -> list[str]:
    """All text elements of an SVG picture."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart.decode())


@pytest.mark.parametrize(("low", "step", "ticks"), [(0.575, 0.022, range(58, 69, 2)), (0.957, 0.003, range(96, 98))])
def test_accuracy_is_read_off_at_whole_percents(low: float, step: float, ticks: range) -> None:
    history = [{"loss": 1.0, "val_loss": 1.0, "accuracy": low + step * epoch, "val_accuracy": low + step * epoch}
               for epoch in range(6)]
    said = texts(learning_chart(history))
    assert [text for text in said if text.endswith("%")] == [f"{tick}%" for tick in ticks]
    assert [text for text in said if text in ("validation", "best")] == ["validation", "best"], "one legend for both"


@pytest.mark.parametrize(("classes", "times"), [(12, 1), (13, 2)])
def test_a_large_confusion_matrix_has_labels_above_and_below(classes: int, times: int) -> None:
    names = [f"species {number}" for number in range(classes)]
    chart = confusion_chart(np.eye(classes, dtype=np.int64), np.ones(classes, np.int64), names)
    assert texts(chart).count("species 3") == 1 + times
    assert chart.count(b"#e4e4e4") >= 2 * (classes - 1), "lines between the cells"


def test_precision_recall_curves_are_steps_on_which_the_operating_points_lie() -> None:
    truth = np.arange(60) % 2
    dice = np.random.default_rng(3)
    scores = np.where(truth == 0, 1.0, -1.0) + dice.normal(size=60) * 1.5
    shown = np.zeros((60, 8, 8, 3), np.uint8)
    shown[..., 0] = np.arange(60)[:, None, None]
    shown[:, :4, :, 1] = 250

    def network(asked: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = [scores[picture[4, 4, 0] % 60] for picture in asked]
        return np.array([(score, 0.0) for score in found], np.float32)

    points = {name: {"day": OperatingPoint(0.62, 0.96, 0.9, 7), "night": OperatingPoint(0.55, 0.96, 0.9, 7)}
              for name in NAMES}
    report = build(Subject("shapes", "float", "runs/x", "photos", NAMES, 1.0, points, LeftOut()), network, shown,
                   np.arange(60), truth, [str(row) for row in range(60)])
    assert report.grey_as_taken is None
    chart = precision_recall_charts(report, NAMES).decode()
    paths = re.findall(rf'<path d="([^"]*)"[^>]*fill: none; stroke: (?:{DAY}|{NIGHT})', chart)
    lines = [np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float) for path in paths]
    lines = [line for line in lines if len(line) > 9]  # Those of the legend are shorter.
    assert len(lines) == 4
    for line in lines:
        assert np.isclose(np.diff(line, axis=0), 0, atol=1e-5).any(axis=1).all(), "up, down and to the right only"
    dots = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*(?:{DAY}|{NIGHT})', chart)
    assert len(dots) == 4
    assert all(any(_on((float(x), float(y)), line) for line in lines) for x, y in dots)


def _on(dot: tuple[float, float], line: NDArray[np.float64]) -> bool:
    low, high = np.minimum(line[:-1], line[1:]), np.maximum(line[:-1], line[1:])
    return bool(((low - 0.01 <= dot) & (dot <= high + 0.01)).all(axis=1).any())
