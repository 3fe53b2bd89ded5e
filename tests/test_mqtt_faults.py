"""The publisher while brokers, links and processes die: nothing is lost, and nobody waits."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from edge.telling import homeassistant
from edge.telling.broker import Broker
from edge.telling.outbox import Outbox
from edge.telling.round_trip import round_trip
from tests.broker import Mosquitto, Subscriber, free_port, start_publisher, wait_until
from tests.samples import TOPICS, put, sighting

REPOSITORY = Path(__file__).parents[1]
TEXT, PICTURE = TOPICS.alert("Bengal tiger"), TOPICS.image("Bengal tiger")


def test_alerts_of_a_time_without_broker_arrive_once(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto):
        mosquitto.stop()
        ids = put(outbox, 5)
        thread = start_publisher(outbox, mosquitto.url)
        ids += put(outbox, 5)
        mosquitto.start()
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
        with Subscriber(mosquitto) as subscriber:
            subscriber.until(lambda: len(subscriber.on(PICTURE)) >= 10)
    assert [each.id for each in subscriber.on(TEXT)] == ids
    assert [each.id for each in subscriber.on(PICTURE)] == ids


def test_absence_is_said_once_and_return_once(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="edge"):
        thread = start_publisher(outbox, mosquitto.url)
        wait_until(lambda: len(caplog.records) >= 3)
        with mosquitto:
            wait_until(lambda: thread.connected)
            thread.stop()
    shown = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert len(shown) == 2
    assert shown[0].startswith(f"no MQTT broker answers at {mosquitto.url}: ")
    assert shown[1] == f"connected to the MQTT broker at {mosquitto.url} again"


def test_broker_killed_and_restarted_loses_nothing(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto):
        pass  # From now on the broker keeps messages for it.
    mosquitto.start()
    thread = start_publisher(outbox, mosquitto.url)
    ids = put(outbox, 10)
    wait_until(lambda: outbox.depth() == 0)
    # mosquitto saves after it has confirmed; by the time it has served another client, it has.
    round_trip(Broker.parse(mosquitto.url), TOPICS)
    mosquitto.kill()
    ids += put(outbox, 10)
    mosquitto.start()
    wait_until(lambda: outbox.depth() == 0)
    thread.stop()
    with Subscriber(mosquitto) as subscriber:
        subscriber.until(lambda: {each.id for each in subscriber.on(PICTURE)} >= set(ids))
    # What was under way when the broker died may come twice, with the same id.
    assert {each.id for each in subscriber.on(TEXT)} == set(ids)


def test_connection_that_dies_does_not_lose_what_was_under_way(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = start_publisher(outbox, mosquitto.url)
        ids: list[str] = []
        for _ in range(5):
            ids += put(outbox, 4)
            wait_until(lambda: thread.connected)
            # The broker drops a client whose name another takes.
            Taker(mosquitto).take()
        wait_until(lambda: outbox.depth() == 0)
        subscriber.until(lambda: {each.id for each in subscriber.on(PICTURE)} >= set(ids))
        thread.stop()
    assert {each.id for each in subscriber.on(TEXT)} == set(ids)


class Taker:
    """A client that takes the trap's client id, whereupon the broker ends the trap's connection."""

    def __init__(self, broker: Mosquitto) -> None:
        self._port = broker.port

    def take(self) -> None:
        name = f"edge-watch-{homeassistant.ascii_id(TOPICS.deployment)}".encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.sendall(b"\x10" + bytes([len(body)]) + body)
            assert connection.recv(4)[:1] == b"\x20"


def test_stop_without_broker_keeps_what_waits(outbox: Outbox) -> None:
    put(outbox, 3)
    thread = start_publisher(outbox, f"mqtt://127.0.0.1:{free_port()}")
    thread.event(sighting())
    thread.stop()
    assert outbox.depth() == 6


def test_silent_broker_blocks_nobody(outbox: Outbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = start_publisher(outbox, f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        put(outbox, 3)
        thread.event(sighting())
        with connection:
            thread.stop(timeout_s=0.1)
            assert not thread.connected
            assert outbox.depth() == 6


def test_server_that_is_no_broker_is_survived(
    outbox: Outbox, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", mosquitto.port)) as junk:
        thread = start_publisher(outbox, mosquitto.url)
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\x7f", b"\x00" * 64):
            connection, _ = junk.accept()
            with connection:
                connection.sendall(answer)
    put(outbox)
    with mosquitto, Subscriber(mosquitto):
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    assert "trying again" in caplog.text


CHILD = """
import sys, time
from pathlib import Path
from edge.telling.broker import Broker
from edge.telling.outbox import Outbox
from edge.telling.topics import Topics
from edge.telling.publisher import Publisher

with Outbox(Path(sys.argv[1])) as outbox:
    Publisher(outbox, Topics("trap 7"), Broker.parse(sys.argv[2])).start()
    time.sleep(60)
"""


def test_killed_trap_is_offline_by_its_last_will(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "child.sqlite"), mosquitto.url]
        with subprocess.Popen(command, cwd=REPOSITORY) as child:
            subscriber.until(lambda: bool(subscriber.on(TOPICS.status)))
            child.send_signal(signal.SIGKILL)
        subscriber.until(lambda: len(subscriber.on(TOPICS.status)) == 2)
        assert [each.payload for each in subscriber.on(TOPICS.status)] == [b"online", b"offline"]
        assert [each.qos for each in subscriber.on(TOPICS.status)] == [1, 1]


def test_ids_are_the_same_on_every_retry(mosquitto: Mosquitto, outbox: Outbox) -> None:
    (id,) = put(outbox)
    with socket.create_server(("127.0.0.1", mosquitto.port)) as server:
        thread = start_publisher(outbox, mosquitto.url)
        connection, _ = server.accept()
        with connection:
            # An MQTT 5 broker that takes everything and dies before it confirms anything.
            connection.recv(1024)
            connection.sendall(b"\x20\x03\x00\x00\x00")
            taken = b""
            while uuid.UUID(id).hex.encode() not in taken:
                taken += connection.recv(65536)
    assert taken.count(id.encode()) >= 2
    assert outbox.depth() == 2
    with mosquitto, Subscriber(mosquitto) as subscriber:
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        thread.stop()
    assert [each.id for each in subscriber.on(PICTURE)] == [id]
