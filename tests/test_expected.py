"""What a start says of false alarms, which budgets it refuses, and the thresholds that it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge.deciding.budget import Budget, Peak, log_odds
from edge.deciding.expected import confirming, expected
from edge.deciding.quiet import FILE_NAME, Gathered, QuietHours, general_text, model_id, write_quiet
from edge.settings import Settings
from models.bundle import ALARMS, TFLITE, ModelBundle
from models.errors import BundleError, UsageError
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint
from tests.bundles import MANIFEST

POINTS = {
    name: {"day": OperatingPoint(day, 0.95, 0.9, 8), "night": OperatingPoint(night, 0.95, 0.9, 8)}
    for name, day, night in (("empty", 0.5, 0.5), ("leopard", 0.5, 0.9), ("tiger", 0.95, 0.5))
}
LABELS = LabelMap(Label.from_name(name, {}) for name in POINTS)
VISITS = tuple(Peak("tiger", "day", score) for score in (9.0, 8.0, 7.0, 3.0)) + 60 * (Peak("leopard", "day", 9.0),)


def bundle(folder: Path, *general: QuietHours) -> ModelBundle:
    """A bundle as it lies in a folder, without its network."""
    files = {TFLITE: "0123456789abcdef"} | ({ALARMS: ""} if general else {})
    (folder / ALARMS).write_text(general_text(general))
    return ModelBundle(folder, dataclasses.replace(MANIFEST, operating_points=POINTS, files=files), LABELS)


def settings(folder: Path, budget: str | None = None, species: tuple[str, ...] = ("tiger",)) -> Settings:
    return Settings(species=species, data=folder, max_false_alarms=Budget.parse(budget) if budget else None)


def gather(folder: Path, model: ModelBundle, hours: float, *peaks: Peak) -> None:
    found = QuietHours(2.0, {"day": hours / 2, "night": hours / 2}, peaks)
    write_quiet(folder / FILE_NAME, [Gathered("usb:0 2026-05-01", model_id(model), ("tiger",), found)])


def test_operating_points_as_a_stream_is_judged_by_them(tmp_path: Path) -> None:
    found = confirming(bundle(tmp_path))
    assert found["leopard"] == {"day": pytest.approx(log_odds(0.8)), "night": pytest.approx(log_odds(0.9))}
    assert found["tiger"] == {"day": pytest.approx(log_odds(0.95)), "night": pytest.approx(log_odds(0.8))}
    assert found["big_cat"] == {"day": pytest.approx(log_odds(0.8)), "night": pytest.approx(log_odds(0.8))}
    assert "empty" not in found


def test_without_evidence_a_start_says_so_and_refuses_every_budget(tmp_path: Path) -> None:
    model = bundle(tmp_path)
    assert expected(settings(tmp_path), model) == (
        POINTS,
        ["how many false alarms of tiger to expect is not known: `edge-watch calibrate --species tiger --source "
         "SOURCE` tells"],
    )  # fmt: skip
    with pytest.raises(UsageError) as error:
        expected(settings(tmp_path, "1/day"), model)
    assert str(error.value) == (
        "max_false_alarms: 1/day takes 71.9 hours without an alarm, found none; no budget can be claimed; 71.9 more "
        "hours of this place are missing: `edge-watch calibrate --species tiger --source SOURCE`"
    )


def test_start_says_what_rate_the_operating_points_support(tmp_path: Path) -> None:
    hours = QuietHours(2.0, {"day": 17.0, "night": 17.0}, (Peak("tiger", "day", 5.0, 1.0),), VISITS, "41 places")
    points, lines = expected(settings(tmp_path), bundle(tmp_path, hours))
    assert points == POINTS
    assert lines == [
        "false alarms of tiger at the bundle's operating points: at most 3.4/day (95 %): 1 in 34 h of other places "
        "with 60 visits of other animals (41 places), at 2 looks a second"
    ]


def test_refused_budget_names_the_tightest_and_the_way_there(tmp_path: Path) -> None:
    model = bundle(tmp_path, QuietHours(2.0, {"day": 17.0, "night": 17.0}, (), VISITS))
    gather(tmp_path, model, 40)
    with pytest.raises(UsageError) as error:
        expected(settings(tmp_path, "1/day"), model)
    assert str(error.value) == (
        "max_false_alarms: 1/day takes 71.9 hours without an alarm, found 40 h of this place; the tightest that can be "
        "claimed is 1.8/day; 31.9 more hours of this place are missing: `edge-watch calibrate --species tiger --source "
        "SOURCE`"
    )
    assert expected(settings(tmp_path, "1.8/day"), model)[0] == POINTS


def test_budget_raises_the_targets_thresholds_and_says_the_recall(tmp_path: Path) -> None:
    model = bundle(tmp_path, QuietHours(2.0, {"day": 17.0, "night": 17.0}, (), VISITS))
    gather(tmp_path, model, 72, Peak("tiger", "night", 5.0))
    points, lines = expected(settings(tmp_path, "1/day"), model)
    raised = 5.001 - log_odds(0.8)
    assert {name: {light: point.threshold for light, point in each.items()} for name, each in points.items()} == {
        "empty": {"day": 0.5, "night": 0.5},
        "leopard": {"day": 0.5, "night": 0.9},
        "tiger": {
            "day": pytest.approx(1 / (1 + 2.718281828 ** -(log_odds(0.95) + raised))),
            "night": pytest.approx(1 / (1 + 2.718281828**-5.001)),
        },
    }
    assert lines == [
        f"1/day false alarms of tiger: at most 7/week (95 %), thresholds {raised:.2f} above the operating points "
        "(log-odds): 0 in 72 h of this place, at 2 looks a second",
        "tiger: 3 of 4 visits found at this threshold (30% to 95%, 95 %)",
    ]


def test_group_raises_all_its_classes(tmp_path: Path) -> None:
    model = bundle(
        tmp_path, QuietHours(2.0, {"day": 40.0, "night": 40.0}, (Peak("big_cat", "day", 3.0),), VISITS[4:] * 9)
    )
    points, lines = expected(settings(tmp_path, "1/day", ("big_cat",)), model)
    raised = 3.001 - log_odds(0.8)
    assert log_odds(points["leopard"]["night"].threshold) == pytest.approx(log_odds(0.9) + raised)
    assert log_odds(points["tiger"]["day"].threshold) == pytest.approx(log_odds(0.95) + raised)
    assert lines[1] == "big_cat: how many visits are found at this threshold was not measured"


def test_budget_that_no_threshold_keeps_is_refused(tmp_path: Path) -> None:
    model = bundle(tmp_path)
    gather(tmp_path, model, 72, Peak("tiger", "day", 34.5))
    with pytest.raises(UsageError, match="1/day takes a threshold that no tiger can reach: too often in 72 h"):
        expected(settings(tmp_path, "1/day"), model)


def test_budget_takes_targets(tmp_path: Path) -> None:
    assert expected(settings(tmp_path, None, ()), bundle(tmp_path)) == (POINTS, [])
    with pytest.raises(UsageError, match="max_false_alarms: expected --species with it, found 1/day of none"):
        expected(settings(tmp_path, "1/day", ()), bundle(tmp_path))


def test_general_numbers_that_are_none_are_the_bundles_fault(tmp_path: Path) -> None:
    model = bundle(tmp_path, QuietHours(2.0, {}, ()))
    (tmp_path / ALARMS).write_text('{"schema_version": 1}')
    with pytest.raises(BundleError, match=r"alarms.json: expected hours and peaks of schema 1, found .*copy the"):
        expected(settings(tmp_path), model)
