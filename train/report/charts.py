"""The charts of the report, drawn with matplotlib: the only module that imports it. Each is an SVG file."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingRuntimeError
from models.evaluation import wilson
from train.history import score
from train.report.numbers import Moved, Reliability, Report, Share

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter
except ImportError as error:
    raise MissingRuntimeError(f"expected matplotlib for the report, found none ({error}); "
                              f"type, in the checkout: pip install '.[report]'") from error

INK, QUIET, LINES, DAY, NIGHT = "#222222", "#999999", "#e4e4e4", "#1f6f8b", "#c8553d"
WIDTH = 10.5
"""Inches; a page is about as wide."""
STYLE: dict[Any, Any] = {
    "savefig.facecolor": "none", "axes.facecolor": "none",
    # Text stays text: the browser has letters for every script, and matplotlib's font has not.
    "svg.fonttype": "none", "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}
MOST_CLASSES = 40
"""More rows than this are no longer readable."""
LABELLED_TWICE = 12
"""With more classes than this, a confusion matrix has labels at the top, too."""
COLUMNS = 5


def confusion_chart(counts: NDArray[np.int64], totals: NDArray[np.int64], names: Sequence[str]) -> bytes:
    """A confusion matrix: (k, k) counts in cells, shaded by their share of `totals`, (k,) photos of each class."""
    shares = counts / np.maximum(totals, 1)[:, None]
    side = min(WIDTH, 2.2 + 0.4 * len(names))
    with mpl.rc_context(STYLE):
        figure = Figure((side, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
        axes.grid(which="minor", color=LINES, linewidth=0.6)
        for row, column in zip(*np.nonzero(counts), strict=True):
            wrong, dark = row != column, shares[row, column] > 0.55
            axes.text(column, row, str(counts[row, column]), ha="center", va="center",
                      fontsize=9 if len(names) <= 25 else 7, color="white" if dark else NIGHT if wrong else INK,
                      fontweight="bold" if wrong else "normal")
        short = [_short(name) for name in names]
        axes.set_xticks(range(len(names)), short, rotation=90)
        axes.set_yticks(range(len(names)), short)
        axes.set_xlabel("the model says")
        axes.set_ylabel("the photo shows")
        axes.tick_params(which="both", length=0)
        if len(names) > LABELLED_TWICE:
            axes.tick_params(labeltop=True)
        axes.spines[:].set_visible(False)
        return _svg(figure)


def precision_recall_charts(report: Report, names: Sequence[str]) -> bytes:
    """Precision over recall of some classes, a small chart each, as taken and in grey; operating points as dots."""
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    total = report.results["day"].metrics.n
    with mpl.rc_context(STYLE):
        figure = Figure((max(4.5, WIDTH * columns / COLUMNS), 1.95 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, name in zip(grid, names, strict=False):
            for lighting, colour, width, label in (("day", DAY, 3.0, "as taken"),
                                                   ("night", NIGHT, 1.2, "in infrared-grey")):
                found, point = report.results[lighting].classes[name], report.points[name][lighting]
                # It ends where everything passes: of all photos, those of the class.
                steps = [(0.0, found.curve.precision[0]), *zip(found.curve.recall, found.curve.precision, strict=True),
                         (1.0, found.n / total)]
                if point.test_precision is not None and point.test_recall is not None:
                    if lighting == "night" or not report.grey_as_taken:  # Else the point is that of other photos.
                        steps.append((point.test_recall, point.test_precision))
                    axes.plot(point.test_recall, point.test_precision, "o", color=colour, markersize=5, clip_on=False,
                              markerfacecolor=colour if point.reached else "white", zorder=3)
                steps.sort(key=lambda step: (step[0], -step[1]))
                axes.plot(*zip(*steps, strict=True), color=colour, linewidth=width, alpha=0.8, label=label,
                          clip_on=False, drawstyle="steps-pre")
            axes.axhline(0.95, color=QUIET, linewidth=0.6, linestyle=":")
            axes.set(title=_short(name, 20), xlim=(0, 1.0), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 0.95))
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for axes in figure.axes[len(names):]:
            axes.set_visible(False)
        figure.supxlabel("recall", fontsize=9)
        figure.supylabel("precision", fontsize=9)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, ncols=2, loc="outside upper left")
        return _svg(figure)


def reliability_chart(by_lighting: Mapping[str, tuple[Reliability, Reliability]]) -> bytes:
    """How often answers are right, over how sure they are, before and after the temperature; a panel per title."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 5.6), layout="constrained")
        for axes, (title, pair) in zip(figure.subplots(1, len(by_lighting)), by_lighting.items(), strict=True):
            axes.plot((0, 1), (0, 1), color=QUIET, linewidth=0.8, linestyle=":")
            for found, colour, word in zip(pair, (QUIET, DAY), ("before", "after"), strict=True):
                x, y = [each.confidence for each in found.bins], [each.accuracy for each in found.bins]
                answers = sum(each.n for each in found.bins)
                if word == "after":
                    ranges = [wilson(round(each.accuracy * each.n), each.n) for each in found.bins]
                    axes.vlines(x, *zip(*ranges, strict=True), color=colour, linewidth=0.8)
                axes.scatter(x, y, [20 + 250 * each.n / answers for each in found.bins], clip_on=False, zorder=3,
                             color=colour if word == "after" else "none", edgecolors=colour,
                             label=f"{word} (temperature {found.temperature:.2f}): off by {found.error:.1%} on average")
            axes.set(title=title, xlim=(0, 1), ylim=(0, 1), xlabel="how sure", ylabel="how often right", aspect="equal")
            _percent(axes.xaxis, axes.yaxis)
            for handle in axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.13)).legend_handles:
                handle.set_sizes([40.0])
        return _svg(figure)


