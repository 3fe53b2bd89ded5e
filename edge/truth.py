"""`edge-watch --truth FILE`: a replay compared with what really happened."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.cameras import open_camera
from edge.rules import checked
from edge.settings import Settings
from edge.types import Frame, Sighting
from edge.watch import watch
from models.bundle import ModelBundle
from models.classifier import Classifier
from models.errors import UsageError

COLUMNS = ("clip", "species", "start_s", "end_s")


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit as it really was, in seconds from the start of the clip."""

    species: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Told:
    """One alert of a replay, in seconds from the start of the clip."""

    species: str
    start: float
    at: float
    probability: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which visits got which alerts; an alert of no visit is false."""

    visits: tuple[tuple[Visit, tuple[Told, ...]], ...]
    false: tuple[Told, ...]
    seconds: float


def report(settings: Settings, truth: Path) -> int:
    """Replay the source, print what was found and missed; nothing is published or stored.

    Returns:
        0: the report was made, whatever it says.

    Raises:
        UsageError: no target, a live source, or a truth file that does not fit.
    """
    if not settings.species or not settings.source:
        raise UsageError("--truth: expected --species and --source, found one of them missing; name target and clip")
    clip = Path(settings.source).stem
    visits = read_visits(truth, clip)
    if not visits:
        print(f"{truth} names no visit in {clip}: every alert is false")
    classifier = Classifier(ModelBundle.open(settings.model), settings.threads)
    settings = checked(settings, classifier.labels)
    print(text(compare(settings, classifier, visits)))
    return 0


def read_visits(truth: Path, clip: str) -> list[Visit]:
    """The visits of one clip.

    Raises:
        UsageError: no such file, or other columns.
    """
    try:
        with truth.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        visits = [
            Visit(row["species"], float(row["start_s"]), float(row["end_s"])) for row in rows if row["clip"] == clip
        ]
    except OSError as error:
        raise UsageError(f"--truth {truth}: expected a file that can be read, found {error}; check the path") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"--truth {truth}: expected a CSV with the columns {', '.join(COLUMNS)} and times in seconds, "
            f"found a difference at {error}"
        ) from error
    return visits


def compare(settings: Settings, classifier: Classifier, visits: Iterable[Visit]) -> Comparison:
    """Run the chain over the source and match its alerts with the visits of its targets.

    Raises:
        UsageError: a live source.
    """
    camera = open_camera(settings.source or "", "full", rotate=settings.rotate, noir=settings.noir)
    if camera.live:
        raise UsageError(f"--truth: expected a clip or photos, found the live camera {camera.name}; name a file")
    clock: list[datetime] = []
    told: list[Told] = []
    frames = _clocked(camera.frames(threading.Event()), clock)
    watch(frames, classifier, settings, iter, lambda alert: told.append(_told(alert.sighting, clock[0], clock[-1])))
    matched = tuple(
        (visit, tuple(alert for alert in told if _fits(alert, visit)))
        for visit in visits
        if visit.species in settings.species
    )
    false = tuple(alert for alert in told if not any(_fits(alert, visit) for visit, _ in matched))
    return Comparison(matched, false, (clock[-1] - clock[0]).total_seconds())


def text(comparison: Comparison) -> str:
    """The report, a line per visit and false alert and one that sums up."""
    lines = []
    for visit, alerts in comparison.visits:
        line = f"{visit.species} {visit.start:.1f}-{visit.end:.1f} s: "
        lines.append(line + (", ".join(_line(alert, visit.start) for alert in alerts) or "MISSED"))
    lines += [f"FALSE: {alert.species} at {alert.at:.1f} s, {alert.probability:.0%}" for alert in comparison.false]
    found = sum(bool(alerts) for _, alerts in comparison.visits)
    lines.append(
        f"{found} of {len(comparison.visits)} visits found with {sum(len(alerts) for _, alerts in comparison.visits)} "
        f"alerts, {len(comparison.false)} false, in {comparison.seconds:.0f} s of recording"
    )
    return "\n".join(lines)


def _line(alert: Told, start: float) -> str:
    return f"alert after {alert.at - start:.1f} s ({alert.probability:.0%})"


def _fits(alert: Told, visit: Visit) -> bool:
    return alert.species == visit.species and visit.start <= alert.at <= visit.end + 1


def _told(sighting: Sighting, start: datetime, now: datetime) -> Told:
    begun = (sighting.event_start - start).total_seconds()
    return Told(sighting.species, begun, (now - start).total_seconds(), sighting.probability)


def _clocked(frames: Iterator[Frame], clock: list[datetime]) -> Iterator[Frame]:
    """Pass the frames on and keep the first and the newest time."""
    for frame in frames:
        clock[:] = [clock[0] if clock else frame.timestamp, frame.timestamp]
        yield frame
