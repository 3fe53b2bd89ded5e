"""Tables to train on, made of the camera-trap frames: species with enough frames, with and without sides."""

from __future__ import annotations

import csv
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

from models.errors import EdgeWatchError
from recipes.studies.plan import BY_SEQUENCE, FREQUENT
from train.photos.data import Split
from train.photos.splits import SHARE

TRAPPED = "cameratrap/labels.csv"
"""Below --data; with the columns `NEEDED`. Rows without a species show no animal."""
NEEDED = ("path", "species", "sequence", "station", "timestamp", "label_confidence")
COLUMNS = ("path", "label", "location", "sequence", "timestamp", "split")
LEAST = 15
"""Frames of a species: two each to validate and to test on, and a few more to learn from."""
Row = dict[str, str]


def write_tables(trapped: Path, out: Path) -> None:
    """Write `FREQUENT`, whose sides `train fit` draws, and `BY_SEQUENCE`, which has sides.

    Raises:
        EdgeWatchError: a column is missing, or fewer than two species have enough frames.
    """
    rows = frequent(trapped)
    sides = by_sequence(rows)
    folder = trapped.parent.parent  # The paths begin with that of the table.
    for name, columns in ((FREQUENT, COLUMNS[:-1]), (BY_SEQUENCE, COLUMNS)):
        with (out / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row, side in zip(rows, sides, strict=True):
                path = os.path.relpath(folder / row["path"], out)
                cells = (path, row["species"], row["station"], row["sequence"], row["timestamp"], side)
                writer.writerow(cells[:len(columns)])


def frequent(trapped: Path, least: int = LEAST) -> list[Row]:
    """The rows of species with so many frames; those with a doubtful label are left out."""
    with trapped.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if missing := [column for column in NEEDED if not rows or column not in rows[0]]:
        raise EdgeWatchError(f"{trapped}: expected frames with the columns {', '.join(NEEDED)}, found no "
                             f"{', '.join(missing)}; name another folder with --data")
    sure = [row for row in rows if row["label_confidence"] != "low" and row["species"]]
    frames = Counter(row["species"] for row in sure)
    kept = [row for row in sure if frames[row["species"]] >= least]
    if len({row["species"] for row in kept}) < 2:
        raise EdgeWatchError(f"{trapped}: expected two species with {least} frames each, found fewer; name another "
                             f"folder with --data")
    return kept


def by_sequence(rows: list[Row], seed: int = 1) -> list[Split]:
    """A side for each row, drawn species by species: whole sequences (a frame without one is one by itself)."""
    sides: dict[str, Split] = {}
    frames: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        frames[row["species"]][row["sequence"] or row["path"]] += 1
    for species, counts in frames.items():
        order = sorted(counts)
        random.Random(f"{seed} {species}").shuffle(order)
        for side in ("test", "val"):
            lacking = round(SHARE * counts.total())
            while lacking > 0:
                sequence = order.pop()
                sides[sequence] = side
                lacking -= counts[sequence]
        sides.update(dict.fromkeys(order, "train"))
    return [sides[row["sequence"] or row["path"]] for row in rows]
