"""What `convert` refuses, in one line and before TensorFlow is loaded, and how it tries out a new file."""

from __future__ import annotations

import ast
import ctypes
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.__main__ import main
from convert.calibration import read_calibration, read_folder
from convert.trial import try_out
from models.bundle import CALIBRATION, CARD, GOLDEN, KERAS, SPLIT, TFLITE, ModelBundle, file_hash, write_bundle
from models.errors import BundleError, EdgeWatchError
from models.evaluation import LEAST_THRESHOLD
from models.labels import Label, LabelMap
from models.manifest import InputSpec, Manifest, OperatingPoint, OutputSpec, Provenance, Quantization
from tests.tiny import npz, rewritten, split_csv

ROOT = Path(__file__).parents[1]
SIZE, NAMES = 32, ("deer", "tiger")


def bundle(folder: Path, name: str = "deer", **files: bytes) -> Path:
    """A float bundle whose network is never opened, with one validation and one test photo of each class."""
    rows = []
    for split in ("val", "test"):
        for index, label in enumerate(NAMES):
            path = folder / "photos" / split / f"{label}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((40, 50, 3), 40 + 100 * index, np.uint8))
            rows.append({"path": f"{split}/{label}.png", "label": label, "split": split, "sha256": file_hash(path)})
    images = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    point = OperatingPoint(LEAST_THRESHOLD, 1.0, 1.0, 1)
    manifest = Manifest(
        name=name, version="1", input=InputSpec(SIZE), output=OutputSpec(2), temperature=1.0,
        quantization=Quantization(), operating_points={label: {"day": point, "night": point} for label in NAMES},
        metrics={}, verified=True, files={},
        provenance=Provenance("train fit photos", "2026-05-01T06:00:00+00:00", {}, "photos", {}, "tiny", "none", 1),
    )
    path = folder / "runs" / name
    write_bundle(path, manifest, LabelMap(Label.from_name(label, {}) for label in NAMES), {
        KERAS: b"x" * 100,
        CALIBRATION: npz(images=images, labels=np.array([0, 1] * 4), lighting=np.array(["day"] * 6 + ["night"] * 2)),
        GOLDEN: npz(inputs=images[:2], outputs=np.zeros((2, 2), np.float32), runtime=np.array("keras 3")),
        SPLIT: split_csv(rows).encode(), CARD: b"# deer 1\n", **files,
    })
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """The one line that `convert --quantize int8 ...` ends with."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(["--quantize", "int8", *arguments]) == code
    said = capsys.readouterr().err
    assert said.startswith("convert: ")
    assert said.count("\n") == 1, said
    assert "expected" in said
    assert "found" in said
    assert sorted(Path.cwd().rglob("*")) == before, "nothing is written"
    return said.removeprefix("convert: ").strip()


def test_no_bundle_under_runs_says_how_to_make_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys)
    assert said == "runs/: expected a float bundle, found none; make one with `train fit PHOTOS` or name one"


def test_folder_that_is_no_bundle(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "photos").mkdir()
    assert "photos: expected a float bundle, a .keras or .h5 file, or a SavedModel's folder, found a folder without " \
        "manifest.json and saved_model.pb" in refused(capsys, "photos")
    assert "nowhere: expected a float bundle, a .keras or .h5 file, or a SavedModel's folder, found nothing" in refused(
        capsys, "nowhere")


def test_newest_float_bundle_is_the_one_written_last(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seconds in (("a", 300), ("b", 500), ("c", 400)):
        os.utime(bundle(place, name) / "manifest.json", (seconds, seconds))
    (place / "photos/test/deer.png").unlink()
    assert main(["--quantize", "int8"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "runs/b is the newest float bundle under runs/"


def test_int8_bundle_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ModelBundle.open(bundle(place))
    manifest = replace(found.manifest, quantization=Quantization("int8"))
    write_bundle(place / "done", manifest, found.labels, {TFLITE: b"x", GOLDEN: b"x"})
    assert "done: expected a float bundle, found one that is converted already (int8)" in refused(capsys, "done")


def test_damaged_bundle_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle(place)
    (path / CALIBRATION).write_bytes((path / CALIBRATION).read_bytes()[:-1])
    assert "calibration.npz: expected sha256" in refused(capsys, "runs/deer")


def test_bundle_without_calibration_pictures_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(bundle(place), place / "bare", calibration=None)
    assert "bare: expected calibration pictures (calibration.npz), found none" in refused(capsys, "bare")


@pytest.mark.parametrize(("images", "labels", "expected"), [
    (np.zeros((2, 16, 16, 3), np.uint8), [0, 1], "expected (n, 32, 32, 3) uint8 pictures, found (2, 16, 16, 3) uint8"),
    (np.zeros((2, 32, 32, 3), np.float32), [0, 1], "found (2, 32, 32, 3) float32"),
    (np.ones((2, 32, 32, 3), np.uint8), [0, 1], "the calibration does not fit the network's input range"),
    (np.full((2, 32, 32, 3), 255, np.uint8), [0, 2], "expected one of 2 labels"),
    (np.zeros((0, 32, 32, 3), np.uint8), [], "found (0, 32, 32, 3)"),
])
def test_calibration_that_does_not_fit_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], images: np.ndarray, labels: list[int], expected: str
) -> None:
    content = npz(images=images, labels=np.array(labels), lighting=np.array(["day"] * len(labels)))
    rewritten(bundle(place), place / "odd", calibration=content)
    assert expected in refused(capsys, "odd")


def test_calibration_that_is_no_archive_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(bundle(place), place / "odd", calibration=b"none")
    assert "calibration.npz: expected images, labels and lighting" in refused(capsys, "odd")


def test_samples_are_taken_evenly_and_in_a_seeded_order(place: Path) -> None:
    found = ModelBundle.open(bundle(place))
    whole, four = read_calibration(found), read_calibration(found, 4)
    assert whole.counts == {"deer": {"day": 3, "night": 1}, "tiger": {"day": 3, "night": 1}}
    assert four.counts == {"deer": {"day": 1, "night": 1}, "tiger": {"day": 1, "night": 1}}
    assert np.array_equal(whole.images[:4], four.images)
    assert np.array_equal(read_calibration(found).images, whole.images)
    assert not np.array_equal(read_calibration(found, seed=2).images, whole.images)
    assert whole.source == {"source": "bundle", "seed": 1}
    assert [NAMES[label] for label in four.labels] == [
        name for image in four.images for name, known in zip(NAMES * 4, np.load(found.path / CALIBRATION)["images"],
                                                             strict=True) if np.array_equal(image, known)]
    assert sorted(map(bytes, whole.images)) == sorted(map(bytes, np.load(found.path / CALIBRATION)["images"]))


def test_samples_that_are_not_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle(place)
    assert "expected 9 calibration pictures, found 8" in refused(capsys, "runs/deer", "--samples", "9")


def test_output_that_exists_is_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle(place)
    (place / "runs/deer-int8").mkdir()
    (place / "runs/deer-int8/notes.txt").write_text("mine")
    for force in ([], ["--force"]):
        assert "runs/deer-int8: expected no such folder, found one" in refused(capsys, "runs/deer", *force)


def test_float_bundle_is_never_its_own_output(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle(place)
    said = refused(capsys, "runs/deer", "--out", "runs/../runs/deer", "--force", code=2)
    assert "expected another folder than the float model's" in said


def test_output_below_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle(place)
    (place / "file").write_text("")
    assert main(["--quantize", "int8", "runs/deer", "--out", "file/x/y"]) == 1
    said = capsys.readouterr().err
    assert said == f"convert: file/x/y: cannot be written: {place}/file is a file; choose another --out\n"


def test_output_in_a_read_only_folder(place: Path) -> None:
    bundle(place)
    (place / "shut").mkdir(mode=0o500)
    command = [sys.executable, "-m", "convert", "--quantize", "int8", "runs/deer", "--out", "shut/x"]
    # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: else root may write anywhere.
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, capture_output=True,
                          text=True, preexec_fn=lambda: ctypes.CDLL(None).prctl(24, 1))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"convert: shut/x: cannot be written: {place}/shut is read-only; choose another --out\n"


@pytest.mark.parametrize("out", ["/proc/x", "/proc/new/x", "shelf/" + "n" * 300])
def test_output_that_no_folder_can_be_made_for_is_refused_at_once(
    place: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    rewritten(bundle(place), place / "bare", split=None)
    # Neither the list of photos, which is missing, nor the network, which is none, have been looked at.
    assert main(["--quantize", "int8", "bare", "--out", out]) == 1
    said = capsys.readouterr().err.removeprefix("convert: ").strip()
    assert "\n" not in said
    assert said.startswith(f"{out}: cannot be written: {'/proc' if 'proc' in out else place}")
    assert said.endswith("; choose another --out")


def test_ladder_is_refused_at_once_where_float16_could_not_be_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(place)
    (place / "runs/deer-float16").mkdir()
    assert refused(capsys, "runs/deer", "--on-miss", "ladder").startswith(
        "runs/deer-float16: expected no such folder, found one; choose another --out")
    rewritten(place / "runs/deer", place / "mine-float16")
    said = refused(capsys, "mine-float16", "--out", "mine-int8", "--on-miss", "ladder", "--force", code=2)
    assert said == ("--out mine-float16: expected another folder than the float model's, found the same; choose "
                    "another")


def photos_of(folder: Path, *names: str) -> Path:
    """A noisy photo for each name."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        cv2.imwrite(str(folder / name), noise)
    return folder


