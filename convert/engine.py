"""Runs a network in TensorFlow: in float, as int8 will, and with the gradients of its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.graph import RELU, RELU6, SAME, Layer, Network
from convert.quantize import LEAST, WEIGHTS, Ranges, required, shared

Pictures = NDArray[np.uint8]
Change = Callable[[int, Any], Any]
_FLOATS = 16e6
"""About as many numbers as a batch's activations may have: 100 MB, which gradients and copies multiply."""


def forward(
    network: Network, image: Any, constants: Mapping[int, Any] | None = None, after: Change | None = None,
    weights: Callable[[Layer, Any], Any] | None = None,
) -> dict[int, Any]:
    """Run a network on a batch.

    Args:
        network: its fixed batch of 1 is taken for one of any size.
        image: (n, size, size, 3) float32, raw 0-255.
        constants: in place of the network's own, by tensor.
        after: is given each computed tensor and returns what goes on in its place.
        weights: the same for a layer's weights.

    Returns:
        All computed tensors, by number.
    """
    after = after or (lambda _, value: value)
    found = {network.input: after(network.input, image)}
    for layer in network.layers:
        found[layer.output] = after(layer.output, layer_output(network, layer, {**(constants or {}), **found}, weights))
    return found


def layer_output(
    network: Network, layer: Layer, values: Mapping[int, Any], weights: Callable[[Layer, Any], Any] | None = None,
    activated: bool = True,
) -> Any:
    """What one layer gives, with or without its activation, for the tensors in `values` and else its constants."""
    taken = []
    for place, tensor in enumerate(layer.inputs):
        if tensor >= 0:
            value = values.get(tensor, network.tensors[tensor].data)
            stepped = place == 1 if layer.kind in WEIGHTS else layer.kind in LEAST and tensor not in values
            taken.append(weights(layer, value) if weights and stepped else value)
    if layer.kind in ("RESHAPE", "SQUEEZE"):
        return tf.reshape(taken[0], (-1, *network.tensors[layer.output].shape[1:]))
    value = _OPERATORS[layer.kind](layer.options, *taken)
    if not activated or layer.activation not in (RELU, RELU6):
        return value
    return tf.nn.relu(value) if layer.activation == RELU else tf.nn.relu6(value)


def _padding(options: Mapping[str, Any]) -> str:
    return "SAME" if options["padding"] == SAME else "VALID"


def _convolution(options: Mapping[str, Any], image: Any, weights: Any, bias: Any = 0.0) -> Any:
    return bias + tf.nn.conv2d(
        image, tf.transpose(weights, (1, 2, 3, 0)), (1, options["strideH"], options["strideW"], 1), _padding(options),
        dilations=(options["dilationHFactor"], options["dilationWFactor"]))


def _depthwise(options: Mapping[str, Any], image: Any, weights: Any, bias: Any = 0.0) -> Any:
    return bias + tf.nn.depthwise_conv2d(
        image, tf.reshape(weights, (*weights.shape[1:3], image.shape[-1], -1)),
        (1, options["strideH"], options["strideW"], 1), _padding(options),
        dilations=(options["dilationHFactor"], options["dilationWFactor"]))


def _dense(options: Mapping[str, Any], rows: Any, weights: Any, bias: Any = 0.0) -> Any:
    return bias + tf.matmul(tf.reshape(rows, (-1, weights.shape[1])), weights, transpose_b=True)


def _mean(options: Mapping[str, Any], image: Any, axes: Any) -> Any:
    return tf.reduce_mean(image, [int(axis) for axis in np.ravel(axes)], keepdims=bool(options["keepDims"]))


def _pool(options: Mapping[str, Any], image: Any, pool: Callable[..., Any]) -> Any:
    return pool(image, (options["filterHeight"], options["filterWidth"]), (options["strideH"], options["strideW"]),
                _padding(options))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "ADD": lambda options, a, b: tf.add(a, b),
    "AVERAGE_POOL_2D": lambda options, image: _pool(options, image, tf.nn.avg_pool2d),
    "CONCATENATION": lambda options, *parts: tf.concat(parts, options["axis"]),
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "HARD_SWISH": lambda options, value: value * tf.nn.relu6(value + 3) / 6,
    "LOGISTIC": lambda options, value: tf.sigmoid(value),
    "MAX_POOL_2D": lambda options, image: _pool(options, image, tf.nn.max_pool2d),
    "MEAN": _mean,
    "MUL": lambda options, a, b: tf.multiply(a, b),
    "PAD": lambda options, image, room: tf.pad(image, room),
    "RELU": lambda options, value: tf.nn.relu(value),
    "RELU6": lambda options, value: tf.nn.relu6(value),
    "SOFTMAX": lambda options, value: tf.nn.softmax(value),
    "SUB": lambda options, a, b: tf.subtract(a, b),
    "TANH": lambda options, value: tf.tanh(value),
}


