"""The shipped schemas: as the types make them, as other validators read them, and as docs/mqtt.md shows them."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edge.telling.commands import COMMANDS, MalformedCommandError, read_command, write_command
from edge.telling.schemas import documents, kinds
from tests.test_actions import VALUES

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
    file = ROOT / "edge" / "telling" / "schemas" / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_shipped_files_are_those_that_the_types_make() -> None:
    folder = ROOT / "edge" / "telling" / "schemas"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert found == documents(), "type: python -m edge.telling.schemas"


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
