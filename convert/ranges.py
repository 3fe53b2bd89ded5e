"""Which range of numbers each tensor stores: shaped by what the pictures show, searched for the least error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.engine import activations, sensitivities
from convert.graph import NO_ACTIVATION, RELU, RELU6, VALID, Layer, Network
from convert.quantize import WEIGHTS, Ranges, required, shared
from convert.rewrites import absorbs, compensate

Pictures = NDArray[np.uint8]
Vector = NDArray[np.float32]
KEPT = (99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.998, 100.0)
"""Per cent of a tensor's numbers between which the search chooses; the rest is clipped."""
_RARE = 0.05
"""Per cent of a channel's numbers at either end that do not count as its reach: outliers."""
_LINEAR = 3.0
"""Above it hard-swish gives what it gets."""
_LOWEST = 4.5
"""How far below 0 the channels of a hard-swish may go once they are even: further than 3, so that those that go far
below 0, but not far above, get finer steps as well."""
_OTHERS = 1 / 40
"""Share of a network's numbers that are made even beside the first hard-swish's."""
_MARGIN = 0.8
_LEAST_SHARE = 1 / 64
_TINY = 1e-6
_ROWS = 500
"""Places of a batch that are looked at for the percentiles; each picture has up to 12,544."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What each channel of each computed tensor reaches over the pictures: lowest and highest number without outliers,
    and with them; and for the whole tensor the percentiles `KEPT` from below and above."""

    low: dict[int, Vector]
    high: dict[int, Vector]
    lowest: dict[int, Vector]
    highest: dict[int, Vector]
    kept: dict[int, Vector]


