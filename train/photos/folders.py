"""Photos in class folders, or in train, val and test folders of such."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from models.errors import EdgeWatchError
from models.images import SUFFIXES
from train.photos.data import RUNS, SIDES, DataSet, Photo, Split
from train.photos.marks import marked
from train.words import some

OTHERS = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng", ".raw", ".nef", ".cr2", ".cr3", ".arw"})
"""Pictures that are not read: phones' and studio cameras' formats, and GIF, which shrinks colours to 256."""


def filed(root: Path) -> DataSet:
    """The photos of class folders; files that are no pictures, and hidden ones, are ignored.

    So is a folder `runs` without a picture: there the results lie of who trains in DATA itself. Photos that a trap
    kept (`train.photos.marks`) have its name as location and the visit as sequence.

    Raises:
        EdgeWatchError: there are no class folders, or one cannot be read.
    """
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
        photos += (marked(root, Photo(path, folder.name, split)) for path in _pictures(root, folder, unread))
    loose = [Photo(path.name, "") for path in sorted(root.iterdir()) if path.suffix.lower() in SUFFIXES
             and path.is_file() and not path.name.startswith(".")]
    if not photos:
        raise EdgeWatchError(f"{root}: expected one folder of photos per class (or train, val and test folders of "
                             f"them), found no photos in such folders; put each class into a folder of its own")
    if unread:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
        notes.append(f"left out: {kinds}, which are not read; save them as JPEG or PNG")
    photos.sort(key=lambda photo: photo.path)
    full = {photo.label for photo in photos}
    empty = {folder.name for folder, _ in classes if not folder.is_symlink() and folder != root / RUNS} - full
    return DataSet(root, tuple(photos), notes=tuple(notes), empty=tuple(sorted(empty)), unlabelled=tuple(loose))


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
