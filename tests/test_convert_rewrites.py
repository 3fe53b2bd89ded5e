"""Rewrites leave what a network computes as it is: one by one and together, on real backbones and on drawn networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.graph import NO_ACTIVATION, RELU, RELU6, SAME, VALID, Layer, Network, read, write
from convert.ranges import equalize, even_swishes, reach, shrink_linear, swishes, whole_steps
from convert.rewrites import (
    absorbs,
    compensate,
    dense_by_channel,
    fold_factors,
    fold_gates,
    merge_linear,
    open_hard_swish,
    pools_by_weights,
    rewrite,
    shift_first,
)
from tests.backbones import SIZE, float_file
from tests.layers import STEPS, Builder, answers, drawn, everything, pictures, spread_off

SHOWN = pictures(4, SIZE)
SMALL = pictures(6, 12)
EXACT = 1e-4
"""Of the spread of the logits."""
# HARD_SWISH and products with constants (the scaling of pictures, and a sixth in each squeeze-and-excite gate).
BACKBONES = {
    "mobilenet_v3_small": (18, 10),
    "mobilenet_v3_small_0.5": (18, 10),
    "mobilenet_v3_small_1.25": (18, 10),
    "mobilenet_v3_large": (20, 9),
    "mobilenet_v3_large_0.35": (20, 9),
    "mobilenet_v3_large_minimalistic": (0, 1),
    "mobilenet_v2_0.35": (0, 1),
    "mobilenet_v1_0.25": (0, 1),
}


def kinds(network: Network) -> Counter[str]:
    return Counter(layer.kind for layer in network.layers)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_is_rewritten_exactly_step_by_step(name: str) -> None:
    model = float_file(name)
    swishing, products = BACKBONES[name]
    expected = answers(model, SHOWN)
    assert expected.std() > 0.1
    steps: dict[Callable[[Network], int], int] = {
        shift_first: 1, open_hard_swish: swishing, fold_factors: products, dense_by_channel: 1}
    for step, count in steps.items():
        network = read(model)
        assert kinds(network)["HARD_SWISH"] == swishing
        # The scaling of pictures ends in an addition, through which its factor cannot be folded.
        assert step(network) == (count - 1 if step is fold_factors else count), step.__name__
        assert spread_off(expected, answers(network, SHOWN)) < EXACT, step.__name__


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_is_rewritten_exactly_as_a_whole(name: str) -> None:
    model = float_file(name)
    network = read(model)
    before = kinds(network)
    done = rewrite(network)
    assert spread_off(answers(model, SHOWN), answers(network, SHOWN)) < EXACT
    swishing, products = BACKBONES[name]
    folded = [f"{products - 1} constant factors folded into the next weights"] if products > 1 else []
    opened = [f"{swishing} HARD_SWISH made x * relu6(x + 3), the sixth folded into the next weights"] * bool(swishing)
    assert done == ["1 scaling of the input made one addition", *opened, *folded,
                    "1 dense layer made a 1 x 1 convolution, which has a scale for each class"]
    # At the beginning of Large (not of a narrow one) a hard-swish goes into a sum, which cannot take its sixth.
    kept = 1 if name == "mobilenet_v3_large" else 0
    after = kinds(network)
    assert set(after) <= {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "MUL", "RESHAPE"}
    assert after["MUL"] == before["MUL"] - products + swishing + kept
    assert after["ADD"] == before["ADD"] + swishing
    assert (after["CONV_2D"], after["DEPTHWISE_CONV_2D"]) == (before["CONV_2D"] + 1, before["DEPTHWISE_CONV_2D"])
    once = write(network)
    assert (rewrite(network), write(network)) == ([], once), "a second time there is nothing left to do"


def test_target_with_hard_swish_of_its_own_keeps_it() -> None:
    network = read(float_file("mobilenet_v3_small"))
    assert not any("HARD_SWISH" in text for text in rewrite(network, xnnpack=False))
    assert kinds(network)["HARD_SWISH"] == 18
    assert spread_off(answers(float_file("mobilenet_v3_small"), SHOWN), answers(network, SHOWN)) < EXACT


def test_network_that_needs_nothing_passes_through_untouched() -> None:
    net = Builder(12)
    shifted = net.both("ADD", 0, net.constant([-128]))
    found = net.convolution(net.depthwise(net.convolution(shifted, 8, activation=RELU6)), 4)
    net.reshape(net.convolution(net.mean(found, keep=True), 4, 1), (1, 4))
    before = write(net.network)
    assert rewrite(net.network) == []
    assert write(net.network) == before


def test_layers_without_a_bias_are_given_one_of_0() -> None:
    net = Builder(12)
    net.dense(net.mean(net.depthwise(net.convolution(0, 8))), 4)
    _, depthwise, _, dense = net.network.layers
    for layer in (depthwise, dense):
        net.network.tensors[layer.inputs[2]].data *= 0
    expected = answers(net.network, SMALL)
    depthwise.inputs.pop()
    dense.inputs[2] = -1
    rewrite(net.network)
    biases = [net.network.constant(layer.inputs[2]) for layer in net.network.layers if len(layer.inputs) == 3]
    assert [bias.tolist() for bias in biases[1:] if bias is not None] == [[0.0] * 8, [0.0] * 4]
    assert spread_off(expected, answers(net.network, SMALL)) < EXACT


def test_network_with_a_layer_of_every_kind_is_rewritten_exactly() -> None:
    network = everything()
    expected = answers(network, SMALL)
    assert len(rewrite(network)) == 5
    assert spread_off(expected, answers(network, SMALL)) < EXACT


# Pools


@pytest.mark.parametrize(("kind", "side", "stride", "padding", "places", "edges"), [
    pytest.param("AVERAGE_POOL_2D", 3, 1, SAME, 12, True, id="as in InceptionV3"),
    pytest.param("AVERAGE_POOL_2D", 3, 2, SAME, 6, True, id="padded on one side"),
    pytest.param("AVERAGE_POOL_2D", 2, 2, SAME, 6, False, id="nothing to pad"),
    pytest.param("AVERAGE_POOL_2D", 5, 3, VALID, 3, False, id="valid"),
    pytest.param("MAX_POOL_2D", 1, 2, VALID, 6, False, id="as in ResNet50V2"),
    pytest.param("MAX_POOL_2D", 1, 2, SAME, 6, False, id="one place"),
])
def test_pool_that_xnnpack_does_not_have_becomes_a_convolution_that_gives_the_same(
    kind: str, side: int, stride: int, padding: int, places: int, edges: bool
) -> None:
    net = Builder(12)
    found = net.layer(kind, [net.convolution(0, 144)], (1, places, places, 144), filterHeight=side, filterWidth=side,
                      strideH=stride, strideW=stride, padding=padding, fusedActivationFunction=RELU)
    flat = net.reshape(net.convolution(found, 2), (1, places * places * 2))
    net.dense(flat, 4)
    expected = answers(net.network, SMALL)
    assert pools_by_weights(net.network) == 1
    assert kinds(net.network)["MUL"] == edges
    assert spread_off(expected, answers(net.network, SMALL)) < EXACT
    assert fold_factors(net.network) == 0, "as many places as channels make no factor of channels"
    assert pools_by_weights(net.network) == 0


def test_pools_that_xnnpack_has_and_other_targets_stay() -> None:
    net = Builder(12)
    net.dense(net.mean(net.pool("MAX_POOL_2D", net.convolution(0, 4))), 4)
    assert pools_by_weights(net.network) == 0
    other = Builder(12)
    other.dense(other.mean(other.pool("AVERAGE_POOL_2D", other.convolution(0, 4))), 4)
    assert not any("pool" in text for text in rewrite(other.network, xnnpack=False))


# The scaling of the input


def scaled_by(factor: object, shift: object, kind: str = "ADD") -> Network:
    net = Builder(12)
    product = net.both("MUL", 0, net.constant(factor))
    net.dense(net.mean(net.convolution(net.both(kind, product, net.constant(shift)), 8)), 4)
    return net.network


@pytest.mark.parametrize(("factor", "shift", "added"), [
    (1 / 127.5, -1.0, [-127.5]),
    ([1 / 127.5], [-1.0], [-127.5]),
    ([0.02, 0.01, 0.04], [-2.0, -1.0, 1.0], [-100, -100, 25]),
    ([0.02, 0.01, 0.04], -2.0, [-100, -200, -50]),
])
def test_scaling_becomes_an_addition_in_steps_of_pictures(factor: object, shift: object, added: list[float]) -> None:
    network = scaled_by(factor, shift)
    expected = answers(network, SMALL)
    assert shift_first(network) == 1
    assert [layer.kind for layer in network.layers] == ["ADD", "CONV_2D", "MEAN", "FULLY_CONNECTED"]
    found = network.constant(network.layers[0].inputs[1])
    assert found is not None
    assert found == pytest.approx(np.array(added))
    assert spread_off(expected, answers(network, SMALL)) < EXACT


@pytest.mark.parametrize("network", [
    scaled_by([-0.01, 0.01, 0.01], -1.0), scaled_by([0.0, 0.01, 0.01], -1.0), scaled_by(0.01, 1.0, "SUB"),
])
def test_scaling_that_cannot_be_turned_round_is_left(network: Network) -> None:
    before = write(network)
    assert shift_first(network) == 0
    assert write(network) == before


# Factors


def test_factor_is_folded_through_what_passes_it_on() -> None:
    net = Builder(12)
    found = net.convolution(0, 8, stride=2, activation=RELU)
    scaled = net.both("MUL", found, net.constant(np.linspace(0, 2, 8)))
    passed = net.pool("AVERAGE_POOL_2D", net.pad(net.pool("MAX_POOL_2D", scaled)))
    gate = net.convolution(net.mean(passed, keep=True), 8, 1, activation=RELU6)
    net.dense(net.mean(net.convolution(net.both("MUL", passed, gate, RELU), 4)), 4)
    expected = answers(net.network, SMALL)
    assert fold_factors(net.network) == 1
    assert kinds(net.network)["MUL"] == 1
    assert spread_off(expected, answers(net.network, SMALL)) < EXACT


def test_factor_below_zero_is_not_folded_through_the_largest_of_four() -> None:
    net = Builder(12)
    scaled = net.both("MUL", net.convolution(0, 8), net.constant(np.linspace(-1, 1, 8)))
    net.dense(net.mean(net.convolution(net.pool("MAX_POOL_2D", scaled), 4)), 4)
    expected = answers(net.network, SMALL)
    fold_factors(net.network)
    assert spread_off(expected, answers(net.network, SMALL)) < EXACT


def test_factor_stays_where_nothing_can_take_it() -> None:
    net = Builder(12)
    scaled = net.both("MUL", net.convolution(0, 8), net.constant(0.5))
    net.dense(net.mean(net.both("ADD", scaled, net.convolution(0, 8))), 4)
    net.both("MUL", net.network.output, net.constant(2.0))
    before = write(net.network)
    assert fold_factors(net.network) == 0
    assert write(net.network) == before


@pytest.mark.parametrize("between", ["relu6", "square", "mean of channels"])
def test_factor_is_not_folded_through_what_would_change(between: str) -> None:
    net = Builder(12)
    found = net.convolution(net.scaled(), 6, stride=2)
    scaled = net.both("MUL", found, net.constant(np.linspace(0.5, 3, 6)))
    if between == "relu6":
        passed = net.both("MUL", scaled, net.constant(np.ones(6)), RELU6)
    elif between == "square":
        passed = net.both("MUL", scaled, scaled)
    else:
        # (1, 6, 6, 6), of which the last go.
        passed = net.reshape(net.layer("MEAN", [scaled, net.constant([3], np.int32)], (1, 6, 6), keepDims=False),
                             (1, 1, 6, 6))
    net.dense(net.mean(net.convolution(passed, 4)), 4)
    expected = answers(net.network, SMALL)
    assert not absorbs(net.network, scaled)
    fold_factors(net.network)
    assert spread_off(expected, answers(net.network, SMALL)) < EXACT


def test_convolution_in_groups_is_left_alone() -> None:
    net = Builder(12)
    swish = net.plain("HARD_SWISH", net.convolution(0, 8))
    halves = net.convolution(swish, 8)
    net.network.layers[-1].inputs[1] = net.constant(net.dice.normal(0, 0.3, (8, 3, 3, 4)))
    net.dense(net.mean(halves), 4)
    expected = answers(net.network, SMALL)
    assert not absorbs(net.network, swish)
    rewrite(net.network)
    assert kinds(net.network)["HARD_SWISH"] == 0
    assert spread_off(expected, answers(net.network, SMALL)) < EXACT


def pair(between: int, activation: int = NO_ACTIVATION, twice: bool = False) -> Network:
    """Two 1 x 1 convolutions, 8 channels to `between` to 6; what is between them goes into a sum as well or not."""
    net = Builder(12)
    first = net.convolution(net.convolution(0, 8, activation=RELU), between, 1, activation=activation)
    second = net.convolution(first, 6, 1, activation=RELU)
    if twice:
        second = net.both("ADD", net.convolution(second, between, 1), first)
    net.dense(net.mean(second), 4)
    rewrite(net.network)
    return net.network


@pytest.mark.parametrize("between", [4, 8])
def test_two_convolutions_with_nothing_between_them_become_one(between: int) -> None:
    network = pair(between)
    expected, before = answers(network, SMALL), kinds(network)["CONV_2D"]
    assert merge_linear(network) == 1
    assert kinds(network)["CONV_2D"] == before - 1
    assert spread_off(expected, answers(network, SMALL)) < EXACT


@pytest.mark.parametrize("network", [pair(3), pair(8, RELU), pair(8, twice=True)],
                         ids=["more work", "a ReLU between them", "something else takes it too"])
def test_convolutions_that_cannot_be_one_stay_two(network: Network) -> None:
    before = write(network)
    assert merge_linear(network) == 0
    assert write(network) == before


# Drawn networks

def same(before: np.ndarray, after: np.ndarray) -> bool:
    return bool(np.abs(before - after).max() <= EXACT * (np.abs(before).max() + 1e-3))


NETWORKS = st.builds(drawn, st.lists(st.sampled_from(STEPS), min_size=1, max_size=7), st.integers(0, 999))


@given(NETWORKS)
@settings(max_examples=60)
def test_drawn_network_is_rewritten_exactly(network: Network) -> None:
    expected = answers(network, SMALL)
    rewrite(network)
    assert kinds(network)["HARD_SWISH"] == 0
    assert same(expected, answers(network, SMALL))


@given(NETWORKS, st.integers(0, 999))
@settings(max_examples=60)
def test_what_absorbs_a_factor_gives_the_same_once_it_is_compensated(network: Network, seed: int) -> None:
    expected = answers(network, SMALL)
    dice = np.random.default_rng(seed)
    assert not absorbs(network, network.output)
    absorbing = [tensor for tensor in network.activations() if absorbs(network, tensor)]
    assert absorbing, "what goes into the last dense layer does"
    for tensor in absorbing:
        changed = network.copy()
        factor = dice.uniform(0.2, 5, network.tensors[tensor].shape[-1]).astype(np.float32)
        compensate(changed, tensor, factor)
        divided = changed.add("divided", changed.tensors[tensor].shape)
        for layer in changed.consumers(tensor):
            layer.inputs = [divided if each == tensor else each for each in layer.inputs]
        by = changed.add("by", (len(factor),), 1 / factor)
        place = next((at + 1 for at, layer in enumerate(changed.layers) if layer.output == tensor), 0)
        changed.layers.insert(place, Layer("MUL", [tensor, by], divided, {"fusedActivationFunction": NO_ACTIVATION}))
        assert same(expected, answers(changed, SMALL)), network.tensors[tensor].name


# Changes that rest on what pictures show


def swishing(bias: list[float], spread: float = 0.002) -> Network:
    """A hard-swish whose channels live around `bias`."""
    net = Builder(12)
    weights = net.dice.normal(0, spread, (len(bias), 3, 3, 3))
    # Each around its bias, whatever a picture's brightness.
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    found = net.plain("HARD_SWISH", net.convolution(0, len(bias), padding=VALID, weights=weights, bias=bias))
    net.dense(net.mean(net.convolution(net.excited(found), 4)), 4)
    rewrite(net.network)
    return net.network


def test_channels_in_the_linear_part_are_made_smaller() -> None:
    network = swishing([20, 12, 30, 8])
    expected = answers(network, SMALL)
    seen = reach(network, SMALL)
    [tensor] = swishes(network)
    assert seen.low[tensor].min() > 5, "none leaves the linear part"
    assert shrink_linear(network, seen) == 4
    assert spread_off(expected, answers(network, SMALL)) < 1e-3
    after = reach(network, SMALL)
    assert after.low[tensor].min() > 3
    assert after.high[tensor].max() < 6 < seen.high[tensor].max()


def test_channels_that_leave_the_linear_part_stay() -> None:
    network = swishing([0, 1, -1, 2])
    before = write(network)
    assert shrink_linear(network, reach(network, SMALL)) == 0
    assert write(network) == before
    network = swishing([20, 0, 30, 1])
    expected = answers(network, SMALL)
    assert shrink_linear(network, reach(network, SMALL)) == 2
    assert spread_off(expected, answers(network, SMALL)) < 1e-3


def test_channels_of_the_first_hard_swish_reach_equally_far() -> None:
    network = swishing([0.5, 1, -0.5, 8, -2], 0.001)
    expected = answers(network, SMALL)
    [tensor] = swishes(network)
    before = reach(network, SMALL)
    assert even_swishes(network, before, {}) == 1
    assert spread_off(expected, answers(network, SMALL)) < 1e-3
    [(gate, product)] = swishes(network).values()
    assert (gate.kind, gate.activation, product.inputs[0]) == ("DEPTHWISE_CONV_2D", RELU6, tensor)
    slopes = np.asarray(network.constant(gate.inputs[1])).reshape(-1)
    assert slopes.max() == 1
    after = reach(network, SMALL)
    top = after.high[tensor].max()
    # Each goes up as far as the highest did or, where it has more below 0, down to -4.5.
    assert np.allclose(np.maximum(after.high[tensor] / top, -after.low[tensor] / 4.5), 1, atol=0.02)
    assert np.allclose(after.high[tensor] * slopes, before.high[tensor], atol=1e-3)


def test_hard_swishes_that_err_most_for_their_size_are_made_even() -> None:
    net = Builder(12)
    found = 0
    for channels, stride in ((4, 1), (8, 1), (6, 2), (2, 2)):
        found = net.plain("HARD_SWISH", net.convolution(found, channels, stride=stride))
    net.dense(net.mean(found), 4)
    rewrite(net.network)
    expected = answers(net.network, SMALL)
    first, second, third, last = swishes(net.network)
    sizes = [int(np.prod(net.network.tensors[tensor].shape)) for tensor in (third, last)]
    total = sum(int(np.prod(net.network.tensors[tensor].shape)) for tensor in net.network.activations())
    assert sizes[1] < total / 40 < sizes[0]
    # The second errs most but is too large; so is the third.
    assert even_swishes(net.network, reach(net.network, SMALL), {first: 0.0, second: 9.0, third: 5.0, last: 0.1}) == 2
    made = [tensor for tensor, (gate, _) in swishes(net.network).items() if gate.kind == "DEPTHWISE_CONV_2D"]
    assert made == [first, last]
    assert spread_off(expected, answers(net.network, SMALL)) < 1e-3


def test_hard_swish_of_a_tensor_that_goes_elsewhere_as_well_is_left() -> None:
    net = Builder(12)
    taken = net.convolution(0, 4, padding=VALID, bias=[20, 0.5, 30, 1])
    found = net.convolution(net.plain("HARD_SWISH", taken), 4, 1)
    net.dense(net.mean(net.both("ADD", found, net.convolution(taken, 4, 1))), 4)
    rewrite(net.network)
    before, seen = write(net.network), reach(net.network, SMALL)
    assert (swishes(net.network), shrink_linear(net.network, seen), even_swishes(net.network, seen, {})) == ({}, 0, 0)
    assert write(net.network) == before


def test_hard_swish_before_a_sum_is_not_made_even() -> None:
    net = Builder(12)
    found = net.plain("HARD_SWISH", net.convolution(0, 8))
    net.dense(net.mean(net.both("ADD", found, net.convolution(found, 8))), 4)
    rewrite(net.network)
    before = write(net.network)
    assert even_swishes(net.network, reach(net.network, SMALL), {}) == 0
    assert write(net.network) == before


def between(activation: int) -> Network:
    """A convolution and a depthwise one, with channels of very different reach between them."""
    net = Builder(12)
    weights = net.dice.uniform(0, 0.1, (8, 3, 3, 3)) * np.geomspace(0.5, 5, 8)[:, None, None, None]
    found = net.depthwise(net.convolution(0, 8, activation=activation, weights=weights), activation=RELU6)
    net.dense(net.mean(net.convolution(found, 4)), 4)
    rewrite(net.network)
    return net.network


def test_channels_between_convolutions_reach_equally_far() -> None:
    network = between(RELU)
    expected = answers(network, SMALL)
    seen, tensor = reach(network, SMALL), network.layers[0].output
    assert seen.high[tensor].max() > 5 * seen.high[tensor].min()
    assert equalize(network, seen) == 1
    assert spread_off(expected, answers(network, SMALL)) < 1e-3
    after = reach(network, SMALL).high[tensor]
    assert after.max() < 1.1 * after.min()


def test_channels_before_an_ordinary_convolution_reach_equally_far() -> None:
    net = Builder(12)
    weights = net.dice.uniform(0, 0.1, (8, 3, 3, 3)) * np.geomspace(0.5, 5, 8)[:, None, None, None]
    net.dense(net.mean(net.convolution(net.convolution(0, 8, activation=RELU, weights=weights), 4)), 4)
    rewrite(net.network)
    expected, tensor = answers(net.network, SMALL), net.network.layers[0].output
    assert equalize(net.network, reach(net.network, SMALL)) == 1
    assert spread_off(expected, answers(net.network, SMALL)) < 1e-3
    after = reach(net.network, SMALL).high[tensor]
    assert after.max() < 1.1 * after.min()


def test_squeezed_units_are_not_equalized() -> None:
    network = gated([1.0, 2, 3, 4])
    [squeezed] = [layer for layer in network.layers if network.tensors[layer.output].shape == (1, 1, 1, 4)
                  and layer.activation == RELU]
    before = np.array(network.constant(squeezed.inputs[1]))
    equalize(network, reach(network, SMALL))
    assert np.array_equal(before, np.array(network.constant(squeezed.inputs[1])))


def test_relu6_is_not_equalized() -> None:
    network = between(RELU6)
    before = write(network)
    assert equalize(network, reach(network, SMALL)) == 0
    assert write(network) == before


def gated(few: object, activation: int = RELU6, gates: object = np.linspace(-1, 7, 8)) -> Network:
    """A squeeze-and-excite unit whose squeezed units have the biases `few`, and its gates the biases `gates`."""
    net = Builder(12)
    found = net.convolution(net.scaled(), 8, stride=2, activation=RELU)
    squeezed = net.convolution(net.mean(found, keep=True), 4, 1, activation=RELU, bias=few)
    gate = net.convolution(squeezed, 8, 1, activation=activation, bias=gates)
    net.dense(net.mean(net.convolution(net.both("MUL", found, gate), 4)), 4)
    rewrite(net.network)
    return net.network


def folded(network: Network) -> int:
    seen = reach(network, SMALL)
    return fold_gates(network, seen.lowest, seen.highest)


@pytest.mark.parametrize("activation", [NO_ACTIVATION, RELU, RELU6])
def test_gate_of_dead_units_is_folded_away(activation: int) -> None:
    network = gated(np.full(4, -99.0), activation)
    expected, before = answers(network, SMALL), kinds(network)
    assert folded(network) == 1
    assert spread_off(expected, answers(network, SMALL)) < EXACT
    after = kinds(network)
    assert (before["CONV_2D"] - after["CONV_2D"], before["MEAN"] - after["MEAN"]) == (2, 1)
    # A gate below 0 may not go through what lies between; here nothing does.
    assert after["MUL"] == (1 if activation == NO_ACTIVATION else 0)


def test_gates_that_are_wide_open_or_shut_are_folded_away() -> None:
    network = gated([1.0, 2, 3, 4], RELU6, [99.0, 99, -99, 99, 99, -99, 99, 99])
    expected, before = answers(network, SMALL), kinds(network)
    assert folded(network) == 1
    assert spread_off(expected, answers(network, SMALL)) < EXACT
    assert {kind: count - kinds(network)[kind] for kind, count in before.items() if count != kinds(network)[kind]} == {
        "CONV_2D": 2, "MEAN": 1, "MUL": 1}
    some_move = gated([1.0, 2, 3, 4], RELU6, [99.0, 99, -99, 99, 0, 1, 2, 3])
    assert folded(some_move) == 0


@pytest.mark.parametrize("few", [[-99.0, -99, -99, 9], [1.0, 2, 3, 4]])
def test_gate_of_living_units_is_kept(few: list[float]) -> None:
    network = gated(few)
    before = write(network)
    assert folded(network) == 0
    assert write(network) == before


def test_dead_units_before_a_sigmoid_are_left() -> None:
    net = Builder(12)
    found = net.convolution(net.scaled(), 8, stride=2, activation=RELU)
    dead = net.convolution(net.mean(found, keep=True), 4, 1, activation=RELU, bias=np.full(4, -99.0))
    gate = net.plain("LOGISTIC", net.convolution(dead, 8, 1))
    net.dense(net.mean(net.convolution(net.both("MUL", found, gate), 4)), 4)
    before = write(net.network)
    assert folded(net.network) == 0
    assert write(net.network) == before


def test_pictures_are_shifted_by_whole_steps() -> None:
    net = Builder(12)
    net.dense(net.mean(net.convolution(net.scaled(), 8, padding=VALID, activation=RELU)), 4)
    expected = answers(net.network, SMALL)
    rewrite(net.network)
    whole_steps(net.network)
    found = net.network.constant(net.network.layers[0].inputs[1])
    assert found is not None
    assert found.tolist() == [-128]
    assert spread_off(expected, answers(net.network, SMALL)) < 1e-3


def test_shift_by_channel_is_left() -> None:
    network = scaled_by([0.02, 0.01, 0.04], [-2.0, -1.0, 1.0])
    rewrite(network)
    before = write(network)
    whole_steps(network)
    assert write(network) == before


def test_all_changes_together_keep_a_backbones_answers() -> None:
    model, shown = float_file("mobilenet_v3_large"), pictures(16, SIZE)
    network = read(model)
    expected = answers(model, shown)
    rewrite(network)
    seen = reach(network, shown)
    fold_gates(network, seen.lowest, seen.highest)
    shrink_linear(network, reach(network, shown))
    assert equalize(network, reach(network, shown)) > 0
    whole_steps(network)
    assert spread_off(expected, answers(network, shown)) < 1e-3
