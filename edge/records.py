"""Visits as rows of the outbox's table `sightings`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from edge.looks import from_text, to_text
from edge.types import BBox, Sighting

_PLAIN = (
    *("id", "type", "species", "scientific_name", "observation_type", "probability"),
    *("lighting", "frames", "source", "replay", "pictured"),
    *("timestamp_issues", "count"),
)
_TIMES = ("event_start", "last_seen", "event_end")
_BOX = ("x", "y", "width", "height")
_SIZE = ("frame_width", "frame_height")
COLUMNS = (*_PLAIN, *_TIMES, *_BOX, *_SIZE, "members", "evidence")


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
