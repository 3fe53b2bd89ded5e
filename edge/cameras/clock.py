"""The time of live frames: it never jumps within a visit, and knows whether anybody has set the clock yet."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger("edge-watch")

JUMP_S = 1.0
"""Less than this is adjusted away by the clock itself; more means that somebody set it."""
LONGEST_HELD_S = 3600.0
"""A visit that does not end must not keep the old time for ever."""
_CLOCK_NOT_SYNCHRONIZED = 5  # TIME_ERROR of adjtimex(2)


class Clock:
    """Wall-clock time that runs evenly, and follows a clock that was set only while `held` is False.

    A Raspberry Pi has no clock of its own: it starts with the time at which it was switched off, until the network
    tells it another. A visit that is going on then must neither end nor begin a second time.

    Args:
        wall: Unix seconds; may jump.
        steady: seconds that never jump.
        is_set: whether the wall clock has been set since the start of the computer.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        is_set: Callable[[], bool] | None = None,
    ) -> None:
        self._wall, self._steady, self._is_set = wall, steady, is_set or clock_is_set
        self._offset = wall() - steady()
        self._differs_since: float | None = None
        self._was_set = False
        self.held = False

    def now(self) -> datetime:
        """The time, in the local time zone."""
        steady = self._steady()
        jump = self._wall() - steady - self._offset
        if abs(jump) < JUMP_S:
            self._differs_since = None
        else:
            if self._differs_since is None:
                self._differs_since = steady
            if not self.held or steady - self._differs_since > LONGEST_HELD_S:
                log.warning("the clock was set %s by %.0f s", "forward" if jump > 0 else "back", abs(jump))
                self._offset, self._differs_since = self._offset + jump, None
        return datetime.fromtimestamp(steady + self._offset, UTC).astimezone()

    @property
    def doubtful(self) -> bool:
        """Whether the time that `now` gives may be wrong: the clock was not set yet, or that is not followed yet."""
        self._was_set = self._was_set or self._is_set()
        return not self._was_set or self._differs_since is not None


def clock_is_set() -> bool:
    """Whether this computer's clock was set, by the network or from a battery-backed clock at its start."""
    for battery_clock in Path("/sys/class/rtc").glob("*/hctosys"):
        if battery_clock.read_text(encoding="ascii").strip() == "1":
            return True
    # The first field of `struct timex` is what to change: nothing. It has about 200 bytes.
    return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _CLOCK_NOT_SYNCHRONIZED)
