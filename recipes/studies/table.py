"""The Markdown tables of a study, from what `train fit` wrote into the bundles."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.bundle import SPLIT, ModelBundle
from recipes.studies.plan import Training
from train.report.numbers import DATA

HEAD = ("photos", "classes", "network", "how", "weights", "px", "test photos", "right", "95 % interval", "macro-F1",
        "in grey", "kept")
CLASS_HEAD = ("class", "trained on", "test photos", "right", "wrong", "taken for")
NO_WEIGHTS = "none: not comparable"
SCRATCH = "none, as there"


@dataclass(frozen=True, slots=True)
class Result:
    """A training and what its bundle says: the manifest's provenance, `report.json` and the rows of `split.csv`."""

    training: Training
    settings: dict[str, Any]
    report: dict[str, Any]
    trained: dict[str, int]
    """Training photos of each class."""

    @property
    def comparable(self) -> bool:
        """Whether it began with weights, or was meant to begin without."""
        return self.settings["weights"] != "none" or self.training.recipe == "scratch"


def read(training: Training, bundle: ModelBundle) -> Result:
    """What a bundle says of its training."""
    report = json.loads((bundle.path / DATA).read_text(encoding="utf-8"))
    with (bundle.path / SPLIT).open(newline="", encoding="utf-8") as file:
        trained = Counter(row["label"] for row in csv.DictReader(file) if row["split"] == "train")
    return Result(training, bundle.manifest.provenance.settings, report, dict(trained))


def summary(results: Iterable[Result]) -> str:
    """One line for each training; shares are per cent of the test photos."""
    return markdown(HEAD, [_line(result) for result in results])


def _line(result: Result) -> tuple[str, ...]:
    settings, day = result.settings, result.report["results"]["day"]
    low, high = (100 * share for share in day["interval"])
    weights = (SCRATCH if result.training.recipe == "scratch" else NO_WEIGHTS) if settings["weights"] == "none" \
        else "ImageNet"
    return (
        result.training.photos, str(len(result.report["names"])), settings["backbone"], result.training.how, weights,
        str(settings["size"]), str(day["metrics"]["n"]), percent(day["metrics"]["accuracy"]), f"{low:.0f}-{high:.0f}",
        percent(day["metrics"]["macro_f1"]), percent(result.report["results"]["night"]["metrics"]["accuracy"]),
        result.report["kept"],
    )


def classes(result: Result) -> str:
    """One line for each class: how many of its test photos were right and wrong, and what the wrong ones got."""
    day, names = result.report["results"]["day"], result.report["names"]
    lines = []
    for name, row in zip(names, day["confusion"], strict=True):
        found = day["classes"][name]
        taken = {other: count for other, count in zip(names, row, strict=True) if count and other != name}
        lines.append((name, str(result.trained.get(name, 0)), str(found["n"]), str(found["right"]),
                      str(found["wrong"]), ", ".join(f"{other} {count}" for other, count in taken.items())))
    return markdown(CLASS_HEAD, lines)


def percent(share: float) -> str:
    """`97.4`."""
    return f"{100 * share:.1f}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; columns without anything in any line are left out."""
    kept = [column for column in range(len(head)) if any(line[column] for line in lines)]
    rows = [[line[column] for column in kept] for line in (head, *lines)]
    text = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([text[0], "|" + "---|" * len(kept), *text[1:]]) + "\n"


def document(
    results: Sequence[Result], inspected: str, per_class: bool, typed: str
) -> str:
    """All that a study prints.

    Args:
        results: of its trainings.
        inspected: what `train inspect` printed of its photos, or nothing.
        per_class: whether there is a table of classes for each training that can be compared.
        typed: the command.
    """
    parts = [summary(results)]
    if not all(result.comparable for result in results):
        parts.append("Not comparable: there were no weights for this network, so it learned from nothing, with small "
                     "pictures and for one epoch. It shows that the network can be trained, and nothing else.\n")
    if doubts := dict.fromkeys(f"- {result.training.photos}: {doubt}\n"
                               for result in results for doubt in result.report["doubts"]):
        parts.append("".join(doubts))
    if per_class:
        parts += [f"`{result.settings['backbone']}`, {result.training.photos}:\n\n{classes(result)}"
                  for result in results if result.comparable]
    if inspected:
        parts.append(f"```\n{inspected.rstrip()}\n```\n")
    seeds = sorted({result.settings["seed"] for result in results})
    parts.append(f"Per cent of the test photos; seed {', '.join(map(str, seeds))}. Made by `{typed}`.\n")
    return "\n".join(parts)


