"""In place of the hardware: a live camera before which coloured squares walk, and a model that tells them apart."""

from __future__ import annotations

import colorsys
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from edge.types import Frame
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint
from tests.faults.ledger import Ledger, Truth

SPECIES = tuple(f"animal {number:02}" for number in range(40))
"""So many that a species comes again only after the gap that ends its visit, and no visit has to wait for another."""
GAP_S = 20.0
"""The setting `event_gap`: longer than a restart takes, so that a visit can go on after it."""
RESTART_S = 8.0
"""No trap takes longer to see again after it was started, or the visit counts as over."""
SETTLES_S = 2.5
"""A trap that has just started learns the background for two seconds, and reports nothing."""
FRAME_S, FRAMES, REST = 0.08, 12, 2
"""A visit takes so many frames, and so many show nothing after it."""
WIDTH, HEIGHT, SIDE, STEP = 640, 360, 60, 18
PATHS = (15, 105, 195, 285)
"""Where they walk in turn: far enough from the last three that no animal is taken for one of them."""
SURE = 0.99

LABELS = LabelMap(Label.from_name(name, {}) for name in ("empty", "person", *SPECIES))
POINTS = {label.name: {light: OperatingPoint(0.8, 1, 1, 9) for light in ("day", "night")} for label in LABELS}
COLOURS = np.array(
    [
        [round(255 * part) for part in colorsys.hsv_to_rgb(number / len(SPECIES), 1, 1)]
        for number in range(len(SPECIES))
    ],
    np.uint8,
)
Image = NDArray[np.uint8]


class ColourModel:
    """A classifier that knows each species by its colour, to the bit."""

    labels = LABELS
    manifest = SimpleNamespace(operating_points=POINTS, files={}, temperature=1.0)
    bundle = SimpleNamespace(manifest=manifest, title="squares 1", labels=LABELS)

    def classify(self, image: Image, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> NDArray[np.float32]:
        left, top, width, height = box
        rows = slice(int(top * HEIGHT), int((top + height) * HEIGHT), 4)
        part = image[rows, int(left * WIDTH) : int((left + width) * WIDTH) : 4].reshape(-1, 3)
        seen = [int((part == colour).all(axis=1).sum()) for colour in COLOURS]
        best = 2 + int(np.argmax(seen)) if max(seen) > 10 else 0
        found = np.full(len(LABELS), (1 - SURE) / (len(LABELS) - 1), np.float32)
        found[best] = SURE
        return found


class Show:
    """A live camera: visit after visit until so many are owed, then nothing moves any more.

    Attributes:
        times: when each frame was handed over, in seconds of the ledger.

    Args:
        ledger: is told what is shown.
        truth: what was shown before a restart.
        visits: how many are to be owed.
        stays: the animal that was there when the trap was killed is still there when it sees again.
        seed: of where the animals walk.
    """

    live, name, skipped = True, "show:0", 0

    def __init__(self, ledger: Ledger, truth: Truth, visits: int, stays: bool, seed: int) -> None:
        self._ledger, self._truth, self._visits, self._stays = ledger, truth, visits, stays
        self._chance = random.Random(seed)
        self._scene = np.random.default_rng(1).integers(60, 180, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
        self._scene = self._scene.repeat(4, axis=0).repeat(4, axis=1)
        self._due, self._index = time.monotonic(), 0
        self.times: list[float] = []

    def visit_of(self, species: str) -> int:
        """The number of the latest visit of a species."""
        return max(visit.number for visit in self._truth.look().visits.values() if visit.species == species)

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        until = time.monotonic() + SETTLES_S
        while time.monotonic() < until and not stop.is_set():
            yield self._frame(stop)
        for number in self._numbers():
            yield from self._wait_for(SPECIES[number % len(SPECIES)], number, stop)
            if stop.is_set():
                return
            yield from self._visit(number, stop)
        while not stop.is_set():
            yield self._frame(stop)

    def _numbers(self) -> Iterator[int]:
        last = self._truth.look().latest
        goes_on = last is not None and not last.ended and time.monotonic() - last.began < GAP_S - RESTART_S
        number = last.number if last else -1
        if goes_on and self._stays:
            yield number
        while len(self._truth.look().owed) < self._visits:
            number += 1
            yield number

    def _wait_for(self, species: str, number: int, stop: threading.Event) -> Iterator[Frame]:
        """Nothing moves until the last visit of the species is over for certain."""
        before = [
            each.began for each in self._truth.visits.values() if each.species == species and each.number < number
        ]
        while before and time.monotonic() < max(before) + GAP_S + 4 and not stop.is_set():
            yield self._frame(stop)

    def _visit(self, number: int, stop: threading.Event) -> Iterator[Frame]:
        colour, top = COLOURS[number % len(SPECIES)], PATHS[number % len(PATHS)]
        right = self._chance.random() < 0.5
        self._ledger.write("begins", visit=number, species=SPECIES[number % len(SPECIES)])
        for frame in range(FRAMES):
            if stop.is_set():
                return
            # It walks out of the picture, so that nothing is left to look at when the next one comes.
            left = (FRAMES - 1 - frame) * STEP
            yield self._frame(stop, (WIDTH - SIDE - left if right else left, top), colour)
        # Whoever asks for the next frame is done with the last one.
        self._ledger.write("ends", visit=number)
        for _ in range(REST):
            yield self._frame(stop)

    def _frame(self, stop: threading.Event, place: tuple[int, int] | None = None, colour: object = 0) -> Frame:
        self._due = max(self._due + FRAME_S, time.monotonic())
        # Not `time.sleep`, which libfaketime breaks.
        stop.wait(max(0.0, self._due - time.monotonic()))
        image = self._scene.copy()
        # A working camera never gives the same picture twice.
        image[0, 0] = self._index % 256
        if place is not None:
            left, top = place
            image[top : top + SIDE, left : left + SIDE] = colour
        self._index += 1
        self.times.append(time.monotonic())
        return Frame(image, datetime.now(UTC), self._index, self.name)
