"""The outbox keeps what it was given, through restarts, kills, full disks and damage."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge import outbox as outbox_module
from edge.outbox import FILE_NAME, Counts, Outbox, OutboxError
from edge.payloads import Message, alert_messages
from tests.samples import ID, START, alert, alert_of_its_own, sighting

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


def put(outbox: Outbox, **changes: object) -> str:
    """Put an alert with an id of its own; return the id."""
    made = alert_of_its_own(**changes)
    assert outbox.put_alert(made, alert_messages(made))
    return made.sighting.id


def test_put_alert_survives_reopening(path: Path) -> None:
    messages = alert_messages(alert())
    with Outbox(path) as outbox:
        assert outbox.put_alert(alert(), messages) is True
    with Outbox(path) as outbox:
        assert [stored.message for stored in outbox.pending(10)] == list(messages)
        assert outbox.alerted(ID)
        assert not outbox.alerted("another")


def test_put_alert_same_id_only_once(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put_alert(alert(), alert_messages(alert()))
        outbox.delivered(*(stored.row for stored in outbox.pending(10)))
        assert outbox.put_alert(alert(), alert_messages(alert())) is False
    with Outbox(path) as outbox:
        assert outbox.put_alert(alert(), alert_messages(alert())) is False
        assert outbox.depth() == 0


def test_pending_is_by_priority_then_age(path: Path) -> None:
    with Outbox(path) as outbox:
        first, second = put(outbox), put(outbox)
        order = [(stored.message.picture, stored.message.id) for stored in outbox.pending(10)]
        assert order == [(False, first), (False, second), (True, first), (True, second)]
        rows = [stored.row for stored in outbox.pending(10)]
        assert [stored.row for stored in outbox.pending(2, skip=[rows[0], rows[2]])] == [rows[1], rows[3]]


def test_delivered_leaves_the_others(path: Path) -> None:
    with Outbox(path) as outbox:
        put(outbox)
        text, picture = outbox.pending(10)
        outbox.delivered(text.row)
        assert outbox.pending(10) == [picture]
        outbox.delivered(text.row, picture.row)
        assert outbox.depth() == 0


def test_refused_is_kept_counted_and_waits(path: Path) -> None:
    with Outbox(path) as outbox:
        put(outbox)
        text, picture = outbox.pending(10)
        outbox.refused(text.row, "Not authorized", retry_in_s=1000)
        assert outbox.pending(10) == [picture]
        assert outbox.counts() == Counts(2, 1, 0, 0, 0)
        outbox.refused(text.row, "Not authorized", retry_in_s=0)
        assert outbox.pending(10)[0] == replace(text, attempts=2)


def test_refused_under_a_wrong_clock_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Outbox(path) as outbox:
        put(outbox)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 10 * 365 * 86400)
        for stored in outbox.pending(10):
            outbox.refused(stored.row, "Not authorized", retry_in_s=600)
        assert outbox.pending(10) == []
        monkeypatch.setattr(time, "time", lambda: now)
        assert len(outbox.pending(10)) == 2


def test_on_put_is_called_for_what_is_new(path: Path) -> None:
    calls: list[int] = []
    with Outbox(path) as outbox:
        outbox.on_put = lambda: calls.append(outbox.depth())
        outbox.put_alert(alert(), alert_messages(alert()))
        outbox.put_alert(alert(), alert_messages(alert()))
    assert calls == [2]


def test_sighting_is_read_as_it_was_saved(path: Path) -> None:
    end = START + timedelta(seconds=9)
    with Outbox(path) as outbox:
        outbox.save_sighting(sighting())
        outbox.save_sighting(sighting(type="end", last_seen=end, event_end=end, frames=8, probability=0.99))
    with Outbox(path) as outbox:
        expected = sighting(type="end", last_seen=end, event_end=end, frames=8, probability=0.99, image=None)
        assert outbox.recent_sightings("usb:0", end) == [expected]
        assert outbox.recent_sightings(None, end)[0].last_seen.utcoffset() == timedelta(hours=5, minutes=30)


def test_recent_sightings_by_source_and_time(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.save_sighting(sighting(id="b", source="clip.mp4", last_seen=START + timedelta(seconds=60)))
        outbox.save_sighting(sighting(id="a", last_seen=START))
        assert [each.id for each in outbox.recent_sightings(None, START)] == ["a", "b"]
        assert [each.id for each in outbox.recent_sightings("clip.mp4", START)] == ["b"]
        assert [each.id for each in outbox.recent_sightings(None, START + timedelta(seconds=1))] == ["b"]


def test_put_alert_records_the_sighting(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put_alert(alert(), alert_messages(alert()))
        assert outbox.recent_sightings(None, START) == [sighting(image=None)]


def test_last_alert_is_the_latest_of_the_species(path: Path) -> None:
    with Outbox(path) as outbox:
        put(outbox, event_start=START + timedelta(hours=1))
        put(outbox, event_start=START)
        put(outbox, event_start=START + timedelta(hours=2), source="clip.mp4")
    with Outbox(path) as outbox:
        assert outbox.last_alert("Bengal tiger") == START + timedelta(hours=2)
        assert outbox.last_alert("Bengal tiger", "usb:0") == START + timedelta(hours=1)
        assert outbox.last_alert("leopard") is None


def test_full_outbox_drops_oldest_pictures_and_keeps_texts(path: Path) -> None:
    most = 2 * 1024 * 1024
    with Outbox(path, max_bytes=most) as outbox:
        ids = [put(outbox, image=sighting().image + bytes(100_000)) for _ in range(40)]  # type: ignore[operator]
        counts = outbox.counts()
        stored = outbox.pending(100)
    assert [each.message.id for each in stored if not each.message.picture] == ids
    pictures = [each.message.id for each in stored if each.message.picture]
    assert len(pictures) >= 10
    assert pictures == ids[-len(pictures) :]
    assert counts == Counts(40 + len(pictures), 0, 40 - len(pictures), 0, 0)
    assert path.stat().st_size <= most


def test_picture_beyond_the_cap_is_dropped_and_its_text_kept(path: Path) -> None:
    with Outbox(path, max_bytes=1024 * 1024) as outbox:
        put(outbox, image=sighting().image + bytes(2_000_000))  # type: ignore[operator]
        assert [stored.message.picture for stored in outbox.pending(10)] == [False]
        assert outbox.counts() == Counts(1, 0, 1, 0, 0)


def test_full_outbox_drops_unalerted_visits_before_texts(path: Path) -> None:
    with Outbox(path, max_bytes=512 * 1024) as outbox:
        for index in range(1500):
            outbox.save_sighting(sighting(id=f"visit {index}", type="end"))
        ids = [put(outbox, image=None, scientific_name="x" * 400) for _ in range(100)]
        texts = [stored.message.id for stored in outbox.pending(1000)]
        counts = outbox.counts()
    assert texts == ids
    assert counts.dropped_sightings > 0
    assert counts.dropped_texts == 0


def test_visits_have_a_number_that_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_MAX_ROWS", 3)
    with Outbox(path) as outbox:
        for index in range(5):
            outbox.save_sighting(sighting(id=f"visit {index}"))
        assert [each.id for each in outbox.recent_sightings(None, START)] == ["visit 2", "visit 3", "visit 4"]
        assert outbox.counts().dropped == 2


def test_file_that_is_no_database_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"power cut " * 1000)
    with Outbox(path) as outbox:
        put(outbox)
        assert outbox.depth() == 2
        assert outbox.set_aside is not None
        assert outbox.set_aside.name.startswith(f"{FILE_NAME}.corrupt-")
        assert outbox.set_aside.read_bytes() == b"power cut " * 1000
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "was damaged" in caplog.text


def test_damage_found_later_is_set_aside_too(path: Path) -> None:
    with Outbox(path) as outbox:
        for _ in range(50):
            put(outbox)
    with path.open("r+b") as file:
        # The pages after the tables' roots.
        file.seek(16 * 4096)
        file.write(os.urandom(path.stat().st_size - 16 * 4096))
    with Outbox(path) as outbox:
        assert outbox.pending(200) == []
        assert outbox.set_aside is not None
        put(outbox)
        assert outbox.depth() == 2


def test_newer_schema_is_refused(path: Path) -> None:
    Outbox(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match=r"written by a newer edge-watch: expected schema 1 or older, found 99"):
        Outbox(path)


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="expected a folder that can be written to"):
        Outbox(tmp_path / "file" / FILE_NAME)


def test_closed_outbox_is_an_error_not_a_crash(path: Path) -> None:
    outbox = Outbox(path)
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        outbox.pending(1)


FULL_DISK = """
import resource, sys
from pathlib import Path
from edge.outbox import Outbox, OutboxError
from edge.payloads import alert_messages
from tests.samples import alert_of_its_own, sighting

