"""Bounds of a rate, and thresholds that keep a budget."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.deciding.budget import (
    HOURS,
    Budget,
    Peak,
    at_most,
    choose,
    hours_needed,
    log_odds,
    most_alarms,
    probability,
    rate_text,
    tightest,
    upper_bound,
)
from edge.settings import Settings, read_settings
from models.errors import UsageError

NAMES = ("deer", "lion", "tiger")
POINTS = {"deer": {"day": 0.0, "night": 1.0}, "lion": {"day": 0.5, "night": 0.5}, "tiger": {"day": 2.0, "night": 3.0}}
PEAKS = st.lists(
    st.builds(Peak, st.sampled_from(NAMES), st.sampled_from(("day", "night")), st.floats(-5, 20)), max_size=30
)
BUDGETS = st.floats(1e-4, 10)


@pytest.mark.parametrize(
    ("text", "per_hour"),
    [("1/hour", 1), ("1/day", 1 / 24), ("0.5/day", 1 / 48), ("2/week", 2 / 168), ("1 / month", 1 / 730),
     ("3/year", 3 / 8760)],
)  # fmt: skip
def test_budget_is_a_number_for_a_time(text: str, per_hour: float) -> None:
    assert Budget.parse(text) == Budget(text, per_hour)


@pytest.mark.parametrize("text", ["", "1", "/day", "0/day", "-1/day", "nan/day", "inf/day", "1/fortnight", "1/day/2"])
def test_budget_that_is_none_is_said_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^max_false_alarms: expected a number above 0 and a time, as 1/week .*found"):
        Budget.parse(text)


def test_budget_is_a_setting() -> None:
    assert read_settings(None, {"max_false_alarms": "1/week"}).max_false_alarms == Budget("1/week", 1 / 168)
    assert Settings().max_false_alarms is None
    with pytest.raises(UsageError, match="max_false_alarms: found a value of the wrong kind: 3"):
        read_settings(None, {"max_false_alarms": 3})


# Garwood (1936), one-sided 95 %: half the chi-squared quantile of 2 (k + 1) degrees of freedom, from a table.
@pytest.mark.parametrize(
    ("alarms", "bound"),
    [(0, 2.9957), (1, 4.7439), (2, 6.2958), (3, 7.7537), (5, 10.5130), (10, 16.9622), (20, 29.0620), (100, 118.0793)],
)
def test_bound_is_that_of_the_table(alarms: int, bound: float) -> None:
    assert upper_bound(alarms) == pytest.approx(bound, abs=1e-4)
    assert at_most(alarms, upper_bound(alarms)) == pytest.approx(0.05, abs=1e-9)


def test_bound_of_many_events_does_not_vanish_in_floats() -> None:
    assert upper_bound(2000) == pytest.approx(2075.1, abs=0.2)
    assert at_most(10, 5000.0) == 0.0


def test_a_day_takes_72_hours_without_an_alarm() -> None:
    assert hours_needed(Budget.parse("1/day")) == pytest.approx(71.898, abs=0.001)
    assert tightest(71.898) == pytest.approx(1 / 24, rel=1e-4)
    assert [most_alarms(mean) for mean in (0, 2.99, 3.0, 4.74, 4.75, 118.08)] == [-1, -1, 0, 0, 1, 100]


@given(st.integers(0, 300))
def test_most_alarms_is_the_inverse_of_the_bound(alarms: int) -> None:
    assert most_alarms(upper_bound(alarms)) == alarms
    assert most_alarms(upper_bound(alarms) * 0.999) < alarms


def test_log_odds() -> None:
    assert log_odds(0.5) == 0
    assert log_odds(0.95) == pytest.approx(math.log(19))
    assert (log_odds(0), log_odds(1), log_odds(1 - 1e-16)) == (-34.5, 34.5, 34.5)
    assert probability(log_odds(0.95)) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("per_hour", "text"),
    [(3 / 72, "1/day"), (2.9957 / 34, "2.2/day"), (15, "15/hour"), (0.006, "1.1/week"), (3e-5, "0.27/year")],
)
def test_rate_is_said_as_it_can_be_typed(per_hour: float, text: str) -> None:
    assert rate_text(per_hour) == text


@given(st.floats(1e-6, 1e4))
def test_the_tightest_budget_is_kept_when_typed(hours: float) -> None:
    assert most_alarms(Budget.parse(rate_text(tightest(hours))).per_hour * hours) >= 0


def seen(*scores: float, species: str = "tiger", lighting: str = "day") -> list[Peak]:
    return [Peak(species, lighting, score) for score in scores]  # type: ignore[arg-type]


def test_without_a_budget_the_operating_points_hold() -> None:
    found = choose(seen(1.9, 2.0, 2.5), 34, POINTS, ["tiger"])
    assert found is not None
    assert (found.thresholds, found.raised, found.alarms) == ({"tiger": POINTS["tiger"]}, 0, 2)
    assert found.per_hour == pytest.approx(6.2958 / 34, rel=1e-4)


def test_thresholds_are_raised_just_above_what_is_too_much() -> None:
    # 200 hours support 1/day with 3 alarms, whose bound is 7.75 of 8.33: the fourth highest is kept out.
    found = choose(seen(2.1, 5.0, 3.0, 4.0, 2.5), 200, POINTS, ["tiger"], Budget.parse("1/day"))
    assert found is not None
    assert (found.alarms, found.raised) == (3, pytest.approx(0.501))
    assert found.thresholds == {"tiger": {"day": pytest.approx(2.501), "night": pytest.approx(3.501)}}
    assert found.per_hour == pytest.approx(7.7537 / 200, rel=1e-4)


def test_thresholds_stay_where_that_is_enough() -> None:
    found = choose(seen(2.1, 5.0, 3.0), 200, POINTS, ["tiger"], Budget.parse("1/day"))
    assert found is not None
    assert (found.alarms, found.raised, found.thresholds) == (3, 0, {"tiger": POINTS["tiger"]})


def test_budget_is_of_all_targets_together_and_of_no_others() -> None:
    peaks = seen(9.0) + seen(1.5, species="deer", lighting="night") + seen(30.0, species="lion")
    found = choose(peaks, 72, POINTS, ["tiger", "deer"], Budget.parse("1/day"))
    assert found is not None
    # The tiger's lies 7 above its operating point, the deer's 0.5.
    assert (found.alarms, found.raised) == (0, pytest.approx(7.001))
    assert found.thresholds["deer"] == {"day": pytest.approx(7.001), "night": pytest.approx(8.001)}
    assert set(found.thresholds) == {"tiger", "deer"}


def test_too_few_hours_support_no_threshold() -> None:
    assert choose([], 71.8, POINTS, ["tiger"], Budget.parse("1/day")) is None
    assert choose([], 71.9, POINTS, ["tiger"], Budget.parse("1/day")) is not None


def test_recall_is_of_the_visits_that_reach_the_thresholds() -> None:
    visits = seen(2.5, 8.0, 9.0, -99.0) + seen(3.0, lighting="night") + seen(50.0, species="lion")
    found = choose(seen(5.0), 72, POINTS, ["tiger", "deer"], Budget.parse("1/day"), visits)
    assert found is not None
    assert [(each.species, each.found, each.n) for each in found.recall] == [("tiger", 2, 5), ("deer", 0, 0)]


@given(PEAKS, st.floats(0.5, 2000), BUDGETS, BUDGETS)
def test_a_tighter_budget_never_lowers_a_threshold(peaks: list[Peak], hours: float, one: float, other: float) -> None:
    tight, loose = (choose(peaks, hours, POINTS, NAMES, Budget("", rate)) for rate in sorted((one, other)))
    if tight is not None:
        assert loose is not None
        for name, thresholds in tight.thresholds.items():
            for lighting, threshold in thresholds.items():
                assert threshold >= loose.thresholds[name][lighting] >= POINTS[name][lighting]


@given(PEAKS, st.floats(0.5, 2000), BUDGETS)
def test_what_is_chosen_keeps_the_budget(peaks: list[Peak], hours: float, rate: float) -> None:
    found = choose(peaks, hours, POINTS, NAMES, Budget("", rate))
    if found is not None:
        alarms = sum(each.score >= found.thresholds[each.species][each.lighting] for each in peaks)
        assert alarms == found.alarms
        assert upper_bound(alarms) / hours == found.per_hour <= rate * (1 + 1e-9)
    else:
        assert tightest(hours) > rate


@given(PEAKS, st.floats(0.5, 2000), st.floats(0, 1000), BUDGETS)
def test_more_quiet_hours_never_raise_a_threshold_nor_loosen_the_claim(
    peaks: list[Peak], hours: float, more: float, rate: float
) -> None:
    assert tightest(hours + more) <= tightest(hours)
    before, after = (choose(peaks, each, POINTS, NAMES, Budget("", rate)) for each in (hours, hours + more))
    if before is not None:
        assert after is not None
        assert after.raised <= before.raised


def test_hours_of_the_times_that_can_be_typed() -> None:
    assert HOURS == {"hour": 1, "day": 24, "week": 168, "month": 730, "year": 8760}
