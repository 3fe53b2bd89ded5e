"""The networks that can be trained, one line each, and how a classifier is built on one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from models.errors import EdgeWatchError
from train.names import BACKBONES


@dataclass(frozen=True, slots=True)
class Backbone:
    """A Keras application without its top, and the scaling of raw 0-255 that it was trained with."""

    build: Callable[..., Any]
    scale: float
    offset: float
    options: dict[str, Any]


PLUS_MINUS_ONE = (1 / 127.5, -1.0)

REGISTRY = {
    "mobilenet_v2": Backbone(keras.applications.MobileNetV2, *PLUS_MINUS_ONE, {"alpha": 1.0}),
    "mobilenet_v2_0.35": Backbone(keras.applications.MobileNetV2, *PLUS_MINUS_ONE, {"alpha": 0.35}),
    # Its own scaling is switched off: it is the same, and one place for it is enough.
    "mobilenet_v3_small": Backbone(
        keras.applications.MobileNetV3Small, *PLUS_MINUS_ONE, {"include_preprocessing": False}
    ),
}
if tuple(REGISTRY) != BACKBONES:
    raise AssertionError(f"train/names.py and train/backbones.py disagree: {BACKBONES}, {tuple(REGISTRY)}")


def build(
    name: str, weights: str, size: int, classes: int, dropout: float = 0.0, decay: float = 0.0
) -> tuple[keras.Model, keras.Model]:
    """A classifier: raw 0-255 RGB in, logits out; scaling is inside, softmax is not.

    Args:
        name: a key of `REGISTRY`.
        weights: `imagenet`, `none` or a file of the backbone's weights.
        size: pixels a side of the input.
        classes: number of outputs.
        dropout: share of the pooled features that is dropped in training.
        decay: weight of the squares of the head's weights in the loss.

    Returns:
        The classifier and, within it, the backbone.

    Raises:
        EdgeWatchError: the weights do not fit or cannot be downloaded.
    """
    entry = REGISTRY[name]
    backbone = _backbone(name, weights, size)
    image = keras.Input((size, size, 3), name="image")
    features = backbone(keras.layers.Rescaling(entry.scale, entry.offset, name="scale")(image))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    kept = keras.layers.Dropout(dropout, name="dropout")(pooled)
    head = keras.layers.Dense(classes, kernel_regularizer=keras.regularizers.L2(decay), name="logits")
    return keras.Model(image, head(kept), name="classifier"), backbone


def _backbone(name: str, weights: str, size: int) -> keras.Model:
    entry = REGISTRY[name]
    options = {"input_shape": (size, size, 3), "include_top": False, **entry.options}
    if weights == "imagenet":
        try:
            return entry.build(weights="imagenet", **options)
        except Exception as error:  # Keras raises no other kind when a download fails.
            raise EdgeWatchError(f"--weights imagenet: expected a download, found: {str(error).splitlines()[0][:160]}; "
                                 f"connect to the internet, or name a file with --weights FILE") from error
    backbone = entry.build(weights=None, **options)
    if weights != "none":
        try:
            with warnings.catch_warnings():
                # A hundred of them before the one line that says it.
                warnings.simplefilter("ignore")
                backbone.load_weights(weights)
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).strip().splitlines()[0][:160]
            raise EdgeWatchError(f"{weights}: expected the weights of {name} without its top, found others "
                                 f"({reason}); choose the --backbone that they were made for") from error
    return backbone
