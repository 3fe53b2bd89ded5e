"""Cameras that are read in a child process: a real RTSP stream, and children that hang or die."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edge.cameras import open_camera
from edge.cameras.capture import Capture
from edge.cameras.clock import Clock
from edge.cameras.keeper import Keeper
from edge.types import Frame
from models.errors import CameraError, UsageError
from tests.webcam import RTSP_CAMERA, Server, require_rtsp, running


@pytest.fixture(scope="module")
def camera() -> Iterator[Server]:
    require_rtsp()
    with running(RTSP_CAMERA) as found:
        yield found


def children(program: str = "edge.cameras.reader") -> list[int]:
    """The processes that this one has started to read a camera."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The number of the parent stands after the name, which is in brackets, and the state.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and program.encode() in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
    return found


def open_frames(camera: Server) -> tuple[Iterator[Frame], threading.Event]:
    stop = threading.Event()
    return open_camera(camera.url("stream", "rtsp")).frames(stop), stop


def test_stream_gives_its_newest_frames_and_its_process_ends_with_it(camera: Server) -> None:
    frames, stop = open_frames(camera)
    found = list(itertools.islice(frames, 4))
    assert [frame.index for frame in found] == [0, 1, 2, 3]
    assert {frame.image.shape for frame in found} == {(240, 320, 3)}
    assert all(frame.timestamp.tzinfo and not frame.replay and not frame.still for frame in found)
    # A white ball that moves.
    assert all((one.image != other.image).any() for one, other in itertools.pairwise(found))
    assert len(children()) == 1
    stop.set()
    assert list(frames) == []
    assert children() == []


def test_frames_that_the_chain_was_too_slow_for_are_counted(camera: Server) -> None:
    stop = threading.Event()
    stream = open_camera(camera.url("stream", "rtsp"))
    frames = stream.frames(stop)
    next(frames)
    next(frames)
    before = stream.skipped
    time.sleep(2)
    next(frames)
    next(frames)
    assert stream.skipped - before >= 5
    stop.set()
    assert list(frames) == []


def test_child_that_hangs_is_killed(camera: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, _ = open_frames(camera)
    next(frames)
    monkeypatch.setattr("edge.cameras.capture.STALL", timedelta(seconds=0.5))
    os.kill(children()[0], signal.SIGSTOP)
    with pytest.raises(CameraError, match="/stream: expected a stream, found no frame for 0 s"):
        next(frames)
    assert children() == []


def test_child_that_dies_is_a_camera_that_is_gone(camera: Server) -> None:
    frames, _ = open_frames(camera)
    next(frames)
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(CameraError, match="/stream: expected a stream, found the camera gone"):
        list(frames)


def test_stream_that_is_not_there_is_one_line_without_its_password() -> None:
    with pytest.raises(CameraError, match="found none that opens; check that the camera is on") as found:
        next(open_camera("rtsp://ranger:s3cret@127.0.0.1:1/stream").frames(threading.Event()))
    assert str(found.value).startswith("rtsp://127.0.0.1:1/stream: expected a stream")
    assert "s3cret" not in str(found.value)


def test_address_without_a_host_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="expected an address like rtsp://HOST:PORT/stream"):
        open_camera("rtsp://")


def test_password_is_not_on_the_command_line_of_the_child() -> None:
    frames = open_camera("rtsp://ranger:s3cret@127.0.0.1:1/stream").frames(threading.Event())
    lines: list[bytes] = []

    def look() -> None:
        while not lines:
            lines.extend(Path(f"/proc/{child}/cmdline").read_bytes() for child in children())

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(CameraError):
        next(frames)
    looking.join()
    assert b"edge.cameras.reader" in lines[0]
    assert b"s3cret" not in lines[0]


DRIVER = """
import itertools, sys
from tests.webcam import picture
pictures = [picture(number) for number in range(8)]
while True:
    # Whoever read from it was killed: the next one opens it.
    try:
        with open(sys.argv[1], "wb", buffering=0) as pipe:
            for each in itertools.cycle(pictures):
                pipe.write(each)
    except BrokenPipeError:
        pass
"""


class Driver:
    """Stands in for a camera's driver: a pipe of pictures, in which reading hangs without end after `hang`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "video0.mjpeg"
        os.mkfifo(self.path)
        self._process = subprocess.Popen([sys.executable, "-c", DRIVER, str(self.path)])

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with contextlib.closing(Driver(tmp_path)) as made:
        yield made


def test_child_that_hangs_in_its_driver_is_killed_and_the_camera_opened_again(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.cameras.capture.STALL", timedelta(seconds=5))
    monkeypatch.setattr("edge.cameras.keeper.DELAYS_S", (0.1, 0.1))
    usb = Keeper(lambda: Capture("usb:0", "a camera", str(driver.path), "plug it in"), Clock())
    # While the camera is being opened again it works again.
    usb.waiting = driver.go_on
    stop = threading.Event()
    frames = usb.frames(stop)
    assert [next(frames).image.shape for _ in range(3)] == [(48, 64, 3)] * 3
    [first] = children()
    driver.hang()
    while not usb.reopened:
        next(frames)
    [second] = children()
    assert second != first
    assert (usb.stalls, usb.reopened) == (1, 1)
    stop.set()
    assert list(frames) == []
    assert children() == []


def test_child_that_cannot_even_be_killed_is_left_behind(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr("subprocess.Popen.kill", lambda child: left.append(child))  # noqa: PLW0108
    monkeypatch.setattr("edge.cameras.capture.CLOSING_S", 0.1)
    stop = threading.Event()
    frames = Capture("usb:0", "a camera", str(driver.path), "plug it in").frames(stop)
    next(frames)
    os.kill(children()[0], signal.SIGSTOP)
    stop.set()
    assert list(frames) == []
    assert f"usb:0: process {left[0].pid} hangs in the camera's driver and was left behind" in caplog.messages
    monkeypatch.undo()
    left[0].kill()
    left[0].wait()
