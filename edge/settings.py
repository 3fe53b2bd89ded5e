"""What can be set, with its default: one TOML file, and the command line over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from edge.deciding.budget import Budget
from edge.options import OPTIONS, Hours, Mask
from edge.telling.payloads import Link
from models.bundle import default_bundle
from models.errors import UsageError


def _data_folder() -> Path:
    # systemd sets STATE_DIRECTORY for a unit with StateDirectory=.
    state = os.environ.get("STATE_DIRECTORY")
    return Path(state) if state else Path.home() / ".local/share/edge-watch"


def _computer() -> str:
    return os.uname().nodename


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `edge-watch`; each is a key of the settings file and an option of the command line.

    `edge/options.py` says what each is. Times of day are local, latitude and longitude in degrees (WGS 84), shares 0-1.
    """

    species: tuple[str, ...] = ()
    present: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    source: str | None = None
    rotate: int = 0
    noir: bool = False
    model: Path = field(default_factory=default_bundle)
    broker: str = "mqtt://localhost:1883"
    credentials: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False
    prefix: str = "edge-watch"
    link: Link = "lan"
    require_ack: bool = False
    compact: bool = False
    wakes_every: timedelta | None = None
    deployment: str = field(default_factory=_computer)
    latitude: float | None = None
    longitude: float | None = None
    hide_location: Mapping[str, float | None] = field(default_factory=dict)
    data: Path = field(default_factory=_data_folder)
    event_gap: timedelta = timedelta(seconds=60)
    alert_interval: timedelta = timedelta(minutes=10)
    max_false_alarms: Budget | None = None
    alert_intervals: Mapping[str, timedelta] = field(default_factory=dict)
    active_hours: Hours | None = None
    least_frames: int = 1
    least_seconds: timedelta = timedelta(0)
    least_count: int = 1
    camera_delay: timedelta = timedelta(0)
    trigger: str | None = None
    masks: tuple[Mask, ...] = ()
    least_size: float = 0.04
    looks_per_second: float = 2.0
    record: Literal["nothing", "picture", "clip"] = "picture"
    people: Literal["drop", "blur", "keep"] = "drop"
    media_limit: float = 2000.0
    preview: Path | None = None
    threads: int = 1
    pace: Literal["full", "real"] = "full"

    def __post_init__(self) -> None:
        self._check_values()
        self._check_place()
        for x, y, width, height in self.masks:
            if not (min(x, y) >= 0 < min(width, height) and x + width <= 1.0001 and y + height <= 1.0001):
                raise UsageError(
                    f"masks: expected left, top, width, height as shares of the frame, found {x:g},{y:g},{width:g},"
                    f"{height:g}, which is not inside it; as 0,0,1,0.1 for the upper tenth"
                )
        if self.wakes_every is not None and self.wakes_every <= timedelta(0):
            raise UsageError("wakes_every: expected more than 0 seconds, found 0; leave it out where nothing sleeps")
        if self.present == ():
            raise UsageError("present: expected what lives here, found nothing; leave it out where anything may")
        if self.active_hours is not None and self.active_hours[0] == self.active_hours[1]:
            raise UsageError(
                f"active_hours: expected two times, found {self.active_hours[0]:%H:%M} twice; leave it out for always"
            )
        if self.preview is not None and self.preview.suffix.lower() != ".mp4":
            raise UsageError(f"preview: expected a name that ends in .mp4, found {self.preview}")

    def _check_values(self) -> None:
        """Choices and ranges."""
        for option in OPTIONS:
            value = getattr(self, option.name)
            if option.choices and value not in option.choices:
                raise UsageError(f"{option.name}: expected {', '.join(map(str, option.choices))}, found {value!r}")
        for name, fits, expected in (
            ("least_size", 0 <= self.least_size < 1, "a share of the frame's height"),
            ("looks_per_second", 0 < self.looks_per_second <= 100, "more than 0, up to 100"),
            ("media_limit", self.media_limit >= 10, "10 megabytes or more"),
            ("least_frames", self.least_frames >= 1, "1 or more"),
            ("least_count", self.least_count >= 1, "1 or more"),
            ("threads", self.threads >= 1, "1 or more"),
        ):
            if not fits:
                raise UsageError(f"{name}: expected {expected}, found {getattr(self, name):g}")

    def _check_place(self) -> None:
        if (self.latitude is None) != (self.longitude is None):
            raise UsageError("expected latitude and longitude, found one of them; give both or neither")
        for name, most in (("latitude", 90), ("longitude", 180)):
            value = getattr(self, name)
            if value is not None and not -most <= value <= most:
                raise UsageError(f"{name}: expected -{most} to {most} degrees, found {value:g}")
        for name, degrees in self.hide_location.items():
            if degrees is not None and not 0 < degrees <= 10:
                raise UsageError(
                    f"hide_location: expected more than 0, up to 10 degrees, found {name}={degrees:g}; a name alone "
                    "withholds the place"
                )


def read_settings(file: Path | None, options: Mapping[str, Any]) -> Settings:
    """The settings file, with the command line's options (those that are not None) over it.

    Raises:
        UsageError: no such file, not TOML, an unknown key (with near matches) or a value of the wrong kind.
    """
    found = _read_toml(file) if file else {}
    found |= {name: value for name, value in options.items() if value is not None}
    return Settings(**{option.name: option.read(found[option.name]) for option in OPTIONS if option.name in found})


def _read_toml(file: Path) -> dict[str, Any]:
    import difflib
    import tomllib

    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--settings {file}: expected a file that can be read, found {error}; check the path"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--settings {file}: expected TOML, found {error}; put text in quotes") from error
    known = [option.name for option in OPTIONS]
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise UsageError(f"--settings {file}: unknown key {key!r}; {hint}")
    return found
