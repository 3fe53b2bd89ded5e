"""People: what is kept and told of them, in the chain's own order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from edge.deciding.privacy import People, pixelated, screened, withheld
from edge.deciding.sightings import sightings
from edge.types import BBox, Frame, Named, Sighting
from models.labels import Label, LabelMap
from tests.samples import sighting
from tests.test_sightings import GAP, HERE, LABELS, POINTS, THERE, look

MakeFrame = Callable[..., Frame]
UNKNOWING = LabelMap(Label.from_name(name, {}) for name in ("blank", "leopard", "kangaroo", "tiger"))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (180, 320, 3), np.uint8)


def stripes(number: int) -> np.ndarray:
    """Slanted stripes that move from frame to frame, and of which a block is grey."""
    slant = np.indices((180, 320)).sum(0) + 3 * number
    return np.where(slant // 8 % 2, 230, 20).astype(np.uint8)[..., None].repeat(3, 2)


def kept(named: list[Named], rule: str = "drop", labels: LabelMap = LABELS) -> list[tuple[bool, bool]]:
    """Of each frame, whether its picture may be kept, and whether a person is about."""
    return [(trigger.keep, trigger.person) for trigger, _ in screened(named, labels, rule, People())]


def visits(named: list[Named], rule: str = "drop", targets: tuple[str, ...] = ()) -> list[Sighting]:
    """What the chain behind the model makes of looks."""
    return list(withheld(sightings(screened(named, LABELS, rule, People()), LABELS, POINTS, GAP), rule, targets))


def looks(make_frame: MakeFrame, *seen: Any, start: float = 0, number: int = 5, image: Any = None) -> list[Named]:
    return [look(make_frame(start + each / 5, image), *seen) for each in range(number)]


def test_recognized_person_is_not_kept_and_nothing_of_the_minute_after(make_frame: MakeFrame) -> None:
    named = looks(make_frame, ("tiger", 0.9), number=1) + looks(make_frame, ("person", 0.9), start=1, number=2)
    named += [look(make_frame(second)) for second in (2, 61, 62)]
    assert kept(named) == [(True, False), (False, False), (False, True), (False, True), (False, True), (True, False)]


def test_one_look_that_is_unsure_costs_its_own_picture_only(make_frame: MakeFrame) -> None:
    named = looks(make_frame, ("tiger", 0.95), ("person", 0.55, THERE), number=1)
    named += looks(make_frame, ("tiger", 0.95), start=1, number=1)
    assert kept(named) == [(False, False), (True, False)]


def test_people_are_counted_by_frames_whatever_is_done_with_them(make_frame: MakeFrame) -> None:
    named = looks(make_frame, ("person", 0.9), ("person", 0.8, THERE)) + looks(make_frame, ("tiger", 0.9), start=30)
    for rule in ("drop", "blur", "keep"):
        people = People()
        list(screened(named, LABELS, rule, people))
        assert people.frames == 5


def test_all_is_kept_where_people_are(make_frame: MakeFrame) -> None:
    named = looks(make_frame, ("person", 0.95), number=8)
    assert kept(named, "keep") == [(True, False)] * 8
    found = visits(named, "keep")
    assert [(each.type, each.species, each.pictured, each.image is not None) for each in found] == [
        ("new", "person", True, True),
        ("end", "person", True, True),
    ]


@pytest.mark.parametrize(("rule", "keep"), [("drop", False), ("blur", False), ("keep", True)])
def test_model_that_knows_no_people_keeps_no_picture_unless_told_to(
    make_frame: MakeFrame, rule: str, keep: bool
) -> None:
    named = looks(make_frame, ("tiger", 0.95), number=2)
    assert kept(named, rule, UNKNOWING) == [(keep, False)] * 2


def test_person_is_no_visit_by_default_and_one_without_a_picture_as_a_target(make_frame: MakeFrame) -> None:
    named = looks(make_frame, ("person", 0.95), number=8)
    assert visits(named) == []
    found = visits(named, targets=("person",))
    assert [(each.type, each.observation_type, each.pictured, each.image) for each in found] == [
        ("new", "human", False, None),
        ("end", "human", False, None),
    ]


def test_tiger_beside_a_person_is_a_visit_without_a_picture(make_frame: MakeFrame) -> None:
    both = (("tiger", 0.95), ("person", 0.55, THERE))
    assert {(each.species, each.pictured, each.image) for each in visits(looks(make_frame, *both, number=8))} == {
        ("tiger", False, None)
    }
    later = looks(make_frame, *both, number=8) + looks(make_frame, ("tiger", 0.95), start=2)
    assert visits(later)[-1].image is not None


def test_visit_of_an_animal_that_turns_out_to_be_a_person_ends_without_a_picture() -> None:
    found = [sighting(type="new"), sighting(type="end", species="person", observation_type="human")]
    assert [(each.type, each.image is None, each.pictured) for each in withheld(found, "drop", ())] == [
        ("new", False, True),
        ("end", True, False),
    ]
    [ended] = withheld(found[1:], "drop", (), told=[found[0].id])
    assert (ended.type, ended.image) == ("end", None)


def blurred(named: list[Named]) -> list[np.ndarray]:
    return [trigger.frame.image for trigger, _ in screened(named, LABELS, "blur", People())]


def colours(image: np.ndarray, box: BBox) -> int:
    """How many colours there are in a box."""
    height, width = image.shape[:2]
    part = image[round(box.y * height) : round((box.y + box.height) * height),
                 round(box.x * width) : round((box.x + box.width) * width)]  # fmt: skip
    return len(np.unique(part.reshape(-1, 3), axis=0))


def test_blurred_person_is_a_few_blocks_and_the_tiger_beside_is_sharp(make_frame: MakeFrame) -> None:
    image = noise()
    named = looks(make_frame, ("tiger", 0.95), ("person", 0.9, THERE), image=image, number=3)
    for found in blurred(named):
        assert colours(found, THERE) <= 64
        assert np.array_equal(found[:90], image[:90])  # The tiger's half.
    assert colours(image, THERE) > 2000  # The camera's own picture is as it was.


def test_what_is_seen_does_not_depend_on_what_is_kept(make_frame: MakeFrame) -> None:
    """A tiger that comes to where a person was a moment ago: there all is blurred, but for the looks at it."""
    named = [look(make_frame(number / 5, stripes(number)), ("person", 0.9, HERE)) for number in range(8)]
    named += [look(make_frame(10 + number / 5, stripes(number)), ("tiger", 0.95, HERE)) for number in range(12)]
    found = [
        [(each.type, each.species, each.id, each.frames, each.probability) for each in visits(named, rule, ("person",))]
        for rule in ("drop", "blur", "keep")
    ]
    assert found[0] == found[1] == found[2]
    assert {species for _, species, *_ in found[0]} == {"person", "tiger"}


def test_person_who_stands_still_stays_blurred_and_so_does_what_moves_unlooked_at(make_frame: MakeFrame) -> None:
    image = noise()
    named = looks(make_frame, ("person", 0.9, THERE), image=image, number=3)
    named += [look(make_frame(30, image)), look(make_frame(70, image))]
    trigger, _ = look(make_frame(71, image), ("tiger", 0.9))
    named.append((trigger, ()))
    found = blurred(named)
    assert colours(found[3], THERE) <= 64
    assert np.array_equal(found[4], image)
    named.insert(4, (look(make_frame(40, image), ("tiger", 0.9))[0], ()))  # Something moves at HERE.
    assert colours(blurred(named)[4], HERE) <= 64
    assert np.array_equal(blurred(named)[-1], image)


def test_picture_of_a_blurred_person_has_no_person_in_it(make_frame: MakeFrame) -> None:
    named = [look(make_frame(number / 5, stripes(number)), ("person", 0.9, THERE)) for number in range(8)]
    [new, _] = visits(named, "blur")
    assert new.image is not None
    found = cv2.imdecode(np.frombuffer(new.image, np.uint8), cv2.IMREAD_COLOR)
    there, elsewhere = (slice(126, 162), slice(224, 288)), (slice(18, 54), slice(150, 210))
    assert found is not None
    assert found[elsewhere].std() > 90
    assert found[there].std() < 20


def test_box_at_the_edge_and_an_empty_one() -> None:
    image = noise()
    assert colours(pixelated(image, [BBox(0.9, 0.9, 0.1, 0.1)]), BBox(0.9, 0.9, 0.1, 0.1)) <= 64
    assert pixelated(image, [BBox(0.5, 0.5, 0, 0)]).shape == image.shape
