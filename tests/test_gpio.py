"""A motion sensor on a pin, on gpiozero's own mock pins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.__main__ import main
from edge.gpio import open_trigger, prompted
from edge.types import WHOLE, BBox, Frame, Trigger
from models.errors import CameraError, UsageError

MakeFrame = Callable[..., Frame]


@pytest.fixture
def pins() -> Iterator[object]:
    """gpiozero's mock pins in place of the Raspberry Pi's."""
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed")
    from gpiozero.pins.mock import MockFactory

    before, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = before


def test_sensor_is_heard_while_it_is_high_and_once_after_a_pulse(pins: object) -> None:
    told, pin = open_trigger("gpio:17"), pins.pin(17)  # type: ignore[attr-defined]
    assert not told()
    pin.drive_high()
    assert told()
    assert told()
    pin.drive_low()
    assert not told()
    pin.drive_high()
    pin.drive_low()
    assert told()
    assert not told()


def test_pin_that_is_in_use(pins: object) -> None:
    told = open_trigger("gpio:17")
    with pytest.raises(CameraError, match=r"gpio:17: expected a pin that can be read, found .*in use"):
        open_trigger("gpio:17")
    assert not told()


@pytest.mark.parametrize("trigger", ["pir", "gpio:", "gpio:x", "mqtt"])
def test_unknown_trigger_says_what_it_can_be(trigger: str) -> None:
    with pytest.raises(UsageError, match="expected gpio:N"):
        open_trigger(trigger)


def test_whole_frame_is_looked_at_where_only_the_sensor_tells(make_frame: MakeFrame) -> None:
    moved = BBox(0.1, 0.1, 0.2, 0.2)
    told = iter([False, True, True, False])
    given = [Trigger(make_frame(step / 5), regions, "day") for step, regions in enumerate([(), (), (moved,), ()])]
    assert [trigger.regions for trigger in prompted(given, lambda: next(told))] == [(), (WHOLE,), (moved,), ()]


def test_sensor_with_a_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert main(["--trigger", "gpio:17", "--source", str(tmp_path), "--data", str(tmp_path / "data")]) == 2
    assert "--trigger: expected a live camera" in capsys.readouterr().err