def reach(network: Network, pictures: Pictures) -> Reach:
    """Measure what the tensors of a float network reach, (n, size, size, 3) uint8 RGB pictures shown."""
    found: dict[int, list[tuple[Vector, Vector, Vector, Vector, Vector]]] = {}
    for batch in activations(network, pictures):
        for tensor, values in batch.items():
            columns = values.reshape(-1, values.shape[-1])
            some = columns[:: max(1, len(columns) // _ROWS)]
            low, high = np.percentile(some, (_RARE, 100 - _RARE), axis=0).astype(np.float32)
            kept = np.percentile(some, [[100 - share for share in KEPT], KEPT])
            kept[0, -1], kept[1, -1] = columns.min(), columns.max()
            found.setdefault(tensor, []).append((low, high, columns.min(axis=0), columns.max(axis=0), kept))
    return Reach(
        {tensor: np.min([part[0] for part in parts], axis=0) for tensor, parts in found.items()},
        {tensor: np.max([part[1] for part in parts], axis=0) for tensor, parts in found.items()},
        {tensor: np.min([part[2] for part in parts], axis=0) for tensor, parts in found.items()},
        {tensor: np.max([part[3] for part in parts], axis=0) for tensor, parts in found.items()},
        {tensor: _over_all(np.array([part[4] for part in parts])) for tensor, parts in found.items()},
    )


def _over_all(parts: Vector) -> Vector:
    """Percentiles of batches as those of all: the mean, and of the outermost the outermost."""
    kept = parts.mean(axis=0)
    kept[0, -1], kept[1, -1] = parts[:, 0, -1].min(), parts[:, 1, -1].max()
    found: Vector = kept.astype(np.float32)
    return found


def swishes(network: Network) -> dict[int, tuple[Layer, Layer]]:
    """By the tensor that goes in, the gate and the product of each hard-swish that was taken apart.

    Left out are those whose tensor goes elsewhere as well, where numbers below -3 and channels that are divided count.
    """
    found = {}
    for product in network.layers:
        gate = network.producer(product.inputs[1]) if product.kind == "MUL" else None
        if (gate is not None and gate.kind in ("ADD", "DEPTHWISE_CONV_2D") and gate.activation == RELU6
                and gate.inputs[0] == product.inputs[0]
                and all(each in (gate, product) for each in network.consumers(gate.inputs[0]))):
            found[product.inputs[0]] = gate, product
    return found


def shrink_linear(network: Network, seen: Reach) -> int:
    """Make channels smaller that never leave the part of a hard-swish where it gives what it gets; how many.

    There it may be given half as much for half as much: a channel that lives between 12 and 20, as in the first layer
    of MobileNetV3, else decides the steps of all others.
    """
    count = 0
    for tensor, (_, product) in swishes(network).items():
        maker = network.producer(tensor)
        least = seen.low[tensor] * _MARGIN
        if maker is None or not _divisible(maker) or not absorbs(network, product.output) or least.max() <= _LINEAR:
            continue
        divisor = np.maximum(least / _LINEAR, 1).astype(np.float32)
        _divide(network, maker, divisor)
        compensate(network, product.output, divisor)
        count += int((divisor > 1).sum())
    return count


def even_swishes(network: Network, seen: Reach, errors: Mapping[int, float]) -> int:
    """Let the channels of some hard-swishes reach equally far, each with a slope of its own in the gate; of how many.

    `x * relu6(x + 3)` becomes `s * (z * relu6(s * z + 3))` with `z = x / s`: the division goes into the weights before
    it, the product into those after it, and `s * z + 3` is a depthwise convolution of one place. That costs time: the
    first hard-swish, whose channels differ most, is done, and of the others those that err most for their size.

    Args:
        network: changed in place.
        seen: what its tensors reach.
        errors: by tensor, as `search` gives them.
    """
    size = {tensor: int(np.prod(network.tensors[tensor].shape)) for tensor in network.activations()}
    found = swishes(network)

    def worth(tensor: int) -> float:
        product = found[tensor][1]
        after = (layer.output for layer in network.consumers(product.output) if layer.kind == "MUL")
        return sum(errors.get(each, 0.0) for each in (tensor, product.output, *after)) / size[tensor]

    count, left = 0, sum(size.values()) * _OTHERS
    for place, tensor in enumerate([*list(found)[:1], *sorted(list(found)[1:], key=worth, reverse=True)]):
        cost = size[tensor] if place else 0
        if cost <= left and _make_even(network, seen, tensor, *found[tensor]):
            count, left = count + 1, left - cost
    return count


def _make_even(network: Network, seen: Reach, tensor: int, gate: Layer, product: Layer) -> bool:
    """Do so with one hard-swish, where the weights around it allow it."""
    maker = network.producer(tensor)
    if maker is None or not _divisible(maker) or not absorbs(network, product.output):
        return False
    # What lies below -3 becomes 0 anyway.
    below = np.clip(-seen.low[tensor], 0, _LINEAR) / _LOWEST
    above = np.maximum(seen.high[tensor], 0) / max(float(seen.high[tensor].max()), _TINY)
    slopes = np.clip(np.maximum(above, below), _LEAST_SHARE, None).astype(np.float32)
    _divide(network, maker, slopes)
    compensate(network, product.output, slopes)
    name, channels = network.tensors[gate.output].name, len(slopes)
    taken = [tensor, network.add(f"{name}/slopes", (1, 1, 1, channels), slopes.reshape(1, 1, 1, -1)),
             network.add(f"{name}/threes", (channels,), np.full(channels, _LINEAR, np.float32))]
    network.replace(gate, [Layer("DEPTHWISE_CONV_2D", taken, gate.output, {
        "padding": VALID, "strideW": 1, "strideH": 1, "depthMultiplier": 1, "dilationWFactor": 1, "dilationHFactor": 1,
        "fusedActivationFunction": RELU6})])
    return True


def equalize(network: Network, seen: Reach) -> int:
    """Let all channels between a convolution with ReLU and other convolutions reach equally far; in how many places.

    After Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", but for the
    activations alone: weights have a scale for each output and are rounded together, and lose next to nothing. Squeezed
    units, one number of a picture, are left: what a channel reaches is not known of so few.
    """
    count = 0
    for layer in network.layers:
        followers = network.consumers(layer.output)
        if (not _divisible(layer) or layer.activation != RELU or network.tensors[layer.output].shape[1:3] == (1, 1)
                or any(each.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") for each in followers)
                or not absorbs(network, layer.output)):
            continue
        high = np.maximum(seen.high[layer.output], 0)
        if high.max() <= 0:
            continue
        divisor = np.maximum(high / high.max(), _LEAST_SHARE).astype(np.float32)
        _divide(network, layer, divisor)
        compensate(network, layer.output, divisor)
        count += 1
    return count


def _divisible(layer: Layer) -> bool:
    return _with_bias(layer) and layer.activation in (NO_ACTIVATION, RELU)


def _with_bias(layer: Layer) -> bool:
    return layer.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(layer.inputs) == 3 and layer.inputs[2] >= 0


def _divide(network: Network, layer: Layer, divisor: Vector) -> None:
    """Divide the output channels of a convolution."""
    weights, bias = (network.tensors[tensor] for tensor in layer.inputs[1:3])
    shape = [1] * 4
    shape[WEIGHTS[layer.kind]] = -1
    weights.data = (np.asarray(weights.data) / divisor.reshape(shape)).astype(np.float32)
    bias.data = (np.asarray(bias.data) / divisor).astype(np.float32)


def whole_steps(network: Network) -> None:
    """Shift pictures by a whole number: with 127.5 every pixel would be rounded, by half a step and to the same side.

    The other half is given to the biases that follow; where such a layer pads its picture, the edge changes by as much
    as rounding would.
    """
    first = network.layers[0]
    shift = network.constant(first.inputs[1]) if first.kind == "ADD" and first.inputs[0] == network.input else None
    followers = network.consumers(first.output)
    if shift is None or shift.size != 1 or any(not _with_bias(layer) for layer in followers):
        return
    half = float(shift.reshape(-1)[0]) - np.floor(float(shift.reshape(-1)[0]))
    network.tensors[first.inputs[1]].data = np.floor(shift)
    for layer in followers:
        weights, bias = (network.tensors[tensor] for tensor in layer.inputs[1:3])
        over = tuple(axis for axis in range(4) if axis != WEIGHTS[layer.kind])
        bias.data = (np.asarray(bias.data) + half * np.asarray(weights.data).sum(axis=over)).astype(np.float32)


def candidates(network: Network, seen: Reach) -> dict[int, list[tuple[float, float]]]:
    """The ranges that each tensor may be given; one where what the tensor is leaves no choice."""
    group, swish, fixed = shared(network), swishes(network), required(network)
    gates = {gate.output for gate, _ in swish.values()}
    products = {product.output for _, product in swish.values()}
    found: dict[int, list[tuple[float, float]]] = {}
    for tensor in network.activations():
        maker = network.producer(tensor)
        if group[tensor] != tensor:
            continue
        lows, highs = np.minimum(seen.kept[tensor][0], 0), np.maximum(seen.kept[tensor][1], _TINY)
        if maker is None or tensor in fixed:
            found[tensor] = [fixed[tensor]]
        elif tensor == network.output:
            # Nothing comes after the logits: clipped, the surest answers would be alike.
            found[tensor] = [(float(lows[-1]), float(highs[-1]))]
        elif tensor in gates:
            found[tensor] = [(0.0, 6.0)]
        elif maker.kind == "ADD" and maker.inputs[0] == network.input and network.constant(maker.inputs[1]) is not None:
            shift = np.asarray(network.constant(maker.inputs[1])).reshape(-1)
            found[tensor] = [(float(min(0, shift.min())), float(max(0, 255 + shift.max())))]
        elif tensor in swish:
            # Below -3 hard-swish is 0: what is clipped there costs nothing.
            lowest = _LINEAR if swish[tensor][0].kind == "ADD" else _LOWEST
            found[tensor] = [(max(-lowest, float(lows[-1])), float(high)) for high in highs]
        elif tensor in products:
            found[tensor] = [(float(lows[-1]), float(high)) for high in highs]
        else:
            found[tensor] = [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
    return found


def search(network: Network, pictures: Pictures, seen: Reach, seed: int) -> tuple[Ranges, dict[int, float]]:
    """For each tensor the range that changes the logits least, all else in float.

    Args:
        network: a float one.
        pictures: (n, size, size, 3) uint8 RGB; two or three dozen do.
        seen: what its tensors reach.
        seed: of the directions in which the logits are looked at.

    Returns:
        The ranges, and by tensor the mean squared change of a logit that its steps and clipping cause.
    """
    choices = candidates(network, seen)
    error = {tensor: np.zeros(len(found)) for tensor, found in choices.items()}
    for batch in sensitivities(network, pictures, seed):
        for tensor, (values, gradients) in batch.items():
            if tensor not in choices or tensor == network.input:
                continue
            rows = gradients.reshape(len(values), -1)
            for place, (low, high) in enumerate(choices[tensor]):
                change = (_stored(values, low, high) - values).reshape(len(values), -1)
                error[tensor][place] += float((np.einsum("nk,nk->n", rows, change) ** 2).sum())
    best = {tensor: int(np.argmin(found)) for tensor, found in error.items()}
    share = 1 / (len(pictures) * network.tensors[network.output].shape[-1])
    return {tensor: choices[tensor][place] for tensor, place in best.items()}, \
        {tensor: float(error[tensor][place]) * share for tensor, place in best.items()}


def _stored(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    scale = np.float32((high - low) / 255)
    zero = np.round(-low / scale)
    steps = np.rint(values / scale)
    return np.clip(steps, -zero, 255 - zero, out=steps) * scale  # type: ignore[no-any-return]
