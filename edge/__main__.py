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

from edge.options import add_options
from edge.settings import read_settings
from models import __version__
from models.errors import run

PROGRAM = "edge-watch"


def parser() -> argparse.ArgumentParser:
    """The command line; every option but the last four is also a key of the settings file, with _ for -."""
    made = argparse.ArgumentParser(
        PROGRAM, description="Watch a camera and tell of each visit of a species once, by MQTT."
    )
    add_options(made)
    made.add_argument(
        "--truth",
        metavar="FILE",
        type=Path,
        help="compare a replay with this CSV of visits (clip, species, start_s, end_s), print a report and publish "
        "nothing",
    )
    made.add_argument(
        "--spots",
        choices=("list", "reset"),
        help="list the spots that were learned to move without an animal, or forget them; then end",
    )
    made.add_argument("--debug", action="store_true", help="show tracebacks and more of what is done")
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return made


def watch_main(argv: Sequence[str]) -> int:
    """Parse, read the settings, then watch; heavy imports come after parsing."""
    options = vars(parser().parse_args(argv))
    debug, truth, file, spots = (options.pop(name) for name in ("debug", "truth", "settings", "spots"))
    settings = read_settings(file, options)
    if spots is not None:
        from edge.spots import command

        print(command(spots, settings.data))
        return 0
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
