"""The published bundle's photos: none that must not be used, and none on two sides."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from models.bundle import file_hash
from recipes.wildlife import main, squares
from train.data import DataSet, find_photos


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataSet]:
    shared = Path(__file__).resolve().parents[1].parent / "shared"
    if not (shared / "data").is_dir():
        pytest.skip("needs ../shared/data, which is not there")
    out = tmp_path_factory.mktemp("gathered") / "data"
    assert main([str(shared / "data"), "--out", str(out)]) == 0
    return shared / "data", find_photos(out, out / "exclude.txt")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_no_photo_has_a_non_commercial_licence_and_there_is_no_fox(gathered: tuple[Path, DataSet]) -> None:
    _, found = gathered
    licences = {row["path"]: row["licence"] for row in rows(found.root / "manifest.csv")}
    assert [photo.path for photo in found.photos if "NC" in licences[photo.path]] == []
    assert found.excluded == 278 + 18
    assert "fox" not in found.names
    assert "person" in found.names
    assert "no\nfox class" in (found.root / "ABOUT.md").read_text()


def test_nothing_of_val_test_or_the_scenes_is_trained_on(gathered: tuple[Path, DataSet]) -> None:
    data, found = gathered
    trained = {file_hash(found.root / photo.path) for photo in found.photos if photo.split == "train"}
    for row in rows(data / "wildlife/manifest.csv") + rows(data / "extras/manifest.csv"):
        assert row["split"] == "train" or row["sha256"] not in trained, row["path"]
    scenes = set(re.findall(r"cameratrap/frames/(\w+)\.jpg", (data / "scenes/clips.csv").read_text()))
    trap = {Path(row["path"]).stem: row["source_path"] for row in rows(data / "cameratrap/manifest.csv")}
    origin = {row["sha256"]: row["source_path"].partition("#")[0] for row in rows(data / "wildlife/manifest.csv")}
    assert {origin.get(digest) for digest in trained} & {trap[name] for name in scenes} == set()
    used = {Path(photo.path).stem.partition("_")[0] for photo in found.photos if photo.split == "train"}
    assert used & scenes == set()


def test_people_of_the_clip_are_split_by_time_with_a_second_between(gathered: tuple[Path, DataSet]) -> None:
    frames: dict[str, list[int]] = {}
    for photo in gathered[1].photos:
        if number := re.search(r"walker_(\d+)_", photo.path):
            frames.setdefault(str(photo.split), []).append(int(number[1]))
    assert max(frames["train"]) + 25 <= min(frames["val"])
    assert max(frames["val"]) + 25 <= min(frames["test"])


def test_squares_fill_a_box_side_by_side() -> None:
    frame = np.arange(100 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 200, 3)
    found = list(squares(frame, (0.5, 0.0, 1.0, 0.5)))
    assert [square.shape for square in found] == [(50, 50, 3), (50, 50, 3)]
    np.testing.assert_array_equal(found[1], frame[0:50, 150:200])
