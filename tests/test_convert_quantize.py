"""From a float network and ranges to integers: what LiteRT computes is what was planned, and what cannot be is said."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convert import engine
from convert.flatbuffer import kind_of, parse, read_graph, require_integer
from convert.graph import NO_ACTIVATION, RELU, RELU6, Network, read, write
from convert.int8 import to_int8
from convert.quantize import MOST, SAME_STEPS, Ranges, quantize, settle, shared, steps
from convert.ranges import candidates, reach
from convert.rewrites import rewrite
from convert.speed import partitions
from convert.trial import try_out
from convert.tune import fine_tune
from models.errors import EdgeWatchError
from tests.backbones import SIZE, float_file
from tests.layers import STEPS, Builder, answers, drawn, everything, pictures, refusal

SMALL = pictures(8, 12)


def widest(network: Network, shown: np.ndarray) -> Ranges:
    """For each tensor a range that holds all it reaches."""
    return {tensor: choices[-1] for tensor, choices in candidates(network, reach(network, shown)).items()}


def logits_step(model: bytes) -> float:
    return read_graph(model).output.scale


def checked(network: Network, tmp_path: Path, shown: np.ndarray = SMALL, off: float = 2.0) -> bytes:
    """The network in int8, once it has answered in another process and, within `off` steps, as planned."""
    ranges = widest(network, shown)
    model = quantize(network, ranges)
    (tmp_path / "model.tflite").write_bytes(model)
    try_out(tmp_path / "model.tflite")
    graph = read_graph(model)
    require_integer(graph, graph.input.shape[1], graph.output.shape[1])
    planned = engine.logits(network, shown, ranges)
    assert np.abs(answers(model, shown) - planned).max() <= (off + 0.01) * logits_step(model)
    return model


# Steps


@given(st.floats(-1e6, 0), st.floats(1e-6, 1e6))
def test_steps_store_0_and_cover_the_range(low: float, high: float) -> None:
    scale, zero = steps(low, high)
    assert -128 <= zero <= 127
    assert scale == np.float32(scale)
    assert scale == pytest.approx((high - low) / 255, rel=1e-6)
    # 0 is stored exactly, as the whole number `zero`; for that both ends may move by half a step.
    assert (-128 - zero) * scale <= low + scale * 0.501
    assert (127 - zero) * scale >= high - scale * 0.501


def test_pictures_and_shares_have_the_steps_that_runtimes_expect() -> None:
    assert steps(0.0, 255.0) == (1.0, -128)
    assert steps(0.0, 255 / 256) == (1 / 256, -128)
    assert steps(-1.0, 127 / 128) == (1 / 128, 0)
    assert steps(0.0, 6.0) == (float(np.float32(6 / 255)), -128)


# Weights and biases


def tensors_of(model: bytes, kind: str) -> list[list[Any]]:
    """Of each layer of a kind, its inputs' and its output's tensors."""
    tree = parse(model)
    graph = tree.subgraphs[0]
    return [[graph.tensors[index] for index in (*operator.inputs, *operator.outputs)]
            for operator in graph.operators if kind_of(tree, operator) == kind]


def held(model: bytes, tensor: Any, dtype: Any) -> np.ndarray:
    return np.asarray(parse(model).buffers[tensor.buffer].data).view(dtype).reshape(tensor.shape)


def test_weights_are_stored_by_channel_and_biases_in_their_steps(tmp_path: Path) -> None:
    net = Builder(12)
    found = net.depthwise(net.convolution(0, 5, stride=2, activation=RELU))
    net.dense(net.mean(found), 4)
    model = checked(net.network, tmp_path)
    for kind, axis, place in (("CONV_2D", 0, 0), ("DEPTHWISE_CONV_2D", 3, 1), ("FULLY_CONNECTED", 0, 3)):
        [[source, weights, bias, _]] = tensors_of(model, kind)
        float_weights, float_bias = (net.network.constant(each) for each in net.network.layers[place].inputs[1:])
        assert float_weights is not None
        over = tuple(each for each in range(float_weights.ndim) if each != axis)
        scale = np.asarray(weights.quantization.scale)
        assert scale == pytest.approx(np.abs(float_weights).max(axis=over) / 127, rel=1e-6)
        assert weights.quantization.quantizedDimension == axis
        assert set(weights.quantization.zeroPoint) == {0}
        shape = [1] * float_weights.ndim
        shape[axis] = -1
        stored = held(model, weights, np.int8)
        assert np.abs(stored * scale.reshape(shape) - float_weights).max() <= scale.max() * 0.501
        assert (np.abs(stored).max(axis=over) == 127).all()
        unit = np.asarray(bias.quantization.scale)
        assert unit == pytest.approx(source.quantization.scale[0] * scale, rel=1e-6)
        assert held(model, bias, np.int32) * unit.astype(np.float64) == pytest.approx(float_bias, abs=float(unit.max()))


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e-6, 0.0])
def test_bias_far_above_tiny_weights_does_not_overflow(tmp_path: Path, size: float) -> None:
    net = Builder(12)
    weights = net.dice.normal(0, 1, (5, 3, 3, 3)) * np.array([1, size, 1, size, 1])[:, None, None, None]
    found = net.convolution(0, 5, weights=weights, bias=[3.0, 4e5, -2.0, -9e4, 0.0], activation=RELU)
    net.dense(net.mean(net.convolution(found, 4)), 4)
    model = checked(net.network, tmp_path)
    [_, _, bias, _], _ = tensors_of(model, "CONV_2D")
    stored = held(model, bias, np.int32).astype(np.float64)
    assert np.abs(stored).max() <= 2**30 + 1
    found_bias = stored * np.asarray(bias.quantization.scale, np.float64)
    assert found_bias == pytest.approx([3.0, 4e5, -2.0, -9e4, 0.0], rel=1e-3, abs=0.02)


# What LiteRT computes


NETWORKS = st.builds(drawn, st.lists(st.sampled_from([step for step in STEPS if step != "any"]), max_size=6),
                     st.integers(0, 999))


def test_constants_of_sums_and_products_are_planned_as_they_are_stored(tmp_path: Path) -> None:
    net = Builder(12)
    # In steps of the largest, 1 / 127, a factor of 0.0118 is stored as 1 step: two thirds of it.
    found = net.both("MUL", net.convolution(net.scaled(), 2), net.constant([1, 0.0118]))
    found = net.both("ADD", found, net.constant([-1, 0.0118]))
    net.dense(net.mean(net.convolution(found, 4, 1, weights=[[[[0, 100]]], [[[0, 50]]], [[[0, -90]]], [[[1, 9]]]])), 4)
    checked(net.network, tmp_path)
    ranges = widest(net.network, SMALL)
    off = engine.logits(net.network, SMALL, ranges) - engine.logits(net.network, SMALL)
    assert np.abs(off).max() > 10 * logits_step(quantize(net.network, ranges))


@given(NETWORKS, st.booleans())
@example(drawn(["TANH", "concat"], 0), False)
@settings(max_examples=50)
def test_drawn_network_is_integer_and_answers_as_planned_or_says_why_not(network: Network, opened: bool) -> None:
    rewrite(network, xnnpack=opened)
    if said := refusal(lambda: quantize(network, widest(network, SMALL))):
        assert "\n" not in said
        assert "type --quantize float16, or train a network of other layers" in said
        # Of a fixed range, but joined with others.
        assert {"CONCATENATION", "LOGISTIC", "TANH"} & {layer.kind for layer in network.layers} > {"CONCATENATION"}
        return
    ranges = widest(network, SMALL)
    planned, model = engine.logits(network, SMALL, ranges), quantize(network, ranges)
    require_integer(read_graph(model), 12, 4)
    off = np.abs(answers(model, SMALL) - planned)
    # A number that lies between two steps may be rounded either way; each such step moves the logits by a little.
    assert off.max() <= max(8 * logits_step(model), 0.1 * planned.std())
    assert np.median(off) <= 2.01 * logits_step(model)


def test_network_with_a_layer_of_every_kind_answers_as_planned(tmp_path: Path) -> None:
    network = everything()
    rewrite(network)
    model = checked(network, tmp_path)
    kinds = set(read_graph(model).operators)
    assert {"CONCATENATION", "LOGISTIC", "MAX_POOL_2D", "PAD", "RELU", "RELU6", "SOFTMAX", "SQUEEZE", "SUB", "TANH",
            "QUANTIZE"} <= kinds
    checked(everything(), tmp_path)


@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_pictures_go_in_as_they_are(io: str) -> None:
    network = everything()
    rewrite(network)
    model = quantize(network, widest(network, SMALL), io)
    graph = read_graph(model)
    require_integer(graph, 12, 4, io)
    assert (graph.input.dtype, graph.input.scale, graph.input.zero_point) == (
        io.upper(), 1.0, 0 if io == "uint8" else -128)
    assert [graph.operators.get(kind, 0) for kind in ("CAST", "QUANTIZE")] == ([1, 1] if io == "uint8" else [0, 0])
    other = quantize(network, widest(network, SMALL), "int8" if io == "uint8" else "uint8")
    assert np.array_equal(answers(model, SMALL), answers(other, SMALL))


def scales_of(model: bytes, kind: str) -> set[tuple[float, int]]:
    return {(float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
            for tensors in tensors_of(model, kind) for tensor in tensors
            if tensor.type == schema.TensorType.INT8}


def test_layers_that_move_numbers_have_the_same_steps_on_both_sides(tmp_path: Path) -> None:
    net = Builder(12)
    found = net.pad(net.convolution(0, 8))
    a, b = net.pool("AVERAGE_POOL_2D", found), net.pool("MAX_POOL_2D", found)
    joined = net.layer("CONCATENATION", [a, b, net.convolution(a, 4)], (*net.shape(a)[:3], 20), axis=3,
                       fusedActivationFunction=NO_ACTIVATION)
    flat = net.layer("SQUEEZE", [net.mean(joined, keep=True)], (1, 20), squeezeDims=[1, 2])
    net.dense(net.reshape(flat, (1, 20)), 4)
    group = shared(net.network)
    assert len({group[layer.output] for layer in net.network.layers[:6]}) == 1
    model = checked(net.network, tmp_path)
    for kind in SAME_STEPS:
        assert len(scales_of(model, kind)) == 1, kind


def test_gate_keeps_the_steps_of_a_sigmoid_through_a_reshape(tmp_path: Path) -> None:
    net = Builder(12)
    found = net.convolution(net.scaled(), 8, stride=2, activation=RELU)
    gate = net.reshape(net.plain("LOGISTIC", net.dense(net.mean(found), 8)), (1, 1, 1, 8))
    net.dense(net.mean(net.convolution(net.both("MUL", found, gate), 8)), 4)
    rewrite(net.network)
    model = checked(net.network, tmp_path)
    [[_, gate_stored]] = tensors_of(model, "LOGISTIC")
    assert (gate_stored.quantization.scale[0], gate_stored.quantization.zeroPoint[0]) == (1 / 256, -128)
    assert (1 / 256, -128) in scales_of(model, "RESHAPE")


def test_fixed_range_holds_whatever_was_chosen() -> None:
    net = Builder(12)
    gate = net.plain("LOGISTIC", net.convolution(net.scaled(), 8))
    moved = net.pad(gate)
    net.dense(net.mean(moved), 4)
    ranges = widest(net.network, SMALL)
    assert ranges[gate][1] > 0.5
    expected = quantize(net.network, ranges)
    planned = engine.logits(net.network, SMALL, ranges)
    ranges[gate] = (0.0, 0.1)
    assert quantize(net.network, ranges) == expected
    assert np.array_equal(engine.logits(net.network, SMALL, ranges), planned)


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_sigmoid_of_large_numbers(tmp_path: Path, kind: str) -> None:
    net = Builder(12)
    found = net.plain(kind, net.convolution(0, 8, weights=net.dice.normal(0, 2, (8, 3, 3, 3))))
    net.dense(net.mean(found), 4)
    ranges = widest(net.network, SMALL)
    assert ranges[net.network.layers[0].output][1] > 500
    checked(net.network, tmp_path, off=3)


@pytest.mark.parametrize("other", ["LOGISTIC", "pictures"])
def test_numbers_of_a_fixed_range_joined_with_others_are_refused_in_one_line(other: str) -> None:
    net = Builder(12)
    found = net.convolution(0, 3, activation=RELU)
    fixed = 0 if other == "pictures" else net.plain("LOGISTIC", net.convolution(0, 3))
    joined = net.layer("CONCATENATION", [found, fixed], (1, 12, 12, 6), axis=3, fusedActivationFunction=NO_ACTIVATION)
    net.dense(net.mean(joined), 4)
    with pytest.raises(EdgeWatchError, match=r"expected numbers of one range at .*; type --quantize float16, or "
                                             r"train a network of other layers$") as found_error:
        quantize(net.network, widest(net.network, SMALL))
    assert "\n" not in str(found_error.value)


# What is dead, or next to it


def dead(kind: str) -> Network:
    """A network with a layer that is 0 on every picture."""
    net = Builder(12)
    found = net.convolution(net.scaled(), 8, stride=2, activation=RELU)
    nothing = net.convolution(found, 8, activation=RELU, bias=np.full(8, -99.0))
    if kind == "next":
        found = net.convolution(nothing, 8)
    elif kind == "sum":
        found = net.both("ADD", found, nothing)
    elif kind == "difference":
        found = net.both("SUB", nothing, found)
    elif kind == "product":
        found = net.both("MUL", found, nothing)
    elif kind == "joined":
        found = net.layer("CONCATENATION", [nothing, found], (1, 6, 6, 16), axis=3,
                          fusedActivationFunction=NO_ACTIVATION)
    elif kind == "swish":
        found = net.plain("HARD_SWISH", net.convolution(found, 8, bias=np.full(8, -99.0)))
    elif kind == "squeeze":
        gate = net.convolution(net.mean(nothing, keep=True), 8, 1, activation=RELU6, bias=np.full(8, 3.0))
        found = net.both("MUL", found, gate)
    elif kind == "nothing added":
        found = net.both("ADD", found, net.constant(np.zeros(8)))
    elif kind == "no weights":
        found = net.convolution(found, 8, weights=np.zeros((8, 3, 3, 8)), bias=np.zeros(8))
    elif kind == "all":
        found = nothing
    net.dense(net.mean(net.convolution(found, 8)), 4)
    return net.network


@pytest.mark.parametrize("kind", ["next", "sum", "difference", "product", "joined", "swish", "squeeze", "nothing added",
                                  "no weights", "all"])
@pytest.mark.parametrize("opened", [True, False])
def test_dead_layer_gives_factors_that_the_runtime_takes(tmp_path: Path, kind: str, opened: bool) -> None:
    network = dead(kind)
    expected = answers(network, SMALL)
    rewrite(network, opened)
    model = checked(network, tmp_path)
    assert np.abs(answers(model, SMALL) - expected).max() <= max(0.1 * expected.std(), 4 * logits_step(model))
    for found, weights, _, target in tensors_of(model, "CONV_2D") + tensors_of(model, "DEPTHWISE_CONV_2D"):
        factors = found.quantization.scale[0] * np.asarray(weights.quantization.scale) / target.quantization.scale[0]
        assert 2.0**-32 <= factors.min() <= factors.max() < MOST
    for a, b, target in tensors_of(model, "ADD") + tensors_of(model, "SUB"):
        for each in (a, b):
            assert 2.0**-10 <= each.quantization.scale[0] / target.quantization.scale[0] < MOST


def test_what_a_cure_changes_is_seen_by_those_before_it(tmp_path: Path) -> None:
    net = Builder(12)
    first = net.convolution(0, 8, activation=RELU, bias=np.full(8, -99999.0))
    aside = net.convolution(first, 4)
    # A small sum of large numbers: its steps, which `first` shares, are made larger after `aside` took them.
    large = net.convolution(0, 8, bias=np.zeros(8))
    small = net.both("SUB", large, large)
    joined = net.layer("CONCATENATION", [first, small], (1, 12, 12, 16), axis=3, fusedActivationFunction=NO_ACTIVATION)
    net.dense(net.mean(net.both("ADD", net.convolution(joined, 4), aside)), 4)
    checked(net.network, tmp_path)


def test_product_that_no_factor_fits_is_named_in_one_line() -> None:
    net = Builder(12)
    found = net.both("MUL", net.convolution(0, 8), net.convolution(0, 8))
    net.dense(net.mean(found), 4)
    ranges = widest(net.network, SMALL)
    low, high = ranges[found]
    ranges[found] = low * 1e7, high * 1e7
    with pytest.raises(EdgeWatchError, match=r"^expected numbers of like size at mul2, found factors from .* \(XNNPACK "
                                             r"takes 2e-05 to 256\); type --quantize float16, or ") as error:
        quantize(net.network, ranges)
    assert "\n" not in str(error.value)


# Whole networks


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v2_0.35"])
def test_backbone_is_one_piece_for_xnnpack_and_answers_as_planned(tmp_path: Path, name: str) -> None:
    network, shown = read(float_file(name)), pictures(8, SIZE)
    rewrite(network)
    ranges = widest(network, shown)
    model = quantize(network, ranges)
    (tmp_path / "model.tflite").write_bytes(model)
    try_out(tmp_path / "model.tflite")
    assert partitions(tmp_path / "model.tflite") == (1, {"CAST": 1, "QUANTIZE": 1})
    require_integer(read_graph(model), SIZE, 5)
    planned = engine.logits(network, shown, ranges)
    off = np.abs(answers(model, shown) - planned)
    assert off.max() < 0.2 * planned.std()


def test_target_any_leaves_hard_swish_whole_and_runs(tmp_path: Path) -> None:
    shown = pictures(12, SIZE)
    made = to_int8(float_file("mobilenet_v3_small"), shown, target="any", tuning="never")
    (tmp_path / "model.tflite").write_bytes(made.content)
    try_out(tmp_path / "model.tflite")
    graph = read_graph(made.content)
    require_integer(graph, SIZE, 5)
    assert graph.operators["HARD_SWISH"] == 18
    found = partitions(tmp_path / "model.tflite")
    assert found is not None
    assert found[1]["HARD_SWISH"] == 18
    expected = answers(float_file("mobilenet_v3_small"), shown)
    assert np.abs(answers(made.content, shown) - expected).max() < 0.3 * expected.std()


def efficient() -> bytes:
    """Convolutions with x * sigmoid(x) and squeeze-and-excite units, as in EfficientNet."""
    net = Builder(24, 3)
    found = net.scaled(1 / 255, 0.0)
    for stride in (2, 1, 2):
        found = net.convolution(found, 8, stride=stride)
        found = net.both("MUL", found, net.plain("LOGISTIC", found))
        found = net.excited(net.depthwise(found), gate="sigmoid")
    net.dense(net.mean(found), 3)
    return write(net.network)


@pytest.mark.parametrize(("model", "times"), [
    pytest.param(efficient(), 1, id="efficient"), pytest.param(write(everything()), 2, id="everything"),
])
def test_fine_tuned_network_is_the_same_every_time(model: bytes, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convert.int8.fine_tune", functools.partial(fine_tune, steps=24))
    size = read_graph(model).input.shape[1]
    shown = pictures(8, size)
    first, *others = (to_int8(model, shown, tuning="always", seed=4) for _ in range(times))
    assert all(other.content == first.content for other in others)
    assert "fine-tuned" in first.recipe
    require_integer(read_graph(first.content), size, read_graph(model).output.shape[1])
    expected = answers(model, shown)
    assert np.abs(answers(first.content, shown) - expected).max() < 0.3 * expected.std()


def test_swishing_network_with_squeeze_and_excite_converts(tmp_path: Path) -> None:
    model, shown = efficient(), pictures(16, 24)
    made = to_int8(model, shown, tuning="never")
    (tmp_path / "model.tflite").write_bytes(made.content)
    try_out(tmp_path / "model.tflite")
    assert partitions(tmp_path / "model.tflite") == (1, {"CAST": 1, "QUANTIZE": 1})
    expected = answers(model, shown)
    assert np.abs(answers(made.content, shown) - expected).max() < 0.3 * expected.std()


def test_runtime_is_given_what_was_stored() -> None:
    network = everything()
    rewrite(network)
    model = quantize(network, widest(network, SMALL))
    loaded = LiteRT(model_content=model)
    loaded.allocate_tensors()
    assert {np.dtype(each["dtype"]).name for each in loaded.get_tensor_details()} <= {"uint8", "int8", "int32"}


@given(st.floats(1e-3, 4.0), st.floats(1e-3, 1.0), st.floats(1e-3, 1.0))
@settings(max_examples=20)
def test_no_product_lies_between_two_steps(factor: float, one: float, other: float) -> None:
    net = Builder(12)
    left, right = net.convolution(net.scaled(), 2), net.convolution(net.scaled(), 2)
    found = net.both("MUL", left, right)
    net.dense(net.mean(found), 4)
    ranges = widest(net.network, SMALL)
    ranges |= {left: (-127.5 * one, 127.5 * one), right: (0.0, 255 * other),
               found: (0.0, 255 * one * other / factor)}
    tensors = {each.name.decode(): each for each in parse(quantize(net.network, ranges)).subgraphs[0].tensors}
    a, b, c = (float(tensors[net.network.tensors[each].name].quantization.scale[0]) for each in (left, right, found))
    exact = np.arange(-255 * 255, 255 * 255 + 1) * (a * b / c)
    assert np.abs(exact[np.abs(exact) < 256] % 1 - 0.5).min() > 1e-5, "the middle is rounded up or to even"
    assert factor / 1.07 - 1e-9 <= a * b / c <= factor * (1 + 1e-6)


def test_settled_ranges_are_those_that_the_file_stores() -> None:
    net = Builder(12)
    left, right = net.convolution(net.scaled(), 2), net.convolution(net.scaled(), 2)
    found = net.both("MUL", left, right)
    mean = net.mean(found)
    net.dense(mean, 4)
    ranges = widest(net.network, SMALL) | {left: (-100.0, 100.0), right: (-2.0, 2.0), found: (-150.0, 150.0)}
    settled = settle(net.network, ranges)
    assert settled[found][1] > 150.0
    assert settled[mean][1] > ranges[mean][1]
    assert {tensor: span for tensor, span in settled.items() if tensor not in (found, mean)} == {
        tensor: span for tensor, span in ranges.items() if tensor not in (found, mean)}
    tensors = {each.name.decode(): each for each in parse(quantize(net.network, ranges)).subgraphs[0].tensors}
    for each in (found, mean):
        assert settle(net.network, settled)[each] == pytest.approx(settled[each], rel=1e-6), "settled already"
    stored = tensors[net.network.tensors[found].name].quantization.scale[0]
    assert stored == pytest.approx(steps(*settled[found])[0], rel=1e-6)


@given(st.floats(0.02, 1.0), st.integers(2, 14))
@settings(max_examples=20)
def test_no_mean_lies_between_two_steps(reach: float, side: int) -> None:
    net = Builder(side)
    taken = net.convolution(net.scaled(), 2)
    found = net.mean(taken)
    net.dense(found, 4)
    ranges = widest(net.network, pictures(4, side)) | {taken: (-127.5, 127.5), found: (-127.5 * reach, 127.5 * reach)}
    tensors = {each.name.decode(): each for each in parse(quantize(net.network, ranges)).subgraphs[0].tensors}
    a, b = (float(tensors[net.network.tensors[each].name].quantization.scale[0]) for each in (taken, found))
    exact = np.arange(255 * side * side + 1) * (a / b / side**2)
    assert np.abs(exact[exact < 256] % 1 - 0.5).min() > 1e-5, "the middle is rounded up or to even"
    assert reach * (1 - 1e-6) <= b / a <= reach * 1.07
