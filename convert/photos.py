"""Folders of photos that a user names: to measure ranges with, and to prove a model without a bundle on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from convert.verify import Photo
from models.errors import EdgeWatchError, ImageError, UnknownSpeciesError, UsageError
from models.images import SUFFIXES, read_image
from models.labels import LabelMap

UNLABELLED = -1
HELD = ("val", "test")
_ENOUGH = 32
"""Pixels a side that are enough to see whether a photo can be read."""


def in_folder(folder: Path, labels: LabelMap, option: str, flat: bool = False) -> list[Photo]:
    """The photos of a folder with a folder for each class, in an order that does not depend on the file system.

    Args:
        folder: hidden files, and those that are no pictures, are ignored. Not each class must have a folder.
        labels: the model's; a folder has a class's name, or its display or scientific name, in any case.
        option: what the user gave the folder for.
        flat: photos may also lie in the folder itself, and in no other; their label is then `UNLABELLED`.

    Raises:
        UsageError: there is no such folder.
        EdgeWatchError: no photos, or folders of photos that are no classes of the model.
    """
    if not folder.is_dir():
        raise UsageError(f"{option} {folder}: expected a folder of photos, found "
                         f"{'a file' if folder.exists() else 'none'}; correct it")
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
             and not any(step.startswith(".") for step in path.relative_to(folder).parts)]
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    tops = sorted({name.partition("/")[0] for name in names if "/" in name})
    if not names:
        raise EdgeWatchError(f"{option} {folder}: expected photos ({' '.join(sorted(SUFFIXES))}), found none; "
                             f"name the folder they are in")
    loose = [name for name in names if "/" not in name]
    if flat and not tops:
        return [Photo(folder / name, UNLABELLED, name) for name in names]
    if loose or not tops:
        raise EdgeWatchError(f"{option} {folder}: expected {'only photos or only' if flat else ''} folders of photos, "
                             f"one for each class, found photos beside them ({loose[0]}); move them")
    classes = {top: _class(folder, top, labels, option) for top in tops}
    return [Photo(folder / name, classes[name.partition("/")[0]], name) for name in names]


def _class(folder: Path, name: str, labels: LabelMap, option: str) -> int:
    try:
        return labels.find(name)
    except UnknownSpeciesError as error:
        raise EdgeWatchError(f"{option} {folder}: expected folders with the names of the model's classes, found "
                             f"{name!r}: {error}; rename it or move it away") from error


def labelled(data: Path, labels: LabelMap, seed: int) -> dict[str, list[Photo]]:
    """Validation and test photos for a model that does not say which are its own.

    Args:
        data: folders `val` and `test` with a folder for each class, or class folders alone: then half of each class
            is drawn for validation. Which half depends on the photos' names and the seed only.
        labels: the model's.
        seed: of the draw.

    Raises:
        UsageError: there is no such folder.
        EdgeWatchError: no photos for one of both, photos that cannot be read, or folders that are no classes.
    """
    sides = [side for side in HELD if (data / side).is_dir()]
    if len(sides) == 1:
        raise EdgeWatchError(f"--data {data}: expected folders val and test, or class folders, found only {sides[0]}; "
                             f"type --data {data / sides[0]} to use half of it for each")
    if sides:
        found = {side: in_folder(data / side, labels, "--data") for side in HELD}
    else:
        found = _halves(in_folder(data, labels, "--data"), len(labels), seed)
    if not all(found.values()):
        raise EdgeWatchError(f"--data {data}: expected photos to validate and to test with, found "
                             f"{len(found['val'])} and {len(found['test'])}; add photos")
    _require_readable(data, [photo for side in HELD for photo in found[side]])
    return found


def _halves(photos: Sequence[Photo], classes: int, seed: int) -> dict[str, list[Photo]]:
    halves: dict[str, list[Photo]] = {side: [] for side in HELD}
    for label in range(classes):
        drawn = shuffled([photo for photo in photos if photo.label == label], seed)
        halves["val"] += drawn[: len(drawn) // 2]
        halves["test"] += drawn[len(drawn) // 2 :]
    return {side: sorted(half, key=lambda photo: photo.name) for side, half in halves.items()}


def shuffled(photos: Sequence[Photo], seed: int) -> list[Photo]:
    """The photos in an order that depends on their names and the seed only."""
    return sorted(photos, key=lambda photo: hashlib.sha256(f"{seed} {photo.name}".encode(errors="surrogateescape")
                                                           ).digest())


def _require_readable(data: Path, photos: Sequence[Photo]) -> None:
    """Refuse at once what would end the comparison after minutes."""
    broken = []
    for photo in photos:
        try:
            read_image(photo.path, at_least=_ENOUGH)
        except ImageError as error:
            broken.append(str(error))
    if broken:
        raise EdgeWatchError(f"--data {data}: expected photos that can be read, found {len(broken)} of {len(photos)} "
                             f"that cannot (first: {broken[0]})")
