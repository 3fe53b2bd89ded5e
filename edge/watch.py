"""The daemon: frames -> triggers -> crops -> predictions -> sightings -> alerts, and each alert to the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from edge.alerts import alerts
from edge.crops import crops
from edge.expected import expected
from edge.motion import MotionSettings, triggers
from edge.outside import prompted
from edge.predictions import Classify, predictions
from edge.senses import Senses
from edge.settings import Settings
from edge.sightings import SightingSettings, sightings
from edge.spots import remember
from edge.tampering import guarded
from edge.throttle import Bucket
from edge.types import Alert, BBox, Deployment, Frame, Named, Sighting
from models.bundle import ModelBundle
from models.labels import LabelMap


class Classifier(Classify, Protocol):
    """`models.classifier.Classifier`, as much of it as is needed here."""

    labels: LabelMap
    bundle: ModelBundle


class Observer(Protocol):
    """Sees what passes and lets all of it pass on: `edge.media.Recorder`, `edge.preview.Preview`."""

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
    resumed: Iterable[Sighting] = (),
    last: Mapping[str, datetime] | None = None,
    senses: Senses | None = None,
    observers: Sequence[Observer] = (),
) -> None:
    """The path from frame to alert.

    Args:
        frames: of one camera; when they end, open visits are ended and told.
        classifier: knows the species; `settings.species` are names it knows.
        settings: what to alert of, and the times.
        record: sees every sighting on its way to the alerts.
        tell: takes each alert.
        resumed: visits of before a restart that may still go on.
        last: per species the event time of its last alert before a restart.
        senses: what health tells of; None for new ones, with the looks per second of the settings.
        observers: keep pictures of what passes.

    Raises:
        UsageError: a budget of false alarms that cannot be kept.
    """
    senses = senses or Senses(bucket=Bucket(settings.looks_per_second))
    points, _ = expected(settings, classifier.bundle)
    deployment = Deployment(settings.deployment, settings.latitude, settings.longitude)
    learned = looks(frames, classifier, settings, senses)
    for observer in observers:
        learned = observer.keep(learned)
    sighted = sightings(learned, classifier.labels, points, SightingSettings(settings.event_gap), resumed)
    for observer in observers:
        sighted = observer.record(sighted)
    recorded = record(sighted)
    for alert in alerts(recorded, settings.species, settings.alert_interval, deployment, classifier.bundle.title, last):
        tell(alert)


def looks(frames: Iterable[Frame], classifier: Classifier, settings: Settings, senses: Senses) -> Iterator[Named]:
    """The first half of the path: each frame, with where something moved in it and what the model says of that."""
    motion = MotionSettings(least_size=settings.least_size, masks=tuple(BBox(*mask) for mask in settings.masks))
    points = classifier.bundle.manifest.operating_points
    seen = guarded(frames, senses.guard)
    moved = triggers(seen, motion, settings.camera_delay)
    called = prompted(moved, senses.sensor)
    cropped = crops(called, bucket=senses.bucket, spots=senses.spots)
    named = predictions(cropped, classifier)
    return remember(named, senses.spots, classifier.labels, points)
