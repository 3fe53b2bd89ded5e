"""A live camera that is kept going: stalls, repeated pictures, clocks that jump, and the end of patience."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edge.cameras.clock import Clock
from edge.cameras.keeper import Keeper
from edge.types import Frame
from models.errors import CameraError, StuckCameraError

NOISE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
Script = list[np.ndarray | str]


class Scripted:
    """A camera that gives pictures, and breaks at each text with that message."""

    name, live, skipped = "usb:0", True, 3

    def __init__(self, script: Script, stop: threading.Event | None = None) -> None:
        self._script, self._stop = script, stop

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        while self._script:
            item = self._script.pop(0)
            if isinstance(item, str):
                raise CameraError(item)
            yield Frame(item, datetime(2000, 1, 1, tzinfo=UTC), 0, self.name)
        stop.set()


class Time:
    """Two clocks that stand still until a test moves them."""

    def __init__(self) -> None:
        self.wall, self.steady, self.set = 1_000_000_000.0, 50.0, True

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady, lambda: self.set)

    def passes(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.keeper.DELAYS_S", (0.0, 0.0))


def picture(number: int) -> np.ndarray:
    return np.roll(NOISE, number, axis=0)


def kept(script: Script, **more: object) -> tuple[Keeper, list[Frame]]:
    keeper = Keeper(lambda: Scripted(script), Time().clock(), **more)  # type: ignore[arg-type]
    return keeper, list(keeper.frames(threading.Event()))


def test_camera_that_breaks_is_opened_again_and_each_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        keeper, frames = kept([picture(0), "unplugged", "not there", picture(1), picture(2), "gone", picture(3)])
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert (keeper.stalls, keeper.reopened, keeper.skipped) == (2, 2, 12)
    assert [record.getMessage() for record in caplog.records] == [
        "unplugged; it is opened again until it works",
        "usb:0: frames come again",
        "gone; it is opened again until it works",
        "usb:0: frames come again",
    ]


def test_camera_that_cannot_be_opened_at_all_is_an_error_at_once() -> None:
    with pytest.raises(CameraError, match="not there"):
        kept(["not there", picture(0)])


def test_after_a_restart_even_the_first_opening_is_tried_again() -> None:
    keeper, frames = kept(["not there", "not there", picture(0)], patient=True)
    assert len(frames) == 1
    assert (keeper.stalls, keeper.reopened) == (1, 1)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.keeper.PATIENCE_S", -1.0)
    with pytest.raises(StuckCameraError, match="usb:0: expected new frames after opening it again and again"):
        kept([picture(0), "unplugged"])


@pytest.mark.parametrize(("repeated", "stalls"), [(picture(0), 1), (np.full((48, 64, 3), 9, np.uint8), 0)])
def test_repeated_picture_is_a_stall_unless_there_is_nothing_on_it(
    monkeypatch: pytest.MonkeyPatch, repeated: np.ndarray, stalls: int
) -> None:
    monkeypatch.setattr("edge.cameras.keeper.STALL", timedelta(0))
    # The last value of one byte differs: noise, so a new picture.
    other = repeated.copy()
    other[-1, -1, -1] ^= 1
    keeper, _ = kept([repeated, repeated.copy(), repeated.copy(), repeated.copy(), other])
    assert (keeper.stalls, keeper.reopened) == (stalls, stalls)


def test_something_is_done_while_frames_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.keeper.DELAYS_S", (0.01, 0.01))
    waited: list[int] = []
    kept([picture(0), "unplugged", picture(1)], waiting=lambda: waited.append(1))
    assert waited


def test_frames_have_the_time_of_the_clock_and_know_whether_it_was_set() -> None:
    time = Time()
    time.set = False
    keeper = Keeper(lambda: Scripted([picture(0), picture(1), picture(2)]), time.clock())
    frames = keeper.frames(threading.Event())
    first = next(frames)
    time.passes(0.2)
    time.set = True
    second = next(frames)
    assert first.timestamp == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    assert first.timestamp.tzinfo is not None
    assert second.timestamp - first.timestamp == timedelta(seconds=0.2)
    assert (first.timestamp_issues, second.timestamp_issues) == (True, False)


@pytest.mark.parametrize("jump", [3 * 86400.0, -3 * 86400.0])
def test_jump_of_the_clock_waits_for_the_end_of_a_visit(jump: float) -> None:
    time = Time()
    clock = time.clock()
    clock.held = True
    start = clock.now()
    time.wall += jump
    time.passes(0.2)
    assert clock.now() - start == timedelta(seconds=0.2)
    assert clock.doubtful
    clock.held = False
    assert clock.now() - start == timedelta(seconds=jump + 0.2)
    assert not clock.doubtful


def test_visit_without_end_does_not_keep_the_old_time_for_ever() -> None:
    time = Time()
    clock = time.clock()
    clock.held = True
    start = clock.now()
    time.wall += 100
    clock.now()
    time.passes(3601)
    assert clock.now() - start == timedelta(seconds=3701)


def test_clock_that_was_set_stays_set() -> None:
    time = Time()
    clock = time.clock()
    assert not clock.doubtful
    time.set = False
    assert not clock.doubtful


