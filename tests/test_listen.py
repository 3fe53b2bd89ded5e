"""`edge-listen` as its user runs it: a process, a real broker, lines and files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.listen import main
from edge.payloads import Message, alert_messages
from edge.types import Alert
from tests.broker import Mosquitto, Subscriber, wait_until
from tests.samples import ID, START, alert, alert_of_its_own, sighting

REPOSITORY = Path(__file__).parents[1]
NAME = f"20260501T061530-bengal-tiger-{ID}"
LINE = "2026-05-01 06:15:30+05:30  trap 7  Bengal tiger  0.99  "


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, "allow_anonymous true\npersistence true") as broker:
        yield broker


@pytest.fixture
def listener(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Listener]:
    made = Listener(mosquitto, tmp_path / "alerts")
    yield made
    made.kill()


class Listener:
    """`edge-listen` in a process; `lines` are what it has printed, `warnings` what it has complained of."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> Listener:
        """Start it; return when its subscription is in force."""
        before = self._subscriptions()
        self.begin(*arguments)
        wait_until(lambda: self._subscriptions() > before)
        return self

    def begin(self, *arguments: str) -> Listener:
        command = [sys.executable, "-m", "edge.listen", "--broker", self.broker.url, "--folder", str(self.folder)]
        self._process = subprocess.Popen(
            [*command, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for stream, lines in ((self._process.stdout, self.lines), (self._process.stderr, self.warnings)):
            assert stream is not None
            threading.Thread(target=lambda s=stream, t=lines: t.extend(line.rstrip("\n") for line in s)).start()
        return self

    def _subscriptions(self) -> int:
        return self.broker.log.count("Sending SUBACK to edge-listen") if self.broker.running else 0

    def signal(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout=30)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            wait_until(lambda s=stream: s.closed or _at_end(s))
            stream.close()
        self._process = None
        return code

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))


def send(broker: Mosquitto, *messages: Message) -> None:
    with Subscriber(broker, filters=(), client_id="trap") as trap:
        for message in messages:
            trap.publish(message)
