"""All topics of a trap as one AsyncAPI 3.0 document, as the trap sees them: it sends, and receives commands."""

from __future__ import annotations

import inspect
from typing import Literal, NamedTuple

from edge.telling.commands import COMMANDS
from edge.telling.payloads import SCHEMA_VERSION
from edge.telling.schemas import Schema, kinds, object_schema

_AT = "#/components/schemas/"
_BASE = "{prefix}/{deployment}"
_PARAMETERS: dict[str, Schema] = {
    "prefix": {"description": "What every topic begins with (`--prefix`).", "default": "edge-watch"},
    "deployment": {"description": "The trap's name; letters, digits and `_.-~` stand as they are, else %XX."},
    "species": {"description": "Species or group in lower case; `a-z`, `0-9` and `_` stand as they are, else %XX."},
    "device": {"description": "The trap's name in Home Assistant's letters, `[a-zA-Z0-9_-]`."},
}


class _Channel(NamedTuple):
    """A topic: who publishes, how, and what; `payload` is the name of a schema or a schema."""

    address: str
    action: Literal["send", "receive"]
    qos: int
    retain: bool
    content: str
    payload: str | Schema
    summary: str
    has_id: bool = False


_TEXT, _JSON = "text/plain", "application/json"
_CHANNELS = {
    "status": _Channel(
        f"{_BASE}/status", "send", 1, True, _TEXT, {"type": "string", "enum": ["online", "offline", "sleeping"]},
        "Whether the trap is there; `offline` is also its last will.",
    ),
    "alert": _Channel(
        f"{_BASE}/alert/{{species}}", "send", 1, False, _JSON, "alert",
        "A visit of a target, once, though it may come more than once, with the same id.", True,
    ),
    "image": _Channel(
        f"{_BASE}/alert/{{species}}/image", "send", 1, False, "image/jpeg", {"type": "string", "format": "binary"},
        "The picture of an alert; its EXIF (ImageUniqueID) says of which.", True,
    ),
    "compact": _Channel(
        f"{_BASE}/alert/{{species}}/cbor", "send", 1, False, "application/cbor", {"type": "string", "format": "binary"},
        "An alert in 40 bytes, for gateways of very thin links.", True,
    ),
    "event": _Channel(
        f"{_BASE}/events", "send", 0, False, _JSON, "event", "Each change of each visit, in Frigate's words.", True,
    ),
    "health": _Channel(f"{_BASE}/health", "send", 0, True, _JSON, "health", "How the trap is doing."),
    "reply": _Channel(f"{_BASE}/reply", "send", 1, False, _JSON, "reply", "The answer to a command."),
    "discovery": _Channel(
        "homeassistant/device/{device}/config", "send", 1, True, _JSON, {"type": "object"},
        "Home Assistant's device discovery.",
    ),
    "homeAssistant": _Channel(
        "homeassistant/status", "receive", 0, False, _TEXT, {"type": "string", "enum": ["online", "offline"]},
        "Home Assistant says `online` after its start; the trap then announces itself again.",
    ),
}  # fmt: skip


def document() -> Schema:
    channels = {**_CHANNELS, **{f"command-{name}": _command(name) for name in COMMANDS}}
    schemas: dict[str, Schema] = {}
    for name, kind in kinds().items():
        schemas[name] = object_schema(kind, schemas, _AT)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edge-watch",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "What a camera trap says over MQTT, and what can be said to it; as docs/mqtt.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": {
            "broker": {"host": "localhost:1883", "protocol": "mqtt", "description": "The broker of `--broker`."},
        },
        "channels": {name: _channel(name, each) for name, each in channels.items()},
        "operations": {name: _operation(name, each) for name, each in channels.items()},
        "components": {"schemas": schemas},
    }


def _command(name: str) -> _Channel:
    summary = " ".join((inspect.getdoc(COMMANDS[name]) or "").split())
    return _Channel(f"{_BASE}/command/{name}", "receive", 1, False, _JSON, f"command-{name}", summary)


def _channel(name: str, channel: _Channel) -> Schema:
    return {
        "address": channel.address,
        "messages": {name: _message(name, channel)},
        "parameters": {key: value for key, value in _PARAMETERS.items() if f"{{{key}}}" in channel.address},
    }


def _message(name: str, channel: _Channel) -> Schema:
    payload = channel.payload
    message: Schema = {
        "name": name,
        "summary": channel.summary,
        "contentType": channel.content,
        "payload": {"$ref": f"{_AT}{payload}"} if isinstance(payload, str) else payload,
    }
    if channel.has_id:
        told = "The alert's or visit's id, a user property of MQTT 5."
        id: Schema = {"type": "string", "format": "uuid", "description": told}
        message["headers"] = {"type": "object", "properties": {"id": id}}
    if name == "reply" or name.startswith("command-"):
        message["correlationId"] = {"location": "$message.payload#/id"}
    return message


def _operation(name: str, channel: _Channel) -> Schema:
    at = {"$ref": f"#/channels/{name}"}
    made: Schema = {
        "action": channel.action,
        "channel": at,
        "summary": channel.summary,
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retain, "bindingVersion": "0.2.0"}},
    }
    if name.startswith("command-") and name != "command-ack":
        made["reply"] = {"channel": {"$ref": "#/channels/reply"}}
    return made
