"""What keeps the watch going: camera, model, outbox and publisher put together, signals, and health."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from edge.cameras import Camera, default_source, open_camera
from edge.cameras.clock import Clock
from edge.cameras.folder import WatchedFolder
from edge.cameras.keeper import Keeper
from edge.deciding.expected import expected
from edge.deciding.rules import checked, meaning
from edge.duties import Duties
from edge.health import TimedClassifier
from edge.process import alone_in, notify, restart, restarts
from edge.recording.video import require_encoder
from edge.seeing.senses import open_senses
from edge.settings import Settings
from edge.telling.broker import Broker
from edge.telling.heard import Snooze
from edge.telling.topics import Topics
from edge.types import Deployment, Frame, Sighting
from edge.watch import watch
from models.bundle import ModelBundle
from models.classifier import Classifier
from models.errors import OutboxError, StuckCameraError
from models.labels import is_human

if TYPE_CHECKING:
    from edge.recording.media import Recorder
    from edge.recording.preview import Preview
    from edge.telling.outbox import Outbox

log = logging.getLogger("edge-watch")


def run_daemon(settings: Settings, debug: bool = False) -> int:
    """Watch until the source ends or SIGINT or SIGTERM comes; what is open then is told or kept.

    Raises:
        UsageError: an unknown species, source or setting.
        EdgeWatchError: the model, the camera or the outbox cannot be used.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)
    broker = Broker.of(settings)
    topics = Topics(settings.deployment, settings.prefix)
    classifier = Classifier(ModelBundle.open(settings.model), settings.threads)
    settings = checked(settings, classifier.labels)
    expected(settings, classifier.bundle)  # A budget that cannot be kept is refused before anything is opened.
    source, pace, data = settings.source or default_source(), settings.pace, settings.data
    camera = kept(functools.partial(open_camera, source, pace, data, settings.rotate, settings.noir))
    stop, stuck = threading.Event(), False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with alone_in(settings.data), contextlib.ExitStack() as closing:

        def open_outbox() -> Outbox:
            from edge.telling.outbox import FILE_NAME, Outbox

            return closing.enter_context(Outbox(settings.data / FILE_NAME))

        daemon = Daemon(settings, camera, classifier, open_outbox, topics, broker)
        notify("READY=1")
        well = False
        try:
            daemon.run(stop)
            well = True
        except StuckCameraError as error:
            # Where beginning anew brought no frame either, it is for systemd to go on.
            if not daemon.frames:
                raise
            log.error("%s; the program begins anew", error)
            stuck = True
        finally:
            daemon.close(well)
    if stuck:
        restart()
    return 1 if daemon.failed else 0


def kept(open_again: Callable[[], Camera]) -> Camera:
    """The camera; a live one is opened again whenever it stalls, but a folder may stay empty for days."""
    camera = open_again()
    if not camera.live or isinstance(camera, WatchedFolder):
        return camera
    return Keeper(open_again, Clock(), patient=restarts() > 0)


def _say_what_is_watched(settings: Settings, camera: Camera, classifier: TimedClassifier) -> None:
    wanted = ", ".join(settings.species) or "every species, alerting of none (name some with --species)"
    log.info("watching %s for %s with model %s", camera.name, wanted, classifier.bundle.title)
    for line in expected(settings, classifier.bundle)[1]:
        log.info("%s", line)
    if settings.active_hours is not None:
        log.info("alerts leave from %s to %s only; visits are recorded all day", *map(_clock, settings.active_hours))
    if not classifier.labels.of_type("human"):
        kept = "none are kept without --people keep" if settings.people != "keep" else "they are kept all the same"
        log.warning("this model cannot recognize people: pictures may show them, and %s", kept)


def _clock(moment: time) -> str:
    return f"{moment:%H:%M}"


def open_recorders(
    settings: Settings, classifier: Classifier, patient: bool, forbidden: Collection[str] = ()
) -> list[Recorder | Preview]:
    """What `--record` and `--preview` ask for; `patient` in a replay, which can wait for a clip to be encoded.

    Of the visits that are `forbidden` nothing is kept.

    Raises:
        EdgeWatchError: clips cannot be made here.
    """
    found: list[Recorder | Preview] = []
    if settings.record != "nothing":
        from edge.recording.media import FOLDER, Recorder

        clips, most = settings.record == "clip", settings.media_limit
        if clips:
            require_encoder("--record clip")
        recorder = Recorder(
            settings.data / FOLDER, Deployment(settings.deployment), classifier.bundle.title, settings.species,
            clips=clips, people=settings.people == "keep", forbidden=forbidden, patient=patient,
            most_bytes=round(1e6 * most),
        )  # fmt: skip
        found.append(recorder)
    if settings.preview is not None:
        from edge.recording.preview import Preview

        require_encoder("--preview")
        found.append(Preview(settings.preview, classifier.labels, patient))
    return found


