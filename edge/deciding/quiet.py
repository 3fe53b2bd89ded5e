"""What was watched without a target in it: the hours, and the highest scores of what was something else.

The bundle brings general numbers (`alarms.json`); a trap gathers its own (`quiet.json`, by `edge-watch calibrate`),
which take their place hour by hour.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from edge.deciding.budget import Peak, Thresholds, log_odds
from edge.deciding.verdict import SHARES
from edge.types import Candidate, Lighting, Named
from models.bundle import ALARMS, TFLITE, ModelBundle
from models.errors import BundleError, OutboxError
from models.manifest import LIGHTINGS
from models.typed import typed

FILE_NAME = "quiet.json"
SCHEMA_VERSION = 1
PAUSE = timedelta(seconds=10)
"""Frames further apart than this do not tell what happened in between."""
OTHERS_A_DAY = 4.0
"""So many visits of other animals are expected a day, until a place's own hours tell."""
WHOLE_DAY = 24.0
"""From so many of its own hours on, a place's shares of day and night are taken as they were found."""


Groups = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours in which no target appeared, and what was taken for one.

    `looks_per_second`: of the watch. `hours`: watched, by lighting. `peaks`: at most one of a species within
    `event_gap`. `visits`: real ones, with the highest score that each reached, for the recall. `made`: where all this
    comes from, in words.
    """

    looks_per_second: float
    hours: dict[str, float]
    peaks: tuple[Peak, ...]
    visits: tuple[Peak, ...] = ()
    made: str = ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one source of a place added.

    `source`: a file's fingerprint, or a camera and when it was watched. `model`: as `model_id` has it. `species`: what
    was not there, by the user's word.
    """

    source: str
    model: str
    species: tuple[str, ...]
    hours: QuietHours

    def same(self, other: Gathered) -> bool:
        """Whether the other takes its place: the same file, whatever its name, with the same model and rate."""
        file = self.source.rpartition("@")[2] == other.source.rpartition("@")[2]
        return file and self.model == other.model and self.hours.looks_per_second == other.hours.looks_per_second


@dataclass(frozen=True, slots=True)
class _Kept:
    """All of `alarms.json`."""

    schema_version: int
    general: tuple[QuietHours, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """All of `quiet.json`."""

    schema_version: int
    quiet: tuple[Gathered, ...]


def taken_for(candidate: Candidate, groups: Groups) -> dict[str, float]:
    """The highest probability with which something may be told as each class and group.

    That of a group is also one of its classes' that have a share in it: a group that is told alerts of each of them.
    """
    found = dict(candidate.highest)
    for group, members in groups.items():
        for name in members:
            if candidate.highest.get(name, 0.0) >= SHARES:
                found[name] = max(found[name], min(1.0, candidate.highest.get(group, 0.0)))
    return found


class Watched:
    """Counts the hours of what passes, and keeps the peaks that may matter.

    Args:
        least: by species, or group, and lighting, from which score on a peak is kept.
        groups: names of groups and of the classes in each.
        gap: peaks of one species so close in time would be one visit, so one alert: the highest of them is kept.
    """

    def __init__(self, least: Thresholds, gap: timedelta, groups: Groups) -> None:
        self._groups = groups
        self.hours: dict[str, float] = dict.fromkeys(LIGHTINGS, 0.0)
        self._least, self._gap = least, gap
        self._found: list[Peak] = []
        self._newest: dict[tuple[str, Lighting], tuple[datetime, int]] = {}
        self._last: datetime | None = None

    def pass_on(self, named: Iterable[Named]) -> Iterator[Named]:
        """Each frame, its time counted; stills have none."""
        for trigger, predictions in named:
            if not trigger.frame.still:
                now = trigger.frame.timestamp
                passed = now - self._last if self._last else timedelta(0)
                if timedelta(0) < passed <= PAUSE:
                    self.hours[trigger.lighting] += passed / timedelta(hours=1)
                self._last = now
            yield trigger, predictions

    def add(self, candidate: Candidate) -> list[Peak]:
        """Hear of something that was followed; returns what it was taken for with enough certainty to matter."""
        found = []
        for species, likely in taken_for(candidate, self._groups).items():
            score = log_odds(likely)
            if species in self._least and score >= self._least[species][candidate.lighting]:
                found.append(Peak(species, candidate.lighting, score, self.hours[candidate.lighting]))
                self._keep(found[-1], candidate.at)
        return found

    def _keep(self, peak: Peak, at: datetime) -> None:
        begun, index = self._newest.get((peak.species, peak.lighting), (None, -1))
        if begun is None or abs(at - begun) >= self._gap:
            self._newest[peak.species, peak.lighting] = at, len(self._found)
            self._found.append(peak)
        elif peak.score > self._found[index].score:
            self._found[index] = dataclasses.replace(peak, at=self._found[index].at)

    def quiet_hours(self, looks_per_second: float) -> QuietHours:
        """All of it."""
        return QuietHours(looks_per_second, dict(self.hours), tuple(self._found))


def model_id(bundle: ModelBundle) -> str:
    """What scores depend on: the bundle's title, its network and its temperature. Other models, other evidence."""
    network = bundle.manifest.files.get(TFLITE, "")
    return f"{bundle.title}, {network[:12]}, temperature {bundle.manifest.temperature:g}"


def general(bundle: ModelBundle) -> tuple[QuietHours, ...]:
    """What the bundle brings; nothing where it has no `alarms.json`.

    Raises:
        BundleError: the file is not as it should be.
    """
    if ALARMS not in bundle.manifest.files:
        return ()
    try:
        found: _Kept = _read(_Kept, bundle.path / ALARMS)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.path / ALARMS}: expected hours and peaks of schema {SCHEMA_VERSION}, found {error}; "
            "copy the bundle again"
        ) from error
    return found.general


