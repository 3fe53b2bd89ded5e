"""What traps say, read by somebody who trusts none of it."""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard
from urllib.parse import unquote

LARGEST_TEXT = 64 * 1024
"""Bytes that any message but a picture may have."""
LARGEST_PICTURE = 20_000_000
"""Bytes that a picture may have."""
_JPEG = b"\xff\xd8\xff"

Cell = str | int | float | None
"""What a column of SQLite takes."""

_PLAIN = (
    "schema_version", "species", "scientific_name", "probability", "event_start", "event_end", "lighting", "frames",
    "count", "members", "box", "image_topic", "model", "replay", "timestamp_issues", "test",
)  # fmt: skip


class MalformedError(ValueError):
    """A message that is not what its topic promises."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who said something: the trap's topics begin with `base`, and `rest` is what follows. `deployment` is its name."""

    base: str
    deployment: str
    rest: str


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as it is printed and stored.

    `name` is that of its files, without ending; `line` what is printed; `cells` the columns of its own fields.
    """

    id: str
    name: str
    line: str
    wants_picture: bool
    replay: bool
    text: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Promise:
    """What `health` promises: to be heard again within `seconds`, by the trap's clock until `until` (Unix seconds)."""

    text: str
    until: float
    seconds: float | None


def read_topic(topic: str, prefix: str) -> Origin:
    """Who said it: the topic tells, because what a trap may write to is guarded, and what a payload says is not."""
    level, _, rest = topic.removeprefix(f"{prefix}/").partition("/")
    return Origin(f"{prefix}/{level}", unquote(level), rest)


def read_alert(payload: bytes, deployment: str | None = None) -> Told:
    """Read an alert of the trap `deployment`; of the one that the payload names if there is none.

    Raises:
        MalformedError: it is none, or names another trap: what is passed on as it came must not say what is not so.
    """
    text, alert = _read_object(payload, "an alert")
    try:
        id = str(uuid.UUID(alert["id"]))
        species, name = str(alert["species"]), str(alert["deployment"]) if deployment is None else deployment
        start, probability = datetime.fromisoformat(alert["event_start"]), float(alert["probability"])
        wants_picture = alert["image_topic"] is not None
        if not 0 <= probability <= 1:
            raise MalformedError(f"an alert with the probability {probability:g}")
        cells = {key: _cell(alert.get(key)) for key in _PLAIN}
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"not an alert: {type(error).__name__}: {error}") from error
    if (named := alert.get("deployment")) != name:
        raise MalformedError(f"an alert that names the trap {named!r}, not that of its topic")
    # Both go into file names and onto a terminal, and came from somewhere else.
    safe = re.sub("[^a-z0-9_]+", "-", species.lower()).strip("-")[:40] or "species"
    shown = "  ".join(printable(each) for each in (name, species))
    line = f"{start.isoformat(sep=' ', timespec='seconds')}  {shown}  {probability:.2f}"
    replay = bool(alert.get("replay"))
    marks = ("  (replay)" if replay else "") + ("  (test)" if alert.get("test") else "")
    latitude, longitude = read_location(alert) or (None, None)
    cells |= {"deployment": _cell(name), "latitude": latitude, "longitude": longitude}
    return Told(id, f"{start:%Y%m%dT%H%M%S}-{safe}-{id}", line + marks, wants_picture, replay, text, cells)


def read_location(alert: Mapping[str, Any]) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, if the alert has a place."""
    location = alert.get("location")
    if not isinstance(location, dict):
        return None
    found = [location.get(key) for key in ("latitude", "longitude")]
    if not all(isinstance(each, (int, float)) and abs(each) <= 180 for each in found):
        return None
    return float(found[0]), float(found[1])  # type: ignore[arg-type]


def read_picture_id(payload: bytes, property_id: str) -> str:
    """Which alert a picture belongs to.

    Raises:
        MalformedError: neither the message's property nor the picture's EXIF says, or it is no JPEG or too large.
    """
    if len(payload) > LARGEST_PICTURE:
        raise MalformedError(f"a picture of {len(payload) / 1e6:.1f} MB, expected {LARGEST_PICTURE / 1e6:.0f} at most")
    if not payload.startswith(_JPEG):
        raise MalformedError("not an alert's picture: expected a JPEG, found something else")
    from edge.recording import exif
    from models.errors import ImageError

    try:
        # MQTT 3.1.1 has no properties; the picture itself knows too.
        return str(uuid.UUID(property_id or exif.read(payload).id or ""))
    except (ImageError, ValueError) as error:
        raise MalformedError(f"not an alert's picture: {error}") from error


def read_health(payload: bytes) -> Promise:
    """Read `health`.

    Raises:
        MalformedError: it is none.
    """
    text, health = _read_object(payload, "health")
    until, sent = health.get("next_contact_by"), health.get("sent")
    if not _is_time(until):
        raise MalformedError(f"not health: next_contact_by is {str(until)[:40]!r}")
    # A trap of before there was `sent` promises only what its clock says.
    seconds = until - sent if _is_time(sent) and sent < until else None
    return Promise(text, float(until), seconds)


def _is_time(value: object) -> TypeGuard[float]:
    """A number of seconds that still has a date."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e11


def _read_object(payload: bytes, what: str) -> tuple[str, dict[str, Any]]:
    if len(payload) > LARGEST_TEXT:
        raise MalformedError(f"{what} of {len(payload)} bytes")
    try:
        text = payload.decode()
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not {what}: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise MalformedError(f"not {what}: expected a JSON object, found {type(found).__name__}")
    return text, found


def _no_number(text: str) -> float:
    """What Python reads and no other, SQLite least of all."""
    raise ValueError(f"{text} is not JSON")


def _cell(value: object) -> Cell:
    """A value from JSON as SQLite takes it: lists as JSON, truth as 0 or 1."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else float("inf")
    text = value if isinstance(value, str) else json.dumps(value)
    # JSON can spell half of a character, which UTF-8 cannot.
    return text.encode(errors="replace").decode()


def printable(text: str, most: int = 80) -> str:
    """A text from outside, fit for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:most]


def say(text: str) -> None:
    """A line beside the alerts, on stderr."""
    print(f"edge-listen: {text}", file=sys.stderr, flush=True)
