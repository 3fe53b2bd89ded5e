"""`edge-listen` as its user runs it: a process, a real broker, lines and files."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.listen import main
from edge.listen.forwards import Forwards
from edge.listen.listener import Listener as Loop
from edge.listen.messages import MalformedError, read_alert
from edge.listen.store import Store
from edge.telling.broker import Broker
from edge.telling.mqtt import Received
from edge.telling.payloads import Message, alert_messages
from tests.broker import Mosquitto, free_port, wait_until
from tests.listening import LINE, NAME, PICTURE, REPOSITORY, TEXT, Listener, changed, listening, send, stored
from tests.samples import ID, alert_of_its_own


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path) as made:
        yield made


def test_alert_is_printed_and_stored_with_its_picture(listener: Listener) -> None:
    listener.start("--count", "1")
    send(listener.broker, TEXT, PICTURE)
    assert listener.end() == 0
    assert listener.lines == [f"{LINE}{listener.folder / NAME}.jpg"]
    assert listener.files == [f"{NAME}.jpg", f"{NAME}.json"]
    assert (listener.folder / f"{NAME}.jpg").read_bytes() == PICTURE.payload
    assert (listener.folder / f"{NAME}.json").read_bytes() == TEXT.payload
    assert listener.warnings == []


def test_count_waits_for_the_picture(listener: Listener) -> None:
    listener.start("--count", "2")
    without = changed(id="0196889f-5a3a-7c1e-9b1f-000000000002", image_topic=None)
    send(listener.broker, TEXT, without)
    wait_until(lambda: len(listener.lines) == 2)
    assert listener.lines[1] == f"{LINE}no picture"
    send(listener.broker, PICTURE)
    assert listener.end() == 0


def test_picture_may_come_first(listener: Listener) -> None:
    listener.start("--count", "1")
    send(listener.broker, PICTURE, TEXT)
    assert listener.end() == 0
    assert listener.files == [f"{NAME}.jpg", f"{NAME}.json"]
    assert (listener.folder / f"{NAME}.jpg").read_bytes() == PICTURE.payload


def test_picture_without_property_is_known_by_its_exif(listener: Listener) -> None:
    listener.start("--count", "1")
    send(listener.broker, TEXT, Message(PICTURE.topic, PICTURE.payload))
    assert listener.end() == 0
    assert f"{NAME}.jpg" in listener.files


def test_each_id_once_also_after_a_restart(listener: Listener) -> None:
    listener.start()
    send(listener.broker, TEXT, PICTURE, TEXT, PICTURE)
    wait_until(lambda: len(listener.files) == 2)
    assert listener.end(signal.SIGTERM) == 0
    other, other_picture = alert_messages(alert_of_its_own())
    listener.start("--count", "1")
    send(listener.broker, TEXT, PICTURE, other, other_picture)
    assert listener.end() == 0
    assert len(listener.lines) == 2
    assert len(listener.files) == 4


def test_alert_sent_while_away_comes_later(listener: Listener) -> None:
    listener.start()
    assert listener.end(signal.SIGINT) == 0
    send(listener.broker, TEXT, PICTURE)
    listener.start("--count", "1")
    assert listener.end() == 0
    assert listener.lines == [f"{LINE}{listener.folder / NAME}.jpg"]


def test_killed_listener_gets_unhandled_alerts_again(listener: Listener) -> None:
    # A folder in the way of the picture: it is not stored, so it must not be acknowledged.
    listener.folder.mkdir()
    (listener.folder / f".{NAME}.jpg.part").mkdir()
    listener.start()
    send(listener.broker, TEXT, PICTURE)
    assert listener.end() == 1
    assert listener.warnings[0].startswith(f"edge-listen: cannot store {listener.folder / NAME}.jpg: ")
    (listener.folder / f".{NAME}.jpg.part").rmdir()
    listener.start("--count", "1")
    assert listener.end() == 0
    assert len(listener.lines) == 1
    assert listener.files == [f"{NAME}.jpg", f"{NAME}.json"]


def test_kills_lose_no_alert(listener: Listener) -> None:
    ids = []
    listener.start()
    for _ in range(5):
        for made in (alert_of_its_own() for _ in range(4)):
            ids.append(made.sighting.id)
            send(listener.broker, *alert_messages(made))
        listener.end(signal.SIGKILL)
        listener.start()
    wait_until(lambda: len(listener.files) == 2 * len(ids))
    assert listener.end(signal.SIGTERM) == 0
    assert sorted(name[-41:-5] for name in listener.files if name.endswith(".json")) == sorted(ids)
    assert sorted(name[-40:-4] for name in listener.files if name.endswith(".jpg")) == sorted(ids)


@pytest.mark.parametrize(
    "message",
    [
        Message(TEXT.topic, b"{"),
        Message(TEXT.topic, b"\xff\xfe"),
        Message(TEXT.topic, b"[]"),
        Message(TEXT.topic, b"{}"),
        Message(TEXT.topic, b"[" * 60_000),
        Message(TEXT.topic, b'{"x": "' + b"x" * 70_000 + b'"}'),
        changed(id="../../etc/passwd"),
        changed(id=7),
        changed(event_start="yesterday"),
        changed(event_start=None),
        changed(probability="high"),
        changed(probability=10**400),
        changed(probability=1.5),
        changed(frames=float("nan")),
        changed(deployment="trap 8"),
        changed(deployment="trap%207"),
        changed(deployment=7),
        Message(TEXT.topic, TEXT.payload.replace(b'"deployment"', b'"trap"')),
        Message(PICTURE.topic, b"no picture"),
        Message(PICTURE.topic, b"no picture", id="no id"),
        Message(PICTURE.topic, b""),
        Message(PICTURE.topic, b"\x89PNG\r\n\x1a\n", id=ID),
        Message(PICTURE.topic, PICTURE.payload + bytes(20_000_000), id=ID),
    ],
    ids=lambda message: message.payload[:20].decode("latin-1"),
)
def test_malformed_messages_are_a_warning_each(
    message: Message, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acknowledged: list[Received] = []

    class Link:
        def ack(self, received: Received) -> None:
            acknowledged.append(received)

    received = Received(message.topic, message.payload, message.id, 1, 1)
    with closing(Store(tmp_path)) as store:
        loop = Loop(Link(), store, Forwards(store.database, []), "edge-watch", None)  # type: ignore[arg-type]
        loop._take(received)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"edge-listen: ignored a message on {message.topic}: ")
    assert acknowledged == [received]
    assert stored(tmp_path) == []


@pytest.mark.parametrize("depth", range(100, 1100, 50))
def test_deep_nesting_is_stored_or_malformed(depth: int) -> None:
    text = TEXT.payload.replace(b'"members":[]', b'"members":' + b"[" * depth + b"]" * depth)
    with contextlib.suppress(MalformedError):
        assert read_alert(text).cells["members"] == "[" * depth + "]" * depth


def test_malformed_message_does_not_end_it(listener: Listener) -> None:
    listener.start("--count", "1")
    send(listener.broker, Message(TEXT.topic, b"{"), Message(PICTURE.topic, b"junk"), TEXT, PICTURE)
    assert listener.end() == 0
    assert len(listener.warnings) == 2


def test_names_from_outside_stay_in_the_folder_and_off_the_terminal(listener: Listener) -> None:
    listener.start("--count", "1")
    text = changed(deployment="a\rb", species="../../\x1b[31mTiger\n", image_topic=None)
    send(listener.broker, replace(text, topic="edge-watch/a%0Db/alert/x"))
    assert listener.end() == 0
    assert listener.files == [f"20260501T061530-31mtiger-{ID}.json"]
    assert listener.lines == ["2026-05-01 06:15:30+05:30  a?b  ../../?[31mTiger?  0.99  no picture"]


def test_broker_that_comes_later(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    listener = Listener(broker, tmp_path / "alerts").begin("--count", "1")
    wait_until(lambda: bool(listener.warnings))
    with broker:
        wait_until(lambda: "Sending SUBACK to edge-listen" in broker.log)
        send(broker, TEXT, PICTURE)
        assert listener.end() == 0
    assert listener.warnings[0].startswith(f"edge-listen: no MQTT broker answers at {broker.url}: ")
    assert listener.warnings[1:] == [f"edge-listen: connected to the MQTT broker at {broker.url} again"]


def test_signal_ends_it_without_a_broker(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    listener = Listener(broker, tmp_path / "alerts").begin()
    wait_until(lambda: bool(listener.warnings))
    assert listener.end(signal.SIGTERM) == 0


def test_refused_subscription_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # mosquitto grants every subscription and then delivers nothing, so this broker is made up.
    asked: list[tuple[list[str], int]] = []

    class Link:
        def __init__(self) -> None:
            self.broker = Broker.parse()
            self.denied = deque(["Not authorized"])
            self.received: deque[Received] = deque()
            self.acks: deque[tuple[int, int, str]] = deque()

        def subscribe(self, filters: list[str], qos: int) -> None:
            asked.append((filters, qos))

        def wait(self, seconds: float) -> None:
            inner.stop.set()

        def disconnect(self) -> None:
            pass

    with closing(Store(tmp_path)) as store:
        inner = Loop(Link(), store, Forwards(store.database, []), "park", None)  # type: ignore[arg-type]
        inner._serve()
    assert asked == [(["park/+/alert/+", "park/+/alert/+/image"], 1), (["park/+/status", "park/+/health"], 0)]
    assert "the broker refuses the subscription: Not authorized; see --credentials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--broker", "mqtt://u:p@h"], "name it with --credentials FILE"),
        (["--broker", "http://h"], "expected a broker like mqtt://localhost:1883"),
        (["--prefix", "a/#"], "expected a topic prefix like edge-watch"),
        (["--count", "0"], "expected --count of 1 or more, got 0"),
        (["--client-id", ""], "expected a --client-id"),
        (["--credentials", "missing.txt"], "cannot read the credentials file missing.txt"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    broker = f"mqtt://127.0.0.1:{free_port()}"
    assert main(["--broker", broker, "--folder", str(tmp_path / "file" / "alerts")]) == 1
    assert "expected a folder that can be written to" in capsys.readouterr().err


def test_help_needs_no_mqtt_library() -> None:
    script = "import sys; sys.modules['paho'] = None; from edge.listen import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "usage: edge-listen" in done.stdout
