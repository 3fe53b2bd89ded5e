"""The page of the report: `report.html`, with `report.json` beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.manifest import LIGHTINGS
from models.page import Html, heading, page, paragraph, picture, table, thumbnail, wall
from train.measure import Pixels
from train.report import charts
from train.report.numbers import DATA, PAGE, Mistake, Point, Report
from train.report.summary import WORDS, percent, sensitivity, summary

UNREADABLE_SHOWN = 20


def files(report: Report, pixels: Pixels) -> dict[str, str]:
    """The report's files by name, as text.

    Args:
        report: its numbers.
        pixels: (n, size, size, 3) uint8 RGB, the pictures that the report was built from.
    """
    said = summary(report)
    subject = report.subject
    parts = [paragraph(f"{subject.kind}, {subject.bundle}; photos: {subject.data}", "quiet"), _overview(report)]
    parts += [paragraph(line) for line in said]
    for part in (_classes, _points, _confusion, _curves, _reliability, _geometry, _learning):
        parts += part(report)
    parts += _mistakes(report, pixels)
    parts += _left_out(report)
    return {PAGE: page(f"{subject.title}: what it is worth", parts), DATA: report.to_json(said)}


def _overview(report: Report) -> str:
    rows = []
    for lighting in LIGHTINGS:
        found = report.results[lighting]
        metrics = found.metrics
        rows.append((WORDS[lighting], metrics.n, percent(metrics.accuracy), _range(found.interval),
                     percent(metrics.macro_f1), percent(metrics.top3), percent(metrics.calibration_error)))
    if report.grey_as_taken:
        for name, part in (("in colour", report.in_colour), ("grey as taken", report.grey_as_taken)):
            if part:
                rows.append((name, part.n, percent(part.accuracy), _range(part.interval), "", "", ""))
    return table(("test photos", "n", "accuracy", "95 % interval", "macro-F1", "top-3", "calibration error"), rows)


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1%} to {interval[1]:.1%}"


def _classes(report: Report) -> Iterator[str]:
    yield heading("Each class")
    yield paragraph("Precision: of what gets the name, the share that is it. Recall: of what is it, the share that "
                    "gets the name. F1: their harmonic mean. False alarms: photos of others that get the name.",
                    "quiet")
    day, night = (report.results[lighting].classes for lighting in LIGHTINGS)
    rows = []
    for name, found in day.items():
        row: list[object] = [name, found.n]
        for each in (found, night[name]):
            row += [each.right, each.wrong, each.false_alarms, percent(each.precision), percent(each.recall),
                    percent(each.f1)]
        rows.append(row)
    columns = ("right", "wrong", "false alarms", "precision", "recall", "F1")
    yield table(("class", "n", *_by_lighting("taken:", *columns), *_by_lighting("grey:", *columns)), rows)


def _by_lighting(word: str, *columns: str) -> list[Html]:
    """The headers of columns that come for both lightings, on several lines: the table is wide."""
    return [Html("<br>".join(f"{word} {column}".split())) for column in columns]


def _points(report: Report) -> Iterator[str]:
    yield heading("Operating points")
    yield paragraph("The probability from which on a class counts as recognised, chosen on the validation photos as "
                    "the lowest of at least 0.5 with a precision of 95 %; n: validation photos of the class. Beside "
                    "it, what the same threshold gives on the test photos: by day on those in colour only, as the "
                    "camera applies the point for grey to those that are grey as taken (n: day / grey). * marks "
                    "classes that no threshold brings to 95 %, or that have no validation photo: do not rely on their "
                    "alerts.", "quiet")
    rows = []
    for name, points in report.points.items():
        day, night = points["day"], points["night"]
        rows.append((name, _counts(day.n, night.n), _counts(day.test_n, night.test_n), *_point(day), *_point(night)))
    columns = ("from", "precision", "recall", "test precision", "test recall")
    yield table(("class", "n", Html("n<br>test"), *_by_lighting("day:", *columns), *_by_lighting("grey:", *columns)),
                rows)


def _counts(day: int, night: int) -> str:
    return str(day) if day == night else f"{day} / {night}"


def _point(point: Point) -> tuple[str, ...]:
    start = f"{point.threshold:.2f}"
    return (start if point.reached else Html(f'<span class="bad">{start} *</span>'), percent(point.precision),
            percent(point.recall), percent(point.test_precision), percent(point.test_recall))


def _confusion(report: Report) -> Iterator[str]:
    yield heading("What is taken for what")
    for lighting in LIGHTINGS:
        counts = np.array(report.results[lighting].confusion)
        wrong = counts - np.diag(np.diag(counts))
        involved = np.flatnonzero(wrong.any(axis=0) | wrong.any(axis=1) | (len(counts) <= charts.MOST_CLASSES))
        most = involved[np.argsort(-(wrong.sum(0) + wrong.sum(1))[involved], kind="stable")][: charts.MOST_CLASSES]
        shown = np.sort(most)
        if not len(shown):
            yield paragraph(f"No test photo was named wrongly {WORDS[lighting]}.")
            continue
        names = [report.subject.names[index] for index in shown]
        metrics = report.results[lighting].metrics
        yield heading(f"Test photos {WORDS[lighting]}: {metrics.accuracy:.1%} of {metrics.n} right", 3)
        if len(shown) < len(counts):
            yield paragraph(f"Only the {len(shown)} classes with most confusions are drawn, of {len(counts)}; all are "
                            f"in {DATA}.", "quiet")
        yield picture(charts.confusion_chart(counts[np.ix_(shown, shown)], counts.sum(axis=1)[shown], names),
                      alt=f"confusion matrix {WORDS[lighting]}")


def _curves(report: Report) -> Iterator[str]:
    results = report.results["day"].classes
    there = [(found.average_precision, name) for name, found in results.items() if found.average_precision is not None]
    weakest = {name for _, name in sorted(there)[: charts.MOST_CLASSES]}
    names = [name for _, name in there if name in weakest]
    yield heading("Precision and recall")
    yield paragraph("What other thresholds would give on the test photos: up and to the right is better, the dotted "
                    "line is 95 %. A dot is the operating point; a hollow one did not reach 95 % in validation. By "
                    "day it stands for the photos in colour only, so it may lie beside the line.", "quiet")
    if len(names) < len(there):
        yield paragraph(f"Only the {len(names)} weakest classes are drawn, of {len(there)}; all are in {DATA}.",
                        "quiet")
    yield picture(charts.precision_recall_charts(report, names), alt="precision-recall curves")


def _reliability(report: Report) -> Iterator[str]:
    yield heading("Can its probabilities be believed?")
    yield paragraph("On the dotted line an answer that is 80 % sure is right 8 times in 10; below it the model is too "
                    "sure. A dot's size shows how many answers it stands for, the line through it where the true "
                    "share may be (95 % interval).", "quiet")
    pairs = {f"Test photos {WORDS[lighting]}": (found.before_temperature, found.after_temperature)
             for lighting, found in report.results.items()}
    yield picture(charts.reliability_chart(pairs), alt="reliability diagram")


def _geometry(report: Report) -> Iterator[str]:
    yield heading("Shifted, zoomed, stretched, turned")
    yield paragraph(sensitivity(report))
    yield picture(charts.geometry_chart(report.unmoved, report.moved), alt="accuracy after changes of the geometry")


def _learning(report: Report) -> Iterator[str]:
    if report.subject.history:
        yield heading("How it learned")
        yield picture(charts.learning_chart(report.subject.history), alt="learning curves")
        if report.subject.kept:
            yield paragraph(f"The bundle holds these weights: {report.subject.kept}. The dot marks the epoch with the "
                            f"least loss on the validation photos.", "quiet")


def _mistakes(report: Report, pixels: Pixels) -> Iterator[str]:
    yield heading("The surest mistakes")
    wrong = sum(found.wrong for found in report.results["day"].classes.values())
    if not wrong:
        yield paragraph(f"No test photo was named wrongly {WORDS['day']}.")
        return
    yield paragraph(f"{len(report.mistakes)} of the {wrong} wrong answers on photos as taken, the surest first, as the "
                    f"network sees them: stretched to a square. Is the photo or its label at fault?", "quiet")
    yield wall(picture(thumbnail(pixels[mistake.row][..., ::-1]), _caption(mistake)) for mistake in report.mistakes)


def _caption(mistake: Mistake) -> str:
    return f"{mistake.truth}, called {mistake.answer} ({mistake.probability:.0%} sure): {mistake.path}"


def _left_out(report: Report) -> Iterator[str]:
    found = report.subject.left_out
    if found.unreadable or found.notes:
        yield heading("Left out, and other notes")
        yield from (paragraph(line) for line in (*found.notes, *found.unreadable[:UNREADABLE_SHOWN]))
        if len(found.unreadable) > UNREADABLE_SHOWN:
            yield paragraph(f"and {len(found.unreadable) - UNREADABLE_SHOWN} more; all are in {DATA}.", "quiet")
