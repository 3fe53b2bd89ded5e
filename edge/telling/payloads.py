"""What goes over MQTT: the topics, and the messages as other programs read them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from edge.recording.pictures import described
from edge.telling.commands import Moment
from edge.telling.topics import DEFAULT_PREFIX, Topics

if TYPE_CHECKING:
    # edge.types needs numpy, which edge-listen does without.
    from edge.types import Alert, Deployment, Sighting

SCHEMA_VERSION = 1

# What is sent first; when space runs out, the reverse is what is dropped first.
ALERT_PRIORITY = 0
PICTURE_PRIORITY = 1

Status = Literal["online", "offline", "sleeping"]
Pictures = Literal["whole", "crop", "nothing"]
Link = Literal["lan", "cell", "satellite"]
"""What a trap talks over: it decides what is sent at once."""

# What a JSON Schema says of a value beside its type, for edge.telling.schemas; to all others these are the plain types.
Version = Annotated[int, ("const", SCHEMA_VERSION)]
Uuid = Annotated[str, ("format", "uuid")]
Share = Annotated[float, ("minimum", 0), ("maximum", 1)]
Count = Annotated[int, ("minimum", 0)]
AtLeastOne = Annotated[int, ("minimum", 1)]
Measure = Annotated[float, ("minimum", 0)]
Latitude = Annotated[float, ("minimum", -90), ("maximum", 90)]
Longitude = Annotated[float, ("minimum", -180), ("maximum", 180)]
Shares = Annotated[list[Share], ("minItems", 4), ("maxItems", 4)]
Pixels = Annotated[list[int], ("minItems", 4), ("maxItems", 4)]
Empty = Annotated[list[str], ("maxItems", 0)]


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message; `id` (a user property over MQTT 5) is the alert's and is the same on every retry.

    `priority`: the lowest is sent first. `picture`: its payload is an image, which may be dropped before text is.
    `receipt`: where subscribers tell what they have stored, it is kept until one does.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    priority: int = ALERT_PRIORITY
    id: str = ""
    picture: bool = False
    receipt: bool = True


class Location(TypedDict):
    """Where a trap hangs, in degrees (WGS 84)."""

    latitude: Latitude
    longitude: Longitude


class AlertPayload(TypedDict):
    """`alert/<species>`: one per event, with the same `id` each time that it comes.

    `probability` is calibrated; `frames` support it so far, and `count` animals were seen at once. `members`: the
    look-alikes that share the evidence where `species` is a group. `event_end` is null while the visit goes on.
    `lighting`: `night` is an infrared-grey picture. `box` is [x, y, width, height] as shares 0-1 of the picture, from
    top left. `image_topic` and `location` are null where there is none, or it is not told. `replay`: of a recording.
    `timestamp_issues`: the trap's clock was not set. `test`: somebody asked for it, and nothing was seen.
    """

    schema_version: Version
    id: Uuid
    deployment: str
    species: str
    scientific_name: str
    probability: Share
    event_start: Moment
    event_end: Moment | None
    lighting: Literal["day", "night"]
    frames: Count
    count: AtLeastOne
    members: list[str]
    box: Shares
    image_topic: str | None
    location: Location | None
    model: str
    replay: bool
    timestamp_issues: bool
    test: bool


class ReplyPayload(TypedDict):
    """`reply`: the answer to the `command` with this `id`; `says` is one line."""

    schema_version: Version
    id: str
    command: str
    done: bool
    says: str


class FrigateObject(TypedDict):
    """A tracked object in Frigate's words: times in Unix seconds, `box` [left, top, right, bottom] in pixels."""

    id: Uuid
    camera: str
    frame_time: Measure
    label: str
    sub_label: None
    top_score: Share
    score: Share
    false_positive: bool
    start_time: Measure
    end_time: Measure | None
    box: Pixels
    area: Count
    ratio: Measure
    current_zones: Empty
    entered_zones: Empty
    has_snapshot: bool
    has_clip: bool
    active: bool
    stationary: bool


class EventPayload(TypedDict):
    """`events`: a change of a visit; with `new` there is no past, and `before` repeats `after`."""

    type: Literal["new", "update", "end"]
    before: FrigateObject
    after: FrigateObject


@dataclass(frozen=True, slots=True)
class Health:
    """How a trap is doing; None for what it cannot know. `next_contact_by`: Unix seconds, UTC.

    `frames` were looked at and `skipped` were not, since the start. `outbox_depth` messages wait: `refused` of them
    because the broker refused them (`refused_why` is what it said last), `unheard` because nobody is subscribed, and
    `awaiting`, which the broker has, for a receipt. `dropped` were deleted for lack of space. `set_aside`: the outbox
    was damaged, and begun anew. `sent` is when this was told, by the trap's clock (Unix seconds), `link` for which kind
    of link. No alerts of the `snoozed` leave, an empty name stands for all; `commands_refused` were none. `withheld`
    looks of the model were wanted and not granted, since the start; `spots` places keep moving without an animal and
    are looked at seldom. `tampering`: `dark`, `covered`, `blurred` or `turned` for minutes; None if all is well. `lux`:
    how much light the camera says there is. `stalls`: how often a live camera stopped giving new frames; `reopened`:
    how often opening it again helped; `restarts`: how often the program began anew because that did not help.
    """

    uptime_s: Measure
    frames: Count
    skipped: Count
    inference_ms: Measure | None
    temperature_c: float | None
    disk_free_mb: Measure | None
    outbox_depth: Count
    dropped: Count
    refused: Count
    unheard: Count
    next_contact_by: Measure
    withheld: Count = 0
    spots: Count = 0
    tampering: Literal["dark", "covered", "blurred", "turned"] | None = None
    lux: Measure | None = None
    stalls: Count = 0
    reopened: Count = 0
    restarts: Count = 0
    people: Count = 0
    sent: Measure = 0.0
    link: Link = "lan"
    awaiting: Count = 0
    refused_why: str | None = None
    commands_refused: Count = 0
    snoozed: tuple[str, ...] = ()
    set_aside: bool = False


