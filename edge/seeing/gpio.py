"""A motion sensor on a pin: the only module that imports gpiozero."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

from models.errors import CameraError, MissingRuntimeError


def open_pin(number: int) -> Callable[[], bool]:
    """A sensor (PIR) on a GPIO pin, high when it sees motion.

    Returns:
        Whether it has told of motion since it was last asked, or does now.

    Raises:
        MissingRuntimeError: gpiozero is not installed.
        CameraError: no such pin, or no pins at all.
    """
    try:
        from gpiozero import DigitalInputDevice, GPIOZeroError
    except ImportError as error:
        raise MissingRuntimeError(
            f"gpio:{number}: expected gpiozero, found {error}; on a Raspberry Pi type: sudo apt install "
            "python3-gpiozero python3-lgpio"
        ) from error
    try:
        # What it tried before it gave up, it would say in a warning each.
        with warnings.catch_warnings(action="ignore"):
            sensor = DigitalInputDevice(number)
    except (GPIOZeroError, OSError) as error:
        raise CameraError(
            f"gpio:{number}: expected a pin that can be read, found {error}; check the number, that no other "
            "program uses it, and that python3-lgpio is installed"
        ) from error
    pulse = threading.Event()
    sensor.when_activated = pulse.set

    def told() -> bool:
        # A pulse between two frames counts for the next one.
        was = pulse.is_set()
        pulse.clear()
        return was or bool(sensor.is_active)

    return told
