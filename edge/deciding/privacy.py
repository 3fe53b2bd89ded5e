"""What is kept and told of people: the one rule for pictures, clips, previews, records and messages."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import BBox, Frame, Named, Prediction, Sighting, Trigger
from models.labels import LabelMap

LOOKS_AT_PERSON, SURE, UNSURE = 3, 0.6, 0.5
"""A person is there when the last looks give people this probability on average; one look alone spoils its frame."""
SAME_LOOKS, HOLD = timedelta(seconds=5), timedelta(seconds=60)
PERHAPS, WIDER, BLOCKS = 0.1, 0.25, 8
"""What is blurred: looks that give people this probability, with so much around them, down to so many blocks across."""


class People:
    """Whether a person is before the camera, or was a moment ago.

    Animals that are cut off by the frame's edge are taken for a person now and then, for one look. So it takes several
    to be sure of one; then whatever comes within a minute may still show that person, standing still.

    Attributes:
        frames: in which a person was recognized, since the start.
        visits: ids of those that somebody said show a person: nothing may be kept of them from then on.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.visits: set[str] = set()
        self._shares: deque[float] = deque(maxlen=LOOKS_AT_PERSON)
        self._looked: datetime | None = None
        self._seen: datetime | None = None

    def look(self, frame: Frame, share: float | None) -> None:
        """Hear of each frame, in order of time: the most that a look gave people, or None without a look."""
        if share is None:
            return
        now = frame.timestamp
        if self._looked is None or abs(now - self._looked) > SAME_LOOKS or frame.still:
            self._shares.clear()
        self._looked = now
        self._shares.append(share)
        if sum(self._shares) >= SURE * len(self._shares):
            self._seen = now
            self.frames += 1

    def about(self, now: datetime) -> bool:
        """Whether a person is there, or was a moment ago."""
        return self._seen is not None and abs(now - self._seen) <= HOLD


def screened(named: Iterable[Named], labels: LabelMap, rule: str, people: People) -> Iterator[Named]:
    """Say of each frame whether its picture may be kept, and blur people in it if that is asked for.

    Pictures to keep are those of the triggers that travel on; the crops still show what was looked at, for looks are
    compared with one another. All of the probabilities count, also those of species that cannot be here.

    Args:
        named: in order of time.
        labels: the classes of the probabilities. Where none of them is a person, no picture may be kept.
        rule: `drop`, `blur` or `keep`, as the setting `people`.
        people: hears of each frame.
    """
    human = list(labels.of_type("human"))
    faces = _Faces()
    for trigger, predictions in named:
        shares = [float(prediction.probabilities[human].sum()) for prediction in predictions]
        people.look(trigger.frame, max(shares, default=None))
        if rule == "keep":
            yield trigger, predictions
            continue
        about = people.about(trigger.frame.timestamp)
        frame, keep = trigger.frame, bool(human)
        if rule == "blur":
            frame = faces.blurred(trigger, predictions, shares, about)
        else:
            keep = keep and not about and max(shares, default=0.0) < UNSURE
        yield dataclasses.replace(trigger, frame=frame, keep=keep, person=about), predictions


class _Faces:
    """Where people were seen in the last minute: they may still stand there."""

    def __init__(self) -> None:
        self._seen: list[tuple[datetime, BBox]] = []

    def blurred(
        self, trigger: Trigger, predictions: Iterable[Prediction], shares: Iterable[float], about: bool
    ) -> Frame:
        """The frame without what may be people: looks, places where they were, and what moves but was not looked at."""
        frame = trigger.frame
        looks = [(prediction.crop.box, share) for prediction, share in zip(predictions, shares, strict=True)]
        self._seen = [each for each in self._seen if abs(frame.timestamp - each[0]) <= HOLD] if about else []
        hidden = [box for box, share in looks if share >= PERHAPS]
        if about:
            self._seen += [(frame.timestamp, box) for box, share in looks if share >= UNSURE]
            hidden += [box for _, box in self._seen]
            sharp = [box for box, share in looks if share < PERHAPS]
            hidden += [region for region in trigger.regions if not any(_within(region, box) for box in sharp)]
        return dataclasses.replace(frame, image=pixelated(frame.image, hidden)) if hidden else frame


def pixelated(image: NDArray[np.uint8], boxes: Iterable[BBox]) -> NDArray[np.uint8]:
    """A copy of a (height, width, 3) picture in which each box, and a little around it, is a few blocks of colour."""
    made = image.copy()
    height, width = image.shape[:2]
    for box in dict.fromkeys(boxes):
        left, right = box.x - WIDER * box.width, box.x + (1 + WIDER) * box.width
        top, bottom = box.y - WIDER * box.height, box.y + (1 + WIDER) * box.height
        x, y = max(0, int(left * width)), max(0, int(top * height))
        part = made[y : max(y + 1, round(bottom * height)), x : max(x + 1, round(right * width))]
        if part.size:
            small = cv2.resize(part, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
            part[:] = cv2.resize(small, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_NEAREST)
    return made


def _within(region: BBox, box: BBox) -> bool:
    return region.intersection(box) >= 0.9 * region.area


def withheld(
    sightings: Iterable[Sighting], rule: str, targets: Collection[str], told: Iterable[str] = ()
) -> Iterator[Sighting]:
    """Pass sightings on, but none of a person, unless people are kept or blurred, or a target; then without a picture.

    A visit that was told of as an animal's, and turns out to be a person's, goes on without its picture, so that it
    ends, and so do those with ids that were `told` before a restart.
    """
    animals = set(told)
    for sighting in sightings:
        if rule != "drop" or sighting.observation_type != "human":
            animals.add(sighting.id)
            yield sighting
        elif sighting.id in animals or sighting.species in targets:
            yield dataclasses.replace(sighting, image=None, pictured_at=None, pictured=False)
        if sighting.type == "end":
            animals.discard(sighting.id)
