"""`watch:DIR`: what another camera drops into a folder is read when it is complete, each file once."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.cameras import open_camera
from edge.cameras.files import complete
from edge.cameras.folder import WatchedFolder
from edge.doctor import check_camera
from edge.settings import Settings
from edge.types import Frame
from models.errors import UsageError
from tests.broker import Mosquitto, Subscriber
from tests.test_cameras import write_clip, write_photo

START = datetime(2026, 5, 1, 7, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.folder.SETTLED_S", 0.0)
    monkeypatch.setattr("edge.cameras.folder.LOOK_S", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "card"
    made.mkdir()
    return made


def watching(folder: Path) -> tuple[WatchedFolder, Iterator[Frame], threading.Event]:
    stop = threading.Event()
    camera = open_camera(f"watch:{folder}", data=folder.parent / "data")
    assert isinstance(camera, WatchedFolder)
    return camera, camera.frames(stop), stop


def drain(folder: Path) -> tuple[list[int], WatchedFolder]:
    """The brightness of all that a newly started watch reads, until nothing is left."""
    camera, frames, stop = watching(folder)
    idle = itertools.count()
    # Some looks without a file: whatever was there has then been read.
    camera.waiting = lambda: stop.set() if next(idle) > 6 else None
    return [round(float(frame.image.mean())) for frame in frames], camera


def test_photos_that_are_there_come_first_oldest_first_and_then_what_comes(folder: Path) -> None:
    write_photo(folder / "b.jpg", 20, START)
    write_photo(folder / "a.jpg", 30, START + timedelta(minutes=1))
    (folder / "notes.txt").write_text("no photo")
    camera, frames, stop = watching(folder)
    found = [next(frames), next(frames)]
    (folder / "new").mkdir()
    write_photo(folder / "new/c.jpg", 40, START + timedelta(minutes=2))
    found.append(next(frames))
    stop.set()
    assert list(frames) == []
    assert [round(float(frame.image.mean())) for frame in found] == [20, 30, 40]
    assert [frame.index for frame in found] == [0, 1, 2]
    assert found[2].timestamp == START + timedelta(minutes=2)
    assert all(frame.still and not frame.replay and frame.source == camera.name for frame in found)


def test_each_file_is_read_once_also_across_restarts(folder: Path) -> None:
    for number in range(3):
        write_photo(folder / f"{number}.jpg", 10 * number, START + timedelta(minutes=number))
    assert drain(folder)[0] == [0, 10, 20]
    assert drain(folder)[0] == []
    os.utime(folder / "1.jpg")  # The same content, sent again.
    write_photo(folder / "2.jpg", 90, START)  # The same name, on a card that was emptied.
    assert drain(folder)[0] == [90]


def test_file_that_was_not_finished_before_a_restart_is_read_again(folder: Path) -> None:
    write_photo(folder / "a.jpg", 50, START)
    _, frames, _ = watching(folder)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert drain(folder)[0] == [50]


def test_file_that_ends_the_program_twice_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photo(folder / "a.jpg", 50, START)
    for _ in range(2):
        _, frames, _ = watching(folder)
        next(frames)
        frames.close()  # type: ignore[attr-defined]
    found, camera = drain(folder)
    assert (found, camera.skipped) == ([], 1)
    assert "a.jpg: the program ended twice while it was read" in caplog.text


def test_file_is_read_when_it_is_complete(folder: Path, tmp_path: Path) -> None:
    whole = write_photo(tmp_path / "whole.jpg", 50, START).read_bytes()
    coming = folder / "a.jpg"
    coming.write_bytes(whole[: len(whole) // 2])
    camera, frames, stop = watching(folder)
    looks = itertools.count()

    def grow() -> None:
        if next(looks) == 5:
            coming.write_bytes(whole)

    camera.waiting = grow
    assert round(float(next(frames).image.mean())) == 50
    assert camera.skipped == 0
    assert next(looks) > 5
    stop.set()


def test_file_that_is_never_finished_is_named_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.cameras.folder.ABANDONED_S", 0.0)
    (folder / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    write_photo(folder / "b.jpg", 50, START)
    found, camera = drain(folder)
    assert (found, camera.skipped) == ([50], 1)
    assert drain(folder)[0] == []
    assert caplog.text.count("left out: ") == 1


def test_hidden_and_foreign_files_are_not_looked_at(folder: Path) -> None:
    write_photo(folder / ".a.jpg", 50)
    shutil.copy(folder / ".a.jpg", folder / "a.jpg.part")
    found, camera = drain(folder)
    assert (found, camera.skipped) == ([], 0)


@pytest.mark.parametrize("typed", ["card", "./card/", "../work/card"])
def test_relative_folder_is_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    (tmp_path / "work/card").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    camera, frames, stop = watching(Path(typed))
    write_photo(Path("card/a.jpg"), 20, START)
    found = [next(frames)]
    # The first was there at the start; this one the kernel tells of.
    write_photo(Path("card/b.jpg"), 30, START + timedelta(minutes=1))
    found.append(next(frames))
    stop.set()
    assert list(frames) == []
    assert [round(float(frame.image.mean())) for frame in found] == [20, 30]
    assert camera.name == f"watch:{Path(typed)}"


def test_clips_are_read_too(folder: Path) -> None:
    write_clip(folder / "a.mp4", frames=4)
    found, _ = drain(folder)
    assert len(found) == 4


def test_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder, found none"):
        open_camera(f"watch:{tmp_path / 'nowhere'}", data=tmp_path)


def test_doctor_does_not_wait_for_a_file(folder: Path) -> None:
    said = check_camera(Settings(source=f"watch:{folder}", data=folder.parent / "data"))
    assert said == f"watch:{folder} is there; what comes into it is read"


def test_whole_and_cut_files_are_told_apart(tmp_path: Path) -> None:
    photo, clip = write_photo(tmp_path / "a.jpg", 50), write_clip(tmp_path / "a.mp4")
    for path in (photo, clip):
        assert complete(path)
        path.write_bytes(path.read_bytes()[:-40])
        assert not complete(path)


def test_alert_of_a_photo_that_another_camera_drops(tmp_path: Path, folder: Path, shared: Path) -> None:
    tiger = sorted((shared / "data/wildlife/test/tiger").iterdir())[0]
    with Mosquitto(tmp_path) as broker, Subscriber(broker, ["edge-watch/#"]) as subscriber:
        run = [sys.executable, "-m", "edge", "--species", "tiger", "--source", f"watch:{folder}", "--broker"]
        more = [broker.url, "--deployment", "oak", "--data", str(tmp_path / "data")]
        with subprocess.Popen([*run, *more], cwd=ROOT) as daemon:
            # The publisher is there before the first file: the trap is online, however long the folder stays empty.
            subscriber.until(lambda: bool(subscriber.on("edge-watch/oak/status")))
            shutil.copy(tiger, folder)
            subscriber.until(lambda: bool(subscriber.on("edge-watch/oak/alert/tiger")))
            daemon.terminate()
            assert daemon.wait(20) == 0
    [alert] = subscriber.on("edge-watch/oak/alert/tiger")
    assert b'"replay":false' in alert.payload
