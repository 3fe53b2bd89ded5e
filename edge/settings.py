"""What can be set, with its default: one TOML file, and the command line over it."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from models.bundle import default_bundle
from models.errors import UsageError


def _data_folder() -> Path:
    # systemd sets STATE_DIRECTORY for a unit with StateDirectory=.
    state = os.environ.get("STATE_DIRECTORY")
    return Path(state) if state else Path.home() / ".local/share/edge-watch"


def _computer() -> str:
    return os.uname().nodename


RECORDS = ("nothing", "picture", "clip")
Mask = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `edge-watch`; each is a key of the settings file and an option of the command line.

    species: what to alert of; every other species is recorded only.
    source: picamera, usb:N, rtsp://..., http://..., watch:DIR, demo, a video file or a folder of photos; None: the
        camera that is there.
    rotate: degrees by which a live camera's pictures are turned clockwise: 0, 90, 180 or 270.
    noir: the Raspberry Pi's camera has no infrared filter: its colours by day, and grey pictures in the dark.
    model: a converted bundle.
    broker: mqtt://HOST:PORT or mqtts://HOST:PORT.
    credentials: a file with a line `user` and a line `password` for the broker.
    prefix: what every MQTT topic begins with.
    deployment: the trap's name (Camtrap DP deploymentID).
    latitude, longitude: where it hangs, in degrees; sent with alerts when both are set.
    data: folder of the SQLite file that holds outbox, events and seen ids.
    event_gap: a visit is over when the species was not seen for this long; in seconds.
    alert_interval: at most one alert per species in this time; in seconds.
    camera_delay: after motion, further motion is ignored for this long; in seconds.
    trigger: what asks for a look besides motion in the picture: gpio:N (a sensor), mqtt (a command), or both with a
        comma; None for nothing.
    masks: boxes (left, top, width, height as shares 0-1 of the frame) in which no motion is looked for.
    least_size: what is smaller than this share of the frame's height is no motion.
    looks_per_second: how often the model is asked in the long run; short visits are looked at more often.
    record: what is kept of each visit below `data`: nothing, its best picture, or also a clip.
    media_limit: megabytes of pictures and clips that are kept; the oldest go first, those of `species` last.
    preview: a clip of all that is seen, with boxes, names and probabilities drawn in; people too.
    threads: of the model; one is fastest on a busy small computer.
    pace: replay files at full speed or as fast as they were recorded.
    """

    species: tuple[str, ...] = ()
    source: str | None = None
    rotate: int = 0
    noir: bool = False
    model: Path = field(default_factory=default_bundle)
    broker: str = "mqtt://localhost:1883"
    credentials: Path | None = None
    prefix: str = "edge-watch"
    deployment: str = field(default_factory=_computer)
    latitude: float | None = None
    longitude: float | None = None
    data: Path = field(default_factory=_data_folder)
    event_gap: timedelta = timedelta(seconds=60)
    alert_interval: timedelta = timedelta(minutes=10)
    camera_delay: timedelta = timedelta(0)
    trigger: str | None = None
    masks: tuple[Mask, ...] = ()
    least_size: float = 0.04
    looks_per_second: float = 2.0
    record: Literal["nothing", "picture", "clip"] = "picture"
    media_limit: float = 2000.0
    preview: Path | None = None
    threads: int = 1
    pace: Literal["full", "real"] = "full"

    def __post_init__(self) -> None:
        if (self.latitude is None) != (self.longitude is None):
            raise UsageError("expected latitude and longitude, found one of them; give both or neither")
        for name, most in (("latitude", 90), ("longitude", 180)):
            value = getattr(self, name)
            if value is not None and not -most <= value <= most:
                raise UsageError(f"{name}: expected -{most} to {most} degrees, found {value:g}")
        for x, y, width, height in self.masks:
            if not (min(x, y) >= 0 < min(width, height) and x + width <= 1.0001 and y + height <= 1.0001):
                raise UsageError(
                    f"masks: expected left, top, width, height as shares of the frame, found {x:g},{y:g},{width:g},"
                    f"{height:g}, which is not inside it; as 0,0,1,0.1 for the upper tenth"
                )
        if not 0 <= self.least_size < 1:
            raise UsageError(f"least_size: expected a share of the frame's height, found {self.least_size:g}")
        if not 0 < self.looks_per_second <= 100:
            raise UsageError(f"looks_per_second: expected more than 0, up to 100, found {self.looks_per_second:g}")
        for name, known in (("rotate", (0, 90, 180, 270)), ("record", RECORDS), ("pace", ("full", "real"))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}: expected {', '.join(map(str, known))}, found {getattr(self, name)!r}")
        if not self.media_limit >= 10:
            raise UsageError(f"media_limit: expected 10 megabytes or more, found {self.media_limit:g}")
        if self.preview is not None and self.preview.suffix.lower() != ".mp4":
            raise UsageError(f"preview: expected a name that ends in .mp4, found {self.preview}")
        if self.threads < 1:
            raise UsageError(f"threads: expected 1 or more, found {self.threads}")


