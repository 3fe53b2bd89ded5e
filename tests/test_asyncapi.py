"""The AsyncAPI document, and a whole trap at a real broker that keeps to it.

The specification's own JSON Schema is larger than all of this; what it would miss, and what matters most, is here: that
references lead somewhere, and that topics, qualities and payloads are those of the code.
"""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from edge.daemon import Daemon
from edge.recording import exif
from edge.settings import Settings
from edge.telling import compact
from edge.telling.broker import Broker
from edge.telling.commands import COMMANDS, write_command
from edge.telling.mqtt import Received
from edge.telling.outbox import Outbox
from edge.telling.payloads import Message
from edge.telling.schemas import kinds
from edge.telling.topics import Topics
from tests.broker import Mosquitto, Subscriber
from tests.test_actions import VALUES
from tests.test_daemon import TigerEverywhere
from tests.test_outside import StillLife
from tests.test_schemas import FIELDS, PAGE, shipped, validator

ASYNCAPI = shipped("asyncapi")


def resolved(reference: str) -> Any:
    found: Any = ASYNCAPI
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict) and "$ref" in node:
        return [node["$ref"]]
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [reference for part in parts for reference in references(part)]


def test_asyncapi_references_lead_somewhere() -> None:
    found = references(ASYNCAPI)
    assert len(found) > 40
    for reference in found:
        assert isinstance(resolved(reference), dict)
    for name, schema in ASYNCAPI["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        if name in kinds():
            assert schema["required"] == shipped(name)["required"]


def test_asyncapi_has_the_objects_that_the_specification_wants() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(ASYNCAPI["info"])
    assert set(ASYNCAPI["operations"]) == set(ASYNCAPI["channels"])
    for name, channel in ASYNCAPI["channels"].items():
        assert set(channel) == {"address", "messages", "parameters"}
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])
        for message in channel["messages"].values():
            assert {"name", "summary", "contentType", "payload"} <= set(message)
        operation = ASYNCAPI["operations"][name]
        assert operation["action"] in ("send", "receive")
        assert operation["channel"] == {"$ref": f"#/channels/{name}"}
        assert operation["bindings"]["mqtt"]["qos"] in (0, 1)


def test_asyncapi_topics_are_those_of_the_code_and_of_the_docs() -> None:
    topics = Topics("oak", "edge-watch")
    values = {"prefix": "edge-watch", "deployment": "oak", "species": "tiger", "device": "oak"}
    addresses = {name: each["address"].format(**values) for name, each in ASYNCAPI["channels"].items()}
    assert addresses == {
        "status": topics.status,
        "alert": topics.alert("tiger"),
        "image": topics.image("tiger"),
        "compact": topics.compact("tiger"),
        "event": topics.events,
        "health": topics.health,
        "reply": topics.reply,
        "discovery": "homeassistant/device/oak/config",
        "homeAssistant": "homeassistant/status",
        **{f"command-{name}": topics.command(name) for name in COMMANDS},
    }
    table = PAGE.split("| topic | what |", 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `(\S+)`.*?\| (\d) \| (yes|no) \|$", table, re.MULTILINE)
    bindings = {
        each["address"].removeprefix("{prefix}/{deployment}/"): ASYNCAPI["operations"][name]["bindings"]["mqtt"]
        for name, each in ASYNCAPI["channels"].items()
    }
    known = {}
    for address, each in bindings.items():
        topic = address.replace("{device}", "<deployment>").replace("{species}", "<species>")
        known[re.sub("command/.*", "command/<name>", topic)] = (each["qos"], each["retain"])
    # On `check` edge-doctor talks to itself.
    assert {topic: (int(qos), kept == "yes") for topic, qos, kept in rows if topic != "check"} == known


def channel_of(topic: str) -> str:
    """The name of the only channel that a topic belongs to."""
    found = [
        name
        for name, channel in ASYNCAPI["channels"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", channel["address"]), topic)
    ]
    assert len(found) == 1, (topic, found)
    return found[0]


def check(received: Received) -> str:
    """Hold a message against what is said of its channel; return the channel's name."""
    name = channel_of(received.topic)
    (message,) = ASYNCAPI["channels"][name]["messages"].values()
    assert received.qos == ASYNCAPI["operations"][name]["bindings"]["mqtt"]["qos"]
    if message["contentType"] == "application/json":
        payload = json.loads(received.payload)
        schema = {**ASYNCAPI, **message["payload"]}
        validator(schema).validate(payload)
        if name in FIELDS:
            validator(shipped(name)).validate(payload)
            assert " ".join(payload) == FIELDS[name]
    elif message["contentType"] == "text/plain":
        validator(message["payload"]).validate(received.payload.decode())
    if "headers" in message:
        validator(message["headers"]).validate({"id": received.id})
        assert received.id
    return name


def test_everything_that_a_trap_says_is_as_the_schemas_have_it(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path
) -> None:
    """A whole trap at a real broker: a visit with all that is told of it, and every command with its answer."""
    settings = Settings(
        data=tmp_path, deployment="oak 7", latitude=1.5, longitude=9.2, species=("tiger",), trigger="mqtt", compact=True
    )
    topics, stop = Topics("oak 7"), threading.Event()
    with mosquitto, Subscriber(mosquitto, ["edge-watch/#", "homeassistant/#"]) as heard:
        daemon = Daemon(
            settings, StillLife(), TigerEverywhere(), lambda: outbox, topics, Broker.parse(mosquitto.url)  # type: ignore[arg-type]
        )
        running = threading.Thread(target=daemon.run, args=(stop,))
        running.start()
        try:
            heard.until(lambda: bool(heard.on(topics.health)))
            heard.publish(Message(topics.command("look"), write_command("look")))
            heard.until(lambda: bool(heard.on(topics.image("tiger"))))
            for answers, name in enumerate((name for name in COMMANDS if name not in ("ack", "look")), 2):
                heard.publish(Message(topics.command(name), write_command(name, **VALUES[name])))
                heard.until(lambda: len(heard.on(topics.reply)) == answers)  # noqa: B023
            heard.until(lambda: bool(heard.on(topics.alert("test"))))
        finally:
            stop.set()
            running.join()
            daemon.close()
        heard.until(lambda: [each.payload for each in heard.on(topics.status)] == [b"online", b"offline"])
    names = [check(each) for each in heard.received if "/command/" not in each.topic]
    assert set(names) == {"status", "alert", "image", "compact", "event", "health", "reply", "discovery"}
    (alert,), (image,) = heard.on(topics.alert("tiger")), heard.on(topics.image("tiger"))
    assert json.loads(alert.payload)["id"] == exif.read(image.payload).id == image.id
    (small,) = heard.on(topics.compact("tiger"))
    assert compact.decode(small.payload)["id"] == alert.id
    assert {json.loads(each.payload)["command"] for each in heard.on(topics.reply)} == set(COMMANDS) - {"ack"}
    (test,) = heard.on(topics.alert("test"))
    assert json.loads(test.payload)["test"] is True
