"""Rules of species against a model: what is a target, what can be here, and where it may be told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.deciding.predictions import possible, renormalized
from edge.deciding.rules import allowed, checked, place
from edge.settings import Settings, read_settings
from edge.types import WHOLE, Crop, Deployment, Frame, Prediction, Trigger
from models.errors import UnknownSpeciesError, UsageError
from models.labels import Label, LabelMap
from tests.samples import sighting

NAMES = ("empty", "deer", "jaguar", "leopard", "lion", "person", "tiger", "vehicle")
LABELS = LabelMap(Label.from_name(name, {}) for name in NAMES)
MakeFrame = Callable[..., Frame]


def rules(**options: Any) -> Settings:
    return checked(read_settings(None, options), LABELS)


def possible_names(settings: Settings) -> list[str]:
    return [name for name, may in zip(NAMES, allowed(LABELS, settings), strict=True) if may]


@pytest.mark.parametrize(
    ("species", "exclude", "targets"),
    [
        ("Tiger, leopard", None, ("tiger", "leopard")),
        ("tiger,tiger", None, ("tiger",)),
        ("big cat", None, ("jaguar", "leopard", "lion", "tiger", "spotted_cat", "big_cat", "felid", "carnivore")),
        ("spotted_cat", None, ("jaguar", "leopard", "spotted_cat")),
        ("spotted_cat", "jaguar", ("leopard", "spotted_cat")),
        ("person", None, ("person",)),
    ],
)
def test_targets(species: str, exclude: str | None, targets: tuple[str, ...]) -> None:
    assert rules(species=species, exclude=exclude).species == targets


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, list(NAMES)),
        ({"present": "deer"}, ["empty", "deer", "person", "vehicle"]),
        ({"present": "deer", "species": "tiger"}, ["empty", "deer", "person", "tiger", "vehicle"]),
        ({"present": "deer", "species": "big_cat", "exclude": "lion"},
         ["empty", "deer", "jaguar", "leopard", "person", "tiger", "vehicle"]),
        ({"exclude": "big_cat"}, ["empty", "deer", "person", "vehicle"]),
        ({"present": "big_cat", "exclude": "spotted_cat"}, ["empty", "lion", "person", "tiger", "vehicle"]),
    ],
)  # fmt: skip
def test_what_can_be_here(options: dict[str, Any], names: list[str]) -> None:
    assert possible_names(rules(**options)) == names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"species": "empty"}, "--species: expected an animal, found empty, the class of pictures without one"),
        ({"species": "tiger", "exclude": "tiger"},
         "species: expected what can be here, found tiger, which exclude names; leave out one"),
        ({"species": "tiger", "exclude": "big_cat"},
         "species: expected what can be here, found tiger, which exclude names; leave out one"),
        ({"species": "spotted_cat", "exclude": "jaguar,leopard"},
         "species: expected what can be here, found spotted_cat, which exclude names; leave out one"),
        ({"present": "deer,tiger", "exclude": "tiger"},
         "present: expected what can be here, found tiger, which exclude names; leave out one"),
        ({"exclude": "deer,big_cat"},
         "exclude: expected an animal to be left, found all of the model's excluded; leave one in"),
        ({"exclude": "person"}, "exclude: expected animals, found person; people, vehicles and pictures without an "
         "animal are always possible: leave it out"),
        ({"present": "deer,empty"}, "present: expected animals, found empty; people, vehicles and pictures without an "
         "animal are always possible: leave it out"),
        ({"present": []}, "present: expected what lives here, found nothing; leave it out where anything may"),
        ({"present": ""}, "present: expected names, found an empty text; leave the option out"),
        ({"present": "der"}, "the model does not know 'der'; did you mean: deer, tiger?"),
        ({"exclude": "big_bat"}, "the model does not know 'big_bat'; did you mean: big_cat?"),
        ({"alert_intervals": "tigr=60"}, "the model does not know 'tigr'; did you mean: tiger?"),
        ({"hide_location": "tigr"}, "the model does not know 'tigr'; did you mean: tiger?"),
        ({"alert_intervals": "tiger"}, "alert_intervals: expected seconds for tiger, found none; as tiger=60"),
        ({"alert_intervals": "tiger=-1"}, "alert_intervals: expected 0 to 31622400 seconds, found -1"),
        ({"hide_location": "tiger=far"},
         "hide_location: expected a number behind each =, found 'tiger=far'; as tiger=60"),
        ({"hide_location": "tiger=0"}, "hide_location: expected more than 0, up to 10 degrees, found tiger=0; a name "
         "alone withholds the place"),
        ({"active_hours": "18-6"}, "active_hours: expected two times of day, found '18-6'; as 18:00-06:00"),
        ({"active_hours": "25:00-06:00"},
         "active_hours: expected two times of day, found '25:00-06:00'; as 18:00-06:00"),
        ({"active_hours": "06:00-6:00"},
         "active_hours: expected two times, found 06:00 twice; leave it out for always"),
        ({"least_frames": 0}, "least_frames: expected 1 or more, found 0"),
        ({"least_count": 0}, "least_count: expected 1 or more, found 0"),
        ({"people": "show"}, "people: expected drop, blur, keep, found 'show'"),
    ],
)  # fmt: skip
def test_rule_that_cannot_be_is_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageError, UnknownSpeciesError)) as error:
        rules(**options)
    assert str(error.value) == said


def test_values_for_single_species_go_over_those_of_their_groups() -> None:
    found = rules(alert_intervals={"tiger": 60, "felid": 3600, "spotted_cat": 5}).alert_intervals
    seconds = {name: round(value.total_seconds()) for name, value in found.items()}
    assert seconds == {"felid": 3600, "big_cat": 3600, "lion": 3600, "carnivore": 3600, "jaguar": 5, "leopard": 5,
                       "spotted_cat": 5, "tiger": 60}  # fmt: skip
    assert rules(alert_intervals="tiger=60,big_cat=5").alert_intervals["tiger"] == timedelta(seconds=60)


def somewhere(hide: Any, **seen: Any) -> Deployment:
    settings = rules(latitude=21.5432, longitude=-79.2567, deployment="oak", hide_location=hide)
    return place(settings, sighting(**seen))


@pytest.mark.parametrize(
    ("hide", "species", "members", "expected"),
    [
        ({}, "tiger", (), (21.5432, -79.2567)),
        ("tiger", "deer", (), (21.5432, -79.2567)),
        ("tiger", "tiger", (), (None, None)),
        ("Tiger=0.1", "tiger", (), (21.5, -79.3)),
        ({"tiger": 2}, "tiger", (), (22, -80)),
        (["leopard=0.1", "big_cat"], "leopard", (), (21.5, -79.3)),
        ("big_cat", "tiger", (), (None, None)),
        ("tiger", "big_cat", (), (None, None)),
        ("tiger,big_cat=0.1", "big_cat", (), (None, None)),
        ("tiger=0.1,lion=1", "big_cat", ("lion", "tiger"), (22, -79)),
        ("tiger", "spotted_cat", ("jaguar", "leopard"), (21.5432, -79.2567)),
    ],
)
def test_place_is_told_no_more_exactly_than_allowed(
    hide: Any, species: str, members: tuple[str, ...], expected: tuple[float | None, float | None]
) -> None:
    found = somewhere(hide, species=species, members=members)
    assert found == Deployment("oak", *expected)


def test_rounding_stays_on_the_globe() -> None:
    settings = rules(latitude=-89.9, longitude=179.9, hide_location="tiger=7")
    found = place(settings, sighting(species="tiger"))
    assert (found.latitude, found.longitude) == (-90, 180)


probabilities = arrays.arrays(np.float32, len(NAMES), elements=st.floats(0, 1, width=32)).filter(lambda a: a.sum() > 0)


@given(probabilities, st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)))
def test_what_is_possible_keeps_its_order_and_sums_to_one(values: np.ndarray, may: list[bool]) -> None:
    mask = np.array([True, *may[1:]])
    values = values / values.sum()
    found = renormalized(values, mask)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert not found[~mask].any()
    assert (np.diff(found[mask][np.argsort(values[mask], kind="stable")]) >= -1e-6).all()
    if mask.all():
        assert (found == values).all()


def test_look_that_is_sure_of_what_cannot_be_here_says_nothing_of_the_rest() -> None:
    values = np.array([0, 0.002, 0, 0.997, 0, 0, 0.001, 0], np.float32)
    found = renormalized(values, np.array([name != "leopard" for name in NAMES]))
    assert found.max() < 0.2


def test_look_that_hesitates_between_look_alikes_is_surer_where_one_cannot_be() -> None:
    values = np.array([0, 0, 0.45, 0.55, 0, 0, 0, 0], np.float32)
    found = renormalized(values, np.array([name != "jaguar" for name in NAMES]))
    assert found[NAMES.index("leopard")] == pytest.approx(0.9338, abs=1e-4)


def test_what_cannot_be_here_wins_no_look(make_frame: MakeFrame) -> None:
    trigger = Trigger(make_frame(0), (WHOLE,), "day")
    values = np.array([0.1, 0.1, 0, 0.6, 0, 0.05, 0.15, 0], np.float32)
    mask = allowed(LABELS, rules(present="deer", species="tiger"))
    [(_, [found])] = possible([(trigger, (Prediction(Crop(trigger, WHOLE), values),))], mask)
    expected = np.array([0.1, 0.1, 0, 0, 0, 0.05, 0.15, 0]) * 0.95 + np.array([1, 1, 0, 0, 0, 1, 1, 1]) * 0.05 / 8
    np.testing.assert_allclose(found.probabilities, expected / expected.sum(), rtol=1e-6)
