"""Whether the camera still sees what it was hung up to see."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edge.tampering import Guard, guarded
from edge.types import Frame
from tests.test_motion import scene

MakeFrame = Callable[..., Frame]


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
