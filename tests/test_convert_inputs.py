"""What `convert` takes: Keras files and SavedModels, lists of labels, folders of photos; and what it refuses."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT

from convert.__main__ import main
from convert.calibration import check_range, read_folder
from convert.flatbuffer import read_graph
from convert.parent import open_parent, read_labels
from convert.photos import labelled
from convert.quiet import quiet
from convert.source import Source
from models.errors import EdgeWatchError, UsageError
from models.labels import Label, LabelMap

SIZE = 32
LABELS = LabelMap(Label.from_name(name, {}) for name in ("blank", "deer", "tiger"))


def network(keras: Any, last: str | None = None, scaled: bool = False, activation: str = "hard_swish") -> Any:
    """Layers of the usual kinds, three outputs; the weights are random, but the same each time."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 3))
    found = layers.Rescaling(1 / 127.5, -1.0)(image) if scaled else image
    found = layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, use_bias=False)(found))
    found = layers.DepthwiseConv2D(3, padding="same")(layers.ReLU()(found))
    found = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(layers.Activation(activation)(found)))
    return keras.Model(image, layers.Dense(3, activation=last)(found))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network in all formats, with and without a softmax; and what is no such network."""
    folder = tmp_path_factory.mktemp("networks")
    with quiet():
        import keras
        import tensorflow as tf

        layers = keras.layers

        class Mine(layers.Layer):  # type: ignore[misc]
            def call(self, image: Any) -> Any:
                return image * 2.0

        for name, last in (("plain", None), ("soft", "softmax"), ("sigmoid", "sigmoid"), ("log", "log_softmax")):
            model = network(keras, last)
            model.save(folder / f"{name}.keras")
            model.save(folder / f"{name}.h5")
            model.export(folder / f"{name}_exported")
        tf.saved_model.save(network(keras), str(folder / "plain_saved"))
        network(keras, scaled=True).save(folder / "scaled.keras")
        network(keras, scaled=True, activation="relu6").save(folder / "relu6.keras")
        network(keras).save_weights(folder / "only.weights.h5")

        image = keras.Input((SIZE, SIZE, 3))
        pooled = layers.GlobalAveragePooling2D()(image)
        other = keras.Input((3,))
        for name, inputs, outputs in (
            ("two", [image, other], layers.Dense(3)(layers.Add()([pooled, other]))),
            ("pair", image, [layers.Dense(3)(pooled), layers.Dense(2)(pooled)]),
            ("lambda", image, layers.Dense(3)(layers.Lambda(lambda found: found * 2)(pooled))),
            ("own", image, layers.Dense(3)(Mine()(pooled))),
            ("erf", image, layers.Dense(3)(keras.ops.erf(pooled))),
            ("single", image, layers.Dense(1)(pooled)),
            ("map", image, layers.Conv2D(3, 3)(image)),
        ):
            keras.Model(inputs, outputs).save(folder / f"{name}.keras")
        for name, shape in (("open", (None, None, 3)), ("grey", (SIZE, SIZE, 1)), ("wide", (SIZE, 48, 3))):
            image = keras.Input(shape)
            keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(image))).save(folder / f"{name}.keras")
        tf.saved_model.save(tf.Module(), str(folder / "unsigned"))
        keras.mixed_precision.set_global_policy("mixed_float16")
        network(keras).save(folder / "mixed.keras")
        keras.mixed_precision.set_global_policy("float32")
    return folder


def answers(model: bytes, pictures: np.ndarray) -> np.ndarray:
    """(n, classes) float32: what a .tflite file of floats gives, with nothing of this project's code."""
    interpreter = LiteRT(model_content=model)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for picture in pictures:
        interpreter.set_tensor(taken, picture[np.newaxis].astype(np.float32))
        interpreter.invoke()
        found.append(interpreter.get_tensor(given)[0])
    return np.stack(found)


def keras_answers(file: Path, pictures: np.ndarray) -> np.ndarray:
    with quiet():
        import keras

        return np.asarray(keras.saving.load_model(file, compile=False)(pictures.astype(np.float32), training=False))


PICTURES = (np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3)) // np.arange(1, 7)[:, None, None, None]
            ).astype(np.uint8)
