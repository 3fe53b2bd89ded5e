"""People of a clip from a fixed camera above a bright floor: cut out, and pasted elsewhere."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import EdgeWatchError

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

PARTS = (("train", 0, 176), ("val", 201, 256), ("test", 281, 341))
"""Frames of each split: one second (25 frames) between them, so that no moment is on both sides."""
EVERY = 12
"""Frames between two that are cut: half a second, in which a walker takes another pose."""
MOST = {"train": 60, "val": 14, "test": 20}
PASTED = 60
MARGIN = 1.25
"""Side of a square around a person, in heights of the person."""


def read(path: Path) -> list[Image]:
    """All frames of a clip: (height, width, 3) uint8 BGR.

    Raises:
        EdgeWatchError: it cannot be read.
    """
    video, frames = cv2.VideoCapture(str(path)), []
    while (found := video.read())[0]:
        frames.append(found[1])
    if len(frames) < PARTS[-1][2]:
        raise EdgeWatchError(f"{path}: expected {PARTS[-1][2]} frames, found {len(frames)}; copy the clip again")
    return frames  # type: ignore[return-value]


def _floor(clip: Sequence[Image]) -> Image:
    """The place without people: the median of frames far apart."""
    return np.median(np.stack(clip[::17]), axis=0).astype(np.uint8)  # type: ignore[no-any-return]


def _mask(frame: Image, floor: Image) -> Image:
    """(height, width) uint8: 255 where a person is."""
    differs = cv2.absdiff(frame, floor).max(axis=2) > 28
    return cv2.morphologyEx(differs.astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((9, 5), np.uint8))  # type: ignore[return-value]


def _people(mask: Image) -> list[Box]:
    """Boxes of single people who are wholly in the picture."""
    height, width = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    return [
        (x, y, w, h) for x, y, w, h, area in stats[1:].tolist()
        if 70 <= h <= 260 and 1.3 <= h / w <= 3.5 and area > 0.3 * w * h
        and x > 3 and y > 3 and x + w < width - 3 and y + h < height - 3
    ]


def _motion(clip: Sequence[Image]) -> Iterator[Image]:
    """(height, width) uint8 masks of what moved in each frame, as the daemon's MOG2 sees it."""
    model = cv2.createBackgroundSubtractorMOG2(history=500, varThreshold=25, detectShadows=False)
    for frame in clip:
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        opened = cv2.morphologyEx(model.apply(small), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        joined = cv2.dilate(opened, np.ones((5, 3), np.uint8))
        yield cv2.resize(joined, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[misc]


def walkers(clip: Sequence[Image]) -> Iterator[tuple[str, int, Image]]:
    """Squares around single people who move: split, frame number and (side, side, 3) uint8 BGR picture."""
    draw, moved = random.Random(1), list(_motion(clip))
    for split, first, end in PARTS:
        found = [(number, box) for number in range(max(first, 10), end, EVERY) for box in _people(moved[number])]
        for number, box in sorted(draw.sample(found, min(MOST[split], len(found)))):
            yield split, number, _square(clip[number], box)


def _square(frame: Image, box: Box) -> Image:
    x, y, w, h = box
    height, width = frame.shape[:2]
    side = min(round(h * MARGIN), height)
    left = min(max(0, x + w // 2 - side // 2), width - side)
    top = min(max(0, y + h // 2 - side // 2), height - side)
    return frame[top : top + side, left : left + side]


def floors(clip: Sequence[Image]) -> Iterator[tuple[str, Image]]:
    """Squares of the floor without anybody: split and (side, side, 3) uint8 BGR picture."""
    draw, floor = random.Random(2), _floor(clip)
    height, width = floor.shape[:2]
    for split, first, end in PARTS:
        left = {"train": 10, "val": 2, "test": 2}[split]
        while left:
            number, side = draw.randrange(first, end), draw.randrange(90, 220)
            x, y = draw.randrange(width - side), draw.randrange(height - side)
            if not _mask(clip[number], floor)[y : y + side, x : x + side].any():
                yield split, clip[number][y : y + side, x : x + side]
                left -= 1


def pasted(clip: Sequence[Image], places: Sequence[Image]) -> Iterator[Image]:
    """People of the training part, cut out and set into other places: (224, 224, 3) uint8 BGR pictures."""
    draw, floor = random.Random(3), _floor(clip)
    _, first, end = PARTS[0]
    found = [(number, box) for number in range(first, end, EVERY) for box in _people(_mask(clip[number], floor))]
    for number, (x, y, w, h) in draw.sample(found, min(PASTED, len(found))):
        mask = _mask(clip[number], floor)[y : y + h, x : x + w]
        tall = draw.randrange(90, 200)
        wide = min(200, max(8, round(w * tall / h)))
        person = cv2.resize(clip[number][y : y + h, x : x + w], (wide, tall), interpolation=cv2.INTER_AREA)
        alpha = cv2.GaussianBlur(cv2.resize(cv2.erode(mask, np.ones((3, 3), np.uint8)), (wide, tall)), (3, 3), 0)
        place = cv2.resize(draw.choice(places), (224, 224), interpolation=cv2.INTER_AREA)
        left, top = draw.randrange(0, 224 - wide), draw.randrange(0, 224 - tall)
        spot = place[top : top + tall, left : left + wide]
        share = alpha[..., None].astype(np.float32) / 255
        # Clothes are lit like the place, more or less.
        lit = np.clip(person * min(2.0, max(0.5, draw.uniform(0.8, 1.2) * float(place.mean()) / 110)), 0, 255)
        spot[:] = (lit * share + spot * (1 - share)).astype(np.uint8)
        yield place  # type: ignore[misc]
