"""Home Assistant's device discovery: that it takes our announcement, and that our messages feed what is announced.

The keys and rules are facts of Home Assistant 2026.2 (`components/mqtt`, `components/sensor/const.py`). It leaves out
keys that it does not know without a word, so that nobody but this test would miss a misspelt one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jinja2.sandbox import SandboxedEnvironment

from edge.telling.homeassistant import ascii_id, discovery_message
from edge.telling.payloads import Health, alert_messages, health_message
from edge.telling.topics import Topics
from tests.samples import alert

TOPICS = Topics("trap-7")

AVAILABILITY = {
    *("availability", "availability_mode", "availability_template", "availability_topic"),
    *("payload_available", "payload_not_available"),
}
DEVICE_MESSAGE = {"device", "origin", "components", "state_topic", "command_topic", "qos", "encoding", *AVAILABILITY}
DEVICE = {
    *("configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name"),
    *("serial_number", "suggested_area", "sw_version", "via_device"),
}
ORIGIN = {"name", "sw_version", "support_url"}
ENTITY = {
    *("platform", "unique_id", "default_entity_id", "object_id", "name", "icon", "entity_category", "entity_picture"),
    *("device", "origin", "enabled_by_default", "json_attributes_template", "json_attributes_topic", "qos", "encoding"),
    *AVAILABILITY,
}
READ = ["state_topic", "value_template", "device_class"]
OF_PLATFORM = {
    "binary_sensor": [*READ, "expire_after", "force_update", "off_delay", "payload_off", "payload_on"],
    "sensor": [
        *READ, "expire_after", "force_update", "last_reset_value_template", "options", "state_class",
        "suggested_display_precision", "unit_of_measurement",
    ],
    "image": ["content_type", "image_encoding", "image_topic", "url_template", "url_topic"],
    "event": [*READ, "event_types"],
}  # fmt: skip
REQUIRED = {
    "binary_sensor": {"state_topic"}, "sensor": {"state_topic"}, "image": {"image_topic"},
    "event": {"state_topic", "event_types"},
}  # fmt: skip
# A sensor's device class -> its units, and the state classes that go with it. None: no class, or no unit.
UNITS = {"temperature": {"K", "°C", "°F"}, "data_size": {"B", "kB", "MB", "GB"}, "duration": {"ms", "s", "min", "h"}}
STATE_CLASSES = {
    None: {None, "measurement", "total", "total_increasing"}, "temperature": {None, "measurement"},
    "data_size": {None, "measurement"}, "duration": {None, "measurement"}, "enum": {None}, "timestamp": {None},
}  # fmt: skip
BINARY_CLASSES = {"motion", "problem", "tamper", "connectivity", "occupancy"}


def announced(topics: Topics = TOPICS) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        discovery_message(topics, {"Bengal tiger": 600, "leopard": 60}, version="0.1.0").payload
    )
    return made


ENTITIES: dict[str, dict[str, Any]] = announced()["components"]


def test_announcement_is_one_retained_message_about_one_device() -> None:
    message = discovery_message(TOPICS, {}, version="0.1.0")
    assert (message.topic, message.qos, message.retain) == ("homeassistant/device/trap-7/config", 1, True)
    payload = announced()
    assert set(payload) <= DEVICE_MESSAGE
    assert set(payload["device"]) <= DEVICE
    assert payload["device"]["identifiers"] == ["edge-watch_trap-7"]
    assert payload["origin"] == {"name": "edge-watch", "sw_version": "0.1.0"}
    assert set(payload["origin"]) <= ORIGIN


@pytest.mark.parametrize("key", ENTITIES)
def test_entity_has_keys_and_values_that_home_assistant_takes(key: str) -> None:
    entity = ENTITIES[key]
    platform, kind = entity["platform"], entity.get("device_class")
    assert set(entity) <= {*ENTITY, *OF_PLATFORM[platform]}
    assert set(entity) >= REQUIRED[platform] | {"unique_id", "name"}
    assert entity["unique_id"] == f"edge-watch_trap-7_{key}"
    assert re.fullmatch("[a-zA-Z0-9_-]+", entity["unique_id"])
    assert len(entity["name"]) <= 32
    assert entity.get("entity_category") in (None, "diagnostic")
    assert re.fullmatch("mdi:[a-z-]+", entity.get("icon", "mdi:paw"))
    for name, value in entity.items():
        if name.endswith("_topic"):
            assert re.fullmatch(r"edge-watch/trap-7/(health|alert/\+|alert/\+/image)", value)
        if name.endswith("_template"):
            assert re.fullmatch(r"{{ .* }}", value)
    if platform == "sensor":
        assert entity.get("unit_of_measurement") in UNITS.get(kind, {None})
        assert entity.get("state_class") in STATE_CLASSES[kind]
        assert ("options" in entity) == (kind == "enum")
    if platform == "binary_sensor":
        assert kind in BINARY_CLASSES
    if platform == "image":
        assert "url_topic" not in entity


def test_entities_are_these() -> None:
    seen = {f"seen_{ascii_id('Bengal tiger')}", "seen_leopard"}
    delivery = {"outbox_depth", "refused", "refused_why", "unheard", "awaiting", "dropped"}
    rest = {"snoozed", "link", "next_contact_by", "temperature_c", "disk_free_mb", "inference_ms", "tampering"}
    assert set(ENTITIES) == seen | {"last_species", "last_picture", "sighting"} | delivery | rest
    assert {key for key, entity in ENTITIES.items() if "state_class" in entity} == {
        *delivery - {"refused_why"}, "temperature_c", "disk_free_mb", "inference_ms",
    }  # fmt: skip
    diagnostic = {key for key, entity in ENTITIES.items() if entity.get("entity_category") == "diagnostic"}
    assert diagnostic == delivery | rest
    assert {ENTITIES[key]["off_delay"] for key in seen} == {600, 60}
    assert ENTITIES["sighting"]["event_types"] == ["sighting", "test"]
    assert ENTITIES["link"]["options"] == ["lan", "cell", "satellite"]
    assert (ENTITIES["tampering"]["platform"], ENTITIES["tampering"]["device_class"]) == ("binary_sensor", "problem")
    assert ENTITIES["last_picture"]["image_topic"] == "edge-watch/trap-7/alert/+/image"


def test_templates_read_fields_that_the_messages_have() -> None:
    health = json.loads(health_message(TOPICS, Health(0, 0, 0, None, None, None, 0, 0, 0, 0, 0)).payload)
    told = json.loads(alert_messages(alert())[0].payload)
    for key, entity in ENTITIES.items():
        templates = [value for name, value in entity.items() if name.endswith("_template")]
        used = {name for each in templates for name in re.findall(r"value_json\.(\w+)", each)}
        assert used <= set(health if entity.get("state_topic") == TOPICS.health else told), key
        assert used or "value_json" in "".join(templates) or entity["platform"] == "image", key


def rendered(template: str, payload: bytes) -> str:
    """As Home Assistant renders it: `value_json` is there if the payload is JSON."""
    environment = SandboxedEnvironment()
    environment.filters["as_datetime"] = lambda seconds: datetime.fromtimestamp(seconds, UTC)
    values = {"value": payload.decode()}
    if payload.startswith(b"{"):
        values["value_json"] = json.loads(payload)
    return environment.from_string(template).render(values)


@pytest.mark.parametrize(("status", "shown"), [("online", "online"), ("offline", "offline"), ("sleeping", "online")])
def test_trap_that_sleeps_is_available(status: str, shown: str) -> None:
    payload = announced()
    assert rendered(payload["availability_template"], status.encode()) == shown
    assert (payload["payload_available"], payload["payload_not_available"]) == ("online", "offline")
    assert payload["availability_topic"] == TOPICS.status


WELL = Health(60.5, 300, 2, None, None, 812.0, 4, 1, 2, 3, 1777596330.0)


@pytest.mark.parametrize(
    ("key", "health", "shown"),
    [
        ("outbox_depth", WELL, "4"),
        ("dropped", WELL, "1"),
        ("temperature_c", WELL, "None"),  # which Home Assistant takes for unknown
        ("refused_why", WELL, "nothing refused"),
        ("refused_why", replace(WELL, refused_why="Not authorized" * 30), ("Not authorized" * 30)[:255]),
        ("snoozed", WELL, "nothing"),
        ("snoozed", replace(WELL, snoozed=("tiger", "red fox")), "tiger, red fox"),
        ("snoozed", replace(WELL, snoozed=("",)), "all"),
        ("link", replace(WELL, link="cell"), "cell"),
        ("next_contact_by", WELL, "2026-05-01 00:45:30+00:00"),
        ("tampering", WELL, "OFF"),
        ("tampering", replace(WELL, tampering="covered"), "ON"),
    ],
)
def test_health_is_shown(key: str, health: Health, shown: str) -> None:
    assert rendered(ENTITIES[key]["value_template"], health_message(TOPICS, health).payload) == shown


def test_alert_turns_on_what_it_concerns_and_a_test_nothing() -> None:
    tiger = alert_messages(alert())[0].payload
    group = alert_messages(alert(species="big_cat", members=("leopard", "lion")))[0].payload
    test = alert_messages(replace(alert(species="test", image=None), test=True))[0].payload
    motion = [ENTITIES[key]["value_template"] for key in (f"seen_{ascii_id('Bengal tiger')}", "seen_leopard")]
    assert [rendered(each, tiger) for each in motion] == ["ON", ""]
    assert [rendered(each, group) for each in motion] == ["", "ON"]
    assert [rendered(each, test) for each in motion] == ["", ""]
    happened = [json.loads(rendered(ENTITIES["sighting"]["value_template"], each)) for each in (tiger, test)]
    assert [each["event_type"] for each in happened] == ["sighting", "test"]
    assert happened[0] == {**json.loads(tiger), "event_type": "sighting"}


def test_home_assistant_ids_stay_apart() -> None:
    assert ascii_id("trap-7_b") == "trap-7_b"
    assert ascii_id("trap 7") != ascii_id("trap/7")
    assert re.fullmatch("[a-zA-Z0-9_-]+", ascii_id("šuma #1"))
