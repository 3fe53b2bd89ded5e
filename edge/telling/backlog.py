"""Alerts on their way into the outbox: what a full disk does not take waits in memory, and watching goes on."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.types import Alert
from models.errors import OutboxError

if TYPE_CHECKING:
    from edge.telling.outbox import Outbox
    from edge.telling.payloads import Message

log = logging.getLogger("edge-watch")

AGAIN_S = 10.0
MOST = 20
"""Alerts with their pictures that wait in memory; beyond that the oldest is lost."""


class Backlog:
    """Stores each alert before anything is sent.

    Attributes:
        stored: how many alerts were new to the outbox.
        dropped: how many were lost because too many waited.

    Args:
        outbox: opens it, the first time that it is asked.
        messages: what an alert says over MQTT.
    """

    def __init__(self, outbox: Callable[[], Outbox], messages: Callable[[Alert], Sequence[Message]]) -> None:
        self._outbox, self._messages, self.stored, self.dropped = outbox, messages, 0, 0
        self._waiting: deque[Alert] = deque()
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, alert: Alert) -> None:
        """Store an alert, now or as soon as it can be."""
        if len(self._waiting) == MOST:
            lost = self._waiting.popleft()
            self.dropped += 1
            log.error(
                "alert %s of %s is lost: %d wait in memory already", lost.sighting.id, lost.sighting.species, MOST
            )
        self._waiting.append(alert)
        self.store()

    def tick(self) -> None:
        """Try again, once in a while, what could not be stored."""
        if self._waiting and time.monotonic() >= self._due:
            self.store()

    def store(self) -> None:
        """Store what waits, the oldest first."""
        self._due = time.monotonic() + AGAIN_S
        while self._waiting:
            alert = self._waiting[0]
            try:
                new = self._outbox().put_alert(alert, self._messages(alert))
            except OutboxError as error:
                log.log(error.level, "%s; %d alerts wait in memory, watching goes on", error, len(self._waiting))
                return
            self._waiting.popleft()
            self.stored += new
            said = alert.sighting.id if new else "was told before, not again"
            log.info("alert: %s %s", alert.sighting.species, said)
