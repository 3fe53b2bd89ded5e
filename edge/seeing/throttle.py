"""How often the model is asked: a bucket of looks that refills slowly, for days on which the grass waves."""

from __future__ import annotations

import logging
from datetime import datetime

log = logging.getLogger("edge-watch")


class Bucket:
    """A token bucket on the frames' own time.

    Attributes:
        withheld: looks that were wanted and not granted, since the start.

    Args:
        rate: looks granted per second in the long run.
        burst: looks that may come at once after a quiet time.
    """

    def __init__(self, rate: float = 2.0, burst: int = 150) -> None:
        self.withheld = 0
        self._rate, self._burst, self._tokens = rate, burst, float(burst)
        self._last: datetime | None = None

    def granted(self, wanted: int, now: datetime) -> int:
        """How many of the looks wanted at a frame's time may be had; they are then spent."""
        # A clock that was set back gives nothing and takes nothing.
        passed = max(0.0, (now - self._last).total_seconds()) if self._last else 0.0
        self._tokens, self._last = min(self._burst, self._tokens + passed * self._rate), now
        granted = min(wanted, int(self._tokens))
        if granted < wanted and not self.withheld:
            log.warning("too much moves: the model is asked %g times a second; if plants do, see --masks", self._rate)
        self._tokens -= granted
        self.withheld += wanted - granted
        return granted
