"""Two peers of `edge-watch`, made again from their descriptions: what they tell of, looking at the same frames.

The usual hobby loop: MOG2, the two largest boxes, the model, an alert as soon as one frame gives a species 0.8, then
30 s without another of that species. In its favour its boxes become squares with a margin, as the model knows them.

Frigate's vote over a tracked object: looks whose best answer has at least 0.8 count as attempts; from three of them on,
an answer that 60 % of them agree on becomes the object's name, unless it is none; after 16 attempts an object is not
looked at any more. In its favour it gets the looks of `edge-watch` (its own detector would have to know the animals),
and a tracker that follows them by their place, an object being lost after 5 s. It is told once under each name.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from benchmarks.motion import Mog2
from edge.deciding.predictions import Classify
from edge.seeing.crops import square
from edge.types import BBox, Frame, Named, Sighting
from models.labels import LabelMap

SURE = 0.8
LARGEST, COOLDOWN = 2, timedelta(seconds=30)
MARGIN = 0.2
ATTEMPTS, AGREED, MOST_ATTEMPTS = 3, 0.6, 16
LOST, SAME_PLACE = timedelta(seconds=5), 0.1

Alarm = tuple[datetime, str, float]
"""When it came, of which species, with which probability."""


class HobbyLoop:
    """Looks at frames on their way to something else.

    Attributes:
        alarms: what it told of so far.
    """

    def __init__(self, classifier: Classify, labels: LabelMap) -> None:
        self.alarms: list[Alarm] = []
        self._classifier, self._labels, self._motion = classifier, labels, Mog2()
        self._told: dict[str, datetime] = {}

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass frames on, and look at each."""
        for frame in frames:
            self._motion.foreground(frame)
            boxes = sorted(self._motion.boxes(), key=lambda box: -box.area)[:LARGEST]
            height, width = frame.image.shape[:2]
            for box in boxes:
                crop = square(box, MARGIN, width, height)
                self._look(self._classifier.classify(frame.image, crop.as_tuple()), frame.timestamp)
            yield frame

    def _look(self, probabilities: NDArray[np.float32], now: datetime) -> None:
        name, probability = _best(probabilities, self._labels)
        told = self._told.get(name or "")
        if name is not None and probability >= SURE and (told is None or now - told >= COOLDOWN):
            self._told[name] = now
            self.alarms.append((now, name, probability))


@dataclass(slots=True)
class _Tracked:
    box: BBox
    seen: datetime
    attempts: deque[str] = field(default_factory=deque)
    told: set[str] = field(default_factory=set)


class FrigateVote:
    """Hears of the looks at each frame; an observer of the chain.

    Attributes:
        alarms: what it told of so far.
    """

    def __init__(self, labels: LabelMap) -> None:
        self.alarms: list[Alarm] = []
        self._labels, self._tracked = labels, list[_Tracked]()

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        """Pass on what the model said of each frame, and hear of it."""
        for trigger, predictions in named:
            now = trigger.frame.timestamp
            self._tracked = [each for each in self._tracked if now - each.seen <= LOST]
            for prediction in predictions:
                tracked = self._follow(prediction.crop.box, now)
                self._vote(tracked, prediction.probabilities, now)
            yield trigger, predictions

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass on what is not its business."""
        yield from sightings

    def _follow(self, box: BBox, now: datetime) -> _Tracked:
        waiting = [each for each in self._tracked if each.seen != now]
        tracked = max(waiting, key=lambda each: each.box.iou(box), default=None)
        if tracked is None or tracked.box.iou(box) < SAME_PLACE:
            tracked = _Tracked(box, now)
            self._tracked.append(tracked)
        tracked.box, tracked.seen = box, now
        return tracked

    def _vote(self, tracked: _Tracked, probabilities: NDArray[np.float32], now: datetime) -> None:
        index = int(probabilities.argmax())
        if len(tracked.attempts) >= MOST_ATTEMPTS or probabilities[index] < SURE:
            return
        tracked.attempts.append(self._labels.names[index])
        name, count = Counter(tracked.attempts).most_common(1)[0]
        if len(tracked.attempts) < ATTEMPTS or count < AGREED * len(tracked.attempts) or name in tracked.told:
            return
        tracked.told.add(name)
        if self._labels[self._labels.names.index(name)].observation_type == "animal":
            self.alarms.append((now, name, float(probabilities[index])))


def _best(probabilities: NDArray[np.float32], labels: LabelMap) -> tuple[str | None, float]:
    """The best answer, where it is an animal."""
    index = int(probabilities.argmax())
    label = labels[index]
    return label.name if label.observation_type == "animal" else None, float(probabilities[index])