@pytest.mark.parametrize(("names", "note"), [
    (("1.png", "2.png"), "not balanced by class: photos has photos alone, no folder for each class"),
    (("a/1.png", "a/2.png"), "not balanced by class: photos gives no picture of 6 of 7 classes (b, c, d, e, f, ...)"),
    ([f"{name}/1.png" for name in "abdefg"], "not balanced by class: photos gives no picture of 1 of 7 classes (c)"),
    ([f"{name}/1.png" for name in "abcdefg"], None),
])
def test_calibration_that_is_not_balanced_by_class_is_told(
    place: Path, names: tuple[str, ...], note: str | None
) -> None:
    labels = LabelMap(Label.from_name(name, {}) for name in "abcdefg")
    found = read_folder(photos_of(Path("photos"), *names), labels, SIZE)
    assert found.notes == ((note,) if note else ())


def test_class_of_which_all_photos_are_left_out_is_missing(place: Path) -> None:
    folder = photos_of(Path("photos"), "deer/1.png", "tiger/1.png")
    labels = LabelMap(Label.from_name(name, {}) for name in NAMES)
    found = read_folder(folder, labels, SIZE, held_out={file_hash(folder / "tiger/1.png")})
    assert found.notes == ("left out of the calibration: 1 photos that the result is tested on",
                           "not balanced by class: photos gives no picture of 1 of 2 classes (tiger)")


