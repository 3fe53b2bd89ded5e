"""Alerts on their way to other services: the queue in the database, and a thread for each service."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge.listen.answers import HopelessError, LaterError
from edge.listen.messages import say
from edge.listen.schema import NAME, now
from edge.telling.database import Database
from models.errors import OutboxError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.listen.services import Item, Service

_jitter = random.Random()
_ENDING_S = 2.0
"""How long an end waits for a request under way; cut off, it is made again at the next start."""


class Queue:
    """What one service has yet to get, in the table `forwards`.

    Args:
        database: with the table.
        service: the service's name.
    """

    def __init__(self, database: Database, service: str) -> None:
        self._database, self._service = database, service

    def next(self) -> tuple[Item, float] | None:
        """What is to be forwarded next, and how many seconds it may still wait for a picture that has not come.

        What was tried least comes first, so that an alert that a service chokes on does not hold up the others.
        """
        return self._database.run(self._next)

    def _next(self, db: sqlite3.Connection) -> tuple[Item, float] | None:
        from edge.listen.services import Item

        row = db.execute(
            "SELECT f.id, a.deployment, a.payload, a.image_topic, a.received, p.file, f.tries FROM forwards f"
            " JOIN alerts a USING (id) LEFT JOIN pictures p USING (id)"
            " WHERE f.service = ? AND f.state = 'waiting' AND a.payload IS NOT NULL ORDER BY f.tries, f.rowid LIMIT 1",
            (self._service,),
        ).fetchone()
        if row is None:
            return None
        id, deployment, text, image_topic, received, file, tries = row
        folder: Path = self._database.path.parent
        age = (datetime.now(UTC) - datetime.fromisoformat(received)).total_seconds()
        item = Item(id, deployment, json.loads(text), text, folder / file if file else None, tries)
        return item, float("inf") if file or image_topic is None else age

    def begin(self, id: str) -> None:
        """Write down a try before it is made: where that cannot be written, nothing is sent again and again."""
        self._run("UPDATE forwards SET tries = tries + 1, tried = ? WHERE id = ? AND service = ?", now(), id)

    def end(self, id: str, state: str, why: str | None = None) -> None:
        """Write down what came of a try: `sent`, `waiting` or `given up`."""
        query = "UPDATE forwards SET state = ?, why = ?, tried = ? WHERE id = ? AND service = ?"
        self._run(query, state, why, now(), id)

    def _run(self, query: str, *values: str | None) -> None:
        self._database.run(lambda db: db.execute(query, (*values, self._service)))

    def since_last(self) -> float:
        """Seconds since the last try, also one of before a restart; at least 0."""
        query = "SELECT max(tried) FROM forwards WHERE service = ?"
        (tried,) = self._database.run(lambda db: db.execute(query, (self._service,)).fetchone())
        if tried is None:
            return float("inf")
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(tried)).total_seconds())


class _Sender(threading.Thread):
    """Forwards to one service, one alert after the other, and never ends but by `end`.

    At the start nothing waits for an earlier failure, but what the service asks for between two requests holds.
    """

    def __init__(self, database: Database, service: Service, delays_s: tuple[float, float]) -> None:
        super().__init__(name=f"forward {service.name}", daemon=True)
        self._queue, self._service, self._delays_s = Queue(database, service.name), service, delays_s
        self._woken, self._ended = threading.Event(), threading.Event()
        self._delay, self._said, self._looked_at = delays_s[0], False, ("", 0.0)
        between = service.seconds_between
        self._pause = min(between, max(0.0, between - self._queue.since_last()))

    def wake(self) -> None:
        self._woken.set()

    def end(self) -> None:
        self._ended.set()
        self._woken.set()

    def run(self) -> None:
        while not self._ended.wait(self._pause):
            try:
                self._pause = self._step()
            except OutboxError as error:
                self._pause = self._later(str(error))

    def _step(self) -> float:
        """Forward what is next, or wait for it; return in how many seconds to go on."""
        self._woken.clear()
        found = self._queue.next()
        if found is None:
            self._woken.wait()
            return 0.0
        item, age = found
        if item.id != self._looked_at[0]:
            self._looked_at = (item.id, time.monotonic())
        # Two clocks, because one may be set and the other begins with this program.
        left = self._service.picture_s - max(age, time.monotonic() - self._looked_at[1])
        if left <= 0:
            return self._forward(item)
        self._woken.wait(left)
        return 0.0

    def _forward(self, item: Item) -> float:
        """Try once; return in how many seconds to go on."""
        name = self._service.name
        self._queue.begin(item.id)
        pause = self._service.seconds_between
        try:
            self._service.send(item)
        except LaterError as error:
            self._queue.end(item.id, "waiting", str(error))
            return self._later(str(error), error.after_s)
        except HopelessError as error:
            self._queue.end(item.id, "given up", str(error))
            say(f"alert {item.id} is not forwarded to {name}: {error}")
            pause = pause if error.asked else 0.0
        else:
            self._queue.end(item.id, "sent")
            if self._said:
                say(f"{name} takes alerts again")
            self._said = False
        self._delay = self._delays_s[0]
        return pause

    def _later(self, why: str, after_s: float = 0.0) -> float:
        if not self._said and not self._ended.is_set():
            say(f"{self._service.name} takes no alerts: {why}; trying again until it does")
        self._said = True
        pause = self._delay * _jitter.uniform(0.5, 1.0)
        self._delay = min(2 * self._delay, self._delays_s[1])
        return max(pause, after_s, self._service.seconds_between)


class Forwards:
    """All services; a slow one holds up neither the others nor the receiving.

    Args:
        database: of the store, which puts alerts into the queue.
        services: what to forward to.
        delays_s: the first pause after a failure and the longest; they double in between, and are jittered.
    """

    def __init__(
        self, database: Database, services: Sequence[Service], delays_s: tuple[float, float] = (5.0, 600.0)
    ) -> None:
        self._database = database
        self._senders = {each.name: _Sender(database, each, delays_s) for each in services}

    def start(self) -> None:
        """Begin; say what waits for a service that there is none of now."""
        query = "SELECT service, count(*) FROM forwards WHERE state = 'waiting' GROUP BY service"
        for name, number in self._database.run(lambda db: db.execute(query).fetchall()):
            if name not in self._senders:
                say(f"{number} alerts wait for [{name}], which --forward does not name; they stay in {NAME}")
        for sender in self._senders.values():
            sender.start()

    def wake(self) -> None:
        """There may be something to forward."""
        for sender in self._senders.values():
            sender.wake()

    def end(self) -> None:
        """Stop; what is under way has a moment to be finished."""
        for sender in self._senders.values():
            sender.end()
        for sender in self._senders.values():
            if sender.is_alive():
                sender.join(_ENDING_S)