class Daemon:
    """One watch: the chain over a camera, with what it finds stored, recorded and told.

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
        self._settings, self._camera, self._open_outbox = settings, camera, open_outbox
        self._classifier = TimedClassifier(classifier)
        self._keeper = camera if isinstance(camera, Keeper) else None
        self._senses = open_senses(settings, camera)
        self.failed = False
        self._open_visits: set[str] = set()
        self._recorders = open_recorders(settings, classifier, self._keeper is None, self._senses.people.visits)
        self._duties = Duties(settings, camera, self._senses, self._classifier, lambda: self._outbox, topics, broker)

    @functools.cached_property
    def _outbox(self) -> Outbox:
        return self._open_outbox()

    @property
    def frames(self) -> int:
        """How many were looked at."""
        return self._duties.frames

    def run(self, stop: threading.Event) -> None:
        """Run the chain until the camera ends."""
        resumed, last = self._before_restart()
        if self._camera.live:
            self._senses.snooze = Snooze(self._outbox, functools.partial(meaning, self._classifier.labels))
        self._open_visits = {sighting.id for sighting in resumed if sighting.type != "end"}
        if self._keeper is not None:
            self._keeper.waiting = self._tick
            self._keeper.clock.held = bool(self._open_visits)
        elif isinstance(self._camera, WatchedFolder):
            self._camera.waiting = self._look
        watch(
            self._counted(self._camera.frames(stop)),
            self._classifier,
            self._settings,
            self._record,
            self._duties.backlog.put,
            resumed,
            last,
            {sighting.id for sighting in resumed if self._outbox.alerted(sighting.id)},
            self._senses,
            self._recorders,
        )

    def close(self, well: bool = True) -> None:
        """Finish what is being recorded, and deliver what can be in a few seconds; the rest stays in the outbox."""
        for recorder in self._recorders:
            recorder.finish()
        waiting = self._duties.close(well)
        for recorder in self._recorders:
            try:
                recorder.close()
            except OutboxError as error:
                log.error("%s", error)
                self.failed = True
        if self._senses.bucket.withheld:
            log.info("%d looks were left out: too much moves; see --masks", self._senses.bucket.withheld)
        kept = f"; {waiting} messages wait in {self._outbox.path} for the next start" if waiting else ""
        if self.frames or kept:
            log.info(
                "ended after %d frames (%d skipped), alerts: %d%s",
                self.frames, self._camera.skipped, self._duties.backlog.stored, kept,
            )  # fmt: skip

    def _before_restart(self) -> tuple[list[Sighting], dict[str, datetime]]:
        """Visits that may still go on, and when each target was last alerted.

        A replay takes nothing over: its ids come from the file, so that a second replay tells nothing twice.
        """
        if not self._camera.live:
            return [], {}
        now = datetime.now(UTC)
        resumed = self._outbox.open_sightings(self._camera.name, now - self._settings.event_gap, now)
        if self._settings.people != "keep":
            said = {sighting.id: self._outbox.corrected(sighting.id) or "" for sighting in resumed}
            self._senses.people.visits |= {id for id, name in said.items() if is_human(name)}
        told = {name: self._outbox.last_alert(name, self._camera.name) for name in self._settings.species}
        return resumed, {name: time for name, time in told.items() if time is not None}

    def _counted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if not self.frames:
                _say_what_is_watched(self._settings, self._camera, self._classifier)
            self._duties.frames += 1
            yield frame
            self._duties.now = frame.timestamp
            # After the first frame: whatever connecting costs, the first look did not wait for it.
            self._duties.look()

    def _tick(self) -> None:
        """While no frames come."""
        self._duties.tick()
        for recorder in self._recorders:
            recorder.tick()

    def _look(self) -> None:
        """While a watched folder has no new file."""
        self._duties.look()
        self._tick()

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
                log.log(error.level, "%s; watching goes on", error)
            self._duties.event(sighting)
            (self._open_visits.discard if sighting.type == "end" else self._open_visits.add)(sighting.id)
            if self._keeper is not None:
                self._keeper.clock.held = bool(self._open_visits)
