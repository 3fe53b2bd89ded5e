"""What has to be done beside watching: alerts stored and delivered, spots kept, health told, systemd fed."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge.cameras import Camera
from edge.cameras.keeper import Keeper
from edge.deciding.alerts import interval
from edge.deciding.rules import meaning
from edge.health import TimedClassifier, temperature
from edge.process import notify, restarts
from edge.seeing.senses import Senses
from edge.settings import Settings
from edge.telling.backlog import Backlog
from edge.telling.broker import Broker
from edge.telling.links import LINKS
from edge.telling.topics import Topics
from edge.types import Alert, Sighting
from models import __version__
from models.errors import OutboxError

if TYPE_CHECKING:
    from edge.telling.actions import Actions
    from edge.telling.outbox import Outbox
    from edge.telling.payloads import Message
    from edge.telling.publisher import Publisher

log = logging.getLogger("edge-watch")

SPOTS_EVERY_S, ALIVE_EVERY_S = 60.0, 10.0


class Duties:
    """Done between frames, by the thread that watches; only the publisher has one of its own.

    Attributes:
        frames: how many were looked at.
        now: the time of the last.
        backlog: takes each alert.

    Args:
        settings: the trap's.
        camera: what is watched.
        senses: what the chain knows beyond a visit.
        classifier: the model, timed.
        outbox: opens it, the first time that it is asked.
        topics: the trap's.
        broker: where to deliver.
    """

    def __init__(
        self,
        settings: Settings,
        camera: Camera,
        senses: Senses,
        classifier: TimedClassifier,
        outbox: Callable[[], Outbox],
        topics: Topics,
        broker: Broker,
    ) -> None:
        self._settings, self._camera, self._senses, self._classifier = settings, camera, senses, classifier
        self._outbox, self._topics, self._broker = outbox, topics, broker
        self.frames, self.now = 0, datetime.now(UTC)
        self._talk = LINKS[settings.link]
        self.backlog = Backlog(outbox, self._messages)
        self._started = self._health_due = self._alive_due = self._spots_due = time.monotonic()
        self._publisher: Publisher | None = None
        self._actions: Actions | None = None
        self._told_harm: str | None = None
        self._publisher_due = 0.0

    def look(self) -> None:
        """After each frame, and each look into a watched folder: never by a timer, for it means that the trap sees."""
        self.tick()
        if time.monotonic() >= self._alive_due:
            self._alive_due = time.monotonic() + ALIVE_EVERY_S
            notify("WATCHDOG=1")

    def tick(self) -> None:
        """What is due from time to time, whether frames come or are waited for."""
        if self._publisher is None or (self._publisher.broken and time.monotonic() >= self._publisher_due):
            if self._publisher is not None:
                # Whatever ended that thread, alerts have to leave; but not so that it ends a thousand times an hour.
                log.error("what delivers alerts has ended by an error, and begins anew")
            self._publisher_due = time.monotonic() + 60.0
            self._publisher = self._connect()
        self.backlog.tick()
        if self._senses.guard.harm != self._told_harm:
            self._told_harm, self._health_due = self._senses.guard.harm, time.monotonic()
        if time.monotonic() >= self._spots_due:
            self._spots_due = time.monotonic() + SPOTS_EVERY_S
            self._keep_spots()
        self._keep_snooze()
        asked = self._actions is not None and self._actions.health_wanted.is_set()
        if self._publisher.connected and (asked or time.monotonic() >= self._health_due):
            self._health_due = time.monotonic() + self._talk.health_s
            self._tell_health(self._publisher, self._talk.health_s * 3)

    def event(self, sighting: Sighting) -> None:
        """Tell of a visit's change, if there is a connection."""
        if self._publisher is not None:
            self._publisher.event(sighting)

    def close(self, well: bool = True) -> int:
        """Deliver what can be delivered in a few seconds.

        Args:
            well: the trap ends as it should; one that sleeps between visits then says so.

        Returns:
            How many messages stay in the outbox.
        """
        self.backlog.store()
        self._keep_spots(ending=True)
        self._keep_snooze(ending=True)
        waiting = self._depth()
        if self._publisher is None and waiting:
            # The camera gave no frame, but what was stored before can still be told.
            self._publisher = self._connect()
        if self._publisher is not None:
            sleep = self._settings.wakes_every if well else None
            if self._publisher.connected:
                self._tell_health(self._publisher, sleep.total_seconds() if sleep else self._talk.health_s * 3)
            self._publisher.stop(farewell="sleeping" if sleep else "offline")
            waiting = self._depth()
        return waiting

    def _keep_spots(self, ending: bool = False) -> None:
        try:
            self._senses.spots.store() if ending else self._senses.spots.keep(self.now)
        except OutboxError as error:
            log.error("%s; watching goes on", error)

    def _keep_snooze(self, ending: bool = False) -> None:
        try:
            self._senses.snooze.keep(ending)
        except OutboxError as error:
            log.log(error.level, "%s; watching goes on", error)

    def _connect(self) -> Publisher:
        from edge.recording.media import FOLDER
        from edge.telling.actions import Actions
        from edge.telling.homeassistant import discovery_message
        from edge.telling.publisher import Publisher

        settings, labels = self._settings, self._classifier.labels
        self._actions = Actions(
            self._outbox(), self._topics, settings, self._classifier.bundle.title, settings.data / FOLDER,
            functools.partial(meaning, labels), self._senses.snooze, self._senses.people.visits, self._senses.looks,
        )  # fmt: skip
        targets = self._settings.species
        off_delays = {name: round(interval(name, self._settings).total_seconds()) for name in targets}
        announce = discovery_message(self._topics, off_delays, version=__version__)
        publisher = Publisher(
            self._outbox(), self._topics, self._broker, announce=announce, commanded=self._actions, talk=self._talk,
            require_ack=settings.require_ack,
        )  # fmt: skip
        publisher.start()
        return publisher

    def _messages(self, alert: Alert) -> tuple[Message, ...]:
        """What an alert says over this trap's link."""
        from edge.telling.payloads import alert_messages

        if alert.sighting.id in self._senses.people.visits:
            alert = dataclasses.replace(alert, sighting=dataclasses.replace(alert.sighting, image=None))
        names, species = self._classifier.labels.names, alert.sighting.species
        # A group has no number of its own: it goes with that of its first member.
        named = species if species in names else next(iter(alert.sighting.members), "")
        index = names.index(named) if self._settings.compact and named in names else None
        return alert_messages(alert, self._settings.prefix, self._talk.pictures, index)

    def _depth(self) -> int:
        try:
            return self._outbox().depth()
        except OutboxError as error:
            log.log(error.level, "%s", error)
            return 0

    def _tell_health(self, publisher: Publisher, silence_s: float) -> None:
        """Tell `health`; the next is to come within `silence_s`."""
        if self._actions is not None:
            self._actions.health_wanted.clear()
        try:
            counts, free = self._outbox().counts(), os.statvfs(self._settings.data)
        except OSError as error:  # an OutboxError is one
            log.error("no health can be told: %s; watching goes on", error)
            return
        from edge.telling.payloads import Health

        now = time.time()
        keeper = self._camera if isinstance(self._camera, Keeper) else None
        publisher.health(
            Health(
                uptime_s=round(time.monotonic() - self._started, 1),
                frames=self.frames,
                skipped=self._camera.skipped,
                inference_ms=self._classifier.mean_ms,
                temperature_c=temperature(),
                disk_free_mb=round(free.f_bavail * free.f_frsize / 1e6, 1),
                outbox_depth=counts.depth + len(self.backlog),
                dropped=counts.dropped + self.backlog.dropped,
                refused=counts.refused,
                unheard=counts.unheard,
                withheld=self._senses.bucket.withheld,
                spots=len(self._senses.spots.list(self.now)),
                tampering=self._senses.guard.harm,
                lux=self._senses.guard.lux,
                next_contact_by=now + silence_s,
                stalls=keeper.stalls if keeper else 0,
                reopened=keeper.reopened if keeper else 0,
                restarts=restarts(),
                people=self._senses.people.frames,
                sent=now,
                link=self._settings.link,
                awaiting=counts.awaiting,
                refused_why=counts.refused_why,
                commands_refused=self._actions.refused if self._actions is not None else 0,
                snoozed=self._senses.snooze.active(),
                set_aside=self._outbox().set_aside is not None,
            )
        )
