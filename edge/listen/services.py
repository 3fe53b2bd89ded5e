"""Services that alerts are forwarded to, read from a TOML file: their addresses and keys are nobody else's business."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from edge.listen.answers import HopelessError
from edge.listen.http import check_secret, check_url, post
from edge.listen.messages import printable, read_location
from edge.telling.broker import warn_of_readers
from models.errors import UsageError

_WORDS = {"str": "a text", "bool": "true or false", "float": "a number"}
_TYPES = {"str": (str,), "bool": (bool,), "float": (int, float)}
GUNDI = "https://sensors.api.gundiservice.org/v2/events/"


@dataclass(frozen=True, slots=True)
class Item:
    """An alert to forward: `alert` is its payload and `text` the same as it came. `tries` came before this one."""

    id: str
    deployment: str
    alert: Mapping[str, Any]
    text: str
    picture: Path | None = None
    tries: int = 0

    @property
    def title(self) -> str:
        test = "Test: " if self.alert.get("test") else "Replay: " if self.alert.get("replay") else ""
        return f"{test}{printable(str(self.alert['species']))} at {printable(self.deployment)}"


class Service(Protocol):
    """Something that takes alerts.

    Attributes:
        name: of its table in the file.
        seconds_between: the least time between two requests.
        picture_s: how long an alert may wait for its picture before it is forwarded without.
    """

    name: str
    seconds_between: float
    picture_s: float

    def send(self, item: Item) -> None:
        """Forward an alert, or raise HopelessError or LaterError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """POST of the alert's JSON as it came, without the picture, with the alert's id as `Idempotency-Key`."""

    name: str
    url: str
    authorization: str = field(default="", repr=False)
    plain: bool = False
    seconds_between: ClassVar[float] = 0.0
    picture_s: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check_url(self.name, self.url, self.plain)
        check_secret(self.name, "authorization", self.authorization)

    def send(self, item: Item) -> None:
        headers = {"Idempotency-Key": item.id}
        if self.authorization:
            headers["Authorization"] = self.authorization
        post(self.url, item.text.encode(), headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gundi:
    """EarthRanger, SMART and others by Gundi's events API, version 2, which takes one request a minute.

    `latitude` and `longitude` are for alerts without a place, of which Gundi takes none.
    """

    name: str
    key: str = field(repr=False)
    event_type: str
    latitude: float | None = None
    longitude: float | None = None
    url: str = GUNDI
    plain: bool = False
    seconds_between: float = 60.0
    picture_s: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check_url(self.name, self.url, self.plain)
        check_secret(self.name, "key", self.key)
        for key, value, most in (("latitude", self.latitude, 90), ("longitude", self.longitude, 180)):
            if value is not None and not abs(value) <= most:
                raise UsageError(f"[{self.name}]: expected a {key} of -{most} to {most}, found {value:g}")
        if self.seconds_between < 0:
            raise UsageError(f"[{self.name}]: expected seconds_between of 0 or more, found {self.seconds_between:g}")
        if (self.latitude is None) != (self.longitude is None):
            raise UsageError(f"[{self.name}]: expected latitude and longitude, or neither, found one of them")

    def send(self, item: Item) -> None:
        post(self.url, json.dumps(self.event(item)).encode(), {"apikey": self.key})

    def event(self, item: Item) -> dict[str, Any]:
        """The event as Gundi's documentation has it.

        Raises:
            HopelessError: the alert has no place, and there is none to fall back on, or a time without a zone.
        """
        alert = item.alert
        latitude, longitude = read_location(alert) or (self.latitude, self.longitude)
        if latitude is None:
            raise HopelessError(
                f"it says no place; give [{self.name}] a latitude and longitude for such alerts", asked=False
            )
        if datetime.fromisoformat(alert["event_start"]).tzinfo is None:
            raise HopelessError(f"its event_start has no time zone: {alert['event_start']}", asked=False)
        details = ("scientific_name", "probability", "count", "lighting", "model", "replay", "timestamp_issues", "test")
        return {
            "source": item.deployment,
            "title": item.title,
            "event_type": self.event_type,
            "recorded_at": alert["event_start"],
            "location": {"lat": latitude, "lon": longitude},
            "event_details": {
                "alert_id": item.id,
                "species": alert["species"],
                **{key: alert[key] for key in details if key in alert},
            },
        }


def read_services(path: Path) -> list[Service]:
    """Read the file of `--forward`: a table for each service, named as you like.

    Raises:
        UsageError: it cannot be read, or says something that cannot be meant. The message repeats no address or key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--forward {path}: expected a TOML file, found {error}") from None
    if not tables:
        raise UsageError(f"--forward {path}: expected a table like [office] for each service, found none")
    try:
        services = [_service(name, table) for name, table in tables.items()]
    except UsageError as error:
        raise UsageError(f"--forward {path}: {error}") from None
    warn_of_readers(path)
    return services


def _service(name: str, table: object) -> Service:
    if not isinstance(table, dict):
        raise UsageError(f"expected a table like [office] for each service, found the key {name}")
    kinds: dict[str, type] = {"webhook": Webhook, "gundi": Gundi}
    kind = table.pop("kind", None)
    if kind == "apprise":
        # Two seconds and 35 MB that only those spend who need it.
        from edge.listen.notify import Apprise

        kinds["apprise"] = Apprise
    if kind not in kinds:
        raise UsageError(f'[{name}]: expected kind = "webhook", "apprise" or "gundi", found {kind!r}')
    known = {each.name: str(each.type) for each in fields(kinds[kind]) if each.name != "name"}
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"[{name}]: expected {', '.join(known)}, found {key}")
        wanted = next(each for each in _WORDS if each in known[key])
        if type(value) not in _TYPES[wanted] or value == "" or (wanted == "float" and not 0 <= abs(value) < 1e6):
            raise UsageError(f"[{name}]: expected {key} to be {_WORDS[wanted]}, found something else")
    missing = [
        each.name
        for each in fields(kinds[kind])
        if each.default is MISSING and each.name != "name" and each.name not in table
    ]
    if missing:
        raise UsageError(f"[{name}]: expected {' and '.join(missing)}, found none")
    made: Service = kinds[kind](name=name, **table)
    return made
