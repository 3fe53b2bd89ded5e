"""What keeps the watch going: camera, model, outbox and publisher put together, signals, and health."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge.broker import Broker
from edge.cameras import Camera, default_source, open_camera
from edge.cameras.clock import Clock
from edge.cameras.folder import WatchedFolder
from edge.cameras.keeper import Keeper
from edge.health import TimedClassifier, temperature
from edge.process import alone_in, notify, restart, restarts
from edge.senses import open_senses
from edge.settings import Settings
from edge.topics import Topics
from edge.types import Alert, Frame, Sighting
from edge.watch import watch
from models import __version__
from models.bundle import ModelBundle
from models.classifier import Classifier
from models.errors import OutboxError, StuckCameraError, UsageError

if TYPE_CHECKING:
    from edge.outbox import Outbox
    from edge.publisher import Publisher

log = logging.getLogger("edge-watch")

HEALTH_EVERY_S, STORE_AGAIN_S, ALIVE_EVERY_S = 60.0, 10.0, 10.0
MOST_UNSTORED = 20
"""Alerts with their pictures that wait in memory while nothing can be stored; beyond that the oldest is lost."""


def run_daemon(settings: Settings, debug: bool = False) -> int:
    """Watch until the source ends or SIGINT or SIGTERM comes; what is open then is told or kept.

    Raises:
        UsageError: an unknown species, source or setting.
        EdgeWatchError: the model, the camera or the outbox cannot be used.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)
    broker = Broker.parse(settings.broker, settings.credentials)
    topics = Topics(settings.deployment, settings.prefix)
    classifier = Classifier(ModelBundle.open(settings.model), settings.threads)
    settings = known_species(settings, classifier)
    source, pace, data = settings.source or default_source(), settings.pace, settings.data
    camera = kept(functools.partial(open_camera, source, pace, data, settings.rotate, settings.noir))
    stop, stuck = threading.Event(), False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with alone_in(settings.data), contextlib.ExitStack() as closing:

        def open_outbox() -> Outbox:
            from edge.outbox import FILE_NAME, Outbox

            return closing.enter_context(Outbox(settings.data / FILE_NAME))

        daemon = Daemon(settings, camera, classifier, open_outbox, topics, broker)
        notify("READY=1")
        try:
            daemon.run(stop)
        except StuckCameraError as error:
            # Where beginning anew brought no frame either, it is for systemd to go on.
            if not daemon.frames:
                raise
            log.error("%s; the program begins anew", error)
            stuck = True
        finally:
            daemon.close()
    if stuck:
        restart()
    return 0


def kept(open_again: Callable[[], Camera]) -> Camera:
    """The camera; a live one is opened again whenever it stalls, but a folder may stay empty for days."""
    camera = open_again()
    if not camera.live or isinstance(camera, WatchedFolder):
        return camera
    return Keeper(open_again, Clock(), patient=restarts() > 0)


def known_species(settings: Settings, classifier: Classifier) -> Settings:
    """The settings with the species as the model names them.

    Raises:
        UnknownSpeciesError: the message lists near matches.
    """
    labels = [classifier.labels[classifier.labels.find(name)] for name in settings.species]
    for label in labels:
        if label.observation_type == "blank":
            raise UsageError(f"--species: expected an animal, found {label.name}, the class of pictures without one")
    return dataclasses.replace(settings, species=tuple(label.name for label in labels))


def _say_what_is_watched(settings: Settings, camera: Camera, classifier: TimedClassifier) -> None:
    wanted = ", ".join(settings.species) or "every species, alerting of none (name some with --species)"
    log.info("watching %s for %s with model %s", camera.name, wanted, classifier.bundle.title)
    if not classifier.labels.of_type("human"):
        log.warning("this model cannot recognize people: pictures may show them")


