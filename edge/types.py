"""The values that travel from frame to alert; the words are Camtrap DP's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Lighting = Literal["day", "night"]
"""`night` means an infrared-grey picture, whatever the clock says."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class BBox:
    """A box in a picture: left, top, width, height as shares 0-1 of the picture; (0, 0) is top-left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def intersection(self, other: BBox) -> float:
        """The area that both cover."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, width) * max(0.0, height)

    def union(self, other: BBox) -> BBox:
        """The smallest box around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return BBox(x, y, right - x, bottom - y)

    def iou(self, other: BBox) -> float:
        """Intersection over union, 0-1."""
        shared = self.intersection(other)
        total = self.area + other.area - shared
        return shared / total if total else 0.0

    def as_tuple(self) -> Box:
        return self.x, self.y, self.width, self.height


WHOLE = BBox(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture and when it was taken.

    `image`: (height, width, 3) uint8, BGR, as OpenCV and picamera2 deliver it.
    `timestamp`: timezone-aware. `index`: its number within `source`, from 0.
    `source`: what it came from; for files a name that is the same in every run.
    `still`: a single photograph of a series, each taken because something moved; not one of a stream.
    `timestamp_issues` (Camtrap DP): the clock had not been set when it was taken, so `timestamp` may be wrong.
    `luma`: (about 180, ...) uint8 grey of the same view, where the camera makes one itself. `lux`: how much light the
    camera says there is.
    """

    image: NDArray[np.uint8]
    timestamp: datetime
    index: int
    source: str
    replay: bool = False
    still: bool = False
    timestamp_issues: bool = False
    luma: NDArray[np.uint8] | None = None
    lux: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trigger:
    """A frame and where something moved in it; no regions when nothing did.

    `keep`: whether its picture may be stored or sent; `person`: whether a person is there or was a moment ago, so that
    what was filmed in these seconds may not be. Both are for `edge.deciding.privacy` to say.
    """

    frame: Frame
    regions: tuple[BBox, ...]
    lighting: Lighting
    keep: bool = True
    person: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A part of a frame worth a look; `box` is square in pixels unless it is the whole frame."""

    trigger: Trigger
    box: BBox


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says of one crop (a media-level observation).

    `probabilities`: (classes,) float32, calibrated, in the order of the bundle's labels, summing to 1.
    """

    crop: Crop
    probabilities: NDArray[np.float32]


Cropped = tuple[Trigger, tuple[Crop, ...]]
Named = tuple[Trigger, tuple[Prediction, ...]]
"""One item per frame in every stage: a quiet frame passes with nothing in it, so that a visit can be seen to end."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an animal, as evidence for what it was taken for.

    `at`: timezone-aware. `box`: where. `weight`: how much it counts, 0-1; less where it shows what the look before did.
    `top`: the likeliest names with their probabilities, surest first. `score`: what `species`, the likeliest of all
    after this look, then stood at, in natural log-odds against everything else.
    """

    at: datetime
    box: BBox
    weight: float
    top: tuple[tuple[str, float], ...]
    score: float
    species: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One visit of one species (an event-level observation), as it stands now.

    `type` is `new` at the first confirmation, `update` while it goes on, `end` when it is over.
    `event_end` is null until then. `frames` counts the frames that support the species.
    `box` belongs to the frame with the best look, of `frame_size` (width, height) pixels. `image` is a JPEG, taken at
    `pictured_at`: of the first confirmation in `new`, of the best picture so far later; `pictured` tells that there was
    one. `count`: animals seen at once. `members`: the classes that share the evidence where `species` is a group.
    `has_clip` is true at the end of a visit that was filmed. `timestamp_issues` (Camtrap DP): it began
    before the computer's clock was set, so that its times may be wrong. `evidence`: at the end, the looks that made it
    what it is, in order of time.
    """

    type: Literal["new", "update", "end"]
    id: str
    species: str
    scientific_name: str
    observation_type: str
    probability: float
    event_start: datetime
    last_seen: datetime
    event_end: datetime | None
    lighting: Lighting
    frames: int
    box: BBox
    frame_size: tuple[int, int]
    source: str
    replay: bool
    pictured: bool
    image: bytes | None = None
    pictured_at: datetime | None = None
    has_clip: bool = False
    timestamp_issues: bool = False
    count: int = 1
    members: tuple[str, ...] = ()
    evidence: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one animal, or what was taken for one, was believed to be at most: for the budget of false alarms.

    `at`: when it was first seen. `highest`: name of a class or group -> the highest probability that it reached.
    """

    at: datetime
    lighting: Lighting
    highest: dict[str, float]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One trap at one place: its name (Camtrap DP deploymentID) and, if known, where it hangs."""

    name: str
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A sighting of a target that is told, once; its id is the sighting's.

    `model`: name and version of the bundle that recognised it, as `wildlife 1`. `test`: somebody asked for it; nothing
    was seen.
    """

    sighting: Sighting
    deployment: Deployment
    model: str
    test: bool = False
