"""What asks for a look from outside the pictures: a motion sensor on a pin, or a command by MQTT."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from edge.types import WHOLE, Trigger
from models.errors import UsageError

log = logging.getLogger("edge-watch")

Outside = Callable[[], bool]
"""Whether something outside the pictures has asked for a look since it was last called, or does now."""

LOOK_FOR, LOOK_EVERY = timedelta(seconds=3), timedelta(seconds=0.19)
"""How long and how often the whole frame is looked at when something asks: looks at an animal that stands still add up
slowly, and those that follow one another at once tell nothing new."""


class Looks:
    """Looks that are asked for by command: the thread of the MQTT connection asks, the path from frame to alert looks.

    Nothing but a look at the next frames comes of it.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Ask for a look."""
        self._asked.set()

    def asked(self) -> bool:
        """Whether a look was asked for since the last call."""
        was = self._asked.is_set()
        self._asked.clear()
        if was:
            log.info("a look was asked for by command")
        return was


def open_trigger(trigger: str, looks: Looks) -> Outside:
    """What a `--trigger` names, as `gpio:17`, `mqtt` or `gpio:17,mqtt`.

    Args:
        trigger: `gpio:N` for a sensor on that pin, `mqtt` for commands; several with commas between them.
        looks: the commands.

    Raises:
        UsageError: nothing that this could be.
        EdgeWatchError: a pin that cannot be read.
    """
    found: list[Outside] = []
    for name in trigger.split(","):
        kind, _, pin = name.strip().partition(":")
        if kind == "gpio" and pin.isdecimal():
            from edge.seeing.gpio import open_pin

            found.append(open_pin(int(pin)))
        elif name.strip() == "mqtt":
            found.append(looks.asked)
        else:
            raise UsageError(
                f"--trigger: expected gpio:N with the number of a GPIO pin, mqtt, or both, found {name!r}; as gpio:17 "
                "or gpio:17,mqtt"
            )
    # Each is asked every time, or what one has told would wait for the silence of the other.
    return lambda: any([outside() for outside in found])  # noqa: C419


def by_command(trigger: str | None) -> bool:
    """Whether a `--trigger` names commands by MQTT."""
    return "mqtt" in [name.strip() for name in (trigger or "").split(",")]


def prompted(triggers: Iterable[Trigger], outside: Outside) -> Iterator[Trigger]:
    """Where something outside asks for a look and nothing moves in the picture, the whole frame is looked at.

    So are the frames after it, as many as it takes to see an animal: of a short pulse, too, a visit can come.
    """
    asked: datetime | None = None
    looked: datetime | None = None
    for trigger in triggers:
        now = trigger.frame.timestamp
        # Asked for every frame, or a pulse would wait for a quiet one.
        if outside():
            asked, looked = now, None
        # Either way: a clock that was set back ends it.
        wanted = (
            asked is not None and abs(now - asked) <= LOOK_FOR and (looked is None or abs(now - looked) >= LOOK_EVERY)
        )
        if wanted:
            looked = now
        yield dataclasses.replace(trigger, regions=(WHOLE,)) if wanted and not trigger.regions else trigger
