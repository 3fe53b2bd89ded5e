"""sightings -> alerts: one for each visit of a target, as soon as its rules are fulfilled."""

from __future__ import annotations

import dataclasses
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.deciding.alerts import alerts
from edge.deciding.rules import checked
from edge.settings import read_settings
from edge.types import Alert, Sighting
from models.labels import Label, LabelMap
from tests.conftest import START
from tests.samples import sighting

LABELS = LabelMap(Label.from_name(name, {}) for name in ("empty", "deer", "leopard", "lion", "person", "tiger"))


def seen(kind: str, second: float, id: str = "a", species: str = "tiger", **more: Any) -> Sighting:
    """A change of a visit that began at START unless `start` seconds later."""
    start = START + timedelta(seconds=more.pop("start", 0))
    now = START + timedelta(seconds=second)
    return sighting(type=kind, id=id, species=species, event_start=start, last_seen=now,
                    event_end=now if kind == "end" else None, **more)  # fmt: skip


def told(found: list[Sighting], before: dict[str, Any] | None = None, **options: Any) -> list[Alert]:
    settings = checked(read_settings(None, {"species": "tiger", "alert_interval": 0, **options}), LABELS)
    return list(alerts(found, settings, "wildlife 1", **(before or {})))


def at(found: list[Alert]) -> list[tuple[str, str, float]]:
    """Visit, kind of change and second of each alert."""
    return [
        (each.sighting.id, each.sighting.type, (each.sighting.last_seen - START).total_seconds()) for each in found
    ]


def visit(*, id: str = "a", species: str = "tiger", until: int = 40, **more: Any) -> list[Sighting]:
    """New after 2 s with 3 frames, an update each 10 s with one frame for each second, and the end."""
    found = [seen("new", 2, id, species, frames=3, **more)]
    found += [seen("update", second, id, species, frames=second, **more) for second in range(10, until, 10)]
    return [*found, seen("end", until, id, species, frames=until, **more)]


def test_target_alerts_at_once_and_once() -> None:
    assert at(told(visit())) == [("a", "new", 2)]
    assert told(visit(species="deer")) == []
    assert told(visit(), species=None) == []


@pytest.mark.parametrize(
    ("rule", "when"),
    [
        ({"least_frames": 3}, [("a", "new", 2)]),
        ({"least_frames": 4}, [("a", "update", 10)]),
        ({"least_frames": 31}, [("a", "end", 40)]),
        ({"least_frames": 41}, []),
        ({"least_seconds": 2}, [("a", "new", 2)]),
        ({"least_seconds": 15}, [("a", "update", 20)]),
        ({"least_seconds": 15, "least_frames": 25}, [("a", "update", 30)]),
        ({"least_seconds": 41}, []),
        ({"least_count": 2}, []),
        ({"active_hours": "06:00-06:01"}, [("a", "new", 2)]),
        ({"active_hours": "18:00-06:00"}, []),
        ({"active_hours": "18:00-06:01"}, [("a", "new", 2)]),
        ({"active_hours": "6:01-18:00"}, []),
    ],
)
def test_alert_waits_until_the_rule_is_fulfilled(rule: dict[str, Any], when: list[tuple[str, str, float]]) -> None:
    assert at(told(visit(), **rule)) == when


def test_hours_are_those_of_the_picture_and_a_visit_that_lasts_into_them_is_told_then() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    there = [dataclasses.replace(each, last_seen=each.last_seen.astimezone(india)) for each in visit()]
    assert at(told(there, active_hours="11:30-12:00")) == [("a", "new", 2)]
    assert at(told(there, active_hours="06:00-07:00")) == []
    night = [seen("new", 50), seen("update", 70), seen("end", 90)]
    assert at(told(night, active_hours="06:01-07:00")) == [("a", "update", 70)]


def test_so_many_at_once() -> None:
    herd = [seen("new", 2), seen("update", 10, count=2), seen("update", 20, count=3), seen("end", 30, count=3)]
    assert at(told(herd, least_count=3)) == [("a", "update", 20)]


def test_visit_that_turns_out_to_be_of_a_target_is_told_then_and_once() -> None:
    found = [seen("new", 2, species="deer"), seen("update", 10), seen("update", 20, species="deer"), seen("end", 30)]
    assert at(told(found)) == [("a", "update", 10)]
    assert at(told(found, species="deer,tiger")) == [("a", "new", 2)]


