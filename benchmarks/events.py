"""Visits found, missed and invented over the scenes with known truth: `edge-watch` beside two peers.

    python benchmarks/events.py [--model BUNDLE] [--scenes DIR] [--clips NAME,...] [--degraded]

The target is once `tiger` alone, and once every other species in turn. Each clip goes through the daemon's chain once;
the stage that alerts then hears its sightings again for each target, as only there the targets matter. An alert of a
group that the species belongs to counts apart; one that several targets get is one alert. Visits of species that the
model does not know count as missed. The peers (benchmarks/peers.py) see the same frames with the same model. An alert
fits a visit from its start to 1 s after its end, and belongs to one at most.

The first table is with `--event-gap 15 --alert-interval 0`, since some visits lie 25 s apart, the second with the
defaults; the peers know neither. `--degraded` prints one table instead: the first again for clips of half the size, a
quarter as bright, with twice the noise, and of 2 frames a second (benchmarks/degraded.py).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2

from benchmarks.degraded import CHANGES
from benchmarks.peers import Alarm, FrigateVote, HobbyLoop
from edge.cameras.clip import Clip
from edge.deciding.alerts import alerts
from edge.settings import Settings
from edge.truth.matching import Outcome, matched
from edge.truth.summary import table
from edge.truth.visits import Visit, read_rows
from edge.truth.witness import Replay, Seen, replay
from edge.types import Frame, Sighting
from models.bundle import ModelBundle, default_bundle
from models.classifier import Classifier

SCENES = Path(__file__).resolve().parents[2] / "shared/data/scenes"
TARGET = "tiger"
OURS, PEERS = "edge-watch", ("hobby loop", "Frigate's vote")
AS_IS = "as they are"
PROCESSES = 2


@dataclass(slots=True)
class Found:
    """What a system made of the visits of some species: outcomes and false alerts, with their clips."""

    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    false: list[tuple[str, Seen]] = field(default_factory=list)

    def count(self, *states: str) -> int:
        return sum(outcome.state in states for _, outcome in self.outcomes)

    @property
    def alerts(self) -> int:
        """Of visits."""
        return sum(len(outcome.alerts) + len(outcome.by_group) for _, outcome in self.outcomes)

    @property
    def delay(self) -> float | None:
        delays = [outcome.delay for _, outcome in self.outcomes if outcome.delay is not None]
        return statistics.median(delays) if delays else None


@dataclass(slots=True)
class Result:
    """Of one system: the target, the other species, and alerts of anything on clips without animals."""

    target: Found = field(default_factory=Found)
    others: Found = field(default_factory=Found)
    empty: int = 0

    def add(self, clip: str, visits: list[Visit], told: list[Seen], seen: Replay) -> None:
        """Count the alerts of one clip."""
        mine = [visit for visit in visits if visit.species == TARGET]
        outcomes, false = matched(mine, [each for each in told if each.may_be(TARGET)], seen)
        self.target.outcomes += [(clip, outcome) for outcome in outcomes]
        self.target.false += [(clip, each) for each in false]
        outcomes, false = matched(visits, [each for each in told if each.species != TARGET], seen)
        self.others.outcomes += [(clip, outcome) for outcome in outcomes if outcome.visit.species != TARGET]
        self.others.false += [(clip, each) for each in false]
        self.empty += 0 if visits else len(told)


def look(job: tuple[Path, Settings, str, bool]) -> tuple[str, dict[str, tuple[list[Seen], Replay]]]:
    """Show a clip to `edge-watch`, and to the peers if asked to: the alerts of each."""
    path, settings, change, peers = job
    loop, vote = HobbyLoop(_classifier, _classifier.labels), FrigateVote(_classifier.labels)
    times: list[datetime] = []
    frames = _noted(_changed(path, change), times)
    found = replay(loop.watch(frames) if peers else frames, _classifier, settings, [vote] if peers else [])
    for each in found.seen:
        each.image = None  # It would travel between processes for nothing.
    told = {OURS: (in_turn(found, settings), found)}
    if peers:
        for name, alarms in zip(PEERS, (loop.alarms, vote.alarms), strict=True):
            seen = [_seen(number, alarm, times[0]) for number, alarm in enumerate(alarms)]
            told[name] = seen, dataclasses.replace(found, seen=seen)
    return path.stem, told


def in_turn(found: Replay, settings: Settings) -> list[Seen]:
    """The alerts of a replay with each of the species as the only target."""
    seen, told = {each.id: each for each in found.seen}, dict[tuple[str, str], Seen]()
    for target in settings.species:
        now = 0.0

        def heard() -> Iterator[Sighting]:
            nonlocal now
            for at, sighting in found.heard:
                now = at
                yield sighting

        for alert in alerts(heard(), dataclasses.replace(settings, species=(target,)), "of all"):
            name, first = alert.sighting.species, alert.sighting.probability
            told[alert.sighting.id, name] = dataclasses.replace(
                seen[alert.sighting.id], species=name, members=alert.sighting.members, told=now, first=first
            )
    return list(told.values())


def _changed(path: Path, change: str) -> Iterator[Frame]:
    import threading

    frames = Clip(path).frames(threading.Event())
    return CHANGES[change](frames) if change in CHANGES else frames


def _noted(frames: Iterable[Frame], times: list[datetime]) -> Iterator[Frame]:
    for frame in frames:
        times[:] = times or [frame.timestamp]
        yield frame


def _seen(number: int, alarm: Alarm, start: datetime) -> Seen:
    when, species, probability = alarm
    at = (when - start).total_seconds()
    return Seen(str(number), species, "animal", "day", at, at, at, probability, probability, 1, told=at)


_classifier: Any = None


def _load(model: Path) -> None:
    """In each process: the model, and one thread for OpenCV."""
    global _classifier  # noqa: PLW0603
    cv2.setNumThreads(1)
    _classifier = Classifier(ModelBundle.open(model))


def measure(
    jobs: list[tuple[Path, Settings, str, bool]], visits: dict[str, list[Visit]], model: Path
) -> dict[str, Result]:
    """All clips, two at a time; the results by system."""
    results: dict[str, Result] = {}
    order = [path.stem for path, *_ in jobs]
    with multiprocessing.get_context("fork").Pool(PROCESSES, _load, (model,)) as pool:
        # The longest first, so that no process waits for the other at the end.
        jobs = sorted(jobs, key=lambda job: -job[0].stat().st_size)
        found = dict(pool.imap_unordered(look, jobs, chunksize=1))
    for clip in order:
        for name, (told, seen) in found[clip].items():
            results.setdefault(name, Result()).add(clip, visits[clip], told, seen)
    return results


HEADER = ("", f"{TARGET} found", "alerts", "false", "delay", "others found", "by group", "alerts", "false", "delay",
          "empty clips")


def row(name: str, result: Result) -> tuple[str, ...]:
    """A system in the table."""
    return (name, *_cells(result.target, grouped=False), *_cells(result.others, grouped=True), str(result.empty))


def _cells(found: Found, grouped: bool) -> tuple[str, ...]:
    delay = "-" if found.delay is None else f"{found.delay:.1f} s"
    by_group = (str(found.count("by group")),) if grouped else ()
    hits = found.count("found") if grouped else found.count("found", "by group")
    return f"{hits} of {len(found.outcomes)}", *by_group, str(found.alerts), str(len(found.false)), delay


def details(name: str, result: Result) -> Iterator[str]:
    """What was missed, told twice or invented, by name."""
    for what, found in ((TARGET, result.target), ("others", result.others)):
        lines = {
            "missed": [f"{outcome.visit.species} at {outcome.visit.start:.0f} s of {clip}"
                       + ("" if outcome.state == "missed" else f" ({outcome.state})")
                       for clip, outcome in found.outcomes if outcome.state in ("missed", "went on", "held back")],
            "by group": [f"{outcome.visit.species} as {outcome.by_group[0].species} at {outcome.visit.start:.0f} s of "
                         f"{clip}" for clip, outcome in found.outcomes if outcome.state == "by group"],
            "more than once": [f"{outcome.visit.species} at {outcome.visit.start:.0f} s of {clip}"
                               for clip, outcome in found.outcomes if len(outcome.alerts + outcome.by_group) > 1],
            "false": [f"{each.species} {each.first:.0%} at {each.when:.0f} s of {clip}" for clip, each in found.false],
        }  # fmt: skip
        said = "; ".join(f"{word}: {', '.join(items)}" for word, items in lines.items() if items)
        if said:
            yield f"{name}, {what}: {said}"


def targets(results: dict[str, Result]) -> Iterator[str]:
    """Which of the targets are met."""
    ours, peers = results[OURS], [results[name] for name in PEERS]
    tiger, others = ours.target, ours.others
    once = all(len(outcome.alerts) == 1 for _, outcome in tiger.outcomes)
    yield f"every {TARGET} visit found, one alert each, none false: {_met(once and not tiger.false)}"
    yield f"{TARGET}'s median delay at most 2 s: {_met(tiger.delay is not None and tiger.delay <= 2)}"
    groups = others.count("by group")
    found = others.count("found") + min(groups, 2)
    yield f"all but one of the other visits found, at most two by a group: {_met(found >= len(others.outcomes) - 1)}"
    yield f"at most 2 false: {_met(len(others.false) <= 2)}; none on clips without animals: {_met(not ours.empty)}"
    better = all(
        found > each.others.count("found") and len(others.false) < len(each.others.false) for each in peers
    )
    yield f"better than both peers at once on visits found and on false alerts: {_met(better)}"


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    """Replay every clip and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=default_bundle())
    parser.add_argument("--scenes", type=Path, default=SCENES)
    parser.add_argument("--clips", default="", help="only clips whose name contains one of these")
    parser.add_argument("--degraded", action="store_true", help="how it holds up when clips are made worse")
    options = parser.parse_args()
    if not (options.scenes / "clips.csv").is_file():
        raise SystemExit(f"--scenes: expected a folder with clips.csv, found none at {options.scenes}; name one")
    labels = ModelBundle.open(options.model).labels
    with (options.scenes / "clips.csv").open(newline="") as file:
        clips = [row["clip"] for row in csv.DictReader(file)]
    clips = [clip for clip in clips if any(part in clip for part in options.clips.split(","))]
    rows = read_rows(options.scenes / "truth_events.csv")
    visits = {clip: [Visit(each.species, each.start, each.end) for each in rows if each.clip == clip] for clip in clips}
    paths = [options.scenes / f"{clip}.mp4" for clip in clips]
    animals = tuple(label.name for label in labels if label.observation_type == "animal")
    defaults = Settings(species=animals)
    apart = dataclasses.replace(defaults, event_gap=timedelta(seconds=15), alert_interval=timedelta(0))
    if options.degraded:
        body, lines = [], []
        for change in (AS_IS, *CHANGES):
            [result] = measure([(path, apart, change, False) for path in paths], visits, options.model).values()
            body.append(row(change, result))
            share = result.target.count("found", "by group") / max(1, len(result.target.outcomes))
            lines += [*details(change, result), f"{change}: {TARGET} visits {share:.0%} (90 %: {_met(share >= 0.9)})"]
        print(table(HEADER, body), *lines, sep="\n")
        return
    results = measure([(path, apart, AS_IS, True) for path in paths], visits, options.model)
    print("--event-gap 15 --alert-interval 0")
    print(table(HEADER, [row(name, result) for name, result in results.items()]))
    print(*(line for name, result in results.items() for line in details(name, result)), *targets(results), sep="\n")
    usual = measure([(path, defaults, AS_IS, False) for path in paths], visits, options.model)
    print(f"\nThe defaults: --event-gap {defaults.event_gap.total_seconds():g} "
          f"--alert-interval {defaults.alert_interval.total_seconds():g}")
    print(table(HEADER, [row(name, result) for name, result in usual.items()]))
    print(*details(OURS, usual[OURS]), sep="\n")
    unknown = {visit.species for each in visits.values() for visit in each} - set(labels.names)
    if unknown:
        print(f"not in the model, so missed: {', '.join(sorted(unknown))}")


if __name__ == "__main__":
    main()
