"""Weights are rounded so that their errors cancel; layers that this is not for stay as they are, and still convert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convert.engine import activations
from convert.flatbuffer import read_graph, require_integer
from convert.graph import RELU, Layer, Network, write
from convert.int8 import to_int8
from convert.rewrites import rewrite
from convert.rounding import round_weights
from convert.trial import try_out
from tests.layers import Builder, answers, pictures

# So few that every place of every picture is looked at: 11 of 6 x 6 places.
FEW = pictures(11, 12)


def mixing(weights: str = "random") -> Network:
    """Two 1 x 1 convolutions of channels that go together, since a few filters make them all; then a dense layer."""
    net = Builder(12, 2)
    bias = np.full(16, -99.0) if weights == "never reached" else np.full(16, 0.3)
    filters = np.tensordot(net.dice.normal(0, 0.3, (16, 3)), net.dice.normal(0, 0.5, (3, 3, 3, 3)), 1)
    filters += net.dice.normal(0, 0.03, filters.shape)
    found = net.convolution(net.scaled(), 16, stride=2, activation=RELU, weights=filters, bias=bias)
    given = None
    if weights == "all nearly the largest":
        # What others leave to them would take some beyond 127 steps.
        given = net.dice.uniform(0.99, 1, (24, 1, 1, 16)) * net.dice.choice([-0.3, 0.3], (24, 1, 1, 16))
    elif weights == "some outputs of nothing":
        given = net.dice.normal(0, 0.3, (24, 1, 1, 16)) * (np.arange(24) % 2)[:, None, None, None]
    found = net.depthwise(net.convolution(found, 24, 1, activation=RELU, weights=given))
    net.dense(net.mean(net.convolution(found, 12, 1)), 4)
    rewrite(net.network)
    return net.network


def kernel(network: Network, layer: Layer) -> np.ndarray:
    """The weights of a convolution, (outputs, height * width * inputs) float64."""
    weights = network.constant(layer.inputs[1])
    assert weights is not None
    return weights.reshape(len(weights), -1).astype(np.float64)


def mixers(network: Network) -> list[Layer]:
    """The 1 x 1 convolutions: the two that were made, and the dense layer."""
    found = [layer for layer in network.layers if layer.kind == "CONV_2D"
             and network.tensors[layer.inputs[1]].shape[1:3] == (1, 1)]
    assert [kernel(network, layer).shape for layer in found] == [(24, 16), (12, 24), (4, 12)]
    return found


def steps(weights: np.ndarray) -> np.ndarray:
    """(outputs, 1): the steps of int8 are a 127th of each output's largest weight."""
    return np.maximum(np.abs(weights).max(axis=1, keepdims=True) / 127, 1e-12)


@pytest.mark.parametrize("weights", ["random", "all nearly the largest", "some outputs of nothing", "never reached"])
def test_all_weights_lie_on_the_steps_of_their_output_and_the_steps_stay(weights: str) -> None:
    network = mixing(weights)
    before = network.copy()
    assert round_weights(network, FEW) == 3
    for layer in mixers(network):
        old, new = kernel(before, layer), kernel(network, layer)
        places = new / steps(old)
        assert np.abs(places - np.round(places)).max() < 1e-4
        assert np.abs(places).max() < 127.001
        largest = np.abs(old).argmax(axis=1)[:, None]
        assert np.array_equal(np.take_along_axis(new, largest, 1), np.take_along_axis(old, largest, 1))
    others = {index for index, tensor in enumerate(before.tensors) if tensor.data is not None}
    for index in others - {each for layer in mixers(network) for each in layer.inputs[1:]}:
        assert np.array_equal(before.constant(index), network.constant(index)), "3 x 3 and depthwise stay"


def test_errors_cancel_on_correlated_inputs() -> None:
    network = mixing()
    joint = network.copy()
    round_weights(joint, FEW)
    [found] = activations(network, FEW)
    for layer in mixers(network)[:2]:
        inputs = found[layer.inputs[0]].reshape(-1, kernel(network, layer).shape[1])
        exact = inputs @ kernel(network, layer).T + network.constant(layer.inputs[2])
        alone = np.round(kernel(network, layer) / steps(kernel(network, layer))) * steps(kernel(network, layer))
        nearest = inputs @ alone.T + network.constant(layer.inputs[2]) - exact
        together = inputs @ kernel(joint, layer).T + joint.constant(layer.inputs[2]) - exact
        assert np.abs(together.mean(axis=0)).max() < 1e-5, "the bias takes up the mean"
        # Of both without their means: else the bias alone would make the difference.
        assert together.std(axis=0).mean() < 0.75 * nearest.std(axis=0).mean()


def flat() -> Network:
    """A dense layer over flattened pictures, 12 * 12 * 16 = 2304 numbers."""
    net = Builder(12, 3)
    found = net.convolution(net.scaled(), 16, activation=RELU)
    net.dense(net.reshape(found, (1, 2304)), 4)
    return net.network


def grouped() -> Network:
    """A 1 x 1 convolution in two groups: each output takes 4 of 8 channels."""
    net = Builder(12, 4)
    found = net.convolution(net.scaled(), 8, stride=2, activation=RELU)
    found = net.convolution(found, 12, 1, weights=net.dice.normal(0, 0.7, (12, 1, 1, 4)), activation=RELU)
    net.dense(net.mean(found), 4)
    return net.network


@pytest.mark.parametrize(("make", "shape", "others"), [(flat, (4, 1, 1, 2304), 0), (grouped, (12, 1, 1, 4), 1)])
def test_layer_that_it_is_not_for_stays_and_the_network_converts(
    tmp_path: Path, make: Callable[[], Network], shape: tuple[int, ...], others: int
) -> None:
    network, shown = make(), pictures(32, 12)
    model = write(network)
    rewrite(network)
    before = network.copy()
    assert round_weights(network, shown) == others
    [layer] = [layer for layer in network.layers if layer.kind == "CONV_2D"
               and network.tensors[layer.inputs[1]].shape == shape]
    for tensor in layer.inputs[1:]:
        assert np.array_equal(network.constant(tensor), before.constant(tensor))
    made = to_int8(model, shown, tuning="never")
    (tmp_path / "model.tflite").write_bytes(made.content)
    try_out(tmp_path / "model.tflite")
    require_integer(read_graph(made.content), 12, 4)
    assert made.recipe["rounded"].startswith(f"weights of {others} layers")
    expected = answers(model, shown)
    assert np.sqrt(np.mean((answers(made.content, shown) - expected) ** 2)) < 0.05 * expected.std()
