"""What the children of `edge.cameras.capture` have in common: how they begin, hear and answer.

A child is told its source in the first line of standard input, then asked for a picture with each `?`; it ends when its
input does. An answer is `HEADER` and the pixels, or `HEADER` with no height and a message that says what is wrong.
"""

from __future__ import annotations

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


def begin() -> str:
    """Make this process one that only its parent ends; returns its source."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # The parent ends this process when it is done.
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    source = b""
    while not source.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        source += byte
    return source.decode().strip()


def asked() -> bool:
    """Wait for the next question; False when there will be none."""
    return os.read(0, 1) != b""


def answer(
    image: NDArray[np.uint8], read: int, luma: NDArray[np.uint8] | None = None, lux: float | None = None
) -> None:
    """Hand over a (height, width, 3) uint8 BGR picture, and the same view as (about 180, ...) uint8 grey."""
    height, width = image.shape[:2]
    rows, columns = luma.shape if luma is not None else (0, 0)
    header = HEADER.pack(height, width, read, rows, columns, float("nan") if lux is None else lux)
    _write(header, image.tobytes(), luma.tobytes() if luma is not None else b"")


def complain(message: str) -> None:
    """Say why there is no picture."""
    said = message.encode()
    _write(HEADER.pack(0, len(said), 0, 0, 0, 0.0), said)


def _write(*parts: bytes) -> None:
    try:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The parent wants no more; its end of the questions is heard next. The rest must not be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
