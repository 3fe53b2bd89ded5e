"""A camera by its web address, as phone camera apps and network cameras serve it: MJPEG, or single pictures."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from edge.cameras import FRAME_RATE, STALL
from edge.cameras.newest import Newest
from edge.cameras.oddities import heard
from edge.types import Frame
from models.errors import CameraError, UsageError
from models.images import MAX_BYTES, decode_image

_LONGEST_LINE = 4096


class HttpCamera:
    """`http://` or `https://`: a stream of JPEGs (multipart/x-mixed-replace), or one picture that is asked for again.

    The JPEGs are read without OpenCV, because that would decode every one of the 30 a second that a phone sends.
    """

    live = True

    def __init__(self, url: str) -> None:
        self._url, self._opener = _opener(url)
        self.name = shown(url)
        self._newest: Newest | None = None

    @property
    def skipped(self) -> int:
        """Pictures that came while the one before was still being looked at, or that were damaged."""
        return self._newest.skipped if self._newest else 0

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the newest frames; see `edge.cameras.Camera`."""
        first = self._get()
        kind = first.headers.get_content_type()
        if kind.startswith("multipart/"):
            parts = pictures(first, str(first.headers.get_param("boundary") or ""))
            read = self._told(lambda: next(parts, b""))
        elif kind.startswith("image/"):
            read = self._told(self._asked(first, stop))
        else:
            first.close()
            raise CameraError(
                f"{self.name}: expected a stream or a picture (multipart/x-mixed-replace or image/jpeg), found {kind}; "
                "name the camera's video address, often .../video or .../shot.jpg"
            )
        self._newest = Newest(read, first.close, self._decode)
        yield from self._newest.frames(self.name, stop, FRAME_RATE)

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        # Some apps' pictures end in a way that libjpeg has a line to say of, for each of them.
        with heard():
            return decode_image(data, self.name)

    def _get(self) -> Any:
        return self._told(lambda: self._opener.open(self._url, timeout=STALL.total_seconds()))()

    def _asked(self, first: Any, stop: threading.Event) -> Callable[[], bytes]:
        """Read the picture that is there, then ask for it again at the rate at which frames are looked at."""
        answers, due = [first], time.monotonic()

        def read() -> bytes:
            nonlocal due
            stop.wait(due - time.monotonic())
            due = max(due + 1 / FRAME_RATE, time.monotonic())
            with answers.pop() if answers else self._get() as answer:
                return bytes(answer.read(MAX_BYTES))

        return read

    def _told(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """`work`, with whatever goes wrong on the way as a CameraError, an empty answer included."""

        def worked() -> Any:
            try:
                found = work()
            except urllib.error.URLError as error:  # an HTTPError is one
                problem = f"{error.code} {error.reason}" if isinstance(error, urllib.error.HTTPError) else error.reason
            except TimeoutError:
                problem = "none"
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                # http.client raises the last two when its answer is closed under a read.
                problem = str(error) or type(error).__name__
            else:
                if found:
                    return found
                problem = "the end of the stream"
            raise CameraError(
                f"{self.name}: expected a picture within {STALL.total_seconds():.0f} s, found {problem}; check that "
                "the camera is on, its address, and user and password (http://USER:PASSWORD@HOST/...)"
            )

        return worked


def pictures(stream: Any, boundary: str) -> Iterator[bytes]:
    """The parts of a multipart stream; one that is cut off is not given.

    Args:
        stream: has `read` and `readline`.
        boundary: as in the stream's header; some cameras announce it with its two dashes, some without.
    """
    mark = b"--" + boundary.strip().lstrip("-").encode()
    line = stream.readline(_LONGEST_LINE)
    while line:
        length = None
        while line.strip() == b"" or line.startswith(mark):
            line = stream.readline(_LONGEST_LINE)
            if not line:
                return
        while line.strip():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = min(int(value), MAX_BYTES)
            line = stream.readline(_LONGEST_LINE)
        if length is not None:
            data = stream.read(length)
            if len(data) < length:
                return
            yield data
            line = stream.readline(_LONGEST_LINE)
            continue
        found = bytearray()
        while (line := stream.readline(_LONGEST_LINE)) and not line.startswith(mark) and len(found) < MAX_BYTES:
            found += line
        if not line:
            return
        yield bytes(found)


def shown(url: str) -> str:
    """An address without user, password and query, which often holds a password too."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _opener(url: str) -> tuple[str, urllib.request.OpenerDirector]:
    """The address without user and password, and what opens it with them."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError("no host in it")
    except ValueError as error:
        raise UsageError(f"--source: expected an address like http://HOST:PORT/video, found {error}") from None
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, bare, user, password)
    return bare, urllib.request.build_opener(
        # No proxy: the camera hangs on the same tree.
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
