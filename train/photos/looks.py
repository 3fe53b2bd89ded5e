"""What the photos of a data set are like: sizes, light, doubles, and on which side of the split they stand."""

from __future__ import annotations

import bisect
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Literal

from models.boxes import Box, cut_out
from models.errors import ImageError
from models.images import decode_image, jpeg_size, read_file
from models.preprocess import is_infrared, prepare
from train.photos.data import SPLITS, DataSet, Photo
from train.photos.duplicates import fingerprint, near_duplicates
from train.photos.findings import TINY, Class, Finding, Group, findings
from train.recipe import DEFAULT

SIDES = (40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280, 1810, 2560)
"""Pixels: where the bins of widths and heights meet; each is 1.4 times the one before."""
SHAPES = (0.5, 0.67, 0.8, 0.95, 1.05, 1.25, 1.5, 2.0)
"""Width / height: where the bins of the shape meet."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a photo tells; `width` and `height` in pixels, upright. `broken` says why it cannot be read."""

    photo: Photo
    width: int = 0
    height: int = 0
    infrared: bool = False
    broken: str = ""

    @property
    def side(self) -> int:
        """The shorter side in pixels."""
        return min(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Bin:
    """How many photos have a value from `low` up to below `high`; None is without end."""

    low: float
    high: float | None
    photos: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number is spread over the photos; without bins that are empty at either end."""

    least: float
    median: float
    greatest: float
    bins: list[Bin]


@dataclass(frozen=True, slots=True)
class Broken:
    """A photo that cannot be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Imbalance:
    """The class with the most photos, the one with the fewest, and how many times as many that is.

    `weight`: how many times as much a photo of the class with the fewest counts in training, by the default recipe.
    """

    most: str
    fewest: str
    ratio: float
    weight: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """The findings on the photos, and the content of `inspect.json`. Paths are relative to `root`; lists are complete.

    `data` is what was inspected, `photos` how many there are (with the broken ones), `excluded` how many were left out.
    `notes` say what was left out on the way, `findings` what is wrong and what to do. `short_side`, `width` and
    `height` are in pixels, `shape` is width / height, all of what can be read. `enlarged`: photos with a side shorter
    than `input`, the pixels a side of the network's input unless told otherwise. `tiny`: shorter than `TINY` pixels.
    `infrared`: grey as by infrared light.
    `duplicates`: all groups of photos with the same content, or nearly the same; `conflicts`: those of them that lie in
    more than one class. `leaks`: those that lie in more than one split, and sequences and locations that do.
    """

    data: str
    root: str
    photos: int
    excluded: int
    notes: tuple[str, ...]
    findings: list[Finding]
    classes: dict[str, Class]
    imbalance: Imbalance
    short_side: Spread
    width: Spread
    height: Spread
    shape: Spread
    input: int
    enlarged: int
    infrared_share: float
    infrared: list[str]
    tiny: list[str]
    broken: list[Broken]
    duplicates: list[Group]
    conflicts: list[Group]
    leaks: list[Group]


def look(root: Path, photos: Sequence[Photo], say: Callable[[str], None] = lambda line: None) -> Iterator[Look]:
    """Look at each photo, on all cores, in order; `say` is told now and then how far it is."""
    rest = iter(photos)
    done = 0
    with ThreadPoolExecutor() as pool:
        while some := list(islice(rest, 100)):  # A few at a time: results must not pile up in memory.
            yield from pool.map(lambda photo: _look(root, photo), some)
            done += len(some)
            if done % 1000 == 0:
                say(f"looked at {done} of {len(photos)} photos")


def _look(root: Path, photo: Photo) -> Look:
    path = root / photo.path
    try:
        content = read_file(path)
        image = decode_image(content, str(path), at_least=None if photo.box else DEFAULT.size)
    except ImageError as error:
        return Look(photo, broken=str(error).removeprefix(f"{path}: "))
    image = cut_out(image, photo.box)
    height, width = image.shape[:2]
    if photo.box is None and (stated := jpeg_size(content)):  # A large JPEG was decoded at a part of its size.
        lying = (stated[0] > stated[1]) == (width > height)  # Else its EXIF orientation has turned it.
        width, height = stated if lying else (stated[1], stated[0])
    known = replace(photo, sha256=hashlib.sha256(content).hexdigest(),
                    fingerprint=fingerprint(prepare(image, DEFAULT.size, order="BGR")))
    return Look(known, width, height, is_infrared(image))


def examine(data: DataSet, looks: Iterable[Look], name: str = "") -> Inspection:
    """Put the looks together; `name` is what the user called the data."""
    every = list(looks)
    seen = [one for one in every if not one.broken]
    photos = [one.photo for one in seen]
    alike = _alike(photos)
    leaks = [group for group in alike if len(group.splits) > 1]
    leaks += [*_across("sequence", photos), *_across("location", photos)]
    classes = _classes(every, alike)
    totals = {label: found.photos for label, found in classes.items()}
    found = Inspection(
        data=name or str(data.root), root=str(data.root), photos=len(every), excluded=data.excluded, notes=data.notes,
        findings=[], classes=classes, imbalance=imbalance(totals),
        short_side=spread([one.side for one in seen], SIDES),
        width=spread([one.width for one in seen], SIDES), height=spread([one.height for one in seen], SIDES),
        shape=spread([round(one.width / one.height, 3) for one in seen], SHAPES),
        input=DEFAULT.size, enlarged=sum(one.side < DEFAULT.size for one in seen),
        infrared_share=round(sum(one.infrared for one in seen) / max(1, len(seen)), 4),
        infrared=[one.photo.name for one in seen if one.infrared],
        tiny=[one.photo.name for one in seen if one.side < TINY],
        broken=[Broken(one.photo.name, one.broken) for one in every if one.broken],
        duplicates=alike, conflicts=[group for group in alike if len(group.classes) > 1], leaks=leaks,
    )
    broken = {one.path: one.reason for one in found.broken}
    return replace(found, findings=findings(classes, data.empty, broken, len(found.tiny), alike, leaks,
                                            any(photo.split for photo in photos)))


def imbalance(totals: Mapping[str, int]) -> Imbalance:
    """How unevenly photos are spread over the classes: by class, how many there are."""
    most, fewest = max(totals, key=lambda label: totals[label]), min(totals, key=lambda label: totals[label])
    ratio = totals[most] / totals[fewest]
    return Imbalance(most, fewest, round(ratio, 3), round(ratio**DEFAULT.imbalance, 3))


def _alike(photos: Sequence[Photo]) -> list[Group]:
    """Groups of photos with the same content, or nearly the same."""
    same: dict[tuple[str, Box | None], list[Photo]] = defaultdict(list)
    for photo in photos:
        same[photo.sha256, photo.box].append(photo)
    contents = list(same.values())
    near = near_duplicates([content[0].fingerprint for content in contents])
    grouped = {row for rows in near for row in rows}
    groups = [_group("near", [photo for row in rows for photo in contents[row]]) for rows in near]
    groups += [_group("same", content) for row, content in enumerate(contents)
               if len(content) > 1 and row not in grouped]
    return sorted(groups, key=lambda group: group.photos)


def _across(kind: Literal["sequence", "location"], photos: Iterable[Photo]) -> list[Group]:
    """The sequences or locations of which there are photos in more than one split."""
    named: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for photo in photos:
        if name := getattr(photo, kind):
            named[name, photo.location].append(photo)  # Two cameras may number their sequences alike.
    groups = [_group(kind, named[key], key[0]) for key in sorted(named)]
    return [group for group in groups if len(group.splits) > 1]


def _group(kind: Literal["same", "near", "sequence", "location"], photos: list[Photo], name: str = "") -> Group:
    found = {photo.split for photo in photos}
    return Group(kind, name, sorted(photo.name for photo in photos), sorted({photo.label for photo in photos}),
                 [split for split in SPLITS if split in found])


def _classes(looks: Iterable[Look], alike: Iterable[Group]) -> dict[str, Class]:
    by_label: dict[str, list[Look]] = defaultdict(list)
    for one in looks:
        by_label[one.photo.label].append(one)
    doubles: Counter[str] = Counter()  # How many photos of a class show what another one of the class shows.
    labels = {one.photo.name: label for label, found in by_label.items() for one in found}
    for group in alike:
        doubles.update({label: count - 1 for label, count in Counter(labels[path] for path in group.photos).items()})
    classes = {}
    for label in sorted(by_label):
        every = by_label[label]
        seen = [one for one in every if not one.broken]
        splits = Counter(one.photo.split for one in every)
        classes[label] = Class(
            photos=len(every), splits={split: splits[split] for split in SPLITS if splits[split]},
            broken=len(every) - len(seen), distinct=len(seen) - doubles[label],
            infrared=sum(one.infrared for one in seen),
            short_side=median_low([one.side for one in seen]) if seen else 0,
            locations=len({one.photo.location for one in every if one.photo.location}),
            crops=sum(one.photo.box is not None for one in every),
            sequences=len({(one.photo.location, one.photo.sequence) for one in every if one.photo.sequence}),
        )
    return classes


def spread(values: Sequence[float], edges: Sequence[float]) -> Spread:
    """How the values are spread over the bins that meet at the edges."""
    if not values:
        return Spread(0, 0, 0, [])
    counts = Counter(bisect.bisect_right(edges, value) for value in values)
    limits = (0, *edges, None)
    bins = [Bin(limits[place] or 0, limits[place + 1], counts[place])
            for place in range(min(counts), max(counts) + 1)]
    return Spread(min(values), median_low(values), max(values), bins)
