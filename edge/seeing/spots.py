"""Spots that keep moving without an animal, as a branch or a web does: remembered, looked at seldom, and forgotten."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.process import remove
from edge.types import BBox, Named
from models.errors import OutboxError
from models.labels import LabelMap
from models.manifest import OperatingPoint

log = logging.getLogger("edge-watch")

FILE_NAME = "spots.json"
SAME, LARGEST = 0.5, 0.25
"""Crops that overlap so much (IoU) are of one spot; one that fills more of the frame is none."""
SILENT = 20.0
"""So many empty looks, at least `APART` from one another, make a spot: ten minutes of waving at the least."""
APART = timedelta(seconds=30)
HALF_LIFE = timedelta(hours=6)
AGAIN = timedelta(seconds=5)
"""A spot is looked at so often all the same, for the animal that sits in front of it."""
MOST = 50
SAVE_EVERY = timedelta(minutes=10)


@dataclass(slots=True)
class Spot:
    """A place, and how many empty looks it has had of late; each counts half after `HALF_LIFE`."""

    box: BBox
    strength: float
    counted: datetime
    looked: datetime


class Spots:
    """The memory of one trap.

    Args:
        file: where it is kept over restarts; None to keep nothing, as in a replay. Removing it resets the memory, also
            of a trap that runs.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._spots = read_spots(file) if file else []
        self._written, self._changed = bool(self._spots), False
        self._saved: datetime | None = None

    def silent(self, box: BBox, now: datetime) -> bool:
        """Whether a crop is of a spot that was looked at a moment ago."""
        spot = self._find(box)
        return spot is not None and _faded(spot, now) >= SILENT and abs(now - spot.looked) < AGAIN

    def nothing(self, box: BBox, now: datetime) -> None:
        """A look at a crop showed no animal."""
        spot = self._find(box)
        if spot is None:
            if box.area <= LARGEST:
                self._spots = sorted(self._spots, key=lambda each: _faded(each, now))[-(MOST - 1) :]
                self._spots.append(Spot(box, 1.0, now, now))
            return
        spot.looked = now
        if abs(now - spot.counted) >= APART:
            strength = _faded(spot, now)
            if strength < SILENT <= strength + 1:
                log.info("a spot at %s keeps moving without an animal: it is looked at less from now on", _text(box))
            spot.strength, spot.counted, self._changed = min(strength + 1, 2 * SILENT), now, True

    def animal(self, box: BBox) -> None:
        """A look at a crop showed something for certain: what was learned of that place does not count."""
        spot = self._find(box)
        if spot is not None:
            self._spots.remove(spot)
            self._changed = True

    def list(self, now: datetime) -> list[tuple[BBox, float]]:
        """The silent spots and their strengths, the strongest first."""
        found = [(spot.box, _faded(spot, now)) for spot in self._spots]
        return sorted((each for each in found if each[1] >= SILENT), key=lambda each: -each[1])

    def keep(self, now: datetime) -> None:
        """Store the memory if it changed, seldom; forget it if its file has been removed.

        Raises:
            OutboxError: the file cannot be written.
        """
        if self._file is None:
            return
        if self._written and not self._file.exists():
            log.info("the spots were reset")
            self._spots, self._written, self._changed = [], False, False
        elif self._saved is None or abs(now - self._saved) >= SAVE_EVERY:
            self._saved = now
            self.store()

    def store(self) -> None:
        """Write the memory, if it changed, beside its file, then rename.

        Raises:
            OutboxError: the file cannot be written.
        """
        if self._file is None or not self._changed:
            return
        rows = [
            {**asdict(spot), "counted": spot.counted.isoformat(), "looked": spot.looked.isoformat()}
            for spot in self._spots
        ]
        beside = self._file.with_suffix(".new")
        try:
            beside.write_text(json.dumps(rows), encoding="utf-8")
            os.replace(beside, self._file)
        except OSError as error:
            raise OutboxError(f"cannot write {self._file}: {error}; is there space left on the disk?") from error
        self._written, self._changed = True, False

    def _find(self, box: BBox) -> Spot | None:
        spot = max(self._spots, key=lambda each: each.box.iou(box), default=None)
        return spot if spot is not None and spot.box.iou(box) >= SAME else None


def read_spots(file: Path) -> list[Spot]:
    """What is kept in a file; a damaged one is named and counts as empty."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [
            Spot(
                BBox(**row["box"]),
                float(row["strength"]),
                datetime.fromisoformat(row["counted"]),
                datetime.fromisoformat(row["looked"]),
            )
            for row in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s: expected the spots that were learned, found %s; learning anew", file, error)
        return []


def remember(
    named: Iterable[Named], spots: Spots, labels: LabelMap, points: Mapping[str, Mapping[str, OperatingPoint]]
) -> Iterator[Named]:
    """Pass predictions on, and learn from each whether its place showed an animal.

    Args:
        named: one item per frame.
        spots: learns.
        labels: the classes of the probabilities.
        points: by class name and lighting; from its operating point on something is certain.
    """
    for trigger, predictions in named:
        if not trigger.frame.still:
            now = trigger.frame.timestamp
            for prediction in predictions:
                least = [points[label.name][trigger.lighting].threshold for label in labels]
                known = zip(labels, prediction.probabilities, least, strict=True)
                if any(label.observation_type != "blank" and share >= point for label, share, point in known):
                    spots.animal(prediction.crop.box)
                else:
                    spots.nothing(prediction.crop.box, now)
        yield trigger, predictions


def _faded(spot: Spot, now: datetime) -> float:
    return float(spot.strength * 0.5 ** (abs(now - spot.counted) / HALF_LIFE))


def _text(box: BBox) -> str:
    return ",".join(f"{value:.2f}" for value in box.as_tuple())


def command(what: str, data: Path) -> str:
    """`edge-watch --spots list|reset`: what it prints.

    Raises:
        OutboxError: the file cannot be removed.
    """
    return reset(data / FILE_NAME) if what == "reset" else listing(data / FILE_NAME, datetime.now(UTC))


def listing(file: Path, now: datetime) -> str:
    """What `edge-watch --spots` prints: a line per silent spot, as it could be given as a mask."""
    found = Spots(file).list(now)
    if not found:
        return "no spots"
    return "\n".join(f"{_text(box)}  strength {strength:.0f}" for box, strength in found)


def reset(file: Path) -> str:
    """Remove the memory; a trap that runs forgets within a minute.

    Raises:
        OutboxError: the file cannot be removed.
    """
    remove(file)
    return "the spots are forgotten"
