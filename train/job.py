"""One training from the photos to the bundle."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.boxes import as_text
from models.bundle import CALIBRATION, CARD, GOLDEN, KERAS, SPLIT, ModelBundle, write_bundle
from models.errors import EdgeWatchError
from models.labels import LabelMap
from models.manifest import LIGHTINGS, Provenance
from train import package, stop, teacher
from train.card import card
from train.distribute import devices
from train.fit import Trained, fit
from train.measure import Network, keras_network
from train.partial import Partial
from train.photos.data import SPLITS, DataSet, Photo, check_classes
from train.photos.origin import licences
from train.photos.pictures import Pictures, decode
from train.photos.splits import divide, doubts, split_csv
from train.pipeline import Examples
from train.recipe import Recipe
from train.report.numbers import PAGE, LeftOut, Report, Subject, build
from train.report.page import files
from train.report.summary import WORDS
from train.words import counted, some
from train.workers import Team

Say = Callable[[str], None]
Rows = NDArray[np.int64]
VERBS = {"train": "train", "val": "validate", "test": "test"}
"""What the photos of each side are there for."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, and where the result goes.

    `labels`: the classes of the photos. `about`: what DATA says of itself, for the card.
    """

    data: DataSet
    labels: LabelMap
    about: str
    recipe: Recipe
    out: Path
    name: str
    version: str
    command: str
    force: bool = False
    partial: Partial | None = None
    """What an earlier run had reached, and where this one's checkpoints go."""
    split: Path | None = None
    """A `split.csv` to use again."""
    teachers: tuple[ModelBundle, ...] = ()
    """Of the recipe, opened."""
    team: Team | None = None
    """The machines that fine-tune together; the chief does all else."""

    @property
    def versions(self) -> dict[str, str]:
        """What the result depends on beside the recipe and the photos."""
        taught = ", ".join(map(teacher.about, self.teachers))
        return package.versions() | ({"teacher": taught} if taught else {})


@dataclass(frozen=True, slots=True)
class Material:
    """What is trained and measured on.

    `data` has the photos of `pictures`, row by row. `truth`: (n,) class indexes. `sides`: the rows of each split.
    `notes`: what was left out and why, but for photos that could not be read.
    """

    data: DataSet
    pictures: Pictures
    labels: LabelMap
    truth: Rows
    sides: dict[str, Rows]
    notes: tuple[str, ...]


def train(job: Job, working: Path, say: Say) -> ModelBundle | None:
    """Train and write the bundle, whole or not at all; on all machines of a team but the chief there is none.

    Args:
        job: what to do.
        working: a folder for what is needed only meanwhile; the caller removes it.
        say: shows a line.
    """
    started = time.monotonic()
    material = _read(job, working, say)
    sides, truth = material.sides, material.truth
    for bundle in job.teachers:
        teacher.require_same_sides(bundle, material.data.photos)
    say("photos: " + ", ".join(f"{len(rows)} {split}" for split, rows in sides.items()))
    listed, libraries = split_csv(material.data.photos), {
        key: found for key, found in job.versions.items() if key in ("tensorflow", "keras", "teacher")}
    if job.team:
        job.team.agree(job.versions | {"photos and split": hashlib.sha256(_anywhere(material)).hexdigest()[:12]})
    found = devices(job.recipe, job.team)
    if job.partial:
        job.partial.begin(listed, libraries | {"precision": found.policy})
    if not found.plain:
        say(found.describe())
    trained = fit(job.recipe, Examples(
        pixels=material.pictures.pixels, truth=truth, train=sides["train"], val=sides["val"],
        blank=sides["train"][np.isin(truth[sides["train"]], material.labels.of_type("blank"))],
        classes=len(material.labels),
        teacher=teacher.said_by(job.teachers, job.recipe.teacher_temperature, working),
    ), working, say, job.partial, job.partial.logs if job.partial else None, found)
    if job.team and not job.team.task.chief:
        job.team.gather(None)  # The chief's bundle is there.
        print(f"{job.team.task.name(job.team.task.index)}: took part in fine-tuning up to epoch "
              f"{max(0, len(trained.history) - 1)}; the bundle is with {job.team.task.name(0)}")
        return None
    say("measuring")
    network = keras_network(trained.model)
    report = _measure(job, material, trained, network)
    bundle = _write(job, material, trained, report, {
        KERAS: package.save_keras(trained.model, working),
        GOLDEN: package.golden(network, job.recipe.size),
    }, job.versions | found.about)
    if job.team:
        job.team.gather(None)
    _summary(bundle, started, say)
    return bundle


def _anywhere(material: Material) -> bytes:
    """What photos are learned from, and how: the same wherever the folder lies."""
    return json.dumps([[photo.sha256, as_text(photo.box), photo.label, str(photo.split)]
                       for photo in material.data.photos]).encode()


