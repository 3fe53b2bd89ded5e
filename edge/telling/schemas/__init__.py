"""What passes over MQTT as JSON Schema (2020-12) and as an AsyncAPI document, both made of the types.

`python -m edge.telling.schemas` writes the files that lie beside this module, and nothing else makes them.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from edge.telling.commands import COMMANDS
from edge.telling.payloads import AlertPayload, EventPayload, Health, ReplyPayload, Version

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TOLD: Mapping[str, type] = {"alert": AlertPayload, "event": EventPayload, "health": Health, "reply": ReplyPayload}
"""What a trap tells in JSON, by the name of its schema; a command's is `command-<name>`."""
_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def documents() -> dict[str, str]:
    """The files' names and texts."""
    from edge.telling.schemas.asyncapi import document

    made = {f"{name}.json": _whole(name, kind) for name, kind in kinds().items()}
    made["asyncapi.json"] = document()
    return {name: json.dumps(each, ensure_ascii=False, indent=2) + "\n" for name, each in made.items()}


def kinds() -> dict[str, type]:
    """The names of the schemas and the types that they are made of."""
    return {**TOLD, **{f"command-{name}": kind for name, kind in COMMANDS.items()}}


def _whole(name: str, kind: type) -> Schema:
    """A schema that needs no other file."""
    inner: dict[str, Schema] = {}
    made = {"$schema": DIALECT, "title": f"edge-watch {name}", **object_schema(kind, inner, "#/$defs/")}
    return {**made, "$defs": inner} if inner else made


def object_schema(kind: type, inner: dict[str, Schema], at: str) -> Schema:
    """The schema of a TypedDict or dataclass: all of its keys are required.

    A command may have no other keys. What a trap tells may get more, so that its readers must leave out what they do
    not know.

    Args:
        kind: the type; its docstring is the description.
        inner: takes the schemas of the types that it is made of, by their names.
        at: where those will stand, as the beginning of a reference.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        # `Health` gets its version only on its way out.
        hints = {"schema_version": Version, **hints}
    made: Schema = {
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "type": "object",
        "properties": {key: _value_schema(hint, inner, at) for key, hint in hints.items()},
        "required": list(hints),
    }
    return {**made, "additionalProperties": False} if kind in COMMANDS.values() else made


def _value_schema(hint: Any, inner: dict[str, Schema], at: str) -> Schema:
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if typing.is_typeddict(hint):
        inner[hint.__name__] = object_schema(hint, inner, at)
        return {"$ref": f"{at}{hint.__name__}"}
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        plain, *more = parts
        return {**_value_schema(plain, inner, at), **dict(more)}
    if origin is Literal:
        return {"type": "string", "enum": list(parts)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_value_schema(part, inner, at) for part in parts]}
    if origin in (list, tuple):
        return {"type": "array", "items": _value_schema(parts[0], inner, at)}
    raise TypeError(f"expected a type that JSON has, found {hint}")