@pytest.mark.parametrize(
    ("targets", "species", "members", "alerted"),
    [
        ("big_cat", "big_cat", (), True),
        ("big_cat", "tiger", (), True),
        ("big_cat", "deer", (), False),
        ("tiger", "big_cat", (), False),
        ("tiger", "big_cat", ("leopard", "tiger"), True),
        ("tiger", "big_cat", ("leopard", "lion"), False),
        ("felid", "big_cat", (), True),
        ("lion", "felid", (), False),
    ],
)
def test_group_is_told_if_it_is_a_target_or_may_be_one(
    targets: str, species: str, members: tuple[str, ...], alerted: bool
) -> None:
    assert bool(told([seen("new", 2, species=species, members=members)], species=targets)) is alerted


def test_interval_is_measured_in_event_time_and_survives_a_restart() -> None:
    found = [seen("new", second + 1, str(second), start=second) for second in (0, 30, 70)]
    assert [each.sighting.id for each in told(found, alert_interval=60)] == ["0", "70"]
    before = {"last": {"tiger": START - timedelta(seconds=30)}}
    assert [each.sighting.id for each in told(found, before, alert_interval=60)] == ["30"]


def test_visit_within_the_interval_is_not_told_later_either() -> None:
    found = [*visit(id="a", until=10), *visit(id="b", until=900, start=1)]
    assert at(told(found, alert_interval=60)) == [("a", "new", 2)]


def test_interval_of_one_species() -> None:
    found = [
        seen("new", second + 1, f"{species}{second}", species, start=second)
        for second in (0, 30, 70)
        for species in ("tiger", "lion")
    ]
    ids = [each.sighting.id for each in told(found, species="big_cat", alert_interval=60, alert_intervals="tiger=20")]
    assert ids == ["tiger0", "lion0", "tiger30", "tiger70", "lion70"]


def test_group_that_may_be_a_target_just_told_is_not_told() -> None:
    found = [seen("new", 1), seen("new", 31, "b", "big_cat", start=30, members=("leopard", "tiger"))]
    assert [each.sighting.id for each in told(found, alert_interval=60)] == ["a"]
    assert [each.sighting.id for each in told(found, alert_interval=60, species="tiger,leopard")] == ["a", "b"]


def test_visit_that_was_told_before_a_restart_is_not_told_again() -> None:
    assert told(visit(), {"alerted": {"a"}}) == []
    assert at(told(visit()[1:])) == [("a", "update", 10)]


def test_alert_says_where_as_exactly_as_allowed() -> None:
    where = {"latitude": 21.5432, "longitude": 79.2567, "hide_location": "tiger=0.1,leopard", "deployment": "oak"}
    found = told([seen("new", 2, name, name) for name in ("tiger", "leopard", "lion")], species="big_cat", **where)
    assert [(each.deployment.latitude, each.deployment.longitude) for each in found] == [
        (21.5, 79.3),
        (None, None),
        (21.5432, 79.2567),
    ]


change = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["deer", "tiger", "leopard", "big_cat"]), st.integers(0, 200)
)


@given(
    st.lists(change, max_size=40),
    st.integers(0, 60),
    st.integers(1, 5),
    st.integers(0, 20),
    st.sampled_from([None, "06:00-06:01", "06:01-05:59"]),
)
def test_no_visit_is_told_twice(
    changes: list[tuple[str, str, int]], interval: int, frames: int, seconds: int, hours: str | None
) -> None:
    found, open_visits = [], set()
    for number, (id_, species, second) in enumerate(changes):
        kind = "update" if id_ in open_visits else "new"
        open_visits.add(id_)
        found.append(seen(kind, second, id_, species, frames=number % 7 + 1))
    rule = {"alert_interval": interval, "least_frames": frames, "least_seconds": seconds, "active_hours": hours}
    made = told(found, species="big_cat", **rule)
    ids = [each.sighting.id for each in made]
    assert len(ids) == len(set(ids))
    assert all(each.sighting.frames >= frames for each in made)
    assert all(each.sighting.species != "deer" for each in made)
    again = told([dataclasses.replace(each, id="z") for each in found], species="big_cat", **rule)
    assert len(again) <= 1
