"""The memory of spots that keep moving without an animal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.__main__ import main
from edge.deciding.predictions import predictions
from edge.seeing.crops import crops, square
from edge.seeing.spots import FILE_NAME, MOST, Spots, remember
from edge.types import BBox, Cropped, Frame, Prediction, Trigger
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint
from tests.conftest import START

MakeFrame = Callable[..., Frame]
BRANCH = BBox(0.1, 0.1, 0.2, 0.2)
LABELS = LabelMap(Label.from_name(name, {}) for name in ("empty", "tiger"))
POINTS = {label.name: {"day": OperatingPoint(0.8, 1, 1, 9), "night": OperatingPoint(0.8, 1, 1, 9)} for label in LABELS}


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def waved(minutes: int, spots: Spots) -> Spots:
    """The memory after a branch waved for so long, looked at twice a minute."""
    for half in range(2 * minutes):
        spots.nothing(BRANCH, at(half / 2))
    return spots


class Sees:
    """A classifier that sees a tiger from one frame on."""

    def __init__(self, tiger_from: float) -> None:
        self._left = tiger_from

    def classify(self, image: np.ndarray, box: object = None) -> np.ndarray:
        self._left -= 1
        return np.array([0.02, 0.98] if self._left < 0 else [0.98, 0.02], np.float32)


def looks(make_frame: MakeFrame, minutes: float, spots: Spots, classifier: Sees) -> list[tuple[float, Prediction]]:
    """Every look of a chain in which a branch waves from the start, with its minute."""

    def frames() -> Iterator[Trigger]:
        for step in range(round(minutes * 300)):
            yield Trigger(make_frame(step / 5), (BRANCH,), "day")

    cropped: Iterator[Cropped] = crops(frames(), spots=spots)
    named = remember(predictions(cropped, classifier), spots, LABELS, POINTS)
    return [(trigger.frame.index / 300, found) for trigger, all_ in named for found in all_]


def test_branch_that_waves_for_ten_minutes_is_looked_at_every_five_seconds(make_frame: MakeFrame) -> None:
    spots = Spots()
    found = looks(make_frame, 12, spots, Sees(tiger_from=np.inf))
    assert sum(minute < 9 for minute, _ in found) == 9 * 300
    assert sum(minute >= 11 for minute, _ in found) == 12
    [(box, strength)] = spots.list(at(12))
    assert box == square(BRANCH, 0.2, 320, 180)
    assert 20 < strength < 24


def test_tiger_in_front_of_a_silent_spot_is_looked_at_fully_from_its_first_look_on(make_frame: MakeFrame) -> None:
    spots = Spots()
    number = len(looks(make_frame, 12, spots, Sees(tiger_from=np.inf)))
    spots = Spots()
    found = looks(make_frame, 13, spots, Sees(tiger_from=number))
    tiger = [minute for minute, look in found if look.probabilities[1] > 0.9]
    assert tiger[0] < 12 + 6 / 60
    assert len(tiger) >= 54 * 5
    assert spots.list(at(13)) == []


def test_memory_fades_when_nothing_moves() -> None:
    spots = waved(12, Spots())
    assert len(spots.list(at(12))) == 1
    assert spots.silent(BRANCH, at(12 - 0.45))
    assert spots.list(at(12 + 12 * 60)) == []
    assert not spots.silent(BRANCH, at(12 + 12 * 60))


def test_other_places_and_large_regions_are_not_silenced() -> None:
    spots = waved(12, Spots())
    assert not spots.silent(BBox(0.5, 0.1, 0.2, 0.2), at(12))
    assert not spots.silent(BBox(0.1, 0.1, 0.4, 0.4), at(12))
    large = BBox(0, 0, 0.8, 0.8)
    for half in range(60):
        spots.nothing(large, at(half / 2))
    assert not spots.silent(large, at(30))


def test_memory_holds_so_many_spots_at_most() -> None:
    spots = waved(12, Spots())
    for row in range(12):
        for column in range(12):
            spots.nothing(BBox(row / 12, column / 12, 0.05, 0.05), at(12))
    assert len(spots._spots) == MOST
    assert len(spots.list(at(12))) == 1


def test_memory_outlives_a_restart_and_can_be_listed_and_reset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / FILE_NAME
    now = datetime.now().astimezone()
    spots = Spots(file)
    for half in range(24):
        spots.nothing(BRANCH, now - timedelta(minutes=12) + timedelta(seconds=30 * half))
    spots.keep(now)
    assert [box for box, _ in Spots(file).list(now)] == [BRANCH]
    assert main(["--spots", "list", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0.10,0.10,0.20,0.20  strength 24\n"
    assert main(["--spots", "reset", "--data", str(tmp_path)]) == 0
    assert main(["--spots", "list", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "the spots are forgotten\nno spots\n"
    spots.keep(now + timedelta(minutes=1))  # the trap that was running all the while
    assert spots.list(now) == []
    assert not file.exists()


def test_damaged_file_is_named_and_learned_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_text('[{"box": 1}]')
    assert Spots(tmp_path / FILE_NAME).list(START) == []
    assert "expected the spots that were learned" in caplog.text


def test_photos_of_a_series_teach_nothing(make_frame: MakeFrame) -> None:
    spots = Spots()
    trigger = Trigger(dataclasses.replace(make_frame(0), still=True), (BRANCH,), "day")
    list(remember(predictions(crops([trigger] * 30), Sees(np.inf)), spots, LABELS, POINTS))
    assert spots._spots == []
