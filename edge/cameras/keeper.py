"""A live camera kept going for months: opened again when it stalls, given up when that does not help."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge.cameras import STALL, Camera
from edge.cameras.clock import Clock
from edge.types import Frame
from models.errors import CameraError, StuckCameraError

log = logging.getLogger("edge-watch")

PATIENCE_S = 300.0
"""Without a new frame for this long, opening the camera again does not help."""
DELAYS_S = (1.0, 10.0)
"""The first pause before it is opened again, and the longest; they double in between."""
FLAT = 16
"""A picture whose brightest and darkest values are this close shows nothing: it may stay the same all night."""


class Keeper:
    """A live camera that never ends by itself; its frames have a steady time (`edge.cameras.clock`).

    Attributes:
        stalls: how often frames stopped coming, or only repeated the last one.
        reopened: how often opening the camera again brought new frames.

    Args:
        open_camera: makes the camera's adapter, a new one each time.
        clock: gives frames their time.
        waiting: called about every second while there are no frames.
        patient: try for `PATIENCE_S` even if the camera cannot be opened the first time.
    """

    live = True

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        clock: Clock,
        waiting: Callable[[], None] = lambda: None,
        patient: bool = False,
    ) -> None:
        self._open, self.clock, self.waiting, self._patient = open_camera, clock, waiting, patient
        self._camera = open_camera()
        self.name = self._camera.name
        self._skipped_before = self.stalls = self.reopened = 0
        self._last: NDArray[np.uint8] | None = None
        self._new_at = 0.0

    @property
    def skipped(self) -> int:
        """Frames that nobody looked at, of all times that the camera was opened."""
        return self._skipped_before + self._camera.skipped

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the camera's frames until `stop` is set.

        Raises:
            CameraError: it cannot be opened the first time.
            StuckCameraError: no new frame for `PATIENCE_S`, however often it was opened.
        """
        index, delay, problem = 0, DELAYS_S[0], None
        self._new_at = time.monotonic()
        while True:
            try:
                for frame, new in self._until_stalled(stop):
                    if new and problem is not None:
                        log.warning("%s: frames come again", self.name)
                        self.reopened += 1
                        delay, problem = DELAYS_S[0], None
                    taken = self.clock.now()
                    yield dataclasses.replace(frame, timestamp=taken, index=index, timestamp_issues=self.clock.doubtful)
                    index += 1
                if stop.is_set():
                    return
                raise CameraError(f"{self.name}: expected frames without end, found the end; check the camera")
            except CameraError as error:
                if not (index or self._patient):
                    raise
                log.log(logging.DEBUG if problem else logging.WARNING, "%s; it is opened again until it works", error)
                self.stalls += problem is None
                problem = error
            if time.monotonic() - self._new_at > PATIENCE_S:
                raise StuckCameraError(
                    f"{self.name}: expected new frames after opening it again and again for {PATIENCE_S:.0f} s, found "
                    "none; check its power and cable, and see `edge-doctor`"
                ) from problem
            if not self._wait(stop, delay):
                return
            delay = min(2 * delay, DELAYS_S[1])
            self._skipped_before += self._camera.skipped
            self._camera = self._open()

    def _wait(self, stop: threading.Event, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.waiting()
            if stop.wait(min(1.0, seconds)):
                return False
        return not stop.is_set()

    def _until_stalled(self, stop: threading.Event) -> Iterator[tuple[Frame, bool]]:
        """The frames of a camera once opened, and whether each shows something else than the one before."""
        repeats_since: float | None = None
        for frame in self._camera.frames(stop):
            new = not self._repeats(frame.image)
            if new:
                repeats_since = None
            elif repeats_since is None:
                repeats_since = time.monotonic()
            elif time.monotonic() - repeats_since > STALL.total_seconds():
                raise CameraError(
                    f"{self.name}: expected new pictures, found the same one for {STALL.total_seconds():.0f} s; "
                    "restart the camera or its app"
                )
            yield frame, new
            if new:
                # After the chain has had it: a slow chain is no stalled camera.
                self._new_at = time.monotonic()

    def _repeats(self, image: NDArray[np.uint8]) -> bool:
        """Whether a picture is the last one to the bit; noise alone makes two pictures of a working camera differ."""
        last, self._last = self._last, image
        if last is None or last.shape != image.shape or not np.array_equal(last[::16, ::16], image[::16, ::16]):
            return False
        sample = image[::16, ::16]
        return int(sample.max()) - int(sample.min()) > FLAT and np.array_equal(last, image)
