"""Larger networks that a smaller one learns from: whether they may teach, and what they say."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.boxes import as_text
from models.bundle import MANIFEST, SPLIT, ModelBundle, file_hash
from models.errors import EdgeWatchError
from train.measure import Array, Network
from train.photos.data import Photo
from train.quiet import quiet
from train.words import counted


def open_teacher(path: Path, names: tuple[str, ...], size: int) -> ModelBundle:
    """A bundle that may teach: a float one of the same classes and the same size of pictures.

    Args:
        path: the bundle.
        names: the classes' names, in order.
        size: pixels a side.

    Raises:
        EdgeWatchError: it is no bundle, or may not teach.
    """
    bundle = ModelBundle.open(path)
    if not bundle.is_float or SPLIT not in bundle.manifest.files:
        raise EdgeWatchError(f"{path}: expected a float bundle with {SPLIT} as teacher, found "
                             f"{bundle.title} without; name the one that `train fit` wrote")
    if bundle.labels.names != names:
        other = sorted(set(bundle.labels.names) ^ set(names))
        raise EdgeWatchError(f"{path}: expected a teacher of the same {len(names)} classes, found one of "
                             f"{len(bundle.labels)} (not in both: {', '.join(other)}); train it on the same photos")
    if bundle.manifest.input.size != size:
        raise EdgeWatchError(f"{path}: expected a teacher that sees pictures of {size} pixels a side, found "
                             f"{bundle.manifest.input.size}; train it with --size {size}, or type --size "
                             f"{bundle.manifest.input.size}")
    return bundle


def require_same_sides(bundle: ModelBundle, photos: Iterable[Photo]) -> None:
    """Refuse a teacher that learned from other photos: what it knows of test photos would leak to its pupil.

    Args:
        bundle: the teacher.
        photos: of this training, with their sides.

    Raises:
        EdgeWatchError: photos stand on another side, or are not in both.
    """
    with (bundle.path / SPLIT).open(newline="", encoding="utf-8") as file:
        taught = {(row["sha256"], row.get("box", ""), row["split"]) for row in csv.DictReader(file)}
    here = {(photo.sha256, as_text(photo.box), str(photo.split)) for photo in photos}
    other = {(digest, box) for digest, box, _ in taught ^ here}
    if other:
        raise EdgeWatchError(f"{bundle.path}: expected a teacher of the same photos on the same sides, found "
                             f"{counted(len(other), 'photo')} that only one of the two has or that stand elsewhere; "
                             f"type --split {bundle.path / SPLIT}, or train the teacher on these photos")


def said_by(bundles: Sequence[ModelBundle], temperature: float, working: Path) -> Network | None:
    """The teachers as one network; LiteRT runs them several times as fast as TensorFlow would.

    Args:
        bundles: float ones; without any there is no such network.
        temperature: at which their answers count.
        working: a folder for their files.
    """
    networks = [_network(bundle, working / f"teacher{number}.tflite") for number, bundle in enumerate(bundles)]
    return together(networks, temperature) if networks else None


def together(networks: Sequence[Network], temperature: float) -> Network:
    """Several networks as one, whose logits, divided by the temperature, are the mean of what theirs say then.

    What is averaged are probabilities, as in Hinton et al. 2015: the logits of networks that were trained apart have
    scales of their own.
    """
    if len(networks) == 1:
        return networks[0]

    def answer(pictures: NDArray[np.uint8]) -> Array:
        found = np.stack([network(pictures) for network in networks]).astype(np.float64) / temperature
        likely = found - np.logaddexp.reduce(found, axis=2, keepdims=True)
        mean = np.logaddexp.reduce(likely, axis=0) - np.log(len(networks))
        said: Array = (temperature * mean).astype(np.float32)
        return said

    return answer


def _network(bundle: ModelBundle, file: Path) -> Network:
    import keras  # Whoever trains has imported them; others shall not.
    import tensorflow as tf

    from models.interpreter import Interpreter

    with quiet():
        model = keras.saving.load_model(bundle.model, compile=False)
        file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    interpreter, alone = Interpreter(file), threading.Lock()

    def answer(pictures: NDArray[np.uint8]) -> Array:
        with alone:  # tf.data may ask about several batches at once.
            return np.stack([interpreter.run(picture) for picture in pictures])

    return answer


def about(bundle: ModelBundle) -> str:
    """What tells one teacher from another."""
    return f"{bundle.title} ({file_hash(bundle.path / MANIFEST)[:12]})"