def alert_messages(
    alert: Alert, prefix: str = DEFAULT_PREFIX, pictures: Pictures = "whole", index: int | None = None
) -> tuple[Message, ...]:
    """The alert's text and what is sent of its picture, if there is one, all with the alert's id.

    Args:
        alert: what is told.
        prefix: what every topic begins with.
        pictures: what is sent of the picture before anybody asks.
        index: the species' in the model's labels, to send the compact form too; None not to.
    """
    sighting = alert.sighting
    topics = Topics(alert.deployment.name, prefix)
    jpeg = _picture(alert, pictures)
    image_topic = topics.image(sighting.species) if jpeg else None
    found = [Message(topics.alert(sighting.species), encode(alert_payload(alert, image_topic)), id=sighting.id)]
    if index is not None:
        from edge.telling import compact

        # A time that does not fit, as of a recording from before 1970, is told in words alone.
        with contextlib.suppress(ValueError):
            payload = compact.encode(alert, index)
            found.append(Message(topics.compact(sighting.species), payload, id=sighting.id, receipt=False))
    if jpeg:
        found.append(picture_message(topics, sighting, jpeg))
    return tuple(found)


def picture_message(topics: Topics, sighting: Sighting, jpeg: bytes) -> Message:
    """A picture of a visit that says of itself what it shows (`edge.recording.pictures.described`)."""
    topic = topics.image(sighting.species)
    return Message(topic, jpeg, priority=PICTURE_PRIORITY, id=sighting.id, picture=True)


def _picture(alert: Alert, pictures: Pictures) -> bytes | None:
    sighting = alert.sighting
    if sighting.image is None or pictures == "nothing":
        return None
    whole = described(sighting.image, sighting, alert.deployment, alert.model)
    if pictures == "whole":
        return whole
    from edge.recording.thin import CROP_BYTES, cropped

    metadata = len(whole) - len(sighting.image)
    crop = cropped(sighting.image, sighting.box, CROP_BYTES - metadata)
    return None if crop is None else described(crop, sighting, alert.deployment, alert.model)


def alert_payload(alert: Alert, image_topic: str | None) -> AlertPayload:
    sighting = alert.sighting
    return {
        "schema_version": SCHEMA_VERSION,
        "id": sighting.id,
        "deployment": alert.deployment.name,
        "species": sighting.species,
        "scientific_name": sighting.scientific_name,
        "probability": round(sighting.probability, 4),
        "event_start": sighting.event_start.isoformat(timespec="milliseconds"),
        "event_end": sighting.event_end.isoformat(timespec="milliseconds") if sighting.event_end else None,
        "lighting": sighting.lighting,
        "frames": sighting.frames,
        "count": sighting.count,
        "members": list(sighting.members),
        "box": [round(value, 4) for value in sighting.box.as_tuple()],
        "image_topic": image_topic,
        "location": _location(alert.deployment),
        "model": alert.model,
        "replay": sighting.replay,
        "timestamp_issues": sighting.timestamp_issues,
        "test": alert.test,
    }


def _location(deployment: Deployment) -> Location | None:
    if deployment.latitude is None or deployment.longitude is None:
        return None
    return {"latitude": deployment.latitude, "longitude": deployment.longitude}


def event_message(
    topics: Topics, kind: Literal["new", "update", "end"], before: FrigateObject, after: FrigateObject
) -> Message:
    """A sighting's change on `events`."""
    payload: EventPayload = {"type": kind, "before": before, "after": after}
    return Message(topics.events, encode(payload), qos=0, id=after["id"])


def frigate_object(sighting: Sighting, camera: str) -> FrigateObject:
    box = _pixels(sighting)
    over = sighting.event_end is not None
    return {
        "id": sighting.id,
        "camera": camera,
        "frame_time": sighting.last_seen.timestamp(),
        "label": sighting.species,
        "sub_label": None,
        "top_score": round(sighting.probability, 4),
        "score": round(sighting.probability, 4),
        "false_positive": False,
        "start_time": sighting.event_start.timestamp(),
        "end_time": sighting.event_end.timestamp() if sighting.event_end else None,
        "box": box,
        "area": (box[2] - box[0]) * (box[3] - box[1]),
        "ratio": round((box[2] - box[0]) / max(1, box[3] - box[1]), 2),
        "current_zones": [],
        "entered_zones": [],
        "has_snapshot": sighting.pictured,
        "has_clip": sighting.has_clip,
        "active": not over,
        "stationary": False,
    }


def _pixels(sighting: Sighting) -> list[int]:
    """[left, top, right, bottom]: Frigate counts in pixels."""
    (width, height), box = sighting.frame_size, sighting.box
    return [
        round(box.x * width),
        round(box.y * height),
        round((box.x + box.width) * width),
        round((box.y + box.height) * height),
    ]


def health_message(topics: Topics, health: Health) -> Message:
    return Message(topics.health, encode({"schema_version": SCHEMA_VERSION, **asdict(health)}), qos=0, retain=True)


def reply_message(topics: Topics, id: str, command: str, done: bool, says: str) -> Message:
    """The answer to a command."""
    payload: ReplyPayload = {
        "schema_version": SCHEMA_VERSION, "id": id, "command": command, "done": done, "says": says
    }  # fmt: skip
    return Message(topics.reply, encode(payload), id=id)


def status_message(topics: Topics, status: Status) -> Message:
    return Message(topics.status, status.encode(), qos=1, retain=True)


def encode(payload: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
