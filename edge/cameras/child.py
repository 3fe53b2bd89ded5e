"""The child's end of `edge.cameras.capture`: how a process that reads a camera begins, hears and answers.

It is told its source in the first line of standard input, then asked for a picture with each `?`; it ends when that
input does. An answer is `HEADER` and the pixels, or `HEADER` with no height and a message that says what is wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<IIIIIf")
"""Height and width of the picture that follows (BGR), how many were read since the one before, height and width of the
luma plane that follows it (none: 0), and lux (unknown: NaN). Without a height the width is a message's, in bytes."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class Child:
    """This process as one that only its parent ends.

    Attributes:
        source: what to read.
    """

    def __init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # The parent ends this process when it is done.
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        # Whatever a library prints must not get among the pixels.
        self._answers = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        source = b""
        while not source.endswith(b"\n"):
            byte = os.read(0, 1)
            if not byte:
                sys.exit(0)
            source += byte
        self.source = source.decode().strip()

    def asked(self) -> bool:
        """Wait for the next question; False when there will be none."""
        return os.read(0, 1) != b""

    def answer(
        self, image: NDArray[np.uint8], read: int, luma: NDArray[np.uint8] | None = None, lux: float | None = None
    ) -> None:
        """Hand over a (height, width, 3) uint8 BGR picture, and the same view as (about 180, ...) uint8 grey."""
        height, width = image.shape[:2]
        rows, columns = luma.shape if luma is not None else (0, 0)
        self._write(HEADER.pack(height, width, read, rows, columns, float("nan") if lux is None else lux))
        self._write(image.tobytes())
        if luma is not None:
            self._write(luma.tobytes())

    def complain(self, message: str) -> None:
        """Say why there is no picture."""
        said = message.encode()
        self._write(HEADER.pack(0, len(said), 0, 0, 0, 0.0))
        self._write(said)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        # A parent that wants no more has closed its end; that the questions are over is heard next.
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[self._answers.write(rest) :]
