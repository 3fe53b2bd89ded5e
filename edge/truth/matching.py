"""Visits as they were beside alerts as they came: which belongs to which, and the sums."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge.deciding.budget import upper_bound
from edge.truth.visits import Visit
from edge.truth.witness import Replay, Seen
from edge.types import Lighting

LATE = 1.0
"""Seconds after its end in which a visit may still be told: truth is typed by people, and looks are half a second
apart."""
ROUNDING = 0.05
"""Seconds by which truth that is rounded to tenths may begin too late."""

State = Literal["found", "by group", "went on", "held back", "missed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a visit.

    `alerts`: of its species. `by_group`: of a group that its species belongs to. Where there are neither, `other` is
    the sighting that says why: one of an alert that still went on (`went on`), or one without an alert (`held back`).
    """

    visit: Visit
    lighting: Lighting
    alerts: tuple[Seen, ...] = ()
    by_group: tuple[Seen, ...] = ()
    other: Seen | None = None

    @property
    def state(self) -> State:
        if self.alerts or self.by_group:
            return "found" if self.alerts else "by group"
        if self.other is None:
            return "missed"
        return "held back" if self.other.told is None else "went on"

    @property
    def delay(self) -> float | None:
        """Seconds from first appearance to the first alert."""
        told = [each.told if each.told is not None else each.at for each in (*self.alerts, *self.by_group)]
        return max(0.0, min(told) - self.visit.start) if told else None


@dataclass(frozen=True, slots=True)
class Compared:
    """One scene: what became of the visits of targets, and alerts of no visit, which are false.

    `others`: the visits of other species, with what was recorded of them in place of alerts.
    """

    name: str
    replay: Replay
    outcomes: tuple[Outcome, ...]
    false: tuple[Seen, ...]
    others: tuple[Outcome, ...] = ()


def compare(name: str, visits: Iterable[Visit], replay: Replay, targets: Collection[str]) -> Compared:
    """Match a scene's alerts with the visits of its targets.

    An alert fits a visit of its species, or of a member of its group, if it came from the visit's start to `LATE` after
    its end; one that came when its event was over counts at the event's last look. It belongs to one visit at most: of
    those that fit, to one that has none yet, and then to the one that ends first. Alerts of a species choose before
    those of a group.

    Args:
        name: of the scene.
        visits: as they were, of all species.
        replay: what the chain made of the scene.
        targets: species that are told of.
    """
    told, quiet = replay.alerts, [each for each in replay.seen if each.told is None]
    mine = [visit for visit in visits if visit.species in targets]
    rest = [visit for visit in visits if visit.species not in targets]
    outcomes, false = matched(mine, told, replay)
    others, _ = matched(rest, quiet, replay)
    return Compared(name, replay, outcomes, false, others)


def matched(
    visits: Sequence[Visit], found: Iterable[Seen], replay: Replay
) -> tuple[tuple[Outcome, ...], tuple[Seen, ...]]:
    """What became of visits, and which of `found`, alerts or sightings, belong to none of them."""
    exact: list[list[Seen]] = [[] for _ in visits]
    grouped: list[list[Seen]] = [[] for _ in visits]
    false = []
    for each in sorted(found, key=lambda each: (bool(each.members), each.when)):
        fitting = [number for number, visit in enumerate(visits)
                   if each.may_be(visit.species) and _in_time(each.when, visit)]  # fmt: skip
        if not fitting:
            false.append(each)
            continue
        best = min(fitting, key=lambda number: (len(exact[number] + grouped[number]), visits[number].end))
        (exact if each.species == visits[best].species else grouped)[best].append(each)
    outcomes = []
    for visit, alerts, by_group in zip(visits, exact, grouped, strict=True):
        other = None if alerts or by_group else _other(visit, replay)
        outcomes.append(Outcome(visit, _lighting(visit, replay), tuple(alerts), tuple(by_group), other))
    return tuple(outcomes), tuple(sorted(false, key=lambda each: each.when))


