"""Measure a bundle, float or int8, on labelled photos; an int8 one without TensorFlow."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from models import page
from models.bundle import MANIFEST, SPLIT, ModelBundle, file_hash
from models.errors import EdgeWatchError
from models.manifest import LIGHTINGS
from train.measure import Network, keras_network
from train.photos.data import RUNS, DataSet, Photo
from train.photos.find import data_name, find_photos
from train.photos.pictures import decode
from train.quiet import import_tensorflow
from train.report.numbers import DATA, PAGE, LeftOut, Report, Subject, build
from train.report.page import files
from train.report.summary import WORDS, percent
from train.words import counted


def evaluate(
    bundle_path: Path, root: Path, exclude: Path | None, out: Path | None, as_json: bool,
    detections: Path | None = None,
) -> int:
    """`train evaluate`: a bundle's report on the photos of DATA as taken and in infrared-grey.

    Args:
        bundle_path: the bundle.
        root: DATA; where it has test photos, only those count.
        exclude: a list of photos to leave out, or None.
        out: the new folder; None is `runs/BUNDLE-on-DATA`. An earlier report is replaced.
        as_json: print the metrics as JSON instead of a table.
        detections: MegaDetector's file, or None for the one beside the photos.

    Raises:
        EdgeWatchError: no bundle, no photos, photos of classes that the bundle does not have, or no place to write.
    """
    bundle = ModelBundle.open(bundle_path)
    out = out or RUNS / f"{bundle_path.resolve().name}-on-{data_name(root)}"
    page.require_replaceable(out, (PAGE, DATA))
    data = find_photos(root, exclude, detections)
    photos = choose(bundle, data, root)
    network = _float(bundle) if bundle.is_float else _converted(bundle)
    working = _working(out)
    try:
        report, written = _report(bundle, root, data, photos, network, working)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    page.write_folder(out, written)
    if as_json:
        print(json.dumps({"bundle": str(bundle_path), "data": str(root), "report": str(out / DATA),
                          "left_out": report.subject.left_out.unreadable,
                          "metrics": {key: found.measured() for key, found in report.results.items()}}, indent=1))
    else:
        print(as_text(report))
    print(f"open {out / PAGE}", file=sys.stderr if as_json else sys.stdout)
    return 0


def _working(out: Path) -> Path:
    """A folder for the decoded photos: beside the report, as the system's own may lie in memory."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise EdgeWatchError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error


def choose(bundle: ModelBundle, data: DataSet, root: Path) -> tuple[Photo, ...]:
    """The photos to measure on: the test photos where DATA says which they are, else all.

    Raises:
        EdgeWatchError: photos of classes that the bundle does not have.
    """
    unknown = sorted(set(data.names) - set(bundle.labels.names))
    if unknown:
        raise EdgeWatchError(f"{root}: expected only classes of {bundle.title} ({', '.join(bundle.labels.names)}), "
                             f"found also {', '.join(unknown)}; leave them out: write a file with "
                             f"{'this name' if len(unknown) == 1 else 'these names'}, one a line, and name it with "
                             f"--exclude")
    return tuple(photo for photo in data.photos if photo.split == "test") or data.photos


def _report(
    bundle: ModelBundle, root: Path, data: DataSet, photos: tuple[Photo, ...], network: Network, working: Path
) -> tuple[Report, dict[str, str]]:
    pictures = decode(data.root, photos, bundle.manifest.input.size, working, lambda done: None)
    known = trained_on(bundle)
    doubts = () if known is not None else (_unknown(bundle, root, any(photo.split == "test" for photo in photos)),)
    for doubt in doubts:
        print(doubt, file=sys.stderr)
    rows = np.array([row for row, photo in enumerate(pictures.photos) if photo.sha256 not in (known or ())], np.int64)
    if not len(rows):
        raise EdgeWatchError(f"{root}: expected photos that {bundle.title} was not trained on, found none; "
                             f"name a folder with others")
    tested = [pictures.photos[row] for row in rows]
    truth = np.array([bundle.labels.names.index(photo.label) for photo in tested], np.int64)
    print(f"measuring on {counted(len(rows), 'photo')}", file=sys.stderr, flush=True)
    scheme = bundle.manifest.quantization.scheme
    report = build(Subject(
        title=bundle.title, kind="float" if scheme == "none" else scheme,
        bundle=str(bundle.path), data=str(root), names=bundle.labels.names, temperature=bundle.manifest.temperature,
        points=bundle.manifest.operating_points, doubts=doubts,
        left_out=LeftOut(pictures.broken, data.excluded, len(pictures.photos) - len(rows), data.notes),
    ), network, pictures.pixels, rows, truth, [photo.name for photo in tested])
    return report, files(report, pictures.pixels)


def _unknown(bundle: ModelBundle, root: Path, given: bool) -> str:
    """Why the numbers may be too good where nothing tells what a bundle was trained on."""
    return f"{bundle.title} does not say what it was trained on: " + (
        f"the test photos of {root} only count as unseen if this is the data that it was trained on, with the same "
        f"split" if given else "if it was on these photos, the numbers are too good")


def trained_on(bundle: ModelBundle) -> set[str] | None:
    """The sha256 of the photos that a bundle was trained, validated or calibrated on; None where nothing tells.

    A converted bundle has no list of them, but it names the float bundle that it was made from: if that is where it
    was, or beside it, and still the same, its list counts.
    """
    parent = bundle.manifest.provenance.parent
    places = [bundle.path]
    if parent:
        stated = Path(parent["path"])
        places = [place for place in (stated, bundle.path.parent / stated.name)
                  if (place / MANIFEST).is_file() and file_hash(place / MANIFEST) == parent["sha256"]]
    for place in places:
        if (place / SPLIT).is_file():
            with (place / SPLIT).open(newline="", encoding="utf-8") as file:
                return {row["sha256"] for row in csv.DictReader(file) if row["split"] in ("train", "val")}
    return None


def _converted(bundle: ModelBundle) -> Network:
    from models.classifier import Classifier

    network = Classifier(bundle, os.cpu_count() or 1).interpreter
    return lambda pictures: np.stack([network.run(picture) for picture in pictures])


def _float(bundle: ModelBundle) -> Network:
    import_tensorflow()
    import keras

    return keras_network(keras.saving.load_model(bundle.model, compile=False))


def as_text(report: Report) -> str:
    """The metrics as lines of text."""
    subject, day = report.subject, report.results["day"].metrics
    names = [name for name in subject.names if day.per_class[name].n]
    wide = max(len(name) for name in (*names, "class"))
    lines = [f"{subject.title} ({subject.kind}) on {subject.data}: {counted(day.n, 'photo')}, "
             f"{len(subject.left_out.unreadable)} could not be read", "",
             "class".ljust(wide) + f"{'n':>6}" + "".join(f"{'precision':>12}{title:>17}" for title in
                                                         ("recall as taken", "recall in grey"))]
    for name in names:
        found = [report.results[key].classes[name] for key in LIGHTINGS]
        cells = [f"{percent(each.precision):>12}{percent(each.recall):>17}" for each in found]
        lines.append(f"{name.ljust(wide)}{found[0].n:>6}{''.join(cells)}")
    for key in LIGHTINGS:
        metrics = report.results[key].metrics
        lines.append(f"{WORDS[key]}: accuracy {metrics.accuracy:.1%}, macro-F1 {metrics.macro_f1:.1%}, "
                     f"top-3 {metrics.top3:.1%}, calibration error {metrics.calibration_error:.1%}")
    return "\n".join(lines)
