"""A report in plain words: every sentence is worked out from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from models.evaluation import wilson
from models.manifest import LIGHTINGS
from train.report.numbers import ClassResult, Moved, Report
from train.words import counted, listing

WORDS = {"day": "as taken", "night": "in infrared-grey"}
"""Of test photos; "as taken" includes those that are grey already."""
POINT_WORDS = {"day": "by day", "night": "in infrared-grey"}
CHANCE = 0.05
"""What would come about by chance more often than this is not called a difference."""


def percent(share: float | None) -> str:
    """A share as text; a dash where there is none."""
    return "-" if share is None else f"{share:.1%}"


def between(interval: tuple[float, float]) -> str:
    """A 95 % interval as text."""
    return f"between {interval[0]:.1%} and {interval[1]:.1%}"


def summary(report: Report) -> tuple[str, ...]:
    """What a report comes to, a sentence or two a line, the most important first."""
    parts = (_overall, _doubts, _unmeasured, _weakest, _confusions, real_night, _probabilities, _points, _kept,
             _left_out)
    return tuple(line for part in parts for line in part(report))


def _overall(report: Report) -> Iterator[str]:
    day, night = report.results["day"], report.results["night"]
    n, wrong = day.metrics.n, sum(found.wrong for found in day.classes.values())
    yield (f"Of {counted(n, 'test photo')}, {n - wrong} got the right name as taken: {day.metrics.accuracy:.1%}. "
           f"So many photos only tell that the true share is {between(day.interval)} (95 % interval), for photos like "
           f"these. Turned infrared-grey, {night.metrics.accuracy:.1%} are right ({between(night.interval)}).")


def _doubts(report: Report) -> Iterator[str]:
    yield from (f"{doubt[0].upper()}{doubt[1:]}." for doubt in report.subject.doubts)


def _unmeasured(report: Report) -> Iterator[str]:
    missing = [name for name, found in report.results["day"].classes.items() if not found.n]
    if missing:
        yield (f"No test photo shows {listing(missing, 'or')}: how well the model does there is unknown, and the means "
               f"leave it out.")


def _weakest(report: Report) -> Iterator[str]:
    day = report.results["day"].classes
    present = sorted((found.recall, name) for name, found in day.items() if found.recall is not None)
    weak = [name for recall, name in present if recall < 1][:3]
    if weak:
        said = [f"{name} ({day[name].right} of {day[name].n} photos right, so {between(_interval(day[name]))})"
                for name in weak]
        yield f"Weakest as taken: {listing(said)}."
    else:
        fewest = min((day[name].n, name) for _, name in present)
        yield (f"Every class got all its photos right as taken. The fewest are those of {fewest[1]}, {fewest[0]}: its "
               f"share of right answers may be as low as {wilson(fewest[0], fewest[0])[0]:.1%}.")
    drops = sorted((night.right - day[name].right, name) for name, night in report.results["night"].classes.items()
                   if night.n)
    worst = [f"{name} ({day[name].right} right as taken, {day[name].right + change} in grey, of {day[name].n})"
             for change, name in drops if change < 0][:3]
    if worst:
        yield f"Infrared-grey costs most for {listing(worst)}."


def _interval(found: ClassResult) -> tuple[float, float]:
    return wilson(found.right, found.n)


def _confusions(report: Report) -> Iterator[str]:
    for lighting in LIGHTINGS:
        worst = confusions(report.subject.names, report.results[lighting].confusion)[:4]
        if worst:
            yield f"Commonest confusions {WORDS[lighting]}: {'; '.join(worst)}."
        else:
            yield f"No test photo was named wrongly {WORDS[lighting]}."


def confusions(names: Sequence[str], table: Sequence[Sequence[int]]) -> list[str]:
    """Who is called what, and how often, the commonest first; `table` is (classes, classes), rows are the truth."""
    found = sorted((-count, row, column) for row, counts in enumerate(table) for column, count in enumerate(counts)
                   if count and row != column)
    return [f"{names[row]} called {names[column]}: {-count} of {sum(table[row])}" for count, row, column in found]


def real_night(report: Report) -> Iterator[str]:
    """What is known of photos that an infrared camera took, and of those in colour beside them."""
    found, coloured = report.grey_as_taken, report.in_colour
    if found is None:
        yield ("None of the test photos was infrared-grey as taken: what is said of grey rests on colour photos turned "
               "grey, which have neither the noise nor the glare of night pictures.")
        return
    most = sorted(report.grey_classes.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{name} {count}" for name, count in most[:5]] + ["others"] * (len(most) > 5)
    yield (f"{found.n} of the test photos {'is' if found.n == 1 else 'are'} grey as taken, in infrared or by having "
           f"hardly any colour ({listing(said)}): {found.right} right, {found.accuracy:.1%} "
           f"({between(found.interval)}). " + (
               f"Of the {coloured.n} in colour, {coloured.right} are right: {coloured.accuracy:.1%} "
               f"({between(coloured.interval)})." if coloured else "None is in colour."))


def _probabilities(report: Report) -> Iterator[str]:
    found = report.results["day"].after_temperature
    sure = sum(each.n * each.confidence for each in found.bins) / sum(each.n for each in found.bins)
    accuracy = report.results["day"].metrics.accuracy
    way = "surer than it is right" if sure > accuracy else "less sure than it is right"
    if percent(sure) == percent(accuracy):
        way = "about as sure as it is right"
    raw = report.results["day"].before_temperature.error
    yield (f"On the photos as taken the model is {way}: {sure:.1%} sure on average, {accuracy:.1%} right. Its "
           f"probabilities are off by {found.error:.1%} on average (expected calibration error; {raw:.1%} without its "
           f"temperature of {report.subject.temperature:.2f}).")


def _points(report: Report) -> Iterator[str]:
    for lighting in LIGHTINGS:
        points = {name: found[lighting] for name, found in report.points.items()}
        guessed = [name for name, point in points.items() if not point.n]
        short = [name for name, point in points.items() if point.n and not point.reached]
        kept = [name for name, point in points.items() if point.reached and (point.test_precision or 0.0) >= 0.95]
        seen = [name for name, point in points.items() if point.reached and point.test_precision is not None]
        line = (f"Operating points {POINT_WORDS[lighting]}: {len(points) - len(short) - len(guessed)} of {len(points)} "
                f"classes reach a precision of 95 % on the validation photos")
        line += f", not {listing(short)}" if short else ""
        line += f"; on the test photos it holds for {len(kept)} of the {len(seen)} that name any." if seen else "."
        line += f" No validation photo shows {listing(guessed, 'or')}: the point is a guess." if guessed else ""
        yield line


def _kept(report: Report) -> Iterator[str]:
    if report.subject.kept:
        yield f"The bundle holds these weights: {report.subject.kept}."


def _left_out(report: Report) -> Iterator[str]:
    found = report.subject.left_out
    parts = [f"{len(found.unreadable)} that could not be read", f"{found.excluded} that a list excludes"]
    parts += [f"{found.trained_on} that the model was trained on"] if found.trained_on else []
    yield f"Left out: {listing(parts)}."


def sensitivity(report: Report) -> str:
    """What small changes of the geometry do, and what that means for a trap."""
    n, accuracy = report.unmoved.n, report.unmoved.accuracy
    start = f"As they are, {accuracy:.1%} of {counted(n, 'test photo')} are right. "
    worst = sorted((view for view in report.moved if _is_loss(view, len(report.moved))), key=lambda view: view.accuracy)
    if not worst:
        low = min(report.moved, key=lambda view: view.accuracy)
        least = f"; the lowest share is {low.accuracy:.1%} ({low.name}: {low.lost} lost, {low.won} won)"
        return (f"{start}None of the changes loses more photos than chance may explain"
                f"{least if low.accuracy < accuracy else ''}.")
    said = [f"{view.name} ({view.accuracy:.1%}: {view.lost} lost, {view.won} won)" for view in worst]
    means = list(dict.fromkeys(view.stands_for for view in worst))
    return (f"{start}More are lost than chance explains when they are {listing(said)}. At a trap, expect worse answers "
            f"for {listing(means, 'or')}.")


def _is_loss(view: Moved, views: int) -> bool:
    """A sign test of the photos whose answer changed, stricter the more views are looked at (Bonferroni)."""
    changed = view.lost + view.won
    chance = sum(math.comb(changed, lost) for lost in range(view.lost, changed + 1)) / 2**changed
    return view.lost > view.won and chance < CHANCE / views