class Daemon:
    """One watch: takes sightings and alerts from the chain, stores them, and hands them to the publisher.

    The outbox is opened when it is first needed: for a replay that is after the first look, which so comes sooner.
    """

    def __init__(
        self,
        settings: Settings,
        camera: Camera,
        classifier: Classifier,
        open_outbox: Callable[[], Outbox],
        topics: Topics,
        broker: Broker,
    ) -> None:
        self._settings, self._camera, self._topics, self._broker = settings, camera, topics, broker
        self._open_outbox = open_outbox
        self._classifier = TimedClassifier(classifier)
        self._started = self._health_due = self._store_due = self._alive_due = self._spots_due = time.monotonic()
        self._now = datetime.now(UTC)
        self.frames = self._alerts = 0
        self._keeper = camera if isinstance(camera, Keeper) else None
        self._open_visits: set[str] = set()
        self._publisher: Publisher | None = None
        self._unstored: deque[Alert] = deque(maxlen=MOST_UNSTORED)
        self._senses = open_senses(settings, camera)
        self._told_harm: str | None = None

    @functools.cached_property
    def _outbox(self) -> Outbox:
        return self._open_outbox()

    def run(self, stop: threading.Event) -> None:
        """Run the chain until the camera ends."""
        resumed, last = self._before_restart()
        self._open_visits = {sighting.id for sighting in resumed if sighting.type != "end"}
        if self._keeper is not None:
            self._keeper.waiting = self._tick
            self._keeper.clock.held = bool(self._open_visits)
        elif isinstance(self._camera, WatchedFolder):
            self._camera.waiting = self._look
        frames = self._counted(self._camera.frames(stop))
        watch(frames, self._classifier, self._settings, self._record, self._tell, resumed, last, self._senses)

    def close(self) -> None:
        """Deliver what can be delivered in a few seconds; the rest stays in the outbox."""
        self._store()
        self._keep_spots(ending=True)
        waiting = self._depth()
        if self._publisher is None and waiting:
            # The camera gave no frame, but what was stored before can still be told.
            self._publisher = self._connect()
        if self._publisher is not None:
            if self._publisher.connected:
                self._tell_health(self._publisher)
            self._publisher.stop()
            waiting = self._depth()
        if self._senses.bucket.withheld:
            log.info("%d looks were left out: too much moves; see --masks", self._senses.bucket.withheld)
        kept = f"; {waiting} messages wait in {self._outbox.path} for the next start" if waiting else ""
        if self.frames or kept:
            log.info(
                "ended after %d frames (%d skipped), alerts: %d%s",
                self.frames, self._camera.skipped, self._alerts, kept,
            )  # fmt: skip

    def _before_restart(self) -> tuple[list[Sighting], dict[str, datetime]]:
        """Visits that may still go on, and when each target was last alerted.

        A replay takes nothing over: its ids come from the file, so that a second replay tells nothing twice.
        """
        if not self._camera.live:
            return [], {}
        now = datetime.now(UTC)
        resumed = self._outbox.open_sightings(self._camera.name, now - self._settings.event_gap, now)
        told = {name: self._outbox.last_alert(name, self._camera.name) for name in self._settings.species}
        return resumed, {name: time for name, time in told.items() if time is not None}

    def _counted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if not self.frames:
                _say_what_is_watched(self._settings, self._camera, self._classifier)
            self.frames += 1
            yield frame
            self._now = frame.timestamp
            # After the first frame: whatever connecting costs, the first look did not wait for it.
            self._look()

    def _look(self) -> None:
        """After each frame, and each look into a watched folder: never by a timer, for it means that the trap sees."""
        self._tick()
        if time.monotonic() >= self._alive_due:
            self._alive_due = time.monotonic() + ALIVE_EVERY_S
            notify("WATCHDOG=1")

    def _tick(self) -> None:
        """What is due from time to time, whether frames come or are waited for."""
        if self._publisher is None:
            self._publisher = self._connect()
        if self._unstored and time.monotonic() >= self._store_due:
            self._store()
        if self._senses.guard.harm != self._told_harm:
            self._told_harm, self._health_due = self._senses.guard.harm, time.monotonic()
        if time.monotonic() >= self._spots_due:
            self._spots_due = time.monotonic() + HEALTH_EVERY_S
            self._keep_spots()
        if self._publisher.connected and time.monotonic() >= self._health_due:
            self._health_due = time.monotonic() + HEALTH_EVERY_S
            self._tell_health(self._publisher)

    def _keep_spots(self, ending: bool = False) -> None:
        try:
            self._senses.spots.store() if ending else self._senses.spots.keep(self._now)
        except OutboxError as error:
            log.error("%s; watching goes on", error)

    def _connect(self) -> Publisher:
        from edge.homeassistant import discovery_message
        from edge.publisher import Publisher

        off_delay = round(self._settings.alert_interval.total_seconds())
        announce = discovery_message(self._topics, self._settings.species, off_delay_s=off_delay, version=__version__)
        publisher = Publisher(self._outbox, self._topics, self._broker, announce=announce)
        publisher.start()
        return publisher

    def _record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass sightings on, then store each change of a visit and tell of it on `events`."""
        for sighting in sightings:
            if sighting.type == "new":
                when = f" at {sighting.event_start:%Y-%m-%d %H:%M:%S}" if sighting.replay else ""
                log.info("%s, %.0f %% sure%s", sighting.species, 100 * sighting.probability, when)
            # The alert first: were the visit stored alone when the power fails, it would go on after the restart as one
            # that is not new, and never be told.
            yield sighting
            try:
                self._outbox.save_sighting(sighting)
            except OutboxError as error:
                log.error("%s; watching goes on", error)
            if self._publisher is not None:
                self._publisher.event(sighting)
            (self._open_visits.discard if sighting.type == "end" else self._open_visits.add)(sighting.id)
            if self._keeper is not None:
                self._keeper.clock.held = bool(self._open_visits)

    def _tell(self, alert: Alert) -> None:
        """Store an alert before anything is sent; the publisher wakes by itself."""
        self._unstored.append(alert)
        self._store()

    def _store(self) -> None:
        """Store what waits to be stored; what cannot be (a full disk) waits in memory and is tried again."""
        from edge.payloads import alert_messages

        self._store_due = time.monotonic() + STORE_AGAIN_S
        while self._unstored:
            alert = self._unstored[0]
            try:
                new = self._outbox.put_alert(alert, alert_messages(alert, self._settings.prefix))
            except OutboxError as error:
                log.error("%s; %d alerts wait in memory, watching goes on", error, len(self._unstored))
                return
            self._unstored.popleft()
            self._alerts += new
            said = alert.sighting.id if new else "was told before, not again"
            log.info("alert: %s %s", alert.sighting.species, said)

    def _depth(self) -> int:
        try:
            return self._outbox.depth()
        except OutboxError as error:
            log.error("%s", error)
            return 0

    def _tell_health(self, publisher: Publisher) -> None:
        try:
            counts, free = self._outbox.counts(), os.statvfs(self._settings.data)
        except OSError as error:  # an OutboxError is one
            log.error("no health can be told: %s; watching goes on", error)
            return
        from edge.payloads import Health

        publisher.health(
            Health(
                uptime_s=round(time.monotonic() - self._started, 1),
                frames=self.frames,
                skipped=self._camera.skipped,
                inference_ms=self._classifier.mean_ms,
                temperature_c=temperature(),
                disk_free_mb=round(free.f_bavail * free.f_frsize / 1e6, 1),
                outbox_depth=counts.depth + len(self._unstored),
                dropped=counts.dropped,
                refused=counts.refused,
                unheard=publisher.unheard,
                withheld=self._senses.bucket.withheld,
                spots=len(self._senses.spots.list(self._now)),
                tampering=self._senses.guard.harm,
                lux=self._senses.guard.lux,
                next_contact_by=time.time() + 3 * HEALTH_EVERY_S,
                stalls=self._keeper.stalls if self._keeper else 0,
                reopened=self._keeper.reopened if self._keeper else 0,
                restarts=restarts(),
            )
        )
