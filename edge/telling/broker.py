"""Where the MQTT broker is, who one is to it, and how long to go on looking for it."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from models.errors import EdgeWatchError, UsageError

if TYPE_CHECKING:
    import argparse

    from edge.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_URL = "mqtt://localhost:1883"
_EXAMPLES = f"{DEFAULT_URL} or mqtts://example.org:8883"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LONGEST = 65535
"""Bytes that MQTT can say of a user or a password."""
# Not the generator that all share: what others draw must not hang on how often this thread has waited.
_jitter = random.Random()


class BrokerError(EdgeWatchError, OSError):
    """The broker cannot be reached, refuses, or went away."""


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker. `tls` is checked against `ca`, or else the system's certificate authorities.

    `certificate` and `key` (both or neither) are what this client shows of itself.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it runs on this machine."""
        return _is_local(self.host)

    @classmethod
    def of(cls, given: Settings | argparse.Namespace) -> Broker:
        """The broker that settings, or the options of `add_broker_options`, name.

        Files that they do not name are looked for in the folder that systemd gives a service its credentials in:
        `broker` (user and password), `ca`, `certificate` and `key`.

        Raises:
            UsageError: as `parse`.
        """
        for path in (given.credentials, given.key):
            if path is not None:
                warn_of_readers(path)
        return cls.parse(
            given.broker or DEFAULT_URL,
            given.credentials or _from_systemd("broker"),
            ca=given.ca or _from_systemd("ca"),
            certificate=given.certificate or _from_systemd("certificate"),
            key=given.key or _from_systemd("key"),
            plain=bool(given.plain),
        )

    @classmethod
    def parse(
        cls,
        url: str = DEFAULT_URL,
        credentials: Path | None = None,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        plain: bool = False,
    ) -> Broker:
        """Read `host[:port]`, `mqtt://[host][:port]` or `mqtts://host[:port]`, and check all files.

        Without a scheme it is TLS unless the broker is on this machine.

        Args:
            url: where the broker is.
            credentials: a text file, user name in its first line and password in its second.
            ca: authorities to trust in place of the system's; PEM.
            certificate: this client's; PEM.
            key: that of `certificate`; PEM.
            plain: do without TLS though the broker is another machine.

        Raises:
            UsageError: another scheme, an impossible port, a password in the URL, no TLS to another machine without
                `plain`, or a file that cannot be read or is not what it should be.
        """
        scheme, host, port = _split(url)
        if not scheme:
            scheme = "mqtt" if plain or _is_local(host) else "mqtts"
        tls = scheme == "mqtts"
        if plain and tls:
            raise UsageError(f"expected one of --plain and TLS, found both (--broker {url}); leave one out")
        if not (tls or plain or _is_local(host)):
            raise UsageError(
                f"expected TLS to another machine, found {url} without; write mqtts:// (or give --plain, and anyone in "
                "between can read the alerts and the password)"
            )
        user, password = _credentials(credentials) if credentials else (None, None)
        found = cls(host, port or _PORTS[scheme], tls, user, password, ca, certificate, key)
        named = ", ".join(str(each) for each in (ca, certificate, key) if each is not None)
        if named and not tls:
            raise UsageError(f"expected TLS where certificates are given ({named}), found {found}; write mqtts://")
        if named:
            # Wrong files show at the start, and not when there is something to tell.
            from edge.telling.tls import context

            context(ca, certificate, key)
        if plain and not found.local:
            log.warning("%s is not encrypted: anyone in between can read the alerts and the password", found)
        return found


def _split(url: str) -> tuple[str, str, int | None]:
    """Scheme (may be empty), host and port (may be None) of a broker's URL."""
    if "@" in url:
        # Command lines and logs are read by others; the message must not repeat the password either.
        raise UsageError(
            "a broker's URL takes no user or password: write them into a file, the user in its first line and the"
            " password in its second, and name it with --credentials FILE"
        )
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"expected a broker like {_EXAMPLES}: {error}") from None
    more = parts.path.strip("/") or parts.query or parts.fragment
    if not url or parts.scheme not in ("", *_PORTS) or more or re.search(r"\s", parts.netloc):
        raise UsageError(f"expected a broker like {_EXAMPLES}, got {url!r}")
    return parts.scheme, parts.hostname or "localhost", port


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_systemd(name: str) -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, name) if folder else None
    return path if path is not None and path.exists() else None


def warn_of_readers(path: Path) -> None:
    """Warn of a file with a secret that others on this computer may read."""
    # What systemd hands over is not asked: its access lists show up as rights of the group.
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            log.warning("%s can be used by others on this computer (mode %o); type `chmod 600 %s`", path, mode, path)


def _credentials(path: Path) -> tuple[str, str]:
    """User and password as they stand there, but for the ends of the lines."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        # Python's own message would show a byte of the password.
        raise UsageError(f"cannot read the credentials file {path}: expected UTF-8, found something else") from None
    except OSError as error:
        raise UsageError(f"cannot read the credentials file {path}: {error.strerror}") from None
    user, password = (line.removesuffix("\r") for line in (*lines, "")[:2])
    if len(lines) < 2 or not user:
        raise UsageError(f"expected the user in the first line of {path} and the password in the second")
    if any("\0" in text or len(text.encode()) > _LONGEST for text in (user, password)):
        raise UsageError(f"expected a user and a password of at most {_LONGEST} bytes in {path}, and no zero bytes")
    return user, password


def keep_connected(
    broker: Broker,
    connect: Callable[[], None],
    serve: Callable[[], None],
    stop: threading.Event,
    last_try: Callable[[], bool] = lambda: False,
    delays_s: tuple[float, float] = (1.0, 60.0),
) -> None:
    """Connect and serve, again and again, until `serve` returns or `stop` is set.

    A broker that is not there is reported once, and once when it is back.

    Args:
        broker: for the messages.
        connect: raises BrokerError if it cannot.
        serve: raises BrokerError when the connection is lost.
        stop: set from another thread or a signal handler.
        last_try: whether one more attempt is worth making when `stop` came during a pause.
        delays_s: the first pause and the longest; they double in between, and are jittered so that a hundred traps do
            not come back in the same second.
    """
    delay, said = delays_s[0], False
    while True:
        started = time.monotonic()
        try:
            connect()
            if said:
                log.warning("connected to the MQTT broker at %s again", broker)
            said = False
            serve()
            return
        except BrokerError as error:
            log.log(logging.DEBUG if said else logging.WARNING, "%s; trying again until it is there", error)
            said = True
        if stop.is_set():
            return
        if time.monotonic() - started > delays_s[1]:
            delay = delays_s[0]
        if stop.wait(delay * _jitter.uniform(0.5, 1.0)) and not last_try():
            return
        delay = min(2 * delay, delays_s[1])
