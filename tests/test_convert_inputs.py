"""What `convert` takes: Keras files and SavedModels, lists of labels, folders of photos."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.__main__ import main
from convert.calibration import read_folder
from convert.flatbuffer import read_graph
from convert.parent import open_parent, read_labels
from convert.photos import labelled
from convert.quiet import quiet
from convert.source import Source
from models.errors import EdgeWatchError
from tests.bare import LABELS, PICTURES, SIZE, draw, fill, list_backwards
from tests.layers import answers

PLAIN = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "HARD_SWISH": 1, "MEAN": 1, "FULLY_CONNECTED": 1}


# Networks


def keras_answers(file: Path, pictures: np.ndarray) -> np.ndarray:
    with quiet():
        import keras

        return np.asarray(keras.saving.load_model(file, compile=False)(pictures.astype(np.float32), training=False))


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5", "plain_exported", "plain_saved"])
def test_float_file_is_the_network_for_one_picture(bare: Path, name: str) -> None:
    source = Source(bare / name)
    model = source.float32()
    assert (source.size, source.classes, source.ends_in_softmax) == (SIZE, 3, False)
    assert set(source.versions) == {"tensorflow", "keras"}
    graph = read_graph(model)
    assert graph.operators == PLAIN, "batch norm is folded, and no work on shapes is left"
    assert (graph.input.dtype, graph.input.shape) == ("FLOAT32", (1, SIZE, SIZE, 3))
    assert (graph.output.dtype, graph.output.shape) == ("FLOAT32", (1, 3))
    expected = keras_answers(bare / "plain.keras", PICTURES)
    assert np.ptp(expected) > 1
    assert np.allclose(answers(model, PICTURES), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5", "plain_exported"])
def test_same_model_gives_the_same_bytes(bare: Path, name: str) -> None:
    first = Source(bare / name).float32()
    Source(bare / "scaled.keras").float32()
    assert Source(bare / name).float32() == first


@pytest.mark.parametrize("name", ["soft.keras", "soft.h5", "soft_exported", "log.keras", "log_exported"])
def test_softmax_at_the_end_is_cut_off(bare: Path, name: str) -> None:
    source = Source(bare / name)
    assert source.ends_in_softmax
    assert np.allclose(answers(source.float32(), PICTURES), keras_answers(bare / "plain.keras", PICTURES),
                       rtol=1e-4, atol=1e-3)
    assert read_graph(source.stock("float16")).operators.keys() == {*PLAIN, "DEQUANTIZE"}
    assert "SOFTMAX" not in read_graph(source.stock("int8", PICTURES)).operators


def test_network_trained_in_mixed_precision_computes_in_float32(bare: Path) -> None:
    found = answers(Source(bare / "mixed.keras").float32(), PICTURES)
    assert np.allclose(found, keras_answers(bare / "plain.keras", PICTURES), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["plain.keras", "plain_exported"])
def test_input_range_becomes_part_of_the_network(bare: Path, name: str) -> None:
    scaled = answers(Source(bare / name, (-1.0, 1.0)).float32(), PICTURES)
    assert np.allclose(scaled, keras_answers(bare / "scaled.keras", PICTURES), rtol=1e-4, atol=1e-4)
    assert not np.allclose(scaled, answers(Source(bare / name).float32(), PICTURES), atol=0.1)


def test_stock_schemes_store_what_they_say(bare: Path) -> None:
    source = Source(bare / "relu6.keras")
    reference = answers(source.float32(), PICTURES)
    assert source.stock("none") == source.float32()
    for scheme in ("float16", "dynamic", "int16x8"):
        model = source.stock(scheme, PICTURES)  # type: ignore[arg-type]
        graph = read_graph(model)
        assert (graph.input.dtype, graph.output.dtype) == ("FLOAT32", "FLOAT32"), scheme
        assert np.abs(answers(model, PICTURES) - reference).max() < 0.02 * np.ptp(reference), scheme
    integer = read_graph(source.stock("int16x8", PICTURES))
    assert integer.float_operators == 2, "QUANTIZE and DEQUANTIZE, at the ends"
    for io in ("uint8", "int8"):
        graph = read_graph(source.stock("int8", PICTURES, io))  # type: ignore[arg-type]
        assert graph.float_tensors == ()
        assert (graph.input.dtype, graph.output.dtype) == (io.upper(), io.upper())
        assert graph.input.scale == pytest.approx(1.0)


def test_calibration_pictures_are_left_as_they_are_and_the_input_reaches_255(bare: Path) -> None:
    dim = np.random.default_rng(0).integers(20, 181, (6, SIZE, SIZE, 3)).astype(np.uint8)
    graph = read_graph(Source(bare / "plain.keras").stock("int8", dim))
    assert (graph.input.scale, graph.input.zero_point) == (1.0, 0)
    assert (dim.min(), dim.max()) == (20, 180)


# Labels


@pytest.mark.parametrize(("text", "names"), [
    ("blank\ndeer\npolar bear\n", ("blank", "deer", "polar bear")),
    ("\ufeffblank\r\ndeer\r\n\r\n", ("blank", "deer")),
    ("1 deer\n0 blank\n2  polar bear\n", ("blank", "deer", "polar bear")),
    ("0: blank\n1: deer\n", ("blank", "deer")),
    ("0:blank\n1:deer", ("blank", "deer")),
    ("deer\n3 toed sloth\n", ("deer", "3 toed sloth")),
])
def test_labels_are_read_from_text(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8", newline="")
    found = read_labels(tmp_path / "labels.txt")
    assert found.names == names


def test_labels_have_scientific_names_and_kinds(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("empty\ntiger\nperson\n")
    found = read_labels(tmp_path / "labels.txt")
    assert [label.observation_type for label in found] == ["blank", "animal", "human"]
    assert found[1].scientific_name == "Panthera tigris"
    (tmp_path / "labels.csv").write_text(found.to_csv())
    assert read_labels(tmp_path / "labels.csv") == found


# Parents


def test_bare_model_says_what_is_known(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("blank\ndeer\ntiger\n")
    parent = open_parent(bare / "plain.h5", tmp_path / "labels.txt").fitted(SIZE, 3)
    assert parent.bundle is None
    assert parent.card == ""
    assert parent.sha256 == hashlib.sha256((bare / "plain.h5").read_bytes()).hexdigest()
    assert parent.size_bytes == (bare / "plain.h5").stat().st_size
    manifest = parent.manifest
    assert (manifest.name, manifest.version, manifest.verified, manifest.temperature) == ("plain", "1", False, 1.0)
    assert (manifest.input.size, manifest.output.classes, manifest.metrics) == (SIZE, 3, {})
    assert {(point.threshold, point.n) for points in manifest.operating_points.values() for point in points.values()} \
        == {(0.5, 0)}
    assert set(manifest.operating_points) == {"blank", "deer", "tiger"}


def test_hash_of_a_saved_model_covers_all_its_files(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.txt").write_text("blank\ndeer\ntiger\n")
    copy = shutil.copytree(bare / "plain_exported", tmp_path / "copy")
    first = open_parent(bare / "plain_exported", tmp_path / "labels.txt")
    second = open_parent(copy, tmp_path / "labels.txt")
    assert first.manifest.name == "plain_exported"
    once = first.sha256
    list_backwards(monkeypatch)
    assert second.sha256 == once
    data = copy / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    assert second.sha256 != first.sha256


# Folders of photos


def test_classes_take_turns_and_a_share_is_grey(tmp_path: Path) -> None:
    fill(tmp_path, {"blank": 10, "Deer": 4, "tiger": 1})
    found = read_folder(tmp_path, LABELS, SIZE, 9)
    assert found.images.shape == (9, SIZE, SIZE, 3)
    assert found.images.dtype == np.uint8
    assert found.counts == {"blank": {"day": 3, "night": 1}, "deer": {"day": 3, "night": 1}, "tiger": {"day": 1}}
    assert sorted(found.labels[:3].tolist()) == [0, 1, 2]
    grey = [bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())
            for image in found.images]
    assert [light == "night" for light in found.lighting] == grey
    assert found.source == {"source": str(tmp_path), "seed": 1, "unreadable": 0, "held_out": 0}
    assert read_folder(tmp_path, LABELS, SIZE).total("day") == 15 - 4


def test_pictures_depend_on_names_and_seed_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"blank": 12, "deer": 12, "tiger": 12}
    one = fill(tmp_path / "one", numbers)
    two = fill(tmp_path / "two", numbers, random.Random(5).shuffle)
    first = read_folder(one, LABELS, SIZE, 12)
    list_backwards(monkeypatch)
    again, other = read_folder(two, LABELS, SIZE, 12), read_folder(two, LABELS, SIZE, 12, seed=2)
    assert np.array_equal(first.images, again.images)
    assert first.labels.tolist() == again.labels.tolist()
    assert not np.array_equal(first.images, other.images)


def test_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    for number in range(5):
        draw(tmp_path / f"{number}.jpg", number, grey=number == 0)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".hidden.jpg").write_bytes(b"x")
    found = read_folder(tmp_path, LABELS, SIZE)
    assert found.labels.tolist() == [-1] * 5
    assert found.counts["unlabelled"]["day"] + found.counts["unlabelled"]["night"] == 5
    assert found.counts["unlabelled"]["night"] in (2, 3), "the grey one, and two that are turned grey"


def test_unreadable_photos_are_named_and_others_take_their_place(tmp_path: Path) -> None:
    fill(tmp_path, {"blank": 4, "deer": 4, "tiger": 4})
    (tmp_path / "deer" / "00.png").write_bytes(b"no picture")
    found = read_folder(tmp_path, LABELS, SIZE)
    assert found.source["unreadable"] == 1
    [note] = found.notes
    assert note.startswith(f"left out: {tmp_path}/deer/00.png: expected a picture")
    assert sum(map(sum, (by.values() for by in found.counts.values()))) == 11
    assert len(read_folder(tmp_path, LABELS, SIZE, 7).images) == 7


def test_test_photos_are_not_calibrated_with(tmp_path: Path) -> None:
    fill(tmp_path, {"blank": 4, "deer": 4, "tiger": 4})
    held = hashlib.sha256((tmp_path / "deer" / "01.png").read_bytes()).hexdigest()
    shutil.copy(tmp_path / "deer" / "01.png", tmp_path / "deer" / "copy.png")
    found = read_folder(tmp_path, LABELS, SIZE, held_out={held})
    assert len(found.images) == 11
    assert found.source["held_out"] == 2
    assert found.notes == ("left out of the calibration: 2 photos that the result is tested on",)


def test_half_of_each_class_validates_whatever_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"blank": 6, "deer": 5, "tiger": 1})
    found = labelled(tmp_path, LABELS, 1)
    assert [sum(photo.label == label for photo in found["val"]) for label in range(3)] == [3, 2, 0]
    assert [sum(photo.label == label for photo in found["test"]) for label in range(3)] == [3, 3, 1]
    assert {photo.name for photo in found["val"]}.isdisjoint(photo.name for photo in found["test"])
    assert found["test"][-1].name == "tiger/00.png"
    list_backwards(monkeypatch)
    assert labelled(tmp_path, LABELS, 1) == found
    assert labelled(tmp_path, LABELS, 2) != found


def test_val_and_test_folders_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list_backwards(monkeypatch)
    fill(tmp_path / "val", {"blank": 1, "deer": 2})
    fill(tmp_path / "test", {"tiger": 3})
    fill(tmp_path / "train", {"whatever": 3})
    found = labelled(tmp_path, LABELS, 1)
    assert [photo.name for photo in found["val"]] == ["blank/00.png", "deer/00.png", "deer/01.png"]
    assert [photo.label for photo in found["test"]] == [2, 2, 2]
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(EdgeWatchError, match=r"found only test; type --data .*test to use half of it for each"):
        labelled(tmp_path, LABELS, 1)


# The command


def test_bare_model_becomes_a_job(bare: Path, jobs: list[Any], tmp_path: Path) -> None:
    shutil.copy(bare / "soft.keras", tmp_path / "model.keras")
    arguments = ["--quantize", "int8", "model.keras", "--labels", "labels.txt", "--calibration", "photos",
                 "--data", "photos", "--input-range", "-1", "1", "--io", "int8", "--for", "any", "--max-drop", "1.5",
                 "--on-miss", "ladder", "--fine-tune", "never", "--seed", "7"]
    assert main(arguments) == 0
    [job] = jobs
    assert job.out == Path("runs/model-int8")
    assert job.command == f"convert {' '.join(arguments)}"
    assert (job.scheme, job.io, job.target, job.max_drop) == ("int8", "int8", "any", 1.5)
    assert (job.on_miss, job.fine_tune, job.seed, job.input_range) == ("ladder", "never", 7, (-1.0, 1.0))
    assert (job.parent.manifest.input.size, job.parent.labels.names) == (SIZE, ("blank", "deer", "tiger"))
    assert job.source.ends_in_softmax
    assert {side: len(photos) for side, photos in job.photos.items()} == {"val": 6, "test": 6}
    assert len(job.calibration.images) == 6, "the other half are test photos"
    assert job.calibration.source == {"source": "photos", "seed": 7, "unreadable": 0, "held_out": 6}


def test_scheme_of_floats_needs_no_calibration(bare: Path, jobs: list[Any], tmp_path: Path) -> None:
    shutil.copytree(bare / "plain_exported", tmp_path / "exported")
    assert main(["--quantize", "float16", "exported/", "--labels", "labels.txt", "--no-verify"]) == 0
    [job] = jobs
    assert (job.out, job.calibration, job.photos) == (Path("runs/exported-float16"), None, None)
    assert (job.max_drop, job.on_miss, job.fine_tune, job.input_range) == (0.5, "fail", "auto", (0.0, 255.0))