def learning_chart(history: Sequence[Mapping[str, float]]) -> bytes:
    """Loss and accuracy over the epochs; the epoch with the least validation loss is marked."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, key, title, unit in ((left, "loss", "Loss", 1), (right, "accuracy", "Accuracy", 100)):
            # The head alone was trained on photos as they are: its first entry does not compare with the later ones.
            for name, first, colour, label in ((key, 1, QUIET, "training (augmented photos)"),
                                               (f"val_{key}", 0, DAY, "validation")):
                values = [entry[name] * unit for entry in history]
                axes.plot(range(first, len(values)), values[first:], color=colour, marker="o", markersize=4,
                          label=label)
            best = max(range(len(history)), key=lambda epoch: score(history[epoch]))
            axes.plot(best, history[best][f"val_{key}"] * unit, "o", color=NIGHT, markersize=7, label="best", zorder=3,
                      linestyle="none")
            axes.set(title=title, xlabel="epoch (0: a new head on the frozen backbone)")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        right.yaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 5, 10]))
        right.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
        figure.legend(*left.get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper left")
        return _svg(figure)


def geometry_chart(unmoved: Share, moved: Sequence[Moved]) -> bytes:
    """The share right after each change of the geometry, with that of the unchanged photos as a line."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH * 0.8, 0.34 * len(moved) + 1.1), layout="constrained")
        axes = figure.subplots()
        low = min(unmoved.interval[0], *(view.accuracy for view in moved))
        axes.axvspan(*unmoved.interval, color=QUIET, alpha=0.18, linewidth=0)
        axes.axvline(unmoved.accuracy, color=INK, linewidth=1.0)
        axes.plot([view.accuracy for view in moved], range(len(moved)), "o", color=DAY, markersize=7, clip_on=False)
        for row, view in enumerate(moved):
            axes.annotate(f"{view.accuracy:.1%}  ({view.lost} lost, {view.won} won)", (1.02, row),
                          xycoords=("axes fraction", "data"), va="center")
        axes.set_yticks(range(len(moved)), [view.name for view in moved])
        axes.invert_yaxis()
        axes.set_xlim(max(0.0, math.floor(low * 20 - 0.5) / 20), 1.0)
        axes.set_title(f"unchanged: {unmoved.accuracy:.1%} of {unmoved.n} right (line; shaded: its 95 % interval)",
                       loc="left")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        _percent(axes.xaxis)
        return _svg(figure)


def _percent(*lines: Any) -> None:
    for line in lines:
        line.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(figure: Figure) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # The browser has it.
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