PLAIN = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "HARD_SWISH": 1, "MEAN": 1, "FULLY_CONNECTED": 1}


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5", "plain_exported", "plain_saved"])
def test_float_file_is_the_network_for_one_picture(place: Path, name: str) -> None:
    source = Source(place / name)
    model = source.float32()
    assert (source.size, source.classes, source.ends_in_softmax) == (SIZE, 3, False)
    assert set(source.versions) == {"tensorflow", "keras"}
    graph = read_graph(model)
    assert graph.operators == PLAIN, "batch norm is folded, and no work on shapes is left"
    assert (graph.input.dtype, graph.input.shape) == ("FLOAT32", (1, SIZE, SIZE, 3))
    assert (graph.output.dtype, graph.output.shape) == ("FLOAT32", (1, 3))
    expected = keras_answers(place / "plain.keras", PICTURES)
    assert np.ptp(expected) > 1
    assert np.allclose(answers(model, PICTURES), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5", "plain_exported"])
def test_same_model_gives_the_same_bytes(place: Path, name: str) -> None:
    first = Source(place / name).float32()
    Source(place / "scaled.keras").float32()
    assert Source(place / name).float32() == first


@pytest.mark.parametrize("name", ["soft.keras", "soft.h5", "soft_exported", "log.keras", "log_exported"])
def test_softmax_at_the_end_is_cut_off(place: Path, name: str) -> None:
    source = Source(place / name)
    assert source.ends_in_softmax
    assert np.allclose(answers(source.float32(), PICTURES), keras_answers(place / "plain.keras", PICTURES),
                       rtol=1e-4, atol=1e-3)
    assert read_graph(source.stock("float16")).operators.keys() == {*PLAIN, "DEQUANTIZE"}
    assert "SOFTMAX" not in read_graph(source.stock("int8", PICTURES)).operators


def test_network_trained_in_mixed_precision_computes_in_float32(place: Path) -> None:
    found = answers(Source(place / "mixed.keras").float32(), PICTURES)
    assert np.allclose(found, keras_answers(place / "plain.keras", PICTURES), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["plain.keras", "plain_exported"])
def test_input_range_becomes_part_of_the_network(place: Path, name: str) -> None:
    scaled = answers(Source(place / name, (-1.0, 1.0)).float32(), PICTURES)
    assert np.allclose(scaled, keras_answers(place / "scaled.keras", PICTURES), rtol=1e-4, atol=1e-4)
    assert not np.allclose(scaled, answers(Source(place / name).float32(), PICTURES), atol=0.1)


def test_stock_schemes_store_what_they_say(place: Path) -> None:
    source = Source(place / "relu6.keras")
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


def test_layer_without_a_16_bit_version_is_named(place: Path) -> None:
    with pytest.raises(EdgeWatchError, match=r"layers that TensorFlow Lite has in int16x8, found: .*HARD_SWISH"):
        Source(place / "plain.keras").stock("int16x8", PICTURES)


def test_calibration_pictures_are_left_as_they_are_and_the_input_reaches_255(place: Path) -> None:
    dim = np.random.default_rng(0).integers(20, 181, (6, SIZE, SIZE, 3)).astype(np.uint8)
    graph = read_graph(Source(place / "plain.keras").stock("int8", dim))
    assert (graph.input.scale, graph.input.zero_point) == (1.0, 0)
    assert (dim.min(), dim.max()) == (20, 180)


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
def test_other_networks_are_refused_in_one_line(place: Path, name: str, expected: str) -> None:
    with pytest.raises(EdgeWatchError) as found:
        Source(place / name)
    assert expected in str(found.value)
    assert str(found.value).startswith(f"{place / name}: ")
    assert "\n" not in str(found.value)


def test_file_of_an_older_keras_says_how_to_save_it(place: Path, tmp_path: Path) -> None:
    import h5py

    shutil.copy(place / "plain.h5", tmp_path / "old.h5")
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
def test_cut_off_keras_file_is_refused_in_one_line(place: Path, tmp_path: Path, name: str, share: float) -> None:
    content = (place / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(EdgeWatchError, match=r"expected a Keras model, found .* copy it again$") as found:
        Source(tmp_path / name)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("kept", [0, 100, None])
@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index",
                                  "variables/variables.data-00000-of-00001"])
def test_damaged_saved_model_is_refused_in_one_line(place: Path, tmp_path: Path, part: str, kept: int | None) -> None:
    folder = shutil.copytree(place / "plain_exported", tmp_path / "cut")
    content = (folder / part).read_bytes()
    (folder / part).unlink()
    if kept is not None:
        (folder / part).write_bytes(content[:kept])
    with pytest.raises(EdgeWatchError, match=r"expected a SavedModel, found one that cannot be read \(.*\); copy or ex"
                       ) as found:
        Source(folder)
    assert "\n" not in str(found.value)


def test_layer_that_the_runtime_does_not_have_is_named(place: Path) -> None:
    with pytest.raises(EdgeWatchError, match=r"expected layers that TensorFlow Lite has, found: Erf; choose") as found:
        Source(place / "erf.keras").float32()
    assert "\n" not in str(found.value)


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


