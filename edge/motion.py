"""frames -> triggers: where something moves that did not move before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import WHOLE, BBox, Frame, Lighting, Trigger
from models.preprocess import is_infrared

ROWS = 180
"""Motion is looked for in a picture of about this many rows."""
BURST = 5
"""Triggers that pass before `camera_delay` begins, as a trail camera takes a few photos at a time: one look is no
sighting."""


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """What counts as motion.

    `variance_threshold`: squared distance from the background, in variances, from which a pixel is foreground (MOG2).
    `history`: frames over which the background is learned.
    `least_area`: share of the frame that a region must fill.
    `switch_area`: share of the frame above which a change is one of light (a cloud, the infrared lamp), not an animal.
    `settle`: how long nothing is reported while the background is learned, at the start and after such a change.
    """

    variance_threshold: float = 25.0
    history: int = 500
    least_area: float = 0.001
    switch_area: float = 0.5
    settle: timedelta = timedelta(seconds=2)


def triggers(
    frames: Iterable[Frame], settings: MotionSettings = MotionSettings(), camera_delay: timedelta = timedelta(0)
) -> Iterator[Trigger]:
    """One trigger per frame; quiet frames have no regions.

    Args:
        frames: of one camera, in order. A still is a trigger as a whole.
        settings: what counts as motion.
        camera_delay: how long after a burst of triggers further motion is ignored (Camtrap DP `cameraDelay`).
    """
    background, quiet_until, size, burst = _background(settings), None, None, 0
    for frame in frames:
        lighting: Lighting = "night" if is_infrared(frame.image) else "day"
        if frame.still:
            yield Trigger(frame, (WHOLE,), lighting)
            continue
        # A clock that was set back must not make the trap deaf until the old time is reached again.
        if quiet_until is not None and quiet_until - frame.timestamp > max(settings.settle, camera_delay):
            quiet_until = frame.timestamp
        if quiet_until is None or frame.image.shape != size:
            background, size = _background(settings), frame.image.shape
            quiet_until = frame.timestamp + settings.settle
        mask = _foreground(frame.image, background)
        if np.count_nonzero(mask) > settings.switch_area * mask.size:
            background = _background(settings)
            background.apply(_luma(frame.image))
            quiet_until = frame.timestamp + settings.settle
        regions = _regions(mask, settings.least_area) if frame.timestamp >= quiet_until else ()
        burst += bool(regions)
        if camera_delay and burst == BURST:
            quiet_until, burst = frame.timestamp + camera_delay, 0
        yield Trigger(frame, regions, lighting)


def _background(settings: MotionSettings) -> cv2.BackgroundSubtractorMOG2:
    return cv2.createBackgroundSubtractorMOG2(settings.history, settings.variance_threshold, detectShadows=False)


def _luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR to (about 180, ...) uint8 grey, scaled by a whole number."""
    factor = max(1, round(image.shape[0] / ROWS))
    width, height = image.shape[1] // factor, image.shape[0] // factor
    small = cv2.resize(image[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]


def _foreground(image: NDArray[np.uint8], background: cv2.BackgroundSubtractorMOG2) -> NDArray[np.uint8]:
    mask = background.apply(_luma(image))
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))  # type: ignore[return-value]


def _regions(mask: NDArray[np.uint8], least_area: float) -> tuple[BBox, ...]:
    """Boxes around what belongs together, the one with most moving pixels first."""
    height, width = mask.shape
    joined = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(joined)
    moving = np.bincount(numbers[mask > 0], minlength=count)
    largest = sorted(range(1, count), key=lambda number: -int(moving[number]))
    return tuple(
        BBox(left / width, top / height, box_width / width, box_height / height)
        for left, top, box_width, box_height, _ in (
            stats[number] for number in largest if moving[number] >= least_area * mask.size
        )
    )
