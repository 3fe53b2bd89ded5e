"""predictions -> sightings -> alerts."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from datetime import timedelta

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.deciding.alerts import alerts
from edge.deciding.sightings import SightingSettings, sightings, uuid7
from edge.settings import Settings
from edge.types import WHOLE, BBox, Crop, Frame, Named, Prediction, Sighting, Trigger
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint
from tests.conftest import START

NAMES = ("blank", "leopard", "person", "tiger")
LABELS = LabelMap(Label.from_name(name, {"tiger": "Panthera tigris"}) for name in NAMES)
POINTS = {name: {"day": OperatingPoint(0.8, 1, 1, 9), "night": OperatingPoint(0.6, 1, 1, 9)} for name in NAMES}
GAP = SightingSettings(event_gap=timedelta(seconds=15))
HERE, THERE = BBox(0.1, 0.1, 0.2, 0.2), BBox(0.7, 0.7, 0.2, 0.2)
MakeFrame = Callable[..., Frame]


def looked_at(frame: Frame) -> Frame:
    """The frame, with another picture than the one before it; one that a test has painted stays."""
    if frame.image.any():
        return frame
    moving = np.random.default_rng(frame.index).integers(0, 256, frame.image.shape, np.uint8)
    return dataclasses.replace(frame, image=moving)


def look(frame: Frame, *seen: tuple[str, float] | tuple[str, float, BBox], lighting: str = "day") -> Named:
    """One frame in which crops show species with a probability; the rest is spread over the others."""
    trigger = Trigger(looked_at(frame), tuple(HERE for _ in seen), lighting)  # type: ignore[arg-type]
    predictions = []
    for name, probability, *box in seen:
        values = np.full(len(NAMES), (1 - probability) / (len(NAMES) - 1), np.float32)
        values[NAMES.index(name)] = probability
        predictions.append(Prediction(Crop(trigger, box[0] if box else HERE), values))
    return trigger, tuple(predictions)


def told(named: list[Named], **more: object) -> list[tuple[str, str]]:
    return [(sighting.type, sighting.species) for sighting in sightings(named, LABELS, POINTS, GAP, **more)]  # type: ignore[arg-type]


def test_one_visit_is_new_once_and_ends_after_the_gap(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(20)]
    named += [look(make_frame(4 + second)) for second in range(20)]
    assert told(named) == [("new", "tiger"), ("end", "tiger")]
    end = list(sightings(named, LABELS, POINTS, GAP))[-1]
    assert (end.event_start, end.event_end) == (START, START + timedelta(seconds=3.8))
    assert end.frames == 20
    assert end.scientific_name == "Panthera tigris"


def test_visit_ends_as_soon_as_the_gap_is_over_not_when_the_next_animal_comes(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(8)]
    named += [look(make_frame(second)) for second in range(2, 60)]
    seen: list[int] = []

    def counted() -> object:
        for item in named:
            seen.append(1)
            yield item

    stream = sightings(counted(), LABELS, POINTS, GAP)  # type: ignore[arg-type]
    assert next(stream).type == "new"
    assert next(stream).type == "end"
    assert len(seen) == 8 + 16  # one frame a second from the next on; the last look was at 1.4 s


def test_two_visits_further_apart_than_the_gap_are_two(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(8)]
    named += [look(make_frame(20 + second / 5), ("tiger", 0.95)) for second in range(8)]
    found = [sighting for sighting in sightings(named, LABELS, POINTS, GAP) if sighting.type == "new"]
    assert len({sighting.id for sighting in found}) == len(found) == 2


def test_a_pause_shorter_than_the_gap_is_the_same_visit(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(8)]
    named += [look(make_frame(10 + second / 5), ("tiger", 0.95)) for second in range(8)]
    assert [kind for kind, _ in told(named) if kind != "update"] == ["new", "end"]


def test_source_that_ends_flushes_the_open_visit(make_frame: MakeFrame) -> None:
    assert told([look(make_frame(second / 5), ("tiger", 0.95)) for second in range(6)])[-1] == ("end", "tiger")


def walking(number: int) -> BBox:
    """Where an animal is that moves on by a third of its width from one look to the next, and back after ten."""
    return BBox(0.1 + 0.06 * (number % 10), 0.1, 0.2, 0.2)


@pytest.mark.parametrize(
    ("probability", "step", "enough"), [(0.95, 0.2, 5), (0.6, 0.2, 9), (0.95, 1.0, 3), (0.6, 1.0, 5)]
)
def test_looks_add_up_until_they_are_enough(
    make_frame: MakeFrame, probability: float, step: float, enough: int
) -> None:
    """Sooner where each says more, or where more time passes between them; never after fewer than three."""
    looks = [
        look(make_frame(number * step), ("tiger", probability, walking(number))) for number in range(enough)
    ]  # fmt: skip
    assert ("new", "tiger") not in told(looks[:-1])
    assert told(looks) == [("new", "tiger"), ("end", "tiger")]


@pytest.mark.parametrize(("probability", "expected"), [(0.95, {"tiger"}), (0.6, set())])
def test_what_does_not_move_from_its_place_has_to_be_surer(
    make_frame: MakeFrame, probability: float, expected: set[str]
) -> None:
    """However long it is looked at: a branch looks like the same animal for as long as it waves."""
    looks = [look(make_frame(number / 5), ("tiger", probability)) for number in range(600)]
    assert {species for _, species in told(looks)} == expected


def test_same_picture_again_is_no_second_witness(make_frame: MakeFrame) -> None:
    still = np.full((180, 320, 3), 90, np.uint8)
    looks = [look(make_frame(number / 5, still), ("tiger", 0.95)) for number in range(16)]
    assert ("new", "tiger") not in told(looks[:-1])
    assert told(looks) == [("new", "tiger"), ("end", "tiger")]


def test_one_look_at_a_still_is_enough(make_frame: MakeFrame) -> None:
    named = [look(make_frame(0, still=True), ("tiger", 0.95, WHOLE))]
    assert told(named) == [("new", "tiger"), ("end", "tiger")]


def test_one_doubtful_frame_among_sure_ones_begins_no_second_visit(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("leopard" if second == 5 else "tiger", 0.99)) for second in range(10)]
    assert told(named) == [("new", "tiger"), ("end", "tiger")]


def test_two_animals_in_two_places_are_two_visits(make_frame: MakeFrame) -> None:
    named = [look(make_frame(s / 5), ("tiger", 0.95, HERE), ("leopard", 0.95, THERE)) for s in range(8)]
    assert sorted(told(named)) == [("end", "leopard"), ("end", "tiger"), ("new", "leopard"), ("new", "tiger")]


def test_blank_is_never_seen(make_frame: MakeFrame) -> None:
    assert told([look(make_frame(second / 5), ("blank", 0.99)) for second in range(10)]) == []


@pytest.mark.parametrize(("lighting", "expected"), [("day", "unknown"), ("night", "tiger")])
def test_each_light_has_its_own_operating_point(make_frame: MakeFrame, lighting: str, expected: str) -> None:
    points = {**POINTS, "tiger": {"day": OperatingPoint(0.97, 1, 1, 9), "night": OperatingPoint(0.6, 1, 1, 9)}}
    named = [look(make_frame(s / 5), ("tiger", 0.95, walking(s)), lighting=lighting) for s in range(6)]
    assert {each.species for each in sightings(named, LABELS, points, GAP)} == {expected}


def test_new_sighting_carries_the_picture(make_frame: MakeFrame) -> None:
    new = next(sightings([look(make_frame(s / 5), ("tiger", 0.95)) for s in range(8)], LABELS, POINTS, GAP))
    assert new.image is not None
    assert new.image.startswith(b"\xff\xd8")


def test_long_visit_is_updated_every_ten_seconds(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(126)]
    assert [kind for kind, _ in told(named)] == ["new", "update", "update", "end"]


def test_replay_gives_the_same_ids_and_live_ids_are_sorted_by_time(make_frame: MakeFrame) -> None:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(8)]
    first, again = (next(sightings(named, LABELS, POINTS, GAP)).id for _ in range(2))
    assert first == again
    live = [look(make_frame(second / 5, replay=False), ("tiger", 0.95)) for second in range(8)]
    new = uuid.UUID(next(sightings(live, LABELS, POINTS, GAP)).id)
    assert (new.version, new.variant) == (7, uuid.RFC_4122)


def test_uuid7_holds_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 0x0123456789AB * 1_000_000)
    made = uuid.UUID(uuid7())
    assert (made.int >> 80, made.version, made.variant) == (0x0123456789AB, 7, uuid.RFC_4122)


def resumed(make_frame: MakeFrame, ended: bool) -> Sighting:
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(8)]
    found = list(sightings(named, LABELS, POINTS, GAP))
    return found[-1] if ended else found[0]


@pytest.mark.parametrize("ended", [True, False])
def test_visit_that_goes_on_after_a_restart_keeps_its_id_and_is_not_new(make_frame: MakeFrame, ended: bool) -> None:
    before = resumed(make_frame, ended)
    named = [look(make_frame(8 + second / 5), ("tiger", 0.95)) for second in range(8)]
    found = list(sightings(named, LABELS, POINTS, GAP, [before]))
    assert [(sighting.type, sighting.id) for sighting in found] == [("end", before.id)]
    assert found[0].event_start == before.event_start


def test_visit_that_was_open_at_a_crash_and_does_not_go_on_is_ended_once(make_frame: MakeFrame) -> None:
    quiet = [look(make_frame(second)) for second in range(5, 60)]
    assert told(quiet, resumed=[resumed(make_frame, False)]) == [("end", "tiger")]
    assert told(quiet, resumed=[resumed(make_frame, True)]) == []


def test_resumed_visits_of_one_species_are_one_open_one(make_frame: MakeFrame) -> None:
    older = resumed(make_frame, False)
    newer = dataclasses.replace(older, id="newer", last_seen=older.last_seen + timedelta(seconds=1))
    found = list(sightings([look(make_frame(3))], LABELS, POINTS, GAP, [newer, older]))
    assert [(sighting.type, sighting.id) for sighting in found] == [("end", older.id), ("end", "newer")]


def test_visit_of_a_clock_that_ran_ahead_swallows_no_later_one(make_frame: MakeFrame) -> None:
    ahead = dataclasses.replace(resumed(make_frame, False), last_seen=START + timedelta(days=365), id="ahead")
    named = [look(make_frame(second / 5), ("tiger", 0.95)) for second in range(8)]
    found = list(sightings(named, LABELS, POINTS, GAP, [ahead]))
    assert [sighting.type for sighting in found] == ["end", "new", "end"]
    assert found[0].id == "ahead" != found[1].id


def test_overlapping_crops_of_one_frame_are_one_look(make_frame: MakeFrame) -> None:
    near = BBox(0.12, 0.12, 0.2, 0.2)
    named = [look(make_frame(s / 5), ("tiger", 0.95, HERE), ("tiger", 0.95, near)) for s in range(2)]
    assert told(named) == []


moment = st.tuples(
    st.floats(0.05, 40), st.sampled_from(["tiger", "leopard", "blank", "person"]), st.floats(0.3, 1.0), st.booleans()
)


@settings(max_examples=150)
@given(st.lists(moment, max_size=60))
def test_any_stream_keeps_the_promises(moments: list[tuple[float, str, float, bool]]) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    second, named = 0.0, []
    for index, (step, species, probability, quiet) in enumerate(moments):
        second += step
        frame = Frame(image, START + timedelta(seconds=second), index, "any", replay=True)
        named.append(look(frame) if quiet else look(frame, (species, probability)))
    found = list(sightings(named, LABELS, POINTS, GAP))
    for id_ in {sighting.id for sighting in found}:
        own = [sighting for sighting in found if sighting.id == id_]
        assert [own[0].type, own[-1].type] == ["new", "end"]
        assert {sighting.type for sighting in own[1:-1]} <= {"update"}
        assert all(sighting.event_start <= sighting.last_seen for sighting in own)
        assert own[-1].event_end is not None
        assert own[-1].event_start <= own[-1].event_end
    assert all(sighting.species != "blank" for sighting in found)
    settings = Settings(species=("tiger",), alert_interval=timedelta(0))
    told = [alert.sighting.id for alert in alerts(found, settings, "wildlife 1")]
    assert len(told) == len(set(told))
    assert set(told) == {each.id for each in found if "tiger" in (each.species, *each.members)}


def pictured(make_frame: MakeFrame, looks: list[tuple[tuple[object, ...], int]]) -> Sighting:
    """The end of a visit whose frames are of one brightness each."""
    named = [
        look(make_frame(number / 5, np.full((48, 64, 3), value, np.uint8)), *seen)  # type: ignore[arg-type]
        for number, (seen, value) in enumerate(looks)
    ]
    return list(sightings(named, LABELS, POINTS, GAP))[-1]


def brightness(sighting: Sighting) -> int:
    assert sighting.image is not None
    return round(float(cv2.imdecode(np.frombuffer(sighting.image, np.uint8), cv2.IMREAD_COLOR).mean()))


LARGE, AT_EDGE = BBox(0.05, 0.05, 0.4, 0.4), BBox(0.0, 0.1, 0.3, 0.3)


def test_best_picture_shows_most_of_the_animal(make_frame: MakeFrame) -> None:
    seen = [((("tiger", 0.99),), 10)] * 15 + [((("tiger", 0.99, LARGE),), 90)] + [((("tiger", 0.99),), 200)] * 4
    end = pictured(make_frame, seen)
    assert (brightness(end), end.pictured_at) == (90, START + timedelta(seconds=3))


def test_animal_at_the_edge_is_a_worse_picture_than_a_smaller_one_within(make_frame: MakeFrame) -> None:
    within = BBox(0.05, 0.1, 0.25, 0.25)
    end = pictured(make_frame, [((("tiger", 0.95, AT_EDGE),), 10)] * 20 + [((("tiger", 0.95, within),), 90)])
    assert brightness(end) == 90
