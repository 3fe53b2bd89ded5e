"""Home Assistant's device discovery: one retained message announces a trap and all its entities."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from edge.payloads import Message, encode
from edge.topics import Topics

STATUS_TOPIC = "homeassistant/status"
"""Home Assistant says `online` here after its own restart; announcements are then due again."""


def ascii_id(name: str) -> str:
    """`name` in Home Assistant's id letters `[a-zA-Z0-9_-]`; a short hash keeps changed names apart."""
    plain = re.sub("[^a-zA-Z0-9_-]", "_", name)
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def discovery_topic(topics: Topics) -> str:
    return f"homeassistant/device/{ascii_id(topics.deployment)}/config"


def discovery_message(topics: Topics, off_delays_s: Mapping[str, int], *, version: str) -> Message:
    """The retained message that announces a trap and its entities.

    Args:
        topics: the trap's.
        off_delays_s: the targets; each becomes a binary sensor, which stays on so long after an alert (its alert
            interval).
        version: of edge-watch.
    """
    name = ascii_id(topics.deployment)
    components = {
        **{f"seen_{ascii_id(each)}": _seen(topics, each, seconds) for each, seconds in off_delays_s.items()},
        **_last(topics),
        **_diagnostics(topics),
    }
    payload = {
        "device": {
            "identifiers": [f"edge-watch_{name}"],
            "name": topics.deployment,
            "manufacturer": "edge-watch",
            "model": "camera trap",
            "sw_version": version,
        },
        "origin": {"name": "edge-watch", "sw_version": version},
        # A trap that says `sleeping` matches neither payload, so Home Assistant keeps it as available, which is right.
        "availability_topic": topics.status,
        "payload_available": "online",
        "payload_not_available": "offline",
        "components": {key: {"unique_id": f"edge-watch_{name}_{key}", **each} for key, each in components.items()},
    }
    return Message(discovery_topic(topics), encode(payload), qos=1, retain=True)


def _seen(topics: Topics, species: str, off_delay_s: int) -> dict[str, object]:
    # A group may be told of in place of a target; what renders to nothing leaves the sensor as it is.
    concerned = f"{json.dumps(species, ensure_ascii=False)} in [value_json.species] + value_json.members"
    return {
        "platform": "binary_sensor",
        "name": species,
        "state_topic": f"{topics.base}/alert/+",
        "value_template": f"{{{{ 'ON' if {concerned} else '' }}}}",
        "off_delay": max(1, off_delay_s),
        "device_class": "motion",
    }


def _last(topics: Topics) -> dict[str, dict[str, object]]:
    alerts = f"{topics.base}/alert/+"
    return {
        "last_species": {
            "platform": "sensor",
            "name": "Last species",
            "icon": "mdi:paw",
            "state_topic": alerts,
            "value_template": "{{ value_json.species }}",
            "json_attributes_topic": alerts,
        },
        "last_picture": {
            "platform": "image",
            "name": "Last picture",
            "image_topic": f"{alerts}/image",
            "content_type": "image/jpeg",
        },
        "sighting": {
            "platform": "event",
            "name": "Sighting",
            "state_topic": alerts,
            "event_types": ["sighting"],
            "value_template": "{{ dict(value_json, event_type='sighting') | tojson }}",
        },
    }


def _diagnostics(topics: Topics) -> dict[str, dict[str, object]]:
    measured: Mapping[str, tuple[str, dict[str, object]]] = {
        "temperature_c": ("Temperature", {"device_class": "temperature", "unit_of_measurement": "°C"}),
        "disk_free_mb": ("Free disk space", {"device_class": "data_size", "unit_of_measurement": "MB"}),
        "outbox_depth": ("Waiting messages", {"icon": "mdi:tray-full"}),
        "inference_ms": ("Inference time", {"device_class": "duration", "unit_of_measurement": "ms"}),
    }
    return {
        key: {
            "platform": "sensor",
            "name": name,
            "state_topic": topics.health,
            "value_template": f"{{{{ value_json.{key} }}}}",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            **extra,
        }
        for key, (name, extra) in measured.items()
    }
