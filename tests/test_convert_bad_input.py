"""What `convert` refuses, in one line: other networks, damaged files, odd labels, folders without usable photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from convert.__main__ import main
from convert.calibration import read_folder
from convert.parent import open_parent, read_labels
from convert.photos import labelled
from convert.source import Source
from models.errors import EdgeWatchError, UsageError
from tests.bare import LABELS, PICTURES, SIZE, draw, fill

# Networks


def test_layer_without_a_16_bit_version_is_named(bare: Path) -> None:
    with pytest.raises(EdgeWatchError, match=r"layers that TensorFlow Lite has in int16x8, found: .*HARD_SWISH"):
        Source(bare / "plain.keras").stock("int16x8", PICTURES)


@pytest.mark.parametrize(("name", "expected"), [
    ("two.keras", "expected a network with one picture as input and one output, found 2 and 1"),
    ("pair.keras", "expected a network with one picture as input and one output, found 1 and 2"),
    ("lambda.keras", "expected a Keras model, found a Lambda layer, which is program code; with the program that"),
    ("own.keras", "expected a Keras model, found a layer that Keras 3 does not have (Mine); with the program that"),
    ("single.keras", "expected an output of (None, classes) for 2 classes or more, found (1, 1)"),
    ("map.keras", "expected an output of (None, classes) for 2 classes or more, found (1, 30, 30, 3)"),
    ("open.keras", "expected an input of (None, size, size, 3) float32, a square RGB picture of a fixed size, found "),
    ("grey.keras", "found (None, 32, 32, 1) float32"),
    ("wide.keras", "found (None, 32, 48, 3) float32"),
    ("sigmoid.keras", "expected logits or softmax as output, found a sigmoid for each class"),
    ("sigmoid_exported", "expected logits or softmax as output, found a sigmoid for each class"),
    ("unsigned", "expected a SavedModel with the signature serving_default, found none"),
    ("only.weights.h5", "expected a Keras model, found weights without a network; save the whole model"),
])
def test_other_networks_are_refused_in_one_line(bare: Path, name: str, expected: str) -> None:
    with pytest.raises(EdgeWatchError) as found:
        Source(bare / name)
    assert expected in str(found.value)
    assert str(found.value).startswith(f"{bare / name}: ")
    assert "\n" not in str(found.value)


def test_file_of_an_older_keras_says_how_to_save_it(bare: Path, tmp_path: Path) -> None:
    import h5py

    shutil.copy(bare / "plain.h5", tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        # Keras 2 wrote this for depthwise layers, too.
        config = json.loads(file.attrs["model_config"])
        [layer] = [each for each in config["config"]["layers"] if each["class_name"] == "DepthwiseConv2D"]
        layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(EdgeWatchError) as found:
        Source(tmp_path / "old.h5")
    assert str(found.value) == (
        f"{tmp_path}/old.h5: expected a Keras model, found layers as another version of Keras writes them; with the "
        f"program that trained it save it as a SavedModel (model.export() in Keras 3, model.save() of a folder in "
        f"Keras 2), and convert that")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("name", ["plain.keras", "plain.h5"])
def test_cut_off_keras_file_is_refused_in_one_line(bare: Path, tmp_path: Path, name: str, share: float) -> None:
    content = (bare / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(EdgeWatchError, match=r"expected a Keras model, found .* copy it again$") as found:
        Source(tmp_path / name)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("kept", [0, 100, None])
@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index",
                                  "variables/variables.data-00000-of-00001"])
def test_damaged_saved_model_is_refused_in_one_line(bare: Path, tmp_path: Path, part: str, kept: int | None) -> None:
    folder = shutil.copytree(bare / "plain_exported", tmp_path / "cut")
    content = (folder / part).read_bytes()
    (folder / part).unlink()
    if kept is not None:
        (folder / part).write_bytes(content[:kept])
    with pytest.raises(EdgeWatchError, match=r"expected a SavedModel, found one that cannot be read \(.*\); copy or ex"
                       ) as found:
        Source(folder)
    assert "\n" not in str(found.value)


def test_layer_that_the_runtime_does_not_have_is_named(bare: Path) -> None:
    with pytest.raises(EdgeWatchError, match=r"expected layers that TensorFlow Lite has, found: Erf; train a") as found:
        Source(bare / "erf.keras").float32()
    assert "\n" not in str(found.value)


# Labels


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "expected the name of a class in each line, found none"),
    (b"deer\n\ntiger\n", "expected the name of a class in each line, found line 2 empty"),
    (b"deer\ntiger\ndeer\n", "expected each name once, found deer 2 times"),
    (b"0 deer\n2 tiger\n", "expected each number from 0 to 1 once, found 0, 2"),
    (b"0 deer\n0 tiger\n", "expected each number from 0 to 1 once, found 0, 0"),
    (b"index,name\n0,deer\n", "expected the columns index,name,display_name,scientific_name,observation_type, found"),
    (b"\xff\xfe\x00", "expected a text file in UTF-8, found "),
])
def test_odd_labels_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(EdgeWatchError) as found:
        read_labels(tmp_path / "labels.txt")
    assert expected in str(found.value)
    assert str(tmp_path / "labels.txt") in str(found.value)
    assert "\n" not in str(found.value)


# Parents


@pytest.mark.parametrize(("name", "found"), [
    ("nothing", "nothing"), ("model.tflite", "a file that is converted already"), ("photo.jpg", "another file"),
    ("folder", "a folder without manifest.json and saved_model.pb"),
])
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, found: str) -> None:
    if name == "folder":
        (tmp_path / name).mkdir()
    elif name != "nothing":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(EdgeWatchError) as error:
        open_parent(tmp_path / name, None)
    assert str(error.value) == (f"{tmp_path / name}: expected a float bundle, a .keras or .h5 file, or a SavedModel's "
                                f"folder, found {found}; name another, or make a bundle with `train fit`")


# Folders of photos


@pytest.mark.parametrize(("files", "expected"), [
    ({}, "expected photos (.bmp .jpeg .jpg .png .tif .tiff .webp), found none"),
    ({"deer/notes.txt": b"x"}, "found none; name the folder they are in"),
    ({"tigr/1.png": None}, "found 'tigr': the model does not know 'tigr'; did you mean: tiger?"),
    ({"deer/1.png": None, "2.png": None}, "found photos beside them (2.png)"),
    ({"deer/1.png": b"x", "deer/2.jpg": b""}, "found none but 2 that cannot be read and 0 test photos (first: "),
])
def test_folder_without_usable_photos_is_refused(
    tmp_path: Path, files: dict[str, bytes | None], expected: str
) -> None:
    for name, content in files.items():
        if content is None:
            draw(tmp_path / name, 1)
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgeWatchError) as found:
        read_folder(tmp_path, LABELS, SIZE)
    assert expected in str(found.value)
    assert "\n" not in str(found.value)


def test_too_few_and_too_dark_photos_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"deer": 3})
    with pytest.raises(EdgeWatchError, match=r"expected 4 calibration pictures, found 3; type --samples 3"):
        read_folder(tmp_path, LABELS, SIZE, 4)
    for path in (tmp_path / "deer").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)) // 255)
    with pytest.raises(EdgeWatchError, match="expected pictures of 0-255, found none brighter than 1; the calibration"):
        read_folder(tmp_path, LABELS, SIZE)
    with pytest.raises(UsageError, match=r"--calibration .*nowhere: expected a folder of photos, found none"):
        read_folder(tmp_path / "nowhere", LABELS, SIZE)


def test_photos_to_compare_on_must_be_readable_and_enough(tmp_path: Path) -> None:
    fill(tmp_path, {"deer": 1})
    with pytest.raises(EdgeWatchError, match="expected photos to validate and to test with, found 0 and 1"):
        labelled(tmp_path, LABELS, 1)
    fill(tmp_path, {"deer": 4})
    (tmp_path / "deer" / "02.png").write_bytes(b"x")
    with pytest.raises(EdgeWatchError, match=r"found 1 of 4 that cannot \(first: .*deer/02.png: expected a picture"):
        labelled(tmp_path, LABELS, 1)


# The command


@pytest.mark.parametrize(("arguments", "expected"), [
    ((), "expected --labels FILE with a model that is no bundle, found none"),
    (("--labels", "labels.txt"), "expected --calibration DIR with a model that is no bundle, found none"),
    (("--labels", "labels.txt", "--calibration", "photos"), "type --data DIR, or --no-verify to convert without"),
    (("--labels", "nowhere.txt"), "--labels nowhere.txt: expected a text file in UTF-8, found none"),
    (("--labels", "labels.txt", "--calibration", "photos", "--data", "nowhere"), "--data nowhere: expected a folder"),
])
def test_bare_model_without_what_it_needs_is_wrong_usage(
    bare: Path, jobs: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
    expected: str,
) -> None:
    shutil.copy(bare / "plain.keras", tmp_path / "model.keras")
    assert main(["--quantize", "int8", "model.keras", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("convert: ")
    assert expected in said
    assert said.count("\n") == 1
    assert not jobs


@pytest.mark.parametrize(("name", "labels", "expected"), [
    ("plain.keras", "deer\ntiger\n", "expected a label for each of the network's 3 outputs, found 2 labels (deer to t"),
    ("plain_exported", "a\nb\nc\nd\n", "expected a label for each of the network's 3 outputs, found 4 labels (a to d)"),
    ("lambda.keras", "a\nb\nc\n", "found a Lambda layer"),
    ("own.keras", "a\nb\nc\n", "found a layer that Keras 3 does not have"),
    ("two.keras", "a\nb\nc\n", "expected a network with one picture as input"),
    ("only.weights.h5", "a\nb\nc\n", "found weights without a network"),
    ("unsigned", "a\nb\nc\n", "expected a SavedModel with the signature serving_default"),
])
def test_bare_model_that_cannot_be_converted_is_one_line_and_nothing_is_written(
    bare: Path, jobs: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, labels: str,
    expected: str,
) -> None:
    (tmp_path / "labels.txt").write_text(labels)
    before = sorted(tmp_path.rglob("*"))
    assert main(["--quantize", "none", str(bare / name), "--labels", "labels.txt", "--no-verify"]) == 1
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not jobs
    assert sorted(tmp_path.rglob("*")) == before
