"""The float model and the int8 file, side by side on the photos of split.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import SPLIT, ModelBundle, file_hash
from models.errors import BundleError, EdgeWatchError
from models.evaluation import calibrate, measure, softmax
from models.images import read_image
from models.interpreter import Interpreter
from models.manifest import LIGHTINGS, Comparison, Metrics, OperatingPoint
from models.preprocess import infrared, is_infrared, prepare

BATCH = 8
Logits = NDArray[np.float32]
Network = Callable[[NDArray[np.uint8]], Logits]
"""(n, size, size, 3) uint8 RGB pictures to (n, classes) float32 logits."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled photo; `label` is a class index."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What the int8 file does on photos, and how that differs from its float parent.

    `metrics` (of the int8 file) and `compared` are by lighting and measured on the test photos; `temperature` and
    `operating_points` come from the validation photos.
    """

    temperature: float
    operating_points: dict[str, dict[str, OperatingPoint]]
    metrics: dict[str, Metrics]
    compared: dict[str, Comparison]


def find_photos(bundle: ModelBundle, data: Path | None = None) -> dict[str, list[Photo]]:
    """The validation and test photos that a bundle was made with, each proven by its sha256.

    Args:
        bundle: a float bundle.
        data: where the photos are now; where `provenance.data` says when None.

    Raises:
        EdgeWatchError: a photo is missing or has changed.
        BundleError: `split.csv` is missing or not what it should be.
    """
    root = Path(bundle.manifest.provenance.data) if data is None else data
    wanted: dict[str, list[Photo]] = {"val": [], "test": []}
    missing, changed = [], []
    for row in _split_rows(bundle):
        if row["split"] not in wanted:
            continue
        path = root / row["path"]
        if not path.is_file():
            missing.append(path)
        elif file_hash(path) != row["sha256"]:
            changed.append(path)
        wanted[row["split"]].append(Photo(path, bundle.labels.names.index(row["label"])))
    if missing or changed:
        raise EdgeWatchError(
            f"{root}: expected the {len(wanted['test'])} test and {len(wanted['val'])} validation photos of {SPLIT}, "
            f"found {len(missing)} missing and {len(changed)} changed (first: {[*missing, *changed][0]}); "
            f"type --data DIR if they have moved, or --no-verify to convert without comparing"
        )
    if not wanted["test"] or not wanted["val"]:
        raise EdgeWatchError(f"{bundle.path / SPLIT}: expected validation and test photos, found {len(wanted['val'])} "
                             f"and {len(wanted['test'])}; type --no-verify to convert without comparing")
    return wanted


def _split_rows(bundle: ModelBundle) -> list[dict[str, str]]:
    path = bundle.path / SPLIT
    if SPLIT not in bundle.manifest.files:
        raise BundleError(f"{bundle.path}: expected {SPLIT}, found none; train the model again, or type --no-verify")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    columns = {"path", "label", "split", "sha256"}
    if not rows or not columns <= set(rows[0]):
        raise BundleError(f"{path}: expected the columns {sorted(columns)}, found "
                          f"{list(rows[0]) if rows else 'no rows'}; train the model again, or type --no-verify")
    unknown = {row["label"] for row in rows} - set(bundle.labels.names)
    if unknown:
        raise BundleError(f"{path}: expected labels of the model, found {sorted(unknown)[0]!r}; "
                          f"train the model again, or type --no-verify")
    return rows


def verify(bundle: ModelBundle, photos: dict[str, list[Photo]], before: Network, after: Interpreter) -> Proof:
    """Run both models on the test photos and the new one on the validation photos, by day and in infrared grey.

    Args:
        bundle: the float parent.
        photos: as `find_photos` gives them.
        before: the float model.
        after: the int8 file.
    """
    size, names = bundle.manifest.input.size, bundle.labels.names
    (val,), grey = ask(photos["val"], size, [one_by_one(after)])
    (before_by_light, after_by_light), _ = ask(photos["test"], size, [before, one_by_one(after)])
    temperature, points = calibrate(val, _truth(photos["val"]), names, grey)
    truth = _truth(photos["test"])
    metrics = {
        lighting: measure(softmax(logits, temperature), truth, names) for lighting, logits in after_by_light.items()
    }
    compared = {}
    for lighting, logits in before_by_light.items():
        float_metrics = measure(softmax(logits, bundle.manifest.temperature), truth, names)
        same = logits.argmax(axis=1) == after_by_light[lighting].argmax(axis=1)
        compared[lighting] = Comparison(len(truth), float_metrics.accuracy, metrics[lighting].accuracy,
                                        float(same.mean()), float_metrics.per_class)
    return Proof(temperature, points, metrics, compared)


def one_by_one(network: Interpreter) -> Network:
    """A .tflite file, which takes one picture, as a network that takes many."""
    return lambda pictures: np.stack([network.run(picture) for picture in pictures])


def mean_error(pictures: NDArray[np.uint8], before: Network, after: Interpreter) -> Logits:
    """By how much the logits of `after` lie below those of `before` in the mean; (classes,) float32.

    Rounding the weights shifts each logit by about the same on every picture (Nagel et al. 2019, Data-Free
    Quantization): what is known of an error can be taken off.
    """
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    errors = np.concatenate([before(batch) - one_by_one(after)(batch) for batch in batches])
    return errors.mean(axis=0, dtype=np.float64).astype(np.float32)  # type: ignore[no-any-return]


def _truth(photos: Sequence[Photo]) -> NDArray[np.int64]:
    return np.array([photo.label for photo in photos], np.int64)


def ask(
    photos: Sequence[Photo], size: int, networks: Sequence[Network]
) -> tuple[list[dict[str, Logits]], NDArray[np.bool_]]:
    """Show photos to networks as the edge would, by day and in infrared grey.

    Returns:
        For each network its (n, classes) float32 logits, by lighting; and (n,) whether a photo is grey as taken.
    """
    grey_as_taken: list[bool] = []
    parts: list[dict[str, list[Logits]]] = [{lighting: [] for lighting in LIGHTINGS} for _ in networks]
    for pictures in _batches(photos, size):
        grey_as_taken += [is_infrared(picture) for picture in pictures]
        grey = np.stack([infrared(picture) for picture in pictures])
        for network, found in zip(networks, parts, strict=True):
            found["day"].append(network(pictures))
            found["night"].append(network(grey))
    return [{lighting: np.concatenate(batches) for lighting, batches in found.items()} for found in parts], \
        np.array(grey_as_taken)


def _batches(photos: Sequence[Photo], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(photos), BATCH):
        some = photos[start : start + BATCH]
        yield np.stack([prepare(read_image(photo.path, at_least=size), size, order="BGR") for photo in some])
