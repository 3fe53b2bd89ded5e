"""The networks that can be trained, one line each, and how a classifier is built on one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.error import HTTPError, URLError

import keras
import numpy as np

from models.errors import EdgeWatchError, UsageError
from train import scratch
from train.names import FAMILIES, NARROW, parse
from train.recipe import Head

DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, 0-1."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A Keras application or what is called like one, the scaling of raw 0-255 that it takes, and further arguments.

    Without a `scale` its first layers are its scaling.
    """

    build: Callable[..., Any]
    scale: tuple[float, float] | None
    options: dict[str, Any]


MINUS_TO_PLUS_ONE = (1 / 127.5, -1.0)
ZERO_TO_ONE = (1 / 255, 0.0)
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
    "resnet50_v2": Backbone(keras.applications.ResNet50V2, MINUS_TO_PLUS_ONE, {}),
    "inception_v3": Backbone(keras.applications.InceptionV3, MINUS_TO_PLUS_ONE, {}),
    "lenet": Backbone(scratch.lenet, MINUS_TO_PLUS_ONE, {}),
    "shallownet": Backbone(scratch.shallownet, ZERO_TO_ONE, {}),
    "minivgg": Backbone(scratch.minivgg, ZERO_TO_ONE, {}),
}
if tuple(REGISTRY) != FAMILIES:
    raise AssertionError(f"train/names.py and train/backbones.py disagree: {FAMILIES}, {tuple(REGISTRY)}")


def build(
    name: str, weights: str, size: int, classes: int, dropout: float = 0.0, decay: float = 0.0, head: Head = "mean",
    hidden: int = 0,
) -> tuple[keras.Model, keras.Model]:
    """A classifier: raw 0-255 RGB in, logits out; scaling is inside, softmax is not.

    Its layers are `scale`, where the backbone has none of its own, the backbone, `features`, `hidden` if there is one,
    `dropout` and `logits`.

    Args:
        name: a backbone as in `train.names`.
        weights: `imagenet`, `none` or a file of the backbone's weights.
        size: pixels a side of the input.
        classes: number of outputs.
        dropout: share of what the logits are made of that is dropped in training.
        decay: weight of the squares of the head's weights in the loss.
        head: whether the features are the mean of each channel, or all of its places.
        hidden: units of a layer between the features and the logits; 0 for none.

    Returns:
        The classifier and, within it, the backbone.

    Raises:
        UsageError: there is no such backbone or layer.
        EdgeWatchError: its weights do not fit or cannot be downloaded.
    """
    scale = REGISTRY[parse(name)[0]].scale
    backbone = _backbone(name, weights, size)
    image = keras.Input((size, size, 3), name="image")
    scaled = keras.layers.Rescaling(*scale, name="scale")(image) if scale else image
    kind = keras.layers.GlobalAveragePooling2D if head == "mean" else keras.layers.Flatten
    found, small = kind(name="features")(backbone(scaled)), keras.regularizers.L2(decay)
    if hidden:
        found = keras.layers.Dense(hidden, "relu", kernel_regularizer=small, name="hidden")(found)
    kept = keras.layers.Dropout(dropout, name="dropout")(found)
    last = keras.layers.Dense(classes, kernel_regularizer=small, name="logits")
    return keras.Model(image, last(kept), name="classifier"), backbone


def at_size(model: keras.Model, backbone: keras.Model, size: int) -> keras.Model:
    """A classifier for pictures of another size that consists of the very same layers; what one learns both know.

    Args:
        model: with a `mean` head.
        backbone: the one within it.
        size: pixels a side; networks that pad by hand do it alike for all multiples of 32.
    """
    inner = keras.models.clone_model(backbone, keras.Input((size, size, 3)), lambda layer: layer)
    return keras.models.clone_model(model, keras.Input((size, size, 3)),
                                    lambda layer: inner if layer is backbone else layer)


def require_layer(name: str, size: int) -> None:
    """Refuse at once the layer that a backbone is cut at, if there is no such one.

    Raises:
        UsageError: the network has no such layer.
    """
    if parse(name)[2]:
        try:
            _backbone(name, "none", size)
        finally:
            # Where Keras names layers by numbers it would count on, and these would not be there any more.
            keras.backend.clear_session()


def _backbone(name: str, weights: str, size: int) -> keras.Model:
    network, _, layer = name.partition("@")
    whole = _whole(network, weights, size)
    if not layer:
        return whole
    names = [found.name for found in whole.layers if len(found.output.shape) == 4][1:]  # All but the input.
    if layer not in names:
        raise UsageError(f"--backbone {name}: expected a layer of {network}, found none of that name; near are "
                         f"{', '.join(get_close_matches(layer, names, 3, 0.0))}")
    return keras.Model(whole.input, whole.get_layer(layer).output, name=whole.name)


def _whole(name: str, weights: str, size: int) -> keras.Model:
    family, width, _ = parse(name)
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
