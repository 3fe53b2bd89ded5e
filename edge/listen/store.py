"""Where alerts are kept: a JSON file and a picture for each, and one SQLite file that can be asked about them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.listen.messages import MalformedError, Told, read_alert, read_picture_id
from edge.listen.schema import insert_alert, now, open_database
from models.errors import EdgeWatchError


class Store:
    """A folder with `<time>-<species>-<id>.json` and `.jpg` of each alert, and `edge-listen.sqlite`.

    Everything here may be done twice with the same result, because a message comes again when the listener was killed
    before it had acknowledged it.

    Args:
        folder: made if it is not there.
        services: names of what each alert is to be forwarded to; queued in the same transaction as the alert.
        forward_replays: whether alerts from recordings are, too.

    Raises:
        OutboxError: the folder cannot be written. From any method: EdgeWatchError.
    """

    def __init__(self, folder: Path, services: Sequence[str] = (), forward_replays: bool = False) -> None:
        self.folder = folder
        self.database = open_database(folder)
        self._services, self._forward_replays = services, forward_replays

    def close(self) -> None:
        self.database.close()

    def alert(self, payload: bytes, deployment: str) -> tuple[str, bool]:
        """Store and print an alert; its id, and whether it and its picture are now complete, for the first time.

        Raises:
            MalformedError: it is none.
        """
        told = read_alert(payload, deployment)
        if self._alert("file", told.id):
            return told.id, False
        picture = self.folder / f"{told.name}.jpg"
        _write(self.folder / f"{told.name}.json", payload)
        # A picture that came first was kept under the only name known then. One that another trap sent is none of it.
        early = self.folder / f"{told.id}.jpg"
        if early.exists():
            sender = self._picture(told.id)[1]
            with _storing(picture):
                early.replace(picture) if sender in (deployment, None) else early.unlink()
        # Printed before it is remembered: a crash in between prints it twice rather than never.
        print(f"{told.line}  {picture if told.wants_picture else 'no picture'}", flush=True)
        has_picture = self.database.run(lambda db: self._remember(db, told))
        return told.id, has_picture or not told.wants_picture

    def _remember(self, db: sqlite3.Connection, told: Told) -> bool:
        """Write all that the database has of an alert; whether its picture is there."""
        insert_alert(db, told, now())
        db.execute("DELETE FROM pictures WHERE id = ? AND deployment <> ?", (told.id, told.cells["deployment"]))
        pictures = db.execute("UPDATE pictures SET file = ? WHERE id = ?", (f"{told.name}.jpg", told.id)).rowcount
        if self._forward_replays or not told.replay:
            rows = [(told.id, service) for service in self._services]
            db.executemany("INSERT OR IGNORE INTO forwards (id, service) VALUES (?, ?)", rows)
        return pictures > 0

    def picture(self, payload: bytes, property_id: str, deployment: str) -> tuple[str, bool]:
        """Store a picture of the trap `deployment` unless there is one of at least as many bytes; as `alert`.

        Raises:
            MalformedError: it is none, or its alert is another trap's.
        """
        id = read_picture_id(payload, property_id)
        stored, sender = self._picture(id)
        owner = self._alert("deployment", id) or sender
        if owner not in (deployment, None):
            raise MalformedError(f"a picture of {id}, which is of the trap {owner!r}")
        if stored is not None and stored >= len(payload):
            return id, False
        name = self._alert("file", id)
        file = f"{name or id}.jpg"
        _write(self.folder / file, payload)
        row = (id, file, len(payload), now(), deployment)
        self.database.run(lambda db: db.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?)", row))
        return id, bool(name) and stored is None

    def _alert(self, column: str, id: str) -> str | None:
        query = f"SELECT {column} FROM alerts WHERE id = ?"
        row = self.database.read(lambda db: db.execute(query, (id,)).fetchone())
        return row[0] if row else None

    def _picture(self, id: str) -> tuple[int | None, str | None]:
        """The bytes of a stored picture and the trap that sent it, if these are known."""
        query = "SELECT bytes, deployment FROM pictures WHERE id = ?"
        return self.database.read(lambda db: db.execute(query, (id,)).fetchone()) or (None, None)


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EdgeWatchError(
            f"cannot store {path}: {error}; make space and start again: the broker keeps what was not stored"
        ) from error


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, durably."""
    draft = path.with_name(f".{path.name}.part")
    with _storing(path):
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        # The new name is in the folder, which is another thing to write.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
