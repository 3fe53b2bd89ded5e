"""Small networks without pretrained weights, from their published descriptions, as far as their last feature map.

They are there to compare with: what pretraining brings is seen beside a network that does without. Each is called as
Keras' applications are. What follows the last feature map in the publications is a head: `head = "flat"` with as many
`hidden` units as are said there.
"""

from __future__ import annotations

from typing import Any

import keras

layers = keras.layers


def lenet(input_shape: tuple[int, int, int], weights: None = None, include_top: bool = False) -> keras.Model:
    """LeNet-5's layers C1 to C5; for F6, `hidden = 84`.

    After Y. LeCun, L. Bottou, Y. Bengio and P. Haffner 1998, "Gradient-Based Learning Applied to Document Recognition",
    section II.B, with three colours in place of one grey. Left out is what was to save work then: subsampling has no
    coefficients of its own, and in C3 each map sees all of S2.
    """
    _require_bare(weights, include_top)
    image = keras.Input(input_shape)
    found = layers.Conv2D(6, 5, activation="tanh", name="c1")(image)
    found = layers.AveragePooling2D(2, name="s2")(found)
    found = layers.Conv2D(16, 5, activation="tanh", name="c3")(found)
    found = layers.AveragePooling2D(2, name="s4")(found)
    found = layers.Conv2D(120, 5, activation="tanh", name="c5")(found)
    return keras.Model(image, found, name="lenet")


def shallownet(input_shape: tuple[int, int, int], weights: None = None, include_top: bool = False) -> keras.Model:
    """ShallowNet: one convolution; `hidden = 0`.

    After A. Rosebrock 2017, "Deep Learning for Computer Vision with Python", Starter Bundle, chapter 12.
    """
    _require_bare(weights, include_top)
    image = keras.Input(input_shape)
    found = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv")(image)
    return keras.Model(image, found, name="shallownet")


def minivgg(input_shape: tuple[int, int, int], weights: None = None, include_top: bool = False) -> keras.Model:
    """MiniVGGNet: twice two convolutions and a pool; `hidden = 512`.

    After A. Rosebrock 2017, "Deep Learning for Computer Vision with Python", Starter Bundle, chapter 15. The batch norm
    behind the hidden layer is left out.
    """
    _require_bare(weights, include_top)
    image = found = keras.Input(input_shape)
    for block, channels in enumerate((32, 64), 1):
        for place in (1, 2):
            found = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"conv{block}_{place}")(found)
            found = layers.BatchNormalization(name=f"norm{block}_{place}")(found)
        found = layers.MaxPooling2D(2, name=f"pool{block}")(found)
        found = layers.Dropout(0.25, name=f"drop{block}")(found)
    return keras.Model(image, found, name="minivgg")


def _require_bare(weights: Any, include_top: bool) -> None:
    """There is no more than that; `train.recipe` refuses before what a user may ask for."""
    if weights is not None or include_top:
        raise ValueError("there are neither weights nor a top")
