"""predictions -> sightings: looks at one animal over time become one visit of one species."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import BBox, Frame, Lighting, Named, Prediction, Sighting
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint

REPLAY_NAMESPACE = "6f0e7a52-5d0c-5c1c-9c43-0d7b1c1e5a11"
"""Ids of replayed visits are made from the file and the frame within this namespace."""
JPEG_QUALITY = 85
BETTER, CUT_OFF = 1.1, 0.7
"""A picture must be so much better than the best so far to be kept in its place; what the frame's edge may have cut off
is worth less."""
SAME_PLACE = 0.1
"""Crops that overlap at least this much (IoU) are taken for the same animal."""


@dataclass(frozen=True, slots=True)
class SightingSettings:
    """When looks become a sighting.

    `event_gap`: a visit is over when its species was not seen for this long.
    `looks`: so many looks at one animal are averaged, and so many it takes (one for a still: there is no other).
    `same_animal`: looks further apart than this in time are not taken for the same animal.
    `update`: how often a visit that goes on is told as an `update`.
    """

    event_gap: timedelta = timedelta(seconds=60)
    looks: int = 3
    same_animal: timedelta = timedelta(seconds=3)
    update: timedelta = timedelta(seconds=10)


@dataclass(slots=True)
class _Track:
    """The last looks at what is taken for one animal: their probabilities, and where and when the first one was.

    The pictures are not kept: three seconds of them would be as large as the rest of the process.
    """

    looks: deque[NDArray[np.float32]]
    firsts: deque[tuple[datetime, str, int]]
    box: BBox
    last_seen: datetime

    def add(self, prediction: Prediction) -> None:
        frame = prediction.crop.trigger.frame
        self.looks.append(prediction.probabilities)
        self.firsts.append((frame.timestamp, frame.source, frame.index))
        self.box, self.last_seen = prediction.crop.box, frame.timestamp


@dataclass(slots=True)
class _Visit:
    """A sighting that is going on, when it was last told, and its best picture so far with what that is worth."""

    sighting: Sighting
    told: datetime
    image: bytes | None = None
    pictured_at: datetime | None = None
    worth: float = 0.0

    def picture(self, frame: Frame, box: BBox, probability: float) -> None:
        """Keep the frame if it is better to look at: sure, large, and whole."""
        whole = min(box.x, box.y, 1 - box.x - box.width, 1 - box.y - box.height) > 0
        worth = probability * box.area**0.5 * (1.0 if whole else CUT_OFF)
        if worth > BETTER * self.worth:
            self.worth, self.image, self.pictured_at = worth, _jpeg(frame.image), frame.timestamp

    def gap(self, now: datetime) -> timedelta:
        return abs(now - self.sighting.last_seen)


def sightings(
    named: Iterable[Named],
    labels: LabelMap,
    operating_points: Mapping[str, Mapping[str, OperatingPoint]],
    settings: SightingSettings = SightingSettings(),
    resumed: Iterable[Sighting] = (),
) -> Iterator[Sighting]:
    """Yield a sighting whenever it changes: `new`, `update`, `end`.

    A species is seen when the mean of the last looks at one animal reaches its operating point for the light.

    Args:
        named: one item per frame, in order of time; quiet frames included, or no visit would end.
        labels: the classes of the probabilities.
        operating_points: by class name and lighting, from the bundle's manifest.
        settings: when looks become a sighting.
        resumed: visits of before a restart that may still go on: they keep their ids and are not `new` again.
    """
    visits: dict[str, _Visit] = {}
    for sighting in sorted(resumed, key=lambda sighting: sighting.last_seen):
        if sighting.species in visits:
            yield from _end(visits.pop(sighting.species))
        visits[sighting.species] = _Visit(sighting, sighting.last_seen)
    tracks: list[_Track] = []
    for trigger, predictions in named:
        now = trigger.frame.timestamp
        # Either way: a clock that was set back must not keep visits open until the old time is reached again.
        for name in [name for name, visit in visits.items() if visit.gap(now) > settings.event_gap]:
            yield from _end(visits.pop(name))
        if trigger.frame.still:
            tracks = []
        tracks = [track for track in tracks if abs(now - track.last_seen) <= settings.same_animal]
        frame = trigger.frame if trigger.keep else None
        for prediction in predictions:
            track = _follow(tracks, prediction, settings.looks)
            least = 1 if trigger.frame.still else settings.looks
            seen = _recognized(track, trigger.lighting, labels, operating_points, least)
            if seen is not None:
                yield from _see(visits, labels[seen[0]], seen[1], track, prediction, frame, settings.update)
    for visit in visits.values():
        yield from _end(visit)


def _follow(tracks: list[_Track], prediction: Prediction, looks: int) -> _Track:
    """The track that a prediction belongs to by its place, with the prediction added; a new one where none fits."""
    box, now = prediction.crop.box, prediction.crop.trigger.frame.timestamp
    # One look per frame and animal: two crops of one frame that overlap are no second look.
    waiting = [track for track in tracks if track.last_seen != now]
    track = max(waiting, key=lambda track: track.box.iou(box), default=None)
    if track is None or track.box.iou(box) < SAME_PLACE:
        track = _Track(deque(maxlen=looks), deque(maxlen=looks), box, now)
        tracks.append(track)
    track.add(prediction)
    return track


def _recognized(
    track: _Track,
    lighting: Lighting,
    labels: LabelMap,
    points: Mapping[str, Mapping[str, OperatingPoint]],
    least: int,
) -> tuple[int, float] | None:
    """The class that the last looks agree on and its mean probability; None for a blank or too little evidence."""
    if len(track.looks) < least:
        return None
    mean = np.mean(track.looks, axis=0)
    best = int(mean.argmax())
    label = labels[best]
    if label.observation_type == "blank" or mean[best] < points[label.name][lighting].threshold:
        return None
    return best, float(mean[best])


def _see(
    visits: dict[str, _Visit],
    label: Label,
    probability: float,
    track: _Track,
    prediction: Prediction,
    frame: Frame | None,
    update: timedelta,
) -> Iterator[Sighting]:
    """Add what was seen to the visit of its species, or begin one; `frame` is None where it must not be kept."""
    now, visit = track.last_seen, visits.get(label.name)
    new = visit is None
    if visit is None:
        visit = visits[label.name] = _Visit(_begin(label, probability, track, prediction), now)
    if frame is not None:
        visit.picture(frame, track.box, probability)
    if new:
        visit.sighting = dataclasses.replace(visit.sighting, pictured=visit.image is not None)
        yield dataclasses.replace(visit.sighting, image=visit.image, pictured_at=visit.pictured_at)
        return
    before = visit.sighting
    better = probability > before.probability
    visit.sighting = dataclasses.replace(
        before,
        type="update",
        last_seen=now,
        event_end=None,
        frames=before.frames + (now > before.last_seen),
        probability=max(probability, before.probability),
        box=track.box if better else before.box,
        pictured=before.pictured or visit.image is not None,
    )
    if now - visit.told >= update:
        visit.told = now
        yield dataclasses.replace(visit.sighting, image=visit.image, pictured_at=visit.pictured_at)


def _begin(label: Label, probability: float, track: _Track, prediction: Prediction) -> Sighting:
    trigger = prediction.crop.trigger
    start, source, index = track.firsts[0]
    return Sighting(
        type="new",
        id=_replay_id(source, index, label.name) if trigger.frame.replay else uuid7(),
        species=label.name,
        scientific_name=label.scientific_name,
        observation_type=label.observation_type,
        probability=probability,
        event_start=start,
        last_seen=track.last_seen,
        event_end=None,
        lighting=trigger.lighting,
        frames=len(track.looks),
        box=track.box,
        frame_size=(trigger.frame.image.shape[1], trigger.frame.image.shape[0]),
        source=source,
        replay=trigger.frame.replay,
        pictured=False,
        timestamp_issues=trigger.frame.timestamp_issues,
    )


def _end(visit: _Visit) -> Iterator[Sighting]:
    """End a visit; one that had ended before a restart and did not go on has been told."""
    if visit.sighting.event_end is None:
        yield dataclasses.replace(
            visit.sighting,
            type="end",
            event_end=visit.sighting.last_seen,
            image=visit.image,
            pictured_at=visit.pictured_at,
        )


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    written, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    assert written, "a (height, width, 3) uint8 picture can always be encoded"
    return data.tobytes()


def _replay_id(source: str, index: int, species: str) -> str:
    """The same for the same file, place in it and species, so that a second replay tells nobody anything new."""
    import uuid  # only when something was seen

    return str(uuid.uuid5(uuid.UUID(REPLAY_NAMESPACE), f"{source}#{index}#{species}"))


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix time in ms, then random bits; sorts by time."""
    import uuid

    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 2 << 62))