def test_changed_photo_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle(place)
    with (place / "photos/test/tiger.png").open("ab") as file:
        file.write(b"!")
    said = refused(capsys, "runs/deer")
    assert said == ("photos: expected the 2 test and 2 validation photos of split.csv, found 0 missing and 1 changed "
                    "(first: photos/test/tiger.png); type --data DIR if they have moved, or --no-verify to convert "
                    "without comparing")


@pytest.mark.parametrize(("text", "expected"), [
    ("path,label\n1.png,deer\n", "split.csv: expected the columns ['label', 'path', 'sha256', 'split']"),
    ("path,label,split,sha256\n1.png,fox,test,0\n", "split.csv: expected labels of the model, found 'fox'"),
    ("path,label,split,sha256\n1.png,deer,train,0\n", "split.csv: expected validation and test photos"),
])
def test_odd_list_of_photos_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    rewritten(bundle(place), place / "odd", split=text.encode())
    assert expected in refused(capsys, "odd")


@pytest.mark.parametrize(("arguments", "expected"), [
    (("float16", "--calibration", "photos"), "--calibration: expected it with --quantize int8 or int16x8 only, found"),
    (("none", "--samples", "9"), "--samples: expected it with --quantize int8 or int16x8 only, found it with none"),
    (("int16x8", "--io", "uint8"), "--io: expected it with --quantize int8 only, found it with int16x8"),
    (("dynamic", "--fine-tune", "never"), "--fine-tune: expected it with --quantize int8 only, found it with dynamic"),
    (("float16", "--on-miss", "ladder"), "--on-miss ladder: expected it with --quantize int8"),
    (("int16x8", "--for", "xnnpack"), "--for xnnpack: expected a scheme that XNNPACK runs, found int16x8"),
    (("int8", "--no-verify", "--data", "photos"), "--data: expected it without --no-verify"),
    (("int8", "--no-verify", "--max-drop", "1"), "--max-drop: expected it without --no-verify"),
    (("int8", "--samples", "0"), "--samples: expected a number of pictures from 1, found 0"),
    (("int8", "--seed", "-1"), "--seed: expected a number from 0, found -1"),
    (("int8", "--max-drop", "nan"), "--max-drop: expected percentage points from 0 to 100, found nan"),
    (("int8", "--max-drop", "-0.5"), "--max-drop: expected percentage points from 0 to 100, found -0.5"),
    (("int8", "--input-range", "1", "0"), "--input-range: expected two numbers, the lower one first, found 1 0"),
    (("int8", "--input-range", "0", "inf"), "--input-range: expected two numbers, the lower one first, found 0 inf"),
    (("int8", "--input-range", "0", "1"), "--input-range: expected none with a bundle, whose network takes raw 0-255"),
    (("int8", "--labels", "labels.txt"), "--labels: expected none with a bundle, which has labels of its own"),
    (("int8", "--out", "runs/deer"), "--out runs/deer: expected another folder than the float model's"),
    (("int8", "--calibration", "nowhere"), "--calibration nowhere: expected a folder of photos, found none"),
])
def test_options_that_cannot_be_meant_together_are_wrong_usage(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    bundle(place)
    before = sorted(place.rglob("*"))
    assert main(["--quantize", arguments[0], "runs/deer", *arguments[1:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"convert: {expected}")
    assert said.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--quantize", "int4"], ["--quantize", "int8", "a", "b"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
        assert "usage: convert" in capsys.readouterr().err


def test_debug_shows_the_traceback(place: Path) -> None:
    with pytest.raises(EdgeWatchError, match="nowhere: expected a float bundle"):
        main(["--quantize", "int8", "nowhere", "--debug"])


def test_tensorflow_is_not_loaded_before_a_bundle_is_refused(place: Path) -> None:
    bundle(place)
    (place / "photos/val/deer.png").unlink()
    script = ("import sys; from convert.__main__ import main; code = main(['--quantize', 'int8', 'runs/deer'])\n"
              "assert code == 1 and not {'tensorflow', 'keras'} & set(sys.modules), code")
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_trial_of_a_damaged_file_gives_one_line(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 200)
    with pytest.raises(BundleError) as found:
        try_out(file)
    assert "\n" not in str(found.value)
    assert str(found.value).startswith("model.tflite: expected the runtime to run it, found")
    assert str(found.value).endswith("; type another --quantize, or train a network of other layers")


def test_trial_that_dies_of_a_signal_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(EdgeWatchError, match=r"expected the runtime to run it, found that it dies of it \(SIGSEGV\)"):
        try_out(tmp_path / "model.tflite")


def test_tensorflow_stands_in_three_modules_of_convert() -> None:
    importing = set()
    for file in (ROOT / "convert").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.partition(".")[0] for name in names} & {"tensorflow", "keras"}:
                importing.add(file.name)
    assert importing == {"source.py", "engine.py", "tune.py"}


def test_missing_tensorflow_says_what_to_type(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(place)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "keras", None)
    said = refused(capsys, "runs/deer", "--no-verify")
    assert said.startswith("expected TensorFlow, found none (")
    assert said.endswith("type, in the checkout: pip install '.[train]'")
