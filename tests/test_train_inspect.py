"""`train inspect` and `train evaluate`: what is in the photos, and what a bundle is worth on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from train.cli import main
from train.data import find_photos
from train.inspection import examine, look


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Split folders with every trouble once: a damaged, a tiny, a grey, a twice filed and a leaked photo."""
    root = tmp_path / "photos"
    for split, label, count in (("train", "deer", 6), ("train", "tiger", 20), ("test", "deer", 2)):
        (root / split / label).mkdir(parents=True)
        for number in range(count):
            dice = np.random.default_rng([len(split), len(label), number])
            image = dice.integers(0, 255, (100, 120 + number, 3)).astype(np.uint8)
            cv2.imwrite(str(root / split / label / f"{number}.png"), image)
    cv2.imwrite(str(root / "train/tiger/0.png"), np.full((60, 200, 3), 90, np.uint8))
    (root / "train/tiger/1.png").write_bytes(b"\x89PNG no more")
    shutil.copy(root / "train/tiger/2.png", root / "train/deer/2.png")
    shutil.copy(root / "train/deer/3.png", root / "test/deer/1.png")
    return root


def test_inspect_counts_and_names_all_troubles(data: Path) -> None:
    found = examine(find_photos(data), look(data, find_photos(data).photos))
    assert found.counts == {"deer": {"train": 6, "test": 2}, "tiger": {"train": 20}}
    assert found.photos == 28
    assert found.short_side == (60, 100, 100)
    assert found.infrared_share == pytest.approx(1 / 27)
    assert found.tiny == ["train/tiger/0.png"]
    assert len(found.broken) == 1
    assert "train/tiger/1.png: expected a picture" in found.broken[0]
    assert found.conflicts == [["train/deer/2.png", "train/tiger/2.png"]]
    assert found.leaks == [["test/deer/1.png", "train/deer/3.png"]]
    assert found.duplicates == found.leaks + found.conflicts
    assert found.warnings == ["no class `empty`: the model will give every empty picture the name of an animal"]


def test_inspect_prints_text_or_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(data)]) == 0
    text = capsys.readouterr().out
    assert f"{data}: 28 photos of 2 classes, 0 excluded" in text
    assert "the same photo in two splits: 1\n  test/deer/1.png = train/deer/3.png" in text
    assert main(["inspect", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["tiger"] == {"train": 20}


def test_inspect_warns_of_few_and_uneven_classes(data: Path) -> None:
    for number in range(2, 6):
        (data / f"train/deer/{number}.png").unlink()
    shutil.rmtree(data / "test")
    found = examine(find_photos(data), look(data, find_photos(data).photos))
    assert found.warnings[:2] == [
        "fewer than 5 photos, which `train fit` refuses: deer (2)",
        "uneven: 20 photos of tiger, 2 of deer; `train fit` weighs the classes",
    ]


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_a_folder_that_is_not_there_is_refused_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "nowhere"]) == 2
    assert capsys.readouterr().err == ("train: nowhere: expected a folder of photos, found none; "
                                       "name a folder with one folder of photos per class\n")


def test_evaluate_refuses_what_is_no_bundle(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "none"), str(data)]) == 1
    assert "expected a model bundle" in capsys.readouterr().err
