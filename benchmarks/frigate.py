"""Frigate's training of a classifier, made again from its description, and what it is worth on a set's test photos.

    python benchmarks/frigate.py DATA [--weights FILE] [--seed N]

The recipe: MobileNetV2 0.35 at 224 px with ImageNet weights, all of it frozen; on it 128 units and a dropout of 0.3;
Adam at 0.001, batches of 16, always 50 epochs; no augmentation, no early stopping, no class weights. Pictures are
scaled to 0 to 1, though the weights were trained on -1 to 1. A fifth of each class is set aside for validation, and
nothing is ever validated. It gets the photos of train and val together, and is measured on those of test.

Where the description is silent its code decided: the fifth is the first of each class's files by name; training photos
are resized by nearest neighbour and pictures in use linearly, as here. Two things are in its favour: it is measured
before it is converted to int8, and it need not find the test photos in a video.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from models.errors import EdgeWatchError, UsageError, run
from models.evaluation import measure
from models.images import read_image
from models.manifest import LIGHTINGS, Metrics
from models.preprocess import infrared, prepare
from train.photos.data import Photo
from train.photos.find import find_photos
from train.quiet import import_tensorflow

WEIGHTS = Path(__file__).resolve().parents[2] / "shared/weights/mobilenet_v2_0.35_notop.weights.h5"
BACKBONE, SIZE = "mobilenet_v2_0.35", 224
UNITS, DROPOUT, RATE, EPOCHS, BATCH, UNUSED = 128, 0.3, 1e-3, 50, 16, 0.2

Pictures = Iterable[NDArray[np.uint8]]


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure and print."""
    return run("frigate", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("frigate", description="What Frigate's recipe reaches on a set's test photos.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with train, val and test folders of classes")
    parser.add_argument("--weights", default=str(WEIGHTS), metavar="imagenet|none|FILE", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="Frigate sets none; default: %(default)s")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    found = fit_and_measure(options.data, find_photos(options.data).photos, options.weights, options.seed)
    print(f"{options.data.resolve().name}, Frigate's recipe, seed {options.seed}: {found['day'].accuracy:.1%} of "
          f"{found['day'].n} test photos right by day, {found['night'].accuracy:.1%} in infrared-grey")
    return 0


def fit_and_measure(root: Path, photos: Sequence[Photo], weights: str, seed: int) -> dict[str, Metrics]:
    """Train by Frigate's recipe on the photos of train and val, and measure on those of test.

    The frozen backbone says the same of a photo in each epoch, as nothing about the photo is varied; so it is asked
    once, and the rest is trained on its answers. That is the same training as the whole network in each step.

    Args:
        root: DATA.
        photos: with their splits.
        weights: `imagenet`, `none` or a file of the weights of MobileNetV2 0.35 without its top.
        seed: of the training; Frigate itself sets none.

    Returns:
        Metrics by lighting.

    Raises:
        UsageError: no weights, or photos without a split.
        EdgeWatchError: a photo that cannot be read.
    """
    names = sorted({photo.label for photo in photos})
    test = [photo for photo in photos if photo.split == "test"]
    trained = used([photo for photo in photos if photo.split in ("train", "val")])
    if not test or not trained:
        raise UsageError(f"{root}: expected train, val and test folders of photos, found no photos of "
                         f"{'test' if trained else 'train'}; name a folder that has them")
    ask = features(weights)
    known = ask(_as_trained(root / photo.path) for photo in trained)
    pictures = [prepare(read_image(root / photo.path, at_least=SIZE), SIZE, order="BGR") for photo in test]
    answers = {"day": ask(pictures), "night": ask(infrared(picture) for picture in pictures)}
    truth = {name: index for index, name in enumerate(names)}
    labels, right = (np.array([truth[photo.label] for photo in some], np.int64) for some in (trained, test))
    head = fit_head(known, labels, len(names), seed)
    return {key: measure(np.asarray(head(answers[key], training=False)), right, names) for key in LIGHTINGS}


def used(photos: Sequence[Photo]) -> list[Photo]:
    """Those photos that Frigate trains on: of each class, ordered by the files' names, all but the first fifth."""
    found: list[Photo] = []
    for name in sorted({photo.label for photo in photos}):
        of_class = sorted((photo for photo in photos if photo.label == name), key=lambda photo: Path(photo.path).name)
        found += of_class[int(UNUSED * len(of_class)):]
    return found


def _as_trained(path: Path) -> NDArray[np.uint8]:
    """A training photo as Keras' generators load it for Frigate: (224, 224, 3) uint8 RGB."""
    import keras

    try:
        return np.asarray(keras.utils.load_img(path, target_size=(SIZE, SIZE), interpolation="nearest"))
    except OSError as error:
        raise EdgeWatchError(f"{path}: expected a picture, found: {error}; leave it out") from error


def features(weights: str) -> Callable[[Pictures], NDArray[np.float32]]:
    """The frozen backbone as a function: (224, 224, 3) uint8 RGB pictures to (n, channels) float32.

    Raises:
        UsageError: no such file of weights.
        EdgeWatchError: they do not fit, or cannot be downloaded.
    """
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise UsageError(f"--weights: expected imagenet, none or a file, found {weights}, which does not exist; "
                         f"correct the path")
    import_tensorflow()
    import keras

    from train.backbones import build

    _, backbone = build(BACKBONE, weights, SIZE, 2)
    backbone.trainable = False
    network = keras.Sequential([backbone, keras.layers.GlobalAveragePooling2D()])

    def ask(pictures: Pictures) -> NDArray[np.float32]:
        rest, found = iter(pictures), []
        while some := list(islice(rest, 32)):
            found.append(network.predict_on_batch(np.stack(some).astype(np.float32) / 255.0))
        return np.concatenate(found)

    return ask


def fit_head(known: NDArray[np.float32], labels: NDArray[np.int64], classes: int, seed: int) -> Any:
    """The Keras model of what Frigate trains: (n, channels) float32 of a frozen backbone to probabilities.

    Args:
        known: (n, channels) float32.
        labels: (n,) class indexes.
        classes: how many there are.
        seed: decides the first weights, the order and the dropout.
    """
    import keras

    keras.utils.set_random_seed(seed)
    head = keras.Sequential([
        keras.Input(known.shape[1:]),
        keras.layers.Dense(UNITS, activation="relu"),
        keras.layers.Dropout(DROPOUT),
        keras.layers.Dense(classes, activation="softmax"),
    ])
    head.compile(keras.optimizers.Adam(RATE), "categorical_crossentropy")
    head.fit(known, keras.utils.to_categorical(labels, classes), batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return head


if __name__ == "__main__":
    raise SystemExit(main())
