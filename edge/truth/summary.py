"""The report of a comparison: as text for the terminal, and as numbers for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge.settings import Settings
from edge.truth.matching import Compared, Outcome, Sums, by_lighting, by_species, total
from edge.truth.witness import Seen

PUBLISHED = "nothing is published or stored"
WORDS = {"day": "by day", "night": "by night"}
HEADER = (
    "",
    "visits",
    "found",
    "by group",
    "went on",
    "held back",
    "missed",
    "alerts",
    "per visit",
    "false",
    "delay",
    "false a day",
    "at most",
)
SELDOM = ("by group", "went on", "held back")
"""Columns that are left out where all of them are 0."""
UNITS = (
    "delay: median time from first appearance to alert; at most: more false alarms a day than this are ruled out by "
    "the time watched (95 %)"
)


@dataclass(frozen=True, slots=True)
class Report:
    """All scenes compared, what they were compared with, and `notes` on what could not be."""

    source: str
    truth: str
    model: str
    settings: Settings
    scenes: tuple[Compared, ...]
    notes: tuple[str, ...] = ()


def scene_lines(scene: Compared) -> list[str]:
    """A line for the scene, one for each visit of a target and one for each false alert, in order of time."""
    lines = [(outcome.visit.start, f"  {visit_text(outcome)}") for outcome in scene.outcomes]
    lines += [(alert.told or 0.0, f"  FALSE: {false_text(alert)}") for alert in scene.false]
    head = f"{scene.name}, {scene.replay.length:.0f} s" + ("" if lines else ": no visit of a target, no alert")
    people = [f"  frames in which a person was recognized: {scene.replay.people}"] if scene.replay.people else []
    return [head, *(line for _, line in sorted(lines)), *people]


def visit_text(outcome: Outcome) -> str:
    """What became of a visit, in one line."""
    visit = outcome.visit
    return f"{visit.species} {visit.start:.1f}-{visit.end:.1f} s: {_became(outcome)}"


def _became(outcome: Outcome) -> str:
    if outcome.state == "missed":
        return "MISSED"
    if outcome.other is not None:
        began = f"{outcome.other.species} of {outcome.other.at:.1f} s"
        if outcome.state == "went on":
            return f"no alert of its own: the event {began} went on (--event-gap)"
        return f"seen as {began}, no alert: a rule held it back (as --alert-interval)"
    alerts = [_alert_text(each, outcome) for each in (*outcome.alerts, *outcome.by_group)]
    return ", ".join(alerts)


def _alert_text(alert: Seen, outcome: Outcome) -> str:
    as_group = "" if alert.species == outcome.visit.species else f" as {alert.species}"
    # A frame may be a moment before what truth rounds to tenths.
    return f"alert after {max(0.0, (alert.told or 0.0) - outcome.visit.start):.1f} s{as_group} ({alert.first:.0%})"


def false_text(alert: Seen) -> str:
    """A false alert."""
    return f"{alert.species} at {alert.told or 0.0:.1f} s ({alert.first:.0%})"


def overview(report: Report) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table's header and rows: each species, day and night, and all."""
    body = list(_rows(report))
    shown = [place for place, name in enumerate(HEADER)
             if name not in SELDOM or any(row[place] != "0" for row in body)]  # fmt: skip
    header, *rest = (tuple(row[place] for place in shown) for row in (HEADER, *body))
    return header, rest


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for name, sums in by_species(report.scenes, report.settings.species).items():
        yield _cells(name, sums)
    for light, sums in by_lighting(report.scenes).items():
        if sums.seconds or sums.visits:
            yield _cells(WORDS[light], sums)
    yield _cells("all", total(report.scenes))


def _cells(name: str, sums: Sums) -> tuple[str, ...]:
    """A row of the table, below `HEADER`."""
    delay, per_visit, rate, most = sums.delay, sums.alerts_per_visit, sums.false_per_day, sums.most_false_per_day
    return (
        name, str(sums.visits), str(sums.found), str(sums.by_group), str(sums.went_on),
        str(sums.held_back), str(sums.missed), str(sums.alerts),
        "-" if per_visit is None else f"{per_visit:.2f}", str(sums.false),
        "-" if delay is None else f"{delay:.1f} s", "-" if rate is None else f"{rate:.1f}",
        "-" if most is None else f"{most:.0f}" if most >= 10 else f"{most:.1f}",
    )  # fmt: skip


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of text: the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (header, *body)) for place in range(len(header))]
    lines = []
    for row in (header, *body):
        first, *others = (cell.ljust(widths[0]) if not place else cell.rjust(widths[place])
                          for place, cell in enumerate(row))  # fmt: skip
        lines.append("  ".join((first, *others)).rstrip())
    return "\n".join(lines)


