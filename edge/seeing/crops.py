"""triggers -> crops: the square parts of a frame that are worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from edge.seeing.throttle import Bucket
from edge.types import WHOLE, BBox, Crop, Cropped, Trigger
from models import boxes

GAP = 0.25
"""Regions closer than a quarter of the larger one may belong together."""
PART, LOOSE, TIGHT = 0.25, 2.0, 1.25
"""A region of less than a quarter of the other is a part of it (a head, a tail), unless the box around both is larger
than twice the two. Of two larger ones the box must fit tightly, as around the halves of an animal behind a trunk."""
EDGE = 0.01
WITHIN = 0.8
"""What lies so far within a place where something larger moved is a part of it, or before it."""


@dataclass(frozen=True, slots=True)
class CropSettings:
    """What is looked at.

    `margins`: shares of a region's longer side that are added on each side, in turn from one look at a place to the
    next: the model is wrong about another part of the looks with each, so that together they tell more.
    `most`: crops per frame, what lingers included.
    `linger`: how long a place is looked at after the last motion there, as an animal stands still.
    `again`: how often it then is.
    """

    margins: tuple[float, ...] = (boxes.MARGIN, 0.05)
    most: int = 3
    linger: timedelta = timedelta(seconds=10)
    again: timedelta = timedelta(seconds=1)


class Silence(Protocol):
    """`edge.seeing.spots.Spots`, as much of it as is needed here."""

    def silent(self, box: BBox, now: datetime) -> bool: ...


@dataclass(slots=True)
class _Place:
    """Where something moved, and the widest crop around it; when it last did, when and how often it was looked at."""

    region: BBox
    box: BBox
    moved: datetime
    looked: datetime | None = None
    looks: int = 0


def crops(
    triggers: Iterable[Trigger],
    settings: CropSettings = CropSettings(),
    bucket: Bucket | None = None,
    spots: Silence | None = None,
) -> Iterator[Cropped]:
    """For each trigger its crops, the largest regions first.

    Where nothing stands out among more regions than can be looked at, the whole frame is the first of them. Where the
    bucket does not give enough looks, those places come first that were not looked at for longest.

    Args:
        triggers: one per frame; a quiet one passes with no crops, unless something moved a moment ago.
        settings: what is looked at.
        bucket: grants looks; None for as many as there are.
        spots: places that keep moving without an animal are skipped most of the time; None for none.
    """
    places: list[_Place] = []
    for trigger in triggers:
        now = trigger.frame.timestamp
        if trigger.frame.still:
            yield trigger, tuple(Crop(trigger, box) for _, box in _squares(trigger, settings))
            continue
        # Either way: a clock that was set back must not keep a place until the old time is reached again.
        places = [place for place in places if abs(now - place.moved) <= settings.linger]
        moving: list[_Place] = []
        for region, box in _squares(trigger, settings):
            place = _moving(region, box, now, places)
            if place not in moving:
                moving.append(place)
        resting = [place for place in places if not (place in moving or _over(place, moving))]
        places = moving + resting
        wanted = [place for place in moving if not (spots and spots.silent(place.box, now))]
        wanted += [place for place in resting if not place.looked or abs(now - place.looked) >= settings.again]
        wanted = wanted[: settings.most]
        if bucket is not None:
            granted = bucket.granted(len(wanted), now)
            if granted < len(wanted):
                wanted = sorted(wanted, key=lambda place: place.looked.timestamp() if place.looked else 0.0)[:granted]
        yield trigger, tuple(Crop(trigger, _look(place, trigger, settings)) for place in wanted)


def _moving(region: BBox, box: BBox, now: datetime, places: Iterable[_Place]) -> _Place:
    """Where something moves; where that is a tail, or a moth before what stands there, the place of the whole animal.

    That goes on for as long as the place is remembered: then what moves in it stands for itself.
    """
    for place in places:
        within = region.intersection(place.region) > WITHIN * region.area
        if within and region.area < PART * place.region.area and place.region != WHOLE:
            return place
    before = [place for place in places if place.looked and place.box.iou(box) > 0.3]
    last = max(before, key=lambda place: place.looked or now, default=None)
    return _Place(region, box, now, last.looked, last.looks) if last else _Place(region, box, now)


def _look(place: _Place, trigger: Trigger, settings: CropSettings) -> BBox:
    """The crop of a place for this look at it."""
    height, width = trigger.frame.image.shape[:2]
    margin = settings.margins[place.looks % len(settings.margins)]
    place.looked, place.looks = trigger.frame.timestamp, place.looks + 1
    return place.box if place.region == WHOLE else square(place.region, margin, width, height)


def _over(place: _Place, moving: Iterable[_Place]) -> bool:
    """Whether nothing is left at a place: what moved there moves on beside it, or has gone out at the side."""
    if min(place.region.x, 1 - place.region.x - place.region.width) <= EDGE:
        return True
    box = place.box
    return any(box.intersection(other.box) > 0.3 * min(box.area, other.box.area) for other in moving)


def _squares(trigger: Trigger, settings: CropSettings) -> list[tuple[BBox, BBox]]:
    """A frame's regions, merged, each with its crop."""
    height, width = trigger.frame.image.shape[:2]
    regions = merged(trigger.regions, width, height)
    found: list[tuple[BBox, BBox]] = []
    if len(regions) > settings.most and regions[0].area < 2 * regions[settings.most].area:
        found.append((WHOLE, WHOLE))
    for region in regions:
        box = region if region == WHOLE else square(region, max(settings.margins), width, height)
        if len(found) < settings.most and not any(box.iou(other) > 0.5 for _, other in found):
            found.append((region, box))
    return found


def merged(regions: Sequence[BBox], width: int, height: int) -> list[BBox]:
    """Regions of a frame of width x height pixels, those that belong together as one; the largest first.

    The head and the legs of an animal in the grass belong together; two animals, with ground between them, do not.
    """
    left = list(regions)
    joined = True
    while joined:
        joined = False
        for index, one in enumerate(left):
            near = next((other for other in left[index + 1 :] if _together(one, other, width, height)), None)
            if near is not None:
                left.remove(near)
                left[index] = one.union(near)
                joined = True
                break
    return sorted(left, key=lambda region: -region.area)


def _together(one: BBox, other: BBox, width: int, height: int) -> bool:
    across = max(one.x, other.x) - min(one.x + one.width, other.x + other.width)
    down = max(one.y, other.y) - min(one.y + one.height, other.y + other.height)
    side = max(one.width * width, one.height * height, other.width * width, other.height * height)
    if max(across * width, down * height) > GAP * side:
        return False
    part = min(one.area, other.area) < PART * max(one.area, other.area)
    room = (LOOSE if part else TIGHT) * (one.area + other.area - one.intersection(other))
    return one.union(other).area <= room


def square(region: BBox, margin: float, width: int, height: int) -> BBox:
    """A box around a region that is square in pixels and inside a frame of width x height pixels: `models.boxes`."""
    return BBox(*boxes.square(region.as_tuple(), margin, width, height))