with Outbox(Path(sys.argv[1])) as outbox:
    made = alert_of_its_own()
    outbox.put_alert(made, alert_messages(made))
    # No file of this process may grow beyond this: what a full disk looks like to SQLite.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    big = alert_of_its_own(image=sighting().image + bytes(400_000))
    try:
        outbox.put_alert(big, alert_messages(big))
    except OutboxError as error:
        print(error)
    print(outbox.depth(), outbox.alerted(made.sighting.id), outbox.alerted(big.sighting.id), outbox.counts().dropped)
"""


def test_full_disk_is_an_error_and_loses_nothing(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    message, state = done.stdout.splitlines()
    assert message.startswith(f"cannot write {path}: ")
    assert message.endswith("is there space left on the disk?")
    assert state == "2 True False 0"


def test_threads_share_an_outbox(path: Path) -> None:
    with Outbox(path) as outbox:
        delivered: list[str] = []
        done = threading.Event()

        def publish() -> None:
            while not done.is_set() or outbox.depth():
                for stored in outbox.pending(5):
                    delivered.append(stored.message.id)
                    outbox.delivered(stored.row)

        thread = threading.Thread(target=publish)
        thread.start()
        ids = [put(outbox, image=None) for _ in range(50)]
        done.set()
        thread.join()
    assert sorted(delivered) == sorted(ids)


WRITER = """
import sys
from pathlib import Path
from edge.outbox import Outbox
from edge.payloads import alert_messages
from tests.samples import alert_of_its_own