def last_line(report: Report) -> str:
    """The sum in a sentence."""
    sums = total(report.scenes)
    by_group = f", {sums.by_group} more by a group" if sums.by_group else ""
    rest = [f"{count} {what}" for count, what in ((sums.went_on, "in an event that went on"),
                                                  (sums.held_back, "held back")) if count]  # fmt: skip
    between = f" ({', '.join(rest)})" if rest else ""
    people = sum(each.replay.people for each in report.scenes)
    seen = f"; frames in which a person was recognized: {people}" if people else ""
    return (
        f"{sums.found} of {sums.visits} visits found{by_group}{between} with {sums.alerts} alerts, {sums.false} false, "
        f"in {length(sums.seconds)} of recording{seen}; {PUBLISHED}"
    )


def length(seconds: float) -> str:
    """A time for people: `60 s`, `31 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def summary(report: Report) -> str:
    """What is printed below the scenes."""
    return "\n".join(("", table(*overview(report)), UNITS, "", last_line(report)))


def to_json(report: Report) -> str:
    """All of it as JSON; there are no pictures in it."""
    settings = report.settings
    found = {
        "schema_version": 1,
        "published": False,
        "source": report.source,
        "truth": report.truth,
        "model": report.model,
        "species": list(settings.species),
        "event_gap_s": settings.event_gap.total_seconds(),
        "alert_interval_s": settings.alert_interval.total_seconds(),
        "notes": list(report.notes),
        "all": _sums(total(report.scenes)),
        "by_species": {name: _sums(sums) for name, sums in by_species(report.scenes, settings.species).items()},
        "by_lighting": {name: _sums(sums) for name, sums in by_lighting(report.scenes).items()},
        "scenes": [_scene(scene) for scene in report.scenes],
    }
    return json.dumps(found, indent=1) + "\n"


def _sums(sums: Sums) -> dict[str, Any]:
    return {
        "seconds": round(sums.seconds, 3), "visits": sums.visits, "found": sums.found, "by_group": sums.by_group,
        "went_on": sums.went_on, "held_back": sums.held_back, "missed": sums.missed, "alerts": sums.alerts,
        "alerts_per_visit": _rounded(sums.alerts_per_visit), "false": sums.false,
        "false_per_day": _rounded(sums.false_per_day), "most_false_per_day": _rounded(sums.most_false_per_day),
        "median_delay_s": _rounded(sums.delay),
    }  # fmt: skip


def _scene(scene: Compared) -> dict[str, Any]:
    replay = scene.replay
    return {
        "name": scene.name,
        "seconds": {light: round(seconds, 3) for light, seconds in replay.seconds.items()},
        "frames": replay.frames,
        "frames_with_people": replay.people,
        "visits": [_outcome(each) for each in scene.outcomes],
        "false_alerts": [each.id for each in scene.false],
        "visits_of_others": [_outcome(each) for each in scene.others],
        "sightings": [_seen(each) for each in replay.seen],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    visit = outcome.visit
    return {
        "species": visit.species, "start_s": round(visit.start, 3), "end_s": round(visit.end, 3),
        "lighting": outcome.lighting, "state": outcome.state, "ids": [each.id for each in outcome.alerts],
        "ids_of_group": [each.id for each in outcome.by_group], "delay_s": _rounded(outcome.delay),
    }  # fmt: skip


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "id": seen.id, "species": seen.became or seen.species, "told_as": None if seen.told is None else seen.species,
        "observation_type": seen.observation_type, "lighting": seen.lighting,
        "start_s": round(seen.start, 3), "confirmed_s": round(seen.at, 3), "end_s": round(seen.end, 3),
        "alert_s": _rounded(seen.told), "probability": round(seen.probability, 4), "frames": seen.frames,
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
