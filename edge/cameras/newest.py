"""The newest frame of a live camera: a thread reads without pause, and what nobody waited for is skipped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cameras import STALL
from edge.types import Frame
from models.errors import CameraError, EdgeWatchError, ImageError

Image = NDArray[np.uint8]
CLOSING_S = 3.0
"""How long the end waits for a read that is under way."""

log = logging.getLogger("edge-watch")


def _as_it_is(picture: Image) -> Image:
    return picture


class Newest:
    """Keeps the last picture that `read` gave, and counts those that the chain was too slow for.

    Args:
        read: returns one picture, blocking until there is one; raises CameraError.
        close: releases the camera; called by the thread that reads, because a driver must not be closed under a read.
        decode: makes (height, width, 3) uint8 BGR of what `read` returned, for those pictures only that are looked at;
            raises ImageError for a damaged one, which is counted as skipped.
    """

    def __init__(
        self, read: Callable[[], Any], close: Callable[[], None], decode: Callable[[Any], Image] = _as_it_is
    ) -> None:
        self._read, self._close, self._decode = read, close, decode
        self._changed = threading.Condition()
        self._picture: tuple[Any, datetime] | None = None
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
            deadline = due + STALL.total_seconds()
            while not stop.wait(max(0.0, due - time.monotonic())):
                due = self._due = max(due + 1 / frame_rate, time.monotonic())
                taken = self._take(stop, deadline)
                if taken is None:
                    return
                try:
                    image = self._decode(taken[0])
                except ImageError as error:
                    log.debug("%s", error)
                    self.skipped += 1
                    continue
                yield Frame(image, taken[1], index, source)
                index += 1
                deadline = time.monotonic() + STALL.total_seconds()
        finally:
            over.set()
            thread.join(CLOSING_S)

    def _take(self, stop: threading.Event, deadline: float) -> tuple[Any, datetime] | None:
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
                picture = self._read()
                with self._changed:
                    # A camera faster than asked skips nothing; a chain that comes too late for its next frame does.
                    self.skipped += self._picture is not None and time.monotonic() > self._due
                    self._picture = picture, datetime.now(UTC).astimezone()
                    self._changed.notify()
        except EdgeWatchError as error:
            with self._changed:
                self._error = error
                self._changed.notify()
        finally:
            self._close()
