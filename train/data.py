"""Which photos there are, what they show, and on which side of the split each one stands."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import EdgeWatchError, UsageError
from models.images import SUFFIXES

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
FOLDERS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SHARE = 0.15
"""Of each class, the share of validation photos and of test photos where the data does not say."""
LEAST = 5
"""Photos of a class: three to train on, one to validate and one to test."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled photo: `path` is relative to DATA with `/`; `split` is None until one is assigned."""

    path: str
    label: str
    split: Split | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """The photos of a folder DATA, sorted by path, and what was left out on the way."""

    root: Path
    photos: tuple[Photo, ...]
    excluded: int = 0
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted: the order of the model's outputs."""
        return tuple(sorted({photo.label for photo in self.photos}))


def find_photos(root: Path, exclude: Path | None = None) -> DataSet:
    """List the photos of class folders, or of train/val/test folders of class folders.

    Args:
        root: DATA. Files that are no pictures, and hidden ones, are ignored.
        exclude: a list of photos to leave out; see `read_exclude`.

    Raises:
        UsageError: no such folder, or no list.
        EdgeWatchError: no class folders, or a list that names none of the photos.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: expected a folder of photos, found {'a file' if root.exists() else 'none'}; "
                         f"name a folder with one folder of photos per class")
    folders = _folders(root)
    by_split = any(folder.name == "train" for folder in folders)
    photos: list[Photo] = []
    for folder in folders:
        if not by_split:
            photos += _class_photos(root, folder, None)
        elif folder.name in FOLDERS:
            for inner in _folders(folder):
                photos += _class_photos(root, inner, FOLDERS[folder.name])
    if not photos:
        raise EdgeWatchError(f"{root}: expected one folder of photos per class (or train, val and test folders of "
                             f"them), found no photos in such folders; put each class into a folder of its own")
    photos.sort(key=lambda photo: photo.path)
    return _without(DataSet(root, tuple(photos)), exclude) if exclude else DataSet(root, tuple(photos))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise EdgeWatchError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from error


def _class_photos(root: Path, folder: Path, split: Split | None) -> list[Photo]:
    found = []
    for parent, _, files in os.walk(folder):  # Links to folders are not followed: they may lead in circles.
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                path = (Path(parent) / name).relative_to(root).as_posix()
                found.append(Photo(path, folder.name, split))
    return found


def read_exclude(path: Path) -> tuple[str, ...]:
    """The photos that a list names: one path a line, or a CSV file with a column `path`.

    Raises:
        UsageError: no such file, or it is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a text file with one photo's path a line, found {error}; "
                         f"check --exclude") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and "path" in next(csv.reader([lines[0]])):
        return tuple(row["path"].strip() for row in csv.DictReader(io.StringIO(text)) if row["path"])
    return tuple(lines)


def _without(data: DataSet, exclude: Path) -> DataSet:
    listed = {entry.removeprefix("./") for entry in read_exclude(exclude)}
    prefix = data.root.resolve().name + "/"  # A list may also name photos from the folder above DATA.
    kept = tuple(p for p in data.photos if p.path not in listed and prefix + p.path not in listed)
    gone = len(data.photos) - len(kept)
    if listed and not gone:
        raise EdgeWatchError(f"{exclude}: expected paths relative to {data.root}, found none of its photos "
                             f"(the first is {min(listed)}); correct the list or leave --exclude out")
    notes = [f"excluded: {gone} photos, of {len(listed)} in {exclude}"]
    left = {photo.label for photo in kept}
    for name in data.names:
        if name not in left:
            total = sum(photo.label == name for photo in data.photos)
            notes.append(f"{name}: all {total} photos are excluded, so it is not a class")
    return DataSet(data.root, kept, gone, tuple(notes))


def check_classes(data: DataSet) -> None:
    """Refuse what cannot be trained on.

    Raises:
        EdgeWatchError: one class only, a class with fewer than `LEAST` photos, or one without training photos.
    """
    counts = Counter(photo.label for photo in data.photos)
    if len(counts) < 2:
        raise EdgeWatchError(f"{data.root}: expected at least 2 classes, found {len(counts)} "
                             f"({', '.join(counts) or 'none'}); add a folder of other photos, such as `empty`")
    few = [f"{name} ({counts[name]})" for name in sorted(counts) if counts[name] < LEAST]
    if few:
        raise EdgeWatchError(f"{data.root}: expected at least {LEAST} photos of each class, found fewer of "
                             f"{', '.join(few)}; add photos or remove the folder")
    trained = {photo.label for photo in data.photos if photo.split in ("train", None)}
    if missing := sorted(set(counts) - trained):
        raise EdgeWatchError(f"{data.root}: expected photos of each class in train, found none of "
                             f"{', '.join(missing)}; add some or remove the class from val and test")


def assign_splits(photos: Sequence[Photo], seed: int) -> tuple[Photo, ...]:
    """Give every photo a side: the one its folder names, else a stratified draw.

    What is missing (`val`, `test` or both) is drawn from each class's other photos: `SHARE` of them each, at least one.
    Photos of one group, that is with the same content, stay on one side.

    Args:
        photos: with `sha256`.
        seed: the same seed and photos give the same split.
    """
    wanted = [split for split in ("val", "test") if not any(photo.split == split for photo in photos)]
    groups: dict[str, dict[str, list[Photo]]] = defaultdict(lambda: defaultdict(list))
    for photo in photos:
        if photo.split in ("train", None):
            groups[photo.label][photo.sha256 or photo.path].append(photo)
    drawn: dict[str, Split] = {}
    for label in sorted(groups):
        order = [groups[label][key] for key in sorted(groups[label])]
        random.Random(f"{seed} {label}").shuffle(order)
        total = sum(len(group) for group in order)
        for split in wanted:
            need, got = max(1, round(SHARE * total)), 0
            while got < need and len(order) > 1:
                group = order.pop()
                got += len(group)
                drawn.update((photo.path, split) for photo in group)  # type: ignore[misc]
    fallback: Split = "train"
    return tuple(
        dataclasses.replace(photo, split=drawn.get(photo.path, photo.split or fallback)) for photo in photos
    )


def split_csv(photos: Iterable[Photo]) -> str:
    """The text of `split.csv`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "label", "split", "sha256"))
    writer.writerows((photo.path, photo.label, photo.split, photo.sha256) for photo in photos)
    return out.getvalue()


def licences(data: DataSet) -> dict[str, int]:
    """How many of the photos carry each licence, as `DATA/manifest.csv` states it; empty where there is none."""
    manifest = data.root / "manifest.csv"
    if not manifest.is_file():
        return {}
    prefix = data.root.resolve().name + "/"
    with manifest.open(newline="", encoding="utf-8") as file:
        stated = {row["path"].removeprefix(prefix): row["licence"] for row in csv.DictReader(file)
                  if row.get("path") and row.get("licence")}
    return dict(Counter(stated.get(photo.path, "not stated") for photo in data.photos).most_common())
