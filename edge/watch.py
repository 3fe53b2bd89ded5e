"""The daemon: frames -> triggers -> crops -> predictions -> sightings -> alerts, and each alert to the outbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from edge.deciding.alerts import alerts
from edge.deciding.expected import expected
from edge.deciding.predictions import Classify, possible, predictions
from edge.deciding.privacy import screened, withheld
from edge.deciding.rules import allowed
from edge.deciding.sightings import SightingSettings, sightings
from edge.seeing.crops import crops
from edge.seeing.motion import MotionSettings, triggers
from edge.seeing.outside import prompted
from edge.seeing.senses import Senses
from edge.seeing.spots import remember
from edge.seeing.tampering import guarded
from edge.seeing.throttle import Bucket
from edge.settings import Settings
from edge.types import Alert, BBox, Frame, Named, Sighting
from models.bundle import ModelBundle
from models.labels import LabelMap

WAITING = timedelta(seconds=1)
"""How often visits are told of as updates where alerts may have to wait for them."""


class Classifier(Classify, Protocol):
    """`models.classifier.Classifier`, as much of it as is needed here."""

    labels: LabelMap
    bundle: ModelBundle


class Observer(Protocol):
    """Sees what passes and lets all of it pass on: `Recorder` and `Preview` of `edge.recording`."""

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        """Each frame, with where something moved in it and what the model said of that."""
        ...

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Each change of a visit, after the frame that brought it."""
        ...


def watch(
    frames: Iterable[Frame],
    classifier: Classifier,
    settings: Settings,
    record: Callable[[Iterable[Sighting]], Iterator[Sighting]],
    tell: Callable[[Alert], None],
    resumed: Collection[Sighting] = (),
    last: Mapping[str, datetime] | None = None,
    alerted: Collection[str] = (),
    senses: Senses | None = None,
    observers: Sequence[Observer] = (),
) -> None:
    """The path from frame to alert.

    Args:
        frames: of one camera; when they end, open visits are ended and told.
        classifier: knows the species.
        settings: what to alert of, and the times; `edge.deciding.rules.checked` with the classifier's labels.
        record: sees every sighting on its way to the alerts.
        tell: takes each alert.
        resumed: visits of before a restart that may still go on.
        last: per species the event time of its last alert before a restart.
        alerted: ids of visits that were told before a restart.
        senses: what health tells of; None for new ones, with the looks per second of the settings.
        observers: keep pictures of what passes.

    Raises:
        UsageError: a budget of false alarms that cannot be kept.
    """
    senses = senses or Senses(bucket=Bucket(settings.looks_per_second))
    labels, (points, _) = classifier.labels, expected(settings, classifier.bundle)
    learned = looks(frames, classifier, settings, senses)
    for observer in observers:
        learned = observer.keep(learned)
    sighted = sightings(learned, labels, points, _sighting_settings(settings), resumed)
    sighted = withheld(sighted, settings.people, settings.species, {sighting.id for sighting in resumed})
    for observer in observers:
        sighted = observer.record(sighted)
    recorded = record(sighted)
    for alert in alerts(recorded, settings, classifier.bundle.title, last, alerted, senses.snooze.holds):
        tell(alert)


def looks(frames: Iterable[Frame], classifier: Classifier, settings: Settings, senses: Senses) -> Iterator[Named]:
    """The first half of the path: each frame, with where something moved in it and what the model says of that."""
    labels = classifier.labels
    motion = MotionSettings(least_size=settings.least_size, masks=tuple(BBox(*mask) for mask in settings.masks))
    seen = guarded(frames, senses.guard)
    moved = triggers(seen, motion, settings.camera_delay)
    called = prompted(moved, senses.sensor)
    cropped = crops(called, bucket=senses.bucket, spots=senses.spots)
    named = predictions(cropped, classifier)
    screen = screened(named, labels, settings.people, senses.people)
    local = possible(screen, allowed(labels, settings))
    return remember(local, senses.spots, labels, classifier.bundle.manifest.operating_points)


def _sighting_settings(settings: Settings) -> SightingSettings:
    made = SightingSettings(settings.event_gap)
    waits = settings.least_frames > 1 or settings.least_seconds or settings.least_count > 1 or settings.active_hours
    # An alert that has to wait for more of a visit leaves with an update.
    return dataclasses.replace(made, update=WAITING) if waits else made
