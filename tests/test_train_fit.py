"""`train fit` from photos to a float bundle, at a small size, and all that it refuses."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from models.bundle import ModelBundle, file_hash
from models.errors import EdgeWatchError
from train.cli import main
from train.photos.find import find_photos

ROOT = Path(__file__).parents[1]
SMALL = ("--backbone", "mobilenet_v1_0.25", "--weights", "none", "--size", "64", "--unfreeze", "6", "--epochs", "1")
"""With few layers unfrozen, as putting the steps of training together takes longer than all else."""
CLASSES = ("empty", "round", "square")


def draw(kind: str, number: int) -> np.ndarray:
    """(80, 100, 3) uint8 BGR: a shape of its own place and colour on a noisy blue and orange ground."""
    dice = np.random.default_rng([number, CLASSES.index(kind)])
    image = dice.integers(60, 120, (80, 100, 3)).astype(np.uint8)
    image[:, :50, 0] += 100
    image[:, 50:, 2] += 100
    x, y = (int(place) for place in dice.integers(30, 50, 2))
    colour = tuple(int(value) for value in dice.integers(150, 255, 3))
    if kind == "round":
        cv2.circle(image, (x, y), 20, colour, -1)
    if kind == "square":
        cv2.rectangle(image, (x - 18, y - 18), (x + 18, y + 18), colour, -1)
    return image


def class_folders(root: Path, each: int = 12) -> Path:
    for kind in CLASSES:
        (root / kind).mkdir(parents=True)
        for number in range(each):
            cv2.imwrite(str(root / kind / f"{kind} {number:02}.png"), draw(kind, number))
    return root


def train(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `train` as a user does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "train", *map(str, arguments)], cwd=cwd, env=environment,
                          capture_output=True, text=True, timeout=280, check=False)


def train_here(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The same without a process of its own, in which TensorFlow would be imported anew."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as ended:  # argparse's way.
            code = int(str(ended.code))
    return subprocess.CompletedProcess(["train", *map(str, arguments)], code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A bundle trained on 3 x 12 drawn photos: one of them is damaged, two are excluded; with other files about."""
    folder = tmp_path_factory.mktemp("fit")
    data = class_folders(folder / "photos")
    (data / "round" / "round 00.png").write_bytes(b"\x89PNG damaged")
    (data / "square" / "notes.txt").write_text("no picture")
    (data / "labels.csv").write_text("name,scientific_name\nround,Rotunda rotunda\n")
    (data / "manifest.csv").write_text("path,licence\nphotos/empty/empty 03.png,CC0\n")
    (folder / "leave.txt").write_text("square/square 01.png\nphotos/empty/empty 02.png\n")
    done = train("fit", "photos", *SMALL, "--exclude", "leave.txt", "--seed", 3, "--out", "runs/shapes", cwd=folder)
    return folder, done


