"""Photos with their labels, and what can be trained on."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from models.boxes import Box, as_text
from models.errors import EdgeWatchError
from models.images import SUFFIXES
from train.words import some

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SIDES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test", "holdout": "test",
}
"""What split folders, and the cells of a column `split`, are called, in lower case."""
RUNS = Path("runs")
"""Where results go unless --out says otherwise."""
LEAST = 5
"""Photos of a class: three to train on, one to validate and one to test."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled photo: `path` is relative to DATA with `/`; `split` is None until one is assigned.

    `box`: the animal's, where only the square around it is looked at (`models.boxes`); None for the whole photo. A
    photo with several boxes is there several times.
    `location` and `sequence` (frames of one burst), and `timestamp` (ISO 8601) are as a table states them, else empty;
    `sha256` and `fingerprint` (see `train.photos.duplicates`) are empty until the photo is read.
    """

    path: str
    label: str
    split: Split | None = None
    sha256: str = ""
    location: str = ""
    sequence: str = ""
    timestamp: str = ""
    fingerprint: bytes = b""
    box: Box | None = None

    @property
    def name(self) -> str:
        """The path, and the box where there is one: what tells it from all others."""
        return f"{self.path} [{as_text(self.box)}]" if self.box else self.path


@dataclass(frozen=True, slots=True)
class DataSet:
    """The photos of DATA, sorted by path, and what was left out on the way.

    `root` is the folder that paths are relative to; `table` the CSV file, where DATA is one. `empty`: class folders
    without a picture. `unlabelled`: photos that the data says nothing about; a detector may. `scientific`: scientific
    names by class, where DATA states them.
    """

    root: Path
    photos: tuple[Photo, ...]
    excluded: int = 0
    notes: tuple[str, ...] = ()
    table: Path | None = None
    empty: tuple[str, ...] = ()
    unlabelled: tuple[Photo, ...] = ()
    scientific: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted: the order of the model's outputs."""
        return tuple(sorted({photo.label for photo in self.photos}))


def beside(root: Path, path: str) -> str:
    """A path as a file writes it, from `root`: there it may begin with that folder's name, or be Windows'."""
    prefix = root.resolve().name + "/"
    for tried in (path, path.replace("\\", "/")):
        for found in (tried, tried.removeprefix(prefix)):
            if os.path.exists(root / found):  # Unlike Path.exists it takes every text.
                return found.removeprefix("./")
    return path


def check_classes(data: DataSet) -> None:
    """Refuse what cannot be trained on.

    Raises:
        EdgeWatchError: a class folder without photos, one class only, a class with fewer than `LEAST` photos, or one
            without training photos.
    """
    if data.empty:
        raise EdgeWatchError(f"{data.root}: expected photos in each class folder, found none in "
                             f"{some(data.empty)}; add photos ({' '.join(sorted(SUFFIXES))}) or remove the folder")
    counts = Counter(photo.label for photo in data.photos)
    if len(counts) < 2:
        raise EdgeWatchError(f"{data.root}: expected at least 2 classes, found {len(counts)} "
                             f"({', '.join(counts) or 'none'}); add a folder of other photos, such as `empty`")
    few = [f"{name} ({counts[name]})" for name in sorted(counts) if counts[name] < LEAST]
    if few:
        raise EdgeWatchError(f"{data.root}: expected at least {LEAST} photos of each class, found fewer of "
                             f"{some(few)}; add photos, remove the class or leave it out with --exclude")
    trained = {photo.label for photo in data.photos if photo.split in ("train", None)}
    if missing := sorted(set(counts) - trained):
        raise EdgeWatchError(f"{data.root}: expected photos of each class in train, found none of "
                             f"{some(missing)}; add some or remove the class from val and test")
