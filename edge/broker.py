"""Where the MQTT broker is and how to prove who one is, read from a URL and a credentials file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import EdgeWatchError, UsageError

DEFAULT_URL = "mqtt://localhost:1883"
_PORTS = {"mqtt": 1883, "mqtts": 8883}


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
