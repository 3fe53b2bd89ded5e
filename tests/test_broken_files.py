"""A card full of broken and odd files: each that cannot be read has one clear line, and all others are looked at."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import accumulate
from pathlib import Path

import pytest

from edge.cameras import open_camera
from edge.types import Frame
from models.errors import CameraError
from tests.broken_files import FRAMES, HEIGHT, VARYING_GAPS, WIDTH, all_kinds, photo
from tests.broker import free_port

ROOT = Path(__file__).resolve().parents[1]
NO_PICTURE = "expected a picture, found data that is none or is damaged; copy it again or delete it"
NO_VIDEO = "expected a video, found none that can be opened; copy it again"
LEFT_OUT = {
    "empty.jpg": "expected a picture, found an empty file; copy it again or delete it",
    "cut.jpg": NO_PICTURE,
    "only-head.jpg": NO_PICTURE,
    "text.jpg": NO_PICTURE,
    "clip.jpg": NO_PICTURE,
    "zeros.jpg": NO_PICTURE,
    "huge.jpg": "expected at most 100 megapixels, found more; shrink it or leave it out",
    "huge.png": "expected at most 100 megapixels, found more; shrink it or leave it out",
    "cut.png": NO_PICTURE,
    "empty.mp4": NO_VIDEO,
    "text.mp4": NO_VIDEO,
    "cut.mp4": NO_VIDEO,
    "cut.avi": NO_VIDEO,
    "spoiled.mp4": NO_VIDEO,
    "no-frames.mp4": NO_VIDEO,
    "huge.mjpeg": "expected a video, found one without a frame that can be decoded; copy it again",
}
READ = {
    "png.jpg": 1,
    "deep.png": 1,
    "spoiled.jpg": 1,
    "photo.mp4": 1,
    "codec.mp4": FRAMES,
    "cut.mkv": 5,
    "one-frame.mp4": 1,
    "times-vary.mp4": FRAMES,
    "no-times.mp4": FRAMES,
    "deep.mkv": FRAMES,
    "turned.mp4": FRAMES,
    "no-times.mjpeg": 2,  # 6 frames at the 25 a second that such a stream is taken to have.
}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    for name, content in all_kinds(folder).items():
        (folder / name).write_bytes(content)
    (folder / "good.jpg").write_bytes(photo())
    return folder


@pytest.fixture(scope="module")
def frames(card: Path) -> dict[str, list[Frame]]:
    """What the folder gives, by file."""
    found: dict[str, list[Frame]] = {}
    for frame in open_camera(str(card)).frames(threading.Event()):
        found.setdefault(frame.source.partition("@")[0], []).append(frame)
    return found


def test_there_are_more_than_twenty_kinds(card: Path) -> None:
    names = {path.name for path in card.iterdir()}
    assert names == {*LEFT_OUT, *READ, "good.jpg"}
    assert len(names) > 20


def test_what_can_be_read_is_looked_at(frames: dict[str, list[Frame]]) -> None:
    assert {name: len(found) for name, found in frames.items()} == {**READ, "good.jpg": 1}


def test_frames_of_a_variable_rate_have_their_own_times(frames: dict[str, list[Frame]]) -> None:
    clip = frames["times-vary.mp4"]
    found = [(frame.timestamp - clip[0].timestamp).total_seconds() for frame in clip]
    assert found == pytest.approx([0, *accumulate(VARYING_GAPS[:-1])], abs=0.001)


def test_upright_clip_is_turned_and_a_deep_one_made_8_bits(frames: dict[str, list[Frame]]) -> None:
    assert {frame.image.shape for frame in frames["turned.mp4"]} == {(WIDTH, HEIGHT, 3)}
    assert [round(float(frame.image.mean())) for frame in frames["deep.mkv"]] == list(range(25, 125, 10))


def test_clip_of_huge_frames_is_refused_before_one_is_decoded(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.clip.MOST_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(CameraError, match="expected at most 100 megapixels a frame"):
        next(open_camera(str(card / "turned.mp4")).frames(threading.Event()))


def test_command_says_one_line_of_each_and_ends_well(card: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "edge", "--source", str(card), "--data", str(tmp_path), "--broker"]
    found = subprocess.run(
        [*run, f"mqtt://127.0.0.1:{free_port()}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert found.returncode == 0, found.stderr
    said = [line.partition("left out: ")[2] for line in found.stderr.splitlines() if "left out: " in line]
    assert sorted(said) == sorted(f"{card / name}: {text}" for name, text in LEFT_OUT.items())
    assert f"cut.mkv: expected {FRAMES} frames, found 5: it is cut off" in found.stderr
    assert f"ended after {sum(READ.values()) + 1} frames ({len(LEFT_OUT)} skipped)" in found.stderr
    assert "Traceback" not in found.stderr
