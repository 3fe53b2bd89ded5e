"""What is in a folder of photos, and what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from models.bundle import file_hash
from models.errors import ImageError
from models.images import read_image
from models.preprocess import is_infrared
from train.data import LEAST, SPLITS, DataSet, Photo, find_photos

TINY = 80
"""Pixels of the shorter side below which a photo shows too little to learn from."""
UNEVEN = 3.0
"""Times as many photos of the largest class as of the smallest, from which on class weights matter."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a photo tells; `width` and `height` in pixels."""

    photo: Photo
    width: int = 0
    height: int = 0
    infrared: bool = False
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The findings on a folder. Paths are relative to it.

    `counts`: photos by class and split (`undivided` where the folder has no split folders). `short_side`: the least,
    median and greatest shorter side in pixels. `duplicates`: groups of photos with the same content; `conflicts` those
    across classes, `leaks` those across splits.
    """

    data: str
    photos: int
    excluded: int
    counts: dict[str, dict[str, int]]
    short_side: tuple[int, int, int]
    infrared_share: float
    tiny: list[str]
    broken: list[str]
    duplicates: list[list[str]]
    conflicts: list[list[str]]
    leaks: list[list[str]]
    warnings: list[str]


def inspect(root: Path, exclude: Path | None, as_json: bool) -> int:
    """`train inspect`: print what is in DATA; the exit code is 0 whatever is found.

    Raises:
        EdgeWatchError: there are no photos in class folders.
    """
    data = find_photos(root, exclude)
    found = examine(data, look(root, data.photos))
    print(json.dumps(asdict(found), indent=1) if as_json else as_text(found))
    return 0


def look(root: Path, photos: Iterable[Photo]) -> Iterator[Look]:
    """Look at each photo, on all cores, in order."""

    def one(photo: Photo) -> Look:
        path = root / photo.path
        try:
            image = read_image(path)
            known = Photo(photo.path, photo.label, photo.split, file_hash(path))
            return Look(known, image.shape[1], image.shape[0], is_infrared(image))
        except ImageError as error:
            return Look(photo, broken=str(error))

    rest = iter(photos)
    with ThreadPoolExecutor() as pool:
        while some := list(islice(rest, 64)):  # A few at a time: results must not pile up in memory.
            yield from pool.map(one, some)


def examine(data: DataSet, looks: Iterable[Look]) -> Inspection:
    """Put the looks together."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    same: dict[str, list[Photo]] = defaultdict(list)
    sides, broken, tiny, grey = [], [], [], 0
    for seen in looks:
        photo = seen.photo
        counts[photo.label][photo.split or "undivided"] += 1
        if seen.broken:
            broken.append(seen.broken)
            continue
        same[photo.sha256].append(photo)
        sides.append(min(seen.width, seen.height))
        grey += seen.infrared
        if sides[-1] < TINY:
            tiny.append(photo.path)
    groups = [group for group in same.values() if len(group) > 1]
    sides.sort()
    return Inspection(
        data=str(data.root), photos=len(data.photos), excluded=data.excluded,
        counts={label: dict(counts[label]) for label in sorted(counts)},
        short_side=(sides[0], sides[len(sides) // 2], sides[-1]) if sides else (0, 0, 0),
        infrared_share=grey / max(1, len(sides)), tiny=tiny, broken=broken,
        duplicates=_paths(groups),
        conflicts=_paths(group for group in groups if len({photo.label for photo in group}) > 1),
        leaks=_paths(group for group in groups if len({photo.split for photo in group}) > 1),
        warnings=list(_warnings(counts)),
    )


def _paths(groups: Iterable[list[Photo]]) -> list[list[str]]:
    return [[photo.path for photo in group] for group in groups]


def _warnings(counts: dict[str, Counter[str]]) -> Iterator[str]:
    totals = {label: sum(found.values()) for label, found in counts.items()}
    few = [f"{label} ({total})" for label, total in sorted(totals.items()) if total < LEAST]
    if few:
        yield f"fewer than {LEAST} photos, which `train fit` refuses: {', '.join(few)}"
    most, least = max(totals, key=lambda label: totals[label]), min(totals, key=lambda label: totals[label])
    if totals[most] > UNEVEN * totals[least]:
        yield f"uneven: {totals[most]} photos of {most}, {totals[least]} of {least}; `train fit` weighs the classes"
    if not any(label.lower() in ("empty", "blank", "none", "background") for label in counts):
        yield "no class `empty`: the model will give every empty picture the name of an animal"


def as_text(found: Inspection) -> str:
    """The findings as lines of text."""
    columns = [name for name in (*SPLITS, "undivided") if any(name in row for row in found.counts.values())]
    wide = max(len(label) for label in (*found.counts, "class"))
    lines = [f"{found.data}: {found.photos} photos of {len(found.counts)} classes, {found.excluded} excluded", "",
             "class".ljust(wide) + "".join(f"{name:>11}" for name in columns)]
    for label, row in found.counts.items():
        lines.append(label.ljust(wide) + "".join(f"{row.get(name, 0):>11}" for name in columns))
    least, median, most = found.short_side
    lines += ["", f"shorter side: {least} to {most} px, median {median}",
              f"infrared-grey: {found.infrared_share:.1%}"]
    for title, items in _problems(found):
        lines.append(f"{title}: {len(items)}")
        lines += [f"  {item}" for item in items[:10]]
        lines += [f"  ... and {len(items) - 10} more (all with --json)"] if len(items) > 10 else []
    lines += [f"note: {warning}" for warning in found.warnings]
    return "\n".join(lines)


def _problems(found: Inspection) -> list[tuple[str, list[Any]]]:
    def joined(groups: list[list[str]]) -> list[str]:
        return [" = ".join(group) for group in groups]

    return [
        ("cannot be read", found.broken),
        (f"smaller than {TINY} px", found.tiny),
        ("exact duplicates", joined(found.duplicates)),
        ("the same photo in two classes", joined(found.conflicts)),
        ("the same photo in two splits", joined(found.leaks)),
    ]
