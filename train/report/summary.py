"""A report in plain words: every sentence is worked out from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from models.evaluation import wilson
from models.manifest import LIGHTINGS
from train.report.numbers import ClassResult, Moved, Report

WORDS = {"day": "by day", "night": "in infrared-grey"}
CHANCE = 0.05
"""What would come about by chance more often than this is not called a difference."""

MOST_LISTED = 10


def percent(share: float | None) -> str:
    """A share as text; a dash where there is none."""
    return "-" if share is None else f"{share:.1%}"


def between(interval: tuple[float, float]) -> str:
    """A 95 % interval as text."""
    return f"between {interval[0]:.1%} and {interval[1]:.1%}"


def summary(report: Report) -> tuple[str, ...]:
    """What a report comes to, a sentence or two a line, the most important first."""
    return tuple(line for part in (_overall, _weakest, _confusions, _real_night, _probabilities, _points, _left_out)
                 for line in part(report))


def _overall(report: Report) -> Iterator[str]:
    day, night = report.results["day"], report.results["night"]
    n, wrong = day.metrics.n, sum(found.wrong for found in day.classes.values())
    yield (f"Of {counted(n, 'test photo')}, {n - wrong} got the right name by day: {day.metrics.accuracy:.1%}. "
           f"So many photos only tell that the true share is {between(day.interval)} (95 % interval), for photos like "
           f"these. Turned infrared-grey, {night.metrics.accuracy:.1%} are right ({between(night.interval)}).")
    missing = [name for name, found in day.classes.items() if not found.n]
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
        yield f"Weakest by day: {listing(said)}."
    else:
        fewest = min((day[name].n, name) for _, name in present)
        yield (f"Every class got all its photos right by day. The fewest are those of {fewest[1]}, {fewest[0]}: its "
               f"share of right answers may be as low as {wilson(fewest[0], fewest[0])[0]:.1%}.")
    drops = sorted((night.right - day[name].right, name) for name, night in report.results["night"].classes.items()
                   if night.n)
    worst = [f"{name} ({day[name].right} right by day, {day[name].right + change} in grey, of {day[name].n})"
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


def _real_night(report: Report) -> Iterator[str]:
    found = report.grey_as_taken
    if found is None:
        yield ("None of the test photos was infrared-grey as taken: what is said of grey rests on day photos turned "
               "grey, which have neither the noise nor the glare of night pictures.")
        return
    most = sorted(report.grey_classes.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{name} {count}" for name, count in most[:5]] + ["others"] * (len(most) > 5)
    yield (f"{found.n} of the test photos {'is' if found.n == 1 else 'are'} grey as taken, in infrared or by having "
           f"hardly any colour ({listing(said)}): {found.right} right, {found.accuracy:.1%} "
           f"({between(found.interval)}).")


def _probabilities(report: Report) -> Iterator[str]:
    found = report.results["day"].after_temperature
    sure = sum(each.n * each.confidence for each in found.bins) / sum(each.n for each in found.bins)
    accuracy = report.results["day"].metrics.accuracy
    way = "surer than it is right" if sure > accuracy else "less sure than it is right"
    raw = report.results["day"].before_temperature.error
    yield (f"By day the model is {way}: {sure:.1%} sure on average, {accuracy:.1%} right. Its probabilities are off by "
           f"{found.error:.1%} on average (expected calibration error; {raw:.1%} without its temperature of "
           f"{report.subject.temperature:.2f}).")


def _points(report: Report) -> Iterator[str]:
    for lighting in LIGHTINGS:
        points = {name: found[lighting] for name, found in report.points.items()}
        short = [name for name, point in points.items() if not point.reached]
        kept = [name for name, point in points.items() if point.reached and (point.test_precision or 0.0) >= 0.95]
        seen = [name for name, point in points.items() if point.reached and point.test_precision is not None]
        line = (f"Operating points {WORDS[lighting]}: {len(points) - len(short)} of {len(points)} classes reach a "
                f"precision of 95 % on the validation photos")
        line += f", not {listing(short)}" if short else ""
        line += f"; on the test photos it holds for {len(kept)} of the {len(seen)} that name any." if seen else "."
        yield line


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


def listing(parts: Sequence[str], word: str = "and") -> str:
    """`a, b and c`; of many only the first."""
    if len(parts) > MOST_LISTED:
        parts = [*parts[:MOST_LISTED], f"{len(parts) - MOST_LISTED} others"]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def counted(n: int, noun: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
