"""`convert --quantize int8` on a real network: what it writes is integer, proven, and the same every time."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT

from convert.__main__ import main
from convert.flatbuffer import Port, read_graph, require_integer
from convert.int8 import to_int8
from convert.quiet import quiet
from models.bundle import ModelBundle, file_hash
from models.classifier import Classifier
from models.errors import BundleError
from models.interpreter import Interpreter
from models.manifest import Gate, Speed
from models.preprocess import is_infrared
from tests import tiny
from tests.backbones import saved

ROOT = Path(__file__).parents[1]
# Of so small a network half the time is the way in and out; no time decides a test.
SPEED = Speed(2.0, 1.0, 0.5, 150)
SCRIPT = f"""
import sys
import convert.job
from convert.__main__ import main
from models.manifest import Speed
convert.job.invoke_speed = lambda before, after: {SPEED}
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convert.job.invoke_speed", lambda before, after: SPEED)


@dataclass(frozen=True)
class Converted:
    folder: Path
    parent: ModelBundle
    bundle: ModelBundle
    printed: str
    noise: str


@pytest.fixture(scope="module")
def converted(tiny_parent: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """A tiny float bundle in runs/, converted by `convert --quantize int8` from within its folder."""
    folder = tmp_path_factory.mktemp("convert")
    shutil.copytree(tiny_parent.path.parents[1], folder, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--quantize", "int8"], cwd=folder, check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    made = ModelBundle.open(folder / "runs/tiny-int8")
    return Converted(folder, ModelBundle.open(folder / "runs/tiny"), made, done.stdout, done.stderr)


def rows_of(found: Converted, split: str) -> list[dict[str, str]]:
    text = (found.parent.path / "split.csv").read_text()
    return [row for row in csv.DictReader(text.splitlines()) if row["split"] == split]


def logits_of(model: Path, photo: Path, grey: bool) -> np.ndarray:
    """The logits of one photo, with nothing of this project's code."""
    network = LiteRT(str(model))
    network.allocate_tensors()
    taken, given = network.get_input_details()[0], network.get_output_details()[0]
    image = cv2.resize(cv2.imread(str(photo)), (tiny.SIZE, tiny.SIZE), interpolation=cv2.INTER_LINEAR_EXACT)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    network.set_tensor(taken["index"], image[None])
    network.invoke()
    scale, zero = given["quantization"]
    return (network.get_tensor(given["index"])[0].astype(np.float64) - zero) * scale


def test_newest_bundle_is_named_and_terminal_stays_calm(converted: Converted) -> None:
    lines = converted.printed.splitlines()
    assert lines[0] == "runs/tiny is the newest float bundle under runs/"
    assert lines[1] == "runs/tiny: tiny 1, tiny, 3 classes, 48 px"
    assert lines[2] == "calibrating from a set of 48 pictures ..."
    assert lines[3] == "comparing on 24 test photos ..."
    assert lines[-1] == "runs/tiny-int8: written"
    assert "float tensors     0" in lines
    assert "XNNPACK pieces    1, outside: CAST 1, QUANTIZE 1" in lines
    assert "raw invoke        1.00 ms, float 2.00 ms: 0.50 x (one thread, in turn, medians of 150)" in lines
    assert len(lines) < 50
    assert max(map(len, lines)) <= 110
    assert converted.noise == ""


def test_file_is_integer_with_raw_input_and_fixed_batch(converted: Converted) -> None:
    graph = read_graph(converted.bundle.model.read_bytes())
    assert (graph.float_operators, graph.float_tensors, graph.per_tensor) == (0, (), ())
    assert graph.input == Port("UINT8", (1, 48, 48, 3), 1.0, 0)
    assert (graph.output.dtype, graph.output.shape) == ("UINT8", (1, 3))
    assert graph.operators == {"CAST": 1, "MUL": 1, "ADD": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 1, "MEAN": 1,
                               "RESHAPE": 2, "QUANTIZE": 1}
    stored = converted.bundle.manifest.quantization
    assert stored.operators == graph.operators
    assert (stored.scheme, stored.target, stored.float_operators, stored.float_tensors) == ("int8", "xnnpack", 0, 0)
    assert (stored.partitions, stored.outside, stored.speed) == (1, {"CAST": 1, "QUANTIZE": 1}, SPEED)
    assert stored.size_bytes == converted.bundle.model.stat().st_size


def test_every_gate_is_in_the_manifest(converted: Converted) -> None:
    gates = {gate.name: gate for gate in converted.bundle.manifest.quantization.gates}
    assert gates["runs in a process of its own"].met is True
    assert gates["no float tensor"] == Gate("no float tensor", True, "0", "0")
    assert gates["one piece for XNNPACK"].met is True
    assert gates["not slower than its float"] == Gate("not slower than its float", True, "0.50 x its time",
                                                      "1.00 x its time")
    for name in ("accuracy as taken", "accuracy in infrared grey", "recall of each class"):
        assert gates[name].met is None, "24 photos cannot tell"
        assert "would not show" in gates[name].found
    assert len(gates) == 7


def test_recipe_and_its_seconds_are_in_the_manifest(converted: Converted) -> None:
    stored = converted.bundle.manifest.quantization
    assert stored.recipe["rewritten"] == [
        "1 scaling of the input made one addition",
        "1 dense layer made a 1 x 1 convolution, which has a scale for each class"]
    assert stored.recipe["pictures"] == {"source": "bundle", "seed": 1}
    assert {"reading", "conversion", "search for ranges", "proof", "speed"} <= set(stored.seconds)
    assert all(seconds >= 0 for seconds in stored.seconds.values())


def test_scaled_input_uses_all_its_steps(converted: Converted) -> None:
    with quiet():
        network = LiteRT(str(converted.bundle.model), experimental_preserve_all_tensors=True)
    network.allocate_tensors()
    scales = [round(detail["quantization"][0] * 255, 3) for detail in network.get_tensor_details()
              if tuple(detail["shape"]) == (1, 48, 48, 3) and detail["dtype"] == np.int8]
    assert sorted(scales) == [255, 255, 255, 256], "raw 0-255, its bits, the 256 that half of these miss, less 127"


@pytest.mark.parametrize("scaled", [True, False])
def test_input_is_raw_whatever_the_calibration_pictures_reach(scaled: bool) -> None:
    with quiet():
        import keras

        layers = keras.layers
        image = keras.Input((48, 48, 3))
        inner = keras.Sequential([keras.Input((48, 48, 3)), layers.Rescaling(1 / 127.5, -1.0 if scaled else 0.5)])
        found = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(inner(image)))
        model = saved(keras.Model(image, layers.Dense(3)(found)))
    dim = np.random.default_rng(0).integers(20, 181, (6, 48, 48, 3)).astype(np.uint8)
    require_integer(read_graph(to_int8(model, dim, tuning="never").content), 48, 3)
    assert (dim.min(), dim.max()) == (20, 180), "the pictures are left as they were"


def test_manifest_numbers_equal_an_independent_count(converted: Converted) -> None:
    with quiet():
        import keras

        model = keras.saving.load_model(converted.parent.model, compile=False)
    manifest = converted.bundle.manifest
    rows = rows_of(converted, "test")
    truth = np.array([tiny.NAMES.index(row["label"]) for row in rows])
    for lighting in ("day", "night"):
        photos = [converted.folder / "photos" / row["path"] for row in rows]
        answers = np.array([logits_of(converted.bundle.model, path, lighting == "night").argmax() for path in photos])
        small = [cv2.resize(cv2.imread(str(path)), (48, 48), interpolation=cv2.INTER_LINEAR_EXACT) for path in photos]
        shown = np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in small])
        if lighting == "night":
            shown = np.stack([cv2.merge([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)] * 3) for picture in shown])
        with quiet():
            floats = np.asarray(model(shown.astype(np.float32))).argmax(axis=1)
        found = manifest.quantization.compared[lighting]
        assert found.n == len(rows) == 24
        assert found.accuracy == manifest.metrics[lighting].accuracy
        assert found.accuracy == pytest.approx((answers == truth).mean(), abs=1e-6)
        assert found.float_accuracy == pytest.approx((floats == truth).mean(), abs=1e-6)
        assert found.agreement == pytest.approx((floats == answers).mean(), abs=1e-6)
        for index, name in enumerate(tiny.NAMES):
            here = truth == index
            after, before = manifest.metrics[lighting].per_class[name], found.float_per_class[name]
            assert (after.n, after.recall) == (8, pytest.approx((answers[here] == index).mean(), abs=1e-6))
            assert before.recall == pytest.approx((floats[here] == index).mean(), abs=1e-6)
    assert manifest.quantization.compared["day"].float_accuracy > 0.9, "the tiny network has learnt something"
    assert manifest.quantization.compared["day"].agreement > 0.9


