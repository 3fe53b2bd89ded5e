"""Junk at every mouth of the trap: settings, broker URLs, commands, topics, and retained messages of others.

`EDGE_WATCH_FUZZ` says how many inputs there are (default 2000); `make test-faults` takes 100,000.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.options import OPTIONS
from edge.seeing.outside import Looks
from edge.settings import Settings, read_settings
from edge.telling.actions import Actions
from edge.telling.broker import Broker
from edge.telling.commands import COMMANDS, MalformedCommandError, read_command
from edge.telling.heard import Snooze
from edge.telling.mqtt import Received
from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.payloads import Message, alert_messages
from edge.telling.publisher import Publisher
from edge.telling.topics import Topics
from models.errors import UsageError
from tests.broker import Mosquitto, Subscriber, start_publisher, wait_until
from tests.samples import TOPICS, alert_of_its_own, put

INPUTS = int(os.environ.get("EDGE_WATCH_FUZZ", "2000"))
REPOSITORY = Path(__file__).parents[1]


def inputs(share: float) -> settings:
    """So large a share of all inputs; none of them is timed."""
    few = max(10, round(INPUTS * share))
    return settings(max_examples=few, suppress_health_check=list(HealthCheck))


# Settings.

NAMES = st.sampled_from([option.name for option in OPTIONS]) | st.text(max_size=12)
SCALARS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=30), st.datetimes(), st.dates(), st.times(),
    st.sampled_from(["usb:0", "18:00-06:00", "1/week", "0/day", "99999999999/hour", "tiger=60", "0,0,1,1", "-1"]),
)  # fmt: skip
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3))


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def table(values: dict[str, object]) -> str:
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in values.items())


@inputs(0.15)
@given(text=st.text() | st.dictionaries(NAMES, VALUES, max_size=4).map(table))
def test_settings_file_is_read_or_refused_in_a_line(text: str) -> None:
    file = Path(tempfile.gettempdir()) / f"edge-watch-fuzz-{os.getpid()}.toml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(UsageError):
        read_settings(file, {})
    file.unlink()


# Broker URLs.

URLS = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["mqtt://", "mqtts://", "mqtt:", "http://", "//", "", "MQTT://", "mqtt:///"]),
        st.sampled_from(["localhost", "127.0.0.1", "[::1]", "[", "::1", "user:secret@host", "a b", ""])
        | st.text(max_size=9),
        st.sampled_from(["", ":1883", ":0", ":65536", ":-1", ":x", ":", ":18 83", ":\uff11\uff18"]),
        st.sampled_from(["", "/", "/topic", "?a=b", "#c", "/@"]),
    ),
)


@inputs(0.25)
@given(url=URLS, plain=st.booleans())
def test_broker_url_is_read_or_refused_without_its_password(url: str, plain: bool) -> None:
    said = ""
    try:
        found = Broker.parse(url, plain=plain)
    except UsageError as error:
        said = str(error)
    else:
        assert 0 < found.port < 65536
        assert found.host
    assert "secret" not in said


# Commands.

TEXTS = st.text(max_size=40) | st.sampled_from(["", "a", "\x00", "../../etc/passwd", "a" * 201, "Bengal tiger"])
TIMES = st.sampled_from(
    ["2026-05-01T06:15:30Z", "2026-05-01T06:15:30", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "24"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | TIMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)
KEYS = {"id": TEXTS, "issued": TIMES, "alert": TEXTS, "part": st.sampled_from(["alert", "image", "x"]), "event": TEXTS,
        "size": st.integers(), "species": TEXTS, "minutes": st.integers() | st.floats()}  # fmt: skip
COMMAND_NAMES = st.sampled_from(sorted(COMMANDS))


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def nearly(name: str) -> st.SearchStrategy[bytes]:
    """Payloads that are a command, or all but."""
    keys = COMMANDS[name].__annotations__.keys() | {"id", "issued"}
    return st.fixed_dictionaries({key: KEYS[key] | JSON if key != "id" else TEXTS for key in sorted(keys)}).map(dumped)


PAYLOADS = st.one_of(
    st.binary(max_size=80), JSON.map(dumped), COMMAND_NAMES.flatmap(nearly),
    st.sampled_from([b"[" * 900, b'{"id":' * 150, b"1" * 999, b"\xff\xfe", b'{"id":1e999}', b"-" * 1001]),
)  # fmt: skip


@inputs(0.35)
@given(name=COMMAND_NAMES | TEXTS, payload=PAYLOADS)
def test_command_is_read_or_refused(name: str, payload: bytes) -> None:
    said = ""
    try:
        found = read_command(name, payload)
    except MalformedCommandError as error:
        said = str(error)
    else:
        assert found.issued.tzinfo is not None
        assert found.values.keys() == {"id", "issued"} | COMMANDS[name].__annotations__.keys()
    assert len(said) < 400


class Sent:
    """What would go to a broker."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> int:
        self.messages.append(message)
        return len(self.messages)


