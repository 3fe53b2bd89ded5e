"""Cameras that OpenCV reads, in a child process: a driver or stream that hangs there can be killed.

The child reads without pause, so that nothing piles up, and hands its newest picture over when it is asked for one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge.cameras import FRAME_RATE, STALL
from edge.cameras.http import shown
from edge.types import Frame
from models.errors import CameraError, UsageError

log = logging.getLogger("edge-watch")

CLOSING_S = 3.0
"""How long the end waits for a child that was killed."""
HEADER = struct.Struct("<III")
"""Height and width of the picture that follows (BGR), and how many were read since the one before."""


def usb_camera(number: int) -> Capture:
    """`/dev/videoN`, at most 1280 x 720."""
    help = "plug it in, or choose another --source (`ls /dev/video*` lists them)"
    return Capture(f"usb:{number}", f"a camera at /dev/video{number}", str(number), help)


def rtsp_camera(url: str) -> Capture:
    """A network camera's stream, over TCP."""
    if not urlsplit(url).netloc:
        raise UsageError(f"--source: expected an address like rtsp://HOST:PORT/stream, found {url!r}")
    help = "check that the camera is on, its address, and user and password (rtsp://USER:PASSWORD@HOST/...)"
    return Capture(shown(url), "a stream", url, help)


class Capture:
    """A camera read by `edge.cameras.reader` in a process of its own.

    Args:
        name: as shown to people.
        what: what is expected to be there.
        source: what OpenCV opens: a number (V4L2) or an address. It goes through a pipe: a command line is readable by
            everybody, and an address may hold a password.
        help: what to do when there is no camera.
    """

    live = True

    def __init__(self, name: str, what: str, source: str, help: str) -> None:
        self.name, self._what, self._source, self._help = name, what, source, help
        self.skipped = 0

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the newest frames; see `edge.cameras.Camera`."""
        child = subprocess.Popen(
            [sys.executable, "-m", "edge.cameras.reader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            _send(child, self._source.encode() + b"\n")
            index, due = 0, time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                late = time.monotonic() - due
                due = max(due + 1 / FRAME_RATE, time.monotonic())
                _send(child, b"?")
                header = self._receive(child, HEADER.size, stop, found_before=index > 0)
                height, width, read = HEADER.unpack(header) if header else (0, 0, 0)
                data = self._receive(child, 3 * height * width, stop, found_before=True)
                if not data:
                    return
                if index:
                    # A camera faster than asked skips nothing; a chain that comes too late for its next frame does.
                    self.skipped += max(0, min(read - 1, int(late * FRAME_RATE)))
                image: NDArray[np.uint8] = np.frombuffer(data, np.uint8).reshape(height, width, 3)
                yield Frame(image, datetime.now(UTC).astimezone(), index, self.name)
                index += 1
        finally:
            child.kill()
            try:
                child.wait(CLOSING_S)
            except subprocess.TimeoutExpired:
                # A driver can hold a process where no signal reaches it. Whoever waits for that end hangs too.
                log.warning("%s: process %d hangs in the camera's driver and was left behind", self.name, child.pid)
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _receive(
        self, child: subprocess.Popen[bytes], size: int, stop: threading.Event, found_before: bool
    ) -> bytearray | None:
        """So many bytes from the child; None when `stop` is set before they have come."""
        assert child.stdout is not None
        data, deadline = bytearray(size), time.monotonic() + STALL.total_seconds()
        view, pipe = memoryview(data), child.stdout.fileno()
        while view:
            if stop.is_set():
                return None
            if time.monotonic() > deadline:
                problem = f"no frame for {STALL.total_seconds():.0f} s"
                raise CameraError(f"{self.name}: expected {self._what}, found {problem}; {self._help}")
            if not select.select([pipe], [], [], 0.2)[0]:
                continue
            got = os.readv(pipe, [view])
            if not got:
                problem = "the camera gone" if found_before else "none that opens"
                raise CameraError(f"{self.name}: expected {self._what}, found {problem}; {self._help}")
            view = view[got:]
        return data


def _send(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    # A child that has ended is noticed when its answer is read.
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(data)
