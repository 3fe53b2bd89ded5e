"""Clips made worse on their way into the chain: smaller, darker, noisier, or with fewer frames."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import Frame

QUIET = 20
"""Frames at the start of a clip, without an animal, by which its noise is measured."""
LEAST_NOISE = 1.0
"""Grey levels: a clip whose compression took all its noise away gets so much."""
FIELDS = 8


def half(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Half as wide and half as high."""
    for frame in frames:
        size = frame.image.shape[1] // 2, frame.image.shape[0] // 2
        yield _with(frame, cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))


def dark(frames: Iterable[Frame]) -> Iterator[Frame]:
    """A quarter as bright, in whole grey levels, as a camera that is set for more light gives it."""
    for frame in frames:
        yield _with(frame, np.round(frame.image * 0.25).astype(np.uint8))


def noisy(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Twice the noise: added is what doubles the standard deviation of what the clip's quiet frames have."""
    rest = iter(frames)
    quiet = list(itertools.islice(rest, QUIET))
    if not quiet:
        return
    strength = max(noise([frame.image for frame in quiet]), LEAST_NOISE) * 3**0.5
    dice = np.random.default_rng(1)
    # Of brightness alone: an infrared picture stays grey. Fields are used again, shifted: drawing them takes long.
    shape = quiet[0].image.shape[:2]
    fields = [dice.normal(0, strength, shape).astype(np.float32) for _ in range(FIELDS)]
    for frame in itertools.chain(quiet, rest):
        shift = tuple(dice.integers(0, side) for side in shape)
        added = np.roll(fields[dice.integers(FIELDS)], shift, (0, 1))
        image = np.clip(np.round(frame.image.astype(np.float32) + added[..., None]), 0, 255)
        yield _with(frame, image.astype(np.uint8))


def slow(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Two frames a second."""
    start, given = None, -1
    for frame in frames:
        start = start or frame.timestamp
        number = int((frame.timestamp - start).total_seconds() * 2 + 0.01)
        if number > given:
            given = number
            yield frame


def noise(images: Sequence[NDArray[np.uint8]]) -> float:
    """The standard deviation of the noise of (height, width, 3) uint8 BGR pictures of a scene that stands still.

    By the mean absolute difference of brightness from one to the next, of the calmest half of them: what moves in some
    counts little.
    """
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image in images]
    mean = sorted(float(np.abs(later - sooner).mean()) for sooner, later in itertools.pairwise(grey))
    calm = mean[: max(1, len(mean) // 2)]
    return float(np.median(calm)) * (np.pi / 2) ** 0.5 / 2**0.5 if mean else 0.0


def _with(frame: Frame, image: Any) -> Frame:
    return dataclasses.replace(frame, image=image, luma=None)


Change = Callable[[Iterable[Frame]], Iterator[Frame]]
CHANGES: dict[str, Change] = {
    "half size": half,
    "a quarter as bright": dark,
    "twice the noise": noisy,
    "2 frames a second": slow,
}