def _read(job: Job, working: Path, say: Say) -> Material:
    total = len(job.data.photos)

    def progress(done: int) -> None:
        stop.check()
        if done % 500 == 0 or done == total:
            say(f"looked at {done} of {total} photos")

    pictures = decode(job.data.root, job.data.photos, job.recipe.size, working, progress)
    for line in pictures.broken[:20]:
        say(f"left out: {line}")
    if pictures.broken:
        say(_unreadable(pictures))
    _require_classes(job, pictures.photos, "copy them again")
    photos, said = divide(pictures.photos, job.recipe.seed, job.split, job.data.root)
    for note in said:
        say(note)
    pictures = pictures.keep(photos)
    data = replace(job.data, photos=pictures.photos)
    _require_classes(job, data.photos, "correct the list of --split")
    check_classes(data)
    sides = {str(split): np.flatnonzero([photo.split == split for photo in data.photos]) for split in SPLITS}
    if missing := [verb for split, verb in VERBS.items() if not len(sides[split])]:
        raise EdgeWatchError(f"{data.root}: expected photos to {' and '.join(missing)} on, found none: all photos of "
                             f"each class belong together (copies, or frames of one sequence); add others")
    return Material(
        data, pictures, job.labels,
        np.array([job.labels.names.index(photo.label) for photo in data.photos], np.int64), sides,
        (*data.notes, *said),
    )


def _require_classes(job: Job, photos: Sequence[Photo], advice: str) -> None:
    """Refuse to train on fewer classes than DATA has: a class must not vanish because of what was left out."""
    if lost := sorted(set(job.labels.names) - {photo.label for photo in photos}):
        raise EdgeWatchError(f"{job.data.root}: expected photos of each class, found none left of {some(lost)} after "
                             f"leaving out what cannot be used; {advice}, or leave the class out with --exclude")


def _unreadable(pictures: Pictures) -> str:
    count = len(pictures.broken)
    return f"{counted(count, 'photo')} could not be read and {'was' if count == 1 else 'were'} left out"


def _notes(material: Material, trained: Trained) -> tuple[str, ...]:
    """What report and card say besides the numbers."""
    if not trained.interrupted:
        return material.notes
    epochs = counted(len(trained.history) - 1, "epoch")
    return (*material.notes, f"the training was interrupted after {epochs} of fine-tuning")


def _measure(job: Job, material: Material, trained: Trained, network: Network) -> Report:
    names, pixels = material.labels.names, material.pictures.pixels
    val, test = material.sides["val"], material.sides["test"]
    temperature, points = package.calibrated(network, pixels, val, material.truth[val], names)
    return build(Subject(
        title=f"{job.name} {job.version}", kind="float", bundle=str(job.out), data=str(job.data.root), names=names,
        temperature=temperature, points=points, history=trained.history, kept=trained.kept,
        doubts=doubts(material.notes),
        left_out=LeftOut(material.pictures.broken, job.data.excluded, notes=_notes(material, trained)),
    ), network, pixels, test, material.truth[test], [material.data.photos[row].name for row in test])


def _write(
    job: Job, material: Material, trained: Trained, report: Report, network: dict[str, bytes | Path],
    versions: dict[str, str],
) -> ModelBundle:
    data, recipe, pictures, labels = material.data, job.recipe, material.pictures, material.labels
    images, counts = package.calibration(pictures.pixels, material.truth, material.sides["train"], labels.names,
                                         recipe.calibration, recipe.seed)
    notes = [*_notes(material, trained), *([_unreadable(pictures)] if pictures.broken else [])]
    provenance = Provenance(
        command=job.command, created=package.now(), versions=versions, data=str(data.root),
        photos={split: len(rows) for split, rows in material.sides.items()}, backbone=recipe.backbone,
        weights=recipe.weights, seed=recipe.seed, left_out=len(pictures.broken), excluded=data.excluded,
        settings=asdict(recipe),
    )
    manifest = package.manifest(job.name, job.version, recipe.size, labels, report, counts, provenance)
    text = card(manifest, labels, report, licences(data), notes, job.about)
    return write_bundle(job.out, manifest, labels, {
        **network,
        CALIBRATION: images,
        SPLIT: split_csv(data.photos).encode(),
        CARD: text.encode(),
        # Names of files may hold bytes that are no UTF-8.
        **{name: content.encode(errors="backslashreplace") for name, content in files(report, pictures.pixels).items()},
    }, job.force)


def _summary(bundle: ModelBundle, started: float, say: Say) -> None:
    for lighting in LIGHTINGS:
        found = bundle.manifest.metrics[lighting]
        say(f"test photos {WORDS[lighting]}: {found.accuracy:.1%} of {found.n} right, macro-F1 {found.macro_f1:.1%}")
    seconds = time.monotonic() - started
    took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    print(f"{bundle.path}: {bundle.title}, float; {took}. See {bundle.path / PAGE}. "
          f"Next: {shlex.join(['convert', '--quantize', 'int8', str(bundle.path)])}")
