"""The publisher against a real broker: alerts arrive, whatever happens to the broker, the link or the process."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import homeassistant
from edge.broker import Broker, BrokerError
from edge.mqtt import round_trip
from edge.outbox import FILE_NAME, Outbox
from edge.payloads import Health, Message, Topics, alert_messages, alert_payload
from edge.publisher import Publisher
from models.errors import UsageError
from tests.broker import Mosquitto, Subscriber, free_port, wait_for_port, wait_until
from tests.samples import START, alert, alert_of_its_own, sighting

REPOSITORY = Path(__file__).parents[1]
TOPICS = Topics("trap 7")
TEXT, PICTURE = TOPICS.alert("Bengal tiger"), TOPICS.image("Bengal tiger")
DISCOVERY = homeassistant.discovery_message(TOPICS, ["Bengal tiger"], off_delay_s=600, version="1")
KEEPS = "allow_anonymous true\npersistence true\nautosave_on_changes true\nautosave_interval 1"


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path, KEEPS)
    yield broker
    broker.kill()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / FILE_NAME) as made:
        yield made


def publisher(outbox: Outbox, url: str, **settings: object) -> Publisher:
    made = Publisher(outbox, TOPICS, Broker.parse(url), delays_s=(0.05, 0.2), **settings)  # type: ignore[arg-type]
    made.start()
    return made


def put(outbox: Outbox, number: int = 1) -> list[str]:
    """Put alerts with pictures; return their ids."""
    made = [alert_of_its_own() for _ in range(number)]
    for each in made:
        outbox.put_alert(each, alert_messages(each))
    return [each.sighting.id for each in made]


def test_alert_and_picture_arrive_with_their_id(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = publisher(outbox, mosquitto.url)
        outbox.put_alert(alert(), alert_messages(alert()))
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    (text,), (picture,) = subscriber.on(TEXT), subscriber.on(PICTURE)
    assert json.loads(text.payload) == alert_payload(alert(), PICTURE)
    assert (text.id, text.qos) == (alert().sighting.id, 1)
    assert (picture.id, picture.qos) == (alert().sighting.id, 1)
    assert picture.payload == alert_messages(alert())[1].payload
    assert thread.unheard == 0


def test_alerts_of_a_time_without_broker_arrive_once(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto):
        mosquitto.stop()
        ids = put(outbox, 5)
        thread = publisher(outbox, mosquitto.url)
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
        thread = publisher(outbox, mosquitto.url)
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
    thread = publisher(outbox, mosquitto.url)
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
        thread = publisher(outbox, mosquitto.url)
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


def test_status_and_discovery_are_retained_and_alerts_are_not(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto:
        thread = publisher(outbox, mosquitto.url, announce=DISCOVERY)
        put(outbox)
        wait_until(lambda: outbox.depth() == 0 and thread.connected)
        health = Health(1, 2, 3, None, None, None, 0, 0, 0, 0, 0)
        with Subscriber(mosquitto, client_id="early") as early:
            thread.event(sighting())
            thread.health(health)
            early.until(lambda: bool(early.on(TOPICS.events) and early.on(TOPICS.health)))
        with Subscriber(mosquitto) as late:
            late.until(lambda: len(late.received) >= 3)
        assert sorted(each.topic for each in late.received) == sorted([TOPICS.status, TOPICS.health, DISCOVERY.topic])
        assert [each.payload for each in late.on(TOPICS.status)] == [b"online"]
        assert [each.payload for each in late.on(DISCOVERY.topic)] == [DISCOVERY.payload]
        assert [each.qos for each in late.on(TOPICS.health)] == [0]
        thread.stop()
        with Subscriber(mosquitto, client_id="later") as later:
            later.until(lambda: bool(later.on(TOPICS.status)))
        assert [each.payload for each in later.on(TOPICS.status)] == [b"offline"]


def test_events_remember_what_was_before(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = publisher(outbox, mosquitto.url)
        wait_until(lambda: thread.connected)
        thread.event(sighting(probability=0.5))
        thread.event(sighting(type="update", probability=0.75))
        thread.event(sighting(type="end", probability=1.0, event_end=START))
        thread.stop()
        subscriber.until(lambda: len(subscriber.on(TOPICS.events)) == 3)
    events = [json.loads(each.payload) for each in subscriber.on(TOPICS.events)]
    assert [(each["type"], each["before"]["score"], each["after"]["score"]) for each in events] == [
        ("new", 0.5, 0.5),
        ("update", 0.5, 0.75),
        ("end", 0.75, 1.0),
    ]


def test_home_assistant_is_told_again_after_its_restart(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = publisher(outbox, mosquitto.url, announce=DISCOVERY)
        subscriber.until(lambda: len(subscriber.on(DISCOVERY.topic)) == 1)
        wait_until(lambda: homeassistant.STATUS_TOPIC in mosquitto.log)
        subscriber.publish(Message(homeassistant.STATUS_TOPIC, b"offline"))
        subscriber.publish(Message(homeassistant.STATUS_TOPIC, b"online"))
        subscriber.until(lambda: len(subscriber.on(DISCOVERY.topic)) == 2)
        thread.stop()


def test_stop_delivers_what_waits_and_says_offline(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        ids = put(outbox, 20)
        # Stopped before it can have connected: one attempt is made for what waits.
        publisher(outbox, mosquitto.url).stop()
        assert outbox.depth() == 0
        subscriber.until(lambda: any(each.payload == b"offline" for each in subscriber.on(TOPICS.status)))
    assert [each.id for each in subscriber.on(TEXT)] == ids
    assert [each.payload for each in subscriber.on(TOPICS.status)] == [b"online", b"offline"]


def test_stop_without_broker_keeps_what_waits(outbox: Outbox) -> None:
    put(outbox, 3)
    thread = publisher(outbox, f"mqtt://127.0.0.1:{free_port()}")
    thread.event(sighting())
    thread.stop()
    assert outbox.depth() == 6


def test_silent_broker_blocks_nobody(outbox: Outbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = publisher(outbox, f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
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
        thread = publisher(outbox, mosquitto.url)
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\x7f", b"\x00" * 64):
            connection, _ = junk.accept()
            with connection:
                connection.sendall(answer)
    put(outbox)
    with mosquitto:
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    assert "trying again" in caplog.text


CHILD = """
import sys, time
from pathlib import Path
from edge.broker import Broker
from edge.outbox import Outbox
from edge.payloads import Topics
from edge.publisher import Publisher

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


