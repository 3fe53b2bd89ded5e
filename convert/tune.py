"""What rounding costs, taken back by a short fine-tuning towards the float network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.engine import forward, quantized, stepped_weights
from convert.graph import NO_ACTIVATION, Network
from convert.quantize import WEIGHTS, Ranges, shared
from convert.ranges import swishes
from models.preprocess import infrared

Pictures = NDArray[np.uint8]
STEPS, RATE, BATCH = 400, 4e-4, 6
_WARM_UP = 20
_LEAST = 1e-6
"""So that a tensor that is the same for every picture does not divide by nothing."""
_GREY_SHARE = 0.3
_SHIFT = 16


def fine_tune(
    teacher: Network, network: Network, ranges: Ranges, pictures: Pictures, seed: int,
    steps: int = STEPS, progress: Callable[[int], None] | None = None,
) -> Ranges:
    """Train weights, biases and ranges so that the integer network gives what the float network gives.

    Quantisation-aware training (Jacob et al. 2018) by fake quantisation, without labels: the logits, the features
    before the last layer and what the blocks pass on shall be as in the float network (compare Romero et al. 2015,
    "FitNets").

    Args:
        teacher: the float network, as it is to answer.
        network: the one to train, in place.
        ranges: of its tensors, to begin with.
        pictures: (n, size, size, 3) uint8 RGB; shown mirrored, shifted and in grey as well.
        seed: of everything random.
        steps: batches to train on.
        progress: is told after each.

    Returns:
        The new ranges.
    """
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    weights = {tensor: _Relative(network.tensors[tensor].data) for layer in network.layers if layer.kind in WEIGHTS
               for tensor in layer.inputs[1:3] if tensor >= 0}
    learned = _LearnedRanges(network, ranges)
    shares = _compared(network)
    variables = [each.change for each in weights.values()] + list(learned.changes.values())
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(
        0.0, steps - _WARM_UP, warmup_target=RATE, warmup_steps=_WARM_UP), beta_2=0.99, epsilon=1e-12)
    optimizer.build(variables)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def wanted(image: Any) -> dict[int, Any]:
        # By itself, so that none of its other tensors is in memory while the integer network runs.
        found = forward(teacher, image)
        return {tensor: found[tensor] for tensor in shares}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(image: Any, exact: dict[int, Any]) -> None:
        with tf.GradientTape() as tape:
            constants = {tensor: each.value() for tensor, each in weights.items()}
            given = forward(network, image, constants, quantized(network, learned.values()), stepped_weights)
            loss = tf.add_n([share * tf.reduce_mean((exact[tensor] - given[tensor]) ** 2)
                             / (tf.math.reduce_variance(exact[tensor]) + _LEAST) for tensor, share in shares.items()])
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    draw = np.random.default_rng(seed)
    size = min(BATCH, len(pictures))
    for number in range(steps):
        image = tf.constant(_views(pictures[draw.choice(len(pictures), size, replace=False)], draw), tf.float32)
        step(image, wanted(image))
        if progress:
            progress(number + 1)
    for tensor, each in weights.items():
        network.tensors[tensor].data = each.value().numpy()
    return {tensor: (float(low), float(high)) for tensor, (low, high) in learned.values().items()}


def _compared(network: Network) -> dict[int, float]:
    """What shall be as in the float network, and how much it counts: the logits, the features that they are computed
    from, and, together as much, the outputs of linear convolutions, which are what blocks pass on."""
    weighed = [layer for layer in network.layers if layer.kind in WEIGHTS]
    features = weighed[-1].inputs[0]
    passed = [layer.output for layer in weighed[:-1] if layer.activation == NO_ACTIVATION
              and layer.kind == "CONV_2D" and layer.output not in swishes(network)]
    return {network.output: 1.0, features: 1.0} | {tensor: 1.0 / len(passed) for tensor in passed}


class _Relative:
    """A constant that is trained in shares of its mean size: one rate fits all layers."""

    def __init__(self, start: Any) -> None:
        self._start, self._size = tf.constant(start), tf.constant(float(np.abs(start).mean()) + 1e-8, tf.float32)
        self.change = tf.Variable(tf.zeros_like(self._start))

    def value(self) -> Any:
        return self._start + self._size * self.change


class _LearnedRanges:
    """Ranges that grow and shrink in training; what has to stay where it is stays: inputs, gates, and 0 as an end."""

    def __init__(self, network: Network, ranges: Ranges) -> None:
        swish = swishes(network)
        first = network.layers[0]
        shifted = {first.output} if first.kind == "ADD" and first.inputs[0] == network.input else set()
        products = {tensor for layer in network.layers if layer.kind in ("MEAN", "MUL")
                    for tensor in (*layer.inputs, layer.output)}
        fixed = {network.input, *shifted, *(gate.output for gate, _ in swish.values()), *products}
        self._start, self._keep_low = ranges, set(swish)
        group = shared(network)
        self.changes = {tensor: tf.Variable(tf.zeros(2)) for tensor in ranges
                        if tensor not in fixed and group[tensor] == tensor}

    def values(self) -> dict[int, tuple[Any, Any]]:
        found: dict[int, tuple[Any, Any]] = {}
        for tensor, (low, high) in self._start.items():
            change = self.changes.get(tensor)
            if change is None:
                found[tensor] = tf.constant(low, tf.float32), tf.constant(high, tf.float32)
                continue
            growth = tf.exp(change)
            found[tensor] = tf.constant(low, tf.float32) if tensor in self._keep_low else low * growth[0], \
                high * growth[1]
        return found


def _views(pictures: Pictures, draw: np.random.Generator) -> Pictures:
    """Other views of the pictures: mirrored, in grey, and shifted, with what comes into sight from the far side."""
    shown = []
    for picture in pictures:
        view = picture[:, ::-1] if draw.random() < 0.5 else picture
        if draw.random() < _GREY_SHARE:
            view = infrared(np.ascontiguousarray(view))
        shown.append(np.roll(view, draw.integers(-_SHIFT, _SHIFT + 1, 2), (0, 1)))
    return np.stack(shown)
