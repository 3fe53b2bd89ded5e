"""`edge-watch calibrate`: a place's own quiet hours, as evidence for the budget of false alarms."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from edge.cameras import Camera, default_source, open_camera
from edge.cameras.files import CLIP_SUFFIXES, in_order, wanted
from edge.daemon import kept
from edge.deciding.budget import probability
from edge.deciding.expected import confirming, members
from edge.deciding.quiet import FILE_NAME, Gathered, Watched, model_id, read_quiet, write_quiet
from edge.deciding.rules import checked
from edge.deciding.sightings import SightingSettings, sightings
from edge.process import alone_in, remove
from edge.seeing.senses import open_senses
from edge.settings import Settings
from edge.types import Candidate, Frame
from edge.watch import looks
from models.bundle import ModelBundle
from models.classifier import Classifier
from models.errors import UsageError

log = logging.getLogger("edge-watch")

SAVE_EVERY_S = 600.0


def calibrate(settings: Settings, hours: float | None, stop: threading.Event) -> str:
    """Watch a source in which no target appears, and add its hours and what was taken for one to the data folder.

    Args:
        settings: of the watch; `species` are what does not appear, by the user's word.
        hours: how long a live camera is watched; None for a recording.
        stop: ends it; what was watched until then counts.

    Returns:
        What was added, and what there is now.

    Raises:
        UsageError: no species, hours that do not go with the source, or a source in which no time passes.
        EdgeWatchError: the model or the source cannot be used, or the file not be written.
    """
    if not settings.species:
        raise UsageError("calibrate: expected --species, found none; name what does not appear in the source")
    classifier = Classifier(ModelBundle.open(settings.model), settings.threads)
    settings = checked(settings, classifier.labels)
    source, added = settings.source or default_source(), 0.0
    with alone_in(settings.data):
        for each in _clips(Path(source)) or (source,):
            camera = kept(functools.partial(open_camera, each, "full", settings.data, settings.rotate, settings.noir))
            if camera.live != (hours is not None):
                raise UsageError(
                    f"--hours: expected with a live camera, and with no recording, found {camera.name} "
                    f"{'without' if camera.live else 'with'} it; {'say how many' if camera.live else 'leave it out'}"
                )
            if not stop.is_set():
                added += _Calibration(settings, classifier, camera, hours).run(stop)
    if not added:
        raise UsageError(
            f"calibrate: expected clips or a live camera, found {source}, in which no time passes; photos do not tell "
            "what happened between them"
        )
    names = ", ".join(settings.species)
    return f"{added:.2f} hours counted as without {names}, by your word\n{listing(settings.data / FILE_NAME)}"


def listing(file: Path) -> str:
    """What `edge-watch calibrate --list` prints: a line for each source, and one that sums up.

    Raises:
        OutboxError: the file is damaged.
    """
    lines, total = [], 0.0
    for each in read_quiet(file):
        day, night = (each.hours.hours.get(name, 0.0) for name in ("day", "night"))
        peaks = sum(peak.species in each.species for peak in each.hours.peaks)
        total += day + night
        lines.append(
            f"{each.source}: {day:.2f} h by day, {night:.2f} h at night without {', '.join(each.species)}, "
            f"which something was taken for {peaks} times ({each.model})"
        )
    return "\n".join([*lines, f"{total:.2f} hours in all"])


def reset(file: Path) -> str:
    """Forget what was calibrated.

    Raises:
        OutboxError: the file cannot be removed.
    """
    remove(file)
    return "the quiet hours are forgotten"


def _clips(folder: Path) -> tuple[str, ...]:
    """The clips of a folder, oldest first, each to be watched by itself; none where it is no folder."""
    if not folder.is_dir():
        return ()
    clips = [path for path in folder.rglob("*") if wanted(path, folder) and path.suffix.lower() in CLIP_SUFFIXES]
    return tuple(str(path) for _, path in in_order(clips))


class _Calibration:
    """One file, or one time before a live camera.

    Args:
        settings: the species as the model names them.
        classifier: the model.
        camera: what is watched.
        hours: how long, of a live one.
    """

    def __init__(self, settings: Settings, classifier: Classifier, camera: Camera, hours: float | None) -> None:
        self._settings, self._classifier, self._camera = settings, classifier, camera
        self._most = timedelta(hours=hours) if hours is not None else None
        self._watched = Watched(confirming(classifier.bundle), settings.event_gap, members(classifier.bundle))
        self._source = ""
        self._due = time.monotonic() + SAVE_EVERY_S

    def run(self, stop: threading.Event) -> float:
        """Watch to the end, and store what was seen; returns the hours that passed in it."""
        senses, event_gap = open_senses(self._settings, self._camera), self._settings.event_gap
        bundle = self._classifier.bundle
        frames = self._timed(self._camera.frames(stop))
        named = self._watched.pass_on(looks(frames, self._classifier, self._settings, senses))
        points, labels = bundle.manifest.operating_points, bundle.labels
        for _ in sightings(named, labels, points, SightingSettings(event_gap), heard=self._heard):
            pass
        self._store()
        return sum(self._watched.hours.values())

    def _timed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames until the hours are over; what was watched is stored now and then, for the power may fail."""
        start: datetime | None = None
        for frame in frames:
            start = start or frame.timestamp
            # A file is known by its content; a camera by when it was watched.
            self._source = frame.source if frame.replay else f"{self._camera.name} {start:%Y-%m-%d %H:%M:%S}"
            if self._most is not None and frame.timestamp - start >= self._most:
                return
            yield frame
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + SAVE_EVERY_S
                self._store()

    def _heard(self, candidate: Candidate) -> None:
        for peak in self._watched.add(candidate):
            if peak.species in self._settings.species:
                log.warning(
                    "something was taken for %s, %.1f %% sure, at %s; if it was one, forget this (--reset)",
                    peak.species, 100 * probability(peak.score), f"{candidate.at:%Y-%m-%d %H:%M:%S}",
                )  # fmt: skip

    def _store(self) -> None:
        if not any(self._watched.hours.values()):
            return
        file, model = self._settings.data / FILE_NAME, model_id(self._classifier.bundle)
        rate = self._settings.looks_per_second
        found = Gathered(self._source, model, self._settings.species, self._watched.quiet_hours(rate))
        write_quiet(file, [each for each in read_quiet(file) if not each.same(found)] + [found])
