"""Cameras that are read in a child process: a real RTSP stream, and children that hang or die."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edge.cameras import open_camera
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
