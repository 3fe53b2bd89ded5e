"""frames -> triggers."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import open_camera
from edge.seeing.motion import BURST, MotionSettings, triggers
from edge.types import WHOLE, BBox, Frame

MakeFrame = Callable[..., Frame]


def scene(seed: int = 1, height: int = 360, width: int = 640) -> np.ndarray:
    """A forest floor of sorts: smooth, coloured, with a little noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 160, (height // 20, width // 20, 3), dtype=np.uint8)
    coarse[..., 1] = np.minimum(coarse[..., 1].astype(int) + 60, 255)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def with_square(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    image = image.copy()
    image[top : top + side, left : left + side] = (20, 20, 230)
    return image


def stream(make_frame: MakeFrame, pictures: list[np.ndarray]) -> list[Frame]:
    return [make_frame(number / 5, picture) for number, picture in enumerate(pictures)]


def test_quiet_frames_pass_through_without_regions(make_frame: MakeFrame) -> None:
    frames = stream(make_frame, [scene()] * 30)
    found = list(triggers(frames))
    assert [trigger.frame for trigger in found] == frames
    assert all(trigger.regions == () for trigger in found)


def test_moving_square_is_boxed_where_it_is(make_frame: MakeFrame) -> None:
    pictures = [scene()] * 20 + [with_square(scene(), 100 + 12 * step, 150, 60) for step in range(10)]
    last = list(triggers(stream(make_frame, pictures)))[-1]
    box = BBox((100 + 12 * 9) / 640, 150 / 360, 60 / 640, 60 / 360)
    assert last.regions
    assert last.regions[0].intersection(box) / box.area > 0.95
    assert last.regions[0].area < 4 * box.area


def test_two_animals_give_two_regions_largest_first(make_frame: MakeFrame) -> None:
    moved = [with_square(with_square(scene(), 50 + 10 * step, 200, 40), 400 + 10 * step, 100, 90) for step in range(6)]
    regions = list(triggers(stream(make_frame, [scene()] * 20 + moved)))[-1].regions
    assert len(regions) == 2
    assert regions[0].center[0] > 0.5 > regions[1].center[0]


def test_sudden_change_of_light_is_no_motion(make_frame: MakeFrame) -> None:
    dark = (scene() * 0.4).astype(np.uint8)
    found = list(triggers(stream(make_frame, [scene()] * 20 + [dark] * 20)))
    assert [trigger.regions for trigger in found] == [()] * 40


def test_motion_after_a_change_of_light_is_seen_again(make_frame: MakeFrame) -> None:
    dark = (scene() * 0.4).astype(np.uint8)
    pictures = [scene()] * 20 + [dark] * 20 + [with_square(dark, 100 + 12 * step, 150, 60) for step in range(6)]
    assert list(triggers(stream(make_frame, pictures)))[-1].regions


def test_nothing_is_reported_while_the_background_is_learned(make_frame: MakeFrame) -> None:
    pictures = [with_square(scene(), 20 * step, 150, 60) for step in range(20)]
    found = list(triggers(stream(make_frame, pictures)))
    assert all(trigger.regions == () for trigger in found[:10])
    assert any(trigger.regions for trigger in found[10:])


def test_camera_delay_ignores_motion_after_a_trigger(make_frame: MakeFrame) -> None:
    pictures = [scene()] * 15 + [with_square(scene(), 20 * step, 150, 60) for step in range(25)]
    seconds = [
        number / 5
        for number, trigger in enumerate(triggers(stream(make_frame, pictures), camera_delay=timedelta(seconds=2)))
        if trigger.regions
    ]
    gaps = [round(later - sooner, 1) for sooner, later in pairwise(seconds)]
    assert gaps[: BURST - 1] == [0.2] * (BURST - 1)
    assert gaps[BURST - 1] >= 2


def test_camera_delay_lets_a_burst_of_looks_through(make_frame: MakeFrame) -> None:
    pictures = [scene()] * 15 + [with_square(scene(), 10 * step, 150, 60) for step in range(40)]
    found = list(triggers(stream(make_frame, pictures), camera_delay=timedelta(seconds=60)))
    assert sum(bool(trigger.regions) for trigger in found) == BURST


def test_clock_that_is_set_back_does_not_deafen_the_trap(make_frame: MakeFrame) -> None:
    moving = [with_square(scene(), 12 * step, 150, 60) for step in range(10)]
    frames = [make_frame(3600 + number / 5, picture) for number, picture in enumerate([scene()] * 15 + moving)]
    frames += [make_frame(number / 5, picture) for number, picture in enumerate(moving)]
    found = list(triggers(frames, camera_delay=timedelta(seconds=60)))
    assert any(trigger.regions for trigger in found[25:])


def test_a_still_is_a_trigger_as_a_whole(make_frame: MakeFrame) -> None:
    [trigger] = triggers([make_frame(0, scene(), still=True)])
    assert trigger.regions == (WHOLE,)


@pytest.mark.parametrize(
    ("picture", "lighting"),
    [
        (scene(), "day"),
        (cv2.cvtColor(cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), "night"),
    ],
)
def test_grey_pictures_are_night(make_frame: MakeFrame, picture: np.ndarray, lighting: str) -> None:
    [trigger] = triggers([make_frame(0, picture)])
    assert trigger.lighting == lighting


def test_a_change_of_picture_size_starts_anew(make_frame: MakeFrame) -> None:
    frames = stream(make_frame, [scene()] * 20 + [scene(height=720, width=1280)] * 20)
    assert all(trigger.regions == () for trigger in triggers(frames))


def test_drop_that_is_gone_in_the_next_frame_is_no_motion(make_frame: MakeFrame) -> None:
    pictures = [scene()] * 20 + [with_square(scene(), 300, 150, 30)] + [scene()] * 4
    assert all(trigger.regions == () for trigger in triggers(stream(make_frame, pictures)))


def test_shadow_that_moves_over_the_ground_is_no_motion(make_frame: MakeFrame) -> None:
    def shaded(left: int) -> np.ndarray:
        image = scene().astype(np.float32)
        image[:, max(0, left) : left + 160] *= 0.6
        return image.astype(np.uint8)

    pictures = [scene()] * 20 + [shaded(16 * step - 160) for step in range(40)]
    assert [trigger.regions for trigger in triggers(stream(make_frame, pictures))] == [()] * 60
    dark_thing = [with_square(scene(), 16 * step, 150, 60) for step in range(20)]
    assert any(trigger.regions for trigger in triggers(stream(make_frame, [scene()] * 20 + dark_thing)))


def test_nothing_is_looked_for_under_a_mask(make_frame: MakeFrame) -> None:
    moving = [with_square(with_square(scene(), 20 + 10 * step, 20, 60), 20 + 10 * step, 250, 60) for step in range(10)]
    settings = MotionSettings(masks=(BBox(0, 0, 1, 0.4),))
    found = list(triggers(stream(make_frame, [scene()] * 20 + moving), settings))
    assert all(region.y > 0.4 for trigger in found for region in trigger.regions)
    assert len(found[-1].regions) == 1


@pytest.mark.parametrize(("least", "seen"), [(0.10, True), (0.20, False)])
def test_smaller_things_than_the_least_size_are_left_out(make_frame: MakeFrame, least: float, seen: bool) -> None:
    moving = [with_square(scene(), 20 + 10 * step, 150, 54) for step in range(10)]  # 15 % of the frame's height
    found = triggers(stream(make_frame, [scene()] * 20 + moving), MotionSettings(least_size=least))
    assert any(trigger.regions for trigger in found) == seen


def test_light_that_flashes_for_long_ends_in_a_look_at_the_whole_frame(make_frame: MakeFrame) -> None:
    flashing = [scene(), 255 - scene()] * 40
    found = [trigger.regions for trigger in triggers(stream(make_frame, [scene()] * 20 + flashing))]
    # From frame 21 on everything changes; patience lasts for 50 frames.
    assert found == [()] * 72 + [(WHOLE,)] * 28


def test_slow_camera_needs_no_second_look(make_frame: MakeFrame) -> None:
    pictures = [scene()] * 20 + [with_square(scene(), 10, 20, 60), with_square(scene(), 400, 200, 60)]
    found = list(triggers(make_frame(2 * number, picture) for number, picture in enumerate(pictures)))
    assert [len(trigger.regions) for trigger in found[-2:]] == [1, 1]


def test_quiet_frames_are_known_to_be_night_within_a_second(make_frame: MakeFrame) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    found = list(triggers(stream(make_frame, [scene()] * 20 + [grey] * 10)))
    assert [trigger.lighting for trigger in found[:20]] == ["day"] * 20
    assert [trigger.lighting for trigger in found[24:]] == ["night"] * 6


NUISANCES = ("21_none_clouds", "22_none_ir_switch", "23_none_exposure", "25_none_rain_leaves", "26_none_noise_jpeg")


@pytest.mark.parametrize("clip", NUISANCES)
def test_clouds_switches_rain_and_noise_are_no_motion(shared: Path, clip: str) -> None:
    frames = open_camera(str(shared / f"data/scenes/dev{clip}.mp4")).frames(threading.Event())
    found = list(triggers(frames))
    assert len(found) >= 150
    assert [trigger.frame.index for trigger in found if trigger.regions] == []


def test_switch_to_infrared_is_labelled_night_from_then_on(shared: Path) -> None:
    frames = open_camera(str(shared / "data/scenes/dev22_none_ir_switch.mp4")).frames(threading.Event())
    lighting = [trigger.lighting for trigger in triggers(frames)]
    # The lamp goes on at 14 s. Before that the light fails, and with it the colours.
    assert lighting[:25] == ["day"] * 25
    assert set(lighting[75:]) == {"night"}


def test_small_tiger_among_rocks_is_boxed(shared: Path) -> None:
    with (shared / "data/scenes/truth_boxes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["clip"] == "dev05_tiger_day_small_rocky"]
    truth = {int(row["frame"]): BBox(*(float(row[name]) for name in ("x", "y", "w", "h"))) for row in rows}
    frames = open_camera(str(shared / "data/scenes/dev05_tiger_day_small_rocky.mp4")).frames(threading.Event())
    hits = [
        any(region.iou(truth[trigger.frame.index]) >= 0.3 for region in trigger.regions)
        for trigger in triggers(frames)
        if trigger.frame.index in truth
    ]
    assert sum(hits) > 0.8 * len(hits)


def test_bush_that_keeps_waving_is_no_motion_for_long(make_frame: MakeFrame) -> None:
    random = np.random.default_rng(3)
    bush = random.integers(0, 255, (10, 10, 3), dtype=np.uint8).repeat(12, axis=0).repeat(12, axis=1)

    def waving() -> np.ndarray:
        image = scene()
        image[120:240, 200:320] = np.roll(bush, random.integers(0, 120, 2), (0, 1))
        return image

    found = [bool(trigger.regions) for trigger in triggers(stream(make_frame, [waving() for _ in range(150)]))]
    assert sum(found[100:]) == 0


def test_leaves_all_over_the_frame_are_no_animal(make_frame: MakeFrame) -> None:
    def leaves(step: int) -> np.ndarray:
        image = scene()
        for top in range(10, 340, 40):
            for left in range(10, 620, 40):
                image[top : top + 20, left + step : left + step + 20] = (20, 20, 230)
        return image

    pictures = [scene()] * 20 + [leaves(step) for step in range(9)]
    found = [trigger.regions for trigger in triggers(stream(make_frame, pictures))]
    assert found == [()] * 29


def test_luma_of_the_camera_is_looked_at_instead_of_the_picture(make_frame: MakeFrame) -> None:
    pictures = [scene()] * 20 + [with_square(scene(), 100 + 12 * step, 150, 60) for step in range(10)]
    lumas = [cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (320, 180)) for picture in pictures]
    still = scene(height=720, width=1280)
    frames = [make_frame(number / 5, still, luma=luma) for number, luma in enumerate(lumas)]
    box = BBox((100 + 12 * 9) / 640, 150 / 360, 60 / 640, 60 / 360)
    assert list(triggers(frames))[-1].regions[0].intersection(box) / box.area > 0.95