@tf.custom_gradient  # type: ignore[untyped-decorator]
def stepped(value: Any, low: Any, high: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any, Any]]]:
    """Numbers as int8 stores them, between two ends, with gradients.

    That of the numbers is that of a clip (the straight-through estimator), that of the ends follows the size of a step
    (Esser et al. 2020, "Learned Step Size Quantization"). Written out, since left to TensorFlow every step in between
    would be kept in memory.
    """
    found = tf.quantization.fake_quant_with_min_max_vars(value, low, high)

    def gradient(above: Any) -> tuple[Any, Any, Any]:
        inside = tf.cast((value >= low) & (value <= high), tf.float32)
        step = (high - low) / 255
        of_step = tf.reduce_sum(above * (found - inside * value)) / step
        return above * inside, -of_step / 255, of_step / 255

    return found, gradient


def stepped_weights(layer: Layer, weights: Any) -> Any:
    """Weights as int8 stores them by channel, other constants with one scale; the gradient is as if it did not."""
    over = [axis for axis in range(len(weights.shape)) if axis != WEIGHTS.get(layer.kind)]
    scale = tf.maximum(tf.reduce_max(tf.abs(weights), over, keepdims=True) / 127, 1e-12)
    return weights + tf.stop_gradient(tf.round(weights / scale) * scale - weights)


def quantized(network: Network, ranges: Mapping[int, tuple[Any, Any]]) -> Change:
    """What `forward` needs as `after` to compute with the numbers that int8 stores."""
    group, fixed = shared(network), required(network)

    def after(tensor: int, value: Any) -> Any:
        low, high = fixed.get(tensor) or ranges[group[tensor]]
        return stepped(value, tf.cast(low, tf.float32), tf.cast(high, tf.float32))

    return after


def batch_size(network: Network) -> int:
    """How many pictures' activations may be in memory at a time."""
    each = sum(int(np.prod(network.tensors[tensor].shape)) for tensor in network.activations())
    return int(np.clip(_FLOATS // each, 1, 32))


def batches(pictures: Pictures, size: int) -> Iterator[Any]:
    """The pictures as float32 tensors of at most `size`."""
    for start in range(0, len(pictures), size):
        yield tf.constant(pictures[start : start + size], tf.float32)


def logits(network: Network, pictures: Pictures, ranges: Ranges | None = None) -> NDArray[np.float32]:
    """(n, classes) logits of (n, size, size, 3) uint8 RGB pictures: in float, or with `ranges` as int8 gives them."""
    after = None if ranges is None else quantized(network, ranges)
    weights = None if ranges is None else stepped_weights

    def answer(image: Any) -> Any:
        return forward(network, image, None, after, weights)[network.output]

    run = tf.function(answer, autograph=False, reduce_retracing=True)
    return np.concatenate([run(batch).numpy() for batch in batches(pictures, batch_size(network))])


def activations(network: Network, pictures: Pictures) -> Iterator[dict[int, NDArray[np.float32]]]:
    """All computed tensors in float, a batch at a time."""
    run = tf.function(lambda image: forward(network, image), autograph=False, reduce_retracing=True)
    for batch in batches(pictures, batch_size(network)):
        yield {tensor: value.numpy() for tensor, value in run(batch).items()}


def sensitivities(
    network: Network, pictures: Pictures, seed: int
) -> Iterator[dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """How the logits depend on each computed tensor, a batch at a time.

    The change of the logits that a small change of a tensor causes is, in the mean over random directions, as large as
    the product of that change with the gradient of the logits in that direction.

    Returns:
        By tensor, its values (n, ...) and as many gradients of a sum of the logits, drawn anew for each picture.
    """
    draw = np.random.default_rng(seed)
    classes = network.tensors[network.output].shape[-1]
    order = list(network.activations())

    def differentiate(batch: Any, directions: Any) -> tuple[list[Any], list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            found = forward(network, batch, None, lambda _, value: tf.identity(value))
            total = tf.reduce_sum(found[network.output] * directions)
        values = [found[tensor] for tensor in order]
        return values, tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    run = tf.function(differentiate, autograph=False, reduce_retracing=True)
    for batch in batches(pictures, max(1, batch_size(network) // 2)):
        directions = draw.standard_normal((len(batch), classes)).astype(np.float32)
        # What is added to all logits alike changes no answer.
        values, gradients = run(batch, tf.constant(directions - directions.mean(axis=1, keepdims=True)))
        yield {tensor: (values[place].numpy(), gradients[place].numpy()) for place, tensor in enumerate(order)}
