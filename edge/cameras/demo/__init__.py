"""The demo camera: a painted forest edge to which a tiger comes, stops, looks at you, and goes on."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import Pace
from edge.cameras.demo import forest, shape, tiger
from edge.cameras.demo.gait import STRIDE
from edge.types import BBox, Frame

FRAMES_PER_SECOND = 5
DURATION = 25.0
"""Seconds of the whole scene."""

START = datetime(2026, 1, 1, 6, 12, tzinfo=UTC)

STRIP = 28
"""Rows of the dark strip at the foot of each picture, which says that it is simulated."""

_GROUND = 612.0
_ENTERS, _STOPS, _LEAVES = 5.4, 9.8, 13.2
_SPEED = 172.0
_FIRST = -52.0
_HURRY = 150.0
_EASE = 0.7
_MARGIN = 64
_MIDDLE = _FIRST + _SPEED * (_STOPS - _ENTERS - _EASE / 2)


# What the morning's air does to colors: a little towards grey, a little towards the mist, and to 0-255.
_GRADE = np.hstack([255 * (0.84 * np.eye(3) + 0.11 / 3), 255 * 0.06 * np.array([[0.58], [0.74], [0.78]])]).astype(
    np.float32
)


def _walked(t: float) -> tuple[float, float]:
    """How far the tiger has come at `t`, in pixels from the left, and its pace, 0-1; it stops and sets off gently."""
    left, gone = max(0.0, _STOPS - t), max(0.0, t - _LEAVES)
    time = max(left, gone)
    way = _SPEED * (time - _EASE / 2 if time > _EASE else time * time / (2 * _EASE))
    # It comes and goes at a brisk pace: pictures of a nose or a tail alone are few.
    if gone:
        return _MIDDLE + way + _HURRY * max(0.0, gone - 1.2) ** 2 / 2, min(1.0, time / _EASE)
    return _MIDDLE - way - 1.6 * _HURRY * math.exp((_ENTERS - t) / 0.9), min(1.0, time / _EASE)


def _ease(low: float, high: float, value: float) -> float:
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return share * share * (3 - 2 * share)


def _lean(t: float, pace: float) -> float:
    """It shifts its weight while it stands."""
    return (1 - pace) * 0.026 * math.sin(2.6 * (t - _STOPS))


def _pose(t: float, x: float, pace: float) -> tiger.Pose:
    turned = _ease(_STOPS - 0.3, _STOPS + 0.9, t) - _ease(_LEAVES - 0.6, _LEAVES + 0.5, t)
    bob = 0.010 * math.sin(4 * math.pi * x / (STRIDE * shape.SCALE)) * pace
    return tiger.Pose(
        phase=x / (STRIDE * shape.SCALE),
        pace=pace,
        yaw=1.32 * turned + 0.05 * math.sin(1.3 * t),
        nod=-0.035 + bob + 0.045 * turned,
        swing=math.sin(1.7 * t),
        lean=_lean(t, pace),
    )


def animal_box(t: float) -> BBox | None:
    """Where the animal is at `t` seconds, tail and all; None while nothing of it is in the picture."""
    x, _ = _walked(t)
    left, right = x + shape.LEFT * shape.SCALE, x + shape.RIGHT * shape.SCALE
    left, right = max(0.0, left), min(float(forest.WIDTH), right)
    if t < _ENTERS or right <= left:
        return None
    top = _GROUND - shape.TOP * shape.SCALE
    return BBox(left / forest.WIDTH, top / forest.HEIGHT, (right - left) / forest.WIDTH, shape.SIZE[1] / forest.HEIGHT)


@lru_cache(maxsize=1)
def _shadow() -> NDArray[np.float32]:
    """The soft dark under the animal, 0-1 over its canvas."""
    width, height = shape.SIZE
    mask = np.zeros((height, width), np.float32)
    middle = (round(-shape.LEFT * shape.SCALE), round((shape.TOP - 0.03) * shape.SCALE))
    cv2.ellipse(mask, middle, (210, 15), 0, 0, 360, 0.55, -1)
    return cv2.GaussianBlur(mask, (0, 0), 13).astype(np.float32)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int8]:
    random = np.random.default_rng(8)
    return (
        np.round(random.normal(0, 2.0, (forest.HEIGHT + _MARGIN, forest.WIDTH + _MARGIN, 1)))
        .astype(np.int8)
        .repeat(3, 2)
    )


def _place(picture: NDArray[np.uint8], animal: NDArray[np.float32], x: float) -> None:
    """Lay the animal and its shadow into the picture; what sticks out is cut off."""
    left = round(x + shape.LEFT * shape.SCALE)
    top = round(_GROUND - shape.TOP * shape.SCALE)
    start, stop = max(0, -left), min(animal.shape[1], forest.WIDTH - left)
    if stop <= start:
        return
    height = animal.shape[0]
    spot = picture[top : top + height, left + start : left + stop]
    cover = animal[:, start:stop, 3:]
    shaded = spot * (1 - _shadow()[:, start:stop, None])
    lit = cv2.transform(animal[:, start:stop, :3], _GRADE)
    spot[...] = (shaded + (lit - shaded) * cover).astype(np.uint8)


@lru_cache(maxsize=1)
def _strip() -> NDArray[np.uint8]:
    """The strip that a camera trap prints under its pictures, (STRIP, 1280, 3)."""
    strip = np.full((STRIP, forest.WIDTH, 3), (20, 22, 20), np.uint8)
    for text, x in (("SIMULATED", 18), ("edge-watch demo", 560), (f"{START:%Y-%m-%d  %H:%M}", 1010), ("7 C", 1218)):
        cv2.putText(strip, text, (x, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.52, (214, 222, 222), 1, cv2.LINE_AA)
    return strip


def draw(t: float) -> NDArray[np.uint8]:
    """The picture at `t` seconds, (720, 1280, 3) uint8, BGR; the same `t` gives the same picture."""
    picture = forest.background().copy()
    picture[forest.HORIZON + 40 :] = forest.sway(picture[forest.HORIZON + 40 :], t + 0.7, 1.2)
    if animal_box(t) is not None:
        x, pace = _walked(t)
        _place(picture, tiger.render(_pose(t, x, pace)), x + _lean(t, pace) * shape.SCALE)
    front = forest.sway(forest.foreground(), t, 3.5)
    behind = picture[forest.GRASS_TOP :]
    clear = cv2.cvtColor(255 - front[..., 3], cv2.COLOR_GRAY2BGR)
    behind[...] = cv2.add(cv2.multiply(behind, clear, scale=1 / 255), front[..., :3])
    shift = np.random.default_rng(round(t * 1000)).integers(0, _MARGIN, 2)
    grain = _grain()[shift[0] : shift[0] + forest.HEIGHT, shift[1] : shift[1] + forest.WIDTH]
    picture = cv2.add(picture, grain, dtype=cv2.CV_8U)  # type: ignore[assignment]
    picture[-STRIP:] = _strip()
    return picture


class DemoCamera:
    """The scene as a camera: always the same frames with the same times, so that events keep their ids."""

    live = False

    def __init__(self, pace: Pace = "full") -> None:
        self.name, self.skipped = "the demo scene (simulated)", 0
        self._pace = pace

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the scene, (720, 1280, 3) BGR, five frames a second of its own time."""
        step = timedelta(seconds=1 / FRAMES_PER_SECOND)
        for index in range(round(DURATION * FRAMES_PER_SECOND)):
            if stop.is_set() or (self._pace == "real" and index and stop.wait(step.total_seconds())):
                return
            yield Frame(draw(index / FRAMES_PER_SECOND), START + index * step, index, "demo", replay=True)
