"""`edge-listen` as a process, and what it is sent, for tests of all that it does."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge.telling.payloads import Message, alert_messages
from tests.broker import Mosquitto, Subscriber, wait_until
from tests.samples import ID, alert

REPOSITORY = Path(__file__).parents[1]
NAME = f"20260501T061530-bengal-tiger-{ID}"
LINE = "2026-05-01 06:15:30+05:30  trap 7  Bengal tiger  0.99  "
BASE = "edge-watch/trap%207"
TEXT, PICTURE = alert_messages(alert())


def stored(folder: Path) -> list[str]:
    """The files of alerts in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.name.endswith((".json", ".jpg", ".part")))


def ask(folder: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    """What the database of a folder answers, also while somebody writes it."""
    with closing(sqlite3.connect(folder / "edge-listen.sqlite", timeout=10)) as database:
        return database.execute(query, values).fetchall()


class Listener:
    """`edge-listen` in a process. `lines` are what it has printed, `warnings` what it has complained of, ever."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self._out, self._err = folder.with_suffix(".out"), folder.with_suffix(".err")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    @property
    def warnings(self) -> list[str]:
        return [line for line in self._err.read_text().splitlines() if " listening at mqtt://" not in line]

    @property
    def files(self) -> list[str]:
        return stored(self.folder)

    def begin(self, *arguments: str) -> Listener:
        command = [sys.executable, "-m", "edge.listen", "--broker", self.broker.url, "--folder", str(self.folder)]
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen([*command, *arguments], cwd=REPOSITORY, stdout=out, stderr=err)
        return self

    def start(self, *arguments: str) -> Listener:
        """Begin, and return when its subscription is in force."""
        before = self.broker.log.count("Sending SUBACK to edge-listen")
        self.begin(*arguments)
        # One for the alerts and one for the traps' state.
        wait_until(lambda: self.broker.log.count("Sending SUBACK to edge-listen") > before + 1)
        return self

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given; wait for the end and return the exit code."""
        assert self._process is not None
        if number is not None:
            self._process.send_signal(number)
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def kill(self) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)


def send(broker: Mosquitto, *messages: Message) -> None:
    with Subscriber(broker, filters=(), client_id="trap") as trap:
        for message in messages:
            trap.publish(message)


def changed(**fields: object) -> Message:
    """The sample alert's text with some fields changed."""
    return Message(TEXT.topic, json.dumps({**json.loads(TEXT.payload), **fields}).encode())


@contextmanager
def listening(folder: Path, config: str = "allow_anonymous true") -> Iterator[Listener]:
    """A broker, and a listener that has yet to begin; it stores in `alerts` in the folder."""
    with Mosquitto(folder, config) as broker:
        made = Listener(broker, folder / "alerts")
        try:
            yield made
        finally:
            made.kill()
