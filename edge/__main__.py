"""`edge-watch`: watch a camera, and tell of each visit of a species once.

edge-watch --species tiger
edge-watch --species tiger,leopard --source clip.mp4 --broker mqtt://192.0.2.7:1883
edge-watch --settings trap.toml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models import __version__
from models.errors import run

PROGRAM = "edge-watch"


def parser() -> argparse.ArgumentParser:
    """The command line; every option is also a key of the settings file, with _ for -."""
    made = argparse.ArgumentParser(
        PROGRAM, description="Watch a camera and tell of each visit of a species once, by MQTT."
    )
    add = made.add_argument
    add("--species", metavar="NAME[,NAME]", help="alert of these; every other species is recorded only")
    add(
        "--source",
        metavar="SOURCE",
        help="picamera, usb:N, demo, a video file or a folder of photos "
        "(default: picamera if picamera2 is installed, else usb:0)",
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
    add("--threads", metavar="N", type=int, help="threads of the model (default: 1)")
    add("--pace", choices=("full", "real"), help="replay files at full speed or as recorded (default: full)")
    add("--settings", metavar="FILE", type=Path, help="a TOML file with any of these; the command line goes over it")
    add(
        "--truth",
        metavar="FILE",
        type=Path,
        help="compare a replay with this CSV of visits (clip, species, start_s, "
        "end_s), print a report and publish nothing",
    )
    add("--debug", action="store_true", help="show tracebacks and more of what is done")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return made


def watch_main(argv: Sequence[str]) -> int:
    """Parse, read the settings, then watch; heavy imports come after parsing."""
    options = vars(parser().parse_args(argv))
    debug, truth, file = options.pop("debug"), options.pop("truth"), options.pop("settings")
    from edge.settings import read_settings

    settings = read_settings(file, options)
    if truth is not None:
        from edge.truth import report

        return report(settings, truth)
    from edge.daemon import run_daemon

    return run_daemon(settings, debug)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `edge-watch`."""
    return run(PROGRAM, watch_main, argv)


if __name__ == "__main__":
    sys.exit(main())
