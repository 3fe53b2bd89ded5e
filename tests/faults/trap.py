"""The trap as a process of its own: the whole daemon over the show, to be killed at any moment."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import edge.telling.backlog
import edge.telling.publisher
from edge.cameras.clock import Clock
from edge.cameras.keeper import Keeper
from edge.daemon import Daemon
from edge.process import alone_in
from edge.settings import Settings
from edge.telling import links
from edge.telling.broker import Broker
from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.payloads import Message
from edge.telling.topics import Topics
from edge.types import Alert
from tests.faults.ledger import Ledger, Truth
from tests.faults.show import GAP_S, SPECIES, ColourModel, Show

DEPLOYMENT = "oak"
LEDGER_NAME, READ_ONLY_NAME = "ledger.jsonl", "read-only"
T = TypeVar("T")


class WitnessedOutbox(Outbox):
    """An outbox beside which everything is noted, before an alert is stored and after.

    While there is a file `read_only`, it is as if its disk were read-only.
    """

    ledger: Ledger
    show: Show
    read_only: Path

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # Linux makes no file system read-only while a file is open for writing; SQLite then says just the same.
        self._db.execute(f"PRAGMA query_only = {int(self.read_only.exists())}")
        return super()._transact(work)

    def put_alert(self, alert: Alert, messages: Sequence[Message]) -> bool:
        visit, id = self.show.visit_of(alert.sighting.species), alert.sighting.id
        self.ledger.write("found", visit=visit, id=id)
        stored = super().put_alert(alert, messages)
        if stored:
            self.ledger.write("stored", visit=visit, id=id)
        return stored


def hurry() -> None:
    """Make delivery as impatient as a test: what it does stays the same."""
    edge.telling.publisher._TICK_S = edge.telling.backlog.AGAIN_S = 0.5
    links.LINKS["lan"] = dataclasses.replace(  # type: ignore[index]
        links.LINKS["lan"], confirm_s=3, keepalive_s=3, pauses_s=(0.2, 1.0), subscribers_s=1.0
    )
    impatient = functools.partial(edge.telling.publisher.Publisher, refused_s=1.0, receipt_s=2.0)
    edge.telling.publisher.Publisher = impatient  # type: ignore[misc,assignment]


def run(
    folder: Path,
    url: str,
    visits: int,
    stop: threading.Event,
    *,
    seed: int = 0,
    data: Path | None = None,
    stays: bool = False,
    require_ack: bool = False,
) -> tuple[int, Show]:
    """Watch the show until `stop`.

    Args:
        folder: for the ledger, and for the trap's data where `data` names no other.
        url: the broker's.
        visits: how many are to be owed before nothing is shown any more.
        stop: ends it in order.
        seed: of the show.
        data: the trap's own folder.
        stays: see `Show`.
        require_ack: the setting.

    Returns:
        The exit code, and the show.
    """
    data = data or folder / "data"
    ledger, truth = Ledger(folder / LEDGER_NAME), Truth(folder / LEDGER_NAME)
    show = Show(ledger, truth, visits, stays, seed)
    settings = dataclasses.replace(
        Settings(), species=SPECIES, data=data, deployment=DEPLOYMENT, looks_per_second=100.0, require_ack=require_ack,
        event_gap=timedelta(seconds=GAP_S), alert_interval=timedelta(seconds=1),
    )  # fmt: skip
    WitnessedOutbox.ledger, WitnessedOutbox.show = ledger, show
    WitnessedOutbox.read_only = folder / READ_ONLY_NAME
    broker, topics, model = Broker.parse(url), Topics(DEPLOYMENT), ColourModel()
    with alone_in(data), WitnessedOutbox(data / FILE_NAME) as outbox:
        daemon = Daemon(settings, Keeper(lambda: show, Clock()), model, lambda: outbox, topics, broker)  # type: ignore[arg-type]
        try:
            daemon.run(stop)
        finally:
            daemon.close()
    return 1 if daemon.failed else 0, show


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("broker")
    parser.add_argument("--visits", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="default: in the folder")
    parser.add_argument("--stays", action="store_true")
    parser.add_argument("--require-ack", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    hurry()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return run(
        options.folder, options.broker, options.visits, stop, seed=options.seed, data=options.data,
        stays=options.stays, require_ack=options.require_ack,
    )[0]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
