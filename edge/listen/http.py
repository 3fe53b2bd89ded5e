"""One HTTP POST, and what its answer means for trying again."""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO
from urllib.parse import urlsplit

from edge.listen.answers import HopelessError, LaterError
from edge.listen.messages import printable
from models.errors import UsageError

_TIMEOUT_S = 20.0
_LONGEST_AFTER_S = 3600.0
_HOPELESS = (400, 409, 413, 415, 422)
"""Answers that find the message wrong. A wrong key, address or time can be set right: that is tried again."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without what was to be said."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def check_url(name: str, url: str, plain: bool) -> None:
    """Check a service's address.

    Raises:
        UsageError: no URL of HTTP, one with a password, or an unencrypted one to another machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"[{name}]: expected a url like https://example.org/hook, found one that is none") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or any(each.isspace() for each in url):
        raise UsageError(f"[{name}]: expected a url like https://example.org/hook, found one that is none")
    if "@" in parts.netloc:
        raise UsageError(f'[{name}]: expected a url without user and password; write authorization = "..." instead')
    if parts.scheme == "http" and not plain and not (host in ("localhost", "::1") or host.startswith("127.")):
        raise UsageError(
            f"[{name}]: expected a url with https://, found http:// to another machine; "
            "write plain = true if that network may read alerts"
        )


def check_secret(name: str, key: str, secret: str) -> None:
    """Check that something can be a header's value; the message does not repeat it.

    Raises:
        UsageError: it cannot.
    """
    if not secret.isascii() or not secret.isprintable():
        raise UsageError(f"[{name}]: expected {key} in printable ASCII letters of one line, found others")


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send JSON; return when it was taken.

    Raises:
        HopelessError: this message will never be taken.
        LaterError: nobody answers, or not now.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers}, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        with error:
            why = f"HTTP {error.code} {_words(error)}".strip()
            if error.code in _HOPELESS:
                raise HopelessError(why) from None
            raise LaterError(why, _after(error.headers.get("Retry-After"))) from None
    except (OSError, http.client.HTTPException) as error:
        raise LaterError(printable(str(error) or type(error).__name__, 200)) from None


def _words(error: urllib.error.HTTPError) -> str:
    """What the service says of it, in a line."""
    text = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        text = error.read(500)
    return printable(" ".join(text.decode(errors="replace").split()) or str(error.reason), 200)


def _after(text: str | None) -> float:
    """Seconds of a Retry-After; 0 for a date, which would need two clocks that agree."""
    return min(float(text), _LONGEST_AFTER_S) if text is not None and text.strip().isdecimal() else 0.0
