"""What a trap's SQLite file knows of visits and alerts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from edge.deciding.looks import from_text, to_text
from edge.telling.database import Database
from edge.types import BBox, Sighting

# The columns of the table `sightings`.
_PLAIN = (
    *("id", "type", "species", "scientific_name", "observation_type", "probability"),
    *("lighting", "frames", "source", "replay", "pictured"),
    *("timestamp_issues", "count"),
)
_TIMES = ("event_start", "last_seen", "event_end")
_BOX = ("x", "y", "width", "height")
_SIZE = ("frame_width", "frame_height")
_MOST_LIKE = 5
COLUMNS = (*_PLAIN, *_TIMES, *_BOX, *_SIZE, "members", "evidence")


class Records(Database):
    """The visits that were recorded, the ids that were alerted, and what people said of them."""

    def open_sightings(self, source: str, since: datetime, now: datetime) -> list[Sighting]:
        """Visits at one source never ended, or last seen from `since` to `now`; oldest first, without pictures.

        A visit of the future was stored under a clock that ran ahead: it is ended, but cannot go on.
        """
        return self._sightings(
            "source = ? AND (type != 'end' OR last_seen_unix BETWEEN ? AND ?) ORDER BY last_seen_unix, row",
            *(source, since.timestamp(), now.timestamp()),
        )

    def alerted(self, id: str) -> bool:
        return self.read(lambda db: db.execute("SELECT 1 FROM alerts WHERE id = ?", (id,)).fetchone()) is not None

    def last_alert(self, species: str, source: str | None = None) -> datetime | None:
        """The `event_start` of a species' latest alert, from all sources or from one."""
        row = self.read(
            lambda db: db.execute(
                "SELECT event_start FROM alerts WHERE species = ? AND (? IS NULL OR source = ?)"
                " ORDER BY event_start_unix DESC LIMIT 1",
                (species, source, source),
            ).fetchone()
        )
        return datetime.fromisoformat(row[0]) if row else None

    def sightings_like(self, begin: str) -> list[Sighting]:
        """Visits whose id begins so, newest first, `_MOST_LIKE` at most; no wildcards."""
        return self._sightings("substr(id, 1, ?) = ? ORDER BY row DESC LIMIT ?", len(begin), begin, _MOST_LIKE)

    def sighting(self, id: str) -> Sighting | None:
        """The visit with this id."""
        return next(iter(self._sightings("id = ?", id)), None)

    def corrected(self, id: str) -> str | None:
        """What somebody said that a visit shows; None if nobody did."""
        found = self.read(lambda db: db.execute("SELECT corrected FROM sightings WHERE id = ?", (id,)).fetchone())
        return found[0] if found else None

    def newest_sightings(self, limit: int) -> list[Sighting]:
        """The visits that began last, newest first."""
        return self._sightings("1 ORDER BY row DESC LIMIT ?", limit)

    def _sightings(self, where: str, *values: object) -> list[Sighting]:
        return self.read(lambda db: find(db, where, *values))

    def correct(self, id: str, species: str | None) -> Sighting | None:
        """Note what somebody says that a visit shows: None for what was said of it, an empty text for something else.

        Returns:
            The visit as it was recorded; None if there is none with this id.
        """

        def work(db: sqlite3.Connection) -> Sighting | None:
            found = find(db, "id = ?", id)
            said = found[0].species if found and species is None else species
            db.execute("UPDATE sightings SET corrected = ? WHERE id = ?", (said, id))
            return found[0] if found else None

        return self.run(work)

    def sound(self, table: str, row: Mapping[str, Any]) -> bool:
        """Whether a row that was saved from a damaged file is one that this program wrote."""
        try:
            if table == "messages":
                binary = row["picture"] or not row.get("receipt", True)  # a picture, or the compact form
                return binary or isinstance(json.loads(row["payload"]), dict)
            if table == "alerts":
                datetime.fromisoformat(row["event_start"])
            if table == "sightings":
                read([row[name] for name in COLUMNS])
        except (ValueError, TypeError, AttributeError):
            return False
        return True


def store(db: sqlite3.Connection, sighting: Sighting) -> None:
    """Record a visit in place of what was recorded of it; what people said of it stays."""
    row = {
        **{name: getattr(sighting, name) for name in _PLAIN},
        **{name: moment.isoformat() if (moment := getattr(sighting, name)) else None for name in _TIMES},
        **dict(zip(_BOX, sighting.box.as_tuple(), strict=True)),
        **dict(zip(_SIZE, sighting.frame_size, strict=True)),
        "members": ",".join(sighting.members),
        "evidence": to_text(sighting.evidence, sighting.event_start),
        "last_seen_unix": sighting.last_seen.timestamp(),
    }
    updates = ", ".join(f"{column} = excluded.{column}" for column in row if column != "id")
    db.execute(
        f"INSERT INTO sightings ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        f" ON CONFLICT (id) DO UPDATE SET {updates}",
        tuple(row.values()),
    )


def find(db: sqlite3.Connection, where: str, *values: object) -> list[Sighting]:
    """Visits without their pictures; `where` goes on to the end of the statement."""
    rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM sightings WHERE {where}", values).fetchall()
    return [read(row) for row in rows]


def read(row: Sequence[Any]) -> Sighting:
    """A visit from the values of `COLUMNS`.

    Raises:
        ValueError, TypeError: they were not written by `store`.
    """
    values = dict(zip(COLUMNS, row, strict=True))
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["members"] = tuple(filter(None, values["members"].split(",")))
    values["evidence"] = from_text(values["evidence"], values["event_start"])
    box = BBox(*(values.pop(name) for name in _BOX))
    width, height = (values.pop(name) for name in _SIZE)
    for name in ("replay", "pictured", "timestamp_issues"):
        values[name] = bool(values[name])
    return Sighting(**values, box=box, frame_size=(width, height))
