"""Which way each weight is rounded: so that a layer's errors cancel on what the pictures show, not each for itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convert.engine import activations
from convert.graph import Layer, Network

Pictures = NDArray[np.uint8]
Matrix = NDArray[np.float64]
_ROWS = 400
"""Places of a batch of pictures whose numbers are looked at."""
_DAMPING = 0.01
_MOST = 2048
"""Input channels: memory grows with their square, time with their cube. Flattened pictures have more."""


def round_weights(network: Network, pictures: Pictures) -> int:
    """Put the weights of 1 x 1 convolutions on the steps of int8, in place; of how many layers.

    After Frantar et al. 2023, "GPTQ": one input channel after the other is rounded, and what that costs is taken up by
    those that are still to come, as far as they go together on the pictures. The mean of what is left goes into the
    bias. The largest weight of each output channel stays where it is: it makes the steps.

    Args:
        network: a float one; 3 x 3 and depthwise convolutions stay as they are.
        pictures: (n, size, size, 3) uint8 RGB.
    """
    layers = [layer for layer in network.layers if _fits(network, layer)]
    sums = {layer.inputs[0]: _Moments() for layer in layers}
    for batch in activations(network, pictures):
        for tensor, moments in sums.items():
            rows = batch[tensor].reshape(-1, batch[tensor].shape[-1])
            moments.add(rows[:: max(1, len(rows) // _ROWS)].astype(np.float64))
    for layer in layers:
        weights, bias = (network.tensors[tensor] for tensor in layer.inputs[1:3])
        mean, covariance = sums[layer.inputs[0]].found()
        before = np.asarray(weights.data).reshape(len(weights.data), -1).astype(np.float64)  # type: ignore[arg-type]
        after = _rounded(before, covariance)
        weights.data = after.reshape(weights.shape).astype(np.float32)
        bias.data = (np.asarray(bias.data) + (before - after) @ mean).astype(np.float32)
    return len(layers)


def _fits(network: Network, layer: Layer) -> bool:
    """Whether a layer is a 1 x 1 convolution of all input channels, not too many, with constant weights and biases."""
    if layer.kind != "CONV_2D" or any(network.constant(tensor) is None for tensor in layer.inputs[1:]):
        return False
    _, height, width, channels = network.tensors[layer.inputs[1]].shape
    return len(layer.inputs) == 3 and (height, width) == (1, 1) and channels <= _MOST \
        and channels == network.tensors[layer.inputs[0]].shape[-1]


class _Moments:
    """Mean and covariance of rows that come a few at a time."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, np.zeros(1), np.zeros((1, 1))

    def add(self, rows: Matrix) -> None:
        self._count += len(rows)
        self._sum = self._sum + rows.sum(axis=0)
        self._squares = self._squares + rows.T @ rows

    def found(self) -> tuple[Matrix, Matrix]:
        mean = self._sum / self._count
        return mean, self._squares / self._count - np.outer(mean, mean)


def _rounded(weights: Matrix, covariance: Matrix) -> Matrix:
    """(outputs, inputs) weights on the steps of each output, for inputs of that (inputs, inputs) covariance."""
    largest = np.abs(weights).argmax(axis=1)
    outputs = np.arange(len(weights))
    scale = np.maximum(np.abs(weights[outputs, largest]) / 127, 1e-12)
    damped = covariance + np.eye(len(covariance)) * (_DAMPING * np.trace(covariance) / len(covariance) + 1e-12)
    order = np.argsort(-np.diag(damped))
    # The upper triangle of the inverse: how those to come take up the error of the one at hand.
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left, found = weights[:, order].copy(), np.zeros_like(weights)
    for place in range(len(order)):
        column = order[place]
        stepped = np.clip(np.round(left[:, place] / scale), -127, 127) * scale
        found[:, column] = np.where(largest == column, weights[:, column], stepped)
        error = (left[:, place] - found[:, column]) / upper[place, place]
        left[:, place + 1 :] -= np.outer(error, upper[place, place + 1 :])
    return found