with Outbox(Path(sys.argv[1])) as outbox:
    while True:
        made = alert_of_its_own()
        outbox.put_alert(made, alert_messages(made))
        print(made.sighting.id, flush=True)
"""


def test_no_acknowledged_alert_is_lost_by_kills(path: Path) -> None:
    acknowledged: list[str] = []
    chance = random.Random(7)
    for _ in range(10):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged.append(writer.stdout.readline().strip())
            time.sleep(chance.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().split("\n")[:-1]
    with Outbox(path) as outbox:
        assert outbox.set_aside is None
        texts = {stored.message.id for stored in outbox.pending(100_000) if not stored.message.picture}
        pictures = {stored.message.id for stored in outbox.pending(100_000) if stored.message.picture}
    assert len(acknowledged) > 10
    assert set(acknowledged) <= texts
    assert texts == pictures


def test_message_flags_are_kept(path: Path) -> None:
    message = Message("a/b", b"\x00\xff", qos=0, retain=True, priority=5, id="x", picture=True)
    with Outbox(path) as outbox:
        outbox.put_alert(alert(), [message])
        assert outbox.pending(1)[0].message == message


def test_what_is_stored_is_forced_to_the_disk(path: Path) -> None:
    # No test can cut the power, so this holds the two settings that survive it.
    with Outbox(path) as outbox:
        assert outbox.run(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
        assert outbox.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
