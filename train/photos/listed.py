"""Photos that a CSV file lists."""

from __future__ import annotations

import os
from pathlib import Path

from models.boxes import Box, from_text
from models.errors import EdgeWatchError
from train.photos.data import SIDES, DataSet, Photo, Split, beside
from train.photos.table import Row, read_table, taken
from train.words import some


def listed(table: Path) -> DataSet:
    """The photos of a CSV file, which has the columns `path` and `label`; `train.photos.table.COLUMNS` has the others.

    Raises:
        UsageError: it is no text.
        EdgeWatchError: a column, a path or a label is missing, a cell says what cannot be, or no photo is there.
    """
    rows = read_table(table, ("path", "label"))
    root = table.parent
    notes: list[str] = []
    if blank := [str(row.line) for row in rows if not row.label]:
        raise EdgeWatchError(f"{table}: expected a label in each line, found none in line {some(blank)}; fill it in "
                             f"(`empty` where there is no animal) or remove the line")
    if not rows:
        raise EdgeWatchError(f"{table}: expected a photo in each line below the header, found no such line; add the "
                             f"photos or name another file")
    sides = _sides(table, rows, notes)
    photos: dict[str, Photo] = {}
    lines: dict[str, int] = {}
    untimed = []
    for row, split in zip(rows, sides, strict=True):
        time = taken(row.timestamp)
        if row.timestamp and not time:
            untimed.append(str(row.line))
        photo = Photo(beside(root, row.path), row.label, split, location=row.location, sequence=row.sequence,
                      timestamp=time.isoformat() if time else "", box=_box(table, row))
        known = photos.setdefault(photo.name, photo)
        first = lines.setdefault(photo.name, row.line)
        if known.label != row.label:
            raise EdgeWatchError(f"{table}: expected one label for each photo, found {photo.name} as {known.label} in "
                                 f"line {first} and as {row.label} in line {row.line}; keep one of them")
    if not any(os.path.exists(root / photo.path) for photo in photos.values()):
        raise EdgeWatchError(f"{table}: expected paths relative to {root}, found none of its {len(photos)} photos "
                             f"there (the first is {next(iter(photos.values())).path}); correct them or move the file")
    if len(rows) > len(photos):
        notes.append(f"{table.name} lists {len(rows) - len(photos)} photos twice; each counts once")
    if untimed:
        notes.append(f"{table.name}: {len(untimed)} timestamps are no time as 2026-05-31T04:15:00 (line "
                     f"{some(untimed)}), so they are not used")
    return DataSet(root, tuple(photos[name] for name in sorted(photos)), notes=tuple(notes), table=table)


def _box(table: Path, row: Row) -> Box | None:
    try:
        return from_text(row.box)
    except ValueError as error:
        raise EdgeWatchError(f"{table}: {error} in line {row.line}; correct it or empty the cell") from error


def _sides(table: Path, rows: list[Row], notes: list[str]) -> list[Split | None]:
    stated = {row.split.lower() for row in rows}
    if len(stated) == 1 and not stated & {*SIDES, ""}:
        notes.append(f"{table.name}: the split is {rows[0].split} for every photo, which divides nothing, so a new one "
                     f"is drawn")
        return [None] * len(rows)
    for row in rows:
        if row.split and row.split.lower() not in SIDES:
            raise EdgeWatchError(f"{table}: expected the split to be train, val, test or empty, found {row.split} in "
                                 f"line {row.line}; correct it or remove the column")
    return [SIDES.get(row.split.lower()) for row in rows]
