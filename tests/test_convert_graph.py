"""Networks are read from float .tflite files and written again: the same bits, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from convert import engine
from convert.flatbuffer import read_graph
from convert.graph import ENDS, KINDS, NO_ACTIVATION, RELU, RELU6, Layer, read, write
from convert.quiet import quiet
from convert.trial import try_out
from models.errors import BundleError, EdgeWatchError
from tests.backbones import SIZE, float_file, saved
from tests.layers import Builder, answers, everything, pictures, refusal, spread_off

MODEL = write(everything())
SHOWN = pictures(8, 12)


def test_every_kind_is_read_and_written_to_the_same_bits(tmp_path: Path) -> None:
    network = read(MODEL)
    assert {layer.kind for layer in network.layers} == set(KINDS) - ENDS, "these stand in int8 files only"
    again = write(network)
    assert again == MODEL
    expected = answers(MODEL, SHOWN)
    assert expected.std() > 0.01
    assert np.array_equal(answers(again, SHOWN), expected)
    (tmp_path / "model.tflite").write_bytes(again)
    try_out(tmp_path / "model.tflite")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v2_0.35"])
def test_file_of_the_converter_keeps_its_bits(name: str) -> None:
    model = float_file(name)
    again = write(read(model))
    shown = pictures(3, SIZE)
    assert np.array_equal(answers(again, shown), answers(model, shown))
    assert read_graph(again).operators == read_graph(model).operators
    assert write(read(again)) == again


@pytest.mark.parametrize("kind", sorted(ENDS))
def test_float_file_with_what_only_integer_files_have_is_refused(kind: str) -> None:
    net = Builder(8)
    net.dense(net.mean(net.convolution(net.plain(kind, 0), 4)), 3)
    said = refusal(lambda: read(write(net.network)))
    assert said.startswith(f"expected layers that can be made integer, found {kind} (")


def test_engine_computes_what_the_runtime_does() -> None:
    for model in (MODEL, float_file("mobilenet_v3_small")):
        network = read(model)
        shown = pictures(5, network.tensors[network.input].shape[1])
        assert spread_off(answers(model, shown), engine.logits(network, shown)) < 1e-5


def test_copy_shares_nothing() -> None:
    network = read(MODEL)
    changed = network.copy()
    for layer in changed.layers:
        if layer.kind == "CONV_2D":
            weights = changed.constant(layer.inputs[1])
            assert weights is not None
            weights *= 2
    changed.layers.pop()
    assert write(network) == MODEL


def test_numbers_are_aligned_to_16_bytes() -> None:
    content = np.frombuffer(MODEL, np.uint8)
    start = content.__array_interface__["data"][0]
    model = schema.Model.GetRootAsModel(content, 0)
    held = [model.Buffers(index) for index in range(model.BuffersLength())]
    places = [buffer.DataAsNumpy().__array_interface__["data"][0] - start for buffer in held if buffer.DataLength()]
    assert len(places) > 20
    assert {place % 16 for place in places} == {0}


def test_layers_that_share_constants_get_copies_of_their_own() -> None:
    net = Builder(8)
    first = net.convolution(0, 3)
    net.network.layers.append(Layer("CONV_2D", [first, *net.network.layers[0].inputs[1:]],
                                    net.network.add("second", (1, 8, 8, 3)), dict(net.network.layers[0].options)))
    net.dense(net.mean(net.network.layers[-1].output), 2)
    model = write(net.network)
    network = read(model)
    assert np.array_equal(answers(write(network), pictures(3, 8)), answers(model, pictures(3, 8)))
    weights = [network.constant(layer.inputs[1]) for layer in network.layers[:2]]
    assert np.array_equal(weights[0], weights[1])
    weights[0] *= 2
    assert not np.array_equal(weights[0], weights[1])


def test_equal_constants_of_a_keras_model_are_told_apart() -> None:
    with quiet():
        import keras

        layers = keras.layers
        twice = layers.Conv2D(3, 3, padding="same")
        image = keras.Input((16, 16, 3))
        found = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(twice(twice(image))))
        model = saved(keras.Model(image, layers.Dense(2)(found)))
    network = read(model)
    constants = [tensor for layer in network.layers for tensor in layer.inputs if network.constant(tensor) is not None]
    assert len(constants) == len(set(constants))
    assert np.array_equal(answers(write(network), pictures(3, 16)), answers(model, pictures(3, 16)))


def test_unknown_layer_is_named_in_one_line() -> None:
    with quiet():
        import keras

        layers = keras.layers
        image = keras.Input((16, 16, 3))
        found = layers.GlobalAveragePooling2D()(layers.LeakyReLU()(layers.Conv2D(4, 3)(image)))
        model = saved(keras.Model(image, layers.Dense(2)(found)))
    with pytest.raises(EdgeWatchError, match=r"^expected layers that can be made integer, found LEAKY_RELU \(.*\); "
                                             r"type --quantize float16, or train a network of other layers$") as found:
        read(model)
    assert "\n" not in str(found.value)


def test_activation_without_an_integer_form_is_named_in_one_line() -> None:
    net = Builder(8)
    net.dense(net.mean(net.convolution(0, 3, activation=schema.ActivationFunctionType.RELU_N1_TO_1)), 2)
    with pytest.raises(EdgeWatchError, match=r"found CONV_2D with RELU_N1_TO_1 \(conv_2d0\)") as found:
        read(write(net.network))
    assert "\n" not in str(found.value)
    for activation in (NO_ACTIVATION, RELU, RELU6):
        net.network.layers[0].options["fusedActivationFunction"] = activation
        assert read(write(net.network)).layers[0].activation == activation


def test_numbers_of_another_type_are_refused_in_one_line() -> None:
    net = Builder(8)
    net.dense(net.mean(net.convolution(0, 3)), 2)
    tree = schema.ModelT.InitFromPackedBuf(write(net.network))
    tree.subgraphs[0].tensors[0].type = schema.TensorType.FLOAT64
    from convert.flatbuffer import packed

    with pytest.raises(EdgeWatchError, match="expected float32 or int32 numbers, found another type at image") as found:
        read(packed(tree))
    assert "\n" not in str(found.value)


@given(st.integers(0, len(MODEL)), st.lists(st.tuples(st.integers(8, len(MODEL) - 1), st.integers(0, 255)), max_size=9))
@settings(max_examples=150)
def test_damaged_file_is_read_or_refused_in_one_line(end: int, changes: list[tuple[int, int]]) -> None:
    content = bytearray(MODEL)
    for place, value in changes:
        content[place] = value
    damaged = bytes(content if changes else content[:end])
    for reader in (read, read_graph):
        said = refusal(lambda reader=reader: reader(damaged))
        assert "\n" not in said
        assert not said or said.split(";")[-1].strip().startswith(("convert", "type", "train"))
    if not changes and end < len(MODEL) // 2:
        with pytest.raises(BundleError):
            read(damaged)
