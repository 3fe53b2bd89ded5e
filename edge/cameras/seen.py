"""Which files of a watched folder were read: kept in a file, so that each is read once, also across restarts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge.telling.database import Database

FILE_NAME = "watched-files.sqlite"
_MIGRATIONS = (
    """
    CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL,
        fingerprint TEXT NOT NULL, tries INTEGER NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX files_by_fingerprint ON files (fingerprint);
    """,
)


class Seen(Database):
    """Files by path, size and time of change, and by what is in them; every method may raise OutboxError."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _MIGRATIONS, None)

    def __enter__(self) -> Seen:
        return self

    def known(self, path: str, size: int, changed: int) -> bool:
        """Whether just this file was read; `changed` in nanoseconds."""
        found = self.run(
            lambda db: db.execute(
                "SELECT 1 FROM files WHERE path = ? AND size = ? AND changed = ? AND done", (path, size, changed)
            ).fetchone()
        )
        return found is not None

    def begin(self, path: str, size: int, changed: int, fingerprint: str) -> int:
        """Note that a file is going to be read.

        Returns:
            How often that was begun and not finished, this time included; 0 if its content was read before.
        """

        def work(db: sqlite3.Connection) -> int:
            tries, done = db.execute(
                "SELECT coalesce(max(tries), 0), coalesce(max(done), 0) FROM files WHERE fingerprint = ?",
                (fingerprint,),
            ).fetchone()
            db.execute(
                "INSERT OR REPLACE INTO files (path, size, changed, fingerprint, tries, done)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (path, size, changed, fingerprint, tries + 1, done),
            )
            return 0 if done else int(tries + 1)

        return self.run(work)

    def done(self, path: str) -> None:
        """Note that it was read, and what came of it was stored."""
        self.run(lambda db: db.execute("UPDATE files SET done = 1 WHERE path = ?", (path,)))