def test_denied_alert_is_kept_counted_and_said_once(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.publisher._TICK_S", 0.05)
    rules = tmp_path / "acl"
    rules.write_text(f"topic readwrite {TOPICS.base}/status\ntopic read #\n")
    # Only what mosquitto 2.0 wants when it runs as root: nobody else may change who may do what.
    os.chmod(rules, 0o600)
    with Mosquitto(tmp_path, f"allow_anonymous true\nacl_file {rules}") as broker:
        thread = publisher(outbox, broker.url, refused_s=0.05)
        put(outbox)
        wait_until(lambda: outbox.counts().refused == 2)
        wait_until(lambda: all(stored.attempts > 1 for stored in outbox.pending(10)) and bool(outbox.pending(10)))
        assert outbox.depth() == 2
        messages = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
        assert messages == [
            f"the MQTT broker refuses {TEXT}: Not authorized",
            f"the MQTT broker refuses {PICTURE}: Not authorized",
        ]
        rules.write_text("topic readwrite #\n")
        broker.reload()
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()


def test_alert_that_nobody_hears_is_counted(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto:
        thread = publisher(outbox, mosquitto.url)
        put(outbox)
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    assert thread.unheard == 2


def test_picture_larger_than_the_broker_takes_holds_up_nothing(tmp_path: Path, outbox: Outbox) -> None:
    broker = Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 20000")
    with broker, Subscriber(broker) as subscriber:
        thread = publisher(outbox, broker.url)
        big = alert_of_its_own(image=sighting().image + bytes(30_000))  # type: ignore[operator]
        outbox.put_alert(big, alert_messages(big))
        put(outbox)
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.depth() == 1)
        assert outbox.counts().refused == 1
        thread.stop()
    assert len(subscriber.on(TEXT)) == 2


def test_old_broker_is_spoken_to_in_its_own_version(tmp_path: Path, outbox: Outbox) -> None:
    pytest.importorskip("amqtt")
    port = free_port()
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    (tmp_path / "amqtt.json").write_text(json.dumps(config))
    broker = Mosquitto(tmp_path)
    broker.port = port
    with subprocess.Popen(
        [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(tmp_path / "amqtt.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_port(port, process)
            with Subscriber(broker) as subscriber:
                thread = publisher(outbox, broker.url)
                (id,) = put(outbox)
                subscriber.until(lambda: bool(subscriber.on(PICTURE)))
                wait_until(lambda: outbox.depth() == 0)
                thread.stop()
            assert [json.loads(each.payload)["id"] for each in subscriber.on(TEXT)] == [id]
            assert [each.payload for each in subscriber.on(TOPICS.status)][:1] == [b"online"]
        finally:
            process.kill()


def test_credentials_come_from_a_file(tmp_path: Path, outbox: Outbox) -> None:
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "trap", "s3cret"], check=True)
    os.chmod(tmp_path / "passwords", 0o600)
    credentials = tmp_path / "credentials"
    credentials.write_text("trap\ns3cret\n")
    with Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}") as broker:
        assert round_trip(Broker.parse(broker.url, credentials), TOPICS) > 0
        credentials.write_text("trap\nwrong\n")
        with pytest.raises(BrokerError, match="refuses: Not authorized; see --credentials"):
            round_trip(Broker.parse(broker.url, credentials), TOPICS)


def test_round_trip_names_what_is_wrong(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(BrokerError, match=f"no MQTT broker answers at mqtt://127.0.0.1:{port}: "):
        round_trip(Broker.parse(f"mqtt://127.0.0.1:{port}"), TOPICS)
    rules = tmp_path / "acl"
    rules.write_text("topic read #\n")
    os.chmod(rules, 0o600)
    broker = Mosquitto(tmp_path, f"allow_anonymous true\nacl_file {rules}")
    with broker, pytest.raises(BrokerError, match=r"not come back .* Not authorized; may this user use the topic"):
        round_trip(Broker.parse(broker.url), TOPICS)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://localhost:1883", Broker("localhost", 1883)),
        ("mqtt://example.org", Broker("example.org", 1883)),
        ("mqtt://", Broker("localhost", 1883)),
        ("mqtts://example.org", Broker("example.org", 8883, tls=True)),
        ("mqtts://[2001:db8::7]:9000/", Broker("2001:db8::7", 9000, tls=True)),
    ],
)
def test_broker_url(url: str, expected: Broker) -> None:
    assert Broker.parse(url) == expected
    assert Broker.parse(str(expected)) == expected


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "mqtt://h:99999", "mqtt://h/topic", "mqtt://[::1"])
def test_broker_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="expected a broker like mqtt://localhost:1883"):
        Broker.parse(url)


