"""`train evaluate`: the report of a bundle, float or int8, on labelled photos, and all that it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.bundle import GOLDEN, MANIFEST, SPLIT, TFLITE, ModelBundle, default_bundle, file_hash, write_bundle
from models.manifest import Quantization
from tests import tiny
from tests.test_train_fit import train, train_here
from train.evaluate import trained_on

ROOT = Path(__file__).parents[1]
HIDDEN = ("import sys\nfor name in {names}: sys.modules[name] = None\n"
          "from train.cli import main\nsys.exit(main(sys.argv[1:]))")


def hiding(names: tuple[str, ...], *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `train` as if some libraries were not installed."""
    return subprocess.run([sys.executable, "-c", HIDDEN.format(names=names), *map(str, arguments)], cwd=cwd,
                          env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False)


def draw_photos(folder: Path, *names: str, each: int = 1) -> Path:
    """Blobs of colour in class folders; what they are called is arbitrary."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            coarse = np.random.default_rng([label, number]).integers(0, 255, (5, 6, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), cv2.resize(coarse, (120, 100)))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn photos and, under `runs`, a tiny float bundle that was trained on most of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    tiny.float_bundle(folder)
    return folder


def test_float_bundle_is_measured_on_the_test_photos(place: Path) -> None:
    done = train("evaluate", "runs/tiny", "photos", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "tiny 1 (float) on photos: 24 photos, 0 could not be read"
    assert "does not say what it was trained on" not in done.stderr
    assert done.stdout.splitlines()[-1] == "open runs/tiny-on-photos/report.html"
    found = json.loads((place / "runs/tiny-on-photos/report.json").read_text())
    manifest = ModelBundle.open(place / "runs/tiny").manifest
    for lighting in ("day", "night"):
        measured = found["results"][lighting]["metrics"]
        assert (measured["n"], measured["accuracy"]) == (24, pytest.approx(manifest.metrics[lighting].accuracy))
        assert found["points"]["wolf"][lighting]["threshold"] == pytest.approx(
            manifest.operating_points["wolf"][lighting].threshold, abs=1e-6)
    assert (found["kind"], found["history"], found["temperature"]) == ("float", [], manifest.temperature)
    assert "How it learned" not in (place / "runs/tiny-on-photos/report.html").read_text()


def test_photos_that_it_was_trained_on_are_left_out(place: Path, tmp_path: Path) -> None:
    for name in tiny.NAMES:
        shutil.copytree(place / "photos/train" / name, tmp_path / "mixed" / name)
        shutil.copy(place / "photos/test" / name / "03.png", tmp_path / "mixed" / name / "new.png")
    done = train_here("evaluate", "runs/tiny", tmp_path / "mixed", "--out", tmp_path / "report", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["metrics"]["day"]["n"], printed["left_out"]) == (3, [])
    found = json.loads(Path(printed["report"]).read_text())
    assert found["left_out"]["trained_on"] == 48
    assert found["summary"][-1].endswith("and 48 that the model was trained on.")
    done = train_here("evaluate", "runs/tiny", place / "photos/train", "--out", tmp_path / "none", cwd=place)
    assert done.returncode == 1
    assert "expected photos that tiny 1 was not trained on, found none" in done.stderr
    assert not (tmp_path / "none").exists()


def test_int8_bundle_needs_no_tensorflow(tmp_path: Path) -> None:
    data = draw_photos(tmp_path / "photos", "tiger", "zebra")
    done = hiding(("tensorflow", "keras"), "evaluate", default_bundle(), data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "does not say what it was trained on" in done.stderr
    out = tmp_path / "runs/wildlife-1-int8-on-photos"
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.json"]
    found = json.loads((out / "report.json").read_text())
    assert (found["kind"], found["results"]["day"]["metrics"]["n"], len(found["moved"])) == ("int8", 2, 10)
    doubt = "does not say what it was trained on: if it was on these photos, the numbers are too good."
    assert found["summary"][1].endswith(doubt)
    assert doubt in (out / "report.html").read_text()
    assert sorted(tmp_path.iterdir()) == [data, tmp_path / "runs"]


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path) -> None:
    data = draw_photos(tmp_path / "photos", "tiger")
    done = hiding(("matplotlib",), "evaluate", default_bundle(), data, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.strip().endswith("type, in the checkout: pip install '.[report]'")


def test_earlier_report_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    data, out = draw_photos(tmp_path / "photos", "tiger"), tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("old")
    (out / "report.json").write_text("old")
    done = train_here("evaluate", default_bundle(), data, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "1 photo," in done.stdout
    assert json.loads((out / "report.json").read_text())["schema_version"] == 1
    (out / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in out.iterdir()}
    done = train_here("evaluate", default_bundle(), data, "--out", out)
    assert done.returncode == 1
    assert "expected no such folder, or one that holds only report.html and report.json" in done.stderr
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_bundle_converted_without_quantization_is_called_float(tmp_path: Path) -> None:
    found = ModelBundle.open(default_bundle())
    files: dict[str, bytes | Path] = {name: (found.path / name).read_bytes() for name in (TFLITE, GOLDEN)}
    write_bundle(tmp_path / "plain", replace(found.manifest, quantization=Quantization()), found.labels, files)
    data = draw_photos(tmp_path / "photos", "tiger")
    done = train_here("evaluate", tmp_path / "plain", data, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(f"{found.title} (float) on {data}: 1 photo, ")
    assert json.loads((tmp_path / "out/report.json").read_text())["kind"] == "float"


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    data = draw_photos(tmp_path / "photos", "tiger")
    script = ("import os, signal, sys, time, train.evaluate\nfrom train.cli import main\n"
              "def stopped(*_):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n"
              "train.evaluate.build = stopped\nsys.exit(main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", script, "evaluate", str(default_bundle()), str(data), "--out", "out"],
                          cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 143, done.stderr
    assert "measuring on 1 photo" in done.stderr
    assert [*tmp_path.iterdir()] == [data]


def test_unknown_classes_are_refused_with_what_to_type(tmp_path: Path) -> None:
    data = draw_photos(tmp_path / "photos", "tiger", "unicorn", each=2)
    done = train_here("evaluate", default_bundle(), data, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "found also unicorn; leave them out: write a file with this name" in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "others.txt").write_text("unicorn\n")
    left_out = ("--exclude", tmp_path / "others.txt")
    done = train_here("evaluate", default_bundle(), data, "--out", tmp_path / "out", *left_out)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/report.json").read_text())["left_out"]["excluded"] == 2


def test_data_may_be_a_table(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", "a", "b")
    table = tmp_path / "photos/labels of mine.csv"
    table.write_text("path,label,split\na/0.png,tiger,test\nb/0.png,zebra,train\n")
    done = train_here("evaluate", default_bundle(), table, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["metrics"]["day"]["n"] == 1
    assert printed["metrics"]["day"]["per_class"]["zebra"] == {"precision": None, "recall": None, "f1": None, "n": 0}
    assert "only count as unseen if this is the data that it was trained on" in done.stderr
    assert "only count as unseen if this is the data that it was trained on" in (
        json.loads((tmp_path / "runs/wildlife-1-int8-on-labels of mine/report.json").read_text())["summary"][1])
    assert (tmp_path / "runs/wildlife-1-int8-on-labels of mine/report.html").is_file()


@pytest.mark.parametrize(("kept", "expected"), [("at its place", {"aa", "bb"}), ("beside", {"aa", "bb"}),
                                                ("changed", None), ("gone", None)])
def test_converted_bundle_asks_its_parent_what_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str, expected: set[str] | None
) -> None:
    monkeypatch.chdir(tmp_path)
    parent = tmp_path / ("runs/float" if kept == "at its place" else "shelf/float")
    parent.mkdir(parents=True)
    (parent / MANIFEST).write_text("{}")
    (parent / SPLIT).write_text("path,label,split,sha256\n1,a,train,aa\n2,a,val,bb\n3,a,test,cc\n4,a,,dd\n")
    published = ModelBundle.open(default_bundle())
    origin = replace(published.manifest.provenance,
                     parent={"path": "runs/float", "sha256": file_hash(parent / MANIFEST)})
    bundle = ModelBundle(tmp_path / "shelf/int8", replace(published.manifest, provenance=origin), published.labels)
    if kept == "changed":
        (parent / MANIFEST).write_text("{} ")
    if kept == "gone":
        shutil.rmtree(parent)
    assert trained_on(bundle) == expected
