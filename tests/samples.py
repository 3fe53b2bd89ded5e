"""Sightings and alerts as the watch makes them, for tests of what happens to them afterwards."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np

from edge.telling.outbox import Outbox
from edge.telling.payloads import alert_messages
from edge.telling.topics import Topics
from edge.types import Alert, BBox, Deployment, Sighting

IST = timezone(timedelta(hours=5, minutes=30))
START = datetime(2026, 5, 1, 6, 15, 30, 250_000, tzinfo=IST)
TOPICS = Topics("trap 7")
ID = "0196889f-5a3a-7c1e-9b1f-3f6e2d4c5b6a"


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A small JPEG with a gradient."""
    row = np.linspace(0, 255, width, dtype=np.uint8)
    return cv2.imencode(".jpg", np.dstack([np.tile(row, (height, 1))] * 3))[1].tobytes()


def sighting(**changes: object) -> Sighting:
    made = Sighting(
        type="new",
        id=ID,
        species="Bengal tiger",
        scientific_name="Panthera tigris",
        observation_type="animal",
        probability=0.98765,
        event_start=START,
        last_seen=START + timedelta(seconds=2),
        event_end=None,
        lighting="day",
        frames=3,
        box=BBox(0.25, 0.5, 0.5, 0.25),
        frame_size=(64, 48),
        source="usb:0",
        replay=False,
        pictured=True,
        image=jpeg(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def alert(**changes: object) -> Alert:
    return Alert(sighting(**changes), Deployment("trap 7", 21.5, 79.25), "wildlife 1")


def alert_of_its_own(**changes: object) -> Alert:
    """An alert with an id that no other has."""
    return alert(id=str(uuid.uuid4()), **changes)


def put(outbox: Outbox, number: int = 1, **changes: object) -> list[str]:
    """Put alerts with ids of their own and their pictures into an outbox; return the ids."""
    made = [alert_of_its_own(**changes) for _ in range(number)]
    for each in made:
        assert outbox.put_alert(each, alert_messages(each))
    return [each.sighting.id for each in made]
