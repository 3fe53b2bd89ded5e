"""triggers -> crops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.crops import LEAST_PIXELS, crops, square
from edge.types import WHOLE, BBox, Frame, Trigger

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
    [(_, found)] = crops([Trigger(make_frame(0), regions, "day")], most=2)
    assert [region.intersection(crop.box) > 0 for region, crop in zip(regions, found, strict=False)] == [True, True]
    assert len(found) == 2


def test_quiet_trigger_passes_with_no_crops(make_frame: MakeFrame) -> None:
    trigger = Trigger(make_frame(0), (), "day")
    assert list(crops([trigger])) == [(trigger, ())]


def test_whole_frame_stays_whole(make_frame: MakeFrame) -> None:
    [(_, [crop])] = crops([Trigger(make_frame(0), (WHOLE,), "day")])
    assert crop.box == WHOLE
