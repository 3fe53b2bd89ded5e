"""What asks for a look from outside the pictures: a motion sensor on a pin, or a command by MQTT."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections import deque
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
MOST_BYTES = 1000
MOST_IDS = 1000
SAY_EVERY_S = 60.0


class Looks:
    """The trap's ear for `command/look`; the thread of the MQTT connection hears, the path from frame to alert asks.

    Whatever is heard, nothing but a look at the next frames comes of it.

    Attributes:
        refused: commands that were none.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._asked = threading.Event()
        # In memory only: a command that is heard again after a restart costs a look, which does no harm.
        self._heard: deque[str] = deque(maxlen=MOST_IDS)
        self._say_at = float("-inf")

    def hear(self, payload: bytes, retained: bool = False) -> None:
        """Take a command; one that is retained was meant for another time, and one with a known id came twice."""
        if retained:
            return
        id = _command_id(payload)
        if id is None:
            self._refuse(payload)
        elif id not in self._heard:
            self._heard.append(id)
            self._asked.set()

    def asked(self) -> bool:
        """Whether a look was asked for since the last call."""
        was = self._asked.is_set()
        self._asked.clear()
        if was:
            log.info("a look was asked for by command")
        return was

    def _refuse(self, payload: bytes) -> None:
        self.refused += 1
        # Whoever sends many of them must not fill the disk with lines.
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + SAY_EVERY_S
            log.warning(
                'command/look: expected {"id": "...", "issued": "2026-05-01T06:15:30Z"} in at most %d bytes, found %r '
                "(%d bytes); %d such commands so far were ignored",
                MOST_BYTES, payload[:40], len(payload), self.refused,
            )  # fmt: skip


def _command_id(payload: bytes) -> str | None:
    """The id of a command; None for what is no command."""
    if len(payload) > MOST_BYTES:
        return None
    try:
        found = json.loads(payload)
        id, issued = found["id"], found["issued"]
        # A trap's clock may be wrong, so how old a command is says nothing; but it has to be a time.
        datetime.fromisoformat(issued)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return id if isinstance(id, str) and id else None


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
            from edge.gpio import open_pin

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
