"""What DATA says of its photos: a description, and under which licences they stand."""

from __future__ import annotations

from collections import Counter

from models.errors import EdgeWatchError
from train.photos.data import DataSet
from train.photos.table import read_table
from train.texts import read_text


def about(data: DataSet) -> str:
    """The text of `DATA/ABOUT.md`, which describes the photos; empty without one.

    Raises:
        UsageError: it is no text.
    """
    path = data.root / "ABOUT.md"
    return read_text(path, "a text in UTF-8", "save it as UTF-8, or move it") if path.is_file() else ""


def licences(data: DataSet) -> dict[str, int]:
    """How many of the photos carry each licence, as the table or `DATA/manifest.csv` states it; empty without one."""
    table = data.table or data.root / "manifest.csv"
    if not table.is_file():
        return {}
    prefix = data.root.resolve().name + "/"
    try:
        rows = read_table(table, ("path", "licence"))
    except EdgeWatchError:  # Any file may be called so; one of another kind states no licences.
        return {}
    stated = {row.path.removeprefix(prefix): row.licence for row in rows if row.licence}
    return dict(Counter(stated.get(photo.path, "not stated") for photo in data.photos).most_common())
