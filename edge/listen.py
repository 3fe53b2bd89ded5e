"""`edge-listen`: an MQTT subscriber that prints each alert in a line and stores it with its picture.

edge-listen
edge-listen --broker example.org --credentials listen.txt --folder alerts
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.broker import Broker, keep_connected
from edge.options import add_broker_options
from edge.topics import DEFAULT_PREFIX, check_prefix
from models.errors import EdgeWatchError, UsageError, run

if TYPE_CHECKING:
    from edge.mqtt import Link, Received

log = logging.getLogger(__name__)

_SESSION_S = 30 * 24 * 3600
_LARGEST_TEXT = 64 * 1024
_MIGRATIONS = (
    """
    CREATE TABLE alerts (id TEXT PRIMARY KEY, name TEXT NOT NULL, wants_picture INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE pictures (id TEXT PRIMARY KEY) WITHOUT ROWID;
    """,
)


class _MalformedError(ValueError):
    """A message that is not what its topic promises."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What is needed of an alert; `name` is that of its files, without ending."""

    id: str
    name: str
    line: str
    wants_picture: bool


class Folder:
    """Where alerts are kept: `<time>-<species>-<id>.json` and `.jpg`, and the ids that were handled.

    Everything here may be done twice with the same result, because the broker sends a message again when the listener
    was killed before it had acknowledged it.

    Args:
        path: made if it is not there.

    Raises:
        OutboxError: the folder cannot be written. From any method: EdgeWatchError.
    """

    def __init__(self, path: Path) -> None:
        from edge.database import Database

        self.path = path
        self._ids = Database(path / ".edge-listen.sqlite", _MIGRATIONS)

    def close(self) -> None:
        self._ids.close()

    def alert(self, payload: bytes) -> bool:
        """Store and print an alert; True if it and its picture are now complete, for the first time."""
        told = _read_alert(payload)
        if self._name(told.id):
            return False
        picture = self.path / f"{told.name}.jpg"
        _write(self.path / f"{told.name}.json", payload)
        # A picture that came first was kept under the only name known then.
        early = self.path / f"{told.id}.jpg"
        if early.exists():
            with _storing(picture):
                early.replace(picture)
        # Printed before it is remembered: a crash in between prints it twice rather than never.
        print(f"{told.line}  {picture if told.wants_picture else 'no picture'}", flush=True)
        values = (told.id, told.name, told.wants_picture)
        self._ids.run(lambda db: db.execute("INSERT INTO alerts VALUES (?, ?, ?)", values))
        return not told.wants_picture or self._has_picture(told.id)

    def picture(self, payload: bytes, property_id: str) -> bool:
        """Store a picture; True if it and its alert are now complete, for the first time."""
        id = _picture_id(payload, property_id)
        if self._has_picture(id):
            return False
        name = self._name(id)
        _write(self.path / f"{name or id}.jpg", payload)
        self._ids.run(lambda db: db.execute("INSERT INTO pictures VALUES (?)", (id,)))
        return bool(name)

    def _name(self, id: str) -> str:
        row = self._ids.run(lambda db: db.execute("SELECT name FROM alerts WHERE id = ?", (id,)).fetchone())
        return row[0] if row else ""

    def _has_picture(self, id: str) -> bool:
        return self._ids.run(lambda db: db.execute("SELECT 1 FROM pictures WHERE id = ?", (id,)).fetchone()) is not None


def _read_alert(payload: bytes) -> _Told:
    if len(payload) > _LARGEST_TEXT:
        raise _MalformedError(f"an alert of {len(payload)} bytes")
    try:
        alert = json.loads(payload)
        id = str(uuid.UUID(alert["id"]))
        species, deployment = str(alert["species"]), str(alert["deployment"])
        start, probability = datetime.fromisoformat(alert["event_start"]), float(alert["probability"])
        wants_picture = alert["image_topic"] is not None
        if not 0 <= probability <= 1:
            raise _MalformedError(f"an alert with the probability {probability:g}")
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _MalformedError(f"not an alert: {type(error).__name__}: {error}") from error
    # Both go into file names and onto a terminal, and came from somewhere else.
    safe = re.sub("[^a-z0-9_]+", "-", species.lower()).strip("-")[:40] or "species"
    shown = [_printable(text) for text in (deployment, species)]
    line = f"{start.isoformat(sep=' ', timespec='seconds')}  {'  '.join(shown)}  {probability:.2f}"
    replay = "  (replay)" if alert.get("replay") else ""
    return _Told(id, f"{start:%Y%m%dT%H%M%S}-{safe}-{id}", line + replay, wants_picture)


def _picture_id(payload: bytes, property_id: str) -> str:
    from edge import exif
    from models.errors import ImageError

    try:
        # MQTT 3.1.1 has no properties; the picture itself knows too.
        return str(uuid.UUID(property_id or exif.read(payload).id or ""))
    except (ImageError, ValueError) as error:
        raise _MalformedError(f"not an alert's picture: {error}") from error


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:80]


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EdgeWatchError(
            f"cannot store {path}: {error}; make space and start again: the broker keeps what was not stored"
        ) from error


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, durably."""
    draft = path.with_name(f".{path.name}.part")
    with _storing(path):
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


class Listener:
    """Takes messages from the broker to the folder until `count` alerts are complete or `stop` is set."""

    def __init__(self, link: Link, folder: Folder, prefix: str, count: int | None) -> None:
        self._link, self._folder, self._left = link, folder, count
        self._filters = [f"{prefix}/+/alert/+", f"{prefix}/+/alert/+/image"]
        self._greeted = False
        self.stop = threading.Event()

    def run(self) -> None:
        keep_connected(self._link.broker, self._link.connect, self._serve, self.stop)

    def end(self, *_: object) -> None:
        """Make `run` return; a signal handler. A second signal does not wait for a connection attempt to end."""
        if self.stop.is_set():
            raise KeyboardInterrupt
        self.stop.set()
        self._link.wake()

    def _serve(self) -> None:
        self._link.subscribe(self._filters, qos=1)
        if not self._greeted:
            log.info("listening at %s, storing in %s; Ctrl-C ends", self._link.broker, self._folder.path)
            self._greeted = True
        while not self.stop.is_set():
            self._link.wait(5.0)
            while self._link.denied:
                _warn(f"the broker refuses the subscription: {self._link.denied.popleft()}; see --credentials")
            while self._link.received and not self.stop.is_set():
                self._take(self._link.received.popleft())
        self._link.disconnect()

    def _take(self, received: Received) -> None:
        complete = False
        try:
            if received.topic.endswith("/image"):
                complete = self._folder.picture(received.payload, received.id)
            else:
                complete = self._folder.alert(received.payload)
        except _MalformedError as error:
            _warn(f"ignored a message on {_printable(received.topic)}: {_printable(str(error))}")
        # Only now: a listener that is killed before this gets the message again.
        self._link.ack(received)
        if complete and self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.stop.set()


def _warn(text: str) -> None:
    print(f"edge-listen: {text}", file=sys.stderr, flush=True)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="edge-listen",
        description="Show and store the alerts of all traps below a topic prefix, each once.",
        epilog="What comes while edge-listen is away is kept for it by the broker, for 30 days.",
    )
    add_broker_options(parser)
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="first level(s) of the topics; default: %(default)s")
    parser.add_argument("--folder", metavar="DIR", type=Path, default=Path("alerts"), help="default: ./%(default)s")
    parser.add_argument(
        "--client-id", default="edge-listen", help="the name the broker keeps messages under; default: %(default)s"
    )
    parser.add_argument("--count", metavar="N", type=int, help="end after N alerts that came with their pictures")
    parser.add_argument("--debug", action="store_true", help="show tracebacks, and each connection attempt")
    arguments = parser.parse_args(argv)
    if arguments.count is not None and arguments.count < 1:
        raise UsageError(f"expected --count of 1 or more, got {arguments.count}")
    if not arguments.client_id:
        raise UsageError("expected a --client-id that is not empty: the broker keeps messages under it")
    check_prefix(arguments.prefix)
    return arguments


def _main(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    level = logging.DEBUG if arguments.debug else logging.INFO
    logging.basicConfig(format="edge-listen: %(message)s", level=level, stream=sys.stderr)
    broker = Broker.of(arguments)
    from edge.mqtt import Link

    folder = Folder(arguments.folder)
    link = Link(broker, arguments.client_id, session_s=_SESSION_S)
    listener = Listener(link, folder, arguments.prefix, arguments.count)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, listener.end)
    try:
        listener.run()
    except BrokenPipeError:
        # Whoever read the lines has gone; what was not printed was not acknowledged either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        link.release()
        folder.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run("edge-listen", _main, argv)


if __name__ == "__main__":
    sys.exit(main())
