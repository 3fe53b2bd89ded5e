"""From moving pixels to boxes: what belongs together, what is only light, and what was there a moment ago."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import BBox

JOIN = np.ones((9, 9), np.uint8)
SAME_TEXTURE = 0.75
"""Correlation with the background above which a region shows the same things in another light."""
CELLS, BUSY, STEP = (16, 9), 12.0, 0.04
MEMORY = 2


def find_regions(
    mask: NDArray[np.uint8], luma: NDArray[np.uint8], mean: NDArray[np.float32], least_area: float, least_size: float
) -> list[BBox]:
    """Boxes around what belongs together, the one with most moving pixels first.

    A shadow or a patch of sun changes how bright things are, not what they are: where a picture still looks like the
    background but for brightness and contrast, nothing has come.

    Args:
        mask: (height, width) uint8, 255 where something moves.
        luma: (height, width) uint8, the picture.
        mean: (height, width) float32, the background.
        least_area: share of the frame that must move within a region.
        least_size: share of the frame's height that a region's longer side must reach.
    """
    height, width = mask.shape
    # Contours cost a tenth of cv2.connectedComponentsWithStats.
    contours, _ = cv2.findContours(cv2.dilate(mask, JOIN), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found: list[tuple[int, BBox]] = []
    for contour in contours:
        left, top, across, down = cv2.boundingRect(contour)
        if max(across, down) < least_size * height:
            continue
        part = np.s_[top : top + down, left : left + across]
        region = cv2.drawContours(np.zeros((down, across), np.uint8), [contour], 0, 255, -1, offset=(-left, -top))
        moving = cv2.bitwise_and(mask[part], region)
        area = cv2.countNonZero(moving)
        x, y, box_width, box_height = cv2.boundingRect(moving)
        if area < least_area * mask.size or max(box_width, box_height) < least_size * height:
            continue
        there = moving > 0
        if correlation(luma[part][there], mean[part][there]) > SAME_TEXTURE:
            continue
        found.append((area, BBox((left + x) / width, (top + y) / height, box_width / width, box_height / height)))
    return [box for _, box in sorted(found, key=lambda each: -each[0])]


def correlation(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Pearson's, of the same pixels in two pictures; 0 where one of them is flat."""
    first, second = one.astype(np.float32), other.astype(np.float32)
    first -= first.mean()
    second -= second.mean()
    scale = float(np.sqrt(first @ first) * np.sqrt(second @ second))
    return float(first @ second) / scale if scale > 1e-3 else 0.0


def scattered(mask: NDArray[np.uint8]) -> float:
    """The share 0-1 of a frame's 16 x 9 cells in which something moves."""
    return float((cv2.resize(mask, CELLS, interpolation=cv2.INTER_AREA) > BUSY).mean())


class Followed:
    """Remembers the boxes of the last frames: a raindrop or a leaf is somewhere else in the next."""

    def __init__(self) -> None:
        self._boxes: list[tuple[BBox, int, int]] = []
        self._frame = 0

    def lasting(self, boxes: Sequence[BBox], looks: int) -> tuple[BBox, ...]:
        """Those of a frame's boxes that have been seen in so many frames, this one included, hardly elsewhere."""
        self._frame += 1
        known = [each for each in self._boxes if self._frame - each[1] <= MEMORY]
        now = []
        for box in boxes:
            grown = BBox(box.x - STEP, box.y - STEP, box.width + 2 * STEP, box.height + 2 * STEP)
            seen = max((times for other, _, times in known if grown.intersection(other) > 0), default=0)
            now.append((box, self._frame, seen + 1))
        self._boxes = known + now
        return tuple(box for box, _, times in now if times >= looks)

    def forget(self) -> None:
        self._boxes = []
