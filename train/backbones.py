"""The networks that can be trained, one line each, and how a classifier is built on one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError

import keras
import numpy as np

from models.errors import EdgeWatchError
from train.names import FAMILIES, NARROW, parse

DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, 0-1."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A Keras application, the scaling of raw 0-255 that it was trained with, and what it is called with.

    Without a `scale` its first layers are its scaling.
    """

    build: Callable[..., Any]
    scale: tuple[float, float] | None
    options: dict[str, Any]


MINUS_TO_PLUS_ONE = (1 / 127.5, -1.0)
# MobileNetV3's own scaling is switched off: it is the same, and one place for it is enough.
BARE = {"include_preprocessing": False}

REGISTRY = {
    "mobilenet_v1": Backbone(keras.applications.MobileNet, MINUS_TO_PLUS_ONE, {}),
    "mobilenet_v2": Backbone(keras.applications.MobileNetV2, MINUS_TO_PLUS_ONE, {}),
    "mobilenet_v3_small": Backbone(keras.applications.MobileNetV3Small, MINUS_TO_PLUS_ONE, BARE),
    "mobilenet_v3_small_minimalistic": Backbone(
        keras.applications.MobileNetV3Small, MINUS_TO_PLUS_ONE, BARE | {"minimalistic": True}),
    "mobilenet_v3_large": Backbone(keras.applications.MobileNetV3Large, MINUS_TO_PLUS_ONE, BARE),
    "mobilenet_v3_large_minimalistic": Backbone(
        keras.applications.MobileNetV3Large, MINUS_TO_PLUS_ONE, BARE | {"minimalistic": True}),
    "efficientnet_b0": Backbone(keras.applications.EfficientNetB0, None, {}),
}
if tuple(REGISTRY) != FAMILIES:
    raise AssertionError(f"train/names.py and train/backbones.py disagree: {FAMILIES}, {tuple(REGISTRY)}")


def build(
    name: str, weights: str, size: int, classes: int, dropout: float = 0.0, decay: float = 0.0
) -> tuple[keras.Model, keras.Model]:
    """A classifier: raw 0-255 RGB in, logits out; scaling is inside, softmax is not.

    Args:
        name: a backbone as in `train.names`.
        weights: `imagenet`, `none` or a file of the backbone's weights.
        size: pixels a side of the input.
        classes: number of outputs.
        dropout: share of the pooled features that is dropped in training.
        decay: weight of the squares of the head's weights in the loss.

    Returns:
        The classifier and, within it, the backbone.

    Raises:
        EdgeWatchError: there is no such backbone, or its weights do not fit or cannot be downloaded.
    """
    scale = REGISTRY[parse(name)[0]].scale
    backbone = _backbone(name, weights, size)
    image = keras.Input((size, size, 3), name="image")
    scaled = keras.layers.Rescaling(*scale, name="scale")(image) if scale else image
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(scaled))
    kept = keras.layers.Dropout(dropout, name="dropout")(pooled)
    head = keras.layers.Dense(classes, kernel_regularizer=keras.regularizers.L2(decay), name="logits")
    return keras.Model(image, head(kept), name="classifier"), backbone


def _backbone(name: str, weights: str, size: int) -> keras.Model:
    family, width = parse(name)
    entry = REGISTRY[family]
    options = {"input_shape": (size, size, 3), "include_top": False, **entry.options}
    if family in NARROW:
        options["alpha"] = width
    with warnings.catch_warnings():
        # Keras names the sizes that weights were made for, and in a wrong file a hundred layers.
        warnings.simplefilter("ignore")
        if weights == "imagenet":
            return _download(name, entry, options)
        backbone = entry.build(weights=None, **options)
        if weights != "none":
            _load(backbone, name, weights)
    return backbone


def _download(name: str, entry: Backbone, options: dict[str, Any]) -> keras.Model:
    try:
        return entry.build(weights="imagenet", **options)
    except ValueError as error:
        raise EdgeWatchError(f"--weights imagenet: expected a backbone that there are such weights of, found {name} "
                             f"({str(error).splitlines()[0][:160]}); choose another width or --weights FILE") from error
    except Exception as error:  # Keras raises no other kind when a download fails.
        raise EdgeWatchError(f"--weights imagenet: expected a download, found none: {_why(error)}; "
                             f"connect to the internet, or name a file with --weights FILE") from error


def _why(error: Exception) -> str:
    """Why a download failed: Keras wraps what the system says in its own words."""
    cause = error.__context__
    if isinstance(cause, URLError) and not isinstance(cause, HTTPError):
        return str(getattr(cause.reason, "strerror", None) or cause.reason)
    return (str(cause or error).splitlines() or ["no reason given"])[0]


def _load(backbone: keras.Model, name: str, weights: str) -> None:
    try:
        backbone.load_weights(weights)
    except (ValueError, KeyError, OSError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:160]
        raise EdgeWatchError(f"{weights}: expected the weights of {name} without its top, found others "
                             f"({reason}); choose the --backbone that they were made for") from error
    for layer in backbone.layers:
        # EfficientNet's weights have the deviation where the variance belongs, and for `imagenet` Keras adds a layer
        # that divides by its root once more (tensorflow#49930). For a file it adds none.
        if isinstance(layer, keras.layers.Normalization) and np.allclose(
                layer.adapt_variance.numpy(), DEVIATION, atol=1e-3):
            layer.adapt_variance.assign(np.square(DEVIATION))
            layer.finalize_state()
