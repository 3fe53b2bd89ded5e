"""A card full of broken and odd files: each has one clear line, and what can be read is looked at."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from itertools import accumulate
from pathlib import Path

import pytest

from edge.cameras import open_camera
from edge.types import Frame
from models.errors import CameraError
from tests.broken_files import FRAMES, HEIGHT, VARYING_GAPS, WIDTH, all_kinds, clip, photo
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
    "codec.mp4": NO_VIDEO,
    "no-frames.mp4": NO_VIDEO,
    "huge.mjpeg": "expected a video, found one without a frame that can be decoded; copy it again",
}
# How many frames of each are looked at, and what is said of it.
READ = {
    "png.jpg": (1, "expected what .jpg says, found PNG: it was read as that"),
    "deep.png": (1, "found 16 bits a color: the upper 8 were looked at"),
    "spoiled.jpg": (
        1, "expected a whole picture, found damage within: what can be read was looked at; copy it again"
    ),
    "photo.mp4": (1, "expected what .mp4 says, found JPEG: it was read as that"),
    "cut.mkv": (
        5, f"expected {FRAMES} frames, found 5: it is cut off, and what there is was looked at; copy it again"
    ),
    "spoiled-within.mp4": (
        7, f"expected {FRAMES} frames, found 7: it is damaged within, and what can be read was looked at; copy it again"
    ),
    "one-frame.mp4": (1, "found a clip of one frame: it was looked at"),
    "times-vary.mp4": (
        FRAMES, "found a frame rate that varies, 0.25 to 3 s a frame: the times in the file were kept"
    ),
    "no-times.mp4": (FRAMES, "found no times of its frames: 0.5 a second were assumed"),
    "deep.mkv": (FRAMES, "found 16 bits a color: the upper 8 were looked at"),
    "turned.mp4": (
        FRAMES, "found a picture that lies on its side or head: it was turned upright, by 90 degrees"
    ),
    # 6 frames at the 25 a second that such a stream is taken to have.
    "no-times.mjpeg": (2, "found no times of its frames: 25 a second were assumed"),
}  # fmt: skip


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
    expected = {name: many for name, (many, _) in READ.items()}
    assert {name: len(found) for name, found in frames.items()} == {**expected, "good.jpg": 1}


def test_frames_of_a_variable_rate_have_their_own_times(frames: dict[str, list[Frame]]) -> None:
    clip = frames["times-vary.mp4"]
    found = [(frame.timestamp - clip[0].timestamp).total_seconds() for frame in clip]
    assert found == pytest.approx([0, *accumulate(VARYING_GAPS[:-1])], abs=0.001)


def test_upright_clip_is_turned_and_a_deep_one_made_8_bits(frames: dict[str, list[Frame]]) -> None:
    assert {frame.image.shape for frame in frames["turned.mp4"]} == {(WIDTH, HEIGHT, 3)}
    assert [round(float(frame.image.mean())) for frame in frames["deep.mkv"]] == list(range(25, 125, 10))


def test_what_comes_after_a_damaged_part_of_a_clip_is_looked_at_too(frames: dict[str, list[Frame]]) -> None:
    clip = frames["spoiled-within.mp4"]
    found = [(frame.timestamp - clip[0].timestamp).total_seconds() for frame in clip]
    assert found == pytest.approx([0, 0.2, 0.4, 0.6, 1.4, 1.6, 1.8])


def test_of_usual_files_nothing_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # Some cameras leave a few bytes behind each picture.
    (tmp_path / "padded.jpg").write_bytes(photo()[:-2] + bytes(4) + photo()[-2:])
    (tmp_path / "whole.JPEG").write_bytes(photo())
    (tmp_path / "whole.png").write_bytes(photo(suffix=".png"))
    (tmp_path / "whole.avi").write_bytes(clip(tmp_path / "a.avi", codec="MJPG"))
    (tmp_path / "whole.mov").write_bytes(clip(tmp_path / "a.mp4"))
    assert len(list(open_camera(str(tmp_path)).frames(threading.Event()))) == 3 + 2 * FRAMES
    assert caplog.messages == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("folder", ["cameratrap", "videos"])
def test_of_photos_and_clips_of_real_traps_nothing_is_said(
    shared: Path, folder: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert len(list(open_camera(str(shared / "data" / folder)).frames(threading.Event()))) > 400
    assert caplog.messages == []
    assert capfd.readouterr().err == ""


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
    said = [line.partition(" ")[2] for line in found.stderr.splitlines() if str(card) in line]
    left_out = [f"left out: {card / name}: {text}" for name, text in LEFT_OUT.items()]
    assert sorted(said) == sorted([*left_out, *(f"{card / name}: {text}" for name, (_, text) in READ.items())])
    # Nor does a library say anything of its own.
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in found.stderr.splitlines()), found.stderr
    assert f"ended after {sum(many for many, _ in READ.values()) + 1} frames ({len(LEFT_OUT)} skipped)" in found.stderr
    assert "Traceback" not in found.stderr
