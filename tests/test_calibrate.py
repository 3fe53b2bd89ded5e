"""`edge-watch calibrate` as a user runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.__main__ import main
from edge.deciding.quiet import FILE_NAME, read_quiet


def quiet_clip(file: Path, seconds: int, level: int = 90) -> Path:
    """A clip in which nothing moves, in colour."""
    picture = np.full((180, 320, 3), level, np.uint8)
    cv2.circle(picture, (160, 90), 60, (20, 200, 60), -1)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 5, (320, 180))
    for _ in range(5 * seconds + 1):
        writer.write(picture)
    writer.release()
    return file


def test_each_clip_counts_once_however_often_and_under_whatever_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = tmp_path / "clips", tmp_path / "data"
    folder.mkdir()
    quiet_clip(folder / "one.mp4", 6)
    quiet_clip(folder / "two.mp4", 12, level=100)
    command = ["calibrate", "--species", "tiger", "--data", str(data), "--source"]
    assert main([*command, str(folder)]) == 0
    shutil.copy(folder / "one.mp4", tmp_path / "copy.mp4")
    assert main([*command, str(tmp_path / "copy.mp4")]) == 0
    found = {each.source.partition("@")[0]: each for each in read_quiet(data / FILE_NAME)}
    assert set(found) == {"two.mp4", "copy.mp4"}
    assert found["two.mp4"].hours.hours == {"day": pytest.approx(12 / 3600), "night": 0.0}
    assert found["copy.mp4"].hours.hours == {"day": pytest.approx(6 / 3600), "night": 0.0}
    assert found["two.mp4"].species == ("tiger",)
    assert "hours counted as without tiger, by your word" in capsys.readouterr().out
    assert main(["calibrate", "--list", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0.01 hours in all"
    assert main(["calibrate", "--reset", "--data", str(data)]) == 0
    assert read_quiet(data / FILE_NAME) == ()


def test_what_is_taken_for_a_target_is_said_and_kept(tmp_path: Path, shared: Path) -> None:
    clip = str(shared / "data/scenes/dev01_tiger_day_cross.mp4")
    assert main(["calibrate", "--species", "tiger", "--source", clip, "--data", str(tmp_path)]) == 0
    [found] = read_quiet(tmp_path / FILE_NAME)
    assert found.hours.looks_per_second == 2.0
    assert [each.species for each in found.hours.peaks if each.species == "tiger"] == ["tiger"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "calibrate: expected --species, found none"),
        (["--species", "tigre", "--source", "demo"], "the model does not know 'tigre'; did you mean: tiger"),
        (
            ["--species", "tiger", "--source", "demo", "--hours", "3"],
            "--hours: expected with a live camera, and with no",
        ),
        (["--species", "tiger", "--source", "http://127.0.0.1:9/video"], "--hours: expected with a live camera"),
        (["--species", "tiger", "--hours", "-1"], "--hours: expected more than 0, found -1"),
        (["--species", "tiger", "--source", "photos"], "found photos, in which no time passes"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/one.jpg", np.full((240, 320, 3), 99, np.uint8))
    assert main(["calibrate", *options, "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said.splitlines()[-1]
    assert not (tmp_path / "data" / FILE_NAME).exists()