def test_temperature_and_points_come_from_the_int8_model_on_validation_photos(converted: Converted) -> None:
    from models.evaluation import calibrate

    rows = rows_of(converted, "val")
    truth = np.array([tiny.NAMES.index(row["label"]) for row in rows])
    logits = {
        lighting: np.stack([
            logits_of(converted.bundle.model, converted.folder / "photos" / row["path"], lighting == "night")
            for row in rows
        ]).astype(np.float32)
        for lighting in ("day", "night")
    }
    # By day, only photos in colour count: one of the wolves is grey.
    photos = [cv2.imread(str(converted.folder / "photos" / row["path"])) for row in rows]
    grey = np.array([is_infrared(cv2.resize(photo, (48, 48), interpolation=cv2.INTER_LINEAR_EXACT))
                     for photo in photos])
    assert [row["label"] for row, is_grey in zip(rows, grey, strict=True) if is_grey] == ["wolf"]
    temperature, points = calibrate(logits, truth, tiny.NAMES, grey)
    manifest = converted.bundle.manifest
    assert manifest.temperature == pytest.approx(temperature, abs=1e-6)
    for name in tiny.NAMES:
        for lighting in ("day", "night"):
            assert manifest.operating_points[name][lighting].threshold == pytest.approx(
                points[name][lighting].threshold, abs=1e-6)
            assert manifest.operating_points[name][lighting].n == (5 if (name, lighting) == ("wolf", "day") else 6)


