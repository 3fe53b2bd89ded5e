"""One SQLite file per trap: the messages still to deliver, the ids already alerted, and every visit seen."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.database import Database
from edge.looks import from_text, to_text
from edge.payloads import Message
from edge.types import Alert, BBox, Sighting
from models.errors import OutboxError

__all__ = ["DEFAULT_MAX_BYTES", "FILE_NAME", "Counts", "Outbox", "OutboxError", "Stored"]

DEFAULT_MAX_BYTES = 256 * 1024 * 1024
FILE_NAME = "edge-watch.sqlite"

_MAX_ROWS = 100_000
_LONGEST_DELAY_S = 3600.0
_MOST_LIKE = 5

_MIGRATIONS = (
    """
    CREATE TABLE messages (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, priority INTEGER NOT NULL, picture INTEGER NOT NULL,
        topic TEXT NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        retry_at REAL NOT NULL DEFAULT 0, refused TEXT NOT NULL DEFAULT '', payload BLOB NOT NULL);
    CREATE INDEX messages_in_order ON messages (priority, row);
    CREATE TABLE alerts (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, species TEXT NOT NULL, source TEXT NOT NULL,
        event_start TEXT NOT NULL, event_start_unix REAL NOT NULL);
    CREATE INDEX alerts_by_species ON alerts (species, event_start_unix);
    CREATE TABLE sightings (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, species TEXT NOT NULL,
        scientific_name TEXT NOT NULL, observation_type TEXT NOT NULL, probability REAL NOT NULL,
        event_start TEXT NOT NULL, last_seen TEXT NOT NULL, event_end TEXT, lighting TEXT NOT NULL,
        frames INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL,
        frame_width INTEGER NOT NULL, frame_height INTEGER NOT NULL, source TEXT NOT NULL, replay INTEGER NOT NULL,
        pictured INTEGER NOT NULL, last_seen_unix REAL NOT NULL);
    CREATE INDEX sightings_by_time ON sightings (last_seen_unix);
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    """,
    "ALTER TABLE sightings ADD COLUMN timestamp_issues INTEGER NOT NULL DEFAULT 0;",
    """
    ALTER TABLE sightings ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE sightings ADD COLUMN members TEXT NOT NULL DEFAULT '';
    ALTER TABLE sightings ADD COLUMN evidence TEXT NOT NULL DEFAULT '';
    """,
)
_PLAIN = (
    *("id", "type", "species", "scientific_name", "observation_type", "probability"),
    *("lighting", "frames", "source", "replay", "pictured"),
    *("timestamp_issues", "count"),
)
_TIMES = ("event_start", "last_seen", "event_end")
_BOX = ("x", "y", "width", "height")
_SIZE = ("frame_width", "frame_height")
_COLUMNS = (*_PLAIN, *_TIMES, *_BOX, *_SIZE, "members", "evidence")


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that waits: its row, and how often the broker has refused it."""

    row: int
    message: Message
    attempts: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits, what of it the broker refused, and what was deleted for lack of space since the file was begun."""

    depth: int
    refused: int
    dropped_pictures: int
    dropped_texts: int
    dropped_sightings: int

    @property
    def dropped(self) -> int:
        return self.dropped_pictures + self.dropped_texts + self.dropped_sightings


class Outbox(Database):
    """The trap's durable memory; every method may raise OutboxError, and then nothing of it was stored.

    Attributes:
        on_put: called (from the storing thread, without the lock) after new messages are stored; wakes the publisher.

    Args:
        path: the database file, usually `FILE_NAME` in the data folder; made if it is not there.
        max_bytes: most that the file may hold. When that is reached, pictures are dropped before texts.
    """

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.on_put: Callable[[], None] = lambda: None
        super().__init__(path, _MIGRATIONS, max_bytes)

    def __enter__(self) -> Outbox:
        return self

    # What the daemon writes.

    def put_alert(self, alert: Alert, messages: Sequence[Message]) -> bool:
        """Store an alert's messages and that its id is now alerted, in one transaction.

        Returns:
            False, and nothing stored, if that id was alerted before, also before a restart.
        """
        sighting = alert.sighting

        def work(db: sqlite3.Connection) -> bool:
            if db.execute("SELECT 1 FROM alerts WHERE id = ?", (sighting.id,)).fetchone():
                return False
            kept = self._make_room(db, messages)
            start = sighting.event_start
            db.execute(
                "INSERT INTO alerts (id, species, source, event_start, event_start_unix) VALUES (?, ?, ?, ?, ?)",
                (sighting.id, sighting.species, sighting.source, start.isoformat(), start.timestamp()),
            )
            db.executemany(
                "INSERT INTO messages (id, priority, picture, topic, qos, retain, payload)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(m.id, m.priority, m.picture, m.topic, m.qos, m.retain, m.payload) for m in kept],
            )
            _store_sighting(db, sighting)
            return True

        stored = self.run(work)
        if stored:
            self.on_put()
        return stored

    def save_sighting(self, sighting: Sighting) -> None:
        """Record a visit as it stands now, in place of what was recorded of it; its picture is not kept here."""

        def work(db: sqlite3.Connection) -> None:
            if sighting.type == "new":
                _trim(db)
            self._make_room(db, ())
            _store_sighting(db, sighting)

        self.run(work)

    # What the daemon asks after a restart.

    def open_sightings(self, source: str, since: datetime, now: datetime) -> list[Sighting]:
        """Visits at one source never ended, or last seen from `since` to `now`; oldest first, without pictures.

        A visit of the future was stored under a clock that ran ahead: it is ended, but cannot go on.
        """
        return self._sightings(
            "source = ? AND (type != 'end' OR last_seen_unix BETWEEN ? AND ?) ORDER BY last_seen_unix, row",
            *(source, since.timestamp(), now.timestamp()),
        )

    def alerted(self, id: str) -> bool:
        return self.run(lambda db: db.execute("SELECT 1 FROM alerts WHERE id = ?", (id,)).fetchone()) is not None

    def last_alert(self, species: str, source: str | None = None) -> datetime | None:
        """The `event_start` of a species' latest alert, from all sources or from one."""
        row = self.run(
            lambda db: db.execute(
                "SELECT event_start FROM alerts WHERE species = ? AND (? IS NULL OR source = ?)"
                " ORDER BY event_start_unix DESC LIMIT 1",
                (species, source, source),
            ).fetchone()
        )
        return datetime.fromisoformat(row[0]) if row else None

    # What people ask.

    def sightings_like(self, begin: str) -> list[Sighting]:
        """Visits whose id begins so, newest first, `_MOST_LIKE` at most; no wildcards."""
        return self._sightings("substr(id, 1, ?) = ? ORDER BY row DESC LIMIT ?", len(begin), begin, _MOST_LIKE)

    def newest_sightings(self, limit: int) -> list[Sighting]:
        """The visits that began last, newest first."""
        return self._sightings("1 ORDER BY row DESC LIMIT ?", limit)

    def _sightings(self, where: str, *values: object) -> list[Sighting]:
        rows = self.run(
            lambda db: db.execute(f"SELECT {', '.join(_COLUMNS)} FROM sightings WHERE {where}", values).fetchall()
        )
        return [_sighting(row) for row in rows]

    # What the publisher does.

    def pending(self, limit: int, skip: Collection[int] = ()) -> list[Stored]:
        """The next messages to send, by priority and then by age; `skip` names rows that are under way."""
        marks = ", ".join("?" * len(skip))
        now = time.time()
        rows = self.run(
            lambda db: db.execute(
                "SELECT row, topic, payload, qos, retain, priority, id, picture, attempts FROM messages"
                # A time too far ahead was set by a clock that was wrong: it does not count.
                f" WHERE (retry_at <= ? OR retry_at > ?) AND row NOT IN ({marks}) ORDER BY priority, row LIMIT ?",
                (now, now + _LONGEST_DELAY_S, *skip, limit),
            ).fetchall()
        )
        return [
            Stored(row, Message(topic, payload, qos, bool(retain), priority, id, bool(picture)), attempts)
            for row, topic, payload, qos, retain, priority, id, picture, attempts in rows
        ]

    def delivered(self, *rows: int) -> None:
        """Forget messages that the broker has taken."""
        self.run(lambda db: db.executemany("DELETE FROM messages WHERE row = ?", [(row,) for row in rows]))

    def refused(self, row: int, reason: str, retry_in_s: float) -> None:
        """Keep a message that the broker refused, and let it wait before it is tried again."""
        retry_at = time.time() + min(retry_in_s, _LONGEST_DELAY_S)
        self.run(
            lambda db: db.execute(
                "UPDATE messages SET refused = ?, attempts = attempts + 1, retry_at = ? WHERE row = ?",
                (reason, retry_at, row),
            )
        )

    def depth(self) -> int:
        """How many messages wait."""
        return self.counts().depth

    def counts(self) -> Counts:
        def work(db: sqlite3.Connection) -> Counts:
            depth, refused = db.execute("SELECT count(*), total(refused != '') FROM messages").fetchone()
            dropped = dict(db.execute("SELECT name, value FROM counters"))
            return Counts(depth, int(refused), *(dropped.get(name, 0) for name in ("pictures", "texts", "sightings")))

        return self.run(work)

    def _make_room(self, db: sqlite3.Connection, messages: Sequence[Message]) -> list[Message]:
        """Delete what is worth least until `messages` fit; return those that do (a picture may be too big)."""
        kept = list(messages)
        while self._missing_pages(db, kept) > 0:
            worst = db.execute(_WORST).fetchone()
            if worst and worst[1]:
                _drop(db, "pictures", "DELETE FROM messages WHERE row = ?", (worst[0],))
            elif any(message.picture for message in kept):
                left = [message for message in kept if not message.picture]
                _count(db, "pictures", len(kept) - len(left))
                kept = left
            elif not _drop(db, "sightings", _OLD_SIGHTINGS, (100,)):
                if not worst:
                    break
                _drop(db, "texts", "DELETE FROM messages WHERE row = ?", (worst[0],))
        return kept

    def _missing_pages(self, db: sqlite3.Connection, messages: Sequence[Message]) -> int:
        size, most, used, free = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "max_page_count", "page_count", "freelist_count")
        )
        # Rows and index entries take a page or two each, and a tree may split: better a little early than SQLITE_FULL.
        needed = sum(len(message.payload) // (size - 4) + 4 for message in messages) + 16
        return int(needed - (most - used + free))


_WORST = "SELECT row, picture FROM messages ORDER BY picture DESC, priority DESC, row LIMIT 1"
# Visits that are over and were never alerted, oldest first.
_OLD_SIGHTINGS = (
    "DELETE FROM sightings WHERE row IN (SELECT row FROM sightings WHERE type = 'end'"
    " AND id NOT IN (SELECT id FROM alerts) ORDER BY row LIMIT ?)"
)


def _trim(db: sqlite3.Connection) -> None:
    for table in ("sightings", "alerts"):
        excess = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - _MAX_ROWS + 1
        if excess > 0:
            statement = f"DELETE FROM {table} WHERE row IN (SELECT row FROM {table} ORDER BY row LIMIT ?)"
            deleted = db.execute(statement, (excess,)).rowcount
            if table == "sightings":
                _count(db, "sightings", deleted)


def _drop(db: sqlite3.Connection, counter: str, statement: str, values: tuple[int, ...]) -> int:
    deleted = db.execute(statement, values).rowcount
    _count(db, counter, deleted)
    return deleted


def _count(db: sqlite3.Connection, name: str, more: int) -> None:
    if more:
        db.execute(
            "INSERT INTO counters (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )


def _store_sighting(db: sqlite3.Connection, sighting: Sighting) -> None:
    row = {
        **{name: getattr(sighting, name) for name in _PLAIN},
        **{name: moment.isoformat() if (moment := getattr(sighting, name)) else None for name in _TIMES},
        **dict(zip(_BOX, sighting.box.as_tuple(), strict=True)),
        **dict(zip(_SIZE, sighting.frame_size, strict=True)),
        "members": ",".join(sighting.members),
        "evidence": to_text(sighting.evidence, sighting.event_start),
        "last_seen_unix": sighting.last_seen.timestamp(),
    }
    updates = ", ".join(f"{column} = excluded.{column}" for column in row if column != "id")
    db.execute(
        f"INSERT INTO sightings ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        f" ON CONFLICT (id) DO UPDATE SET {updates}",
        tuple(row.values()),
    )


def _sighting(row: Sequence[Any]) -> Sighting:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["members"] = tuple(filter(None, values["members"].split(",")))
    values["evidence"] = from_text(values["evidence"], values["event_start"])
    box = BBox(*(values.pop(name) for name in _BOX))
    width, height = (values.pop(name) for name in _SIZE)
    for name in ("replay", "pictured", "timestamp_issues"):
        values[name] = bool(values[name])
    return Sighting(**values, box=box, frame_size=(width, height))
