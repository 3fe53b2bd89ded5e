"""Reading a .tflite file: floats are found wherever they hide, and metadata is written as others read it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from convert.flatbuffer import Graph, Port, read_graph, require_integer, with_metadata
from convert.metadata import embed
from convert.quiet import quiet
from models.errors import BundleError

GOOD = Graph({"CONV_2D": 1}, 0, (), (), Port("UINT8", (1, 8, 8, 3), 1.0, 0), Port("UINT8", (1, 2), 0.1, 3))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """One untrained network as a float file, with 8-bit weights only (dynamic), and with an open batch."""
    with quiet():
        import keras
        import tensorflow as tf

        layers = keras.layers

        def network(batch: int | None) -> Any:
            image = keras.Input(batch_shape=(batch, 32, 32, 3))
            found = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, activation="relu")(image))
            return keras.Model(image, layers.Dense(64)(found))

        def convert(batch: int | None, *optimizations: Any) -> bytes:
            converter = tf.lite.TFLiteConverter.from_keras_model(network(batch))
            converter.optimizations = list(optimizations)
            return bytes(converter.convert())

        return {"float": convert(1), "dynamic": convert(1, tf.lite.Optimize.DEFAULT), "open": convert(None)}


@pytest.mark.parametrize("kind", ["float", "dynamic", "open"])
def test_float_tensors_are_found(files: dict[str, bytes], kind: str) -> None:
    graph = read_graph(files[kind])
    assert graph.operators["CONV_2D"] == 1
    assert graph.operators["FULLY_CONNECTED"] == 1
    assert graph.float_operators == sum(graph.operators.values())
    assert any(found.startswith("CONV_2D ") for found in graph.float_tensors)
    assert graph.input.dtype == "FLOAT32"
    assert graph.input.scale == 0
    with pytest.raises(BundleError, match="expected integers only, found 3 float operators"):
        require_integer(graph, 32, 64)


@pytest.mark.parametrize(("change", "expected"), [
    ({"float_tensors": ("ADD x",), "float_operators": 1}, r"found 1 float operators \(first: ADD x\)"),
    ({"operators": {"SHAPE": 1, "PACK": 1}}, r"found .* and \['SHAPE', 'PACK'\]"),
    ({"per_tensor": ("kernel",)}, "expected a scale for each channel, found one for all in kernel"),
    ({"input": Port("UINT8", (1, 8, 8, 3), 0.99, 0)}, "expected raw 0-255 as input .*0.99"),
    ({"input": Port("UINT8", (1, 8, 8, 3), 1.0, 1)}, "expected raw 0-255 as input"),
    ({"input": Port("INT8", (1, 8, 8, 3), 1.0, 0)}, "expected raw 0-255 as input"),
    ({"input": Port("UINT8", (1, 9, 9, 3), 1.0, 0)}, r"found \(1, 9, 9, 3\)"),
    ({"output": Port("UINT8", (1, 3), 0.1, 0)}, r"\(1, 2\) out .* found .* \(1, 3\)"),
    ({"output": Port("FLOAT32", (1, 2), 0.0, 0)}, "expected uint8 logits as output"),
])
def test_what_an_int8_bundle_promises_is_checked(change: dict[str, Any], expected: str) -> None:
    import dataclasses

    require_integer(GOOD, 8, 2)
    with pytest.raises(BundleError, match=expected) as found:
        require_integer(dataclasses.replace(GOOD, **change), 8, 2)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" + b"\xff" * 64, b"\x1c\0\0\0TFL3"])
def test_damaged_file_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"model\.tflite: expected ") as found:
        read_graph(content)
    assert "\n" not in str(found.value)


def test_metadata_is_standard_and_changes_no_answer(files: dict[str, bytes], tmp_path: Path) -> None:
    content = embed(files["float"], "wildlife", "3", "about it", ("tiger", "polar_bear"), 32)
    assert content == embed(files["float"], "wildlife", "3", "about it", ("tiger", "polar_bear"), 32)
    (tmp_path / "model.tflite").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "model.tflite") as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt") == b"tiger\npolar_bear\n"
    tree = schema.ModelT.InitFromPackedBuf(content)
    [entry] = [entry for entry in tree.metadata if entry.name == b"TFLITE_METADATA"]
    metadata = bytes(tree.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    for text in (b"wildlife", b"about it", b"labels.txt", b"image", b"logits"):
        assert text in metadata
    assert read_graph(content) == read_graph(files["float"])
    answers = []
    for model in (files["float"], content):
        network = Interpreter(model_content=model)
        network.allocate_tensors()
        network.set_tensor(network.get_input_details()[0]["index"], np.full((1, 32, 32, 3), 7, np.float32))
        network.invoke()
        answers.append(network.get_tensor(network.get_output_details()[0]["index"]))
    assert np.array_equal(*answers)


def test_weights_stay_aligned_to_16_bytes(files: dict[str, bytes]) -> None:
    content = np.frombuffer(with_metadata(files["float"], "NOTE", b"x" * 5), np.uint8)
    model = schema.Model.GetRootAsModel(content, 0)
    start = content.__array_interface__["data"][0]
    held = [model.Buffers(index) for index in range(model.BuffersLength())]
    places = [buffer.DataAsNumpy().__array_interface__["data"][0] - start for buffer in held if buffer.DataLength()]
    assert len(places) > 4
    assert {place % 16 for place in places} == {0}


def test_entry_of_the_same_name_is_replaced(files: dict[str, bytes]) -> None:
    once = with_metadata(files["float"], "NOTE", b"first")
    twice = schema.ModelT.InitFromPackedBuf(with_metadata(once, "NOTE", b"second"))
    notes = [entry for entry in twice.metadata if entry.name == b"NOTE"]
    assert [bytes(twice.buffers[entry.buffer].data) for entry in notes] == [b"second"]
