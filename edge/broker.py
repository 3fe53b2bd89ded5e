"""Where the MQTT broker is, who one is to it, and how long to go on looking for it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import EdgeWatchError, UsageError

log = logging.getLogger(__name__)

DEFAULT_URL = "mqtt://localhost:1883"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
# Not the generator that all share: what others draw must not hang on how often this thread has waited.
_jitter = random.Random()


class BrokerError(EdgeWatchError, OSError):
    """The broker cannot be reached, refuses, or went away."""


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker. `tls` is checked against the system's certificate authorities."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it runs on this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @classmethod
    def parse(cls, url: str = DEFAULT_URL, credentials: Path | None = None) -> Broker:
        """Read `mqtt://[host][:port]` or `mqtts://host[:port]`.

        Args:
            url: where the broker is.
            credentials: a text file, user name in its first line and password in its second.

        Raises:
            UsageError: another scheme, an impossible port, a password in the URL, or an unreadable credentials file.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"expected a broker like {DEFAULT_URL}: {error}") from None
        if "@" in parts.netloc:
            # Command lines and logs are read by others; the message must not repeat the password either.
            raise UsageError(
                "a broker's URL takes no user or password: write them into a file, the user in its first line and the"
                " password in its second, and name it with --credentials FILE"
            )
        if parts.scheme not in _PORTS or parts.path.strip("/") or parts.query or parts.fragment:
            raise UsageError(f"expected a broker like {DEFAULT_URL} or mqtts://example.org:8883, got {url!r}")
        user, password = _credentials(credentials) if credentials else (None, None)
        return cls(
            parts.hostname or "localhost",
            port or _PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            user=user,
            password=password,
        )


def _credentials(path: Path) -> tuple[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the credentials file {path}: {error}") from None
    if len(lines) < 2 or not lines[0].strip():
        raise UsageError(f"expected the user in the first line of {path} and the password in the second")
    return lines[0].strip(), lines[1].strip()


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
