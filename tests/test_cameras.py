"""Where frames come from."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import default_source, open_camera
from edge.cameras.newest import Newest
from edge.recording import exif
from models.errors import CameraError, MissingRuntimeError, UsageError


def never() -> threading.Event:
    return threading.Event()


def write_clip(path: Path, frames: int = 10, rate: float = 5.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def write_photo(path: Path, value: int, taken: datetime | None = None) -> Path:
    data = cv2.imencode(".jpg", np.full((48, 64, 3), value, np.uint8))[1].tobytes()
    path.write_bytes(exif.write(data, id="0" * 32, taken=taken) if taken else data)
    return path


def test_clip_gives_every_frame_with_its_time(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    os.utime(clip, (1_000_000_000, 1_000_000_000))
    frames = list(open_camera(str(clip)).frames(never()))
    start = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    assert [frame.timestamp - start for frame in frames] == [timedelta(seconds=number / 5) for number in range(10)]
    assert [frame.index for frame in frames] == list(range(10))
    assert frames[9].image.shape == (48, 64, 3)
    assert frames[9].image.mean() == pytest.approx(180, abs=3)
    assert all(frame.replay and not frame.still for frame in frames)


def test_fast_clip_is_thinned_to_the_rate_of_a_live_camera(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=12, rate=25)
    assert [frame.index for frame in open_camera(str(clip)).frames(never())] == [0, 5, 10]


def test_exif_time_without_an_offset_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        photo = write_photo(tmp_path / "a.jpg", 10, datetime(2026, 5, 1, 6, tzinfo=UTC))
        photo.write_bytes(photo.read_bytes().replace(b"+00:00\x00", b"      \x00"))
        [frame] = open_camera(str(tmp_path)).frames(never())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert frame.timestamp.isoformat() == "2026-05-01T06:00:00+05:30"


def test_source_of_a_clip_is_its_content_not_its_place(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy/clip.mp4"
    copy.write_bytes(clip.read_bytes())
    other = write_clip(tmp_path / "copy/other.mp4", frames=5).rename(tmp_path / "copy/clip2.mp4")
    first, second, third = (next(open_camera(str(path)).frames(never())).source for path in (clip, copy, other))
    assert first == second != third
    assert first.startswith("clip.mp4@")


def test_clip_stops_when_asked(tmp_path: Path) -> None:
    stop = threading.Event()
    frames = open_camera(str(write_clip(tmp_path / "clip.mp4"))).frames(stop)
    next(frames)
    stop.set()
    assert list(frames) == []


def test_pace_real_takes_as_long_as_it_was_recorded(tmp_path: Path) -> None:
    started = time.monotonic()
    frames = list(open_camera(str(write_clip(tmp_path / "clip.mp4", frames=4)), "real").frames(never()))
    assert len(frames) == 4
    assert time.monotonic() - started >= 0.6


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00\x00\x00\x18ftypmp42"])
def test_file_that_is_no_video_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match="expected a video"):
        list(open_camera(str(path)).frames(never()))


def test_photos_come_oldest_first_by_exif_then_file_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write_photo(tmp_path / "a.jpg", 10, datetime(2026, 5, 1, 8, tzinfo=UTC))
    write_photo(tmp_path / "b" / "c.JPG", 20, datetime(2026, 5, 1, 7, tzinfo=UTC))
    plain = write_photo(tmp_path / "z.jpg", 30)
    os.utime(plain, (1_000_000_000, 1_000_000_000))
    (tmp_path / "notes.txt").write_text("not a photo")
    frames = list(open_camera(str(tmp_path)).frames(never()))
    assert [round(float(frame.image.mean())) for frame in frames] == [30, 20, 10]
    assert [frame.timestamp.astimezone(UTC).hour for frame in frames] == [1, 7, 8]
    assert all(frame.still and frame.replay and frame.timestamp.tzinfo for frame in frames)


def test_broken_photo_is_named_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photo(tmp_path / "good.jpg", 10)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    camera = open_camera(str(tmp_path))
    assert len(list(camera.frames(never()))) == 1
    assert camera.skipped == 1
    assert "broken.jpg" in caplog.text


def test_folder_without_photos(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="expected photos or clips"):
        list(open_camera(str(tmp_path)).frames(never()))


def test_folder_of_broken_photos(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(CameraError, match="found 1 files and none can be read"):
        list(open_camera(str(tmp_path)).frames(never()))


@pytest.mark.parametrize("source", ["nothing.mp4", "usb", "usb:front", "ftp://camera"])
def test_unknown_source_lists_what_it_can_be(source: str) -> None:
    with pytest.raises(UsageError, match=r"expected picamera, usb:N, .*a video file or a folder of photos"):
        open_camera(source)


def test_usb_camera_that_is_not_there() -> None:
    with pytest.raises(CameraError, match="usb:63: expected a camera at /dev/video63"):
        next(open_camera("usb:63").frames(never()))


@pytest.mark.skipif(default_source() == "picamera", reason="picamera2 is installed here")
def test_picamera_without_picamera2_says_what_to_type() -> None:
    with pytest.raises(MissingRuntimeError, match="sudo apt install python3-picamera2"):
        next(open_camera("picamera").frames(never()))


def test_live_camera_hands_over_its_newest_frame_and_counts_the_others() -> None:
    numbers = iter(range(10_000))
    produced = threading.Semaphore(0)

    def read() -> np.ndarray:
        time.sleep(0.002)
        produced.release()
        return np.full((2, 2, 3), next(numbers) % 256, np.uint8)

    closed = threading.Event()
    stop, newest = threading.Event(), Newest(read, closed.set)
    frames = newest.frames("test", stop, frame_rate=1000)
    first = next(frames)
    for _ in range(20):
        produced.acquire()
    second = next(frames)
    stop.set()
    assert list(frames) == []
    assert closed.is_set()
    assert int(second.image[0, 0, 0]) - int(first.image[0, 0, 0]) > 10
    assert newest.skipped >= 10
    assert not first.replay
    assert first.timestamp.tzinfo is not None


def test_live_camera_that_gives_nothing_counts_as_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.newest.STALL", timedelta(seconds=0.2))
    released = threading.Event()

    def read() -> np.ndarray:
        released.wait(30)
        raise CameraError("gone")

    stop = threading.Event()
    monkeypatch.setattr("edge.cameras.newest.CLOSING_S", 0.1)
    with pytest.raises(CameraError, match="expected a frame at least every"):
        next(Newest(read, lambda: None).frames("test", stop, 5))
    stop.set()
    released.set()


def test_error_of_a_live_camera_reaches_the_chain() -> None:
    def read() -> np.ndarray:
        raise CameraError("usb:0: unplugged")

    with pytest.raises(CameraError, match="unplugged"):
        next(Newest(read, lambda: None).frames("test", threading.Event(), 5))
