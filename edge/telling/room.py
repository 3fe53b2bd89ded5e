"""Room in a trap's SQLite file: what is worth least goes first, and is counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from edge.telling.payloads import Message

MAX_ROWS = 100_000
MAX_MESSAGES = 20_000
# Pictures before texts; of each, first what the broker has already, then the oldest.
_WORST = "SELECT row, picture FROM messages ORDER BY picture DESC, taken = 0, priority DESC, row LIMIT 1"
# Visits that are over and were never alerted, oldest first.
_OLD_SIGHTINGS = (
    "DELETE FROM sightings WHERE row IN (SELECT row FROM sightings WHERE type = 'end'"
    " AND id NOT IN (SELECT id FROM alerts) ORDER BY row LIMIT ?)"
)


def make_room(db: sqlite3.Connection, messages: Sequence[Message]) -> list[Message]:
    """Delete what is worth least until `messages` fit; return those that do (a picture may be too big)."""
    kept = list(messages)
    while (short := _missing_pages(db, kept) > 0) or _too_many(db, kept):
        worst = db.execute(_WORST).fetchone()
        if worst and worst[1]:
            _drop(db, "pictures", "DELETE FROM messages WHERE row = ?", worst[0])
        elif any(message.picture for message in kept):
            left = [message for message in kept if not message.picture]
            count(db, "pictures", len(kept) - len(left))
            kept = left
        elif not (short and _drop(db, "sightings", _OLD_SIGHTINGS, 100)):
            if not worst:
                break
            _drop(db, "texts", "DELETE FROM messages WHERE row = ?", worst[0])
    return kept


def trim(db: sqlite3.Connection) -> None:
    """Keep the tables that only grow to a number of rows; the oldest go."""
    for table in ("sightings", "alerts"):
        excess = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - MAX_ROWS + 1
        if excess > 0:
            statement = f"DELETE FROM {table} WHERE row IN (SELECT row FROM {table} ORDER BY row LIMIT ?)"
            deleted = db.execute(statement, (excess,)).rowcount
            if table == "sightings":
                count(db, "sightings", deleted)


def count(db: sqlite3.Connection, name: str, more: int) -> None:
    """Count what was dropped."""
    if more:
        db.execute(
            "INSERT INTO counters (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )


def _drop(db: sqlite3.Connection, counter: str, statement: str, value: int) -> int:
    deleted = db.execute(statement, (value,)).rowcount
    count(db, counter, deleted)
    return deleted


def _missing_pages(db: sqlite3.Connection, messages: Sequence[Message]) -> int:
    size, most, used, free = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "max_page_count", "page_count", "freelist_count")
    )
    # Rows and index entries take a page or two each, and a tree may split: better a little early than SQLITE_FULL.
    needed = sum(len(message.payload) // (size - 4) + 4 for message in messages) + 16
    return int(needed - (most - used + free))


def _too_many(db: sqlite3.Connection, more: Sequence[Message]) -> bool:
    return bool(db.execute("SELECT count(*) FROM messages").fetchone()[0] + len(more) > MAX_MESSAGES)