def split_rows(bundle: Path) -> list[dict[str, str]]:
    with (bundle / "split.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_writes_a_bundle_with_all_files_that_opens(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = trained
    assert done.returncode == 0, done.stderr
    bundle = ModelBundle.open(folder / "runs/shapes")
    assert set(bundle.manifest.files) == {"model.keras", "labels.csv", "calibration.npz", "split.csv", "golden.npz",
                                          "CARD.md", "report.html", "report.json"}
    assert bundle.is_float
    assert (bundle.manifest.name, bundle.manifest.version, bundle.manifest.input.size) == ("shapes", "1", 64)
    assert bundle.labels.names == CLASSES
    assert [label.observation_type for label in bundle.labels] == ["blank", "animal", "animal"]
    assert bundle.labels[1].scientific_name == "Rotunda rotunda"
    assert {path.name for path in (folder / "runs").iterdir()} == {"shapes", "logs"}, "no working files are left"


def test_fit_splits_each_class_and_never_twice(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = split_rows(trained[0] / "runs/shapes")
    assert len({row["path"] for row in rows}) == len(rows) == 33
    counts = Counter((row["label"], row["split"]) for row in rows)
    assert counts == {(label, split): {"train": 7, "val": 2, "test": 2}[split]
                      for label in CLASSES for split in ("train", "val", "test")}
    first = rows[0]
    assert first["sha256"] == file_hash(trained[0] / "photos" / first["path"])


def test_fit_leaves_out_and_names_what_is_excluded_or_damaged(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = trained
    paths = {row["path"] for row in split_rows(folder / "runs/shapes")}
    assert not paths & {"square/square 01.png", "empty/empty 02.png", "round/round 00.png", "square/notes.txt"}
    assert "round/round 00.png: expected a picture, found" in done.stderr
    origin = ModelBundle.open(folder / "runs/shapes").manifest.provenance
    assert (origin.left_out, origin.excluded) == (1, 2)
    assert origin.photos == {"train": 21, "val": 6, "test": 6}
    assert origin.command == ("train fit photos --backbone mobilenet_v1_0.25 --weights none --size 64 --unfreeze 6 "
                              "--epochs 1 --exclude leave.txt --seed 3 --out runs/shapes")
    assert (origin.data, origin.backbone, origin.weights, origin.seed) == ("photos", "mobilenet_v1_0.25", "none", 3)


def test_fit_measures_on_test_photos_only(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    manifest = ModelBundle.open(trained[0] / "runs/shapes").manifest
    assert {key: found.n for key, found in manifest.metrics.items()} == {"day": 6, "night": 6}
    assert {name: {key: point.n for key, point in points.items()}
            for name, points in manifest.operating_points.items()} == {key: {"day": 2, "night": 2} for key in CLASSES}


def test_golden_outputs_are_those_of_the_saved_model(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    keras = pytest.importorskip("keras")
    folder = trained[0] / "runs/shapes"
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    with np.load(folder / "golden.npz") as golden:
        inputs, outputs, runtime = golden["inputs"], golden["outputs"], str(golden["runtime"])
    assert (inputs.shape, inputs.dtype, outputs.shape, outputs.dtype) == ((2, 64, 64, 3), np.uint8, (2, 3), np.float32)
    assert runtime == f"keras {keras.__version__}"
    np.testing.assert_allclose(np.asarray(model(inputs.astype(np.float32))), outputs, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(inputs[1][..., 0], inputs[1][..., 2], "the second one is grey")
    assert model.layers[-1].activation.__name__ == "linear", "it ends in logits"


def test_calibration_is_balanced_and_from_training_photos(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder = trained[0]
    with np.load(folder / "runs/shapes/calibration.npz") as found:
        images, labels, lighting = found["images"], found["labels"], found["lighting"]
    assert (images.shape, images.dtype) == ((21, 64, 64, 3), np.uint8)
    assert Counter(labels.tolist()) == {0: 7, 1: 7, 2: 7}
    grey = np.array([(image[..., 0] == image[..., 1]).all() for image in images])
    assert (grey == (lighting == "night")).all()
    assert set(lighting) == {"day", "night"}
    from models.images import read_image
    from models.preprocess import infrared, prepare

    known = {prepare(read_image(folder / "photos" / row["path"]), 64, order="BGR").tobytes()
             for row in split_rows(folder / "runs/shapes") if row["split"] == "train"}
    known |= {infrared(np.frombuffer(data, np.uint8).reshape(64, 64, 3)).tobytes() for data in known}
    assert all(image.tobytes() in known for image in images)


def test_card_states_data_licences_and_command(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    text = (trained[0] / "runs/shapes/CARD.md").read_text()
    assert "train fit photos --backbone mobilenet_v1_0.25" in text
    assert "| 1 | CC0 |" in text
    assert "| 32 | not stated |" in text
    assert "1 photo could not be read" in text
    for kind in CLASSES:
        assert f"| {kind} | " in text


def test_tensorboard_reads_what_each_epoch_brought(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    tf = pytest.importorskip("tensorflow")
    [file] = (trained[0] / "runs/logs/shapes").iterdir()
    found = {(event.step, value.tag): value.simple_value
             for event in tf.compat.v1.train.summary_iterator(str(file)) for value in event.summary.value}
    assert set(found) == {(step, tag) for step in (0, 1)
                          for tag in ("loss", "accuracy", "val_loss", "val_accuracy", "clear_loss", "rate")}
    right = float(re.search(r"fine-tuning 1/1: .* in validation ([\d.]+)% right", trained[1].stderr)[1])
    assert found[1, "val_accuracy"] == pytest.approx(right / 100, abs=6e-4)
    assert found[0, "rate"] == 0
    assert found[1, "loss"] > 0


def test_curves_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from train.progress import Curves

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgeWatchError, match=r"^the files for TensorBoard cannot be written: .*; make room or choose"):
        Curves(tmp_path / "file/x", anew=True)


def test_progress_in_a_log_is_a_line_an_epoch(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    said = trained[1].stderr
    assert len(re.findall(r"^fine-tuning 1/1: [\d.]+% right in training; in validation [\d.]+% right, loss [\d.]+, of "
                          r"clear views [\d.]+; about 0 s left$", said, re.MULTILINE)) == 1
    assert "\r" not in said
    assert "-0.0" not in said


def test_evaluate_gives_the_metrics_of_the_manifest(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder = trained[0]
    done = train_here("evaluate", "runs/shapes", "photos", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # The excluded and damaged ones: the first two were never trained on, the third cannot be read.
    assert found["metrics"]["day"]["n"] == 6 + 2
    assert len(found["left_out"]) == 1


@pytest.mark.parametrize(("layers", "trainable"), [
    ("all", [True, True, True]), (9, [True, True, True]), (2, [False, True, True]), (0, [False, False, False]),
])
def test_unfreeze_makes_the_last_layers_trainable(layers: int | Literal["all"], trainable: list[bool]) -> None:
    keras = pytest.importorskip("keras")
    from train.fit import MOMENTUM, unfreeze

    norm = keras.layers.BatchNormalization(momentum=0.999)
    backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), norm, keras.layers.Dense(2)])
    backbone.trainable = False
    unfreeze(backbone, layers)
    assert [layer.trainable for layer in backbone.layers] == trainable
    assert norm.momentum == MOMENTUM


REFUSED = [
    pytest.param(["nowhere"], 2, "nowhere: expected a folder of photos, or a CSV file that lists some, found none",
                 id="no such folder"),
    pytest.param(["flat"], 1, "flat: expected one folder of photos per class", id="no class folders"),
    pytest.param(["few"], 1, "expected at least 5 photos of each class, found fewer of square (4)", id="few photos"),
    pytest.param(["single"], 1, "expected at least 2 classes, found 1 (round)", id="one class"),
    pytest.param(["good", "--weights", "no.weights.h5"], 2, "no.weights.h5, which does not exist", id="no weights"),
    pytest.param(["good", *SMALL, "--weights", "bad.weights.h5"], 1, "expected the weights of mobilenet_v1",
                 id="bad weights"),
    pytest.param(["good", "--exclude", "no.txt"], 2, "no.txt: expected a text file", id="no list"),
    pytest.param(["good", "--exclude", "other.txt"], 1, "found none of its photos", id="a list of other photos"),
    pytest.param(["good", "--out", "taken"], 1, "taken: expected no such folder, found one", id="taken"),
    pytest.param(["good", "--out", "taken", "--force"], 1, "replaces bundles only", id="no bundle to replace"),
    pytest.param(["good", "--out", "flat/0.png/x"], 1, "cannot be written", id="a file in the way"),
    pytest.param(["good", "--size", "100"], 2, "--size: expected size to be a multiple of 32, found 100", id="size"),
    pytest.param(["good", "--unfreeze", "some"], 2, "expected a whole number", id="unfreeze"),
    pytest.param(["good", "--backbone", "resnet"], 2, "expected mobilenet_v1, mobilenet_v2, mobilenet_v3_small, ",
                 id="backbone"),
    pytest.param(["good", "--weights", "none", "--set", "epoch=3"], 2,
                 "found epoch (did you mean epochs?); correct the name", id="setting"),
    pytest.param(["good", "--recipe", "no.toml"], 2, "no.toml: expected a recipe (a TOML file)", id="no recipe"),
]


@pytest.fixture(scope="module")
def bad_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    class_folders(folder / "good", 5)
    class_folders(folder / "few", 5)
    (folder / "few/square/square 00.png").unlink()
    (folder / "flat").mkdir()
    cv2.imwrite(str(folder / "flat/0.png"), draw("round", 0))
    (folder / "single/round").mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(str(folder / f"single/round/{number}.png"), draw("round", number))
    (folder / "taken").mkdir()
    (folder / "bad.weights.h5").write_bytes(b"no weights")
    (folder / "other.txt").write_text("lion/1.jpg\n")
    return folder


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED)
def test_fit_refuses_in_one_line(bad_data: Path, arguments: list[str], code: int, message: str) -> None:
    before = sorted(bad_data.rglob("*"))
    done = train_here("fit", *arguments, *([] if "--out" in arguments else ["--out", "new"]), cwd=bad_data)
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("train")
    assert message in last
    assert "Traceback" not in done.stderr
    assert sorted(bad_data.rglob("*")) == before, "nothing half-written"


def test_fit_without_tensorflow_says_what_to_install(bad_data: Path) -> None:
    hidden = "import sys; sys.modules['keras'] = None; from train.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", hidden, "fit", "good", "--out", "new"], cwd=bad_data, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("type, in the checkout: pip install '.[train]'")
    assert not (bad_data / "new").exists()


@pytest.mark.parametrize(("at", "stop", "code", "kept"), [
    pytest.param("fine-tuning 1/900", signal.SIGINT, 0, True, id="Ctrl-C keeps what was learned"),
    pytest.param("training the head", signal.SIGINT, 130, False, id="Ctrl-C before anything was learned"),
    pytest.param("training the head", signal.SIGTERM, 143, False, id="SIGTERM"),
    pytest.param("fine-tuning 1/900", signal.SIGTERM, 143, False, id="SIGTERM keeps a checkpoint"),
])
def test_fit_ends_cleanly_when_stopped(
    bad_data: Path, tmp_path: Path, at: str, stop: int, code: int, kept: bool
) -> None:
    long = ["-m", "train", "fit", bad_data / "good", *SMALL[:-1], "900", "--out", tmp_path / "new"]
    # Where the tests run in the background, SIGINT is ignored from the start, and would be in the child.
    said = []
    with subprocess.Popen(["env", "--default-signal=INT", sys.executable, *map(str, long)], cwd=ROOT,
                          stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith(at):
                process.send_signal(stop)
    assert process.returncode == code, "".join(said)
    tuned = at.startswith("fine-tuning")
    left = {"logs", "new"} if kept else {"logs", "new.partial"} if tuned else set()
    assert {path.name for path in tmp_path.iterdir()} == left
    if "new.partial" in left:
        assert [path.name for path in (tmp_path / "new.partial").iterdir()] == ["checkpoint"]
        assert said[-1].endswith("new.partial holds what was reached; the same command with --resume goes on from "
                                 "there\n")
    if kept:
        assert ModelBundle.open(tmp_path / "new").labels.names == CLASSES
        assert "interrupted" in (tmp_path / "new/CARD.md").read_text()
        assert any("interrupted" in note for note in json.loads(
            (tmp_path / "new/report.json").read_text())["left_out"]["notes"])
    assert "Traceback" not in "".join(said)


def test_fit_says_that_a_class_without_photos_is_no_class(bad_data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    rows = "".join(f"round,round/round {number:02}.png\n" for number in range(5))
    listed.write_text("class,path\n" + rows)
    done = train_here("fit", "good", "--exclude", listed, *SMALL, "--out", "taken", "--force", cwd=bad_data)
    assert "taken" in done.stderr
    data = find_photos(bad_data / "good", listed)
    assert data.names == ("empty", "square")
    assert data.notes[1] == "round: all 5 photos are excluded, so it is not a class"
