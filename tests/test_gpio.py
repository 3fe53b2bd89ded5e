"""A motion sensor on a pin, on gpiozero's own mock pins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.__main__ import main
from edge.doctor import check_trigger
from edge.seeing.outside import Looks, open_trigger
from edge.settings import Settings
from models.errors import CameraError


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
    told, pin = open_trigger("gpio:17", Looks()), pins.pin(17)  # type: ignore[attr-defined]
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
    told = open_trigger("gpio:17", Looks())
    with pytest.raises(CameraError, match=r"gpio:17: expected a pin that can be read, found .*in use"):
        open_trigger("gpio:17", Looks())
    assert not told()


def test_doctor_says_whether_the_pin_can_be_read(pins: object) -> None:
    settings = Settings(trigger="gpio:17")
    assert check_trigger(settings) == "gpio:17 can be read and does not tell of motion"
    told = open_trigger("gpio:17", Looks())
    with pytest.raises(CameraError, match="gpio:17: expected a pin that can be read"):
        check_trigger(settings)
    assert not told()


def test_sensor_and_commands_are_both_asked_each_time(pins: object) -> None:
    looks = Looks()
    told, pin = open_trigger("gpio:17, mqtt", looks), pins.pin(17)  # type: ignore[attr-defined]
    pin.drive_high()
    pin.drive_low()
    looks.ask()
    assert [told(), told()] == [True, False]
    looks.ask()
    assert [told(), told()] == [True, False]


def test_sensor_with_a_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert main(["--trigger", "gpio:17", "--source", str(tmp_path), "--data", str(tmp_path / "data")]) == 2
    assert "--trigger: expected a live camera" in capsys.readouterr().err
