"""Whether the camera still sees what it was hung up to see."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edge.seeing.tampering import Guard, guarded
from edge.types import Frame
from tests.test_motion import scene

MakeFrame = Callable[..., Frame]


@functools.cache
def forest(seed: int = 1) -> np.ndarray:
    """A scene with the fine grain that blur takes away."""
    grain = np.random.default_rng(seed).normal(0, 12, (360, 640, 1))
    return np.clip(scene(seed) + grain, 0, 255).astype(np.uint8)


HARMS = {
    "dark": np.full((360, 640, 3), 4, np.uint8),
    "covered": np.full((360, 640, 3), 120, np.uint8),
    "blurred": cv2.GaussianBlur(forest(), (0, 0), 6),
    "turned": forest(7),
}


def told(make_frame: MakeFrame, pictures: list[tuple[int, np.ndarray]], guard: Guard) -> list[str | None]:
    """What was wrong after each second; `pictures` are (seconds, picture)."""
    row = [picture for seconds, picture in pictures for _ in range(seconds)]
    frames = (make_frame(second, picture) for second, picture in enumerate(row))
    return [guard.harm for _ in guarded(frames, guard)]


@pytest.mark.parametrize("harm", HARMS)
def test_harm_of_minutes_is_told_once_and_shown_until_it_is_over(
    make_frame: MakeFrame, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    found = told(make_frame, [(300, forest()), (600, HARMS[harm]), (300, forest())], Guard())
    assert found[:480] == [None] * 480
    assert found[481:1079] == [harm] * 598
    assert found[-60:] == [None] * 60
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_harm_of_two_minutes_is_not_told(make_frame: MakeFrame) -> None:
    found = told(make_frame, [(300, forest()), (120, HARMS["covered"]), (300, forest())], Guard())
    assert set(found) == {None}


@pytest.mark.parametrize("jump", [86_400, -86_400])
def test_clock_that_is_set_makes_no_minutes_of_a_moment(make_frame: MakeFrame, jump: int) -> None:
    guard = Guard()
    assert set(told(make_frame, [(300, forest()), (6, HARMS["dark"])], guard)) == {None}
    frames = (make_frame(306 + jump + second, HARMS["dark"]) for second in range(60))
    assert {guard.harm for _ in guarded(frames, guard)} == {None}


def test_dusk_and_the_switch_to_infrared_are_no_harm(make_frame: MakeFrame) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(forest(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    dusk = [(60, (forest() * (1 - 0.05 * step)).astype(np.uint8)) for step in range(15)]
    assert set(told(make_frame, [(300, forest()), *dusk, (600, grey)], Guard())) == {None}


def test_new_view_is_the_right_one_after_a_day(make_frame: MakeFrame) -> None:
    guard = Guard()
    told(make_frame, [(300, forest())], guard)
    frames = (make_frame(300 + 60 * minute, HARMS["turned"]) for minute in range(25 * 60))
    assert [guard.harm for _ in guarded(frames, guard)][-1] is None


def test_photos_of_a_series_are_not_guarded(make_frame: MakeFrame) -> None:
    guard, black = Guard(), np.zeros((360, 640, 3), np.uint8)
    list(guarded((make_frame(60 * minute, black, still=True) for minute in range(30)), guard))
    assert guard.harm is None


BLACK = np.full((360, 640, 3), 4, np.uint8)


def grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


@functools.cache
def dusk() -> tuple[np.ndarray, ...]:
    """Pictures, 10 s apart: the light is halved every 2.5 minutes as in the tropics, the sensor tries its best."""
    random, shape = np.random.default_rng(1), forest().shape
    lit = [forest() / 2 ** (number / 15 / 2.2) for number in range(240)]
    return tuple(np.clip(picture + random.normal(0, 2, shape), 0, 255).astype(np.uint8) for picture in lit)


def looks(make_frame: MakeFrame, pictures: list[np.ndarray], guard: Guard, start: int = 0, **more: object) -> set[str]:
    """What was wrong over pictures that are 10 s apart."""
    frames = (make_frame(start + 10 * number, picture, **more) for number, picture in enumerate(pictures))
    return {str(guard.harm) for _ in guarded(frames, guard)}


def test_night_of_a_camera_without_a_lamp_is_no_harm(make_frame: MakeFrame) -> None:
    day, night = [forest()] * 60, [BLACK] * 360
    assert looks(make_frame, [*day, *dusk(), *night, *reversed(dusk()), *day], Guard()) == {"None"}


def test_harm_of_the_evening_is_shown_all_night_and_over_in_the_morning(make_frame: MakeFrame) -> None:
    guard = Guard()
    assert looks(make_frame, [*[forest()] * 60, *[HARMS["covered"]] * 30], guard) == {"None", "covered"}
    assert looks(make_frame, [BLACK] * 360, guard, start=900) == {"covered"}
    assert looks(make_frame, list(reversed(dusk())), guard, start=4500) == {"covered", "None"}
    assert guard.harm is None


def test_lamp_that_goes_out_is_told(make_frame: MakeFrame) -> None:
    assert looks(make_frame, [*[grey(forest())] * 60, *[BLACK] * 60], Guard()) == {"None", "dark"}


def test_lamp_that_does_not_go_on_at_dusk_is_told(make_frame: MakeFrame) -> None:
    guard = Guard()
    assert looks(make_frame, [*[grey(forest())] * 60, *[forest()] * 60], guard) == {"None"}
    assert looks(make_frame, [*dusk(), *[BLACK] * 60], guard, start=1200) == {"None", "dark"}


def test_dark_from_the_start_is_told_where_the_camera_says_that_it_is_light(make_frame: MakeFrame) -> None:
    assert looks(make_frame, [BLACK] * 60, Guard()) == {"None"}
    assert looks(make_frame, [BLACK] * 60, Guard(), lux=0.5) == {"None"}
    assert looks(make_frame, [BLACK] * 60, Guard(), lux=1000.0) == {"None", "dark"}


def test_luma_of_the_camera_is_looked_at_instead_of_the_picture(make_frame: MakeFrame) -> None:
    luma = cv2.resize(cv2.cvtColor(forest(), cv2.COLOR_BGR2GRAY), (320, 180))
    assert looks(make_frame, [forest()] * 60, guard := Guard(), luma=luma) == {"None"}
    assert looks(make_frame, [forest()] * 30, guard, start=600, luma=luma // 50) == {"None", "dark"}


def test_clips_of_other_places_are_no_turned_camera(make_frame: MakeFrame) -> None:
    guard = Guard()
    for number in range(8):
        frames = (
            make_frame(400 * number + second, forest(number), source=f"clip{number}") for second in range(300)
        )
        assert {guard.harm for _ in guarded(frames, guard)} == {None}
