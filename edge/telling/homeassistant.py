"""Home Assistant's device discovery: one retained message announces a trap and all its entities."""

from __future__ import annotations

import hashlib
import json
import re
import typing
from collections.abc import Mapping

from edge.telling.payloads import Link, Message, encode
from edge.telling.topics import Topics

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
        # A trap that sleeps is available, also to a Home Assistant that starts meanwhile: `health` says when it wakes.
        "availability_topic": topics.status,
        "availability_template": "{{ 'offline' if value == 'offline' else 'online' }}",
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
            # An automation on `sighting` leaves tests alone, and another can show that a test came.
            "event_types": ["sighting", "test"],
            "value_template": "{{ dict(value_json, event_type='test' if value_json.test else 'sighting') | tojson }}",
        },
    }


def _diagnostics(topics: Topics) -> dict[str, dict[str, object]]:
    of_health: dict[str, object] = {"state_topic": topics.health, "entity_category": "diagnostic"}
    measured: Mapping[str, tuple[str, dict[str, object]]] = {
        "temperature_c": ("Temperature", {"device_class": "temperature", "unit_of_measurement": "°C"}),
        "disk_free_mb": ("Free disk space", {"device_class": "data_size", "unit_of_measurement": "MB"}),
        "inference_ms": ("Inference time", {"device_class": "duration", "unit_of_measurement": "ms"}),
        "outbox_depth": ("Waiting messages", {"icon": "mdi:tray-full"}),
        "refused": ("Refused messages", {"icon": "mdi:tray-remove"}),
        "unheard": ("Messages nobody hears", {"icon": "mdi:ear-hearing-off"}),
        "awaiting": ("Messages without a receipt", {"icon": "mdi:email-check-outline"}),
        "dropped": ("Dropped messages", {"icon": "mdi:delete-alert", "state_class": "total_increasing"}),
    }
    # Home Assistant takes no state of more than 255 letters.
    said: Mapping[str, tuple[str, str, dict[str, object]]] = {
        "refused_why": ("Why refused", "(value_json.refused_why or 'nothing refused')[:255]", {}),
        "snoozed": (
            "Snoozed",
            "('all' if '' in value_json.snoozed else value_json.snoozed | join(', ') or 'nothing')[:255]",
            {"icon": "mdi:alarm-snooze"},
        ),
        "link": ("Link", "value_json.link", {"device_class": "enum", "options": list(typing.get_args(Link))}),
        "next_contact_by": (
            "Next contact by",
            "value_json.next_contact_by | as_datetime",
            {"device_class": "timestamp"},
        ),
    }
    return {
        **{
            key: {
                "platform": "sensor", "name": name, "value_template": f"{{{{ value_json.{key} }}}}",
                "state_class": "measurement", **of_health, **extra,
            }
            for key, (name, extra) in measured.items()
        },
        **{
            key: {"platform": "sensor", "name": name, "value_template": f"{{{{ {template} }}}}", **of_health, **extra}
            for key, (name, template, extra) in said.items()
        },
        "tampering": {
            "platform": "binary_sensor",
            "name": "Tampering",
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.tampering else 'OFF' }}",
            "json_attributes_topic": topics.health,
            "json_attributes_template": "{{ {'kind': value_json.tampering} | tojson }}",
            **of_health,
        },
    }  # fmt: skip