def _lighting(visit: Visit, replay: Replay) -> Lighting:
    """As the truth says, else of a sighting of it, else of most of the scene."""
    if visit.lighting is not None:
        return visit.lighting
    own = (each.lighting for each in replay.seen if each.may_be(visit.species) and _in_time(each.when, visit))
    return next(own, "day" if replay.seconds["day"] >= replay.seconds["night"] else "night")


def _in_time(when: float, visit: Visit) -> bool:
    return visit.start - ROUNDING <= when <= visit.end + LATE


def _other(visit: Visit, replay: Replay) -> Seen | None:
    """Why a visit has no alert: one went on from before, or a sighting came to be none."""
    own = [each for each in replay.seen if each.may_be(visit.species)]
    on = [each for each in own if each.told is not None and each.start <= visit.end and each.end >= visit.start]
    held = [each for each in own if each.told is None and _in_time(each.when, visit)]
    return next(iter(on + held), None)


@dataclass(slots=True)
class Sums:
    """What became of some visits and alerts together; `seconds` is how long was watched for them."""

    seconds: float
    visits: int = 0
    found: int = 0
    by_group: int = 0
    went_on: int = 0
    held_back: int = 0
    alerts: int = 0
    false: int = 0
    delays: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.visits += 1
        self.found += outcome.state == "found"
        self.by_group += outcome.state == "by group"
        self.went_on += outcome.state == "went on"
        self.held_back += outcome.state == "held back"
        self.alerts += len(outcome.alerts) + len(outcome.by_group)
        if outcome.delay is not None:
            self.delays.append(outcome.delay)

    @property
    def missed(self) -> int:
        return self.visits - self.found - self.by_group - self.went_on - self.held_back

    @property
    def alerts_per_visit(self) -> float | None:
        """Of the visits that have any."""
        got = self.found + self.by_group
        return self.alerts / got if got else None

    @property
    def delay(self) -> float | None:
        """The median of the delays."""
        return statistics.median(self.delays) if self.delays else None

    @property
    def days(self) -> float:
        return self.seconds / 86400

    @property
    def false_per_day(self) -> float | None:
        return self.false / self.days if self.seconds else None

    @property
    def most_false_per_day(self) -> float | None:
        """The rate that so few alarms rule out (one-sided, 95 %): three in the time watched, where there were none."""
        return upper_bound(self.false) / self.days if self.seconds else None


def total(compared: Sequence[Compared]) -> Sums:
    """All of it together."""
    return _sum(sum(each.replay.length for each in compared), compared)


def by_species(compared: Sequence[Compared], targets: Iterable[str]) -> dict[str, Sums]:
    """For each target, and each species that was told or should have been: false alerts count where they were told."""
    seconds = sum(each.replay.length for each in compared)
    present = {outcome.visit.species for each in compared for outcome in each.outcomes}
    present |= {alert.species for each in compared for alert in each.false}
    return {name: _sum(seconds, compared, species=name) for name in dict.fromkeys((*targets, *sorted(present)))}


def by_lighting(compared: Sequence[Compared]) -> dict[Lighting, Sums]:
    """By day and by night: visits as the truth says, false alerts and time as the camera saw it."""
    lights: tuple[Lighting, ...] = ("day", "night")
    return {
        light: _sum(sum(each.replay.seconds[light] for each in compared), compared, lighting=light) for light in lights
    }


def _sum(
    seconds: float, compared: Iterable[Compared], species: str | None = None, lighting: Lighting | None = None
) -> Sums:
    sums = Sums(seconds)
    for each in compared:
        for outcome in each.outcomes:
            if species in (None, outcome.visit.species) and lighting in (None, outcome.lighting):
                sums.add(outcome)
        sums.false += sum(
            species in (None, alert.species) and lighting in (None, alert.lighting) for alert in each.false
        )
    return sums
