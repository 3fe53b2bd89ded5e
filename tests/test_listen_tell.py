"""`edge-listen tell`: commands to a trap that a stand-in answers over a real broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.listen import main
from edge.telling.broker import Broker
from edge.telling.commands import Command, read_command
from edge.telling.mqtt import Link
from edge.telling.payloads import Message, reply_message, status_message
from edge.telling.topics import Topics
from tests.broker import Mosquitto, Subscriber, free_port
from tests.samples import ID

OAK = Topics("oak 7")
Answer = Callable[[Command], list[Message]]


def done(command: Command) -> list[Message]:
    return [reply_message(OAK, command.id, command.name, True, f"{command.name} is done")]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as made:
        yield made


@contextmanager
def trap(broker: Mosquitto, answer: Answer = done) -> Iterator[list[Command]]:
    """A trap that answers every command; what it was told."""
    told: list[Command] = []
    ready, stop = threading.Event(), threading.Event()
    link = Link(Broker.parse(broker.url), "edge-watch-oak%207", session_s=3600)

    def run() -> None:
        link.connect()
        marker = f"{OAK.base}/check"
        link.subscribe([f"{OAK.base}/command/+", marker], qos=1)
        link.publish(Message(marker, b""))
        while not stop.is_set():
            link.wait(1.0)
            while link.received:
                received = link.received.popleft()
                link.ack(received)
                if received.topic == marker:
                    ready.set()
                    continue
                told.append(read_command(received.topic.rpartition("/")[2], received.payload))
                for message in answer(told[-1]):
                    link.publish(message)
        link.disconnect()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield told
    finally:
        stop.set()
        link.wake()
        thread.join()
        link.release()


@pytest.mark.parametrize(
    ("arguments", "name", "values"),
    [
        (["test"], "test", {}),
        (["look"], "look", {}),
        (["snooze", "--minutes", "60", "--species", "tiger"], "snooze", {"minutes": 60, "species": "tiger"}),
        (["snooze", "--minutes", "0"], "snooze", {"minutes": 0, "species": ""}),
        (["picture", ID], "picture", {"event": ID}),
        (["confirm", ID], "confirm", {"event": ID}),
        (["wrong", ID, "leopard"], "wrong", {"event": ID, "species": "leopard"}),
        (["wrong", ID], "wrong", {"event": ID, "species": ""}),
    ],
)
def test_command_is_told_and_answered(
    broker: Mosquitto, capsys: pytest.CaptureFixture[str], arguments: list[str], name: str, values: dict[str, object]
) -> None:
    with trap(broker) as told:
        assert main(["tell", "oak 7", *arguments, "--broker", broker.url]) == 0
    assert capsys.readouterr() == (f"oak 7: {name} is done\n", "")
    [command] = told
    assert (command.name, {**command.values, "id": "", "issued": ""}) == (name, {**values, "id": "", "issued": ""})


def test_refusal_of_the_trap_is_an_error(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(command: Command) -> list[Message]:
        return [reply_message(OAK, command.id, command.name, False, "no such event\x1b")]

    with trap(broker, refuse):
        assert main(["tell", "oak 7", "picture", ID, "--broker", broker.url]) == 1
    assert capsys.readouterr() == ("", "edge-listen: oak 7 did not: no such event?\n")


def test_only_the_reply_to_this_command_counts(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    def chatter(command: Command) -> list[Message]:
        other = reply_message(OAK, "another", command.name, True, "not this")
        return [other, Message(OAK.reply, b"{"), Message(OAK.reply, b"[]"), *done(command)]

    with trap(broker, chatter):
        assert main(["tell", "oak 7", "test", "--broker", broker.url]) == 0
    assert capsys.readouterr().out == "oak 7: test is done\n"


def test_nobody_there_is_an_error(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tell", "elm", "test", "--broker", broker.url]) == 1
    assert capsys.readouterr().err == (
        f"edge-listen: no trap elm listens at {broker.url}; expected its --deployment and --prefix\n"
    )


def test_trap_that_nothing_is_known_of_is_an_error_though_somebody_hears_all_topics(
    broker: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    with Subscriber(broker, ["edge-watch/#"], client_id="dashboard"):
        assert main(["tell", "nosuch", "test", "--broker", broker.url, "--wait", "0.1"]) == 1
    assert capsys.readouterr() == (
        "",
        f"edge-listen: nothing is known of a trap nosuch at {broker.url}; expected its --deployment and --prefix\n",
    )


def test_health_that_was_asked_for_is_shown(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    payload = '{"frames": 7, "temperature_c": null, "link": "län\\u001b"}'.encode()
    health = Message(OAK.health, payload, qos=0, retain=True)
    with Subscriber(broker, filters=(), client_id="other") as other:
        other.publish(Message(OAK.health, b'{"frames": 1}', retain=True))
    with trap(broker, lambda command: [*done(command), health]):
        assert main(["tell", "oak 7", "status", "--broker", broker.url]) == 0
    assert capsys.readouterr().out == (
        'oak 7: status is done\nframes: 7\ntemperature_c: null\nlink: "län\\u001b"\n'
    )


def test_health_that_does_not_come_is_said(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    with Subscriber(broker, filters=(), client_id="other") as other, trap(broker):
        other.publish(Message(OAK.health, b'{"frames": 1}', retain=True))
        assert main(["tell", "oak 7", "status", "--broker", broker.url, "--wait", "1"]) == 0
    assert capsys.readouterr().out == "oak 7: status is done\nno health from oak 7 in 1 s\n"


def test_command_waits_at_the_broker_for_a_trap_that_sleeps(
    broker: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    with trap(broker):
        pass
    with Subscriber(broker, filters=(), client_id="other") as other:
        other.publish(status_message(OAK, "sleeping"))
    assert main(["tell", "oak 7", "test", "--broker", broker.url, "--wait", "0.1"]) == 0
    assert capsys.readouterr().out == (
        "no answer from oak 7 in 0.1 s (it is sleeping); the broker keeps the command for it\n"
    )
    with Subscriber(broker, [OAK.reply], client_id="later") as later, trap(broker) as told:
        later.until(lambda: len(later.received) == 1)
    assert [command.name for command in told] == ["test"]


def test_broker_that_refuses_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acl").write_text("topic read #\n")
    with Mosquitto(tmp_path, f"allow_anonymous true\nacl_file {tmp_path}/acl") as broker:
        assert main(["tell", "oak 7", "test", "--broker", broker.url]) == 1
    assert capsys.readouterr().err == (
        f"edge-listen: the MQTT broker at {broker.url} refuses edge-watch/oak%207/command/test: Not authorized;"
        " see --credentials\n"
    )


def test_no_broker_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tell", "oak 7", "test", "--broker", f"mqtt://127.0.0.1:{free_port()}"]) == 1
    assert capsys.readouterr().err.startswith("edge-listen: no MQTT broker answers at ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["oak", "snooze", "--minutes", "-1"], "expected minutes to be a number from 0 on, found -1.0"),
        (["oak", "wrong", ID, "x" * 300], "expected species to be 200 printable letters at most"),
        (["oak", "confirm", ""], "expected event, found an empty text"),
        (["oak", "test", "--wait", "nan"], "expected --wait of 0 seconds or more"),
        (["", "test"], "a deployment needs a name"),
        (["oak", "test", "--prefix", "a/#"], "expected a topic prefix"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tell", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