def test_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="--credentials FILE") as caught:
        Broker.parse("mqtt://ranger:s3cret@example.org")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Broker("h", 1, user="ranger", password="s3cret"))


@pytest.mark.parametrize("content", [None, "", "only-a-user\n", b"\xff\xfe"])
def test_credentials_file_that_is_none(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "credentials"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match="credentials"):
        Broker.parse("mqtt://localhost", path)


def test_ids_are_the_same_on_every_retry(mosquitto: Mosquitto, outbox: Outbox) -> None:
    (id,) = put(outbox)
    with socket.create_server(("127.0.0.1", mosquitto.port)) as server:
        thread = publisher(outbox, mosquitto.url)
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


def test_stopped_publisher_leaves_no_thread(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto:
        before = threading.active_count()
        thread = publisher(outbox, mosquitto.url)
        wait_until(lambda: thread.connected)
        assert threading.active_count() == before + 1
        thread.stop()
        assert threading.active_count() == before


# paho leaves the socket of a failed handshake to the garbage collector, which warns when it closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_checked_against_the_systems_authorities(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes this test's certificate")
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    command = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    with Mosquitto(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}") as broker:
        secure = broker.url.replace("mqtt://", "mqtts://")
        with pytest.raises(BrokerError, match="certificate verify failed"):
            round_trip(Broker.parse(secure), TOPICS)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert round_trip(Broker.parse(secure), TOPICS) > 0
        thread = publisher(outbox, secure)
        made = [alert_of_its_own(image=sighting().image + bytes(300_000)) for _ in range(5)]  # type: ignore[operator]
        for each in made:
            outbox.put_alert(each, alert_messages(each))
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()


# paho leaves the socket of a failed handshake to the garbage collector, which warns when it closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_to_a_port_without_it_is_an_error(mosquitto: Mosquitto) -> None:
    with mosquitto, pytest.raises(BrokerError, match="no MQTT broker answers at mqtts://"):
        round_trip(Broker.parse(mosquitto.url.replace("mqtt://", "mqtts://")), TOPICS)
