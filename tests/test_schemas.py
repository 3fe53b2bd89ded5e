"""The shipped schemas: as the types make them, as other people's validators read them, and kept by real messages."""

from __future__ import annotations

import json
import re
import threading
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edge import compact, exif
from edge.broker import Broker
from edge.commands import COMMANDS, MalformedCommandError, read_command, write_command
from edge.daemon import Daemon
from edge.mqtt import Received
from edge.outbox import Outbox
from edge.payloads import Message
from edge.schemas import documents, kinds
from edge.settings import Settings
from edge.topics import Topics
from tests.broker import Mosquitto, Subscriber
from tests.test_actions import VALUES
from tests.test_daemon import TigerEverywhere
from tests.test_outside import StillLife

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
# Other people's programs read these: a change needs another schema_version.
FIELDS = {
    "alert": "schema_version id deployment species scientific_name probability event_start event_end lighting frames "
    "count members box image_topic location model replay timestamp_issues test",
    "event": "type before after",
    "health": "schema_version uptime_s frames skipped inference_ms temperature_c disk_free_mb outbox_depth dropped "
    "refused unheard next_contact_by withheld spots tampering lux stalls reopened restarts people sent link awaiting "
    "refused_why commands_refused snoozed set_aside",
    "reply": "schema_version id command done says",
    "command-ack": "id issued alert part size",
    "command-look": "id issued",
    "command-test": "id issued",
    "command-snooze": "id issued species minutes",
    "command-confirm": "id issued event",
    "command-wrong": "id issued event species",
    "command-picture": "id issued event",
    "command-status": "id issued",
}
INNER = {
    "Location": "latitude longitude",
    "FrigateObject": "id camera frame_time label sub_label top_score score false_positive start_time end_time box area "
    "ratio current_zones entered_zones has_snapshot has_clip active stationary",
}


@cache
def shipped(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "edge" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_shipped_files_are_those_that_the_types_make() -> None:
    folder = ROOT / "edge" / "schemas"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert found == documents(), "type: python -m edge.schemas"


def test_field_names_and_their_order_stay() -> None:
    assert {name: " ".join(shipped(name)["properties"]) for name in kinds()} == FIELDS
    inner = [(name, schema) for each in kinds() for name, schema in shipped(each).get("$defs", {}).items()]
    assert {name: " ".join(schema["properties"]) for name, schema in inner} == INNER


@pytest.mark.parametrize("name", FIELDS)
def test_schema_is_one_and_wants_every_field(name: str) -> None:
    schema = shipped(name)
    Draft202012Validator.check_schema(schema)
    assert schema["required"] == list(schema["properties"])
    assert schema.get("additionalProperties") is (False if name.startswith("command-") else None)
    assert schema["description"]


def documented(name: str) -> Any:
    (block,) = re.findall(rf"```json {name}\n(.*?)```", PAGE, re.DOTALL)
    return json.loads(block)


def documented_commands() -> dict[str, Any]:
    rows = re.findall(r"^\| `command/(\w+)` \| `(\{.*?\})` \|", PAGE, re.MULTILINE)
    return {name: {**documented("command"), **json.loads(more)} for name, more in rows}


@pytest.mark.parametrize("name", ["alert", "event", "health", "reply"])
def test_documented_example_is_valid_and_whole(name: str) -> None:
    validator(shipped(name)).validate(documented(name))
    assert " ".join(documented(name)) == FIELDS[name]


def test_documented_commands_are_valid_and_all() -> None:
    found = documented_commands()
    assert list(found) == list(COMMANDS)
    for name, example in found.items():
        validator(shipped(f"command-{name}")).validate(example)
        assert read_command(name, json.dumps(example).encode()).values == example


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("alert", {"schema_version": 2}),
        ("alert", {"id": "tiger"}),
        ("alert", {"probability": 1.01}),
        ("alert", {"event_start": "2026-05-01T06:15:30"}),
        ("alert", {"event_end": "yesterday"}),
        ("alert", {"lighting": "dusk"}),
        ("alert", {"count": 0}),
        ("alert", {"box": [0, 0, 1]}),
        ("alert", {"box": [0, 0, 1, 1.5]}),
        ("alert", {"location": {"latitude": 91, "longitude": 0}}),
        ("alert", {"location": {"latitude": 9}}),
        ("alert", {"test": None}),
        ("event", {"type": "over"}),
        ("event", {"before": None}),
        ("health", {"frames": -1}),
        ("health", {"frames": 0.5}),
        ("health", {"tampering": "stolen"}),
        ("health", {"link": "string"}),
        ("health", {"snoozed": "tiger"}),
        ("reply", {"done": "yes"}),
    ],
)
def test_wrong_value_is_no_valid_message(name: str, change: dict[str, object]) -> None:
    assert not validator(shipped(name)).is_valid({**documented(name), **change})


@pytest.mark.parametrize("name", ["alert", "event", "health", "reply"])
def test_field_that_is_left_out_is_missed_and_a_new_one_is_not_minded(name: str) -> None:
    checked, example = validator(shipped(name)), documented(name)
    for key in example:
        assert not checked.is_valid({other: example[other] for other in example if other != key}), key
    assert checked.is_valid({**example, "new_in_a_later_version": 1})


# No whole numbers with a point: to JSON Schema 5.0 is whole, to the trap it is not.
ANYTHING = (
    *(None, True, False, [], ["tiger"], {}, -1, 0, 1, 1_000_000_000, 1_000_000_001, -0.5, 0.5, 1_000_000_000.5),
    *("", "tiger", "a" * 200, "a" * 201, "alert", "image", "video"),
    *("2026-05-01T06:15:30Z", "2026-05-01T06:15:30.25+05:30", "2026-05-01T06:15:30", "2026-05-01"),
    "2026-13-01T00:00:00Z",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_schema_takes_the_commands_that_a_trap_takes_and_no_other(name: str) -> None:
    command, checked = json.loads(write_command(name, **VALUES[name])), validator(shipped(f"command-{name}"))
    changed = [command, *({**command, key: value} for key in (*command, "other") for value in ANYTHING)]
    changed += [{key: command[key] for key in command if key != left_out} for left_out in command]
    taken = [each for each in changed if accepted(name, each)]
    assert taken == [each for each in changed if checked.is_valid(each)]
    assert 2 < len(taken) < len(changed) / 2


def accepted(name: str, command: dict[str, object]) -> bool:
    try:
        read_command(name, json.dumps(command).encode())
    except MalformedCommandError:
        return False
    return True


# The AsyncAPI document. The specification's own JSON Schema is larger than all of this; what it would miss, and what
# matters most, is checked here: that the references lead somewhere, and that the topics are the code's.

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
