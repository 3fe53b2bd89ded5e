"""The same visits, whatever the pace, the threads and the interruptions."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.telling.outbox import FILE_NAME, Outbox
from tests.broker import Mosquitto, Subscriber

ROOT = Path(__file__).resolve().parents[1]
Row = tuple[str, str, str, str, int, float]


def command(source: str, data: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "edge", "--species", "tiger", "--source", source, "--data", str(data), *more]


def events(data: Path) -> list[Row]:
    """What was recorded of each visit."""
    columns = "id, species, event_start, event_end, frames, probability"
    with Outbox(data / FILE_NAME) as outbox:
        return outbox.run(lambda db: db.execute(f"SELECT {columns} FROM sightings ORDER BY row").fetchall())


@pytest.fixture
def short_clip(tmp_path: Path, shared: Path) -> Path:
    """Ten seconds in which a tiger comes in."""
    video = cv2.VideoCapture(str(shared / "data/scenes/dev01_tiger_day_cross.mp4"))
    path = tmp_path / "short.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (1280, 720))
    for number in range(70):
        read, image = video.read()
        assert read
        if number >= 20:
            writer.write(image)
    writer.release()
    return path


def test_every_replay_gives_the_same_visits_and_ids(tmp_path: Path, short_clip: Path) -> None:
    ways = {"full": [], "again": [], "two threads": ["--threads", "2"], "real": ["--pace", "real"]}
    found = {}
    for name, options in ways.items():
        run = command(str(short_clip), tmp_path / name, "--broker", "mqtt://127.0.0.1:9", *options)
        subprocess.run(run, cwd=ROOT, check=True, timeout=90, capture_output=True)
        found[name] = events(tmp_path / name)
    assert [row[1] for row in found["full"]] == ["tiger"]
    assert found["again"] == found["two threads"] == found["real"] == found["full"]


class Playing:
    """A phone that shows a clip from a moment on, to whoever looks, as if it happened now."""

    def __init__(self, clip: Path, first: float, last: float) -> None:
        video = cv2.VideoCapture(str(clip))
        rate = video.get(cv2.CAP_PROP_FPS)
        pictures: list[np.ndarray] = []
        while (read := video.read())[0]:
            pictures.append(read[1])
        self._jpegs = [
            cv2.imencode(".jpg", image)[1].tobytes() for image in pictures[round(first * rate) : round(last * rate)]
        ]
        self._rate, self._begun = rate, time.monotonic()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        while (number := int((time.monotonic() - self._begun) * self._rate)) < len(self._jpegs):
            data = self._jpegs[number]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(max(0.0, self._begun + (number + 1) / self._rate - time.monotonic()))


@contextlib.contextmanager
def phone(clip: Path, first: float, last: float) -> Iterator[str]:
    playing = Playing(clip, first, last)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                playing.serve(self)

        def log_message(self, format: str, *arguments: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/video"
        finally:
            server.shutdown()
            thread.join()


def test_kill_in_the_middle_of_a_live_visit_and_a_restart_give_one_id_and_one_alert(
    tmp_path: Path, shared: Path
) -> None:
    clip = shared / "data/scenes/dev02_tiger_day_pause.mp4"
    with Mosquitto(tmp_path) as broker, Subscriber(broker, ["edge-watch/#"]) as subscriber, phone(clip, 5, 28) as url:
        run = command(url, tmp_path / "data", "--broker", broker.url, "--deployment", "oak")
        with subprocess.Popen(run, cwd=ROOT) as daemon:
            subscriber.until(lambda: bool(subscriber.on("edge-watch/oak/alert/tiger")), 40)
            daemon.kill()
        [(first, _, _, end, seen, _)] = events(tmp_path / "data")
        assert end is None
        time.sleep(5)
        with subprocess.Popen(run, cwd=ROOT) as daemon:
            # An update is stored every ten seconds.
            subscriber.until(lambda: events(tmp_path / "data")[0][4] > seen, 30)
            daemon.terminate()
            assert daemon.wait(20) == 0
    [(id, species, start, end, _, _)] = events(tmp_path / "data")
    assert (id, species) == (first, "tiger")
    assert start < end
    with Outbox(tmp_path / "data" / FILE_NAME) as outbox:
        assert outbox.run(lambda db: db.execute("SELECT id FROM alerts").fetchall()) == [(first,)]

