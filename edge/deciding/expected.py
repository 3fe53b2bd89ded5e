"""From which probability on targets are confirmed, and what false alarms and what recall are to be expected of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from edge.deciding.budget import (
    MOST,
    Budget,
    Choice,
    Found,
    Peak,
    Thresholds,
    choose,
    hours_needed,
    log_odds,
    probability,
    rate_text,
    tightest,
)
from edge.deciding.quiet import FILE_NAME, Combined, combined, general, model_id, read_quiet
from edge.deciding.verdict import LEAST_SURE
from edge.settings import Settings
from models.bundle import ModelBundle
from models.errors import UsageError
from models.groups import groups_of
from models.manifest import LIGHTINGS, Lighting, OperatingPoint

Points = Mapping[str, Mapping[str, OperatingPoint]]


def confirming(bundle: ModelBundle) -> Thresholds:
    """From which log-odds on something in a stream is a species to the edge, by the bundle's operating points.

    Of a group it is that of the easiest of its classes: what confirms the group is never less.
    """
    points, labels = bundle.manifest.operating_points, bundle.labels
    found: dict[str, dict[Lighting, float]] = {
        label.name: {each: log_odds(max(points[label.name][each].threshold, LEAST_SURE)) for each in LIGHTINGS}
        for label in labels
        if label.observation_type != "blank"
    }
    for group, indexes in groups_of(labels).items():
        found[group] = {each: min(found[labels[index].name][each] for index in indexes) for each in LIGHTINGS}
    return found


def members(bundle: ModelBundle) -> dict[str, set[str]]:
    """The groups of a model's classes, by name, with the names of these."""
    return {group: {bundle.labels[index].name for index in found} for group, found in groups_of(bundle.labels).items()}


def expected(settings: Settings, bundle: ModelBundle) -> tuple[Points, list[str]]:
    """The operating points that keep the budget, if there is one, and the lines to say at the start.

    Args:
        settings: `species` as the model names them.
        bundle: the model.

    Raises:
        UsageError: a budget without targets, or one that cannot be kept.
        BundleError, OutboxError: evidence that cannot be read.
    """
    points, budget = bundle.manifest.operating_points, settings.max_false_alarms
    names = ", ".join(settings.species)
    if not names:
        if budget is not None:
            raise UsageError(f"max_false_alarms: expected --species with it, found {budget.text} of none; name some")
        return points, []
    quiet = read_quiet(settings.data / FILE_NAME)
    found = combined(general(bundle), quiet, model_id(bundle), settings.species, settings.looks_per_second)
    choice = None
    if found.hours:
        peaks = _once(found.peaks, settings, bundle)
        choice = choose(peaks, found.hours, confirming(bundle), settings.species, budget, found.visits)
    if budget is None and choice is None:
        return points, [f"how many false alarms of {names} to expect is not known: {_calibrate(settings)} tells"]
    if budget is not None:
        if choice is None:
            raise UsageError(_refusal(budget, found, settings))
        _reachable(budget, choice)
    assert choice is not None
    return _raised(points, choice.raised, settings, bundle), _said(choice, found, settings)


def _once(peaks: Sequence[Peak], settings: Settings, bundle: ModelBundle) -> list[Peak]:
    """The peaks without those of classes whose group is a target as well and has one of that animal: one alert.

    A group's lies further above its threshold than those of its classes, or as far.
    """
    groups = members(bundle)
    within = {
        name: groups[name] | {other for other, found in groups.items() if found < groups[name]}
        for name in settings.species
        if name in groups
    }
    covered = {(name, each.at, each.lighting) for each in peaks for name in within.get(each.species, ())}
    return [each for each in peaks if (each.species, each.at, each.lighting) not in covered]


def _raised(points: Points, raised: float, settings: Settings, bundle: ModelBundle) -> Points:
    """The targets' points, and those of a group's classes, so many log-odds above those at which they are confirmed."""
    if not raised:
        return points
    least, groups, changed = confirming(bundle), members(bundle), dict(points)
    within = {name for group in settings.species for name in groups.get(group, ())}
    for name in within | (set(settings.species) & set(points)):
        changed[name] = {
            each: dataclasses.replace(points[name][each], threshold=probability(least[name][each] + raised))
            for each in LIGHTINGS
        }
    return changed


def _reachable(budget: Budget, choice: Choice) -> None:
    for name, thresholds in choice.thresholds.items():
        if max(thresholds.values()) > MOST:
            raise UsageError(
                f"max_false_alarms: {budget.text} takes a threshold that no {name} can reach: too often in "
                f"{choice.hours:.3g} h something else was taken for a target with all certainty; allow more, or see "
                "--masks"
            )


def _refusal(budget: Budget, found: Combined, settings: Settings) -> str:
    need = hours_needed(budget)
    claim = "no budget can be claimed"
    if found.hours:
        claim = f"the tightest that can be claimed is {rate_text(tightest(found.hours))}"
    return (
        f"max_false_alarms: {budget.text} takes {need:.3g} hours without an alarm, found {_source(found)}; {claim}; "
        f"{max(0.0, need - found.own):.3g} more hours of this place are missing: {_calibrate(settings)}"
    )


def _calibrate(settings: Settings) -> str:
    return f"`edge-watch calibrate --species {','.join(settings.species)} --source SOURCE`"


def _source(found: Combined) -> str:
    both = found.own + found.general
    if not both:
        return "none"
    parts = [f"{found.own:.2g} h of this place"] if found.own else []
    if found.general:
        others = f" with {found.others} visits of other animals" if found.others else ""
        parts.append(f"{found.general:.2g} h of other places{others}" + (f" ({found.made})" if found.made else ""))
    text = " and ".join(parts)
    # What there is too much of by day supports nothing at night.
    return text if found.hours > 0.95 * both else f"{text}, of which {found.hours:.2g} h count (half of them at night)"


def _said(choice: Choice, found: Combined, settings: Settings) -> list[str]:
    names, rate = ", ".join(settings.species), rate_text(choice.per_hour)
    seen = f"{choice.alarms} in {_source(found)}, at {found.looks_per_second:g} looks a second"
    if settings.max_false_alarms is None:
        return [f"false alarms of {names} at the bundle's operating points: at most {rate} (95 %): {seen}"]
    raised = "at the bundle's operating points"
    if choice.raised:
        raised = f"thresholds {choice.raised:.2f} above the operating points (log-odds)"
    lines = [f"{settings.max_false_alarms.text} false alarms of {names}: at most {rate} (95 %), {raised}: {seen}"]
    return lines + [_recall(each) for each in choice.recall]


def _recall(found: Found) -> str:
    from models.evaluation import wilson

    if not found.n:
        return f"{found.species}: how many visits are found at this threshold was not measured"
    low, high = wilson(found.found, found.n)
    return f"{found.species}: {found.found} of {found.n} visits found at this threshold ({low:.0%} to {high:.0%}, 95 %)"
