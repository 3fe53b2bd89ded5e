"""Photos listed in a CSV file: where they are, what they show, and where and when they were taken."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from models.errors import EdgeWatchError
from train.texts import read_text

COLUMNS = {
    "path": ("path", "filepath", "filename", "file"),
    "label": ("label", "class", "species"),
    "split": ("split",),
    "sha256": ("sha256",),
    "location": ("location", "site", "station", "deployment_id"),
    "sequence": ("sequence", "seq_id", "sequence_id", "event_id"),
    "timestamp": ("timestamp", "datetime"),
    "licence": ("licence", "license"),
    "box": ("box",),
}
"""What columns are called in tables of camera-trap photos (zamba, Wildlife Insights, Camtrap DP); the first wins."""


@dataclass(frozen=True, slots=True)
class Row:
    """One photo of a table, as it is written there; empty where the table does not say. `line` counts from 1."""

    line: int
    path: str
    label: str = ""
    split: str = ""
    sha256: str = ""
    location: str = ""
    sequence: str = ""
    timestamp: str = ""
    licence: str = ""
    box: str = ""


def read_table(path: Path, needed: Sequence[str], option: str = "DATA") -> list[Row]:
    """Read the rows of a CSV file with a header; upper and lower case, `;` and tabs, and Excel's BOM are no matter.

    Args:
        path: the file.
        needed: which of `COLUMNS` it must have.
        option: what the user gave it for, for messages.

    Raises:
        UsageError: no such file, or no text.
        EdgeWatchError: a column is missing, or a row cannot be read or names no photo.
    """
    text = read_text(path, "a CSV file in UTF-8", f"save it as CSV UTF-8, or correct {option}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    rows: list[Row] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        found = {field: [header.index(name) for name in names if name in header] for field, names in COLUMNS.items()}
        places = {field: found[field][0] for field in COLUMNS if found[field]}
        if missing := [field for field in needed if field not in places]:
            raise EdgeWatchError(f"{path}: expected a column {_named(missing[0])} in line 1, found "
                                 f"{', '.join(header) or 'an empty file'}; add it or rename yours")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = {field: cells[place].strip() for field, place in places.items() if place < len(cells)}
            if not row.get("path") or "\0" in row["path"]:
                raise EdgeWatchError(f"{path}: expected a photo's path in line {reader.line_num}, found none; fill it "
                                     f"in or remove the line")
            rows.append(Row(reader.line_num, **row))
    except csv.Error as error:
        raise EdgeWatchError(f"{path}: expected a row of a CSV file in line {reader.line_num}, found: {error}; "
                             f"save it as CSV again") from error
    return rows


def has_header(line: str) -> bool:
    """Whether a line is the header of a table of photos, and not a path."""
    return any(name.strip().strip('"').lower() in COLUMNS["path"] for name in line.split(_delimiter(line)))


def taken(timestamp: str) -> datetime | None:
    """The time in a table's cell: ISO 8601, or as EXIF writes it (`2016:02:20 08:13:15`); None if it is neither.

    A day without a time is none, or all that one camera saw on it would be one burst.
    """
    if len(timestamp) <= 10:
        return None
    day, rest = timestamp[:10], timestamp[10:]
    try:
        found = datetime.fromisoformat(day.replace(":", "-").replace("/", "-") + rest)
    except ValueError:
        return None
    return found.replace(tzinfo=None)  # One table keeps to one clock; only differences count.


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _named(field: str) -> str:
    first, *others = COLUMNS[field]
    return f"`{first}`" + (f" (or `{'`, `'.join(others)}`)" if others else "")
