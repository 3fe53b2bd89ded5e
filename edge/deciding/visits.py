"""A visit that is going on: what is told of it, its best picture, and the animals that are taken for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.deciding.looks import bounded
from edge.deciding.tracks import Track
from edge.types import BBox, Frame, Look, Sighting

JPEG_QUALITY = 85
BETTER, CUT_OFF = 1.1, 0.7
"""A picture must be so much better than the best so far to be kept in its place; what the frame's edge may have cut off
is worth less."""
CERTAIN = 0.99
"""A visit that was so sure once keeps its name, unless what its animal's place shows now is as sure."""
APART = 0.3
"""Crops that share more than this of the smaller one may show one animal."""


@dataclass(slots=True)
class Picture:
    """The best picture so far, a JPEG, when it was taken, and what it is worth."""

    image: bytes | None = None
    taken: datetime | None = None
    worth: float = 0.0

    def offer(self, frame: Frame, box: BBox, probability: float) -> None:
        """Keep the frame if it is better to look at: sure, large, and whole."""
        whole = min(box.x, box.y, 1 - box.x - box.width, 1 - box.y - box.height) > 0
        worth = probability * box.area**0.5 * (1.0 if whole else CUT_OFF)
        if worth > BETTER * self.worth:
            self.worth, self.image, self.taken = worth, _jpeg(frame.image), frame.timestamp


@dataclass(slots=True, eq=False)
class Visit:
    """A sighting as it stands, and when it was last told.

    Attributes:
        tracks: the animals that are followed now; `animals`: how many tracks there were in all, before a restart too.
        trail: looks that explain what it was taken for, of animals that are followed no longer.
    """

    sighting: Sighting
    told: datetime
    picture: Picture = field(default_factory=Picture)
    tracks: list[Track] = field(default_factory=list)
    animals: int = 0
    trail: list[Look] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether its species stays: several animals were taken for it, or it was certain once.

        The rear of a tiger that walks out of the frame is no zebra, though the last looks say so.
        """
        return self.animals > 1 or (not self.sighting.members and self.sighting.probability >= CERTAIN)

    def gap(self, now: datetime) -> timedelta:
        """How long ago it was seen."""
        return abs(now - self.sighting.last_seen)

    def change(self, **values: object) -> None:
        """Set fields of the sighting."""
        self.sighting = dataclasses.replace(self.sighting, **values)  # type: ignore[arg-type]

    def join(self, track: Track) -> None:
        """One more animal is taken for it."""
        self.tracks.append(track)
        self.animals += 1

    def forget(self, track: Track) -> None:
        """An animal is followed no longer: only its looks stay."""
        self.tracks.remove(track)
        self.trail = bounded(sorted([*self.trail, *track.trail], key=lambda look: look.at))

    def at_once(self, now: datetime) -> int:
        """How many animals of it a frame shows; crops that overlap count as one."""
        apart: list[BBox] = []
        for track in self.tracks:
            box = track.box
            if track.last_seen == now and not any(
                box.intersection(other) > APART * min(box.area, other.area) for other in apart
            ):
                apart.append(box)
        return len(apart)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    written, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    assert written, "a (height, width, 3) uint8 picture can always be encoded"
    return data.tobytes()