def read_settings(file: Path | None, options: Mapping[str, Any]) -> Settings:
    """The settings file, with the command line's options (those that are not None) over it.

    Raises:
        UsageError: no such file, not TOML, an unknown key (with near matches) or a value of the wrong kind.
    """
    found = _read_toml(file) if file else {}
    found |= {name: value for name, value in options.items() if value is not None}
    return Settings(**{name: _convert(name, value) for name, value in found.items()})


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
    known = [setting.name for setting in dataclasses.fields(Settings)]
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise UsageError(f"--settings {file}: unknown key {key!r}; {hint}")
    return found


_TEXTS = ("source", "trigger", "broker", "prefix", "deployment", "record", "pace")
_PATHS = ("model", "credentials", "data", "preview")
_SECONDS = ("event_gap", "alert_interval", "camera_delay")
_NUMBERS = ("latitude", "longitude", "least_size", "looks_per_second", "media_limit")
_WHOLE = ("threads", "rotate")
_SWITCHES = ("noir",)
_MOST_SECONDS = 366 * 24 * 3600


def _convert(name: str, value: Any) -> Any:
    """A value as TOML or argparse gives it, as the setting's type.

    Raises:
        UsageError: a value of another kind.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    if name == "species":
        if value == "":
            raise UsageError("species: expected names, found an empty text; leave it out to alert of none")
        listed = value.split(",") if isinstance(value, str) else value
        if isinstance(listed, (list, tuple)) and all(isinstance(item, str) for item in listed):
            return tuple(item.strip() for item in listed if item.strip())
    elif name == "masks":
        return _masks(value)
    elif name in _TEXTS and isinstance(value, str):
        return value
    elif name in _PATHS and isinstance(value, (str, Path)):
        return Path(value).expanduser()
    elif name in _SECONDS and number:
        if not 0 <= value <= _MOST_SECONDS:
            raise UsageError(f"{name}: expected 0 to {_MOST_SECONDS} seconds, found {value:g}")
        return timedelta(seconds=value)
    elif (name in _NUMBERS and number) or (name in _WHOLE and whole) or (name in _SWITCHES and isinstance(value, bool)):
        return value
    raise UsageError(f"{name}: found a value of the wrong kind: {value!r}; see `edge-watch --help`")


def _masks(value: Any) -> tuple[Mask, ...]:
    """`[[0, 0, 1, 0.1]]` of a file, or `0,0,1,0.1;0.5,0.5,0.2,0.2` of the command line."""
    try:
        rows = [row.split(",") for row in value.split(";") if row.strip()] if isinstance(value, str) else value
        boxes = tuple((float(x), float(y), float(width), float(height)) for x, y, width, height in rows)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"masks: expected boxes of left, top, width, height, found {value!r}; as [[0, 0, 1, 0.1]] in the settings "
            "file, or 0,0,1,0.1 on the command line"
        ) from error
    return boxes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every setting to a command's options, and `--settings`."""
    add = parser.add_argument
    add("--species", metavar="NAME[,NAME]", help="alert of these; every other species is recorded only")
    add(
        "--source",
        metavar="SOURCE",
        help="picamera, usb:N, rtsp://..., http://... (MJPEG or a picture), watch:DIR (a folder that another camera "
        "drops files into), demo, a video file or a folder of photos "
        "(default: picamera if picamera2 is installed, else usb:0)",
    )
    add(
        "--rotate",
        type=int,
        choices=(0, 90, 180, 270),
        help="turn the pictures of a live camera clockwise by so many degrees (default: 0)",
    )
    add(
        "--noir",
        action="store_true",
        default=None,
        help="the Raspberry Pi's camera has no infrared filter: colours to fit, and grey pictures in the dark",
    )
    add("--model", metavar="BUNDLE", type=Path, help="a converted model bundle (default: the published one)")
    add("--broker", metavar="URL", help="mqtt://HOST:PORT or mqtts://HOST:PORT (default: mqtt://localhost:1883)")
    add("--credentials", metavar="FILE", type=Path, help="file with a line `user` and a line `password` for the broker")
    add("--prefix", metavar="TOPIC", help="what every topic begins with (default: edge-watch)")
    add("--deployment", metavar="NAME", help="the trap's name (default: this computer's)")
    add("--latitude", metavar="DEGREES", type=float, help="where the trap hangs; sent with alerts")
    add("--longitude", metavar="DEGREES", type=float, help="where the trap hangs; sent with alerts")
    add(
        "--data",
        metavar="DIR",
        type=Path,
        help="where events and unsent alerts are kept (default: $STATE_DIRECTORY, else ~/.local/share/edge-watch)",
    )
    add(
        "--event-gap",
        metavar="SECONDS",
        type=float,
        help="a visit is over after this long without the species (default: 60)",
    )
    add(
        "--alert-interval",
        metavar="SECONDS",
        type=float,
        help="at most one alert per species in this time (default: 600)",
    )
    add(
        "--camera-delay",
        metavar="SECONDS",
        type=float,
        help="after motion, ignore further motion this long (default: 0)",
    )
    add(
        "--trigger",
        metavar="gpio:N[,mqtt]",
        help="look at the whole frame when a motion sensor on a GPIO pin tells of motion, or a command comes by MQTT "
        "(mqtt) (default: none)",
    )
    add(
        "--masks",
        metavar="X,Y,W,H[;...]",
        help="boxes, as shares 0-1 of the frame from left and top, in which no motion is looked for (default: none)",
    )
    add(
        "--least-size",
        metavar="SHARE",
        type=float,
        help="what is smaller than this share of the frame's height is no motion (default: 0.04)",
    )
    add(
        "--looks-per-second",
        metavar="N",
        type=float,
        help="how often the model is asked in the long run; bursts of 150 are free (default: 2)",
    )
    add(
        "--record",
        choices=RECORDS,
        help="what is kept of each visit in the data folder: its best picture, or also a clip with five seconds before "
        "and after (default: picture)",
    )
    add(
        "--media-limit",
        metavar="MEGABYTES",
        type=float,
        help="of pictures and clips; the oldest are deleted first, those of --species last (default: 2000)",
    )
    add(
        "--preview",
        metavar="FILE.mp4",
        type=Path,
        help="a clip of all that is seen, with boxes, names and probabilities; people too (default: none)",
    )
    add("--threads", metavar="N", type=int, help="threads of the model (default: 1)")
    add("--pace", choices=("full", "real"), help="replay files at full speed or as recorded (default: full)")
    add("--settings", metavar="FILE", type=Path, help="a TOML file with any of these; the command line goes over it")
