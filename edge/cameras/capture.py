"""Cameras that OpenCV reads, in a child process: a driver or stream that hangs there can be killed.

The child reads without pause, so that nothing piles up, and hands its newest picture over when it is asked for one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge.cameras import FRAME_RATE, STALL
from edge.cameras.child import HEADER
from edge.cameras.http import shown
from edge.types import Frame
from models.errors import CameraError, UsageError

log = logging.getLogger("edge-watch")

CLOSING_S = 3.0
"""How long a child may take to release the camera before it is killed, and then to be gone."""


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
    """A camera read in a process of its own.

    Args:
        name: as shown to people.
        what: what is expected to be there.
        source: what OpenCV opens: a number (V4L2) or an address. It goes through a pipe: a command line is readable by
            everybody, and an address may hold a password.
        help: what to do when there is no camera.
        module: the program that reads it; see `edge.cameras.child`.
        opening: how long the first frame may take.
    """

    live = True

    def __init__(
        self,
        name: str,
        what: str,
        source: str,
        help: str,
        module: str = "edge.cameras.reader",
        opening: timedelta = STALL,
    ) -> None:
        self.name, self._what, self._source, self._help = name, what, source, help
        self._module, self._opening = module, opening
        self.skipped = 0

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the newest frames; see `edge.cameras.Camera`."""
        child = subprocess.Popen(
            [sys.executable, "-m", self._module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            _send(child, self._source.encode() + b"\n")
            index, due = 0, time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                late = time.monotonic() - due
                due = max(due + 1 / FRAME_RATE, time.monotonic())
                _send(child, b"?")
                answer = self._answer(child, stop, index)
                if answer is None:
                    return
                frame, read = answer
                if index:
                    # A camera faster than asked skips nothing; a chain that comes too late for its next frame does.
                    self.skipped += max(0, min(read - 1, int(late * FRAME_RATE)))
                yield frame
                index += 1
        finally:
            _end(child, self.name)

    def _answer(self, child: subprocess.Popen[bytes], stop: threading.Event, index: int) -> tuple[Frame, int] | None:
        """The child's next frame, and how many it read for it; None when `stop` is set before it has come."""
        header = self._receive(child, HEADER.size, stop, first=index == 0)
        if header is None:
            return None
        height, width, read, rows, columns, lux = HEADER.unpack(header)
        data = self._receive(child, 3 * height * width + rows * columns if height else width, stop)
        if data is None:
            return None
        if not height:
            raise CameraError(data.decode())
        image: NDArray[np.uint8] = np.frombuffer(data, np.uint8, 3 * height * width).reshape(height, width, 3)
        luma: NDArray[np.uint8] = np.frombuffer(data, np.uint8, offset=image.size).reshape(rows, columns)
        taken, lux = datetime.now(UTC).astimezone(), None if math.isnan(lux) else lux
        return Frame(image, taken, index, self.name, luma=luma if luma.size else None, lux=lux), read

    def _receive(
        self, child: subprocess.Popen[bytes], size: int, stop: threading.Event, first: bool = False
    ) -> bytearray | None:
        """So many bytes from the child; None when `stop` is set before they have come."""
        assert child.stdout is not None
        patience = self._opening if first else STALL
        data, deadline = bytearray(size), time.monotonic() + patience.total_seconds()
        view, pipe = memoryview(data), child.stdout.fileno()
        while view:
            if stop.is_set():
                return None
            if time.monotonic() > deadline:
                problem = f"no frame for {patience.total_seconds():.0f} s"
                raise CameraError(f"{self.name}: expected {self._what}, found {problem}; {self._help}")
            if not select.select([pipe], [], [], 0.2)[0]:
                continue
            got = os.readv(pipe, [view])
            if not got:
                problem = "none that opens" if first else "the camera gone"
                raise CameraError(f"{self.name}: expected {self._what}, found {problem}; {self._help}")
            view = view[got:]
        return data


def _send(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    # A child that has ended is noticed when its answer is read.
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(data)


def _end(child: subprocess.Popen[bytes], name: str) -> None:
    """Let the child release the camera, and kill it if it does not."""
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        pipe.close()
    for last in (False, True):
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(CLOSING_S)
            return
        if not last:
            child.kill()
    # A driver can hold a process where no signal reaches it. Whoever waits for that end hangs too.
    log.warning("%s: process %d hangs in the camera's driver and was left behind", name, child.pid)
