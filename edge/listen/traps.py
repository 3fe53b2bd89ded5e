"""What is known of each trap: its status, its health, and whether it is overdue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from edge.listen.messages import MalformedError, Promise, printable, read_health, say
from edge.listen.schema import now, written
from edge.telling.database import Database

_STATUSES = ("online", "offline", "sleeping")
_SETTLE_S = 90.0
"""How long a trap may take, after this listener's connection, to be heard: it may have lost the broker as well."""
_SLEEP_S = 2.0
"""How long the health that says when a sleeping trap wakes may come after its status."""


@dataclass(slots=True)
class _Row:
    """A row of the table `traps`, in its order."""

    deployment: str
    status: str | None = None
    status_since: str | None = None
    health: str | None = None
    heard: str | None = None
    promised_s: float | None = None
    expected_by: str | None = None
    overdue_since: str | None = None


@dataclass(slots=True)
class _Trap:
    """`due`: when it is overdue, on this computer's monotonic clock; None if it promised nothing."""

    row: _Row
    due: float | None = None
    say_sleeping_at: float | None = None


class Traps:
    """The traps that were heard of, also before a restart: all of it stands in the table `traps`.

    A trap's clock may be wrong, so what it promises is a time from when the promise came, on this computer's clock.
    Only of a promise that was kept by the broker it is not known when it came: then the trap's clock must do.

    Args:
        database: with the table.
        clock: seconds, only forwards.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._connected = clock()
        self._traps: dict[str, _Trap] = {}
        for values in database.run(lambda db: db.execute("SELECT * FROM traps").fetchall()):
            trap = self._traps[values[0]] = _Trap(_Row(*values))
            if trap.row.expected_by is not None:
                # The one clock that goes on while the computer is off; a step of it shall not make a promise longer.
                left = (datetime.fromisoformat(trap.row.expected_by) - datetime.now(UTC)).total_seconds()
                trap.due = clock() + min(left, trap.row.promised_s or 0.0)

    def connected(self) -> None:
        """Whoever is due gets some time more: what it said while there was no connection is lost."""
        self._connected = self._clock()

    def status(self, name: str, payload: bytes, retained: bool) -> None:
        """Take a `status`; say so if it is another than before.

        Raises:
            MalformedError: it is none.
        """
        status = payload[:20].decode(errors="replace")
        if status not in _STATUSES:
            raise MalformedError(f"expected {', '.join(_STATUSES)}, found {status!r}")
        trap = self._trap(name)
        if status != trap.row.status:
            trap.row.status, trap.row.status_since = status, now()
            trap.say_sleeping_at = self._clock() + _SLEEP_S if status == "sleeping" else None
            if status != "sleeping":
                say(f"{printable(name)} is {status}")
        # The broker says `offline` for a trap that has gone, and what was retained was said before.
        if status != "offline" and not retained:
            self._heard(trap)
        self._save(trap)

    def health(self, name: str, payload: bytes, retained: bool) -> None:
        """Take a `health`, and with it a promise.

        Raises:
            MalformedError: it is none.
        """
        promise = read_health(payload)
        trap = self._trap(name)
        if retained and promise.text == trap.row.health:
            return
        left = _left(promise)
        trap.row.health, trap.row.promised_s = promise.text, left if promise.seconds is None else promise.seconds
        if not retained:
            self._heard(trap)
        else:
            self._expect(trap, left)
            if left > 0:
                self._back(trap)
        if trap.say_sleeping_at is not None:
            self._say_sleeping(trap)
        self._save(trap)

    def check(self) -> float:
        """Flag who is overdue; return in how many seconds to look again, 5 at most."""
        clock, soonest = self._clock(), 5.0
        for trap in self._traps.values():
            if trap.say_sleeping_at is not None:
                soonest = min(soonest, trap.say_sleeping_at - clock)
                if trap.say_sleeping_at <= clock:
                    self._say_sleeping(trap)
            if trap.due is not None and trap.row.overdue_since is None:
                due = max(trap.due, self._connected + min(trap.row.promised_s or 0.0, _SETTLE_S))
                soonest = min(soonest, due - clock)
                if due <= clock:
                    self._flag(trap)
        return max(0.0, soonest)

    def _trap(self, name: str) -> _Trap:
        return self._traps.setdefault(name, _Trap(_Row(name)))

    def _heard(self, trap: _Trap) -> None:
        trap.row.heard = now()
        if trap.row.promised_s:
            self._expect(trap, trap.row.promised_s)
        self._back(trap)

    def _expect(self, trap: _Trap, left: float) -> None:
        trap.due = self._clock() + left
        trap.row.expected_by = written(datetime.now(UTC) + timedelta(seconds=left))

    def _flag(self, trap: _Trap) -> None:
        row = trap.row
        heard = f"last heard {_shown(datetime.fromisoformat(row.heard))}" if row.heard else "not heard by this listener"
        span = _span(row.promised_s or 0.0)
        say(f"{printable(row.deployment)} is overdue: it promised to be heard within {span}, {heard}")
        row.overdue_since = now()
        self._save(trap)

    def _back(self, trap: _Trap) -> None:
        if trap.row.overdue_since is not None:
            say(f"{printable(trap.row.deployment)} is back")
            trap.row.overdue_since = None

    def _say_sleeping(self, trap: _Trap) -> None:
        trap.say_sleeping_at = None
        by = ""
        if trap.due is not None:
            by = f", back by {_shown(datetime.now(UTC) + timedelta(seconds=trap.due - self._clock()))}"
        say(f"{printable(trap.row.deployment)} is sleeping{by}")

    def _save(self, trap: _Trap) -> None:
        values = astuple(trap.row)
        marks = ", ".join("?" * len(values))
        self._database.run(lambda db: db.execute(f"INSERT OR REPLACE INTO traps VALUES ({marks})", values))


def _left(promise: Promise) -> float:
    """In how many seconds a promise ends, by the trap's clock."""
    left = max(0.0, promise.until - time.time())
    return left if promise.seconds is None else min(left, promise.seconds)


def _shown(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
