"""What really happened, line by line on the disk: it knows nothing of the outbox, and outlives every kill."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path


class Ledger:
    """Where the trap writes down what it shows and stores, each line forced to the disk before it goes on.

    Lines are `{"at": SECONDS, "what": ..., "visit": N, ...}`; `at` is the computer's monotonic clock, which no fault
    touches and which goes on over restarts of the process.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, **values: object) -> None:
        line = json.dumps({"at": time.monotonic(), "what": what, **values}) + "\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)


@dataclass(slots=True)
class Visit:
    """What is known of one visit.

    Attributes:
        number: from 0.
        species: what was shown.
        began: when it was shown (first, or again after a restart), in seconds of `Ledger`.
        ended: whether it was shown to its end.
        found: the ids under which it was ever to be stored.
        stored: those that the outbox has said to have stored, with the second of that.
    """

    number: int
    species: str
    began: float
    ended: bool = False
    found: list[str] = field(default_factory=list)
    stored: dict[str, float] = field(default_factory=dict)

    @property
    def owed(self) -> bool:
        """Whether somebody must hear of it: it was stored, or shown for long enough with nobody killing the trap."""
        return self.ended or bool(self.stored)


class Truth:
    """The visits in a ledger; reads on where it stopped."""

    def __init__(self, path: Path) -> None:
        self.visits: dict[int, Visit] = {}
        self._path, self._read = path, 0

    def look(self) -> Truth:
        """Read what was written since the last look; a line that is not finished waits."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    if line.endswith(b"\n"):
                        self._read += len(line)
                        self._take(json.loads(line))
        return self

    def _take(self, line: dict[str, object]) -> None:
        number, at = int(str(line["visit"])), float(str(line["at"]))
        if line["what"] == "begins":
            visit = self.visits.setdefault(number, Visit(number, str(line["species"]), at))
            visit.began = at
            return
        visit = self.visits[number]
        if line["what"] == "ends":
            visit.ended = True
        elif line["what"] == "found":
            visit.found.append(str(line["id"]))
        else:
            visit.stored[str(line["id"])] = at

    @property
    def latest(self) -> Visit | None:
        return self.visits[max(self.visits)] if self.visits else None

    @property
    def owed(self) -> list[Visit]:
        return [visit for visit in self.visits.values() if visit.owed]
