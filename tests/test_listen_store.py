"""What `edge-listen` stores, acknowledges and answers to SQL."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.listen.forwards import Forwards
from edge.listen.listener import Listener as Loop
from edge.listen.messages import read_topic
from edge.listen.services import read_services
from edge.listen.store import Store
from edge.recording.exif import write
from edge.telling.commands import read_command
from edge.telling.mqtt import Received
from edge.telling.payloads import Message
from edge.telling.topics import Topics
from models.errors import OutboxError
from tests.broker import Subscriber, wait_until
from tests.listening import (
    BASE,
    LINE,
    NAME,
    PICTURE,
    REPOSITORY,
    TEXT,
    Listener,
    ask,
    changed,
    listening,
    send,
    stored,
)
from tests.samples import ID, START, jpeg

OTHER = "0196889f-5a3a-7c1e-9b1f-000000000002"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path) as made:
        yield made


def picture(width: int, height: int) -> Message:
    """A picture of the sample alert of another size."""
    return Message(PICTURE.topic, write(jpeg(width, height), id=ID, taken=START), id=ID)


def receipts(trap: Subscriber, number: int) -> list[tuple[object, ...]]:
    """The first receipts that a trap gets, as (alert, part, size)."""
    trap.until(lambda: len(trap.received) >= number)
    read = [read_command("ack", each.payload).values for each in trap.received]
    return [(each["alert"], each["part"], each["size"]) for each in read]


def test_each_stored_message_gets_a_receipt_every_time(listener: Listener) -> None:
    listener.start()
    with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
        for message in (TEXT, PICTURE, TEXT, PICTURE):
            trap.publish(message)
        text, image = (ID, "alert", len(TEXT.payload)), (ID, "image", len(PICTURE.payload))
        assert receipts(trap, 4) == [text, image, text, image]
        assert {each.qos for each in trap.received} == {1}
        assert {each.retained for each in trap.received} == {False}
    assert len(listener.lines) == 1
    assert listener.warnings == []


def test_no_receipt_with_no_ack_or_for_what_is_malformed(listener: Listener) -> None:
    with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
        listener.start("--no-ack")
        trap.publish(TEXT)
        wait_until(lambda: len(listener.lines) == 1)
        assert listener.end(signal.SIGTERM) == 0
        listener.start()
        trap.publish(Message(TEXT.topic, b"{"))
        trap.publish(changed(id=OTHER))
        assert receipts(trap, 1) == [(OTHER, "alert", len(changed(id=OTHER).payload))]


def test_what_was_not_stored_gets_no_receipt(listener: Listener) -> None:
    with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
        # A folder in the way of the file stands for a disk that is full.
        listener.folder.mkdir()
        (listener.folder / f".{NAME}.json.part").mkdir()
        listener.start()
        trap.publish(TEXT)
        assert listener.end() == 1
        assert "the broker keeps what was not stored" in listener.warnings[0]
        (listener.folder / f".{NAME}.json.part").rmdir()
        listener.start()
        assert receipts(trap, 1) == [(ID, "alert", len(TEXT.payload))]


def test_full_database_gives_no_receipt_for_what_is_not_in_it(tmp_path: Path) -> None:
    told: list[str] = []

    class Link:
        def publish(self, message: Message) -> int:
            told.append(str(read_command("ack", message.payload).values["alert"]))
            return len(told)

    with closing(Store(tmp_path)) as store:
        loop = Loop(Link(), store, Forwards(store.database, []), "edge-watch", None)  # type: ignore[arg-type]
        # As on a full disk: the file cannot grow.
        store.database.run(lambda db: db.execute("PRAGMA max_page_count = 20").fetchone())
        texts = (changed(id=f"0196889f-5a3a-7c1e-9b1f-{number:012}") for number in range(1000))
        with pytest.raises(OutboxError, match="is there space left on the disk"):
            deque((loop._take(Received(text.topic, text.payload, "", 1, 1)) for text in texts), maxlen=0)
        assert 10 < len(told) < 1000
        assert ask(tmp_path, "SELECT id FROM alerts ORDER BY rowid") == [(id,) for id in told]


def test_refused_receipt_is_said_and_the_alert_is_stored(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read #\ntopic write edge-watch/+/alert/#\ntopic write marker/#\n")
    with listening(tmp_path, f"allow_anonymous true\nacl_file {tmp_path}/acl") as listener:
        listener.start("--count", "1")
        send(listener.broker, TEXT, PICTURE)
        assert listener.end() == 0
        # Of the text and of the picture, but said once.
        assert listener.warnings == [
            "edge-listen: the broker refuses a receipt: Not authorized; "
            "may this user write to command/ack? (or --no-ack)"
        ]


def test_larger_picture_takes_the_place_of_a_smaller_one_and_never_the_reverse(listener: Listener) -> None:
    crop, whole = picture(16, 12), picture(640, 480)
    assert len(crop.payload) < len(whole.payload)
    listener.start()
    with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
        for message in (crop, TEXT, whole, crop):
            trap.publish(message)
        receipts(trap, 4)
    assert (listener.folder / f"{NAME}.jpg").read_bytes() == whole.payload
    assert stored(listener.folder) == [f"{NAME}.jpg", f"{NAME}.json"]
    query = "SELECT id, file, bytes FROM pictures"
    assert ask(listener.folder, query) == [(ID, f"{NAME}.jpg", len(whole.payload))]


ELM = BASE.replace("trap%207", "elm")


def of_elm(message: Message) -> Message:
    """The same message from another trap."""
    return replace(message, topic=message.topic.replace(BASE, ELM))


def test_picture_of_another_trap_replaces_none(listener: Listener) -> None:
    listener.start()
    forged, larger = of_elm(picture(1280, 960)), picture(640, 480)
    with Subscriber(listener.broker, ["edge-watch/+/command/ack"], client_id="trap") as trap:
        for message in (TEXT, forged, PICTURE, forged, larger):
            trap.publish(message)
        receipts(trap, 3)
        assert {each.topic for each in trap.received} == {f"{BASE}/command/ack"}
    assert (listener.folder / f"{NAME}.jpg").read_bytes() == larger.payload
    assert ask(listener.folder, "SELECT deployment FROM pictures") == [("trap 7",)]
    line = (
        f"edge-listen: ignored a message on {ELM}/alert/bengal%20tiger/image: a picture of {ID}, which is of the trap "
        "'trap 7'"
    )
    assert listener.warnings == [line, line]


def test_picture_that_another_trap_sent_before_the_alert_goes(tmp_path: Path) -> None:
    forged = picture(640, 480)
    with closing(Store(tmp_path)) as store:
        assert store.picture(forged.payload, ID, "elm") == (ID, False)
        assert store.alert(TEXT.payload, "trap 7") == (ID, False)
        assert stored(tmp_path) == [f"{NAME}.json"]
        assert ask(tmp_path, "SELECT id FROM pictures") == []
        assert store.picture(PICTURE.payload, ID, "trap 7") == (ID, True)
    assert (tmp_path / f"{NAME}.jpg").read_bytes() == PICTURE.payload


def test_alert_that_names_another_trap_is_not_passed_on(listener: Listener) -> None:
    listener.start("--count", "1")
    with Subscriber(listener.broker, ["edge-watch/+/command/ack"], client_id="trap") as trap:
        for message in (of_elm(TEXT), TEXT, PICTURE):
            trap.publish(message)
        receipts(trap, 2)
        assert {each.topic for each in trap.received} == {f"{BASE}/command/ack"}
    assert listener.end() == 0
    assert listener.warnings == [
        f"edge-listen: ignored a message on {ELM}/alert/bengal%20tiger: an alert that names the trap 'trap 7', "
        "not that of its topic"
    ]


def test_message_that_is_larger_than_any_picture_is_kept_back_by_the_broker(listener: Listener) -> None:
    listener.start("--count", "1")
    send(listener.broker, TEXT, replace(PICTURE, payload=PICTURE.payload + bytes(21_000_000)), PICTURE)
    assert listener.end() == 0
    assert listener.warnings == []
    assert (listener.folder / f"{NAME}.jpg").read_bytes() == PICTURE.payload


@pytest.mark.parametrize("name", ["a/b+c#d", "öst 1", "50%", "%2F", "~.-_"])
def test_name_of_a_trap_is_that_in_its_topic(tmp_path: Path, name: str) -> None:
    topic = Topics(name).alert("tiger")
    with closing(Store(tmp_path)) as store:
        store.alert(changed(deployment=name).payload, read_topic(topic, "edge-watch").deployment)
        assert ask(tmp_path, "SELECT deployment FROM alerts") == [(name,)]


def test_test_alert_and_replay_are_marked(listener: Listener) -> None:
    listener.start()
    marked = {"species": "test", "scientific_name": "", "image_topic": None}
    send(listener.broker, changed(test=True, **marked), changed(id=OTHER, replay=True, image_topic=None))
    query = "SELECT species, test, replay FROM alerts ORDER BY rowid"
    wait_until(lambda: len(ask(listener.folder, query)) == 2)
    assert listener.lines == [
        "2026-05-01 06:15:30+05:30  trap 7  test  0.99  (test)  no picture",
        f"{LINE}(replay)  no picture",
    ]
    assert ask(listener.folder, query) == [("test", 1, 0), ("Bengal tiger", 0, 1)]


def test_database_has_every_field_of_an_alert(listener: Listener) -> None:
    listener.start("--count", "1")
    send(listener.broker, TEXT, PICTURE)
    assert listener.end() == 0
    with closing(sqlite3.connect(listener.folder / "edge-listen.sqlite")) as database:
        database.row_factory = sqlite3.Row
        [row] = [dict(each) for each in database.execute("SELECT * FROM alerts")]
    assert row.pop("received") > "2026"
    assert row.pop("payload").encode() == TEXT.payload
    assert row == {
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
        "members": "[]",
        "box": "[0.25, 0.5, 0.5, 0.25]",
        "latitude": 21.5,
        "longitude": 79.25,
        "model": "wildlife 1",
        "replay": 0,
        "timestamp_issues": 0,
        "test": 0,
        "image_topic": PICTURE.topic,
        "schema_version": 1,
        "file": NAME,
    }
    assert set(json.loads(TEXT.payload)) - set(row) == {"location"}


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_folder_of_an_earlier_version_is_taken_over(listener: Listener, killed: bool) -> None:
    folder = listener.folder
    folder.mkdir()
    (folder / f"{NAME}.json").write_bytes(TEXT.payload)
    (folder / f"{NAME}.jpg").write_bytes(PICTURE.payload)
    earlier = sqlite3.connect(folder / ".edge-listen.sqlite", isolation_level=None)
    earlier.executescript("""
        PRAGMA journal_mode = WAL;
        CREATE TABLE alerts (id TEXT PRIMARY KEY, name TEXT NOT NULL, wants_picture INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE pictures (id TEXT PRIMARY KEY) WITHOUT ROWID;
        PRAGMA user_version = 1;
    """)
    earlier.execute("INSERT INTO alerts VALUES (?, ?, 1)", (ID, NAME))
    earlier.execute("INSERT INTO alerts VALUES (?, 'gone', 0)", (OTHER,))
    earlier.execute("INSERT INTO pictures VALUES (?)", (ID,))
    if killed:
        # What a killed process leaves: all of it is in the journal yet.
        copies = {name: (folder / name).read_bytes() for name in (".edge-listen.sqlite", ".edge-listen.sqlite-wal")}
        earlier.close()
        for name, content in copies.items():
            (folder / name).write_bytes(content)
    else:
        earlier.close()
    listener.start()
    with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
        for message in (TEXT, PICTURE, changed(id=OTHER)):
            trap.publish(message)
        receipts(trap, 3)
    assert listener.lines == []
    rows = ask(folder, "SELECT id, species, file FROM alerts ORDER BY id")
    assert rows == [(OTHER, None, "gone"), (ID, "Bengal tiger", NAME)]
    assert ask(folder, "SELECT id, file, bytes FROM pictures") == [(ID, f"{NAME}.jpg", len(PICTURE.payload))]
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_documented_columns_are_those_of_the_database(tmp_path: Path) -> None:
    docs = (REPOSITORY / "docs/mqtt.md").read_text(encoding="utf-8")
    with closing(Store(tmp_path)):
        for table in ("alerts", "pictures", "traps", "forwards"):
            [row] = re.findall(rf"^\| `{table}` \| (.*) \|$", docs, re.MULTILINE)
            named = re.findall("`([a-z_]+)`", re.sub(r"\([^)]*\)", "", row))
            assert named == [name for (name,) in ask(tmp_path, f"SELECT name FROM pragma_table_info('{table}')")]


def test_documented_queries_and_services_work(tmp_path: Path) -> None:
    docs = (REPOSITORY / "docs/mqtt.md").read_text(encoding="utf-8")
    [queries], [services] = (re.findall(f"```{kind}\n(.*?)```", docs, re.DOTALL) for kind in ("sql", "toml"))
    with closing(Store(tmp_path)) as store:
        store.alert(changed(deployment="oak 7").payload, "oak 7")
        store.picture(PICTURE.payload, ID, "oak 7")
        found = [ask(tmp_path, query) for query in queries.splitlines()]
    assert found[:2] == [
        [("Bengal tiger", 1, "2026-05-01T06:15:30.250+05:30")],
        [("Bengal tiger", "2026-05-01T06:15:30.250+05:30", f"{NAME}.jpg")],
    ]
    file = tmp_path / "forward.toml"
    # Without the one whose library may be missing.
    file.write_text(re.sub(r"\[phones\].*?\n\n", "", services, flags=re.DOTALL))
    assert [each.name for each in read_services(file)] == ["office", "earthranger"]
