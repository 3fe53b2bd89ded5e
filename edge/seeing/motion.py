"""frames -> triggers: where something moves that did not move before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.seeing.background import Background
from edge.seeing.exposure import lifted
from edge.seeing.regions import Followed, find_regions, scattered
from edge.types import WHOLE, BBox, Frame, Lighting, Trigger
from models.preprocess import is_infrared

ROWS = 180
"""Motion is looked for in a picture of about this many rows."""
BURST = 5
"""Triggers that pass before `camera_delay` begins, as a trail camera takes a few photos at a time: one look is no
sighting."""
LIGHT_EVERY = timedelta(seconds=1)
"""How often a quiet frame is asked whether it is grey; one with motion always is."""
SLOW = timedelta(seconds=0.5)
"""Frames further apart than this are not compared with one another: an animal has moved on in between."""


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """What counts as motion.

    `variance_threshold`: squared distance from the background, in variances, from which a pixel is foreground (MOG2).
    `history`: frames over which the background is learned.
    `least_area`: share of the frame that must move within a region.
    `least_size`: share of the frame's height that a region's longer side must reach.
    `masks`: where nothing is looked for.
    `looks`: frames in which a region must be seen before it counts.
    `switch_area`: share of the frame above which a change is one of light (a cloud, the infrared lamp), not an animal.
    `spread`: share of the frame's cells above which motion everywhere is one of the camera, or of a storm.
    `settle`: how long nothing is reported while the background is learned, at the start and after such a change.
    `patience`: after so long without a settled picture the whole frame is looked at: a storm must not blind the trap.
    """

    variance_threshold: float = 25.0
    history: int = 500
    least_area: float = 0.001
    least_size: float = 0.04
    masks: tuple[BBox, ...] = ()
    looks: int = 2
    switch_area: float = 0.4
    spread: float = 0.5
    settle: timedelta = timedelta(seconds=2)
    patience: timedelta = timedelta(seconds=10)


def triggers(
    frames: Iterable[Frame], settings: MotionSettings = MotionSettings(), camera_delay: timedelta = timedelta(0)
) -> Iterator[Trigger]:
    """One trigger per frame; quiet frames have no regions.

    Args:
        frames: of one camera, in order. A still is a trigger as a whole.
        settings: what counts as motion.
        camera_delay: how long after a burst of triggers further motion is ignored (Camtrap DP `cameraDelay`).
    """
    motion, size, burst = _Motion(settings), None, 0
    grey_due, delay = _Once(LIGHT_EVERY), _Hold()
    lighting: Lighting = "day"
    for frame in frames:
        now = frame.timestamp
        if frame.still:
            yield Trigger(frame, (WHOLE,), _lighting(frame))
            continue
        if frame.image.shape != size:
            motion, size = _Motion(settings), frame.image.shape
        regions = motion.regions(luma_of(frame), now)
        if delay.holds(now, camera_delay):
            regions = ()
        if grey_due(now) or regions:
            lighting = _lighting(frame)
        burst += bool(regions)
        if camera_delay and burst == BURST:
            delay.begin(now, camera_delay)
            burst = 0
        yield Trigger(frame, regions, lighting)


def luma_of(frame: Frame) -> NDArray[np.uint8]:
    """The frame as (about 180, ...) uint8 grey: what the camera made, else its picture scaled."""
    return luma(frame.image) if frame.luma is None else frame.luma


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR to (about 180, ...) uint8 grey, scaled by a whole number."""
    factor = max(1, round(image.shape[0] / ROWS))
    width, height = image.shape[1] // factor, image.shape[0] // factor
    small = cv2.resize(image[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]


def _lighting(frame: Frame) -> Lighting:
    # In the dark the colours lie close together, too; every fourth pixel tells.
    return "night" if is_infrared(lifted(frame.image[::4, ::4])) else "day"


class _Hold:
    """A time that has to pass; a clock that is set back ends it, or the trap would be deaf for as long as that."""

    def __init__(self) -> None:
        self._until: datetime | None = None

    def begin(self, now: datetime, duration: timedelta) -> None:
        self._until = now + duration

    def holds(self, now: datetime, duration: timedelta) -> bool:
        return self._until is not None and timedelta(0) < self._until - now <= duration


class _Once:
    """Says once in a while that it is time; a clock that jumps makes it sooner, never later."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._last: datetime | None = None

    def __call__(self, now: datetime) -> bool:
        due = self._last is None or abs(now - self._last) >= self._every
        if due:
            self._last = now
        return due


class _Motion:
    """The moving regions of one camera's pictures, all of one size, a picture at a time."""

    def __init__(self, settings: MotionSettings) -> None:
        self._settings, self._followed, self._hold = settings, Followed(), _Hold()
        self._background: Background | None = None
        self._unsettled: datetime | None = None
        self._last: datetime | None = None
        self._masked: NDArray[np.uint8]

    def regions(self, luma: NDArray[np.uint8], now: datetime) -> tuple[BBox, ...]:
        """Where something moves in a (height, width) uint8 picture, most motion first."""
        settings, pause = self._settings, now - self._last if self._last else timedelta(0)
        self._last = now
        if self._background is None:
            self._background = Background(luma, settings.history, settings.variance_threshold)
            self._masked = seen_part(luma.shape[:2], settings.masks)
            self._hold.begin(now, settings.settle)
            return ()
        mask = self._background.foreground(luma)
        if settings.masks:
            mask = cv2.bitwise_and(mask, self._masked)  # type: ignore[assignment]
        moving = cv2.countNonZero(mask) / mask.size
        if moving > settings.switch_area:
            self._background.relearn(luma)
            self._followed.forget()
            self._hold.begin(now, settings.settle)
            return self._everywhere(now)
        found: list[BBox] = []
        settled = not self._hold.holds(now, settings.settle)
        if settled and moving >= settings.least_area:
            mask = self._background.restful(mask)
            if scattered(mask) > settings.spread:
                self._background.learn(luma)
                return self._everywhere(now)
            found = find_regions(mask, luma, self._background.mean, settings.least_area, settings.least_size)
        self._background.learn(luma)
        if settled:
            self._unsettled = None
        return self._followed.lasting(found, 1 if abs(pause) > SLOW else settings.looks)

    def _everywhere(self, now: datetime) -> tuple[BBox, ...]:
        """Motion everywhere: nothing, or, once that has gone on for too long, the whole frame."""
        if self._unsettled is None or now < self._unsettled:
            self._unsettled = now
        return (WHOLE,) if now - self._unsettled > self._settings.patience else ()


def seen_part(shape: tuple[int, ...], masks: Iterable[BBox]) -> NDArray[np.uint8]:
    """255 where motion is looked for, 0 under the masks; (height, width) uint8."""
    height, width = shape
    part = np.full((height, width), 255, np.uint8)
    for box in masks:
        right, bottom = round((box.x + box.width) * width), round((box.y + box.height) * height)
        part[round(box.y * height) : bottom, round(box.x * width) : right] = 0
    return part
