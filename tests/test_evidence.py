"""What looks at one animal add up to, and what is made of that."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.deciding.evidence import MISSED, MOST, WRONG, Evidence
from edge.deciding.looks import MOST as MOST_LOOKS
from edge.deciding.sightings import SightingSettings, sightings
from edge.types import BBox, Candidate, Crop, Frame, Named, Prediction, Sighting, Trigger
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint
from tests.conftest import START

NAMES = ("blank", "deer", "jaguar", "leopard", "lion", "person", "wolf")
LION = NAMES.index("lion")
LABELS = LabelMap(Label.from_name(name, {}) for name in NAMES)
POINTS = {name: {"day": OperatingPoint(0.9, 1, 1, 9), "night": OperatingPoint(0.5, 1, 1, 9)} for name in NAMES}
HERE, THERE = BBox(0.1, 0.1, 0.2, 0.2), BBox(0.7, 0.7, 0.2, 0.2)


def said(**shares: float) -> np.ndarray:
    """(classes,) probabilities; what is left is spread over the others."""
    rest = (1 - sum(shares.values())) / (len(NAMES) - len(shares))
    return np.array([shares.get(name, rest) for name in NAMES], np.float32)


def stream(*frames: tuple[float, tuple[np.ndarray, BBox]] | tuple[float], still: bool = False) -> list[Named]:
    """Frames by their second, each with what the model says of its crops."""
    named = []
    for index, (second, *seen) in enumerate(frames):
        image = np.random.default_rng(index).integers(0, 256, (90, 160, 3), np.uint8)
        frame = Frame(image, START + timedelta(seconds=second), index, "clip.mp4@0", replay=True, still=still)
        trigger = Trigger(frame, (), "day")
        named.append((trigger, tuple(Prediction(Crop(trigger, box), shares) for shares, box in seen)))
    return named


def found(named: list[Named], gap: float = 15, **more: object) -> list[Sighting]:
    return list(sightings(named, LABELS, POINTS, SightingSettings(timedelta(seconds=gap)), **more))  # type: ignore[arg-type]


def told(named: list[Named], gap: float = 15) -> list[tuple[str, str]]:
    return [(sighting.type, sighting.species) for sighting in found(named, gap)]


def every(step: float, shares: np.ndarray, count: int, start: float = 0.0, box: BBox = HERE) -> list[tuple]:
    return [(start + step * number, (shares, box)) for number in range(count)]


def test_one_look_is_a_noisy_witness() -> None:
    evidence = Evidence(LABELS)
    evidence.add(said(lion=0.9), 1.0)
    blank, lion, other = (share * (1 - WRONG) + WRONG / 7 for share in (0.1 / 6, 0.9, 0.1 / 6))
    lion, other = (share * (1 - MISSED) + MISSED * blank for share in (lion, other))
    assert evidence.posterior()[LION] == pytest.approx(lion / (lion + 5 * other + blank))


def test_two_looks_multiply_and_half_a_look_is_a_root() -> None:
    whole, halves, twice = Evidence(LABELS), Evidence(LABELS), Evidence(LABELS)
    whole.add(said(lion=0.6), 1.0)
    for _ in range(2):
        halves.add(said(lion=0.6), 0.5)
        twice.add(said(lion=0.6), 1.0)
    assert halves.posterior() == pytest.approx(whole.posterior())
    odds = log_odds_between(twice, LION, 1)
    assert odds == pytest.approx(2 * log_odds_between(whole, LION, 1))


def log_odds_between(evidence: Evidence, one: int, other: int) -> float:
    shares = evidence.posterior()
    return math.log(shares[one] / shares[other])


def test_one_sure_look_that_is_wrong_does_not_turn_many_doubtful_ones() -> None:
    evidence = Evidence(LABELS)
    for _ in range(5):
        evidence.add(said(lion=0.6), 1.0)
    evidence.add(said(wolf=1.0), 1.0)
    assert NAMES[int(evidence.posterior().argmax())] == "lion"


def test_looks_that_show_nothing_do_not_take_an_animal_away() -> None:
    evidence = Evidence(LABELS)
    for shares in (said(lion=0.9), said(lion=0.9), said(lion=0.9), said(blank=0.9), said(blank=0.9)):
        evidence.add(shares, 1.0)
    assert evidence.posterior()[LION] > 0.95


def test_animal_that_comes_to_an_empty_place_is_known_as_soon_as_elsewhere() -> None:
    """However long a branch has waved there."""
    evidence = Evidence(LABELS)
    for _ in range(1000):
        evidence.add(said(blank=0.95), 1.0)
    assert evidence.blank == pytest.approx(1 / 1.05)
    for _ in range(4):
        evidence.add(said(lion=0.9), 1.0)
    assert evidence.posterior()[LION] > 0.9


def test_old_evidence_is_forgotten() -> None:
    evidence = Evidence(LABELS)
    for _ in range(1000):
        evidence.add(said(lion=0.9), 1.0)
    assert evidence.weight == MOST
    for _ in range(10):
        evidence.add(said(wolf=0.9), 1.0)
    assert NAMES[int(evidence.posterior().argmax())] == "wolf"


@settings(max_examples=200)
@given(st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=7, max_size=7), st.floats(0, 1)), max_size=40))
def test_posterior_is_a_distribution_whatever_is_said(looks: list[tuple[list[float], float]]) -> None:
    evidence = Evidence(LABELS)
    for shares, weight in looks:
        values = np.array(shares, np.float32) + 1e-9
        evidence.add((values / values.sum()).astype(np.float32), weight)
        assert evidence.posterior().sum() == pytest.approx(1)
        assert (evidence.posterior() > 0).all()
        assert 0 <= evidence.weight <= MOST


@settings(max_examples=100)
@given(st.permutations([0.3, 0.5, 0.7, 0.8, 0.9]))
def test_order_of_the_looks_does_not_matter(shares: list[float]) -> None:
    one, other = Evidence(LABELS), Evidence(LABELS)
    for share in shares:
        one.add(said(lion=share), 0.5)
    for share in sorted(shares):
        other.add(said(lion=share), 0.5)
    assert one.posterior() == pytest.approx(other.posterior())


def test_look_alikes_that_share_the_evidence_are_told_as_their_group() -> None:
    shares = said(jaguar=0.48, leopard=0.48)
    assert set(told(stream(*every(0.2, shares, 8)))) == {("new", "unknown"), ("end", "unknown")}
    group = found(stream(*every(0.2, shares, 24)))
    assert {sighting.species for sighting in group} == {"spotted_cat"}
    assert group[0].members == ("jaguar", "leopard")
    assert (group[0].observation_type, group[0].scientific_name) == ("animal", "")
    assert group[0].probability > 0.9


@pytest.mark.parametrize("step", [0.0, 0.03])
def test_look_alikes_are_given_five_whole_looks_to_be_told_apart_in_place_and_moving(step: float) -> None:
    def passing(count: int) -> list[tuple]:
        shares = said(jaguar=0.48, leopard=0.48)
        return [(0.2 * number, (shares, BBox(step * number, 0.3, 0.1, 0.2))) for number in range(count)]

    # The first look counts 0.2, each that follows 0.25.
    assert set(told(stream(*passing(20)))) == {("new", "unknown"), ("end", "unknown")}
    assert {species for _, species in told(stream(*passing(21)))} == {"spotted_cat"}


def test_group_becomes_a_species_when_the_looks_say_so_with_the_same_id() -> None:
    named = stream(*every(0.2, said(jaguar=0.48, leopard=0.48), 24), *every(0.2, said(jaguar=0.95), 12, start=4.8))
    seen = found(named)
    assert [(each.type, each.species) for each in seen] == [
        ("new", "spotted_cat"), ("update", "jaguar"), ("end", "jaguar")]  # fmt: skip
    assert len({each.id for each in seen}) == 1
    assert (seen[-1].members, seen[-1].event_start) == ((), seen[0].event_start)


def test_visit_of_one_animal_that_was_mistaken_is_named_anew() -> None:
    named = stream(*every(0.2, said(wolf=0.8), 8), *every(0.2, said(lion=0.97), 30, start=1.6))
    assert told(named)[:2] == [("new", "wolf"), ("update", "lion")]
    assert told(named)[-1] == ("end", "lion")
    assert len({each.id for each in found(named)}) == 1


def test_visit_that_was_certain_once_keeps_its_name() -> None:
    """The rear of an animal that goes looks like another one."""
    named = stream(*every(0.2, said(wolf=0.97), 30), *every(0.2, said(lion=0.7), 12, start=6.0))
    assert {species for _, species in told(named)} == {"wolf"}


def test_second_animal_where_the_first_one_was_is_a_visit_of_its_own() -> None:
    named = stream(*every(0.2, said(deer=0.97), 30), *every(0.2, said(lion=0.97), 40, start=6.0))
    seen = found(named)
    assert {(each.species, each.type) for each in seen} == {
        ("deer", "new"), ("deer", "end"), ("lion", "new"), ("lion", "end")}  # fmt: skip
    lion = next(each for each in seen if each.species == "lion")
    assert START + timedelta(seconds=6) < lion.event_start == lion.last_seen
    assert lion.id != seen[0].id
    assert lion.image is not None


def test_visit_of_two_animals_is_not_named_anew_for_one_of_them() -> None:
    both = [(0.2 * number, (said(wolf=0.95), HERE), (said(wolf=0.95), THERE)) for number in range(8)]
    later = [(1.6 + 0.2 * number, (said(lion=0.7), HERE), (said(wolf=0.95), THERE)) for number in range(40)]
    assert {species for _, species in told(stream(*both, *later))} == {"wolf"}


def test_count_is_how_many_were_seen_at_once_apart_from_one_another() -> None:
    over = BBox(0.15, 0.15, 0.2, 0.2)
    two = [(0.2 * number, (said(wolf=0.95), HERE), (said(wolf=0.95), THERE)) for number in range(8)]
    three = [(1.6 + 0.2 * number, (said(wolf=0.95), HERE), (said(wolf=0.95), over)) for number in range(8)]
    assert found(stream(*two, *three))[-1].count == 2
    assert found(stream(*three))[-1].count == 1


def test_animal_that_nobody_knows_is_unknown_once_it_is_gone_with_its_picture() -> None:
    doubtful = said(deer=0.45, lion=0.45)
    seen = found(stream(*every(0.2, doubtful, 10), (10.0,), (60.0,)))
    assert [(each.type, each.species, each.observation_type) for each in seen] == [
        ("new", "unknown", "animal"), ("end", "unknown", "animal")]  # fmt: skip
    assert seen[0].members == ()
    assert seen[0].image is not None
    assert (seen[1].event_start, seen[1].event_end) == (START, START + timedelta(seconds=1.8))


def test_part_of_a_known_animal_is_no_unknown_one() -> None:
    doubtful = said(deer=0.45, lion=0.45)
    both = [(0.2 * number, (said(lion=0.95), HERE), (doubtful, THERE)) for number in range(10)]
    assert {species for _, species in told(stream(*both, (10.0,)))} == {"lion"}


def test_part_of_a_known_animal_that_looks_like_its_group_is_a_part_of_its_visit() -> None:
    alike = said(leopard=0.5, lion=0.45)
    both = [(0.2 * number, (said(lion=0.95), HERE), (alike, THERE)) for number in range(30)]
    seen = found(stream(*both))
    assert {each.species for each in seen} == {"lion"}
    assert seen[-1].count == 2


def test_what_may_be_nothing_is_not_told() -> None:
    assert told(stream(*every(0.2, said(blank=0.5, wolf=0.3), 30), (20.0,))) == []


def test_still_counts_by_the_operating_point_of_one_picture() -> None:
    assert told(stream((0.0, (said(lion=0.91), HERE)), still=True)) == [("new", "lion"), ("end", "lion")]
    assert told(stream((0.0, (said(lion=0.89), HERE)), still=True)) == [("new", "unknown"), ("end", "unknown")]


def test_visit_begins_with_the_first_look_that_showed_something() -> None:
    named = stream(*every(1.0, said(blank=0.95), 60), *every(0.2, said(lion=0.95), 10, start=60.0))
    assert found(named)[0].event_start == START + timedelta(seconds=60)


def test_visit_is_not_kept_open_by_the_empty_place_it_left() -> None:
    named = stream(*every(0.2, said(lion=0.95), 10), *every(0.2, said(blank=0.95), 100, start=2.0))
    end = found(named)[-1]
    assert (end.type, end.event_end) == ("end", START + timedelta(seconds=1.8))


def test_each_animal_tells_how_sure_the_looks_were_at_most() -> None:
    heard: list[Candidate] = []
    found(stream(*every(0.2, said(lion=0.95), 8), *every(0.2, said(blank=0.95), 5, start=1.6)), heard=heard.append)
    [one] = heard
    assert one.at == START + timedelta(seconds=0)
    assert one.highest["lion"] > 0.9
    assert one.highest["lion"] < one.highest["big_cat"] < one.highest["carnivore"] < 1
    assert "blank" not in one.highest


def test_evidence_of_a_visit_is_in_its_end_and_bounded() -> None:
    few, many = (found(stream(*every(0.2, said(lion=0.95), count)))[-1].evidence for count in (8, 200))
    assert [look.weight for look in few] == [0.2, *[0.25] * 7]
    assert few[0].top[0] == ("lion", pytest.approx(0.95))
    assert all(look.species == "lion" for look in few)
    assert [look.score for look in few] == sorted(look.score for look in few)
    assert len(many) == MOST_LOOKS
    assert many[:20] == found(stream(*every(0.2, said(lion=0.95), 20)))[-1].evidence