def test_logits_are_those_of_the_float_model(converted: Converted) -> None:
    with np.load(converted.parent.path / "calibration.npz") as calibration:
        pictures = calibration["images"]
    with quiet():
        import keras

        model = keras.saving.load_model(converted.parent.model, compile=False)
        expected = np.asarray(model(pictures.astype(np.float32), training=False))
    network = Interpreter(converted.bundle.model)
    found = np.stack([network.run(picture) for picture in pictures])
    step = read_graph(converted.bundle.model.read_bytes()).output.scale
    assert np.abs(found - expected).mean() < step
    assert np.abs((found - expected).mean(axis=0)).max() < step
    assert np.abs(found - expected).max() < 0.1 * expected.std()


def test_golden_pictures_are_what_the_runtime_gives(converted: Converted) -> None:
    with np.load(converted.bundle.path / "golden.npz") as golden:
        inputs, outputs, runtime = golden["inputs"], golden["outputs"], str(golden["runtime"])
    assert (inputs.shape, inputs.dtype, outputs.shape, outputs.dtype) == ((2, 48, 48, 3), np.uint8, (2, 3), np.float32)
    network = Interpreter(converted.bundle.model)
    assert runtime == f"ai_edge_litert {network.version}"
    assert np.array_equal(np.stack([network.run(picture) for picture in inputs]), outputs)
    probabilities = Classifier(converted.bundle).classify(tiny.draw("stripes", 900))
    assert converted.bundle.labels.names[int(probabilities.argmax())] == "stripes"
    assert probabilities.sum() == pytest.approx(1)


def test_labels_are_readable_as_standard_metadata(converted: Converted) -> None:
    assert zipfile.ZipFile(converted.bundle.model).read("labels.txt") == b"blank\nstripes\nwolf\n"


def test_provenance_names_parent_command_and_versions(converted: Converted) -> None:
    origin, parent = converted.bundle.manifest.provenance, converted.parent.manifest.provenance
    assert origin.command == "convert --quantize int8 runs/tiny"
    assert origin.parent["path"] == "runs/tiny"
    assert origin.parent["name"] == "tiny 1"
    assert origin.parent["sha256"] == file_hash(converted.parent.path / "manifest.json")
    assert origin.parent["command"] == "train fit photos"
    assert set(origin.versions) == {"edge-watch", "python", "numpy", "opencv", "tensorflow", "keras", "ai_edge_litert"}
    assert (origin.data, origin.photos, origin.seed) == (parent.data, parent.photos, parent.seed)
    assert origin.settings == {"dropout": 0.2, "quantize": "int8", "max_drop": 0.5, "fine_tune": "auto",
                               "conversion_seed": 1, "io": "uint8"}
    counts = converted.bundle.manifest.quantization.calibration
    assert counts == {name: {"day": 12, "night": 4} for name in tiny.NAMES}
    assert str(converted.folder) not in (converted.bundle.path / "manifest.json").read_text()


def test_card_tells_of_this_model_and_keeps_what_its_parent_said(converted: Converted) -> None:
    card = (converted.bundle.path / "CARD.md").read_text()
    titles = [line for line in card.splitlines() if line.startswith("#")]
    assert titles == ["# tiny 1, int8", "## Data", "## Results per class", "## Known failures", "## Conversion to int8"]
    assert "Drawn by code." in card
    assert "Everything real." in card
    assert "convert --quantize int8 runs/tiny" in card
    assert f"float: {converted.bundle.manifest.quantization.compared['day'].float_accuracy:.1%}" in card
    assert str(converted.folder) not in card


