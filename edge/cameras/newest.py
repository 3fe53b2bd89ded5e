"""The newest frame of a live camera: a thread reads without pause, and what nobody waited for is skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from edge.cameras import STALL
from edge.types import Frame
from models.errors import CameraError, EdgeWatchError

Image = NDArray[np.uint8]
CLOSING_S = 3.0
"""How long the end waits for a read that is under way."""


class Newest:
    """Keeps the last picture that `read` gave, and counts those that the chain was too slow for.

    Args:
        read: returns one (height, width, 3) uint8 BGR picture, blocking until there is one; raises CameraError.
        close: releases the camera; called by the thread that reads, because a driver must not be closed under a read.
    """

    def __init__(self, read: Callable[[], Image], close: Callable[[], None]) -> None:
        self._read, self._close = read, close
        self._changed = threading.Condition()
        self._picture: tuple[Image, datetime] | None = None
        self._error: EdgeWatchError | None = None
        self._due = 0.0
        self.skipped = 0

    def frames(self, source: str, stop: threading.Event, frame_rate: float) -> Iterator[Frame]:
        """Yield the newest frame, at most `frame_rate` a second, until `stop` is set.

        Raises:
            CameraError: what `read` raised, or no frame for `STALL`.
        """
        over = threading.Event()
        # A daemon thread: a camera driver can hang where no signal reaches it, and must not keep the process alive.
        thread = threading.Thread(target=self._fill, args=(stop, over), name="camera", daemon=True)
        thread.start()
        try:
            index, due = 0, time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                due = self._due = max(due + 1 / frame_rate, time.monotonic())
                taken = self._take(stop)
                if taken is None:
                    return
                yield Frame(*taken, index, source)
                index += 1
        finally:
            over.set()
            thread.join(CLOSING_S)

    def _take(self, stop: threading.Event) -> tuple[Image, datetime] | None:
        deadline = time.monotonic() + STALL.total_seconds()
        with self._changed:
            while self._picture is None:
                if stop.is_set():
                    return None
                if self._error is not None:
                    raise self._error
                if time.monotonic() > deadline:
                    raise CameraError(
                        f"camera: expected a frame at least every {STALL.total_seconds():.0f} s, found "
                        "none; check its cable and power, and see `edge-doctor`"
                    )
                self._changed.wait(0.5)
            taken, self._picture = self._picture, None
            return taken

    def _fill(self, stop: threading.Event, over: threading.Event) -> None:
        try:
            while not (stop.is_set() or over.is_set()):
                image = self._read()
                with self._changed:
                    # A camera faster than asked skips nothing; a chain that comes too late for its next frame does.
                    self.skipped += self._picture is not None and time.monotonic() > self._due
                    self._picture = image, datetime.now(UTC).astimezone()
                    self._changed.notify()
        except EdgeWatchError as error:
            with self._changed:
                self._error = error
                self._changed.notify()
        finally:
            self._close()
