"""Which photos there are, and what they show: from folders or from a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from models.errors import EdgeWatchError, UsageError
from models.images import SUFFIXES
from train.photos.table import Row, has_header, read_table, taken
from train.texts import read_text
from train.words import some

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SIDES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test", "holdout": "test",
}
"""What split folders, and the cells of a column `split`, are called, in lower case."""
OTHERS = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng", ".raw", ".nef", ".cr2", ".cr3", ".arw"})
"""Pictures that are not read: phones' and studio cameras' formats, and GIF, which shrinks colours to 256."""
RUNS = Path("runs")
"""Where results go unless --out says otherwise."""
LEAST = 5
"""Photos of a class: three to train on, one to validate and one to test."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled photo: `path` is relative to DATA with `/`; `split` is None until one is assigned.

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


@dataclass(frozen=True, slots=True)
class DataSet:
    """The photos of DATA, sorted by path, and what was left out on the way.

    `root` is the folder that paths are relative to; `table` the CSV file, where DATA is one. `empty`: class folders
    without a picture.
    """

    root: Path
    photos: tuple[Photo, ...]
    excluded: int = 0
    notes: tuple[str, ...] = ()
    table: Path | None = None
    empty: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted: the order of the model's outputs."""
        return tuple(sorted({photo.label for photo in self.photos}))


def find_photos(data: Path, exclude: Path | None = None) -> DataSet:
    """List the photos of class folders, of train/val/test folders of class folders, or of a CSV file.

    Args:
        data: DATA. In folders, files that are no pictures, and hidden ones, are ignored, and so is a folder `runs`
            without a picture: there the results lie of who trains in DATA itself. A CSV file has the columns `path`,
            relative to its folder, and `label`, and may have `split`, `location`, `sequence` and `timestamp` (other
            names for them: `train.photos.table.COLUMNS`).
        exclude: a list of photos to leave out; see `read_exclude`.

    Raises:
        UsageError: no such folder or file, or no list.
        EdgeWatchError: no class folders, a table that lacks something, or a list that names none of the photos.
    """
    if data.is_file():
        found = _listed(data)
    elif data.is_dir():
        found = _filed(data)
    else:
        raise UsageError(f"{data}: expected a folder of photos, or a CSV file that lists some, found none; name a "
                         f"folder with one folder of photos per class")
    return _without(found, exclude) if exclude else found


def data_name(data: Path) -> str:
    """What DATA is called: a folder's name, or a CSV file's without `.csv`."""
    return data.resolve().stem if data.is_file() else data.resolve().name


def _filed(root: Path) -> DataSet:
    folders = _folders(root)
    by_split = any(SIDES.get(folder.name.lower()) == "train" for folder in folders)
    classes: list[tuple[Path, Split | None]] = [(folder, None) for folder in folders]
    notes = []
    if by_split:
        classes = [(inner, SIDES[folder.name.lower()]) for folder in folders if folder.name.lower() in SIDES
                   for inner in _folders(folder)]
        if apart := [folder.name for folder in folders if folder.name.lower() not in SIDES]:
            notes.append(f"left out, beside train, val and test: {some(apart)}")
    photos: list[Photo] = []
    unread: Counter[str] = Counter()
    parents = {folder.parent.resolve() for folder, _ in classes}
    for folder, split in classes:
        if any(parent.is_relative_to(folder.resolve()) for parent in parents):
            notes.append(f"left out: {folder.relative_to(root)} is a link to a folder with all classes in it")
            continue
        photos += (Photo(path, folder.name, split) for path in _pictures(root, folder, unread))
    if not photos:
        raise EdgeWatchError(f"{root}: expected one folder of photos per class (or train, val and test folders of "
                             f"them), found no photos in such folders; put each class into a folder of its own")
    if unread:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
        notes.append(f"left out: {kinds}, which are not read; save them as JPEG or PNG")
    photos.sort(key=lambda photo: photo.path)
    full = {photo.label for photo in photos}
    empty = {folder.name for folder, _ in classes if not folder.is_symlink() and folder != root / RUNS} - full
    return DataSet(root, tuple(photos), notes=tuple(notes), empty=tuple(sorted(empty)))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> EdgeWatchError:
    return EdgeWatchError(f"{error.filename}: cannot be read: {error.strerror}; check its permissions")


def _pictures(root: Path, folder: Path, unread: Counter[str]) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise _unreadable(error) from error

    # A class folder may be a link; links below it are not followed: they may lead in circles.
    for parent, _, files in os.walk(folder, onerror=refuse):
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in SUFFIXES:
                yield (Path(parent) / name).relative_to(root).as_posix()
            elif suffix in OTHERS:
                unread[suffix] += 1