def test_changed_byte_is_refused(converted: Converted, tmp_path: Path) -> None:
    copy = shutil.copytree(converted.bundle.path, tmp_path / "copy")
    content = bytearray((copy / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.tflite").write_bytes(content)
    with pytest.raises(BundleError, match=r"model.tflite: expected sha256 .* the bundle is damaged, copy it again"):
        ModelBundle.open(copy)


def test_same_bundle_gives_the_same_bytes(converted: Converted, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["--quantize", "int8", str(converted.parent.path), "--out", str(again), "--no-verify"]) == 0
    assert (again / "model.tflite").read_bytes() == converted.bundle.model.read_bytes()
    assert file_hash(again / "golden.npz") == file_hash(converted.bundle.path / "golden.npz")


def test_no_verify_says_so_and_keeps_the_floats_numbers(
    converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(converted.parent.path, tmp_path / "tiny")
    assert main(["--quantize", "int8", str(path), "--no-verify", "--samples", "6"]) == 0
    manifest = ModelBundle.open(tmp_path / "tiny-int8").manifest
    assert manifest.verified is False
    assert manifest.quantization.compared == {}
    assert manifest.temperature == converted.parent.manifest.temperature
    assert Counter(manifest.quantization.calibration["wolf"]) == {"day": 1, "night": 1}
    assert "Not verified" in (tmp_path / "tiny-int8" / "CARD.md").read_text()
    assert "not verified (--no-verify)" in capsys.readouterr().out
    assert json.loads((tmp_path / "tiny-int8" / "manifest.json").read_text())["verified"] is False


def test_moved_photos_are_found_with_data_and_a_bundle_is_replaced_only_by_force(
    converted: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = shutil.copytree(converted.parent.path, tmp_path / "tiny")
    moved = shutil.copytree(converted.folder / "photos", tmp_path / "elsewhere")
    assert main(["--quantize", "int8", "tiny"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("convert: photos: expected the 24 test and 18 validation photos of split.csv, found 42 mis")
    assert said.endswith("type --data DIR if they have moved, or --no-verify to convert without comparing\n")
    assert not (tmp_path / "tiny-int8").exists()
    (tmp_path / "tiny-int8").mkdir()
    (tmp_path / "tiny-int8" / "manifest.json").write_text("{}")
    assert main(["--quantize", "int8", str(bundle), "--data", str(moved)]) == 1
    assert "tiny-int8: expected no such folder, found one" in capsys.readouterr().err
    assert main(["--quantize", "int8", "tiny", "--data", "elsewhere", "--force"]) == 0
    made = ModelBundle.open(tmp_path / "tiny-int8")
    assert made.manifest.verified
    assert made.manifest.quantization.compared == converted.bundle.manifest.quantization.compared
    assert made.model.read_bytes() == converted.bundle.model.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "tiny", "tiny-int8"]


def test_network_without_an_int8_version_is_refused_in_one_line(
    converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet():
        import keras

        image = keras.Input((48, 48, 3))
        flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(image))
        model = keras.Model(image, keras.layers.Dense(3)(keras.ops.erf(flat)))
        model.save(tmp_path / "odd.keras")
    odd = tiny.rewritten(converted.parent.path, tmp_path / "odd", model=(tmp_path / "odd.keras").read_bytes())
    assert main(["--quantize", "int8", str(odd), "--no-verify"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "int8" in said
    assert said.endswith("found: Erf; train a network of other layers, or see all with --debug\n")
    assert not (tmp_path / "odd-int8").exists()


def test_file_that_is_no_keras_model_is_refused_in_one_line(
    converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tiny.rewritten(converted.parent.path, tmp_path / "odd", model=b"not a zip archive")
    assert main(["--quantize", "int8", str(odd), "--no-verify"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "model.keras: expected a Keras model, found one that is damaged or cut off; copy it again\n" in said


def test_no_space_left_leaves_nothing_behind(
    converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * converted.parent.model.stat().st_size - 1, kept[1]))
    try:
        code = main(["--quantize", "int8", str(converted.parent.path), "--out", str(tmp_path / "x"), "--no-verify"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "expected room for" in said
    assert said.endswith("make room or set TMPDIR\n")
    assert list(tmp_path.iterdir()) == []