def test_bare_model_says_what_is_known(place: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("blank\ndeer\ntiger\n")
    parent = open_parent(place / "plain.h5", tmp_path / "labels.txt").fitted(SIZE, 3)
    assert parent.bundle is None
    assert parent.card == ""
    assert parent.sha256 == hashlib.sha256((place / "plain.h5").read_bytes()).hexdigest()
    assert parent.size_bytes == (place / "plain.h5").stat().st_size
    manifest = parent.manifest
    assert (manifest.name, manifest.version, manifest.verified, manifest.temperature) == ("plain", "1", False, 1.0)
    assert (manifest.input.size, manifest.output.classes, manifest.metrics) == (SIZE, 3, {})
    assert {(point.threshold, point.n) for points in manifest.operating_points.values() for point in points.values()} \
        == {(0.5, 0)}
    assert set(manifest.operating_points) == {"blank", "deer", "tiger"}


def list_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let folders be listed in another order, as another file system would."""
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(listed(self, pattern))))


def test_hash_of_a_saved_model_covers_all_its_files(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.txt").write_text("blank\ndeer\ntiger\n")
    copy = shutil.copytree(place / "plain_exported", tmp_path / "copy")
    first = open_parent(place / "plain_exported", tmp_path / "labels.txt")
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


def draw(path: Path, seed: int, grey: bool = False) -> None:
    """A picture of noise with all brightnesses; in colour, unless it is grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 1 if grey else 3), np.uint8)
    cv2.imwrite(str(path), np.repeat(noise, 3, axis=2) if grey else noise)


def fill(folder: Path, numbers: dict[str, int], order: Callable[[list[Any]], None] = lambda names: None) -> Path:
    names = [(name, number) for name, count in numbers.items() for number in range(count)]
    order(names)
    for name, number in names:
        draw(folder / name / f"{number:02}.png", seed=number + 100 * sum(name.encode()))
    return folder


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
    fill(tmp_path, {"blank": 4, "deer": 4})
    (tmp_path / "deer" / "00.png").write_bytes(b"no picture")
    found = read_folder(tmp_path, LABELS, SIZE)
    assert found.source["unreadable"] == 1
    [note] = found.notes
    assert note.startswith(f"left out: {tmp_path}/deer/00.png: expected a picture")
    assert sum(map(sum, (by.values() for by in found.counts.values()))) == 7
    assert len(read_folder(tmp_path, LABELS, SIZE, 7).images) == 7


def test_test_photos_are_not_calibrated_with(tmp_path: Path) -> None:
    fill(tmp_path, {"blank": 4, "deer": 4})
    held = hashlib.sha256((tmp_path / "deer" / "01.png").read_bytes()).hexdigest()
    shutil.copy(tmp_path / "deer" / "01.png", tmp_path / "deer" / "copy.png")
    found = read_folder(tmp_path, LABELS, SIZE, held_out={held})
    assert len(found.images) == 7
    assert found.source["held_out"] == 2
    assert found.notes == ("left out of the calibration: 2 photos that the result is tested on",)


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


def test_photos_to_compare_on_must_be_readable_and_enough(tmp_path: Path) -> None:
    fill(tmp_path, {"deer": 1})
    with pytest.raises(EdgeWatchError, match="expected photos to validate and to test with, found 0 and 1"):
        labelled(tmp_path, LABELS, 1)
    fill(tmp_path, {"deer": 4})
    (tmp_path / "deer" / "02.png").write_bytes(b"x")
    with pytest.raises(EdgeWatchError, match=r"found 1 of 4 that cannot \(first: .*deer/02.png: expected a picture"):
        labelled(tmp_path, LABELS, 1)


# The range of the pictures


