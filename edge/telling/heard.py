"""What a trap remembers of commands, in its outbox: the ids it has heard, and of what it is not to tell for a while."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection
from datetime import datetime

from edge.telling.database import Database
from models.errors import UnknownSpeciesError

_MAX_COMMANDS = 2000
_KEEP_EVERY_S = 300.0


def is_new(memory: Database, id: str, issued: datetime) -> bool:
    """Remember a command's id; False if it may have been heard before.

    The trap's clock is not asked: when so many are known that the earliest have to be forgotten, whatever was issued
    before those that are left counts as heard.

    Raises:
        OutboxError: it cannot be remembered.
    """

    def work(db: sqlite3.Connection) -> bool:
        number, earliest = db.execute("SELECT count(*), min(issued) FROM commands").fetchone()
        known = db.execute("SELECT 1 FROM commands WHERE id = ?", (id,)).fetchone()
        if known or (number >= _MAX_COMMANDS and issued.timestamp() <= earliest):
            return False
        db.execute("INSERT INTO commands (id, issued) VALUES (?, ?)", (id, issued.timestamp()))
        excess = number + 1 - _MAX_COMMANDS
        if excess > 0:
            db.execute("DELETE FROM commands WHERE id IN (SELECT id FROM commands ORDER BY issued LIMIT ?)", (excess,))
        return True

    return memory.run(work)


class Snooze:
    """Of which species no alerts are to leave for a while, also after a restart.

    Time is measured by a clock that nobody sets; only across a restart the time of day has to do, and then no snooze
    lasts longer than was asked for: what is left of it is noted every five minutes.

    Args:
        memory: the outbox; None for a path that nobody commands.
        meaning: the species and groups that a name stands for.
    """

    def __init__(
        self, memory: Database | None = None, meaning: Callable[[str], Collection[str]] = lambda name: (name,)
    ) -> None:
        self._memory, self._meaning = memory, meaning
        self._until: dict[str, float] = {}
        if memory is not None:
            rows = memory.run(lambda db: db.execute("SELECT species, until, seconds FROM snoozes").fetchall())
            for species, until, seconds in rows:
                self._until[species] = time.monotonic() + min(until - time.time(), seconds)
        self._keep_at, self._noted = time.monotonic() + _KEEP_EVERY_S, bool(self._until)

    def set(self, species: str, seconds: float) -> None:
        """No alerts of a species (an empty name stands for all) for so long; 0 ends it.

        Raises:
            OutboxError: it cannot be remembered; nothing has changed.
        """

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM snoozes WHERE species = ? OR ? = ''", (species, species))
            if seconds > 0:
                db.execute("INSERT INTO snoozes VALUES (?, ?, ?)", (species, time.time() + seconds, seconds))

        if self._memory is not None:
            self._memory.run(work)
        # A new one in one step: another thread asks it.
        left = {} if not species else {name: until for name, until in self._until.items() if name != species}
        self._until = {**left, species: time.monotonic() + seconds} if seconds > 0 else left

    def keep(self, ending: bool = False) -> None:
        """Note, from time to time, how much is left: a clock that is wrong at each start must not begin it anew.

        Raises:
            OutboxError: it cannot be noted.
        """
        now, active = time.monotonic(), bool(self.active())
        # Once more when all have ended; after that nothing is written.
        if self._memory is None or not (active or self._noted) or (now < self._keep_at and not ending):
            return
        left = [(until - now, species) for species, until in self._until.items()]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("UPDATE snoozes SET seconds = ? WHERE species = ?", left)
            db.execute("DELETE FROM snoozes WHERE seconds <= 0")

        self._memory.run(work, durable=False)
        self._keep_at, self._noted = now + _KEEP_EVERY_S, active

    def active(self) -> tuple[str, ...]:
        """The names that are snoozed now, in order."""
        now = time.monotonic()
        return tuple(sorted(name for name, until in self._until.items() if until > now))

    def holds(self, species: str) -> bool:
        """Whether no alert of a species is to leave now."""
        return any(not name or species in self._species(name) for name in self.active())

    def _species(self, name: str) -> Collection[str]:
        try:
            return self._meaning(name)
        except UnknownSpeciesError:  # It was snoozed with another model.
            return (name,)
