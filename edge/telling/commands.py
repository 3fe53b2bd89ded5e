"""Commands to a trap: what each may say on `command/<name>`, and the check that something is one.

Nothing here needs more than the standard library: `edge-listen` writes what the trap reads.
"""

from __future__ import annotations

import functools
import json
import re
import typing
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypedDict

MOST_BYTES = 1000
_MOST_LETTERS = 200
_MOST = 1_000_000_000

# What a JSON Schema says of a value beside its type, for edge.telling.schemas; to all others these are the plain types.
Text = Annotated[str, ("maxLength", _MOST_LETTERS)]
Id = Annotated[str, ("minLength", 1), ("maxLength", _MOST_LETTERS)]
Moment = Annotated[str, ("format", "date-time")]
Size = Annotated[int, ("minimum", 0), ("maximum", _MOST)]
Minutes = Annotated[float, ("minimum", 0), ("maximum", _MOST)]


class Plain(TypedDict):
    """What every command says: `id`, another for each command, and when it was `issued` (ISO 8601 with a time zone)."""

    id: Id
    issued: Moment


class AckCommand(Plain):
    """A receipt: `part` of the alert with this id has been stored by a subscriber, `size` bytes of it."""

    alert: Id
    part: Literal["alert", "image"]
    size: Size


class LookCommand(Plain):
    """Look at the whole of the next frames, as for a motion sensor."""


class TestCommand(Plain):
    """Send a test alert, on `alert/test` and marked as `test`, the way that any alert goes."""


class SnoozeCommand(Plain):
    """No alerts of `species` for so many minutes: an empty name stands for all, 0 minutes end it."""

    species: Text
    minutes: Minutes


class ConfirmCommand(Plain):
    """The event with this id shows what was said of it."""

    event: Id


class WrongCommand(Plain):
    """The event with this id shows `species` instead of what was said of it; empty if it is not known what."""

    event: Id
    species: Text


class PictureCommand(Plain):
    """Send the whole picture of the event with this id."""

    event: Id


class StatusCommand(Plain):
    """Tell `health` now."""


COMMANDS: Mapping[str, type] = {
    "ack": AckCommand,
    "look": LookCommand,
    "test": TestCommand,
    "snooze": SnoozeCommand,
    "confirm": ConfirmCommand,
    "wrong": WrongCommand,
    "picture": PictureCommand,
    "status": StatusCommand,
}


class MalformedCommandError(ValueError):
    """A payload that is none of the command that its topic names; the text says what was expected and found."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it was heard: its `name`, and all that its payload says."""

    name: str
    id: str
    issued: datetime
    values: Mapping[str, Any]


def read_command(name: str, payload: bytes) -> Command:
    """Read the payload of `command/<name>`.

    Raises:
        MalformedCommandError: no such command, too many bytes, no JSON object with exactly the command's keys, or a
            value that cannot be meant.
    """
    if name not in COMMANDS:
        raise MalformedCommandError(f"expected one of {', '.join(COMMANDS)}, found {name[:40]!r}")
    if len(payload) > MOST_BYTES:
        raise MalformedCommandError(f"expected {MOST_BYTES} bytes at most, found {len(payload)}")
    kinds = _kinds(name)
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedCommandError(f"expected JSON, found {payload[:40]!r}") from error
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        keys = ", ".join(sorted(map(str, found))) if isinstance(found, dict) else payload[:40]
        raise MalformedCommandError(f"expected an object with {', '.join(sorted(kinds))}, found {keys!r}"[:300])
    for key, kind in kinds.items():
        _check(key, found[key], kind)
    return Command(name, found["id"], _time(found["issued"]), found)


@functools.cache
def _kinds(name: str) -> dict[str, Any]:
    """The keys of a command and their types; kept, because a receipt for each message is read."""
    return typing.get_type_hints(COMMANDS[name])


def write_command(name: str, **values: Any) -> bytes:
    """The payload of `command/<name>`, with an id of its own, issued now.

    Raises:
        MalformedCommandError: as of `read_command`.
    """
    said = {"id": str(uuid.uuid4()), "issued": datetime.now(UTC).isoformat(timespec="seconds"), **values}
    payload = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    read_command(name, payload)
    return payload


def _check(key: str, value: object, kind: Any) -> None:
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if not (isinstance(value, str) and value in choices):
            raise MalformedCommandError(f"expected {key} to be {' or '.join(choices)}, found {str(value)[:40]!r}")
    elif kind is str:
        if not isinstance(value, str) or len(value) > _MOST_LETTERS or not value.isprintable():
            raise MalformedCommandError(
                f"expected {key} to be {_MOST_LETTERS} printable letters at most, found {str(value)[:40]!r}"
            )
        if key in ("id", "event", "alert") and not value:
            raise MalformedCommandError(f"expected {key}, found an empty text")
    elif isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise MalformedCommandError(f"expected {key} to be a number, found {str(value)[:40]!r}")
    elif not 0 <= value <= _MOST:
        raise MalformedCommandError(f"expected {key} to be a number from 0 on, found {str(value)[:40]}")


def _time(text: str) -> datetime:
    """`issued`; its time zone is needed, because commands are compared with one another."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not re.match(r"\d{4}-", text):
            raise ValueError("no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedCommandError(
            f"expected issued to be a time like 2026-05-01T06:15:30Z, found {text[:40]!r}"
        ) from error
