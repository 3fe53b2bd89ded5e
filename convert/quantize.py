"""From a float network and the ranges of its tensors to a full-integer .tflite file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from convert.graph import NO_ACTIVATION, TYPES, Layer, Network, Stored, write
from models.errors import EdgeWatchError

Ranges = dict[int, tuple[float, float]]
"""By tensor, the least and the highest number that it can store."""
WEIGHTS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Layers with weights, and the axis of the output channels in them."""
SAME_STEPS = ("AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D", "PAD", "RESHAPE", "SQUEEZE")
"""Layers whose output is stored as their input is: they move numbers and do not compute new ones."""
FIXED = {"LOGISTIC": (0.0, 255 / 256), "SOFTMAX": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128)}
"""Layers whose output has a range that every runtime takes for granted."""
LEAST, MOST = {"ADD": 2.0**-10, "SUB": 2.0**-10, "MUL": 2.0**-16}, 2.0**8
"""Between these lies the factor from a layer's integers to those of its output in XNNPACK (xnnpack/operators)."""
_LEAST_OTHERWISE = 2.0**-32
_MOST_BIAS = 2.0**30
_LEAST_ODD = 33
"""Products and means get steps up to two of so many parts larger; with more parts, the middle would be nearer."""
RAW = (0.0, 255.0)
"""The range of pictures."""


def shared(network: Network) -> dict[int, int]:
    """By tensor, the tensor whose range it has to have; those that have a range of their own stand for themselves."""
    found = {tensor: tensor for tensor in network.activations()}
    for layer in network.layers:
        if layer.kind in SAME_STEPS:
            computed = [tensor for tensor in layer.inputs if tensor in found]
            # What is joined reaches as far as all its parts; of pools it is the input that reaches further.
            new = layer.output if layer.kind == "CONCATENATION" else found[computed[0]]
            for tensor in (*computed, layer.output):
                old = found[tensor]
                found = {key: new if value == old else value for key, value in found.items()}
    return found


def required(network: Network) -> dict[int, tuple[float, float]]:
    """By tensor, the range that it has to have whatever is measured: pictures, what layers of `FIXED` give, and what is
    stored as these are.

    Raises:
        EdgeWatchError: a layer joins such numbers with others.
    """
    group = shared(network)
    known = {network.input: RAW} | {layer.output: FIXED[layer.kind] for layer in network.layers if layer.kind in FIXED}
    moved = {layer.output for layer in network.layers if layer.kind in SAME_STEPS}
    found: dict[int, set[tuple[float, float] | None]] = {}
    for tensor, place in group.items():
        if tensor not in moved:
            found.setdefault(place, set()).add(known.get(tensor))
    for place, spans in found.items():
        if len(spans) > 1:
            raise EdgeWatchError(f"expected numbers of one range at {network.tensors[place].name}, found that they are "
                                 f"joined with others whose range is another and fixed; type --quantize float16, or "
                                 f"train a network of other layers")
    return {tensor: span for tensor, place in group.items() for span in found[place] if span}


