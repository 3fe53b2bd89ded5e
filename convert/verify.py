"""The float file and the converted one, side by side on the photos of split.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.boxes import Box, from_text, seen
from models.bundle import SPLIT, ModelBundle, file_hash
from models.errors import BundleError, EdgeWatchError
from models.evaluation import calibrate, measure, paired, softmax
from models.images import read_file
from models.interpreter import Interpreter
from models.manifest import LIGHTINGS, Changed, Comparison, Metrics, OperatingPoint
from models.preprocess import infrared, is_infrared

Logits = NDArray[np.float32]
Answers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled photo; `label` is a class index, `name` its path relative to the data folder.

    `box`: the animal's, where only the square around it is looked at; None for the whole photo.
    """

    path: Path
    label: int
    name: str
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What the converted file does on photos, and how that differs from the float one.

    `metrics` (of the converted file) and `compared` are by lighting and measured on the test photos; `temperature` and
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
        wanted[row["split"]].append(_photo(bundle, row, path))
    if missing or changed:
        raise EdgeWatchError(
            f"{root}: expected the {len(wanted['test'])} test and {len(wanted['val'])} validation photos of {SPLIT}, "
            f"found {len(missing)} missing and {len(changed)} changed (first: {[*missing, *changed][0]}); "
            f"{'name the folder that they are in now' if data else 'type --data DIR if they have moved'}, "
            f"or --no-verify to convert without comparing"
        )
    if not wanted["test"] or not wanted["val"]:
        raise EdgeWatchError(f"{bundle.path / SPLIT}: expected validation and test photos, found {len(wanted['val'])} "
                             f"and {len(wanted['test'])}; type --no-verify to convert without comparing")
    return wanted


def _photo(bundle: ModelBundle, row: Mapping[str, str], path: Path) -> Photo:
    text = row.get("box", "")
    try:
        box = from_text(text)
    except ValueError as error:
        raise BundleError(f"{bundle.path / SPLIT}: {error} of {row['path']}; train the model again, or type "
                          f"--no-verify") from error
    return Photo(path, bundle.labels.names.index(row["label"]), f"{row['path']} [{text}]" if box else row["path"], box)


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


def verify(
    names: Sequence[str], photos: Mapping[str, Sequence[Photo]], before: Interpreter, after: Interpreter,
    temperature: float | None = None,
) -> Proof:
    """Run both files on the test photos and the new one on the validation photos, as taken and in infrared grey.

    Args:
        names: the classes' names, in order.
        photos: `val` and `test`, as `find_photos` gives them.
        before: the float32 file.
        after: the converted file.
        temperature: the float model's; fitted on the validation photos, as the converted one's always is, when None.
    """
    networks = [after] if temperature is not None else [after, before]
    val, grey = ask(photos["val"], networks)
    val_truth = _truth(photos["val"])
    own, points = calibrate(val[0], val_truth, names, grey)
    if temperature is None:
        temperature, _ = calibrate(val[1], val_truth, names, grey)
    (float_logits, logits), _ = ask(photos["test"], [before, after])
    truth = _truth(photos["test"])
    metrics: dict[str, Metrics] = {}
    compared: dict[str, Comparison] = {}
    for lighting in LIGHTINGS:
        metrics[lighting] = measure(softmax(logits[lighting], own), truth, names)
        reference = measure(softmax(float_logits[lighting], temperature), truth, names)
        answers = [found[lighting].argmax(axis=1) for found in (float_logits, logits)]
        compared[lighting] = _compare(photos["test"], names, reference, metrics[lighting], *answers)
    return Proof(own, points, metrics, compared)


def _compare(
    photos: Sequence[Photo], names: Sequence[str], reference: Metrics, metrics: Metrics, before: Answers, after: Answers
) -> Comparison:
    """What changed on photos; `before` and `after` are (n,) class indexes."""
    truth = _truth(photos)
    lost, gained = (int(found.sum()) for found in ((before == truth) & (after != truth),
                                                   (before != truth) & (after == truth)))
    low, high = paired(lost, gained, len(photos))
    return Comparison(
        len(photos), reference.accuracy, metrics.accuracy, float((before == after).mean()), reference.per_class,
        reference.calibration_error, metrics.calibration_error, (lost - gained) / len(photos), low, high,
        tuple(Changed(photo.name, names[photo.label], names[was], names[now])
              for photo, was, now in zip(photos, before, after, strict=True) if was != now),
    )


def _truth(photos: Sequence[Photo]) -> NDArray[np.int64]:
    return np.array([photo.label for photo in photos], np.int64)


def ask(
    photos: Sequence[Photo], networks: Sequence[Interpreter]
) -> tuple[list[dict[str, Logits]], NDArray[np.bool_]]:
    """Show photos to networks as the edge would, as taken and in infrared grey.

    Returns:
        For each network its (n, classes) float32 logits, by lighting; and (n,) whether a photo is grey as taken.
    """
    grey_as_taken: list[bool] = []
    parts: list[dict[str, list[Logits]]] = [{lighting: [] for lighting in LIGHTINGS} for _ in networks]
    for photo in photos:
        size = networks[0].size
        picture = seen(read_file(photo.path), str(photo.path), size, photo.box)
        grey_as_taken.append(is_infrared(picture))
        for lighting, shown in zip(LIGHTINGS, (picture, infrared(picture)), strict=True):
            for network, found in zip(networks, parts, strict=True):
                found[lighting].append(network.run(shown))
    return [{lighting: np.stack(rows) for lighting, rows in found.items()} for found in parts], np.array(grey_as_taken)
