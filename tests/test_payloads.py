"""The topics and messages, field by field: other people's programs read these."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from edge.recording import exif
from edge.telling.payloads import (
    Health,
    Message,
    alert_messages,
    event_message,
    frigate_object,
    health_message,
    status_message,
)
from edge.telling.topics import Topics
from edge.types import Alert, Deployment
from models.errors import UsageError
from tests.samples import ID, START, alert, sighting

TOPICS = Topics("trap-7")


@pytest.mark.parametrize(
    ("species", "level"),
    [
        ("tiger", "tiger"),
        ("Bengal tiger", "bengal%20tiger"),
        ("red_fox", "red_fox"),
        ("White-tailed deer", "white%2Dtailed%20deer"),
        ("a/b+c#d%e", "a%2Fb%2Bc%23d%25e"),
        ("Blässhuhn", "bl%C3%A4sshuhn"),
    ],
)
def test_species_in_a_topic(species: str, level: str) -> None:
    assert TOPICS.alert(species) == f"edge-watch/trap-7/alert/{level}"
    assert TOPICS.image(species) == f"edge-watch/trap-7/alert/{level}/image"


@pytest.mark.parametrize(
    ("deployment", "level"),
    [
        ("trap-7", "trap-7"),
        ("Trap_7.b", "Trap_7.b"),
        ("north/trap 7", "north%2Ftrap%207"),
        ("+", "%2B"),
        ("#1", "%231"),
        ("šuma", "%C5%A1uma"),
        ("a\x00b", "a%00b"),
    ],
)
def test_deployment_in_a_topic(deployment: str, level: str) -> None:
    topics = Topics(deployment)
    assert topics.status == f"edge-watch/{level}/status"
    assert topics.events == f"edge-watch/{level}/events"
    assert topics.health == f"edge-watch/{level}/health"


def test_prefix_is_configurable() -> None:
    assert Topics("t", "park/traps").status == "park/traps/t/status"
    assert alert_messages(alert(), "park")[0].topic == "park/trap%207/alert/bengal%20tiger"


@pytest.mark.parametrize("prefix", ["", "a/#", "+", "/a", "a/", "$SYS", "a\x00"])
def test_prefix_that_is_no_topic_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="expected a topic prefix like edge-watch"):
        Topics("t", prefix)


def test_deployment_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="--deployment"):
        Topics("")


def test_alert_json() -> None:
    text, picture = alert_messages(alert())
    assert json.loads(text.payload) == {
        "schema_version": 1,
        "id": ID,
        "deployment": "trap 7",
        "species": "Bengal tiger",
        "scientific_name": "Panthera tigris",
        "probability": 0.9877,
        "event_start": "2026-05-01T06:15:30.250+05:30",
        "event_end": None,
        "lighting": "day",
        "frames": 3,
        "count": 1,
        "members": [],
        "box": [0.25, 0.5, 0.5, 0.25],
        "image_topic": "edge-watch/trap%207/alert/bengal%20tiger/image",
        "location": {"latitude": 21.5, "longitude": 79.25},
        "model": "wildlife 1",
        "replay": False,
        "timestamp_issues": False,
        "test": False,
    }
    assert replace(text, payload=b"") == Message("edge-watch/trap%207/alert/bengal%20tiger", b"", 1, False, 0, ID)
    assert replace(picture, payload=b"") == Message(
        "edge-watch/trap%207/alert/bengal%20tiger/image", b"", 1, False, 1, ID, picture=True
    )


def test_alert_without_picture_or_place() -> None:
    (text,) = alert_messages(Alert(sighting(image=None, replay=True), Deployment("t"), "wildlife 1"))
    payload = json.loads(text.payload)
    assert (payload["image_topic"], payload["location"], payload["replay"]) == (None, None, True)


def test_alert_picture_says_which_and_when() -> None:
    _, picture = alert_messages(alert())
    taken = (START + timedelta(seconds=2)).replace(microsecond=0)
    assert exif.read(picture.payload) == exif.Exif(ID, taken)
    assert exif.read(picture.payload).taken.utcoffset() == timedelta(hours=5, minutes=30)  # type: ignore[union-attr]


def test_event_is_in_frigates_words() -> None:
    assert frigate_object(sighting(), "trap-7") == {
        "id": ID,
        "camera": "trap-7",
        "frame_time": START.timestamp() + 2,
        "label": "Bengal tiger",
        "sub_label": None,
        "top_score": 0.9877,
        "score": 0.9877,
        "false_positive": False,
        "start_time": START.timestamp(),
        "end_time": None,
        "box": [16, 24, 48, 36],
        "area": 384,
        "ratio": 2.67,
        "current_zones": [],
        "entered_zones": [],
        "has_snapshot": True,
        "has_clip": False,
        "active": True,
        "stationary": False,
    }


def test_event_has_a_past_and_an_end() -> None:
    end = START + timedelta(seconds=9)
    over = sighting(type="end", event_end=end, last_seen=end, probability=0.5, image=None)
    before, after = (frigate_object(each, "trap-7") for each in (sighting(), over))
    message = event_message(TOPICS, "end", before, after)
    assert json.loads(message.payload) == {"type": "end", "before": before, "after": after}
    assert (after["score"], after["end_time"], after["active"]) == (0.5, end.timestamp(), False)
    assert (after["box"], after["area"], after["ratio"], after["has_snapshot"]) == ([16, 24, 48, 36], 384, 2.67, True)
    assert (message.topic, message.qos, message.retain) == ("edge-watch/trap-7/events", 0, False)


def test_health_json() -> None:
    message = health_message(
        TOPICS, Health(60.5, 300, 2, 3.5, None, 812.0, 4, 1, 2, 3, 1777596330.0, 40, 2, "turned", 812.5, people=7)
    )
    assert json.loads(message.payload) == {
        "schema_version": 1,
        "uptime_s": 60.5,
        "frames": 300,
        "skipped": 2,
        "inference_ms": 3.5,
        "temperature_c": None,
        "disk_free_mb": 812.0,
        "outbox_depth": 4,
        "dropped": 1,
        "refused": 2,
        "unheard": 3,
        "next_contact_by": 1777596330.0,
        "withheld": 40,
        "spots": 2,
        "tampering": "turned",
        "lux": 812.5,
        "stalls": 0,
        "reopened": 0,
        "restarts": 0,
        "people": 7,
        "sent": 0.0,
        "link": "lan",
        "awaiting": 0,
        "refused_why": None,
        "commands_refused": 0,
        "snoozed": [],
        "set_aside": False,
    }
    assert (message.topic, message.qos, message.retain) == ("edge-watch/trap-7/health", 0, True)


def test_status() -> None:
    assert status_message(TOPICS, "online") == Message("edge-watch/trap-7/status", b"online", qos=1, retain=True)
