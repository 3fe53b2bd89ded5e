"""predictions -> tracks: which looks are at the same animal, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.deciding.budget import log_odds
from edge.deciding.evidence import MOST, Evidence
from edge.deciding.looks import bounded
from edge.types import BBox, Frame, Lighting, Look, Prediction
from models.labels import LabelMap

SAME_PLACE = 0.1
"""Crops that overlap at least this much (IoU) are taken for the same animal."""
INDEPENDENT = timedelta(seconds=0.8)
"""Looks so far apart are independent witnesses; of nearer ones each counts as the share of this time that passed."""
FIRST = 0.2
"""Weight of the first look in a stream: an animal that comes in shows little of itself."""
REPEATED, SAME_PICTURE = 0.3, 2.0
"""A look counts so much of its weight where the picture hardly differs from the one before (mean difference in grey
levels of a `VIEW` x `VIEW` pixel version): the same picture is no second witness."""
VIEW = 32
MOVED, IN_PLACE = 1.0, 2.0
"""What has not moved by its own size is seen before the same ground in every look: all looks at it
together are no more than so many witnesses. A branch that waves looks like a monkey for as long as it waves."""
LOOKS, WEIGHT = 3, 0.6
"""To say anything of an animal in a stream takes so many looks, and evidence of so much weight."""


@dataclass(frozen=True, slots=True)
class First:
    """The frame with which an animal's visit begins; `size` (width, height) in pixels."""

    timestamp: datetime
    source: str
    index: int
    replay: bool
    timestamp_issues: bool
    size: tuple[int, int]

    @classmethod
    def of(cls, frame: Frame) -> First:
        height, width = frame.image.shape[:2]
        return cls(frame.timestamp, frame.source, frame.index, frame.replay, frame.timestamp_issues, (width, height))


@dataclass(slots=True, eq=False)
class Track:
    """What is taken for one animal: where it is, since when, and what the looks at it say.

    No picture is kept but a tiny grey one: three seconds of pictures would be as large as the rest of the process.

    Attributes:
        first: the frame with the first look that showed something; `latest` with the last look.
        began: where it was first seen.
        looks: how many there were.
        heard: what they weighed together, with what is forgotten by now.
        moved: whether it has come from elsewhere since it was first seen.
        shares: (classes,) probabilities after all looks.
        shows: whether the last look shows more than the place.
        trail: looks to explain it by.
        told: a visit of it has ended; if it is seen again, that begins another.
    """

    evidence: Evidence
    began: BBox
    box: BBox
    first: First
    latest: First
    last_seen: datetime
    lighting: Lighting
    still: bool
    shares: NDArray[np.float64]
    looks: int = 0
    heard: float = 0.0
    moved: bool = False
    shows: bool = False
    told: bool = False
    trail: list[Look] = field(default_factory=list)
    _view: NDArray[np.uint8] | None = None

    @property
    def enough(self) -> bool:
        """Whether there were enough looks to say anything; a still is the only look that there is."""
        return self.still or (self.looks >= LOOKS and self.evidence.weight >= WEIGHT - 1e-9)

    @property
    def weight(self) -> float:
        """How much evidence there is, in independent looks; for a still, all that there will be."""
        return MOST if self.still else self.evidence.weight

    def add(self, prediction: Prediction, labels: LabelMap) -> None:
        """Look once more."""
        trigger = prediction.crop.trigger
        frame, view = trigger.frame, _view_of(prediction)
        self.latest = First.of(frame)
        if self.looks and (self.told or (not self.shows and self.evidence.blank >= 0.5)):
            # Something may have waved here for minutes: the visit begins when more than that is seen.
            self.first, self.trail, self.told = self.latest, [], False
        weight = 1.0 if frame.still else FIRST
        if self._view is not None:
            weight = min(1.0, abs(frame.timestamp - self.last_seen) / INDEPENDENT)
            if cv2.absdiff(view, self._view).mean() < SAME_PICTURE:
                weight *= REPEATED
        self.moved = self.moved or _apart(self.began, prediction.crop.box) >= MOVED
        self.evidence.add(prediction.probabilities, weight, MOST if self.moved or self.still else IN_PLACE)
        self.box, self.last_seen, self.lighting = prediction.crop.box, frame.timestamp, trigger.lighting
        self.looks, self.heard, self._view = self.looks + 1, self.heard + weight, view
        self.shows = self.evidence.shows(prediction.probabilities)
        # Of a still its own probabilities count, as everywhere else where one picture is judged.
        self.shares = prediction.probabilities.astype(np.float64) if self.still else self.evidence.posterior()
        self.trail.append(_explained(prediction, weight, self.evidence, labels))
        self.trail = bounded(self.trail)


