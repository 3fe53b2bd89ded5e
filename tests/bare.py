"""Models that are no bundles, in all formats, and photos to convert them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convert.quiet import quiet
from models.labels import Label, LabelMap

SIZE = 32
LABELS = LabelMap(Label.from_name(name, {}) for name in ("blank", "deer", "tiger"))
PICTURES = (np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3)) // np.arange(1, 7)[:, None, None, None]
            ).astype(np.uint8)


def network(keras: Any, last: str | None = None, scaled: bool = False, activation: str = "hard_swish") -> Any:
    """Layers of the usual kinds, three outputs; the weights are random, but the same each time."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 3))
    found = layers.Rescaling(1 / 127.5, -1.0)(image) if scaled else image
    found = layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, use_bias=False)(found))
    found = layers.DepthwiseConv2D(3, padding="same")(layers.ReLU()(found))
    found = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(layers.Activation(activation)(found)))
    return keras.Model(image, layers.Dense(3, activation=last)(found))


def save_models(folder: Path) -> None:
    """The same network in all formats, with and without a softmax; and what is no such network."""
    with quiet():
        import keras
        import tensorflow as tf

        layers = keras.layers

        class Mine(layers.Layer):  # type: ignore[misc]
            def call(self, image: Any) -> Any:
                return image * 2.0

        for name, last in (("plain", None), ("soft", "softmax"), ("sigmoid", "sigmoid"), ("log", "log_softmax")):
            model = network(keras, last)
            model.save(folder / f"{name}.keras")
            model.save(folder / f"{name}.h5")
            model.export(folder / f"{name}_exported")
        tf.saved_model.save(network(keras), str(folder / "plain_saved"))
        network(keras, scaled=True).save(folder / "scaled.keras")
        network(keras, scaled=True, activation="relu6").save(folder / "relu6.keras")
        network(keras).save_weights(folder / "only.weights.h5")

        image = keras.Input((SIZE, SIZE, 3))
        pooled = layers.GlobalAveragePooling2D()(image)
        other = keras.Input((3,))
        for name, inputs, outputs in (
            ("two", [image, other], layers.Dense(3)(layers.Add()([pooled, other]))),
            ("pair", image, [layers.Dense(3)(pooled), layers.Dense(2)(pooled)]),
            ("lambda", image, layers.Dense(3)(layers.Lambda(lambda found: found * 2)(pooled))),
            ("own", image, layers.Dense(3)(Mine()(pooled))),
            ("erf", image, layers.Dense(3)(keras.ops.erf(pooled))),
            ("single", image, layers.Dense(1)(pooled)),
            ("map", image, layers.Conv2D(3, 3)(image)),
        ):
            keras.Model(inputs, outputs).save(folder / f"{name}.keras")
        for name, shape in (("open", (None, None, 3)), ("grey", (SIZE, SIZE, 1)), ("wide", (SIZE, 48, 3))):
            image = keras.Input(shape)
            keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(image))).save(folder / f"{name}.keras")
        tf.saved_model.save(tf.Module(), str(folder / "unsigned"))
        keras.mixed_precision.set_global_policy("mixed_float16")
        network(keras).save(folder / "mixed.keras")
        keras.mixed_precision.set_global_policy("float32")


def draw(path: Path, seed: int, grey: bool = False) -> None:
    """A picture of noise with all brightnesses; in colour, unless it is grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 1 if grey else 3), np.uint8)
    cv2.imwrite(str(path), np.repeat(noise, 3, axis=2) if grey else noise)


def fill(folder: Path, numbers: dict[str, int], order: Callable[[list[Any]], None] = lambda names: None) -> Path:
    names = [(name, number) for name, count in numbers.items() for number in range(count)]
    order(names)
    for name, number in names:
        draw(folder / name / f"{number:02}.png", seed=number + 100 * sum(name.encode()))
    return folder


def list_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let folders be listed in another order, as another file system would."""
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(listed(self, pattern))))
