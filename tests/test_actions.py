"""Commands to a trap over a real broker: what each does, what it answers, and what is no command."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.deciding.alerts import alerts
from edge.recording import exif
from edge.recording.media import Recorder
from edge.settings import Settings
from edge.telling.actions import Actions
from edge.telling.commands import COMMANDS, MOST_BYTES, Command, MalformedCommandError, read_command, write_command
from edge.telling.heard import Snooze, is_new
from edge.telling.outbox import Outbox
from edge.telling.payloads import Message
from edge.types import Deployment
from models.errors import UnknownSpeciesError
from tests.broker import Mosquitto, Subscriber, start_publisher, wait_until
from tests.samples import ID, START, TOPICS, put, sighting

VALUES: dict[str, dict[str, object]] = {
    "ack": {"alert": ID, "part": "alert", "size": 7},
    "look": {},
    "test": {},
    "snooze": {"species": "tiger", "minutes": 5},
    "confirm": {"event": ID},
    "wrong": {"event": ID, "species": "leopard"},
    "picture": {"event": ID},
    "status": {},
}
TIGER = sighting(species="tiger", type="end", pictured_at=START)


@pytest.fixture
def actions(outbox: Outbox, tmp_path: Path) -> Actions:
    """Those of a trap that has seen a tiger, and kept its picture."""
    settings = Settings(species=("tiger",), data=tmp_path, deployment="trap 7", latitude=21.5, longitude=79.25)
    media = tmp_path / "media"
    recorder = Recorder(media, Deployment("trap 7"), "wildlife 1")
    assert list(recorder.record([TIGER])) == [TIGER]
    outbox.save_sighting(TIGER)
    return Actions(outbox, TOPICS, settings, "wildlife 1", media, lambda name: (name,), Snooze(outbox), set())


def told(actions: Actions, name: str, **values: object) -> tuple[bool, str]:
    """What the answer to a command says."""
    payload = write_command(name, **values)
    answer = actions.hear(name, payload)
    assert answer is not None
    said = json.loads(answer.payload)
    assert (answer.topic, said["command"], said["id"]) == ("edge-watch/trap%207/reply", name, json.loads(payload)["id"])
    return said["done"], said["says"]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_read_as_it_was_written(name: str) -> None:
    command = read_command(name, write_command(name, **VALUES[name]))
    assert {key: command.values[key] for key in VALUES[name]} == VALUES[name]
    assert str(uuid.UUID(command.id)) == command.id


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("reboot", b"{}", "expected one of ack, look, test, snooze, confirm, wrong, picture, status, found 'reboot'"),
        ("test", b"x" * (MOST_BYTES + 1), "expected 1000 bytes at most, found 1001"),
        ("test", b"", "expected JSON, found b''"),
        ("test", b"\xff\xfe", r"expected JSON, found b'\xff\xfe'"),
        ("test", b"[" * 900, "expected JSON, found b'[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[['"),
        ("test", b"null", "expected an object with id, issued, found b'null'"),
        ("test", b'{"id": "a"}', "expected an object with id, issued, found 'id'"),
        (
            "test",
            b'{"id": "a", "issued": "2026-05-01T06:15:30Z", "x": 1}',
            "expected an object with id, issued, found 'id, issued, x'",
        ),
        ("test", b'{"id": "", "issued": "2026-05-01T06:15:30Z"}', "expected id, found an empty text"),
        (
            "test",
            b'{"id": 7, "issued": "2026-05-01T06:15:30Z"}',
            "expected id to be 200 printable letters at most, found '7'",
        ),
        (
            "test",
            b'{"id": "a", "issued": "2026-05-01T06:15:30"}',
            "expected issued to be a time like 2026-05-01T06:15:30Z, found '2026-05-01T06:15:30'",
        ),
        (
            "test",
            b'{"id": "a", "issued": "9999-12-31T23:59:59-23:00"}',
            "expected issued to be a time like 2026-05-01T06:15:30Z, found '9999-12-31T23:59:59-23:00'",
        ),
        (
            "snooze",
            b'{"id": "a", "issued": "2026-05-01T06:15:30Z", "species": "", "minutes": NaN}',
            "expected minutes to be a number from 0 on, found nan",
        ),
        (
            "snooze",
            b'{"id": "a", "issued": "2026-05-01T06:15:30Z", "species": "", "minutes": true}',
            "expected minutes to be a number, found 'True'",
        ),
        (
            "ack",
            b'{"id": "a", "issued": "2026-05-01T06:15:30Z", "alert": "b", "part": "video", "size": 1}',
            "expected part to be alert or image, found 'video'",
        ),
    ],
)
def test_what_is_no_command_is_said_counted_and_not_answered(
    actions: Actions, name: str, payload: bytes, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(MalformedCommandError) as caught:
        read_command(name, payload)
    assert str(caught.value) == expected
    assert [actions.hear(name, payload) for _ in range(3)] == [None] * 3
    assert actions.refused == 3
    assert caplog.messages == [f"command/{name}: {expected}; 1 such commands so far were ignored"]


def test_command_is_obeyed_once(actions: Actions, outbox: Outbox) -> None:
    payload = write_command("test")
    first, second = (actions.hear("test", payload) for _ in range(2))
    assert first is not None
    assert json.loads(first.payload)["done"] is True
    assert second is not None
    assert json.loads(second.payload) == {
        "schema_version": 1, "id": json.loads(payload)["id"], "command": "test", "done": False,
        "says": "it was heard before, or is older than all that is remembered; send a new one",
    }  # fmt: skip
    assert outbox.depth() == 1


def issued_in(year: int) -> Command:
    return read_command("test", write_command("test", issued=f"{year}-05-01T06:15:30Z"))


def test_replay_is_known_whatever_the_trap_s_clock_says(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.telling.heard._MAX_COMMANDS", 3)
    heard = [issued_in(year) for year in (2010, 2040, 2020, 2030)]
    assert [is_new(outbox, each.id, each.issued) for each in heard] == [True] * 4
    # The first had to be forgotten: what is as old as it, or older than what is left, counts as heard.
    assert [is_new(outbox, each.id, each.issued) for each in heard] == [False] * 4
    early, late = issued_in(2015), issued_in(2025)
    assert [is_new(outbox, each.id, each.issued) for each in (early, late)] == [False, True]


def test_test_alert_goes_the_way_of_any_other_and_is_marked(actions: Actions, outbox: Outbox) -> None:
    done, says = told(actions, "test")
    [stored] = outbox.pending(10)
    found = json.loads(stored.message.payload)
    assert (done, says) == (True, f"test alert {found['id']} is on its way")
    assert (stored.message.topic, stored.message.id) == ("edge-watch/trap%207/alert/test", found["id"])
    assert {key: found[key] for key in ("test", "species", "image_topic", "location", "replay")} == {
        "test": True, "species": "test", "image_topic": None, "location": {"latitude": 21.5, "longitude": 79.25},
        "replay": False,
    }  # fmt: skip


def test_test_alerts_do_not_pile_up(actions: Actions, outbox: Outbox) -> None:
    put(outbox)
    for _ in range(5):
        told(actions, "test")
    assert outbox.depth() == 3


def test_picture_is_sent_when_asked_for_and_not_twice(actions: Actions, outbox: Outbox, tmp_path: Path) -> None:
    [file] = tmp_path.glob("media/*/*.jpg")
    assert told(actions, "picture", event=ID) == (True, f"a picture of {file.stat().st_size} bytes is on its way")
    assert told(actions, "picture", event=ID)[0]
    [stored] = outbox.pending(10)
    assert stored.message == Message(
        "edge-watch/trap%207/alert/tiger/image", file.read_bytes(), priority=1, id=ID, picture=True
    )
    assert exif.read(stored.message.payload).id == ID
    file.unlink()
    missing = f"expected a picture of event {ID}, found none: it was deleted, or never kept"
    assert told(actions, "picture", event=ID) == (False, missing)
    unknown = "expected the id of an event that this trap has recorded, found 0196889f"
    assert told(actions, "picture", event="0196889f") == (False, unknown)


def corrections(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("corrections/*/*"))


def test_corrections_are_kept_as_photos_to_train_with(actions: Actions, outbox: Outbox, tmp_path: Path) -> None:
    place = tmp_path / "corrections/tiger"
    assert told(actions, "confirm", event=ID) == (True, f"noted that {ID} shows tiger; its picture is kept in {place}")
    assert corrections(tmp_path) == [f"corrections/tiger/{ID}.jpg"]
    assert told(actions, "wrong", event=ID, species="snow leopard")[0]
    assert corrections(tmp_path) == [f"corrections/snow leopard/{ID}.jpg"]
    # It stays when the recorder deletes the first to make room.
    [file] = tmp_path.glob("media/*/*.jpg")
    file.unlink()
    assert exif.read((tmp_path / f"corrections/snow leopard/{ID}.jpg").read_bytes()).id == ID
    assert told(actions, "wrong", event=ID, species="") == (True, f"noted that {ID} shows no tiger")
    assert corrections(tmp_path) == []
    assert outbox.run(lambda db: db.execute("SELECT corrected FROM sightings").fetchall()) == [("",)]
    for name in ("../tiger", "/etc", ".hidden", "a/b"):
        expected = f"expected the name of a species, found {name!r}"
        assert told(actions, "wrong", event=ID, species=name) == (False, expected)


@pytest.mark.parametrize("name", ["person", "Homo sapiens", "people"])
def test_picture_of_a_person_is_never_sent(actions: Actions, outbox: Outbox, name: str) -> None:
    human = dataclasses.replace(TIGER, id="0196889f-5a3a-7c1e-9b1f-3f6e2d4c5b6b", species="deer")
    outbox.save_sighting(human)
    assert told(actions, "wrong", event=human.id, species=name)[0]
    said = f"expected an event without people, found {human.id}; pictures of people are not sent"
    assert told(actions, "picture", event=human.id) == (False, said)
    outbox.save_sighting(dataclasses.replace(TIGER, species="person", observation_type="human"))
    assert told(actions, "picture", event=ID) == (False, said.replace(human.id, ID))


def test_visit_of_a_person_that_goes_on_is_not_kept_either(actions: Actions, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "media", Deployment("trap 7"), "wildlife 1", forbidden=actions.people)
    going_on = dataclasses.replace(TIGER, type="update")
    told(actions, "wrong", event=ID, species="person")
    assert list(recorder.record([going_on, TIGER])) == [going_on, TIGER]
    assert list(tmp_path.glob("media/*/*")) == []


def test_picture_of_a_person_is_deleted_and_not_kept(actions: Actions, outbox: Outbox, tmp_path: Path) -> None:
    told(actions, "picture", event=ID)
    done, says = told(actions, "wrong", event=ID, species="person")
    assert (done, says) == (True, f"noted that {ID} shows person; what was kept of it is deleted (--people drop)")
    assert (list(tmp_path.glob("media/*/*.jpg")), corrections(tmp_path), outbox.depth()) == ([], [], 0)


def test_status_and_look_ask_for_what_they_say(actions: Actions) -> None:
    assert told(actions, "look") == (False, "expected edge-watch with --trigger mqtt, found it without; start it so")
    assert not actions.health_wanted.is_set()
    assert told(actions, "status") == (True, "health follows")
    assert actions.health_wanted.is_set()


def test_snooze_holds_alerts_back_also_after_a_restart(actions: Actions, outbox: Outbox) -> None:
    assert told(actions, "snooze", species="tiger", minutes=60) == (True, "no alerts of tiger for 60 minutes")
    for snooze in (actions.snooze, Snooze(outbox)):
        assert (snooze.active(), snooze.holds("tiger"), snooze.holds("lion")) == (("tiger",), True, False)
        assert list(alerts([TIGER], actions.settings, "m", snoozed=snooze.holds)) == []
    assert told(actions, "snooze", species="", minutes=0.5) == (True, "no alerts at all for 0.5 minutes")
    assert actions.snooze.holds("lion")
    assert told(actions, "snooze", species="", minutes=0) == (True, "alerts leave again")
    assert (actions.snooze.active(), Snooze(outbox).active()) == ((), ())
    assert [each.sighting for each in alerts([TIGER], actions.settings, "m", snoozed=actions.snooze.holds)] == [TIGER]
    assert told(actions, "snooze", species="lion", minutes=1) == (
        False, "expected one of those that are alerted of (tiger), found lion"
    )  # fmt: skip
    assert told(actions, "snooze", species="tiger", minutes=10081) == (
        False, "expected 10080 minutes at most, found 10081"
    )  # fmt: skip


def test_snooze_lasts_no_longer_than_was_asked_for(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Snooze(outbox).set("tiger", 60.0)
    # The clock was a day ahead when it was stored, and is right again.
    monkeypatch.setattr("edge.telling.heard.time.time", START.timestamp)
    restarted = Snooze(outbox)
    assert restarted.holds("tiger")
    assert 59 < restarted._until["tiger"] - time.monotonic() <= 60


@pytest.fixture
def sender(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        yield subscriber


def test_commands_over_a_broker_are_answered_and_retained_ones_are_not(
    mosquitto: Mosquitto, sender: Subscriber, actions: Actions, outbox: Outbox
) -> None:
    sender.publish(Message(TOPICS.command("test"), write_command("test"), retain=True))
    thread = start_publisher(outbox, mosquitto.url, commanded=actions)
    try:
        wait_until(lambda: thread.connected)
        sender.publish(Message(TOPICS.command("status"), b"x" * 100_000))
        sender.publish(Message(TOPICS.command("a/b"), b"x"))
        sender.publish(Message(TOPICS.command("status"), b"x"))
        sender.publish(Message(TOPICS.command("ack"), b"{}"))
        asked = write_command("picture", event=ID)
        sender.publish(Message(TOPICS.command("picture"), asked))
        sender.until(lambda: bool(sender.on(TOPICS.reply) and sender.on(TOPICS.image("tiger"))))
    finally:
        thread.stop()
    # What is too large, the broker kept back, and what has one level more is not subscribed to.
    assert actions.refused == 2
    assert [json.loads(each.payload)["id"] for each in sender.on(TOPICS.reply)] == [json.loads(asked)["id"]]
    assert sender.on(TOPICS.alert("test")) == []


def test_commands_wait_for_a_trap_that_is_away(
    mosquitto: Mosquitto, sender: Subscriber, actions: Actions, outbox: Outbox
) -> None:
    start_publisher(outbox, mosquitto.url, commanded=actions).stop(farewell="sleeping")
    sender.publish(Message(TOPICS.command("test"), write_command("test")))
    thread = start_publisher(outbox, mosquitto.url, commanded=actions)
    sender.until(lambda: bool(sender.on(TOPICS.alert("test")) and sender.on(TOPICS.reply)))
    thread.stop()
    sender.until(lambda: len(sender.on(TOPICS.status)) == 4)
    assert [each.payload for each in sender.on(TOPICS.status)] == [b"online", b"sleeping", b"online", b"offline"]


def test_snooze_of_a_name_that_the_model_has_lost_does_no_harm(outbox: Outbox) -> None:
    def meaning(name: str) -> tuple[str, ...]:
        raise UnknownSpeciesError("the model does not know it")

    Snooze(outbox).set("narwhal", 60)
    snooze = Snooze(outbox, meaning)
    assert [snooze.holds(name) for name in ("narwhal", "tiger")] == [True, False]


def test_snooze_ends_though_each_start_begins_in_the_past(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1777596330.0
    monkeypatch.setattr("edge.telling.heard.time.time", lambda: now)
    Snooze(outbox).set("tiger", 3600.0)
    monkeypatch.setattr("edge.telling.heard.time.time", lambda: 0.0)
    elapsed = time.monotonic()
    for start in range(3):
        monkeypatch.setattr("edge.telling.heard.time.monotonic", lambda: elapsed)  # noqa: B023
        snooze = Snooze(outbox)
        assert snooze.holds("tiger") == (start < 2)
        elapsed += 1900.0
        snooze.keep(ending=True)


@pytest.mark.parametrize(
    ("hidden", "location"),
    [
        ({}, {"latitude": 21.5, "longitude": 79.25}),
        ({"tiger": 0.5, "rhinoceros": 10.0}, {"latitude": 20.0, "longitude": 80.0}),
        ({"tiger": None, "rhinoceros": 10.0}, None),
    ],
)
def test_test_alert_says_no_more_of_the_place_than_any_other(
    actions: Actions, outbox: Outbox, hidden: dict[str, float | None], location: object
) -> None:
    actions.settings = dataclasses.replace(actions.settings, hide_location=hidden)
    told(actions, "test")
    [stored] = outbox.pending(10)
    assert json.loads(stored.message.payload)["location"] == location


def test_group_is_snoozed_with_its_members(outbox: Outbox) -> None:
    snooze = Snooze(outbox, {"big_cat": ("big_cat", "tiger", "lion")}.__getitem__)
    snooze.set("big_cat", 60)
    assert [snooze.holds(name) for name in ("tiger", "big_cat", "deer")] == [True, True, False]
    cats = dataclasses.replace(TIGER, species="big_cat", members=("tiger", "lion"))
    settings = Settings(species=("tiger", "big_cat", "deer"))
    assert list(alerts([cats], settings, "m", snoozed=snooze.holds)) == []
