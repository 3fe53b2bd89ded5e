"""The outbox keeps what it was given, through restarts, kills, full disks and damage."""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.telling.database import Database
from edge.telling.outbox import FILE_NAME, Counts, Outbox, OutboxError
from edge.telling.payloads import Message, alert_messages
from edge.telling.tables import MIGRATIONS
from tests.samples import ID, START, alert, put, sighting

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


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
        first, second = put(outbox, 2)
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
        assert outbox.counts() == Counts(2, 1, refused_why="Not authorized")
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
        assert outbox.open_sightings("usb:0", end, end) == [expected]
        assert outbox.open_sightings("usb:0", end, end)[0].last_seen.utcoffset() == timedelta(hours=5, minutes=30)


def test_open_sightings_are_those_never_ended_and_those_ended_lately(path: Path) -> None:
    minute = timedelta(seconds=60)
    with Outbox(path) as outbox:
        outbox.save_sighting(sighting(id="ended lately", type="end", last_seen=START + minute))
        outbox.save_sighting(sighting(id="ended long ago", type="end", last_seen=START - minute))
        outbox.save_sighting(sighting(id="never ended", type="update", last_seen=START - minute))
        outbox.save_sighting(sighting(id="elsewhere", source="clip.mp4", last_seen=START))
        outbox.save_sighting(sighting(id="of the future", type="end", last_seen=START + 3 * minute))
        found = outbox.open_sightings("usb:0", START, START + 2 * minute)
    assert [each.id for each in found] == ["never ended", "ended lately"]


def test_put_alert_records_the_sighting(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put_alert(alert(), alert_messages(alert()))
        assert outbox.open_sightings("usb:0", START, START) == [sighting(image=None)]


def test_last_alert_is_the_latest_of_the_species(path: Path) -> None:
    with Outbox(path) as outbox:
        put(outbox, event_start=START + timedelta(hours=1))
        put(outbox, event_start=START)
        put(outbox, event_start=START + timedelta(hours=2), source="clip.mp4")
    with Outbox(path) as outbox:
        assert outbox.last_alert("Bengal tiger") == START + timedelta(hours=2)
        assert outbox.last_alert("Bengal tiger", "usb:0") == START + timedelta(hours=1)
        assert outbox.last_alert("leopard") is None


def test_picture_beyond_the_cap_is_dropped_and_its_text_kept(path: Path) -> None:
    with Outbox(path, max_bytes=1024 * 1024) as outbox:
        put(outbox, image=sighting().image + bytes(2_000_000))  # type: ignore[operator]
        assert [stored.message.picture for stored in outbox.pending(10)] == [False]
        assert outbox.counts() == Counts(1, dropped_pictures=1)


def test_closed_outbox_is_an_error_not_a_crash(path: Path) -> None:
    outbox = Outbox(path)
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        outbox.pending(1)


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
        ids = put(outbox, 50, image=None)
        done.set()
        thread.join()
    assert sorted(delivered) == sorted(ids)


def test_message_flags_are_kept(path: Path) -> None:
    message = Message("a/b", b"\x00\xff", qos=0, retain=True, priority=5, id="x", picture=True)
    with Outbox(path) as outbox:
        outbox.put_alert(alert(), [message])
        assert outbox.pending(1)[0].message == message


def test_file_of_an_earlier_version_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    Database(path, MIGRATIONS[:1]).close()
    with sqlite3.connect(path) as db:
        values = {
            **{"id": "a", "type": "new", "species": "tiger", "scientific_name": "", "observation_type": "animal"},
            **{"probability": 0.9, "event_start": START.isoformat(), "last_seen": START.isoformat(), "frames": 1},
            **{"lighting": "day", "x": 0, "y": 0, "width": 1, "height": 1, "frame_width": 64, "frame_height": 48},
            **{"source": "usb:0", "replay": 0, "pictured": 0, "last_seen_unix": START.timestamp()},
        }
        marks = ", ".join("?" * len(values))
        db.execute(f"INSERT INTO sightings ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    db.close()
    with Outbox(path) as outbox:
        [found] = outbox.open_sightings("usb:0", START, START)
    assert (found.id, found.event_start, found.timestamp_issues) == ("a", START, False)
