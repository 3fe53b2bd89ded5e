"""What keeps the watch going: camera, model, outbox and publisher put together, signals, and health."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.broker import Broker
from edge.cameras import Camera, default_source, open_camera
from edge.database import OutboxError
from edge.homeassistant import discovery_message
from edge.outbox import FILE_NAME, Outbox
from edge.payloads import Health, Topics, alert_messages
from edge.settings import Settings
from edge.types import Alert, Frame, Sighting
from edge.watch import watch
from models import __version__
from models.bundle import ModelBundle
from models.classifier import Classifier

if TYPE_CHECKING:
    from edge.publisher import Publisher

log = logging.getLogger("edge-watch")

HEALTH_EVERY_S = 60.0


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
    camera = open_camera(settings.source or default_source(), settings.pace)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Outbox(settings.data / FILE_NAME) as outbox:
        _say_what_is_watched(settings, camera, classifier)
        daemon = Daemon(settings, camera, classifier, outbox, topics, broker)
        try:
            daemon.run(stop)
        finally:
            daemon.close()
    return 0


def known_species(settings: Settings, classifier: Classifier) -> Settings:
    """The settings with the species as the model names them.

    Raises:
        UnknownSpeciesError: the message lists near matches.
    """
    names = tuple(classifier.labels[classifier.labels.find(name)].name for name in settings.species)
    return dataclasses.replace(settings, species=names)


def _say_what_is_watched(settings: Settings, camera: Camera, classifier: Classifier) -> None:
    wanted = ", ".join(settings.species) or "every species, alerting of none (name some with --species)"
    log.info("watching %s for %s with model %s", camera.name, wanted, classifier.bundle.title)
    if not classifier.labels.of_type("human"):
        log.warning("this model cannot recognize people: pictures may show them")


class Daemon:
    """One watch: takes sightings and alerts from the chain, stores them, and hands them to the publisher."""

    def __init__(
        self,
        settings: Settings,
        camera: Camera,
        classifier: Classifier,
        outbox: Outbox,
        topics: Topics,
        broker: Broker,
    ) -> None:
        self._settings, self._camera, self._outbox, self._topics, self._broker = (
            settings,
            camera,
            outbox,
            topics,
            broker,
        )
        self._classifier = TimedClassifier(classifier)
        self._started = self._health_due = time.monotonic()
        self._frames = 0
        self._publisher: Publisher | None = None

    def run(self, stop: threading.Event) -> None:
        """Run the chain until the camera ends."""
        resumed, last = self._before_restart()
        frames = self._counted(self._camera.frames(stop))
        watch(frames, self._classifier, self._settings, self._record, self._tell, resumed, last)

    def close(self) -> None:
        """Deliver what can be delivered in a few seconds; the rest stays in the outbox."""
        if self._publisher is not None:
            self._publisher.stop()
        waiting = self._outbox.depth()
        log.info(
            "ended after %d frames, %d skipped%s",
            self._frames,
            self._camera.skipped,
            f"; {waiting} messages wait in {self._outbox.path} for the next start" if waiting else "",
        )

    def _before_restart(self) -> tuple[list[Sighting], dict[str, datetime]]:
        """Visits that may still go on, and when each target was last alerted.

        A replay takes nothing over: its ids come from the file, so that a second replay tells nothing twice.
        """
        if not self._camera.live:
            return [], {}
        resumed = self._outbox.recent_sightings(self._camera.name, datetime.now(UTC) - self._settings.event_gap)
        told = {name: self._outbox.last_alert(name, self._camera.name) for name in self._settings.species}
        return resumed, {name: time for name, time in told.items() if time is not None}

    def _counted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self._frames += 1
            yield frame
            # After the first frame: whatever connecting costs, the first look did not wait for it.
            if self._publisher is None:
                self._publisher = self._connect()
            if self._publisher.connected and time.monotonic() >= self._health_due:
                self._health_due = time.monotonic() + HEALTH_EVERY_S
                self._publisher.health(self._health(self._publisher))

    def _connect(self) -> Publisher:
        from edge.publisher import Publisher

        off_delay = round(self._settings.alert_interval.total_seconds())
        announce = discovery_message(self._topics, self._settings.species, off_delay_s=off_delay, version=__version__)
        publisher = Publisher(self._outbox, self._topics, self._broker, announce=announce)
        publisher.start()
        return publisher

    def _record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Store each change of a visit and tell of it on `events`, then pass it on."""
        for sighting in sightings:
            if sighting.type == "new":
                log.info(
                    "%s %s, %.0f %% sure",
                    f"{sighting.event_start:%H:%M:%S}",
                    sighting.species,
                    100 * sighting.probability,
                )
            try:
                self._outbox.save_sighting(sighting)
            except OutboxError as error:
                log.error("%s; watching goes on", error)
            if self._publisher is not None:
                self._publisher.event(sighting)
            yield sighting

    def _tell(self, alert: Alert) -> None:
        """Store an alert before anything is sent; the publisher wakes by itself."""
        try:
            new = self._outbox.put_alert(alert, alert_messages(alert, self._settings.prefix))
        except OutboxError as error:
            log.error("%s; this alert cannot be kept: %s; watching goes on", error, alert.sighting.id)
            return
        log.info("alert: %s %s", alert.sighting.species, alert.sighting.id if new else "was told before, not again")

    def _health(self, publisher: Publisher) -> Health:
        counts = self._outbox.counts()
        return Health(
            uptime_s=round(time.monotonic() - self._started, 1),
            frames=self._frames,
            skipped=self._camera.skipped,
            inference_ms=self._classifier.mean_ms,
            temperature_c=_temperature(),
            disk_free_mb=round(shutil.disk_usage(self._settings.data).free / 1e6, 1),
            outbox_depth=counts.depth,
            dropped=counts.dropped,
            refused=counts.refused,
            unheard=publisher.unheard,
            next_contact_by=time.time() + 3 * HEALTH_EVERY_S,
        )


class TimedClassifier:
    """A classifier that knows how long its looks take."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.labels, self.bundle = classifier.labels, classifier.bundle
        self.mean_ms: float | None = None

    def classify(
        self, image: NDArray[np.uint8], box: tuple[float, float, float, float] | None = None
    ) -> NDArray[np.float32]:
        """As `models.classifier.Classifier.classify`, with the time taken into `mean_ms` (a running mean)."""
        started = time.perf_counter()
        probabilities = self._classifier.classify(image, box)
        taken = (time.perf_counter() - started) * 1000
        self.mean_ms = round(taken if self.mean_ms is None else 0.9 * self.mean_ms + 0.1 * taken, 2)
        return probabilities


def _temperature() -> float | None:
    """The processor's temperature in degrees Celsius, where Linux tells it."""
    try:
        return int(Path("/sys/class/thermal/thermal_zone0/temp").read_text()) / 1000
    except (OSError, ValueError):
        return None
