"""A SQLite file that survives power cuts, full disks and damage; what is in it is up to the tables."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from edge.telling.salvage import save
from models.errors import OutboxError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """One SQLite file; what `run` has returned from is on the disk, whatever happens to the process or the power.

    One connection behind one lock serves all threads: each holds it for milliseconds, so a connection per thread would
    gain nothing but two writers that wait for each other inside SQLite.

    Attributes:
        set_aside: where a damaged file was moved to, if that happened; None otherwise.

    Args:
        path: the file; made with its folder if it is not there.
        migrations: one script per schema version, run in order from the file's own (PRAGMA user_version). Never change
            one that was released: add another.
        max_bytes: most that the file may hold; None for no limit.
        ballast: bytes of the disk that are kept for the day on which it is full: then a file of that size beside this
            one is deleted, and what happens can still be stored for a while.

        shared: another program may be using the file: nothing is made anew under its feet, and no version changed.

    Raises:
        OutboxError: the file cannot be opened or written, or is from a newer version; if it is `shared`, also from an
            older one, or damaged.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        max_bytes: int | None = None,
        ballast: int = 0,
        *,
        shared: bool = False,
    ) -> None:
        self.path, self._shared = path, shared and path.exists()
        self._ballast, self._ballast_bytes = path.with_name(f"{path.name}.ballast"), ballast
        self.set_aside: Path | None = None
        self._migrations = migrations
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._failing = False
        self._synchronous = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open()
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._begin_anew(error)
            if not self._shared:
                self._take_on_ballast()
        except OutboxError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"cannot open {path}: {error}; expected a folder that can be written to") from error

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def run(self, work: Callable[[sqlite3.Connection], T], durable: bool = True) -> T:
        """Run `work` in a transaction; if the file turns out to be damaged, run it once more in a new one.

        Args:
            work: reads and writes.
            durable: False where it does no harm if a power cut undoes it: then nothing waits for the disk.

        Raises:
            OutboxError: it could not be done, and nothing of it was.
        """
        return self._run(work, self._durably if durable else self._lazily)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which only reads: that works where nothing can be written, too.

        Raises:
            OutboxError: it could not be done.
        """
        return self._run(work, self._reading)

    def _reading(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return work(self._db)

    def _run(self, work: Callable[[sqlite3.Connection], T], do: Callable[[Callable[[sqlite3.Connection], T]], T]) -> T:
        with self._lock:
            try:
                try:
                    result = do(work)
                except sqlite3.DatabaseError as error:
                    if _damaged(error):
                        self._db.close()
                        self._begin_anew(error)
                    elif not self._drop_ballast():
                        raise
                    result = do(work)
            except OutboxError:
                raise
            except (OSError, sqlite3.Error) as error:
                failed = OutboxError(
                    f"cannot write {self.path}: {error}; is there space left on the disk, and may it be written to?"
                )
                # Said once, not at each try: the lines may go to the very disk that is full.
                failed.level = logging.DEBUG if self._failing else logging.ERROR
                self._failing = True
                raise failed from error
            if self._failing and do != self._reading:
                self._failing = False
                log.warning("%s can be written again", self.path)
            return result

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._db)
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        return result

    def _durably(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._synchronize("FULL")
        return self._transact(work)

    def _lazily(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # With a write-ahead log this syncs nothing at COMMIT; the next transaction that does syncs this one too.
        self._synchronize("NORMAL")
        return self._transact(work)

    def _synchronize(self, how: str) -> None:
        if how != self._synchronous:
            self._db.execute(f"PRAGMA synchronous = {how}")
            self._synchronous = how

    def _take_on_ballast(self) -> None:
        """Keep some of the disk for the day on which it is full, if there is plenty now."""
        if not self._ballast_bytes or self._ballast.exists() or self._free() < 10 * self._ballast_bytes:
            return
        # A full disk, or a file system that knows no such thing, is no reason not to begin.
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)

    def _drop_ballast(self) -> bool:
        """Give up what was kept; whether that is why it may work now."""
        if self._free() >= self._ballast_bytes or not self._ballast.exists():
            return False
        try:
            self._ballast.unlink()
        except OSError:  # A file system that became read-only.
            return False
        log.error("%s: the disk is full; what was kept for that day is used now: make space", self.path.parent)
        return True

    def _free(self) -> int:
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        with contextlib.ExitStack() as undo:
            undo.callback(db.close)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            self._synchronous = "FULL"
            db.execute("PRAGMA journal_size_limit = 4194304")
            db.execute("PRAGMA cache_size = -256")  # kB; the rest of what was read is the system's to keep or not.
            if self._max_bytes is not None:
                # A file at its own cap is an ordinary state in which DELETE works; on a full disk it would not.
                page_size = db.execute("PRAGMA page_size").fetchone()[0]
                db.execute(f"PRAGMA max_page_count = {max(64, self._max_bytes // page_size)}")
            self._migrate(db)
            # Reads each table's root page, so that a damaged file shows now if it can.
            for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
            undo.pop_all()
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(self._migrations):
            raise OutboxError(
                f"{self.path} was written by a newer edge-watch: expected schema {len(self._migrations)} or older,"
                f" found {version}; install the newer one, or move the file away"
            )
        if self._shared and version < len(self._migrations):
            raise OutboxError(
                f"{self.path} was written by an older edge-watch: expected schema {len(self._migrations)}, found "
                f"{version}; start edge-watch, which brings it up to date"
            )
        for number, script in enumerate(self._migrations[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")

    def _begin_anew(self, error: sqlite3.Error) -> None:
        """Move a damaged file aside, with the journal that belongs to it, and begin an empty one."""
        if self._shared:
            raise OutboxError(
                f"{self.path} is damaged ({error}); start edge-watch: it moves the file aside and saves what it can"
            ) from error
        aside = self.path.with_name(f"{self.path.name}.corrupt-{datetime.now():%Y%m%dT%H%M%S.%f}")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
        self._db = self._open()
        self.set_aside = aside
        saved = save(aside, self._db, self.sound)
        self.renewed(self._db)
        log.warning(
            "%s was damaged (%s): moved to %s, a new one is begun with the %d rows that could be read",
            self.path, error, aside.name, saved,
        )  # fmt: skip

    def renewed(self, db: sqlite3.Connection) -> None:
        """A new file was begun in the place of a damaged one."""

    def sound(self, table: str, row: Mapping[str, Any]) -> bool:
        """Whether a row that was read from a damaged file may be kept; all may, unless a subclass knows better."""
        return True


def _damaged(error: sqlite3.Error) -> bool:
    # The low byte: extended codes say more of where.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
