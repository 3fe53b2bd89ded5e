"""triggers -> crops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.seeing.crops import CropSettings, crops, merged, square
from edge.seeing.throttle import Bucket
from edge.types import WHOLE, BBox, Frame, Trigger
from models.boxes import LEAST_PIXELS

MakeFrame = Callable[..., Frame]


def test_crop_is_square_in_pixels_with_margin() -> None:
    # 320 x 180 pixels in the middle of 1280 x 720: side 320 * 1.4 = 448.
    box = square(BBox(0.375, 0.375, 0.25, 0.25), 0.2, 1280, 720)
    assert box.as_tuple() == pytest.approx((0.325, 0.5 - 224 / 720, 0.35, 448 / 720))


def test_small_region_gets_a_crop_of_least_size() -> None:
    box = square(BBox(0.5, 0.5, 0.01, 0.01), 0.2, 1280, 720)
    assert (box.width * 1280, box.height * 720) == pytest.approx((LEAST_PIXELS, LEAST_PIXELS))


def test_crop_at_the_edge_is_moved_not_cut() -> None:
    box = square(BBox(0.0, 0.0, 0.25, 0.25), 0.2, 1280, 720)
    assert box.as_tuple() == pytest.approx((0, 0, 448 / 1280, 448 / 720))


unit = st.floats(0, 1)


@given(unit, unit, st.floats(0.001, 1), st.floats(0.001, 1), st.integers(100, 4000), st.integers(100, 4000))
def test_crop_lies_in_the_frame_and_holds_the_region(
    x: float, y: float, width: float, height: float, columns: int, rows: int
) -> None:
    region = BBox(x * (1 - width), y * (1 - height), width, height)
    box = square(region, 0.2, columns, rows)
    assert box.x >= 0
    assert box.y >= 0
    assert box.x + box.width <= 1 + 1e-9
    assert box.y + box.height <= 1 + 1e-9
    assert box.intersection(region) == pytest.approx(region.area, rel=1e-6)
    if box.width < 1 and box.height < 1:
        assert box.width * columns == pytest.approx(box.height * rows)


def test_most_crops_are_the_largest_regions(make_frame: MakeFrame) -> None:
    regions = (BBox(0.1, 0.1, 0.2, 0.2), BBox(0.7, 0.7, 0.1, 0.1), BBox(0.1, 0.8, 0.05, 0.05))
    [(_, found)] = crops([Trigger(make_frame(0), regions, "day")], CropSettings(most=2))
    assert [region.intersection(crop.box) > 0 for region, crop in zip(regions, found, strict=False)] == [True, True]
    assert len(found) == 2


def test_quiet_trigger_passes_with_no_crops(make_frame: MakeFrame) -> None:
    trigger = Trigger(make_frame(0), (), "day")
    assert list(crops([trigger])) == [(trigger, ())]


def test_whole_frame_stays_whole(make_frame: MakeFrame) -> None:
    [(_, [crop])] = crops([Trigger(make_frame(0), (WHOLE,), "day")])
    assert crop.box == WHOLE


def moving(make_frame: MakeFrame, *regions: BBox) -> Callable[[float], Trigger]:
    return lambda second: Trigger(make_frame(second), regions, "day")


ANIMAL = BBox(0.4, 0.4, 0.2, 0.2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BBox(0.22, 0.32, 0.2, 0.2), BBox(0.14, 0.28, 0.08, 0.1)),  # body and head
        (BBox(0.2, 0.3, 0.2, 0.2), BBox(0.42, 0.31, 0.2, 0.18)),  # halves behind a trunk
    ],
)
def test_parts_of_one_animal_are_merged(one: BBox, other: BBox) -> None:
    far = BBox(0.8, 0.7, 0.1, 0.1)
    assert merged([far, one, other], 640, 640) == [one.union(other), far]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BBox(0.5, 0.5, 0.4, 0.3), BBox(0.35, 0.3, 0.2, 0.25)),  # one before the other
        (BBox(0.1, 0.3, 0.2, 0.21), BBox(0.5, 0.3, 0.2, 0.2)),  # ground between them
    ],
)
def test_two_animals_are_not_merged(one: BBox, other: BBox) -> None:
    assert merged([other, one], 640, 640) == [one, other]


def test_each_of_two_animals_gets_its_own_crop(make_frame: MakeFrame) -> None:
    one, other = BBox(0.05, 0.3, 0.2, 0.3), BBox(0.7, 0.3, 0.2, 0.3)
    [(_, found)] = crops([moving(make_frame, one, other)(0)])
    assert [crop.box.center[0] for crop in found] == pytest.approx([one.center[0], other.center[0]], abs=0.08)


def test_whole_frame_comes_first_where_nothing_stands_out(make_frame: MakeFrame) -> None:
    scattered = [BBox(0.2 * column, 0.3 * row, 0.05, 0.05) for column in range(5) for row in range(3)]
    [(_, found)] = crops([moving(make_frame, *scattered)(0)])
    assert [crop.box == WHOLE for crop in found] == [True, False, False]
    [(_, found)] = crops([moving(make_frame, ANIMAL, *scattered)(0)])
    assert all(crop.box != WHOLE for crop in found)


@pytest.mark.parametrize("animal", [ANIMAL, BBox(0.3, 0.5, 0.3, 0.5)])
def test_animal_that_stands_still_is_looked_at_once_a_second_for_ten(make_frame: MakeFrame, animal: BBox) -> None:
    frames = [moving(make_frame, animal)(0), *(moving(make_frame)(step / 5) for step in range(1, 80))]
    found = [trigger.frame.index / 5 for trigger, looks in crops(frames) if looks]
    assert found == [float(second) for second in range(11)]


ANIMAL, TAIL, EAR = BBox(0.3, 0.3, 0.3, 0.4), BBox(0.32, 0.4, 0.05, 0.05), BBox(0.5, 0.35, 0.03, 0.04)


def boxes(make_frame: MakeFrame, *regions: tuple[BBox, ...]) -> list[list[BBox]]:
    """The crops of frames a fifth of a second apart."""
    made = [Trigger(make_frame(number / 5), each, "day") for number, each in enumerate(regions)]
    return [[crop.box for crop in found] for _, found in crops(made)]


def test_tail_of_an_animal_that_stands_is_looked_at_with_the_animal(make_frame: MakeFrame) -> None:
    height, width = make_frame(0).image.shape[:2]
    wide, tight = (square(ANIMAL, margin, width, height) for margin in CropSettings().margins)
    found = boxes(make_frame, (ANIMAL,), *[(TAIL, EAR)] * 60)
    assert found[:50] == [[wide], [tight]] * 25
    # Nothing of its size has moved for ten seconds: it has left, and something small moves on.
    assert found[55][0] in [square(TAIL, margin, width, height) for margin in CropSettings().margins]


def test_animal_in_a_frame_that_was_looked_at_as_a_whole_gets_its_own_crop(make_frame: MakeFrame) -> None:
    height, width = make_frame(0).image.shape[:2]
    found = boxes(make_frame, (WHOLE,), (TAIL,))
    assert found[1][0] == square(TAIL, 0.2, width, height)


def test_animal_that_left_over_the_edge_is_not_looked_for(make_frame: MakeFrame) -> None:
    frames = [moving(make_frame, BBox(0.85, 0.4, 0.15, 0.2))(0)]
    frames += [moving(make_frame)(step / 5) for step in range(1, 20)]
    assert [len(looks) for _, looks in crops(frames)] == [1] + [0] * 19


def test_animal_that_walks_on_is_looked_at_where_it_is_only(make_frame: MakeFrame) -> None:
    frames = [moving(make_frame, BBox(0.2 + 0.02 * step, 0.4, 0.2, 0.2))(step / 5) for step in range(20)]
    assert {len(looks) for _, looks in crops(frames)} == {1}


def test_grass_that_waves_all_day_gets_the_rate_of_the_bucket(make_frame: MakeFrame) -> None:
    bucket = Bucket(rate=2, burst=10)
    frames = [moving(make_frame, ANIMAL)(step / 5) for step in range(5 * 60)]
    looks = sum(len(found) for _, found in crops(frames, bucket=bucket))
    assert looks == 10 + 2 * 60 - 1  # the last frame is at 59.8 s
    assert bucket.withheld == 300 - looks


def test_place_not_looked_at_for_longest_comes_first_when_looks_are_short(make_frame: MakeFrame) -> None:
    grass, animal = BBox(0.05, 0.1, 0.4, 0.8), BBox(0.7, 0.4, 0.1, 0.1)
    frames = [moving(make_frame, grass)(step / 5) for step in range(20)]
    frames += [moving(make_frame, grass, animal)(4 + step / 5) for step in range(20)]
    found = [crop.box.center[0] > 0.6 for _, looks in crops(frames, bucket=Bucket(1, 5)) for crop in looks]
    assert found[:8] == [False] * 8
    assert found[8:] == [True, False, True, False]


def test_clock_that_is_set_back_gives_no_looks_and_no_lasting_silence() -> None:
    from datetime import UTC, datetime, timedelta

    now, bucket = datetime(2026, 5, 1, tzinfo=UTC), Bucket(1, 2)
    assert bucket.granted(2, now) == 2
    assert bucket.granted(1, now - timedelta(hours=1)) == 0
    assert bucket.granted(1, now - timedelta(hours=1) + timedelta(seconds=1)) == 1
