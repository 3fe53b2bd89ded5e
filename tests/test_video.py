"""Clips that a child process encodes: whole or not there, and never in the way of watching."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.recording import video
from edge.recording.video import Video, require_encoder
from models.errors import MissingRuntimeError, OutboxError


def jpeg(value: int, width: int = 64, height: int = 48) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), value, np.uint8))[1].tobytes()


def frames(path: Path) -> list[tuple[float, int, tuple[int, ...]]]:
    """Time in seconds, brightness and shape of each frame of a clip."""
    capture, found = cv2.VideoCapture(str(path)), []
    while capture.grab():
        image = capture.retrieve()[1]
        found.append((capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, round(float(image.mean())), image.shape))
    capture.release()
    return found


def test_clip_has_every_picture_at_its_time(tmp_path: Path) -> None:
    made = Video(tmp_path / "new/clip.mp4", "tiger, 98 %")
    times = (0.0, 0.2, 0.4, 2.0, 2.2)
    for number, at in enumerate(times):
        made.add(jpeg(40 * number), at)
    made.close()
    found = frames(tmp_path / "new/clip.mp4")
    assert [round(at, 3) for at, _, _ in found] == list(times)
    assert all(abs(value - 40 * number) <= 3 for number, (_, value, _) in enumerate(found))
    assert os.listdir(tmp_path / "new") == ["clip.mp4"]
    assert b"tiger, 98 %" in (tmp_path / "new/clip.mp4").read_bytes()


def test_clip_is_h264_with_its_index_first_so_that_a_browser_plays_it(tmp_path: Path) -> None:
    made = Video(tmp_path / "clip.mp4", "x")
    for number in range(10):
        made.add(jpeg(20 * number), number / 5)
    made.close()
    data = (tmp_path / "clip.mp4").read_bytes()
    assert b"avc1" in data
    assert data.index(b"moov") < data.index(b"mdat")


def test_pictures_of_other_and_odd_sizes_are_scaled_to_the_first(tmp_path: Path) -> None:
    made = Video(tmp_path / "clip.mp4", "x")
    made.add(jpeg(10, 65, 49), 0)
    made.add(jpeg(200, 320, 240), 1)
    made.close()
    assert [shape for _, _, shape in frames(tmp_path / "clip.mp4")] == [(48, 64, 3)] * 2


def test_time_that_does_not_move_on_is_left_out(tmp_path: Path) -> None:
    made = Video(tmp_path / "clip.mp4", "x")
    for value, at in ((10, 0.0), (20, 0.0), (30, -1.0), (200, 1.0)):
        made.add(jpeg(value), at)
    made.close()
    assert [(round(at), value > 100) for at, value, _ in frames(tmp_path / "clip.mp4")] == [(0, False), (1, True)]


@pytest.mark.parametrize("wait", [0.0, 0.05, 0.2, 0.4])
def test_abandoned_clip_leaves_nothing(tmp_path: Path, wait: float) -> None:
    made = Video(tmp_path / "clip.mp4", "x")
    made.add(jpeg(10), 0)
    time.sleep(wait)
    made.add(jpeg(20), 1)
    made.abandon()
    assert os.listdir(tmp_path) == []


def test_encoder_that_is_killed_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    made = Video(tmp_path / "clip.mp4", "x")
    made.add(jpeg(10), 0)
    made._child.kill()
    with pytest.raises(OutboxError, match=r"^cannot write .*clip\.mp4: the encoder ended; is there"):
        made.close()
    assert os.listdir(tmp_path) == []


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutboxError, match=r"cannot write .*clip\.mp4: .*check that the folder can be written to"):
        Video(tmp_path / "file/clip.mp4", "x")
    with pytest.raises(OutboxError, match="expected the name of a clip, found a folder"):
        Video(tmp_path, "x")


def test_encoder_that_hangs_makes_pictures_left_out_and_watching_goes_on(tmp_path: Path) -> None:
    made = Video(tmp_path / "clip.mp4", "x")
    noise = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))[1].tobytes()
    made._child.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    for number in range(300):
        made.add(noise, number / 5)
    assert time.monotonic() - started < video.PATIENCE_S / 2  # It did not wait: the encoder would hang for ever.
    # One is on its way into the pipe.
    assert made.left_out in (300 - video.MOST_WAITING, 300 - video.MOST_WAITING - 1)
    made._child.send_signal(signal.SIGCONT)
    made.close()
    assert len(frames(tmp_path / "clip.mp4")) == 300 - made.left_out


def test_patient_clip_of_a_replay_has_every_picture(tmp_path: Path) -> None:
    made = Video(tmp_path / "clip.mp4", "x", patient=True)
    for number in range(video.MOST_WAITING * 2):
        made.add(jpeg(number), number / 5)
    made.close()
    assert (made.left_out, len(frames(tmp_path / "clip.mp4"))) == (0, video.MOST_WAITING * 2)


def test_patient_clip_waits_for_no_encoder_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "ROOM_S", 0.1)
    monkeypatch.setattr(video, "PATIENCE_S", 0.2)
    made = Video(tmp_path / "clip.mp4", "x", patient=True)
    made._child.send_signal(signal.SIGSTOP)
    noise = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))[1].tobytes()
    for number in range(300):
        made.add(noise, number / 5)
    assert made.left_out >= 300 - video.MOST_WAITING - 1
    with pytest.raises(OutboxError, match="cannot write"):
        made.close()
    assert os.listdir(tmp_path) == []


def test_encoder_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    script = (
        "import os, pathlib; from edge.recording.video import Video\n"
        f"made = Video(pathlib.Path({str(tmp_path / 'clip.mp4')!r}), 'x')\n"
        "print(made._child.pid, flush=True); import time; time.sleep(2); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    child = Path(f"/proc/{int(done.stdout)}/cmdline")
    until = time.monotonic() + 10
    while child.exists() and b"edge.recording.encoder" in child.read_bytes() and time.monotonic() < until:
        time.sleep(0.05)
    assert not child.exists() or b"edge.recording.encoder" not in child.read_bytes()
    assert not (tmp_path / "clip.mp4").exists()


def test_without_pyav_the_start_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingRuntimeError, match=r"^--record clip: expected PyAV, .*type: pip install av"):
        require_encoder("--record clip")
