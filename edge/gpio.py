"""A motion sensor on a pin: the only module that imports gpiozero."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator

from edge.types import WHOLE, Trigger
from models.errors import CameraError, MissingRuntimeError, UsageError

Outside = Callable[[], bool]
"""Whether something outside the pictures has told of motion since it was last asked, or does now."""


def open_trigger(trigger: str) -> Outside:
    """The sensor for a `--trigger`, as `gpio:17` for a PIR on GPIO 17 (high when it sees motion).

    Raises:
        UsageError: nothing that this could be.
        MissingRuntimeError: gpiozero is not installed.
        CameraError: no such pin, or no pins at all.
    """
    kind, _, pin = trigger.partition(":")
    if kind != "gpio" or not pin.isdigit():
        raise UsageError(f"--trigger: expected gpio:N with the number of a GPIO pin, found {trigger!r}; as gpio:17")
    try:
        from gpiozero import DigitalInputDevice, GPIOZeroError
    except ImportError as error:
        raise MissingRuntimeError(
            f"{trigger}: expected gpiozero, found {error}; on a Raspberry Pi type: sudo apt install python3-gpiozero "
            "python3-lgpio"
        ) from error
    try:
        sensor = DigitalInputDevice(int(pin))
    except (GPIOZeroError, OSError) as error:
        raise CameraError(
            f"{trigger}: expected a pin that can be read, found {error}; check the number, and that no other program "
            "uses it"
        ) from error
    pulse = threading.Event()
    sensor.when_activated = pulse.set

    def told() -> bool:
        # A pulse between two frames counts for the next one.
        was = pulse.is_set()
        pulse.clear()
        return was or bool(sensor.is_active)

    return told


def prompted(triggers: Iterable[Trigger], outside: Outside) -> Iterator[Trigger]:
    """Where a sensor tells of motion and the picture does not, the whole frame is looked at."""
    for trigger in triggers:
        # Asked for every frame, or a pulse would wait for a quiet one.
        told = outside()
        yield dataclasses.replace(trigger, regions=(WHOLE,)) if told and not trigger.regions else trigger
