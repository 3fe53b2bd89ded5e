"""A real mosquitto on a free loopback port, and a subscriber to it, for tests that start, stop and kill them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from edge.telling.broker import Broker
from edge.telling.mqtt import Link, Received
from edge.telling.outbox import Outbox
from edge.telling.payloads import Message
from edge.telling.publisher import Publisher
from tests.samples import TOPICS

KEEPS = "allow_anonymous true\npersistence true\nautosave_on_changes true\nautosave_interval 1"
_MARKER = "marker/"
_PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def mosquitto_binary() -> str:
    """The path of mosquitto; skips the test without it, or fails where CI promises it."""
    binary = shutil.which("mosquitto", path=_PATHS)
    require(binary is not None, "mosquitto")
    return str(binary)


def require(there: bool, what: str) -> None:
    """Skip the test if something is not installed; fail where CI promises that it is."""
    if not there and os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and CI=true promises it")
    if not there:
        pytest.skip(f"{what} is not installed")


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something listens; fail if the process ends before or 20 s pass."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the broker ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    pytest.fail("the broker does not listen")


class Mosquitto:
    """A broker of a test's own; its log is in `folder`.

    Args:
        folder: for its configuration, log and, if the configuration asks for it, its database.
        config: lines of mosquitto.conf, besides the listener.
    """

    def __init__(self, folder: Path, config: str = "allow_anonymous true") -> None:
        self.folder, self.config, self.port = folder, config, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        path = self.folder / "mosquitto.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> Mosquitto:
        binary = mosquitto_binary()
        config = self.folder / "mosquitto.conf"
        # As root, mosquitto would become another user who may not write here.
        config.write_text(f"listener {self.port} 127.0.0.1\nuser root\nlog_type all\n{self.config}\n")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=log, cwd=self.folder)
        wait_for_port(self.port, self._process)
        return self

    def stop(self) -> None:
        """End it in order."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(kill=True)

    def reload(self) -> None:
        """Read configuration and access rules again."""
        assert self._process is not None
        self._process.send_signal(1)

    def _end(self, kill: bool) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def old_broker(folder: Path) -> Iterator[Mosquitto]:
    """A broker that knows MQTT 3.1.1 only (amqtt), running; only its address may be asked of it."""
    require(importlib.util.find_spec("amqtt") is not None, "amqtt")
    broker = Mosquitto(folder)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{broker.port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    (folder / "amqtt.json").write_text(json.dumps(config))
    with subprocess.Popen(
        [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(folder / "amqtt.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_port(broker.port, process)
            yield broker
        finally:
            process.kill()


class Subscriber:
    """A client that collects what a broker delivers, with a session that the broker keeps while it is away."""

    def __init__(
        self, broker: Mosquitto | Broker, filters: Sequence[str] = ("#",), client_id: str = "collector"
    ) -> None:
        self.received: list[Received] = []
        self._filters = filters
        self._markers: set[str] = set()
        where = broker if isinstance(broker, Broker) else Broker.parse(broker.url)
        self._link = Link(where, client_id, session_s=3600)

    def __enter__(self) -> Subscriber:
        try:
            return self._begin()
        except BaseException:
            self._link.release()
            raise

    def _begin(self) -> Subscriber:
        self._link.connect()
        marker = f"{_MARKER}{uuid.uuid4().hex}"
        self._link.subscribe([*self._filters, marker], qos=1)
        # What comes back shows that the subscriptions are in force.
        self._link.publish(Message(marker, b""))
        self.until(lambda: marker in self._markers)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.disconnect()
        self._link.release()

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Take messages until `condition`; fail after `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain; received {[each.topic for each in self.received]}")
            self._link.wait(0.05)
            while self._link.received:
                received = self._link.received.popleft()
                self._link.ack(received)
                if received.topic.startswith(_MARKER):
                    self._markers.add(received.topic)
                else:
                    self.received.append(received)

    def publish(self, message: Message) -> None:
        """Send a message and wait until the broker has confirmed it."""
        self._link.acks.clear()
        self._link.publish(message)
        self.until(lambda: bool(self._link.acks))

    def on(self, topic: str) -> list[Received]:
        """What has come on one topic."""
        return [each for each in self.received if each.topic == topic]


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return when `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.01)


def start_publisher(outbox: Outbox, url: str, **settings: object) -> Publisher:
    """A publisher of the trap `TOPICS` names that looks for a lost broker often."""
    made = Publisher(outbox, TOPICS, Broker.parse(url), delays_s=(0.05, 0.2), **settings)  # type: ignore[arg-type]
    made.start()
    return made
