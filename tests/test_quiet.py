"""Quiet hours: counted, kept, and a place's own in place of the general ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.deciding.budget import Peak, log_odds
from edge.deciding.quiet import Gathered, QuietHours, Watched, balanced, combined, read_quiet, taken_for, write_quiet
from edge.types import Candidate, Frame, Trigger
from models.errors import OutboxError
from tests.conftest import START

LEAST = {name: {"day": log_odds(0.8), "night": log_odds(0.9)} for name in ("deer", "tiger", "ungulate")}
MakeFrame = Callable[..., Frame]
GENERAL = QuietHours(
    2.0,
    {"day": 10.0, "night": 6.0},
    (Peak("tiger", "day", 3.0, 1.0), Peak("tiger", "day", 4.0, 9.0), Peak("deer", "night", 5.0, 5.5)),
    tuple(Peak(name, "day", 7.0) for name in ["tiger"] + 9 * ["deer"]),
    "made up",
)


def candidate(second: float, lighting: str = "day", **highest: float) -> Candidate:
    return Candidate(START + timedelta(seconds=second), lighting, highest)  # type: ignore[arg-type]


def place(day: float, night: float, *peaks: Peak, rate: float = 2.0, species: tuple[str, ...] = ("tiger",)) -> Gathered:
    return Gathered(
        f"clip{day}-{night}.mp4@{day}{night}", "m", species, QuietHours(rate, {"day": day, "night": night}, peaks)
    )


def test_time_counts_by_light_but_not_pauses_and_stills(make_frame: MakeFrame) -> None:
    watched = Watched(LEAST, timedelta(seconds=60), {"ungulate": ("deer",)})
    seen = [(0, "day", False), (5, "day", False), (10, "night", False), (21, "night", False), (22, "day", True),
            (23, "night", False)]  # fmt: skip
    named = [(Trigger(make_frame(second, still=still), (), light), ()) for second, light, still in seen]  # type: ignore[arg-type]
    assert list(watched.pass_on(named)) == named
    assert watched.hours == {"day": pytest.approx(5 / 3600), "night": pytest.approx(7 / 3600)}


def test_peaks_are_those_that_would_be_confirmed_the_highest_of_each_visit() -> None:
    watched = Watched(LEAST, timedelta(seconds=60), {"ungulate": ("deer",)})
    watched.hours["day"] = 1.5
    assert watched.add(candidate(0, tiger=0.79, cat=0.99)) == []
    assert watched.add(candidate(1, "night", tiger=0.85)) == []
    assert watched.add(candidate(2, tiger=0.9)) == [Peak("tiger", "day", pytest.approx(log_odds(0.9)), 1.5)]
    watched.add(candidate(40, tiger=0.95, deer=0.8))
    watched.add(candidate(61, tiger=0.85))
    watched.add(candidate(62, tiger=0.85))
    found = watched.quiet_hours(2.0)
    assert [(each.species, round(each.score, 3)) for each in found.peaks] == [
        ("tiger", 2.944), ("deer", 1.386), ("tiger", 1.735),
    ]  # fmt: skip
    assert (found.looks_per_second, found.hours) == (2.0, {"day": 1.5, "night": 0.0})


def test_what_is_told_as_a_group_counts_for_each_class_with_a_share_in_it() -> None:
    groups = {"ungulate": ("deer", "pig", "zebra")}
    found = taken_for(candidate(0, deer=0.5, pig=0.45, zebra=0.05, ungulate=0.97), groups)
    assert found == {"deer": 0.97, "pig": 0.97, "zebra": 0.05, "ungulate": 0.97}


def test_general_numbers_alone() -> None:
    found = combined([GENERAL], [], "m", ["tiger"], 2.0)
    # Half of a day is night: its six hours are as good as twelve. Nine other animals come in two days and a quarter.
    assert (found.hours, found.own, found.general, found.others) == (12.0, 0.0, 16.0, 9)
    assert (found.peaks, found.visits, found.made) == (GENERAL.peaks, GENERAL.visits, "made up")


def test_few_visits_of_other_animals_support_few_days() -> None:
    assert combined([GENERAL], [], "m", ["deer"], 2.0).hours == 24 * 1 / 4


def test_own_hours_take_the_place_of_general_ones() -> None:
    found = combined([GENERAL], [place(4.0, 1.0, Peak("tiger", "night", 9.0))], "m", ["tiger"], 2.0)
    assert (found.own, found.general) == (5.0, 11.0)
    assert [each.score for each in found.peaks] == [9.0, 3.0]  # Of six general hours by day, of five at night.
    full = combined([GENERAL], [place(10.0, 6.0)], "m", ["tiger"], 2.0)
    assert (full.hours, full.own, full.general, full.others, full.peaks) == (12.0, 16.0, 0.0, 0, ())
    assert full.visits == GENERAL.visits


def test_only_what_was_calibrated_for_these_targets_with_this_model_counts() -> None:
    quiet = [place(4.0, 4.0), place(1.0, 1.0, species=("tiger", "deer"))]
    assert combined([], quiet, "m", ["tiger"], 2.0).own == 10.0
    assert combined([], quiet, "m", ["tiger", "deer"], 2.0).own == 2.0
    assert combined([], quiet, "other", ["tiger"], 2.0).own == 0.0


def test_the_nearest_rate_of_looks_is_taken() -> None:
    quiet = [place(1.0, 1.0, rate=1.0), place(2.0, 2.0, rate=2.0), place(3.0, 3.0, rate=5.0)]
    found = [combined([], quiet, "m", ["tiger"], rate) for rate in (0.2, 1.6, 4.0)]
    assert [(each.looks_per_second, each.own) for each in found] == [(1.0, 2.0), (2.0, 4.0), (5.0, 6.0)]


def test_shares_of_day_and_night_are_halves_until_a_place_has_seen_a_day() -> None:
    assert balanced({"day": 20.0, "night": 3.0}, {"day": 20.0, "night": 3.0}) == 6.0
    assert balanced({"day": 20.0, "night": 4.0}, {"day": 20.0, "night": 4.0}) == pytest.approx(24.0)
    assert balanced({"day": 24.0, "night": 0.0}, {"day": 24.0, "night": 0.0}) == 24.0  # It has no infrared lamp.
    assert balanced({"day": 0.0, "night": 9.0}, {"day": 0.0, "night": 9.0}) == 0.0


HOURS = st.floats(0, 11)


@given(HOURS, HOURS, HOURS, HOURS)
def test_more_quiet_hours_never_loosen_the_claim(day: float, night: float, more_day: float, more_night: float) -> None:
    before = combined([GENERAL], [place(day, night)], "m", ["tiger"], 2.0)
    after = combined([GENERAL], [place(day, night), place(more_day / 11, more_night / 11)], "m", ["tiger"], 2.0)
    if after.own < 24:
        assert after.hours >= before.hours
    assert set(after.peaks) <= set(before.peaks)


def test_file_keeps_all_and_a_file_that_is_seen_again_takes_its_own_place(tmp_path: Path) -> None:
    file = tmp_path / "new" / "quiet.json"
    kept = [place(4.0, 1.0, Peak("tiger", "night", 9.5, 0.25)), place(1.0, 1.0, rate=1.0)]
    assert read_quiet(file) == ()
    write_quiet(file, kept)
    assert read_quiet(file) == tuple(kept)
    again = Gathered("copy.mp4@4.01.0", "m", ("deer",), QuietHours(2.0, {}, ()))
    assert [each.same(again) for each in kept] == [True, False]
    assert [path.name for path in file.parent.iterdir()] == ["quiet.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema_version": 2, "quiet": []}', '{"schema_version": 1, "quiet": [1]}']
)
def test_damaged_file_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "quiet.json"
    file.write_text(text)
    with pytest.raises(OutboxError, match=r"quiet hours of schema 1, found .*--reset` begins anew$"):
        read_quiet(file)
