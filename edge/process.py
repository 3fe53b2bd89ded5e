"""The daemon as a process: alone in its folder, watched by systemd, begun anew by itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from models.errors import OutboxError, UsageError

LOCK_NAME = "edge-watch.lock"
_COUNT = "EDGE_WATCH_RESTARTS"


@contextlib.contextmanager
def alone_in(data: Path) -> Iterator[None]:
    """Hold the lock of a data folder: two daemons in one would deliver each other's alerts, under one client id.

    Raises:
        UsageError: another edge-watch holds it.
        OutboxError: the folder cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / LOCK_NAME).open("w")
    except OSError as error:
        raise OutboxError(f"cannot write to {data}: {error}; expected a folder that can be written to") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{data}: expected a data folder of its own, found another edge-watch using it; end that one, or give "
                "--data and --deployment"
            ) from error
        yield


def remove(file: Path) -> None:
    """Remove a file of the data folder, if it is there.

    Raises:
        OutboxError: it cannot be removed.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise OutboxError(f"cannot remove {file}: {error}; check who owns it") from error


def restarts() -> int:
    """How often this process has started itself anew."""
    found = os.environ.get(_COUNT, "")
    return int(found) if found.isdigit() else 0


def restart() -> NoReturn:
    """Begin again with the same command line, in a fresh process of the same number (systemd sees no end)."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, _COUNT: str(restarts() + 1)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def notify(state: str) -> None:
    """Send `READY=1` or `WATCHDOG=1` to systemd (sd_notify(3)); nothing where systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading @ stands for the zero byte of an abstract address.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        try:
            sending.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            # systemd is starting anew itself; it will hear the next one.
            return
