"""The tables of `edge-listen.sqlite`; docs/mqtt.md explains each column to those who query them."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from edge.listen.messages import Cell, MalformedError, Told, read_alert
from edge.telling.database import Database

NAME = "edge-listen.sqlite"
_EARLIER_NAME = f".{NAME}"

_MIGRATIONS = (
    """
    CREATE TABLE alerts (id TEXT PRIMARY KEY, name TEXT NOT NULL, wants_picture INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE pictures (id TEXT PRIMARY KEY) WITHOUT ROWID;
    """,
    # Of what was stored before, only the ids are known here; `_fill_in` reads the rest from the files.
    """
    ALTER TABLE alerts RENAME TO earlier_alerts;
    ALTER TABLE pictures RENAME TO earlier_pictures;
    CREATE TABLE alerts (
        id TEXT PRIMARY KEY, deployment TEXT, species TEXT, scientific_name TEXT, probability REAL, event_start TEXT,
        event_end TEXT, lighting TEXT, frames INTEGER, count INTEGER, members TEXT, box TEXT, latitude REAL,
        longitude REAL, model TEXT, replay INTEGER, timestamp_issues INTEGER, test INTEGER, image_topic TEXT,
        schema_version INTEGER, file TEXT NOT NULL, received TEXT, payload TEXT
    );
    CREATE TABLE pictures (id TEXT PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL, received TEXT);
    CREATE TABLE traps (
        deployment TEXT PRIMARY KEY, status TEXT, status_since TEXT, health TEXT, heard TEXT, promised_s REAL,
        expected_by TEXT, overdue_since TEXT
    );
    CREATE TABLE forwards (
        id TEXT NOT NULL, service TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
        tries INTEGER NOT NULL DEFAULT 0, tried TEXT, why TEXT, PRIMARY KEY (id, service)
    );
    CREATE INDEX forwards_waiting ON forwards (service, tries) WHERE state = 'waiting';
    INSERT INTO alerts (id, file) SELECT id, name FROM earlier_alerts;
    INSERT INTO pictures (id, file, bytes)
        SELECT p.id, coalesce(a.name, p.id) || '.jpg', 0 FROM earlier_pictures p LEFT JOIN earlier_alerts a USING (id);
    DROP TABLE earlier_alerts;
    DROP TABLE earlier_pictures;
    """,
    "ALTER TABLE pictures ADD COLUMN deployment TEXT;",
)


def now() -> str:
    """This computer's clock, as all columns have it that are not the trap's."""
    return written(datetime.now(UTC))


def written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def open_database(folder: Path) -> Database:
    """Open the database of a folder; make it, or take over that of an earlier version.

    Raises:
        OutboxError: the folder cannot be written.
    """
    earlier, path = folder / _EARLIER_NAME, folder / NAME
    if earlier.exists() and not path.exists():
        # Closing puts what is in the journal into the file, which can then be renamed by itself.
        Database(earlier, _MIGRATIONS).close()
        earlier.replace(path)
    with contextlib.ExitStack() as undo:
        database = undo.enter_context(Database(path, _MIGRATIONS))
        database.run(lambda db: _fill_in(db, folder))
        undo.pop_all()
    return database


def insert_alert(db: sqlite3.Connection, told: Told, received: str) -> None:
    """Write an alert's row, over one that has nothing but the id."""
    row: dict[str, Cell] = {
        **told.cells, "id": told.id, "file": told.name, "received": received, "payload": told.text
    }  # fmt: skip
    columns = ", ".join(row)
    db.execute(f"INSERT OR REPLACE INTO alerts ({columns}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def _fill_in(db: sqlite3.Connection, folder: Path) -> None:
    """Read what an earlier version kept in files alone; a file that has gone leaves a row with nothing but its id."""
    for id, name in db.execute("SELECT id, file FROM alerts WHERE payload IS NULL").fetchall():
        path = folder / f"{name}.json"
        try:
            told, received = read_alert(path.read_bytes()), path.stat().st_mtime
        except (OSError, MalformedError):
            continue
        if (told.id, told.name) == (id, name):
            insert_alert(db, told, written(datetime.fromtimestamp(received, UTC)))
    for id, file in db.execute("SELECT id, file FROM pictures WHERE bytes = 0").fetchall():
        path = folder / file
        if path.exists():
            found = path.stat()
            values = (found.st_size, written(datetime.fromtimestamp(found.st_mtime, UTC)), id)
            db.execute("UPDATE pictures SET bytes = ?, received = ? WHERE id = ?", values)
