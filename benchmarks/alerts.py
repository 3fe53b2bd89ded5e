"""What an alert costs from sighting to broker, how fast a backlog goes, and what a dead broker costs the camera.

    python benchmarks/alerts.py [--rounds N] [--alerts N] [--backlog N] [--seconds N]

All over mosquitto on loopback, each case and what it is held against in turn, in one run:

- From the sighting (`Outbox.put_alert` is called) to the broker's confirmation, of a text without a picture, beside a
  bare paho client that inserts the same bytes into a SQLite file of its own (WAL, FULL: one fsync) and publishes them
  at QoS 1.
- A backlog of a day, an alert a minute, with and without pictures, until the outbox is empty; once where nobody sends
  receipts and once where a subscriber does.
- The gaps between frames of a whole trap that tells of a visit a second, with a broker that answers and with one that
  takes everything and says nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

import edge.telling.publisher
from edge.telling.broker import Broker
from edge.telling.commands import write_command
from edge.telling.delivery import Delivery
from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.payloads import alert_messages
from edge.telling.publisher import Publisher
from tests.broker import Mosquitto
from tests.faults.network import Network
from tests.samples import TOPICS, alert_of_its_own, jpeg

ROOT = Path(__file__).resolve().parents[1]
COST_TARGET, RATE_TARGET, GAP_TARGET = 2.0, 200.0, 1.1
PICTURE_BYTES = 60_000
Gaps = list[float]
DISK = "/var/tmp"
"""What is written there is on a disk, of which `/tmp` need not say so."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alerts", type=int, default=200, help="of each kind in each round of the first measure")
    parser.add_argument("--backlog", type=int, default=1440)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each trap in each round of the last measure")
    parser.add_argument("--subscriber", metavar="PORT", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--receipts", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--trap", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subscriber:
        return subscribe(options.subscriber, options.receipts)
    if options.trap:
        return print(json.dumps(gaps_of_a_trap(options.trap, options.seconds)))
    lines = [
        *cost(options.rounds, options.alerts),
        *catching_up(options.rounds, options.backlog),
        *frame_gaps(options.rounds, options.seconds),
    ]
    print("\n".join(lines))
    return None


def verdict(value: float, target: float, least: bool = False) -> str:
    met = value >= target if least else value <= target
    return f"{value:>10.2f}{('at least ' if least else 'at most ') + f'{target:g}':>16}  {'met' if met else 'MISSED'}"


@contextlib.contextmanager
def broker() -> Iterator[tuple[Mosquitto, Path]]:
    """A broker, and a folder on the disk."""
    with tempfile.TemporaryDirectory(dir=DISK) as name:
        folder = Path(name)
        # Nothing is logged: that would cost more than what is measured.
        with Mosquitto(folder, "allow_anonymous true\nlog_dest none\nmax_queued_messages 0") as started:
            yield started, folder


@contextlib.contextmanager
def subscriber(port: int, receipts: bool) -> Iterator[None]:
    """A subscriber in a process of its own."""
    command = [sys.executable, __file__, "--subscriber", str(port)] + ["--receipts"] * receipts
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def subscribe(port: int, receipts: bool) -> None:
    """Take all that comes, and send receipts if so asked, until killed."""
    ack = TOPICS.command("ack")

    def take(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if receipts:
            id = dict(message.properties.UserProperty)["id"]  # type: ignore[union-attr]
            part = "image" if message.topic.endswith("/image") else "alert"
            client.publish(ack, write_command("ack", alert=id, part=part, size=len(message.payload)), qos=1)

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = take
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.subscribe([(f"{TOPICS.base}/alert/+", 1), (f"{TOPICS.base}/alert/+/image", 1)])
    client.loop_forever()


# From the sighting to the confirmation.


def cost(rounds: int, alerts: int) -> list[str]:
    ours: list[float] = []
    bare: list[float] = []
    appended: list[float] = []
    with (
        broker() as (mosquitto, folder),
        subscriber(mosquitto.port, receipts=False),
        our_way(mosquitto, folder) as tell,
        bare_way(mosquitto, folder) as publish,
    ):
        for _ in range(rounds * alerts):
            ours.append(tell())
            bare.append(publish(insert=True))
            appended.append(publish(insert=False))
    middle, held = statistics.median(ours), statistics.median(bare)
    lines = [f"{'ms to the confirmation, of a text':48}{'median':>10}{'p95':>10}"]
    for name, values in (
        ("edge-watch: outbox, publisher, mosquitto", ours),
        ("bare paho, and a row of SQLite (WAL, FULL)", bare),
        ("bare paho, and a line appended and fsynced", appended),
    ):
        p95 = statistics.quantiles(values, n=20)[18]
        lines.append(f"{name:48}{1000 * statistics.median(values):>10.2f}{1000 * p95:>10.2f}")
    return [*lines, f"{'ratio to bare paho and a row':48}{verdict(middle / held, COST_TARGET)}", ""]


class Timed(Delivery):
    """Notes when the broker's answer has come."""

    confirmed, at = threading.Event(), 0.0

    def answer(self, mid: int, code: int, reason: str) -> None:
        Timed.at = time.perf_counter()
        super().answer(mid, code, reason)
        self.confirmed.set()


@contextlib.contextmanager
def our_way(mosquitto: Mosquitto, folder: Path) -> Iterator[Callable[[], float]]:
    with Outbox(folder / FILE_NAME) as outbox:
        edge.telling.publisher.Delivery = Timed  # type: ignore[misc]
        publisher = Publisher(outbox, TOPICS, Broker.parse(mosquitto.url))
        edge.telling.publisher.Delivery = Delivery  # type: ignore[misc]
        publisher.start()
        while not publisher.connected:
            time.sleep(0.01)
        time.sleep(0.5)

        def tell() -> float:
            alert = alert_of_its_own(image=None, pictured=False)
            while outbox.depth():  # The last one is forgotten first.
                time.sleep(0.0005)
            Timed.confirmed.clear()
            started = time.perf_counter()
            assert outbox.put_alert(alert, alert_messages(alert))
            assert Timed.confirmed.wait(10)
            return Timed.at - started

        yield tell
        publisher.stop()


@contextlib.contextmanager
def bare_way(mosquitto: Mosquitto, folder: Path) -> Iterator[Callable[..., float]]:
    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE messages (row INTEGER PRIMARY KEY, payload BLOB)")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    confirmed, at = threading.Event(), [0.0]

    def answered(*_: object) -> None:
        at[0] = time.perf_counter()
        confirmed.set()

    client.on_publish = answered
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    time.sleep(0.5)
    topic, file = TOPICS.alert("Bengal tiger"), os.open(folder / "bare.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def publish(insert: bool) -> float:
        [message] = alert_messages(alert_of_its_own(image=None, pictured=False))
        confirmed.clear()
        started = time.perf_counter()
        if insert:
            db.execute("INSERT INTO messages (payload) VALUES (?)", (message.payload,))
        else:
            os.write(file, message.payload)
            os.fsync(file)
        client.publish(topic, message.payload, qos=1)
        assert confirmed.wait(10)
        return at[0] - started

    yield publish
    client.disconnect()
    client.loop_stop()
    db.close()
    os.close(file)


# A backlog.


def catching_up(rounds: int, alerts: int) -> list[str]:
    cases = [(pictures, receipts) for receipts in (False, True) for pictures in (False, True)]
    rates: dict[tuple[bool, bool], Gaps] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            rates[case].append(catch_up(alerts, *case))
    lines = [f"{f'alerts/s of a backlog of {alerts}':48}{'median':>10}"]
    for (pictures, receipts), values in rates.items():
        name = f"{'with pictures of 60 kB' if pictures else 'texts'}, {'with' if receipts else 'no'} receipts"
        lines.append(f"{name:48}{verdict(statistics.median(values), RATE_TARGET, least=True)}")
    return [*lines, ""]


def catch_up(alerts: int, pictures: bool, receipts: bool) -> float:
    """Alerts a second from the connection until the outbox is empty."""
    picture = jpeg() + os.urandom(PICTURE_BYTES) if pictures else None
    with broker() as (mosquitto, folder), Outbox(folder / FILE_NAME) as outbox:
        for _ in range(alerts):
            made = alert_of_its_own(image=picture, pictured=pictures)
            outbox.put_alert(made, alert_messages(made))
        with subscriber(mosquitto.port, receipts):
            publisher = Publisher(outbox, TOPICS, Broker.parse(mosquitto.url), require_ack=receipts)
            started = time.perf_counter()
            publisher.start()
            while outbox.depth():
                time.sleep(0.2)  # Each look keeps the outbox from others for some milliseconds.
            seconds = time.perf_counter() - started
            publisher.stop()
    return alerts / seconds


# Frame gaps.


def frame_gaps(rounds: int, seconds: float) -> list[str]:
    found: dict[str, Gaps] = {"a broker that answers": [], "a broker that swallows everything": []}
    with broker() as (mosquitto, _), subscriber(mosquitto.port, receipts=False):
        silent = Network(mosquitto.port)
        silent.half_open()
        for _ in range(rounds):
            for name, url in zip(found, (mosquitto.url, silent.url), strict=True):
                command = [sys.executable, __file__, "--trap", url, "--seconds", str(seconds)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name}: {done.stderr}")
                found[name] += json.loads(done.stdout.splitlines()[-1])
        silent.close()
    lines = [f"{'ms between frames':48}{'p50':>10}{'p99':>10}{'max':>10}{'frames':>10}"]
    p99 = []
    for name, gaps in found.items():
        cuts = statistics.quantiles(gaps, n=100)
        p99.append(cuts[98])
        numbers = "".join(f"{1000 * value:>10.1f}" for value in (cuts[49], cuts[98], max(gaps)))
        lines.append(f"{name:48}{numbers}{len(gaps):>10}")
    return [*lines, f"{'ratio of the p99':48}{verdict(p99[1] / p99[0], GAP_TARGET)}"]


def gaps_of_a_trap(url: str, seconds: float) -> Gaps:
    """Seconds between frames of the whole daemon, which tells of a visit a second."""
    from tests.faults.trap import run

    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    with tempfile.TemporaryDirectory(dir=DISK) as folder:
        _, show = run(Path(folder), url, 1_000_000, stop)
    return [later - earlier for earlier, later in zip(show.times, show.times[1:], strict=False)]


if __name__ == "__main__":
    main()
