"""Keras backbones with random weights as float .tflite files; each is made once for all tests."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from convert.quiet import quiet

SIZE, CLASSES = 64, 5


def saved(model: Any) -> bytes:
    """The float .tflite file of a Keras model."""
    from convert.source import Source

    with tempfile.TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "model.keras"
        model.save(file)
        return Source(file).float32()


@functools.cache
def float_file(name: str) -> bytes:
    """A classifier on a backbone as `train fit` builds it, `SIZE` px, with statistics and biases as training gives."""
    with quiet():
        import keras

        from train.backbones import build

        keras.utils.set_random_seed(5)
        model, _ = build(name, "none", SIZE, CLASSES)
        dice = np.random.default_rng(5)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                channels = layer.gamma.shape
                layer.gamma.assign(dice.uniform(0.5, 1.5, channels))
                layer.beta.assign(dice.normal(0, 0.5, channels))
                layer.moving_mean.assign(dice.normal(0, 0.2, channels))
                layer.moving_variance.assign(dice.uniform(0.3, 1.5, channels))
            elif getattr(layer, "bias", None) is not None:
                layer.bias.assign(dice.normal(0, 0.3, layer.bias.shape))
    return saved(model)
