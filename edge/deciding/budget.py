"""How many false alarms are to be expected, and thresholds that keep them within what was asked for."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from models.errors import UsageError
from models.manifest import Lighting

SURE = 0.95
"""How sure every bound here is; one-sided."""
HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0, "month": 730.0, "year": 8760.0}
MARGIN = 0.001
"""A threshold is put so far (log-odds) above the look-alike that it keeps out: rounding does not bring that back."""
MOST = 34.5
"""Scores beyond this (a probability of 1 - 1e-15) cannot be told apart."""

Thresholds = Mapping[str, Mapping[Lighting, float]]
"""By species and lighting, the natural log-odds from which on a track is confirmed."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest score that something reached as a species, in log-odds: what it was not, or, of a visit, what it was.

    `at`: in the hours of its lighting that were watched, when that was.
    """

    species: str
    lighting: Lighting
    score: float
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """False alarms that are allowed, as typed (`1/week`) and for each hour."""

    text: str
    per_hour: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget as `N/hour`, `N/day`, `N/week`, `N/month` or `N/year`.

        Raises:
            UsageError: anything else, or an N that is not above 0.
        """
        number, _, unit = text.partition("/")
        try:
            alarms = float(number)
        except ValueError:
            alarms = math.nan
        if not (0 < alarms < math.inf and unit.strip() in HOURS):
            raise UsageError(
                f"max_false_alarms: expected a number above 0 and a time, as 1/week (of {', '.join(HOURS)}), "
                f"found {text!r}"
            )
        return cls(text, alarms / HOURS[unit.strip()])


@dataclass(frozen=True, slots=True)
class Found:
    """How many of `n` visits of a species reach its thresholds."""

    species: str
    found: int
    n: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and what is to be expected of it.

    `raised`: by how much (log-odds) every threshold lies above the operating point. `alarms`: false ones at these
    thresholds in `hours` of evidence. `per_hour`: no more than that are to be expected, at 95 %. `recall`: of each
    target.
    """

    thresholds: dict[str, dict[Lighting, float]]
    raised: float
    alarms: int
    hours: float
    per_hour: float
    recall: tuple[Found, ...]


def log_odds(probability: float) -> float:
    """The natural log-odds of a probability 0-1, from -`MOST` to `MOST`."""
    if not 0 < probability < 1:
        return math.copysign(MOST, probability - 0.5)
    return max(-MOST, min(MOST, math.log(probability / (1 - probability))))


def probability(score: float) -> float:
    """The probability 0-1 of natural log-odds."""
    return 1 / (1 + math.exp(-score))


def at_most(alarms: int, mean: float) -> float:
    """The probability of at most so many events where `mean` are to be expected (Poisson), exactly."""
    if mean <= 0:
        return 1.0
    # As logarithms: the first terms of a large mean are too small for a float. From the last term down, as far as it
    # matters.
    total = 0.0
    for number in range(alarms, -1, -1):
        term = math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))
        total += term
        if number < mean and term < 1e-17 * total:
            break
    return min(1.0, total)


def upper_bound(alarms: int) -> float:
    """The mean that is not exceeded, at 95 %, where so many events were seen (Garwood 1936); 3.0 where none were."""
    low, high = float(alarms), alarms + 3 * math.sqrt(alarms + 1) + 3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(alarms, middle) > 1 - SURE else (low, middle)
    return high


def most_alarms(mean: float) -> int:
    """How many events may have been seen where at most `mean` are to be claimed; -1 where even none is too many."""
    # A bound lies above what was seen, so that this many are too many for certain.
    low, high = -1, math.ceil(mean)
    while high - low > 1:
        middle = (low + high) // 2
        # A hair more, so that a bound that was printed and typed again is kept.
        low, high = (middle, high) if at_most(middle, mean * (1 + 1e-9)) <= 1 - SURE else (low, middle)
    return low


def choose(
    peaks: Iterable[Peak],
    hours: float,
    operating_points: Thresholds,
    targets: Collection[str],
    budget: Budget | None = None,
    visits: Iterable[Peak] = (),
) -> Choice | None:
    """The lowest thresholds, from the operating points up, at which the targets together keep a budget.

    All are raised by the same log-odds. Were each raised just above its own worst look-alike, the thresholds would fit
    what happened to be seen: with twenty targets, each of which passes its worst once in so many hours, twenty false
    alarms would be to be expected where the bound says three. On one scale the bound for events seen above a threshold
    stays exact though the threshold was chosen by those same events: at the next one, the mean number above it has a
    gamma distribution, which is where the bound comes from.

    Args:
        peaks: the false ones, of these hours.
        hours: the evidence's; above 0.
        operating_points: where thresholds begin.
        targets: species that alert.
        budget: None for the operating points as they are.
        visits: real ones, for the recall.

    Returns:
        None where so few hours cannot support the budget, whatever the thresholds.
    """
    wanted = set(targets)
    over = sorted((_over(each, operating_points) for each in peaks if each.species in wanted), reverse=True)
    raised = 0.0
    if budget is not None:
        most = most_alarms(budget.per_hour * hours)
        if most < 0:
            return None
        if len(over) > most:
            raised = max(0.0, over[most] + MARGIN)
    alarms = sum(each >= raised for each in over)
    thresholds = {
        name: {lighting: point + raised for lighting, point in operating_points[name].items()} for name in wanted
    }
    return Choice(
        thresholds, raised, alarms, hours, upper_bound(alarms) / hours, tuple(_recall(visits, thresholds, targets))
    )


def _over(peak: Peak, thresholds: Thresholds) -> float:
    return peak.score - thresholds[peak.species][peak.lighting]


def _recall(visits: Iterable[Peak], thresholds: Thresholds, targets: Iterable[str]) -> Iterable[Found]:
    known = list(visits)
    for name in targets:
        own = [_over(visit, thresholds) for visit in known if visit.species == name]
        yield Found(name, sum(each >= 0 for each in own), len(own))


def tightest(hours: float) -> float:
    """The fewest false alarms an hour that can be claimed of so many hours: none seen (the rule of three)."""
    return upper_bound(0) / hours if hours > 0 else math.inf


def hours_needed(budget: Budget) -> float:
    """Hours without a false alarm that a budget takes."""
    return upper_bound(0) / budget.per_hour


def rate_text(per_hour: float) -> str:
    """A rate as it can be typed for a budget, rounded up to two digits: `2.1/day`."""
    if per_hour == math.inf:
        return "nothing"
    unit = next((name for name, hours in HOURS.items() if per_hour * hours >= 1), "year")
    alarms = per_hour * HOURS[unit]
    step = 10.0 ** (math.floor(math.log10(alarms)) - 1)
    # A hair less, so that 3.0000000000000004 is 3 and not 3.1.
    return f"{math.ceil(alarms / step - 1e-9) * step:.10g}/{unit}"
