"""`edge-watch`: watch a camera, and tell of each visit of a species once.

edge-watch --species tiger
edge-watch --species tiger,leopard --source clip.mp4 --broker 192.0.2.7
edge-watch --settings trap.toml
edge-watch calibrate --species tiger --source quiet-night.mp4
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.options import add_options
from edge.settings import read_settings
from models import __version__
from models.errors import UsageError, run

PROGRAM = "edge-watch"


def parser() -> argparse.ArgumentParser:
    """The command line; every option but the last six is also a key of the settings file, with _ for -."""
    made = argparse.ArgumentParser(
        PROGRAM,
        description="Watch a camera and tell of each visit of a species once, by MQTT.",
        epilog="`edge-watch calibrate --help`: evidence for --max-false-alarms.",
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
        "--report",
        metavar="DIR",
        type=Path,
        help="with --truth: write the report also as a page with pictures and as JSON into this folder (default: no)",
    )
    made.add_argument(
        "--explain",
        metavar="EVENT",
        help="print what was seen, look by look, that made a stored event what it is: its id, or the first 6 "
        "characters or more; then end",
    )
    made.add_argument(
        "--spots",
        choices=("list", "reset"),
        help="list the spots that were learned to move without an animal, or forget them; then end",
    )
    made.add_argument("--debug", action="store_true", help="show tracebacks and more of what is done")
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return made


def calibrate_parser() -> argparse.ArgumentParser:
    """The command line of `edge-watch calibrate`: every setting, and what is said of the hours."""
    made = argparse.ArgumentParser(
        f"{PROGRAM} calibrate",
        description="Watch a source in which, by your word, none of --species appears: its hours, and what is taken "
        "for one, are the evidence for --max-false-alarms. Nothing is published.",
    )
    add_options(made)
    made.add_argument("--hours", metavar="N", type=float, help="how long a live camera is watched")
    made.add_argument("--list", action="store_true", help="list what was calibrated; then end")
    made.add_argument("--reset", action="store_true", help="forget what was calibrated; then end")
    made.add_argument("--debug", action="store_true", help="show tracebacks and more of what is done")
    return made


def calibrate_main(argv: Sequence[str]) -> int:
    """Parse, read the settings, then list, forget or watch."""
    import logging
    import signal
    import threading

    options = vars(calibrate_parser().parse_args(argv))
    debug, file, hours, listed, reset = (options.pop(name) for name in ("debug", "settings", "hours", "list", "reset"))
    if hours is not None and not 0 < hours < float("inf"):
        raise UsageError(f"--hours: expected more than 0, found {hours:g}")
    settings = read_settings(file, options)
    from edge.deciding import calibrate
    from edge.deciding.quiet import FILE_NAME

    quiet = settings.data / FILE_NAME
    if listed or reset:
        print(calibrate.reset(quiet) if reset else calibrate.listing(quiet))
        return 0
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(calibrate.calibrate(settings, hours, stop))
    return 0


def watch_main(argv: Sequence[str]) -> int:
    """Parse, read the settings, then watch; heavy imports come after parsing."""
    if argv[:1] == ["calibrate"]:
        return calibrate_main(argv[1:])
    options = vars(parser().parse_args(argv))
    debug, truth, folder, file = (options.pop(name) for name in ("debug", "truth", "report", "settings"))
    event, spots = (options.pop(name) for name in ("explain", "spots"))
    if folder is not None and truth is None:
        raise UsageError("--report: expected --truth FILE with it, found none; name what to compare with")
    settings = read_settings(file, options)
    if event is not None:
        from edge.deciding.explain import explain

        print(explain(event, settings.data))
        return 0
    if spots is not None:
        from edge.seeing.spots import command

        print(command(spots, settings.data))
        return 0
    if truth is not None:
        from edge.truth import report

        return report(settings, truth, folder)
    from edge.daemon import run_daemon

    return run_daemon(settings, debug)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `edge-watch`."""
    try:
        return run(PROGRAM, watch_main, argv)
    except BrokenPipeError:  # `edge-watch --explain ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
