"""`edge-watch` over cameras that are stopped, frozen, restarted and cut off: it sees again within 30 s."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.broker import free_port
from tests.proxy import RtspProxy
from tests.webcam import RTSP_CAMERA, Server, require_rtsp, running

ROOT = Path(__file__).resolve().parents[1]
RECOVERS_S = 30.0
LOST, AGAIN, SEES = "opened again until it works", "frames come again", "watching "


class Watching:
    """A daemon in a process of its own, and what it says."""

    def __init__(self, folder: Path, source: str, before: str = "") -> None:
        script = f"import sys; from edge.__main__ import main; {before}\nsys.exit(main(sys.argv[1:]))"
        broker = f"mqtt://127.0.0.1:{free_port()}"
        environment = {name: value for name, value in os.environ.items() if name != "EDGE_WATCH_RESTARTS"}
        data = str(folder / "data")
        self.start([sys.executable, "-c", script, "--source", source, "--data", data, "--broker", broker], environment)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a daemon, and listen to it."""
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(line)

    def ends(self) -> int:
        """Wait for the end; its exit code."""
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self._listening.join()

    def until(self, text: str, seconds: float = RECOVERS_S) -> None:
        """Wait until a line has `text` in it; lines before it are passed over."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.said.append(self._lines.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                pytest.fail(f"{text!r} was not said within {seconds} s, but: {''.join(self.said)}")
            if text in self.said[-1]:
                return


@contextlib.contextmanager
def watching(folder: Path, source: str, before: str = "") -> Iterator[Watching]:
    daemon = Watching(folder, source, before)
    try:
        yield daemon
    finally:
        daemon.process.terminate()
        code = daemon.ends()
    assert code == 0


@pytest.fixture
def webcam() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def camera(kind: str) -> Iterator[tuple[Server | RtspProxy, str]]:
    """A camera of one kind, or the network before it, and its address."""
    if kind in ("rtsp", "rtsp behind a network"):
        require_rtsp()
        with running(RTSP_CAMERA) as found:
            if kind == "rtsp":
                yield found, found.url("stream", "rtsp")
                return
            with contextlib.closing(RtspProxy(found.port)) as network:
                yield network, f"rtsp://127.0.0.1:{network.port}/stream"
    else:
        with running() as found:
            yield found, found.url(kind)


KINDS = ("video", "shot.jpg", "rtsp")


@pytest.mark.parametrize(
    ("kind", "fail", "mend"),
    [
        *((kind, "stop", "start") for kind in KINDS),
        *((kind, "freeze", "thaw") for kind in KINDS),
        ("rtsp behind a network", "cut", "go_on"),
        ("rtsp behind a network", "stall", "go_on"),
    ],
)
def test_camera_that_fails_and_comes_back(
    tmp_path: Path, camera: tuple[Server | RtspProxy, str], fail: str, mend: str
) -> None:
    failing, url = camera
    with watching(tmp_path, url) as daemon:
        daemon.until(SEES)
        getattr(failing, fail)()
        daemon.until(LOST)
        getattr(failing, mend)()
        daemon.until(AGAIN)


def test_stream_that_is_cut_within_a_picture_again_and_again(tmp_path: Path, webcam: Server) -> None:
    with watching(tmp_path, webcam.url("cut")) as daemon:
        for _ in range(2):
            daemon.until(LOST)
            daemon.until(AGAIN)


def test_stream_that_repeats_its_last_picture_counts_as_stalled(tmp_path: Path, webcam: Server) -> None:
    with watching(tmp_path, webcam.url("same")) as daemon:
        daemon.until("expected new pictures, found the same one for 10 s")


IMPATIENT = "import edge.cameras.keeper as k; k.PATIENCE_S = 0.5; k.DELAYS_S = (0.3, 0.3)"


def test_program_begins_anew_when_opening_the_camera_does_not_help(tmp_path: Path, webcam: Server) -> None:
    with watching(tmp_path, webcam.url(), IMPATIENT + "; k.PATIENCE_S = 3") as daemon:
        daemon.until(SEES)
        webcam.stop()
        daemon.until("the program begins anew")
        webcam.start()
        daemon.until(SEES)


def test_program_ends_for_systemd_when_beginning_anew_does_not_help(tmp_path: Path, webcam: Server) -> None:
    daemon = Watching(tmp_path, webcam.url(), IMPATIENT)
    daemon.until(SEES)
    webcam.stop()
    daemon.until("the program begins anew")
    daemon.until("edge-watch: http://127.0.0.1")
    assert daemon.ends() == 1
    assert "expected new frames after opening it again and again" in daemon.said[-1]
