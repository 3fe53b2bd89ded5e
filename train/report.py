"""The pictures of a training: how it went, and what the model confuses."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.progress import score

Counts = NDArray[np.int64]
INK, QUIET, DAY, NIGHT = "#222222", "#888888", "#1f6f8b", "#c8553d"


def confusion(answers: NDArray[np.int64], truth: NDArray[np.int64], classes: int) -> Counts:
    """(classes, classes) int64: how many photos of each row's class were called each column's."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, answers), 1)
    return table


def confusion_png(tables: dict[str, Counts], names: Sequence[str]) -> bytes:
    """One confusion matrix for each lighting, side by side, as a PNG file."""
    side = max(4.0, 0.36 * len(names) + 1.8)
    figure = Figure((side * len(tables), side + 0.6), layout="constrained")
    for axes, (title, table) in zip(np.atleast_1d(figure.subplots(1, len(tables))), tables.items(), strict=True):
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(table), strict=True):
            dark = shares[row, column] > 0.55
            wrong = row != column
            axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=8,
                      color="white" if dark else NIGHT if wrong else INK, fontweight="bold" if wrong else "normal")
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("the model says")
        axes.set_ylabel("the photo shows")
        right = np.trace(table) / max(1, table.sum())
        axes.set_title(f"{title}: {right:.1%} of {table.sum()} test photos right", fontsize=11, color=INK)
        axes.tick_params(length=0, labelsize=9)
    return _png(figure)


def curves_png(history: Sequence[dict[str, float]]) -> bytes:
    """Loss and accuracy over the epochs, as a PNG file."""
    epochs = np.arange(len(history))
    figure = Figure((10, 4), layout="constrained")
    for axes, key, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        # The head alone was trained on photos as they are: its first entry does not compare with the later ones.
        lines = ((key, 1, QUIET, "training (augmented)"), (f"val_{key}", 0, DAY, "validation"))
        for name, first, colour, label in lines:
            values = [entry[name] for entry in history]
            axes.plot(epochs[first:], values[first:], color=colour, marker="o", markersize=4, label=label)
        best = max(range(len(history)), key=lambda epoch: score(history[epoch]))
        axes.plot(best, history[best][f"val_{key}"], "o", color=NIGHT, markersize=8, label="best", zorder=3)
        axes.set_title(title, fontsize=11, color=INK)
        axes.set_xlabel("epoch of fine-tuning (0: a new head on the frozen backbone)")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
            axes.legend(frameon=False, loc="lower right", fontsize=9)
    return _png(figure)


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
