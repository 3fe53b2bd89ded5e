"""One training from the photos to the bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import CALIBRATION, CARD, GOLDEN, KERAS, SPLIT, ModelBundle, write_bundle
from models.labels import Label, LabelMap, scientific_names
from models.manifest import Provenance
from train import package
from train.card import card
from train.data import SPLITS, DataSet, assign_splits, check_classes, licences, split_csv
from train.fit import Trained, fit
from train.pictures import Pictures, decode
from train.pipeline import Examples
from train.recipe import Recipe
from train.report import confusion_png, curves_png

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, and where the result goes."""

    data: DataSet
    recipe: Recipe
    out: Path
    name: str
    version: str
    command: str
    force: bool = False


def train(job: Job, working: Path, say: Say) -> ModelBundle:
    """Train and write the bundle, whole or not at all.

    Args:
        job: what to do.
        working: a folder for what is needed only meanwhile; the caller removes it.
        say: shows a line.
    """
    started = time.monotonic()
    data, pictures = _read(job, working, say)
    names = data.names
    truth = np.array([names.index(photo.label) for photo in data.photos], np.int64)
    sides = {str(split): np.flatnonzero([photo.split == split for photo in data.photos]) for split in SPLITS}
    say("photos: " + ", ".join(f"{len(rows)} {split}" for split, rows in sides.items()))
    labels = LabelMap(Label.from_name(name, scientific_names(data.root)) for name in names)
    trained = fit(job.recipe, Examples(
        pixels=pictures.pixels, truth=truth, train=sides["train"], val=sides["val"],
        blank=sides["train"][np.isin(truth[sides["train"]], labels.of_type("blank"))], classes=len(names),
    ), working, say)
    say("measuring")
    bundle = _write(job, working, data, pictures, labels, truth, sides, trained)
    _summary(bundle, started, say)
    return bundle


def _read(job: Job, working: Path, say: Say) -> tuple[DataSet, Pictures]:
    total = len(job.data.photos)

    def progress(done: int) -> None:
        if done % 500 == 0 or done == total:
            say(f"read {done} of {total} photos")

    pictures = decode(job.data.root, job.data.photos, job.recipe.size, working, progress)
    for line in pictures.broken[:20]:
        say(f"left out: {line}")
    notes = list(job.data.notes)
    if pictures.broken:
        notes.append(f"{len(pictures.broken)} photos could not be read and were left out")
        say(notes[-1])
    data = replace(job.data, photos=assign_splits(pictures.photos, job.recipe.seed), notes=tuple(notes))
    check_classes(data)
    return data, pictures


def _write(
    job: Job, working: Path, data: DataSet, pictures: Pictures, labels: LabelMap, truth: NDArray[np.int64],
    sides: dict[str, NDArray[np.int64]], trained: Trained,
) -> ModelBundle:
    names, recipe, model = labels.names, job.recipe, trained.model
    findings = package.find_out(model, pictures.pixels, truth, sides, names)
    images, counts = package.calibration(pictures.pixels, truth, sides["train"], names, recipe.calibration, recipe.seed)
    notes = list(data.notes)
    if trained.interrupted:
        notes.append(f"the training was interrupted after {len(trained.history)} epochs")
    provenance = Provenance(
        command=job.command, created=package.now(), versions=package.versions(), data=str(data.root),
        photos={split: len(rows) for split, rows in sides.items()}, backbone=recipe.backbone,
        weights=recipe.weights, seed=recipe.seed, left_out=len(pictures.broken), excluded=data.excluded,
        settings=asdict(recipe),
    )
    manifest = package.manifest(job.name, job.version, recipe.size, labels, findings, counts, provenance)
    about = data.root / "ABOUT.md"
    text = card(manifest, labels, findings.confusions, licences(data), notes,
                about.read_text(encoding="utf-8") if about.is_file() else "")
    titles = {"day": "By day", "night": "In infrared-grey"}
    return write_bundle(job.out, manifest, labels, {
        KERAS: package.save_keras(model, working),
        CALIBRATION: images,
        GOLDEN: package.golden(model, recipe.size),
        SPLIT: split_csv(data.photos).encode(),
        CARD: text.encode(),
        "confusion.png": confusion_png({titles[key]: table for key, table in findings.confusions.items()}, names),
        "curves.png": curves_png(trained.history),
    }, job.force)


def _summary(bundle: ModelBundle, started: float, say: Say) -> None:
    for lighting, name in (("day", "by day"), ("night", "in infrared-grey")):
        found = bundle.manifest.metrics[lighting]
        say(f"test photos {name}: {found.accuracy:.1%} of {found.n} right, macro-F1 {found.macro_f1:.1%}")
    print(f"{bundle.path}: {bundle.title}, float; {(time.monotonic() - started) / 60:.0f} min. "
          f"Next: convert --quantize int8 {bundle.path}")
