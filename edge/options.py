"""Each setting of `edge-watch`, once: its key, what it takes, its help; for the command line and TOML alike."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Any

from edge.deciding.budget import Budget
from models.errors import UsageError

Mask = tuple[float, float, float, float]
Hours = tuple[time, time]
MOST_SECONDS = 366 * 24 * 3600


class WrongKindError(Exception):
    """A value is not of the kind that an option takes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an option takes: a word of the command line becomes `typed`, and that, or a value of TOML, the setting's.

    `read` is given the option's name and a value. It raises WrongKindError, or UsageError where it can say more.
    """

    read: Callable[[str, Any], Any]
    typed: Callable[[str], Any] = str


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: `name` is its key in TOML, with - for _ its option. `choices` are all that it may be."""

    name: str
    kind: Kind
    metavar: str
    help: str
    choices: tuple[Any, ...] = ()

    def read(self, value: Any) -> Any:
        """A value as TOML or argparse gives it, as the setting's type.

        Raises:
            UsageError: a value of another kind.
        """
        try:
            return self.kind.read(self.name, value)
        except WrongKindError as error:
            raise UsageError(
                f"{self.name}: found a value of the wrong kind: {value!r}; see `edge-watch --help`"
            ) from error

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the option to a command; None where it is not given."""
        flag = f"--{self.name.replace('_', '-')}"
        if self.kind is SWITCH:
            parser.add_argument(flag, action="store_true", default=None, help=self.help)
            return
        parser.add_argument(
            flag, metavar=self.metavar or None, type=self.kind.typed, choices=self.choices or None, help=self.help
        )


def _of(*types: type) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> Any:
        # True is an int to Python, but nobody means a number by it.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise WrongKindError
        return value

    return read


def _path(name: str, value: Any) -> Path:
    return Path(_of(str, Path)(name, value)).expanduser()


def _seconds(name: str, value: Any) -> timedelta:
    if not 0 <= _of(int, float)(name, value) <= MOST_SECONDS:
        raise UsageError(f"{name}: expected 0 to {MOST_SECONDS} seconds, found {value:g}")
    return timedelta(seconds=value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    """`["tiger", "deer"]` of a file, or `tiger,deer` of the command line."""
    if value == "":
        raise UsageError(f"{name}: expected names, found an empty text; leave the option out")
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) for item in listed):
        raise WrongKindError
    return tuple(item.strip() for item in listed if item.strip())


def _boxes(name: str, value: Any) -> tuple[Mask, ...]:
    """`[[0, 0, 1, 0.1]]` of a file, or `0,0,1,0.1;0.5,0.5,0.2,0.2` of the command line."""
    try:
        rows = [row.split(",") for row in value.split(";") if row.strip()] if isinstance(value, str) else value
        return tuple((float(x), float(y), float(width), float(height)) for x, y, width, height in rows)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{name}: expected boxes of left, top, width, height, found {value!r}; as [[0, 0, 1, 0.1]] in the settings "
            "file, or 0,0,1,0.1 on the command line"
        ) from error


def _budget(name: str, value: Any) -> Budget:
    return Budget.parse(_of(str)(name, value))


def _per_name(name: str, value: Any) -> dict[str, float | None]:
    """`{tiger = 60}` or `["tiger=60", "deer"]` of a file, or `tiger=60,deer` of the command line; None where no number
    stands behind a name."""
    if isinstance(value, Mapping):
        return {key: _of(int, float)(name, number) for key, number in value.items()}
    found = (item.partition("=") for item in _names(name, value))
    try:
        return {key.strip(): float(number) if equals else None for key, equals, number in found}
    except ValueError as error:
        raise UsageError(f"{name}: expected a number behind each =, found {value!r}; as tiger=60") from error


def _intervals(name: str, value: Any) -> dict[str, timedelta]:
    found = _per_name(name, value)
    for species, number in found.items():
        if number is None:
            raise UsageError(f"{name}: expected seconds for {species}, found none; as {species}=60")
    return {species: _seconds(name, number) for species, number in found.items()}


def _hours(name: str, value: Any) -> Hours:
    """`18:00-06:00`: from a time of day until another, here over midnight."""
    times = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", _of(str)(name, value).strip())
    if times is None:
        raise UsageError(f"{name}: expected two times of day, found {value!r}; as 18:00-06:00")
    hour, minute, until_hour, until_minute = map(int, times.groups())
    return time(hour, minute), time(until_hour, until_minute)


TEXT = Kind(_of(str))
PATH = Kind(_path, Path)
SECONDS = Kind(_seconds, float)
NUMBER = Kind(_of(int, float), float)
WHOLE = Kind(_of(int), int)
SWITCH = Kind(_of(bool))
NAMES = Kind(_names)
BOXES = Kind(_boxes)
BUDGET = Kind(_budget)
HOURS = Kind(_hours)
SECONDS_EACH = Kind(_intervals)
DEGREES_EACH = Kind(_per_name)

OPTIONS = (
    Option(
        "species",
        NAMES,
        "NAME[,NAME]",
        "alert of these, or groups of them (big_cat); every other species is recorded only; `person` alerts of people, "
        "without a picture unless --people says otherwise",
    ),
    Option("present", NAMES, "NAME[,NAME]", "what lives here, or groups of it: no other is recognized (default: all)"),
    Option("exclude", NAMES, "NAME[,NAME]", "species and groups that are never recognized (default: none)"),
    Option(
        "source",
        TEXT,
        "SOURCE",
        "picamera, usb:N, rtsp://..., http://... (MJPEG or a picture), watch:DIR (a folder that another camera drops "
        "files into), demo, a video file or a folder of photos (default: picamera if picamera2 is installed, else "
        "usb:0)",
    ),
    Option(
        "rotate",
        WHOLE,
        "",
        "turn the pictures of a live camera clockwise by so many degrees (default: 0)",
        (0, 90, 180, 270),
    ),
    Option(
        "noir",
        SWITCH,
        "",
        "the Raspberry Pi's camera has no infrared filter: colours to fit, and grey pictures in the dark",
    ),
    Option("model", PATH, "BUNDLE", "a converted model bundle (default: the published one)"),
    Option(
        "broker",
        TEXT,
        "HOST[:PORT]",
        "the MQTT broker; by TLS unless it is this computer, also as mqtts://HOST:PORT or mqtt://HOST:PORT (default: "
        "mqtt://localhost:1883)",
    ),
    Option("credentials", PATH, "FILE", "file with a line `user` and a line `password` for the broker"),
    Option("ca", PATH, "FILE", "trust the broker by this authority's certificate (default: the system's authorities)"),
    Option("certificate", PATH, "FILE", "what this computer shows the broker of itself (default: nothing)"),
    Option("key", PATH, "FILE", "the key of --certificate"),
    Option(
        "plain",
        SWITCH,
        "",
        "unencrypted though the broker is another machine: anyone in between can read the alerts and the password",
    ),
    Option("prefix", TEXT, "TOPIC", "what every topic begins with (default: edge-watch)"),
    Option(
        "link",
        TEXT,
        "",
        "what the trap talks over: everything at once, or over a thin link the text and a crop of at most 10 kB (cell) "
        "or the text alone (satellite), and the whole picture when it is asked for (default: lan)",
        ("lan", "cell", "satellite"),
    ),
    Option(
        "require_ack",
        SWITCH,
        "",
        "keep each alert until a subscriber, as edge-listen, says that it has it (default: once one has ever said so)",
    ),
    Option("compact", SWITCH, "", "send each alert also as 40 bytes, for gateways of very thin links"),
    Option(
        "wakes_every",
        SECONDS,
        "SECONDS",
        "the trap is switched off and on, and wakes at least this often: at its end it is `sleeping`, not `offline`",
    ),
    Option("deployment", TEXT, "NAME", "the trap's name (default: this computer's)"),
    Option("latitude", NUMBER, "DEGREES", "where the trap hangs; sent with alerts"),
    Option("longitude", NUMBER, "DEGREES", "where the trap hangs; sent with alerts"),
    Option(
        "hide_location",
        DEGREES_EACH,
        "NAME[=DEGREES][,...]",
        "do not say where these species or groups were seen, or only to so many degrees (default: none)",
    ),
    Option(
        "data",
        PATH,
        "DIR",
        "where events and unsent alerts are kept (default: $STATE_DIRECTORY, else ~/.local/share/edge-watch)",
    ),
    Option("event_gap", SECONDS, "SECONDS", "a visit is over after this long without the species (default: 60)"),
    Option("alert_interval", SECONDS, "SECONDS", "at most one alert per species in this time (default: 600)"),
    Option(
        "max_false_alarms",
        BUDGET,
        "N/TIME",
        "raise thresholds until no more are to be expected, as 1/week, of all of --species together: of hour, day, "
        "week, month, year (default: the model's operating points as they are)",
    ),
    Option(
        "alert_intervals",
        SECONDS_EACH,
        "NAME=SECONDS[,...]",
        "the same for single species or groups; in the settings file a table (default: none)",
    ),
    Option(
        "active_hours",
        HOURS,
        "HH:MM-HH:MM",
        "alert between these times of day only, by the trap's clock; visits are recorded all day (default: always)",
    ),
    Option("least_frames", WHOLE, "N", "alert of a visit only when so many frames support it (default: 1)"),
    Option("least_seconds", SECONDS, "SECONDS", "alert of a visit only when it has lasted this long (default: 0)"),
    Option("least_count", WHOLE, "N", "alert only when so many animals were seen at once (default: 1)"),
    Option("camera_delay", SECONDS, "SECONDS", "after motion, ignore further motion this long (default: 0)"),
    Option(
        "trigger",
        TEXT,
        "gpio:N[,mqtt]",
        "look at the whole frame when a motion sensor on a GPIO pin tells of motion, or a command comes by MQTT (mqtt) "
        "(default: none)",
    ),
    Option(
        "masks",
        BOXES,
        "X,Y,W,H[;...]",
        "boxes, as shares 0-1 of the frame from left and top, in which no motion is looked for (default: none)",
    ),
    Option(
        "least_size",
        NUMBER,
        "SHARE",
        "what is smaller than this share of the frame's height is no motion (default: 0.04)",
    ),
    Option(
        "looks_per_second",
        NUMBER,
        "N",
        "how often the model is asked in the long run; bursts of 150 are free (default: 2)",
    ),
    Option(
        "record",
        TEXT,
        "",
        "what is kept of each visit in the data folder: its best picture, or also a clip with five seconds before and "
        "after (default: picture)",
        ("nothing", "picture", "clip"),
    ),
    Option(
        "people",
        TEXT,
        "",
        "recognized people in pictures and messages: leave them out, make them unrecognizable, or keep them as any "
        "other animal (default: drop)",
        ("drop", "blur", "keep"),
    ),
    Option(
        "media_limit",
        NUMBER,
        "MEGABYTES",
        "of pictures and clips; the oldest are deleted first, those of --species last (default: 2000)",
    ),
    Option(
        "preview",
        PATH,
        "FILE.mp4",
        "a clip of all that is seen, with boxes, names and probabilities (default: none)",
    ),
    Option("threads", WHOLE, "N", "threads of the model (default: 1)"),
    Option("pace", TEXT, "", "replay files at full speed or as recorded (default: full)", ("full", "real")),
)


BROKER = ("broker", "credentials", "ca", "certificate", "key", "plain")
"""The settings that `edge.telling.broker.Broker.of` reads."""


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """Add what says where the broker is, and who one is to it, to a command that is no trap."""
    for option in OPTIONS:
        if option.name in BROKER:
            option.add_to(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every setting to a command's options, and `--settings`."""
    for option in OPTIONS:
        option.add_to(parser)
    parser.add_argument(
        "--settings", metavar="FILE", type=Path, help="a TOML file with any of these; the command line goes over it"
    )