def pictures(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright pictures in turns, (n, 8, 8, 3) uint8 with means of 90 and 165, and which they are."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(0).integers(-85, 86, (n, 8, 8, 3))
    return (90 + 75 * labels[:, None, None, None] + noise).astype(np.uint8), labels


def by_brightness(threshold: float) -> Callable[[np.ndarray], np.ndarray]:
    """A network that tells dark from bright pictures, and gets nothing right if they come in another range."""
    def logits(shown: np.ndarray) -> np.ndarray:
        assert shown.dtype == np.float32
        mean = shown.mean(axis=(1, 2, 3)) - threshold
        return np.stack([-mean, mean], axis=1)

    return logits


def test_pictures_that_fit_pass_and_cost_one_run() -> None:
    images, labels = pictures()
    runs = []

    def counting(shown: np.ndarray) -> np.ndarray:
        runs.append(len(shown))
        return by_brightness(127.5)(shown)

    check_range(counting, images, labels, stated=0.95)
    assert runs == [40]
    check_range(counting, images, np.full(40, -1), stated=0.95)
    assert runs == [40], "without labels nothing can be known"


@pytest.mark.parametrize(("threshold", "given", "advice"), [
    (0.5, (0.0, 255.0), "found 20 of 40 answered right as they are, but 40 with numbers from 0 to 1; "
                        "type --input-range 0 1"),
    (0.0, (0.0, 255.0), "but 40 with numbers from -1 to 1; type --input-range -1 1"),
    (127.5, None, None),
    (0.0, None, "but 40 with numbers from -1 to 1; the network does not scale raw 0-255 itself, train the model again"),
])
def test_range_that_the_network_was_trained_on_is_found(
    threshold: float, given: tuple[float, float] | None, advice: str | None
) -> None:
    images, labels = pictures()
    if advice is None:
        check_range(by_brightness(threshold), images, labels, given)
        return
    with pytest.raises(EdgeWatchError) as found:
        check_range(by_brightness(threshold), images, labels, given)
    assert str(found.value).endswith(advice)


def test_range_typed_by_mistake_is_found() -> None:
    images, labels = pictures()
    # The file scales raw pictures to 0-1, but its network takes raw ones.
    network = by_brightness(127.5)
    with pytest.raises(EdgeWatchError, match="but 40 with numbers from 0 to 255; type --input-range 0 255"):
        check_range(lambda shown: network(shown / np.float32(255.0)), images, labels, (0.0, 1.0))


def test_pictures_stored_in_another_range_are_found() -> None:
    images, labels = pictures()
    small = images // 2
    small[0, 0, 0] = 255
    with pytest.raises(EdgeWatchError, match=r"but .* stretched to 0-255; take pictures that reach from 0 to 255"):
        check_range(by_brightness(127.5), small, labels, stated=0.95)


def test_pictures_of_another_kind_are_found_where_the_network_is_known_to_be_good() -> None:
    images, _ = pictures(60)
    guessed = np.random.default_rng(2).integers(0, 2, 60)
    check_range(by_brightness(127.5), images, guessed)
    with pytest.raises(EdgeWatchError, match=r"expected about 95% answered right, as of the test photos, found \d+ "):
        check_range(by_brightness(127.5), images, guessed, stated=0.95)


# The command


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The jobs that the command was to do; none of them is done. It runs in `tmp_path`."""
    found: list[Any] = []
    monkeypatch.setattr("convert.job.convert", found.append)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("blank\ndeer\ntiger\n")
    fill(tmp_path / "photos", {"blank": 4, "deer": 4, "tiger": 4})
    return found


def test_bare_model_becomes_a_job(place: Path, jobs: list[Any], tmp_path: Path) -> None:
    shutil.copy(place / "soft.keras", tmp_path / "model.keras")
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


def test_scheme_of_floats_needs_no_calibration(place: Path, jobs: list[Any], tmp_path: Path) -> None:
    shutil.copytree(place / "plain_exported", tmp_path / "exported")
    assert main(["--quantize", "float16", "exported/", "--labels", "labels.txt", "--no-verify"]) == 0
    [job] = jobs
    assert (job.out, job.calibration, job.photos) == (Path("runs/exported-float16"), None, None)
    assert (job.max_drop, job.on_miss, job.fine_tune, job.input_range) == (0.5, "fail", "auto", (0.0, 255.0))


@pytest.mark.parametrize(("arguments", "expected"), [
    ((), "expected --labels FILE with a model that is no bundle, found none"),
    (("--labels", "labels.txt"), "expected --calibration DIR with a model that is no bundle, found none"),
    (("--labels", "labels.txt", "--calibration", "photos"), "type --data DIR, or --no-verify to convert without"),
    (("--labels", "nowhere.txt"), "--labels nowhere.txt: expected a text file in UTF-8, found none"),
    (("--labels", "labels.txt", "--calibration", "photos", "--data", "nowhere"), "--data nowhere: expected a folder"),
])
def test_bare_model_without_what_it_needs_is_wrong_usage(
    place: Path, jobs: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
    expected: str,
) -> None:
    shutil.copy(place / "plain.keras", tmp_path / "model.keras")
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
    place: Path, jobs: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, labels: str,
    expected: str,
) -> None:
    (tmp_path / "labels.txt").write_text(labels)
    before = sorted(tmp_path.rglob("*"))
    assert main(["--quantize", "none", str(place / name), "--labels", "labels.txt", "--no-verify"]) == 1
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not jobs
    assert sorted(tmp_path.rglob("*")) == before