class Tracks:
    """All that are followed at a time.

    Args:
        labels: the classes of the probabilities.
        same_animal: looks further apart than this in time are not taken for the same animal.
    """

    def __init__(self, labels: LabelMap, same_animal: timedelta) -> None:
        self._labels, self._same_animal = labels, same_animal
        self._tracks: list[Track] = []

    def lost(self, now: datetime, all_of_them: bool) -> list[Track]:
        """Those that are over by now, or all: no photo of a series shows an animal of the one before for certain."""
        # Either way: a clock that was set back must not keep tracks until the old time is reached again.
        over = [track for track in self._tracks if all_of_them or abs(now - track.last_seen) > self._same_animal]
        self._tracks = [track for track in self._tracks if track not in over]
        return over

    def end(self) -> list[Track]:
        """No looks come any more: all that are left."""
        over, self._tracks = self._tracks, []
        return over

    def follow(self, predictions: Iterable[Prediction]) -> list[Track]:
        """The track that each look of one frame belongs to by its place; a new one where none fits."""
        followed: list[Track] = []
        for prediction in predictions:
            # One look per frame and animal: two crops of one frame that overlap are no second look.
            waiting = [track for track in self._tracks if track not in followed]
            box = prediction.crop.box
            track = max(waiting, key=lambda track: track.box.iou(box), default=None)
            if track is None or track.box.iou(box) < SAME_PLACE:
                track = self._begin(prediction)
            track.add(prediction, self._labels)
            followed.append(track)
        return followed

    def _begin(self, prediction: Prediction) -> Track:
        trigger = prediction.crop.trigger
        frame = trigger.frame
        first = First.of(frame)
        track = Track(
            evidence=Evidence(self._labels),
            began=prediction.crop.box,
            box=prediction.crop.box,
            first=first,
            latest=first,
            last_seen=frame.timestamp,
            lighting=trigger.lighting,
            still=frame.still,
            shares=np.zeros(len(self._labels)),
        )
        self._tracks.append(track)
        return track


def _apart(one: BBox, other: BBox) -> float:
    """How far the middles of two boxes lie apart, in widths or heights of the larger one."""
    across, down = abs(one.center[0] - other.center[0]), abs(one.center[1] - other.center[1])
    return max(across / max(one.width, other.width), down / max(one.height, other.height))


def _view_of(prediction: Prediction) -> NDArray[np.uint8]:
    """A tiny grey version of what was looked at."""
    image, box = prediction.crop.trigger.frame.image, prediction.crop.box
    height, width = image.shape[:2]
    left, top = int(box.x * width), int(box.y * height)
    right, bottom = left + max(1, round(box.width * width)), top + max(1, round(box.height * height))
    small = cv2.resize(image[top:bottom, left:right], (VIEW, VIEW), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]


def _explained(prediction: Prediction, weight: float, evidence: Evidence, labels: LabelMap) -> Look:
    said, stood = prediction.probabilities, evidence.posterior()
    top = tuple((labels[index].name, float(said[index])) for index in np.argsort(-said, kind="stable")[:3].tolist())
    best = int(stood.argmax())
    score = log_odds(float(stood[best]))
    return Look(prediction.crop.trigger.frame.timestamp, prediction.crop.box, weight, top, score, labels[best].name)
