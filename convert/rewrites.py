"""Changes of a network that leave what it computes as it is, and make it suit an integer runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convert.graph import NO_ACTIVATION, RELU, RELU6, SAME, VALID, Layer, Network
from convert.quantize import WEIGHTS

INPUT_AXIS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1}
"""Layers with weights, and the axis of the input channels in them (of a depthwise one: of all channels)."""
_PASSING = ("MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "RESHAPE", "SQUEEZE")
Vector = NDArray[np.float32]


def rewrite(network: Network, xnnpack: bool = True) -> list[str]:
    """Do all rewrites, in place.

    Args:
        network: a float one.
        xnnpack: also put others in the place of layers that XNNPACK cannot compute in int8.

    Returns:
        What was done, a few words each; empty where nothing was.
    """
    done = []
    add_biases(network)
    if count := shift_first(network):
        done.append(f"{count} scaling of the input made one addition")
    if xnnpack and (count := open_hard_swish(network)):
        done.append(f"{count} HARD_SWISH made x * relu6(x + 3), the sixth folded into the next weights")
    if count := fold_factors(network):
        done.append(f"{count} constant factors folded into the next weights")
    if count := dense_by_channel(network):
        done.append(f"{count} dense layer made a 1 x 1 convolution, which has a scale for each class")
    if xnnpack and (count := pools_by_weights(network)):
        done.append(f"{count} pools made depthwise convolutions")
    return done


def add_biases(network: Network) -> None:
    """Give layers with weights and no bias one of 0, which the converter leaves out: later it may be another."""
    for layer in network.layers:
        weights = network.constant(layer.inputs[1]) if layer.kind in WEIGHTS else None
        if weights is not None and (len(layer.inputs) == 2 or layer.inputs[2] < 0):
            channels = weights.shape[WEIGHTS[layer.kind]]
            name = f"{network.tensors[layer.output].name}/bias"
            layer.inputs = [*layer.inputs[:2], network.add(name, (channels,), np.zeros(channels, np.float32))]


def shift_first(network: Network) -> int:
    """Make `x * a + b` `(x + b / a) * a`, and fold the factor into what follows; how often.

    The scaling of raw pictures then is one addition, whose steps are those of the pictures.
    """
    count = 0
    for add in [layer for layer in network.layers if layer.kind == "ADD"]:
        product = network.producer(add.inputs[0])
        b = network.constant(add.inputs[1])
        a = _factor(network, product)
        if (product is None or a is None or b is None or not (a > 0).all() or b.size not in (1, a.size)
                or add.activation != NO_ACTIVATION or len(network.consumers(product.output)) != 1
                or not absorbs(network, add.output)):
            continue
        network.layers.remove(product)
        shift = (b.reshape(-1) / a).astype(np.float32)
        add.inputs = [product.inputs[0], network.add(f"{network.tensors[add.output].name}/shift", shift.shape, shift)]
        compensate(network, add.output, _each(network, add.output, a))
        count += 1
    return count


def open_hard_swish(network: Network) -> int:
    """Take apart each HARD_SWISH, `x * relu6(x + 3) / 6`; how many.

    XNNPACK has no int8 kernel for it (tensorflow/models#11274), so that each would cut the network in two. The sixth is
    folded into what follows or, where that is not possible (a sum, as at the beginning of MobileNetV3 Large), left as a
    product with a constant.
    """
    count = 0
    for layer in [layer for layer in network.layers if layer.kind == "HARD_SWISH"]:
        source, shape, name = layer.inputs[0], network.tensors[layer.output].shape, network.tensors[layer.output].name
        three = network.add(f"{name}/three", (1,), np.array([3], np.float32))
        gate = network.add(f"{name}/gate", shape)
        opened = [Layer("ADD", [source, three], gate, {"fusedActivationFunction": RELU6}),
                  Layer("MUL", [source, gate], layer.output, {"fusedActivationFunction": NO_ACTIVATION})]
        if absorbs(network, layer.output):
            compensate(network, layer.output, np.full(shape[-1], 1 / 6, np.float32))
        else:
            opened[1].output = network.add(f"{name}/six", shape)
            sixth = network.add(f"{name}/sixth", (1,), np.array([1 / 6], np.float32))
            opened.append(Layer("MUL", [opened[1].output, sixth], layer.output,
                                {"fusedActivationFunction": NO_ACTIVATION}))
        network.replace(layer, opened)
        count += 1
    return count


def fold_factors(network: Network) -> int:
    """Fold each product with constants, none below 0, into the weights that follow; how many."""
    count = 0
    for layer in list(network.layers):
        factor = _factor(network, layer)
        # What lies between may be a ReLU or take the largest: other numbers come through when their signs change.
        if (factor is None or factor.min() < 0 or layer.activation != NO_ACTIVATION
                or not absorbs(network, layer.output)):
            continue
        compensate(network, layer.output, _each(network, layer.output, factor))
        remove(network, layer)
        count += 1
    return count


def dense_by_channel(network: Network) -> int:
    """Make dense layers on one row 1 x 1 convolutions, whose int8 weights every runtime takes by channel; how many."""
    count = 0
    for layer in [layer for layer in network.layers if layer.kind == "FULLY_CONNECTED"]:
        rows = network.tensors[layer.inputs[0]].shape
        weights = network.constant(layer.inputs[1])
        if weights is None or len(rows) != 2 or rows[0] != 1:
            continue
        classes, features = weights.shape
        name = network.tensors[layer.output].name
        spread, row = network.add(f"{name}/spread", (1, 1, 1, features)), network.add(f"{name}/row", (1, 1, 1, classes))
        network.tensors[layer.inputs[1]].data = weights.reshape(classes, 1, 1, features)
        network.tensors[layer.inputs[1]].shape = (classes, 1, 1, features)
        network.replace(layer, [
            _reshaped(network, layer.inputs[0], spread),
            Layer("CONV_2D", [spread, *layer.inputs[1:]], row, {
                "padding": VALID, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1,
                "fusedActivationFunction": layer.activation}),
            _reshaped(network, row, layer.output),
        ])
        count += 1
    return count


def merge_linear(network: Network) -> int:
    """Make one of two 1 x 1 convolutions with nothing between them, where that is no more work; how many.

    Such are the end of MobileNetV3Small's first block and the beginning of its second.
    """
    count = 0
    for first in [layer for layer in network.layers if _pointwise(network, layer)]:
        followers = network.consumers(first.output)
        if (first.activation != NO_ACTIVATION or first.output == network.output or len(followers) != 1
                or not _pointwise(network, followers[0])):
            continue
        [second] = followers
        (before, bias), (after, rest) = ([np.asarray(network.constant(tensor)) for tensor in layer.inputs[1:3]]
                                         for layer in (first, second))
        (between, inputs), outputs = before.shape[::3], len(after)
        if inputs * outputs > inputs * between + between * outputs:
            continue
        after = after.reshape(outputs, between).astype(np.float64)
        merged, name = (after @ before.reshape(between, inputs)).astype(np.float32), network.tensors[second.output].name
        second.inputs = [
            first.inputs[0],
            network.add(f"{name}/merged", (outputs, 1, 1, inputs), merged.reshape(outputs, 1, 1, inputs)),
            network.add(f"{name}/bias", (outputs,), (rest + after @ bias).astype(np.float32))]
        network.layers.remove(first)
        count += 1
    return count


def _pointwise(network: Network, layer: Layer) -> bool:
    """Whether a layer is an ordinary 1 x 1 convolution of constant weights and biases."""
    if layer.kind != "CONV_2D" or len(layer.inputs) != 3 or any(network.constant(each) is None
                                                                for each in layer.inputs[1:]):
        return False
    _, high, wide, channels = network.tensors[layer.inputs[1]].shape
    return ((high, wide, layer.options["strideH"], layer.options["strideW"]) == (1, 1, 1, 1)
            and channels == network.tensors[layer.inputs[0]].shape[-1])


def pools_by_weights(network: Network) -> int:
    """Make the pools that XNNPACK does not compute in int8 depthwise convolutions; how many.

    Those are average pools, and pools of one place that leave out the places between, as in ResNet50V2. An average
    does not count what lies beyond the edge: where padding makes the weights do so, a product with a constant map
    follows.
    """
    count = 0
    for layer in list(network.layers):
        if layer.kind not in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            continue
        high, wide = layer.options["filterHeight"], layer.options["filterWidth"]
        if layer.kind == "MAX_POOL_2D" and (high, wide) != (1, 1):
            continue
        name, shape = network.tensors[layer.output].name, network.tensors[layer.output].shape
        weights = network.add(f"{name}/weights", (1, high, wide, shape[3]),
                              np.full((1, high, wide, shape[3]), 1 / (high * wide), np.float32))
        bias = network.add(f"{name}/bias", (shape[3],), np.zeros(shape[3], np.float32))
        options = {key: layer.options[key] for key in ("padding", "strideW", "strideH", "fusedActivationFunction")}
        by = [Layer("DEPTHWISE_CONV_2D", [layer.inputs[0], weights, bias], layer.output,
                    options | {"depthMultiplier": 1, "dilationWFactor": 1, "dilationHFactor": 1})]
        counted = _counted(network, layer)
        if (counted < high * wide).any():
            by[0].output, by[0].options["fusedActivationFunction"] = network.add(f"{name}/sum", shape), NO_ACTIVATION
            edges = network.add(f"{name}/edges", counted.shape, (high * wide / counted).astype(np.float32))
            by.append(Layer("MUL", [by[0].output, edges], layer.output,
                            {"fusedActivationFunction": layer.activation}))
        network.replace(layer, by)
        count += 1
    return count


def _counted(network: Network, layer: Layer) -> Vector:
    """(1, height, width, 1): how many places of the picture each place of a pool sees."""
    source, target = (network.tensors[each].shape[1:3] for each in (layer.inputs[0], layer.output))
    seen = []
    for length, places, size, stride in zip(source, target, (layer.options["filterHeight"],
                                            layer.options["filterWidth"]), (layer.options["strideH"],
                                            layer.options["strideW"]), strict=True):
        before = max(0, (places - 1) * stride + size - length) // 2 if layer.options["padding"] == SAME else 0
        first = np.arange(places) * stride - before
        seen.append(np.minimum(first + size, length) - np.maximum(first, 0))
    counted: Vector = np.outer(*seen).reshape(1, *target, 1).astype(np.float32)
    return counted


def fold_gates(network: Network, lowest: dict[int, Vector], highest: dict[int, Vector]) -> int:
    """Fold the gates of squeeze-excite units that say the same on every picture; how many.

    A gate does so where all units before it are dead, or where it is wide open or shut. Left alone, dead units have a
    range of next to nothing, and their factors are beyond what XNNPACK takes; the others cost a product for nothing.

    Args:
        network: changed in place.
        lowest, highest: of each computed tensor by channel, over the calibration pictures.
    """
    count = 0
    for gate in [layer for layer in network.layers if layer.kind == "CONV_2D"]:
        shape, products = network.tensors[gate.output].shape, network.consumers(gate.output)
        if (shape[1:3] != (1, 1) or gate.output == network.output or gate.output not in highest
                or not np.array_equal(lowest[gate.output], highest[gate.output])
                or any(each.kind != "MUL" or each.inputs.count(gate.output) != 1 for each in products)):
            continue
        constant = network.add(f"{network.tensors[gate.output].name}/constant", shape[3:], highest[gate.output])
        for product in products:
            product.inputs = [*(each for each in product.inputs if each != gate.output), constant]
        network.layers.remove(gate)
        count += 1
    drop_unused(network)
    fold_factors(network)
    return count


def drop_unused(network: Network) -> None:
    """Remove the layers whose output nothing takes."""
    for layer in reversed(list(network.layers)):
        if layer.output != network.output and not network.consumers(layer.output):
            network.layers.remove(layer)


def remove(network: Network, layer: Layer) -> None:
    """Take out a layer; what took its output takes its first input."""
    network.layers.remove(layer)
    for consumer in network.consumers(layer.output):
        consumer.inputs = [layer.inputs[0] if each == layer.output else each for each in consumer.inputs]


def _factor(network: Network, layer: Layer | None) -> Vector | None:
    """The constant, (1,) or (channels,), that a layer multiplies with."""
    if layer is None or layer.kind != "MUL":
        return None
    factor = network.constant(layer.inputs[1])
    channels = network.tensors[layer.output].shape[-1]
    if factor is None or (factor.size != 1 and (factor.size, *factor.shape[-1:]) != (channels, channels)):
        return None
    return factor.reshape(-1).astype(np.float32)


def _each(network: Network, tensor: int, factor: Vector) -> Vector:
    return np.broadcast_to(factor, network.tensors[tensor].shape[-1:])


def _reshaped(network: Network, source: int, target: int) -> Layer:
    shape = network.tensors[target].shape
    wanted = network.add(f"{network.tensors[target].name}/shape", (len(shape),), np.array(shape, np.int32))
    return Layer("RESHAPE", [source, wanted], target, {"newShape": list(shape)})


def absorbs(network: Network, tensor: int) -> bool:
    """Whether everything that follows a tensor can be made to give the same when its channels are divided."""
    consumers = network.consumers(tensor)
    return tensor != network.output and bool(consumers) and all(
        _absorbs(network, layer, tensor) for layer in consumers)


def _absorbs(network: Network, layer: Layer, tensor: int) -> bool:
    channels = network.tensors[tensor].shape[-1]
    if layer.kind in INPUT_AXIS:
        # A convolution in groups, or over what a dense layer flattens itself, has other channels in its weights.
        weights = network.constant(layer.inputs[1])
        return layer.inputs[0] == tensor and weights is not None and weights.shape[INPUT_AXIS[layer.kind]] == channels
    if layer.kind == "MUL":
        passes = layer.inputs.count(tensor) == 1
    else:
        same = network.tensors[layer.output].shape[-1] == channels and not _over_channels(network, layer)
        passes = layer.kind in _PASSING and same and layer.inputs[0] == tensor
    return passes and layer.activation in (NO_ACTIVATION, RELU) and absorbs(network, layer.output)


def _over_channels(network: Network, layer: Layer) -> bool:
    if layer.kind != "MEAN":
        return False
    axes, last = network.constant(layer.inputs[1]), len(network.tensors[layer.inputs[0]].shape) - 1
    return axes is None or bool(np.isin(axes, (-1, last)).any())


def compensate(network: Network, tensor: int, factor: Vector) -> None:
    """Let what follows a tensor give the same when its channels are divided; `absorbs` says where that is possible.

    Args:
        network: the weights that follow are multiplied, in place; what computes the tensor is not changed.
        tensor: what is divided.
        factor: (channels,) float32 by which it is divided, not below 0.
    """
    for layer in network.consumers(tensor):
        if layer.kind not in INPUT_AXIS:
            compensate(network, layer.output, factor)
            continue
        weights = network.tensors[layer.inputs[1]]
        shape = [1] * len(weights.shape)
        shape[INPUT_AXIS[layer.kind]] = -1
        weights.data = (np.asarray(weights.data) * factor.reshape(shape)).astype(np.float32)
