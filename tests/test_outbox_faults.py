"""The outbox under kills, full disks, damage and at its cap: what was stored stays, or its loss is counted."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.telling.outbox import FILE_NAME, Counts, Outbox, OutboxError
from tests.disk import mounted
from tests.samples import START, put, sighting

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


def test_full_outbox_drops_oldest_pictures_and_keeps_texts(path: Path) -> None:
    most = 2 * 1024 * 1024
    with Outbox(path, max_bytes=most) as outbox:
        ids = put(outbox, 40, image=sighting().image + bytes(100_000))  # type: ignore[operator]
        counts = outbox.counts()
        stored = outbox.pending(100)
    assert [each.message.id for each in stored if not each.message.picture] == ids
    pictures = [each.message.id for each in stored if each.message.picture]
    assert len(pictures) >= 10
    assert pictures == ids[-len(pictures) :]
    assert counts == Counts(40 + len(pictures), dropped_pictures=40 - len(pictures))
    assert path.stat().st_size <= most


def test_full_outbox_drops_unalerted_visits_before_texts(path: Path) -> None:
    with Outbox(path, max_bytes=512 * 1024) as outbox:
        for index in range(1500):
            outbox.save_sighting(sighting(id=f"visit {index}", type="end"))
        ids = put(outbox, 100, image=None, scientific_name="x" * 400)
        texts = [stored.message.id for stored in outbox.pending(1000)]
        counts = outbox.counts()
    assert texts == ids
    assert counts.dropped_sightings > 0
    assert counts.dropped_texts == 0


def test_visits_have_a_number_that_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.telling.room.MAX_ROWS", 3)
    with Outbox(path) as outbox:
        for index in range(5):
            outbox.save_sighting(sighting(id=f"visit {index}"))
        found = outbox.open_sightings("usb:0", START, START)
        assert [each.id for each in found] == ["visit 2", "visit 3", "visit 4"]
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
        ids = put(outbox, 50)
        [roots] = outbox.read(lambda db: db.execute("SELECT max(rootpage) FROM sqlite_schema").fetchone())
    with path.open("r+b") as file:
        # All but the first pages after the tables' roots.
        sound = (roots + 6) * 4096
        file.seek(sound)
        file.write(os.urandom(path.stat().st_size - sound))
    with Outbox(path) as outbox:
        left = outbox.pending(200)
        # Something of the tables' first pages could still be read.
        assert 0 < len(left) < 100
        assert {stored.message.id for stored in left} < set(ids)
        assert outbox.set_aside is not None
        put(outbox)
        assert outbox.depth() == len(left) + 2


def test_newer_schema_is_refused(path: Path) -> None:
    Outbox(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match=r"written by a newer edge-watch: expected schema 4 or older, found 99"):
        Outbox(path)


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="expected a folder that can be written to"):
        Outbox(tmp_path / "file" / FILE_NAME)


FULL_DISK = """
import resource, sys
from pathlib import Path
from edge.telling.outbox import Outbox, OutboxError
from edge.telling.payloads import alert_messages
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
    assert message.endswith("is there space left on the disk, and may it be written to?")
    assert state == "2 True False 0"


