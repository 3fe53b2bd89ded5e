"""One SQLite file per trap: the messages still to deliver, the ids already alerted, and every visit seen."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.telling.payloads import Message
from edge.telling.records import Records, store
from edge.telling.room import make_room, trim
from edge.telling.tables import MIGRATIONS
from edge.types import Alert, Sighting
from models.errors import OutboxError

__all__ = ["DEFAULT_MAX_BYTES", "FILE_NAME", "Counts", "Outbox", "OutboxError", "Receipt", "Stored"]

DEFAULT_MAX_BYTES = 256 * 1024 * 1024
FILE_NAME = "edge-watch.sqlite"

_REMEMBERED_S = 30 * 86400
_LONGEST_DELAY_S, _LONGEST_RECEIPT_S = 3600.0, 86400.0
_BALLAST = 2_000_000
"""Bytes: some hundred alerts' texts and the journal that they go through."""

# What `taken` says of a message: the broker does not have it; it has, and a subscriber's receipt is waited for; it had,
# but the connection has ended since, so that it may have lost it.
_WAITS, _TAKEN, _DOUBTFUL = 0, 1, 2

_DELAY = f"min({_LONGEST_DELAY_S}, ? * (1 << min(attempts, 10)))"


Receipt = tuple[str, bool, int]
"""What a subscriber has stored: the alert's id, whether it was its picture, and the bytes of it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that waits: its row, and how often the broker has refused it."""

    row: int
    message: Message
    attempts: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits, and what was deleted for lack of space since the file was begun.

    Of the `depth` messages that wait, `refused` were refused by the broker (`refused_why`: what it said of the latest),
    to `unheard` nobody was subscribed, and of `awaiting`, which the broker has, a subscriber's receipt has yet to come.
    """

    depth: int = 0
    refused: int = 0
    unheard: int = 0
    awaiting: int = 0
    refused_why: str | None = None
    dropped_pictures: int = 0
    dropped_texts: int = 0
    dropped_sightings: int = 0

    @property
    def dropped(self) -> int:
        return self.dropped_pictures + self.dropped_texts + self.dropped_sightings


class Outbox(Records):
    """The trap's durable memory; every method may raise OutboxError, and then nothing of it was stored.

    What is stored is on the disk when the method returns. What is forgotten may come back after a power cut: then a
    message is sent twice, with the same id.

    Attributes:
        on_put: called (from the storing thread, without the lock) after new messages are stored; wakes the publisher.

    Args:
        path: the database file, usually `FILE_NAME` in the data folder; made if it is not there.
        max_bytes: most that the file may hold. When that is reached, pictures are dropped before texts.
        shared: a trap may be using it: see `edge.telling.database.Database`.
    """

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES, *, shared: bool = False) -> None:
        self.on_put: Callable[[], None] = lambda: None
        self._last_row = 0
        super().__init__(path, MIGRATIONS, max_bytes, _BALLAST, shared=shared)
        self._last_row = self.newest_row()

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
            self._put(db, messages)
            start = sighting.event_start
            db.execute(
                "INSERT INTO alerts (id, species, source, event_start, event_start_unix) VALUES (?, ?, ?, ?, ?)",
                (sighting.id, sighting.species, sighting.source, start.isoformat(), start.timestamp()),
            )
            store(db, sighting)
            return True

        stored = self.run(work)
        if stored:
            self.on_put()
        return stored

    def put(self, messages: Sequence[Message], alone: bool = False) -> None:
        """Store messages that belong to no new alert: a picture that was asked for, a test.

        Args:
            messages: what is to be sent.
            alone: in place of what waits on the same topics.
        """

        def work(db: sqlite3.Connection) -> None:
            if alone:
                db.executemany("DELETE FROM messages WHERE topic = ?", {(message.topic,) for message in messages})
            self._put(db, messages)

        self.run(work)
        self.on_put()

    def _put(self, db: sqlite3.Connection, messages: Sequence[Message]) -> None:
        db.executemany(
            "INSERT INTO messages (id, priority, picture, topic, qos, retain, receipt, size, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (m.id, m.priority, m.picture, m.topic, m.qos, m.retain, m.receipt, len(m.payload), m.payload)
                for m in make_room(db, messages)
            ],
        )
        self._last_row = _newest_row(db)

    def renewed(self, db: sqlite3.Connection) -> None:
        # An answer to a message of before must not be taken for one to a new message: no row is given twice.
        last = max(self._last_row, _newest_row(db))
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'")
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)", (last,))

    def save_sighting(self, sighting: Sighting) -> None:
        """Record a visit as it stands now, in place of what was recorded of it; its picture is not kept here."""

        def work(db: sqlite3.Connection) -> None:
            if sighting.type == "new":
                trim(db)
            make_room(db, ())
            store(db, sighting)

        self.run(work)

    # What the publisher does.

    def newest_row(self) -> int:
        """The row that was given last; what is stored from now on has a higher one."""
        return self.read(_newest_row)

    def pending(
        self, limit: int, skip: Collection[int] = (), paused: Collection[str] = (), live: int = 0
    ) -> list[Stored]:
        """The next messages to send, by priority and then by age.

        Args:
            limit: how many at most.
            skip: rows that are under way.
            paused: topics of which none are sent now.
            live: rows above this one go before others of their priority, so that what happens now does not wait for
                all that happened before.
        """
        now = time.time()
        # A time too far ahead was set by a clock that was wrong: it does not count.
        due = "(retry_at <= ? OR retry_at > ?)"
        marks, names = ", ".join("?" * len(skip)), ", ".join("?" * len(paused))
        where = f"taken != {_TAKEN} AND {due} AND row NOT IN ({marks}) AND topic NOT IN ({names})"
        values = (now, now + _LONGEST_DELAY_S, *skip, *paused, limit)

        def work(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            found: list[tuple[int, bool, int]] = []
            for old, side in ((False, ">"), (True, "<=")):
                order = f"row {side} ? AND {where} ORDER BY priority, row LIMIT ?"
                rows = db.execute(f"SELECT priority, row FROM messages WHERE {order}", (live, *values)).fetchall()
                found += [(priority, old, row) for priority, row in rows]
            columns = "row, topic, payload, qos, retain, priority, id, picture, receipt, attempts"
            one = f"SELECT {columns} FROM messages WHERE row = ?"
            return [db.execute(one, (row,)).fetchone() for _, _, row in sorted(found)[:limit]]

        return [
            Stored(row, Message(topic, payload, qos, bool(retain), priority, id, bool(image), bool(receipt)), attempts)
            for row, topic, payload, qos, retain, priority, id, image, receipt, attempts in self.read(work)
        ]

    def delivered(self, *rows: int, receipt_in_s: float | None = None) -> None:
        """The broker has messages, and somebody is subscribed: forget them.

        Args:
            receipt_in_s: keep those of which a subscriber's receipt has yet to come, and send them again when none has
                come after so long, twice as long each time, up to a day; None where nobody sends receipts.
        """
        marks, now = [(row,) for row in rows], time.time()

        def work(db: sqlite3.Connection) -> None:
            if receipt_in_s is not None:
                delay = f"min({_LONGEST_RECEIPT_S}, {receipt_in_s} * (1 << min(attempts, 20)))"
                db.executemany(
                    f"UPDATE messages SET taken = {_TAKEN}, taken_at = {now!r}, retry_at = {now!r} + {delay},"
                    " unheard = 0, refused = '' WHERE row = ? AND receipt",
                    marks,
                )
                db.executemany("DELETE FROM messages WHERE row = ? AND NOT receipt", marks)
            else:
                db.executemany("DELETE FROM messages WHERE row = ?", marks)

        self.run(work, durable=False)

    def receipted(self, receipts: Mapping[Receipt, float]) -> None:
        """Subscribers have stored messages: forget them, and know from now on that there are receipts.

        MQTT keeps the order: what was sent on the same topic before one of these, and has no receipt, did not come to
        whoever sends them. It is sent again.

        Args:
            receipts: for each when the broker took its message (Unix seconds), as far as that was not noted here; 0 if
                it was, or is not known.
        """

        def work(db: sqlite3.Connection) -> None:
            # The time of the latest, to the day: what changes seldom costs nothing.
            db.execute(
                "INSERT INTO counters (name, value) VALUES ('receipts', ?) ON CONFLICT (name) DO UPDATE"
                " SET value = excluded.value WHERE abs(value - excluded.value) > 86400",
                (round(time.time()),),
            )
            latest: dict[str, float] = {}
            for receipt, at in receipts.items():
                gone = "DELETE FROM messages WHERE id = ? AND picture = ? AND size = ? RETURNING topic, taken_at"
                for topic, taken_at in db.execute(gone, receipt).fetchall():
                    latest[topic] = max(taken_at, at, latest.get(topic, 0.0))
            db.executemany(
                f"UPDATE messages SET taken = {_DOUBTFUL}, attempts = attempts + 1, retry_at = 0"
                f" WHERE taken = {_TAKEN} AND topic = ? AND taken_at < ?",
                latest.items(),
            )

        self.run(work, durable=False)

    def doubt(self, wait_s: float) -> None:
        """Of what the broker has had for long enough without a receipt, doubt that it came: it is sent again.

        A clock that was set back makes nothing wait for the old time.

        Args:
            wait_s: as of `reconnected`.
        """
        now = time.time()

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                f"UPDATE messages SET taken = {_DOUBTFUL}, attempts = attempts + 1, retry_at = 0"
                f" WHERE taken = {_TAKEN} AND abs(? - taken_at) >= retry_at - taken_at",
                (now,),
            )
            _hasten(db, now, wait_s)

        self.run(work, durable=False)

    def knows_receipts(self) -> bool:
        """Whether a subscriber's receipt has come, in the last 30 days or under a clock that was ahead."""
        found = self.read(lambda db: db.execute("SELECT value FROM counters WHERE name = 'receipts'").fetchone())
        return found is not None and time.time() - found[0] < _REMEMBERED_S

    def reconnected(self, kept: bool, wait_s: float) -> None:
        """The connection had ended: what the broker had without a receipt may be lost.

        Args:
            kept: the broker has kept this trap's session. It may have been set back all the same, as a broker that
                crashed is, so that what stays without a receipt is sent again, but only after a while.
            wait_s: that while; twice as long each time.
        """

        def work(db: sqlite3.Connection) -> None:
            if not kept:
                db.execute(f"UPDATE messages SET taken = {_WAITS}, retry_at = 0 WHERE taken != {_WAITS}")
                return
            now = time.time()
            db.execute(
                f"UPDATE messages SET taken = {_DOUBTFUL}, attempts = attempts + 1, retry_at = ? + {_DELAY}"
                f" WHERE taken = {_TAKEN}",
                (now, wait_s),
            )
            _hasten(db, now, wait_s)

        self.run(work, durable=False)

    def unheard(self, *rows: int) -> None:
        """The broker took messages although nobody is subscribed: they are kept."""
        marks = [(row,) for row in rows]
        self.run(
            lambda db: db.executemany("UPDATE messages SET unheard = 1, refused = '' WHERE row = ?", marks),
            durable=False,
        )

    def refused(self, row: int, reason: str, retry_in_s: float) -> None:
        """Keep a message that the broker refused, and let it wait before it is tried again."""
        retry_at = time.time() + min(retry_in_s, _LONGEST_DELAY_S)
        self.run(
            lambda db: db.execute(
                "UPDATE messages SET refused = ?, attempts = attempts + 1, retry_at = ? WHERE row = ?",
                (reason, retry_at, row),
            ),
            durable=False,
        )

    def replace(self, row: int, payload: bytes) -> None:
        """Put a smaller picture in the place of one that is too large."""
        new = "payload = ?, size = ?, attempts = 0, refused = '', retry_at = 0"
        self.run(lambda db: db.execute(f"UPDATE messages SET {new} WHERE row = ?", (payload, len(payload), row)))

    def waits(self, message: Message) -> bool:
        """Whether a picture like this one is to be sent already."""
        same = f"id = ? AND picture AND size = ? AND taken != {_TAKEN}"
        values = (message.id, len(message.payload))
        return self.read(lambda db: db.execute(f"SELECT 1 FROM messages WHERE {same}", values).fetchone()) is not None

    def forget_picture(self, id: str) -> None:
        """A picture is not to be sent any more."""
        self.run(lambda db: db.execute("DELETE FROM messages WHERE id = ? AND picture", (id,)))

    def depth(self) -> int:
        """How many messages wait."""
        return self.counts().depth

    def counts(self) -> Counts:
        def work(db: sqlite3.Connection) -> Counts:
            depth, refused, unheard, awaiting = db.execute(
                f"SELECT count(*), total(refused != ''), total(unheard), total(taken != {_WAITS}) FROM messages"
            ).fetchone()
            why = db.execute("SELECT refused FROM messages WHERE refused != '' ORDER BY row DESC LIMIT 1").fetchone()
            dropped = dict(db.execute("SELECT name, value FROM counters"))
            lost = [dropped.get(name, 0) for name in ("pictures", "texts", "sightings")]
            return Counts(depth, int(refused), int(unheard), int(awaiting), why[0] if why else None, *lost)

        return self.read(work)


def _newest_row(db: sqlite3.Connection) -> int:
    found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    return found[0] if found else 0


def _hasten(db: sqlite3.Connection, now: float, wait_s: float) -> None:
    """Let nothing wait longer than its number of attempts says: its time was set by a clock that has been set back."""
    late = f"UPDATE messages SET retry_at = ? + {_DELAY} WHERE taken != {_TAKEN} AND retry_at > ? + {_DELAY}"
    db.execute(late, (now, wait_s, now, wait_s))