def general_text(hours: Iterable[QuietHours]) -> str:
    """The text of `alarms.json`."""
    return _text(_Kept(SCHEMA_VERSION, tuple(hours)))


def read_quiet(file: Path) -> tuple[Gathered, ...]:
    """What a place has gathered; nothing where there is no file.

    Raises:
        OutboxError: the file is damaged, or cannot be read.
    """
    try:
        found: _Place = _read(_Place, file)
    except FileNotFoundError:
        return ()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OutboxError(
            f"{file}: expected quiet hours of schema {SCHEMA_VERSION}, found {error}; "
            "`edge-watch calibrate --reset` begins anew"
        ) from error
    return found.quiet


def write_quiet(file: Path, quiet: Iterable[Gathered]) -> None:
    """Write what a place has gathered, beside its file, then rename.

    Raises:
        OutboxError: the file cannot be written.
    """
    beside = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(_text(_Place(SCHEMA_VERSION, tuple(quiet))), encoding="utf-8")
        os.replace(beside, file)
    except OSError as error:
        raise OutboxError(f"cannot write {file}: {error}; is there space left on the disk?") from error


def _read(kind: Any, file: Path) -> Any:
    raw = json.loads(file.read_text(encoding="utf-8"))
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version {version}")
    return typed(kind, raw)


def _text(kept: Any) -> str:
    return json.dumps(dataclasses.asdict(kept), default=str) + "\n"


@dataclass(frozen=True, slots=True)
class Combined:
    """The evidence that counts.

    `hours`: as so many of a time that has day and night, and other animals. `own`: hours of this place; `general`: of
    others, with visits of `others` that are none of the targets.
    """

    hours: float
    own: float
    general: float
    others: int
    peaks: tuple[Peak, ...]
    visits: tuple[Peak, ...]
    looks_per_second: float
    made: str


def combined(
    general: Sequence[QuietHours],
    quiet: Iterable[Gathered],
    model: str,
    targets: Collection[str],
    looks_per_second: float,
) -> Combined:
    """The general numbers with a place's own in their place, hour by hour.

    Of each lighting, general hours count only as far as the place has fewer; of them the first, for they lie in no
    order. QuietHours of the nearest rate of looks is taken.

    Args:
        general: what the bundle brings.
        quiet: what the place has gathered: what was calibrated for all targets, with this very model, counts.
        model: see `model_id`.
        targets: what alerts.
        looks_per_second: of the watch to come.
    """
    fits = [each for each in quiet if each.model == model and set(targets) <= set(each.species)]
    rate = _nearest([each.hours for each in fits] or general, looks_per_second)
    own = [each.hours for each in fits if each.hours.looks_per_second == rate]
    have = {lighting: math.fsum(each.hours.get(lighting, 0.0) for each in own) for lighting in LIGHTINGS}
    peaks = [each for place in own for each in place.peaks]
    hours, made = dict(have), ""
    visits: tuple[Peak, ...] = ()
    others = 0
    base = next((each for each in general if each.looks_per_second == _nearest(general, looks_per_second)), None)
    if base is not None:
        left = {name: max(0.0, base.hours.get(name, 0.0) - have[name]) for name in LIGHTINGS}
        hours = {name: have[name] + left[name] for name in LIGHTINGS}
        peaks += [each for each in base.peaks if each.at <= left[each.lighting] and left[each.lighting] > 0]
        visits, made = base.visits, base.made
        others = sum(visit.species not in targets for visit in visits) if any(left.values()) else 0
    mine, all_hours = math.fsum(have.values()), math.fsum(hours.values())
    count = balanced(hours, have)
    if others:
        count = min(count, 24 * others / OTHERS_A_DAY)
    return Combined(count, mine, all_hours - mine, others, tuple(peaks), visits, rate, made)


def balanced(hours: Mapping[Lighting, float], own: Mapping[Lighting, float]) -> float:
    """Hours by day and night, as so many of a time that has both: no more than the scarcer one supports.

    Half of each is expected, or, once a place has watched for a day of its own, what it found.
    """
    mine = math.fsum(own.values())
    shares = {name: own[name] / mine if mine >= WHOLE_DAY else 1 / len(LIGHTINGS) for name in LIGHTINGS}
    return min(hours[name] / share for name, share in shares.items() if share > 0)


def _nearest(hours: Sequence[QuietHours], looks_per_second: float) -> float:
    rates = [each.looks_per_second for each in hours]
    return min(rates, key=lambda rate: abs(math.log(rate / looks_per_second)), default=looks_per_second)
