"""Batch norm while a network is fine-tuned: computed faster than Keras does, and its statistics measured anew."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def fuse(norm: keras.layers.BatchNormalization) -> None:
    """Have a layer of batch norm learn by one kernel, and go back by another; the results are Keras' but for rounding.

    Keras composes it of a dozen kernels each way, which on a CPU takes a third of a MobileNetV2's fine-tuning
    (`benchmarks/throughput.py`). What is not (batch, height, width, channels), and what the layer does when it does not
    learn, is left to Keras.
    """
    plain = norm.call

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not norm.trainable or len(inputs.shape) != 4 or norm.axis not in (-1, 3):
            return plain(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        found, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, norm.gamma if norm.scale else tf.ones(channels), norm.beta if norm.center else tf.zeros(channels),
            epsilon=norm.epsilon, is_training=True)
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        # The kernel's variance is that of the population which the batch is a sample of; Keras keeps the batch's own.
        for kept, now in ((norm.moving_mean, mean), (norm.moving_variance, variance * (count - 1) / count)):
            kept.assign(kept * norm.momentum + now * (1 - norm.momentum))
        return found

    norm.call = call


class Norms:
    """Measures the statistics of a model's batch norm anew: their mean over some batches, with its weights as they are.

    Frozen layers keep theirs.
    """

    def __init__(self, model: keras.Model) -> None:
        self._norms = [layer for layer in model._flatten_layers()
                       if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
        self._run = tf.function(lambda pictures: model(pictures, training=True))

    def measure(self, batches: Any) -> None:
        """Measure on batches as `train.pipeline.batches` gives them."""
        if not self._norms:
            return
        variables = [variable for norm in self._norms for variable in (norm.moving_mean, norm.moving_variance)]
        momentums = [norm.momentum for norm in self._norms]
        sums, count = [np.zeros(variable.shape) for variable in variables], 0
        for norm in self._norms:
            norm.momentum = 0.0  # Each batch's own, in the graph that is made at the first of them.
        for pictures, *_ in batches:
            self._run(pictures)
            sums = [total + len(pictures) * variable.numpy() for total, variable in zip(sums, variables, strict=True)]
            count += len(pictures)
        for norm, momentum in zip(self._norms, momentums, strict=True):
            norm.momentum = momentum
        for variable, total in zip(variables, sums, strict=True):
            variable.assign(total / count)
