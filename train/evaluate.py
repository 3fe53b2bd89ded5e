"""Measure a bundle, float or int8, on labelled photos; an int8 one without TensorFlow."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import SPLIT, ModelBundle
from models.errors import EdgeWatchError
from models.evaluation import measure, softmax
from models.manifest import LIGHTINGS, Lighting, Metrics
from models.preprocess import infrared
from train.data import DataSet, Photo, find_photos
from train.pictures import decode
from train.quiet import import_tensorflow

Logits = Callable[[NDArray[np.uint8], NDArray[np.int64], Lighting], NDArray[np.float32]]


def evaluate(bundle_path: Path, root: Path, exclude: Path | None, as_json: bool) -> int:
    """`train evaluate`: print a bundle's metrics on the photos of DATA by day and in infrared-grey.

    Raises:
        EdgeWatchError: no bundle, no photos, or photos of classes that the bundle does not have.
    """
    bundle = ModelBundle.open(bundle_path)
    photos = choose(bundle, find_photos(root, exclude))
    run = _float(bundle) if bundle.is_float else _converted(bundle)
    working = Path(tempfile.mkdtemp(prefix="train-evaluate-"))
    try:
        pictures = decode(root, photos, bundle.manifest.input.size, working, lambda done: None)
        if SPLIT not in bundle.manifest.files and not (root / "test").is_dir():
            print(f"{bundle.title} does not say what it was trained on: if these photos were, the numbers are too good",
                  file=sys.stderr)
        rows = np.array(_fresh(bundle, pictures.photos), np.int64)
        if not len(rows):
            raise EdgeWatchError(f"{root}: expected photos that {bundle.title} was not trained on, found none; "
                                 f"name a folder with others")
        truth = np.array([bundle.labels.names.index(pictures.photos[row].label) for row in rows], np.int64)
        found = {lighting: measure(softmax(run(pictures.pixels, rows, lighting), bundle.manifest.temperature), truth,
                                   bundle.labels.names) for lighting in LIGHTINGS}
    finally:
        shutil.rmtree(working, ignore_errors=True)
    if as_json:
        print(json.dumps({"bundle": str(bundle_path), "data": str(root), "left_out": list(pictures.broken),
                          "metrics": {key: asdict(metrics) for key, metrics in found.items()}}, indent=1))
    else:
        print(as_text(bundle, root, found, len(pictures.broken)))
    return 0


def choose(bundle: ModelBundle, data: DataSet) -> tuple[Photo, ...]:
    """The photos to measure on: the test folder where there is one, else all."""
    unknown = sorted(set(data.names) - set(bundle.labels.names))
    if unknown:
        raise EdgeWatchError(f"{data.root}: expected folders named after the classes of {bundle.title}, found also "
                             f"{', '.join(unknown)}; it knows {', '.join(bundle.labels.names)}; leave the others out "
                             f"with --exclude")
    return tuple(photo for photo in data.photos if photo.split == "test") or data.photos


def _fresh(bundle: ModelBundle, photos: Sequence[Photo]) -> list[int]:
    """The indexes of those photos that a float bundle was neither trained nor calibrated on."""
    if SPLIT not in bundle.manifest.files:
        return list(range(len(photos)))
    with (bundle.path / SPLIT).open(newline="", encoding="utf-8") as file:
        seen = {row["sha256"] for row in csv.DictReader(file) if row["split"] != "test"}
    return [index for index, photo in enumerate(photos) if photo.sha256 not in seen]


def _converted(bundle: ModelBundle) -> Logits:
    from models.classifier import Classifier

    network = Classifier(bundle).interpreter
    return lambda pixels, rows, lighting: np.stack([
        network.run(infrared(pixels[row]) if lighting == "night" else pixels[row]) for row in rows
    ])


def _float(bundle: ModelBundle) -> Logits:
    import_tensorflow()
    import keras

    from train.pipeline import logits

    return partial(logits, keras.saving.load_model(bundle.model, compile=False))


def as_text(bundle: ModelBundle, root: Path, found: dict[Lighting, Metrics], left_out: int) -> str:
    """The metrics as lines of text."""
    names = [name for name in bundle.labels.names if found["day"].per_class[name].n]
    wide = max(len(name) for name in (*names, "class"))
    lines = [f"{bundle.title} ({'float' if bundle.is_float else bundle.manifest.quantization.scheme}) on {root}: "
             f"{found['day'].n} photos, {left_out} could not be read", "",
             "class".ljust(wide) + "     n   precision  recall by day   precision  recall in grey"]
    for name in names:
        cells = [f"{found[key].per_class[name].precision:>12.1%}{found[key].per_class[name].recall:>15.1%}"
                 for key in LIGHTINGS]
        lines.append(f"{name.ljust(wide)}{found['day'].per_class[name].n:>6}{''.join(cells)}")
    for key, metrics in found.items():
        lines.append(f"{'by day' if key == 'day' else 'in grey'}: accuracy {metrics.accuracy:.1%}, "
                     f"macro-F1 {metrics.macro_f1:.1%}, top-3 {metrics.top3:.1%}, "
                     f"calibration error {metrics.calibration_error:.1%}")
    return "\n".join(lines)
