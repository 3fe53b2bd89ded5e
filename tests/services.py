"""HTTP services of a test's own, on a free loopback port: one that answers as it is told, and Gundi's events API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.broker import free_port, wait_until


@dataclass(frozen=True)
class Request:
    """A POST as it came; names of headers in lower case, as their case means nothing."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


Answer = tuple[int, Mapping[str, str], bytes]
OK: Answer = (200, {}, b"{}")


class HttpService:
    """Collects requests; `answer` says what each gets. Not before `with` does it listen."""

    def __init__(self, answer: Callable[[Request], Answer] = lambda _: OK, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.answer = answer
        self.requests: list[Request] = []

    def __enter__(self) -> HttpService:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
                service.requests.append(request)
                code, headers, content = service.answer(request)
                self.send_response(code)
                for key, value in {"Content-Length": str(len(content)), "Connection": "close", **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.02))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, number: int) -> list[Request]:
        """The requests, once there are so many."""
        wait_until(lambda: len(self.requests) >= number)
        return self.requests


class Gundi(HttpService):
    """`POST /v2/events/` as Gundi's documentation has it: an API key, required attributes, one request in a while.

    Attributes:
        events: what it has taken.
        refused: the status codes of what it has not.
    """

    KEY = "0123-secret"

    def __init__(self, seconds_between: float = 0.0, port: int | None = None) -> None:
        super().__init__(self._answer, port)
        self.url = f"http://127.0.0.1:{self.port}/v2/events/"
        self.events: list[dict[str, object]] = []
        self.refused: list[int] = []
        self._between, self._last = seconds_between, 0.0

    def _answer(self, request: Request) -> Answer:
        code, says = self._judge(request)
        if code == 200:
            self.events.append(request.json)
        else:
            self.refused.append(code)
        return code, {"Content-Type": "application/json"}, json.dumps(says).encode()

    def _judge(self, request: Request) -> tuple[int, dict[str, object]]:
        now = time.monotonic()
        too_soon, self._last = now - self._last < self._between, now
        if request.path != "/v2/events/":
            return 404, {"detail": "Not Found"}
        if request.headers.get("apikey") != self.KEY:
            return 401, {"message": "Unauthorized"}
        if too_soon:
            return 429, {"message": "API rate limit exceeded"}
        if request.headers.get("content-type") != "application/json":
            return 415, {"detail": "Unsupported media type"}
        wrong = _wrong(request.json)
        return (400, {wrong: ["This field is required."]}) if wrong else (200, {"object_id": "1", "created_at": "now"})


def _wrong(event: dict[str, object]) -> str:
    """The attribute that is not as documented, if there is one."""
    for key in ("title", "event_type", "recorded_at"):
        if not isinstance(event.get(key), str) or not event[key]:
            return key
    if datetime.fromisoformat(str(event["recorded_at"])).tzinfo is None:
        return "recorded_at"
    location = event.get("location")
    if not isinstance(location, dict) or not all(isinstance(location.get(key), float) for key in ("lat", "lon")):
        return "location"
    allowed = {"source", "title", "event_type", "recorded_at", "location", "event_details"}
    return "" if set(event) <= allowed else "unknown"