@pytest.fixture(scope="module")
def hearing() -> Iterator[tuple[Publisher, Outbox, Sent]]:
    """A publisher that obeys, over an outbox with three alerts, and what it would send."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # No disk has to be waited for.
    with tempfile.TemporaryDirectory(dir=memory) as folder, Outbox(Path(folder) / FILE_NAME) as outbox:
        put(outbox, 3)
        actions = Actions(
            outbox, TOPICS, Settings(species=("tiger",)), "wildlife 1", Path(folder) / "media", lambda name: (name,),
            Snooze(outbox), Looks(),
        )  # fmt: skip
        publisher = Publisher(outbox, TOPICS, Broker.parse("mqtt://127.0.0.1:9"), commanded=actions)
        sent = Sent()
        publisher._link.publish = sent  # type: ignore[method-assign]
        yield publisher, outbox, sent
        publisher._link.release()


HEARD = st.one_of(
    COMMAND_NAMES.map(TOPICS.command),
    TEXTS.map(TOPICS.command),
    st.sampled_from(["homeassistant/status", TOPICS.base, TOPICS.status, f"{TOPICS.base}/command", "a/b", ""]),
)


@inputs(0.2)
@given(topic=HEARD, payload=PAYLOADS | st.just(b"online"), retained=st.booleans())
def test_publisher_hears_anything_and_loses_nothing(
    hearing: tuple[Publisher, Outbox, Sent], topic: str, payload: bytes, retained: bool
) -> None:
    publisher, outbox, sent = hearing
    publisher._hear(Received(topic, payload, "", 1, 1, retained))
    publisher._delivery.settle()
    waiting = outbox.pending(100)
    assert len([stored for stored in waiting if stored.message.topic != TOPICS.alert("test")]) == 6
    outbox.delivered(*[stored.row for stored in waiting if stored.message.topic == TOPICS.alert("test")])
    publisher._delivery._sent.clear()
    for message in sent.messages:
        assert message.topic == TOPICS.reply
        assert json.loads(message.payload).keys() == {"schema_version", "id", "command", "done", "says"}
    sent.messages.clear()


# Retained junk, over a real broker.

JUNK = max(50, INPUTS // 50)


def test_retained_junk_on_our_topics_stops_neither_trap_nor_listener(
    mosquitto: Mosquitto, tmp_path: Path, outbox: Outbox
) -> None:
    base, junk = TOPICS.base, st.tuples(HEARD.filter(fits), PAYLOADS)
    places = [
        f"{base}/{place}" for place in ("status", "health", "alert/tiger", "alert/tiger/image", "events", "reply")
    ]
    found: list[tuple[str, bytes]] = []

    @settings(max_examples=JUNK, suppress_health_check=list(HealthCheck), database=None)
    @given(junk | st.tuples(st.sampled_from(places), PAYLOADS))
    def collect(each: tuple[str, bytes]) -> None:
        found.append(each)

    collect()
    with mosquitto, Subscriber(mosquitto, [TOPICS.alert("Bengal tiger")]) as subscriber:
        for topic, payload in found:
            subscriber.publish(Message(topic, payload, qos=1, retain=True))
        command = [sys.executable, "-m", "edge.listen", "--broker", mosquitto.url, "--folder", str(tmp_path / "alerts")]
        with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as listener:
            try:
                wait_until(lambda: "edge-watch/+/alert/+/image" in mosquitto.log)
                thread = start_publisher(outbox, mosquitto.url)
                ids = put(outbox, 3)
                subscriber.until(lambda: len(subscriber.on(TOPICS.alert("Bengal tiger"))) >= 3)
                wait_until(lambda: outbox.depth() == 0)
                wait_until(lambda: {file.stem[-36:] for file in (tmp_path / "alerts").glob("*.json")} >= set(ids))
                assert listener.poll() is None
                thread.stop()
            finally:
                listener.kill()
    assert {each.id for each in subscriber.on(TOPICS.alert("Bengal tiger"))} == set(ids)


def fits(topic: str) -> bool:
    """Whether one may publish there."""
    return bool(topic) and not set(topic) & set("+#\x00") and topic.isprintable()


def test_alert_with_any_names_stays_an_alert() -> None:
    @inputs(0.05)
    @given(species=st.text(min_size=1, max_size=40), deployment=st.text(min_size=1, max_size=40))
    def check(species: str, deployment: str) -> None:
        topics = Topics(deployment)
        assert not set(topics.alert(species)) & set("+#\x00")
        assert topics.alert(species).count("/") == 3

    check()
    assert alert_messages(alert_of_its_own())
