"""triggers -> crops: the square parts of a frame that are worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge.types import WHOLE, BBox, Crop, Cropped, Trigger

LEAST_PIXELS = 96
"""A smaller crop shows the network little but blur."""


def crops(triggers: Iterable[Trigger], margin: float = 0.2, most: int = 2) -> Iterator[Cropped]:
    """For each trigger its crops, the largest regions first.

    Args:
        triggers: one per frame; a quiet one passes with no crops.
        margin: share of the region's longer side that is added on each side.
        most: crops per frame; more regions than this are left out, smallest first.
    """
    for trigger in triggers:
        height, width = trigger.frame.image.shape[:2]
        boxes: list[BBox] = []
        for region in trigger.regions:
            box = region if region == WHOLE else square(region, margin, width, height)
            if len(boxes) < most and not any(box.iou(other) > 0.5 for other in boxes):
                boxes.append(box)
        yield trigger, tuple(Crop(trigger, box) for box in boxes)


def square(region: BBox, margin: float, width: int, height: int) -> BBox:
    """A box around a region that is square in pixels and inside a frame of width x height pixels.

    It is moved, not cut, at the frame's edge; where it is larger than the frame it ends with the frame.
    """
    side = max(region.width * width, region.height * height) * (1 + 2 * margin)
    side = max(side, LEAST_PIXELS)
    across, down = min(side / width, 1.0), min(side / height, 1.0)
    x, y = region.center
    left, top = min(max(x - across / 2, 0.0), 1 - across), min(max(y - down / 2, 0.0), 1 - down)
    return BBox(left, top, across, down)