WRITER = """
import sys
from pathlib import Path
from edge.telling.outbox import Outbox
from edge.telling.payloads import alert_messages
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


def test_what_is_stored_is_forced_to_the_disk(path: Path) -> None:
    # No test can cut the power, so this holds the two settings that survive it.
    with Outbox(path) as outbox:
        assert outbox.run(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
        assert outbox.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


def test_what_lies_on_both_sides_of_the_damage_is_saved(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Outbox(path) as outbox:
        ids = put(outbox, 200, image=None)
        outbox.receipted({("a", False, 1): 0.0})
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
    content = path.read_bytes()
    page = content.index(f'"id":"{ids[100]}"'.encode()) // 4096 * 4096
    path.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    with Outbox(path) as outbox:
        kept = [stored.message.id for stored in outbox.pending(500)]
        assert kept == [id for id in ids if id in set(kept)]
        assert kept[:90] == ids[:90]
        assert kept[-90:] == ids[-90:]
        assert ids[100] not in kept
        # What was alerted is not alerted again, and what is known of receipts stays known.
        assert [outbox.alerted(id) for id in (ids[0], ids[100], ids[-1])] == [True, True, True]
        assert outbox.knows_receipts()
        assert outbox.set_aside is not None
    assert "a new one is begun with the" in caplog.text


def test_answer_to_a_message_of_before_the_damage_touches_no_new_one(path: Path) -> None:
    with Outbox(path) as outbox:
        put(outbox, 4)
        under_way = [stored.row for stored in outbox.pending(10)]
        outbox._db.close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(b"power cut " * 1000)
        outbox._begin_anew(sqlite3.DatabaseError("for the test"))
        assert outbox.pending(10) == []
        ids = put(outbox)
        outbox.delivered(*under_way)
        assert [stored.message.id for stored in outbox.pending(10)] == ids * 2


def test_who_only_looks_moves_nothing_aside_and_changes_no_version(path: Path) -> None:
    with Outbox(path) as trap:
        put(trap, image=None)
        with Outbox(path, shared=True) as looking:
            assert looking.depth() == 1
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 3")
        db.close()
        with pytest.raises(OutboxError, match=r"was written by an older edge-watch: expected schema 4, found 3; start"):
            Outbox(path, shared=True)
    path.write_bytes(b"power cut " * 1000)
    with pytest.raises(OutboxError, match=r"is damaged \(file is not a database\); start edge-watch"):
        Outbox(path, shared=True)
    assert path.read_bytes() == b"power cut " * 1000


def test_rows_that_damage_has_changed_are_not_saved(path: Path) -> None:
    with Outbox(path) as outbox:
        put(outbox, 3)
        outbox.save_sighting(sighting(id="x"))
        outbox.run(lambda db: db.execute("UPDATE messages SET payload = 'not JSON' WHERE row = 1"))
        outbox.run(lambda db: db.execute("UPDATE sightings SET event_start = 'never' WHERE id = 'x'"))
        [first, *others] = outbox.pending(10)
        assert first.row == 1
        outbox._begin_anew(sqlite3.DatabaseError("for the test"))
        assert outbox.pending(10) == others
        assert outbox.sightings_like("x") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for the ballast."""
    with mounted(tmp_path / "disk", 24) as disk:
        yield disk


def test_alerts_are_stored_though_the_disk_is_full(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Outbox(small_disk / FILE_NAME) as outbox:
        before = put(outbox, 3)
        with contextlib.suppress(OSError), (small_disk / "others").open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        ids = put(outbox, 20)
        assert outbox.depth() == 46
    said = f"{small_disk}: the disk is full; what was kept for that day is used now: make space"
    assert [line for line in caplog.messages if "full" in line] == [said]
    with Outbox(small_disk / FILE_NAME) as outbox:
        assert [stored.message.id for stored in outbox.pending(100)] == [*before, *ids] * 2
        assert not (small_disk / f"{FILE_NAME}.ballast").exists()
    (small_disk / "others").unlink()
    with Outbox(small_disk / FILE_NAME):
        assert (small_disk / f"{FILE_NAME}.ballast").stat().st_size == 2_000_000


def test_messages_have_a_number_that_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.telling.room.MAX_MESSAGES", 5)
    with Outbox(path) as outbox:
        ids = put(outbox, 4)
        # The oldest pictures first, then the oldest texts.
        assert outbox.counts() == Counts(5, dropped_pictures=3)
        assert [stored.message.id for stored in outbox.pending(10)] == [*ids, ids[-1]]
        put(outbox, 3, image=None)
        left = outbox.pending(10)
        assert [stored.message.id for stored in left][:2] == ids[-2:]
        assert outbox.counts() == Counts(5, dropped_pictures=4, dropped_texts=2)
