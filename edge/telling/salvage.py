"""What can still be read of a damaged SQLite file."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]


def save(damaged: Path, new: sqlite3.Connection, sound: Callable[[str, Mapping[str, Any]], bool]) -> int:
    """Copy the rows that can be read; whatever cannot be is left out.

    Args:
        damaged: the file.
        new: has the tables that are to be filled; the first column of each is its primary key.
        sound: whether a row of a table may be kept: damage may have changed what can be read, too.

    Returns:
        How many rows were copied.
    """
    saved = 0
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(damaged)) as old:
        ours = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        for (table,) in new.execute(ours).fetchall():
            there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
            columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})") if row[1] in there]
            if columns:
                saved += _copy(old, new, table, columns, functools.partial(sound, table))
    return saved


def _copy(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    sound: Callable[[Mapping[str, Any]], bool],
) -> int:
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    saved = 0
    new.execute("BEGIN")
    try:
        for backwards in (False, True):
            with contextlib.suppress(sqlite3.DatabaseError):
                for row in _rows(old, table, columns, backwards):
                    # A damaged row may break the rules of its table; one that came from the other end is there already.
                    if sound(dict(zip(columns, row, strict=True))):
                        with contextlib.suppress(sqlite3.IntegrityError):
                            saved += new.execute(insert, row).rowcount
                break  # There was a way from one end to the other.
    finally:
        new.execute("COMMIT")
    return saved


def _rows(old: sqlite3.Connection, table: str, columns: Sequence[str], backwards: bool) -> Iterator[Row]:
    """Rows from one end on, but for those that cannot be read.

    One at a time: a cursor steps ahead, so that a damaged row would take the one before it along.

    Raises:
        sqlite3.DatabaseError: not even the key of the next row can be read.
    """
    key = columns[0]
    beyond, order = ("<", "DESC") if backwards else (">", "ASC")
    found = old.execute(f"SELECT {key} FROM {table} ORDER BY {key} {order} LIMIT 1").fetchone()
    while found is not None:
        with contextlib.suppress(sqlite3.DatabaseError, UnicodeDecodeError):
            yield old.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {key} = ?", found).fetchone()
        next_key = f"SELECT {key} FROM {table} WHERE {key} {beyond} ? ORDER BY {key} {order} LIMIT 1"
        found = old.execute(next_key, found).fetchone()