def _listed(table: Path) -> DataSet:
    rows = read_table(table, ("path", "label"))
    root, prefix = table.parent, table.resolve().parent.name + "/"
    notes: list[str] = []
    if blank := [str(row.line) for row in rows if not row.label]:
        raise EdgeWatchError(f"{table}: expected a label in each line, found none in line {some(blank)}; fill it in "
                             f"(`empty` where there is no animal) or remove the line")
    if not rows:
        raise EdgeWatchError(f"{table}: expected a photo in each line below the header, found no such line; add the "
                             f"photos or name another file")
    sides = _sides(table, rows, notes)
    photos: dict[str, Photo] = {}
    lines: dict[str, int] = {}
    untimed = []
    for row, split in zip(rows, sides, strict=True):
        path = _beside(root, prefix, row.path)
        known = photos.get(path)
        if known and known.label != row.label:
            raise EdgeWatchError(f"{table}: expected one label for each photo, found {path} as {known.label} in line "
                                 f"{lines[path]} and as {row.label} in line {row.line}; keep one of them")
        time = taken(row.timestamp)
        if row.timestamp and not time:
            untimed.append(str(row.line))
        lines.setdefault(path, row.line)
        photos[path] = known or Photo(path, row.label, split, location=row.location, sequence=row.sequence,
                                      timestamp=time.isoformat() if time else "")
    if not any(os.path.exists(root / path) for path in photos):
        raise EdgeWatchError(f"{table}: expected paths relative to {root}, found none of its {len(photos)} photos "
                             f"there (the first is {next(iter(photos))}); correct them or move the file")
    if len(rows) > len(photos):
        notes.append(f"{table.name} lists {len(rows) - len(photos)} photos twice; each counts once")
    if untimed:
        notes.append(f"{table.name}: {len(untimed)} timestamps are no time as 2026-05-31T04:15:00 (line "
                     f"{some(untimed)}), so they are not used")
    return DataSet(root, tuple(photos[path] for path in sorted(photos)), notes=tuple(notes), table=table)


def _sides(table: Path, rows: list[Row], notes: list[str]) -> list[Split | None]:
    stated = {row.split.lower() for row in rows}
    if len(stated) == 1 and not stated & {*SIDES, ""}:
        notes.append(f"{table.name}: the split is {rows[0].split} for every photo, which divides nothing, so a new one "
                     f"is drawn")
        return [None] * len(rows)
    for row in rows:
        if row.split and row.split.lower() not in SIDES:
            raise EdgeWatchError(f"{table}: expected the split to be train, val, test or empty, found {row.split} in "
                                 f"line {row.line}; correct it or remove the column")
    return [SIDES.get(row.split.lower()) for row in rows]


def _beside(root: Path, prefix: str, path: str) -> str:
    """A path as written in a table, from the table's folder: it may begin with that folder's name, or be Windows'."""
    for tried in (path, path.replace("\\", "/")):
        for found in (tried, tried.removeprefix(prefix)):
            if os.path.exists(root / found):  # Unlike Path.exists it takes every text.
                return found.removeprefix("./")
    return path


def read_exclude(path: Path) -> tuple[str, ...]:
    """The photos, folders and classes that a list names: one a line, or a CSV file with a column `path`.

    Raises:
        UsageError: no such file, or it is no text.
    """
    text = read_text(path, "a text file with one photo's path a line", "check --exclude")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and has_header(lines[0]):
        return tuple(row.path for row in read_table(path, ("path",), "--exclude"))
    return tuple(lines)


def _without(data: DataSet, exclude: Path) -> DataSet:
    prefix = data.root.resolve().name + "/"  # A list may also name photos from the folder above DATA.
    listed = {entry.removeprefix("./").rstrip("/") for entry in read_exclude(exclude)}
    kept: list[Photo] = []
    taken_by: Counter[str] = Counter()
    idle = set(listed)
    for photo in data.photos:
        steps = photo.path.split("/")
        above = ["/".join(steps[:depth]) for depth in range(len(steps), 0, -1)]
        names = [name for step in above for name in (step, prefix + step)] + [photo.label]
        entry = next((name for name in names if name in listed), None)
        idle.difference_update(names)
        if entry is None:
            kept.append(photo)
        else:
            taken_by[entry] += 1
    gone = len(data.photos) - len(kept)
    if listed and not gone:
        raise EdgeWatchError(f"{exclude}: expected paths relative to {data.root}, found none of its photos "
                             f"(the first is {min(listed)}); correct the list or leave --exclude out")
    notes = [f"excluded: {gone} photos, by {len(taken_by)} of the {len(listed)} entries of {exclude}"
             + (f"; these name no photo: {some(sorted(idle), 3)}" if idle else "")]
    if many := [f"{count} of {entry}" for entry, count in sorted(taken_by.items()) if count > 1]:
        notes.append(f"excluded by folder or class: {some(many)}")
    left = {photo.label for photo in kept}
    for name in data.names:
        if name not in left:
            total = sum(photo.label == name for photo in data.photos)
            notes.append(f"{name}: all {total} photos are excluded, so it is not a class")
    return replace(data, photos=tuple(kept), excluded=gone, notes=(*data.notes, *notes))


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
