"""`edge-listen`: an MQTT subscriber that prints, stores, acknowledges and forwards alerts, and tells traps commands.

edge-listen
edge-listen --broker example.org --credentials listen.txt --folder alerts
edge-listen --forward forward.toml
edge-listen tell oak-7 snooze --species tiger --minutes 60
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.options import add_broker_options
from edge.telling.broker import Broker
from edge.telling.topics import DEFAULT_PREFIX, Topics, check_prefix
from models.errors import UsageError, run

PROGRAM = "edge-listen"
_SESSION_S = 30 * 24 * 3600


def _add_broker(parser: argparse.ArgumentParser) -> None:
    """What listening and telling have in common."""
    add_broker_options(parser)
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="first level(s) of the topics; default: %(default)s")
    parser.add_argument("--debug", action="store_true", help="show tracebacks, and each connection attempt")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line of listening.

    Raises:
        UsageError: a value that cannot be meant.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Show, store and acknowledge the alerts of all traps below a topic prefix, each once, and say "
        "which trap is overdue.",
        epilog="What comes while edge-listen is away is kept for it by the broker, for 30 days. "
        "`edge-listen tell --help`: commands to a trap.",
    )
    _add_broker(parser)
    parser.add_argument("--folder", metavar="DIR", type=Path, default=Path("alerts"), help="default: ./%(default)s")
    parser.add_argument(
        "--client-id", default="edge-listen", help="the name the broker keeps messages under; default: %(default)s"
    )
    parser.add_argument("--no-ack", action="store_true", help="store alerts without telling the trap that they are")
    parser.add_argument("--forward", metavar="FILE", type=Path, help="services to forward alerts to (TOML)")
    parser.add_argument("--forward-replays", action="store_true", help="forward alerts from recordings, too")
    parser.add_argument("--count", metavar="N", type=int, help="end after N alerts that came with their pictures")
    arguments = parser.parse_args(argv)
    if arguments.count is not None and arguments.count < 1:
        raise UsageError(f"expected --count of 1 or more, got {arguments.count}")
    if not arguments.client_id:
        raise UsageError("expected a --client-id that is not empty: the broker keeps messages under it")
    if arguments.forward_replays and arguments.forward is None:
        raise UsageError("--forward-replays: expected --forward FILE with it, found none; name where to")
    check_prefix(arguments.prefix)
    return arguments


def parse_tell(argv: Sequence[str]) -> argparse.Namespace:
    """The command line of `edge-listen tell`.

    Raises:
        UsageError: a value that cannot be meant.
    """
    common = argparse.ArgumentParser(add_help=False)
    _add_broker(common)
    common.add_argument(
        "--wait", metavar="SECONDS", type=float, default=10.0, help="for the trap's answer; default: %(default)g"
    )
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} tell", description="Tell a trap a command; print its answer.")
    parser.add_argument("deployment", help="the trap's name, as in its alerts")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    add("test", "send a test alert, marked as one, the way that any alert goes")
    add("status", "tell health now")
    add("look", "look at the next frames, though nothing moves (a trap with --trigger mqtt)")
    snooze = add("snooze", "send no alerts for some time")
    snooze.add_argument("--minutes", metavar="N", type=float, required=True, help="0 ends an earlier snooze")
    snooze.add_argument("--species", default="", help="of this species or group only (default: of any)")
    add("picture", "send the whole picture of an event").add_argument("event", help="its id")
    add("confirm", "the event shows what was said of it").add_argument("event", help="its id")
    wrong = add("wrong", "the event shows something else")
    wrong.add_argument("event", help="its id")
    wrong.add_argument("species", nargs="?", default="", help="what it shows, if that is known")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.wait < math.inf:
        raise UsageError(f"expected --wait of 0 seconds or more, got {arguments.wait:g}")
    Topics(arguments.deployment, arguments.prefix)
    return arguments


def _log(debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", level=level, stream=sys.stderr)
    # What Apprise says beside its answer may name a token.
    logging.getLogger("apprise").propagate = debug


def _listen(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    _log(arguments.debug)
    broker = Broker.of(arguments)
    from edge.listen.forwards import Forwards
    from edge.listen.listener import Listener
    from edge.listen.messages import LARGEST_PICTURE, LARGEST_TEXT
    from edge.listen.services import read_services
    from edge.listen.store import Store
    from edge.telling.mqtt import Link

    services = read_services(arguments.forward) if arguments.forward else []
    store = Store(arguments.folder, [each.name for each in services], arguments.forward_replays)
    forwards = Forwards(store.database, services)
    link = Link(broker, arguments.client_id, session_s=_SESSION_S, largest=LARGEST_PICTURE + LARGEST_TEXT)
    listener = Listener(link, store, forwards, arguments.prefix, arguments.count, acks=not arguments.no_ack)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, listener.end)
    try:
        forwards.start()
        listener.run()
    except BrokenPipeError:
        # Whoever read the lines has gone; what was not printed was not acknowledged either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        forwards.end()
        link.release()
        store.close()
    return 0


def _tell(argv: Sequence[str]) -> int:
    arguments = parse_tell(argv)
    _log(arguments.debug)
    broker = Broker.of(arguments)
    from edge.listen.tell import tell

    values = {key: value for key, value in vars(arguments).items() if key in ("species", "minutes", "event")}
    topics = Topics(arguments.deployment, arguments.prefix)
    print(tell(broker, topics, arguments.command, values, arguments.wait))
    return 0


def _main(argv: Sequence[str]) -> int:
    return _tell(argv[1:]) if argv[:1] == ["tell"] else _listen(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `edge-listen`."""
    return run(PROGRAM, _main, argv)