def steps(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of int8 for a range that holds 0; 0 is stored exactly."""
    scale = float(np.float32((high - low) / 255))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def quantize(network: Network, ranges: Mapping[int, tuple[float, float]], io: str = "uint8") -> bytes:
    """Write a network in int8: weights by channel, activations by tensor, int32 biases.

    Args:
        network: float, as `convert.graph.read` gives it, with a fixed batch.
        ranges: of the tensors that have one of their own (`shared`).
        io: `uint8` or `int8`: how raw pictures come in and logits go out.

    Returns:
        A .tflite file. Where a factor between integers would be beyond what XNNPACK takes, steps are made larger until
        it is not: those of the layer's output, which then is next to nothing (0 on all pictures is the usual case), or
        those of the smaller part of a sum, which are far below the sum's own. Neither loses anything.

    Raises:
        EdgeWatchError: a layer whose numbers cannot be stored in int8.
    """
    network = network.copy()
    group, fixed = shared(network), required(network)
    scales = {tensor: steps(*(fixed.get(tensor) or ranges[group[tensor]])) for tensor in group}
    stored = _constants(network, scales)
    for _ in network.layers:
        if not sum(_cure(network, layer, scales, stored) for layer in network.layers):
            break
        # What is cured at one layer changes the constants, and it may be the factors, of those that take its output.
        stored = _constants(network, scales)
    _untie(network, scales, stored)
    stored = _constants(network, scales)
    for tensor, (scale, zero) in scales.items():
        stored[tensor] = Stored(np.dtype(np.int8), np.array([scale], np.float32), zero)
    _ports(network, stored, io)
    return write(network, stored)


def _constants(network: Network, scales: Mapping[int, tuple[float, int]]) -> dict[int, Stored]:
    """Weights, biases and other constants as they are stored."""
    stored: dict[int, Stored] = {}
    for layer in network.layers:
        if layer.kind in WEIGHTS:
            _weights(network, layer, scales, stored)
        elif layer.kind in LEAST:
            # One that is far below the steps of the sum, as 0 is, may have larger ones.
            least = 0.0 if layer.kind == "MUL" else 2 * LEAST[layer.kind] * scales[layer.output][0]
            for tensor in layer.inputs:
                data = network.constant(tensor)
                if data is not None:
                    scale = np.float32(max(float(np.abs(data).max()) / 127, least, 1e-12))
                    stored[tensor] = Stored(np.dtype(np.int8), np.array([scale], np.float32), 0, 0,
                                            np.round(data / scale).astype(np.int8))
    return stored


def _weights(
    network: Network, layer: Layer, scales: Mapping[int, tuple[float, int]], stored: dict[int, Stored]
) -> None:
    axis, (source, _), (target, _) = WEIGHTS[layer.kind], scales[layer.inputs[0]], scales[layer.output]
    weights = network.constant(layer.inputs[1])
    if weights is None:
        raise EdgeWatchError(f"expected constant weights, found computed ones at {network.tensors[layer.output].name}; "
                             f"type --quantize float16, or train a network of other layers")
    bias = network.constant(layer.inputs[2]) if len(layer.inputs) == 3 else None
    over = tuple(each for each in range(weights.ndim) if each != axis)
    scale = np.abs(weights).max(axis=over).astype(np.float64) / 127
    # A channel of nothing, or next to nothing: steps so small that neither its bias nor its factor would fit.
    scale = np.maximum(scale, _LEAST_OTHERWISE * target / source * 2)
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias).astype(np.float64) / (source * _MOST_BIAS))
    scale = scale.astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    whole = np.clip(np.round(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
    stored[layer.inputs[1]] = Stored(np.dtype(np.int8), scale, 0, axis, whole)
    if bias is not None:
        unit = (source * scale.astype(np.float64)).astype(np.float32)
        stored[layer.inputs[2]] = Stored(np.dtype(np.int32), unit, 0, 0, np.round(bias / unit).astype(np.int32))


def _factors(
    layer: Layer, scales: Mapping[int, tuple[float, int]], stored: Mapping[int, Stored]
) -> tuple[float, float]:
    """The least and the highest factor from a layer's integers to those of its output."""
    target = scales[layer.output][0]
    taken = [scales[each][0] if each in scales else float(stored[each].scale[0])
             for each in layer.inputs if each in scales or (each in stored and layer.kind in LEAST)]
    if layer.kind in WEIGHTS:
        factors = taken[0] * stored[layer.inputs[1]].scale.astype(np.float64) / target
        return float(factors.min()), float(factors.max())
    if layer.kind == "MUL":
        return (taken[0] * taken[1] / target,) * 2
    return min(taken) / target, max(taken) / target


def _cure(
    network: Network, layer: Layer, scales: dict[int, tuple[float, int]], stored: Mapping[int, Stored]
) -> bool:
    """Make steps larger where a layer's factors are beyond what XNNPACK takes; whether that was needed."""
    low, high = _factors(layer, scales, stored)
    least = LEAST.get(layer.kind, _LEAST_OTHERWISE)
    # Layers of a fixed range look their answers up.
    if layer.kind in FIXED or (least <= low and high < MOST):
        return False
    if high >= MOST:
        tensor, times = layer.output, 4 * high / MOST
    else:
        tensor, times = min(layer.inputs, key=lambda each: scales.get(each, (np.inf, 0))[0]), 2 * least / low
    if tensor in required(network) or (high < MOST and layer.kind not in ("ADD", "SUB")):
        raise EdgeWatchError(f"expected numbers of like size at {network.tensors[layer.output].name}, found factors "
                             f"from {low:.1g} to {high:.1g} (XNNPACK takes {least:.1g} to {MOST:.0f}); type "
                             f"--quantize float16, or train a network of other layers")
    _enlarge(network, scales, tensor, times)
    return True


def _untie(network: Network, scales: dict[int, tuple[float, int]], stored: Mapping[int, Stored]) -> None:
    """Make the steps of products of two tensors, and of means, a little larger, so that none lies between two of them.

    XNNPACK rounds what lies in the middle, or next to it, up on arm64 and to the even number on x86-64. Where the
    factor from integers to integers is 1, 2, 4, ... over an odd number, nothing comes nearer to the middle than half of
    that odd one's inverse, and all devices give the same bits.
    """
    for layer in network.layers:
        computed = all(network.constant(tensor) is None for tensor in layer.inputs)
        if layer.output in required(network) or not (layer.kind == "MEAN" or (layer.kind == "MUL" and computed)):
            continue
        source, target = (int(np.prod(network.tensors[each].shape)) for each in (layer.inputs[0], layer.output))
        factor = _factors(layer, scales, stored)[0] / (source / target if layer.kind == "MEAN" else 1)
        power = 2.0 ** max(0.0, np.ceil(np.log2(_LEAST_ODD * factor)))
        # What is settled already stays: its odd number is off by the rounding of float32 only.
        odd = 2 * np.ceil((power / factor - 1) / 2 - 1e-3) + 1
        _enlarge(network, scales, layer.output, factor * odd / power)


def settle(network: Network, ranges: Ranges) -> Ranges:
    """The ranges with those of products as `quantize` would make them (`_untie`), so that plans are made with them."""
    group, fixed = shared(network), required(network)
    before = {tensor: steps(*(fixed.get(tensor) or ranges[group[tensor]])) for tensor in group}
    after = dict(before)
    _untie(network, after, _constants(network, after))
    return {tensor: (low * after[tensor][0] / before[tensor][0], high * after[tensor][0] / before[tensor][0])
            for tensor, (low, high) in ranges.items()}


def _enlarge(network: Network, scales: dict[int, tuple[float, int]], tensor: int, times: float) -> None:
    """Make the steps of a tensor, and of those that share them, larger."""
    group = shared(network)
    for each, representative in group.items():
        if representative == group[tensor]:
            scale, zero = scales[each]
            scales[each] = float(np.float32(scale * times)), zero


def _ports(network: Network, stored: dict[int, Stored], io: str) -> None:
    """Let raw pictures in, 0-255 in steps of 1, and logits out, as uint8 or int8."""
    stored[network.input] = Stored(np.dtype(np.int8), np.ones(1, np.float32), -128)
    if io == "int8":
        return
    _pictures(network, stored)
    logits, inner = network.output, stored[network.output]
    network.output = network.add("logits", network.tensors[logits].shape)
    stored[network.output] = Stored(np.dtype(np.uint8), inner.scale, inner.zero + 128)
    network.layers.append(Layer("QUANTIZE", [logits], network.output))


def _pictures(network: Network, stored: dict[int, Stored]) -> None:
    """Take pictures of uint8: the same bits as int8 are 256 too low from 128 on, which a product and a sum put right.

    The runtime's QUANTIZE for uint8 to int8 goes pixel by pixel and takes a good part of MobileNetV3Small's time; these
    three layers are exact as well and much faster.
    """
    shape, int8 = network.tensors[network.input].shape, np.dtype(np.int8)
    image, bits, times, missing = (network.add("image", shape), network.add("image/bits", shape),
                                   network.add("image/times", (1,)), network.add("image/missing", shape))
    stored[image] = Stored(np.dtype(np.uint8), np.ones(1, np.float32))
    stored[bits] = Stored(int8, np.ones(1, np.float32))
    # -256 times anything below 0 is beyond 256, where the numbers end.
    stored[times] = Stored(int8, np.array([256 / 127], np.float32), data=np.array([-127], np.int8))
    stored[missing] = Stored(int8, np.array([256 / 255], np.float32), -128)
    network.layers[:0] = [
        Layer("CAST", [image], bits, {"inDataType": TYPES["uint8"], "outDataType": TYPES["int8"]}),
        Layer("MUL", [bits, times], missing, {"fusedActivationFunction": NO_ACTIVATION}),
        Layer("ADD", [bits, missing], network.input, {"fusedActivationFunction": NO_ACTIVATION}),
    ]
    network.input = image
