"""Running a network, whatever it is made of, over photos: as they are, in grey or otherwise changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from train.photos.store import Store

Array = NDArray[np.float32]
Pixels = Store | NDArray[np.uint8]
"""Decoded pictures, (n, size, size, 3) uint8 RGB, read as `pixels[row]` or `pixels[rows]`."""
Network = Callable[[NDArray[np.uint8]], Array]
"""(n, size, size, 3) uint8 RGB pictures to (n, classes) float32 logits."""
View = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""What is done to a (size, size, 3) uint8 RGB picture before the network sees it, as `models.preprocess.infrared`."""


def same(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as it is."""
    return picture


def logits(network: Network, pixels: Pixels, rows: NDArray[Any], view: View = same, batch: int = 32) -> Array:
    """The logits of some pictures under one view, a batch at a time.

    Args:
        network: runs a batch.
        pixels: (n, size, size, 3) uint8 RGB.
        rows: (k,) indexes of the wanted pictures, at least one.
        view: what is done to each.
        batch: pictures in memory at a time.

    Returns:
        (k, classes) float32, in the order of `rows`.
    """
    found = []
    for start in range(0, len(rows), batch):
        pictures = pixels[rows[start : start + batch]]
        found.append(network(pictures if view is same else np.stack([view(picture) for picture in pictures])))
    return np.concatenate(found)


def keras_network(model: Any) -> Network:
    """A Keras classifier, or what else takes a batch of pictures, as a network; it follows the model's weights."""
    import tensorflow as tf  # Whoever has such a model has imported it; others shall not.

    # As a graph: twice as fast as layer by layer. With a signature, or each batch size would be traced anew.
    run = tf.function(lambda pictures: model(tf.cast(pictures, tf.float32), training=False),
                      input_signature=[tf.TensorSpec(model.inputs[0].shape, tf.uint8)])
    return lambda pictures: run(tf.constant(pictures)).numpy()


@dataclass(frozen=True, slots=True)
class Geometry:
    """A small change of a picture's geometry: its name, what it stands for at a trap, and how to make it."""

    name: str
    stands_for: str
    view: View


def moved(
    across: float = 1.0, down: float = 1.0, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)
) -> View:
    """A view that stretches, turns and shifts a picture about its centre; what comes into sight is mirrored from it.

    Args:
        across: times as wide (-1 mirrors it).
        down: times as high.
        angle: degrees, clockwise.
        shift: to the right and down, as shares of the side.
    """

    def view(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = picture.shape[0]
        turn = np.deg2rad(angle)
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([across, down])
        centre = np.full(2, (size - 1) / 2)
        offset = centre + np.multiply(shift, size) - turned @ centre
        return cv2.warpAffine(picture, np.column_stack([turned, offset]), (size, size),  # type: ignore[return-value]
                              flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    return view


GEOMETRY = (
    Geometry("shifted right 10 %", "a box that is not centred on the animal", moved(shift=(0.1, 0.0))),
    Geometry("shifted down 10 %", "a box that is not centred on the animal", moved(shift=(0.0, 0.1))),
    Geometry("zoomed in 1.25 x", "an animal that the edge of the box cuts off", moved(1.25, 1.25)),
    Geometry("zoomed out 0.8 x", "a box that is too large for the animal", moved(0.8, 0.8)),
    Geometry("zoomed out 0.6 x", "a box that is much too large for the animal", moved(0.6, 0.6)),
    Geometry("1.2 x wider", "a box that is narrower than photos are, stretched to the square", moved(across=1.2)),
    Geometry("1.2 x higher", "a box that is wider than photos are, stretched to the square", moved(down=1.2)),
    Geometry("turned left 10°", "a camera that hangs askew", moved(angle=-10.0)),
    Geometry("turned right 10°", "a camera that hangs askew", moved(angle=10.0)),
    Geometry("mirrored", "an animal that looks the other way", moved(across=-1.0)),
)


def evenly(truth: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many indexes of `truth`, (n,) class indexes, spread evenly over the classes; always the same ones."""
    order = np.random.default_rng(0).permutation(len(truth))
    rank = np.zeros(len(truth), np.int64)
    for label in np.unique(truth):
        rows = order[truth[order] == label]
        rank[rows] = np.arange(len(rows))
    return np.sort(np.lexsort((truth, rank))[:most])
