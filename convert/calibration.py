"""The pictures that the ranges of the network's numbers are measured with, and whether they fit the network."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from convert.photos import UNLABELLED, in_folder, shuffled
from convert.words import NO_CLASS
from models.bundle import CALIBRATION, ModelBundle
from models.errors import BundleError, EdgeWatchError, ImageError
from models.evaluation import wilson
from models.images import decode_image, read_file
from models.labels import LabelMap
from models.manifest import LIGHTINGS
from models.preprocess import infrared, is_infrared, prepare

SEED, SAMPLES = 1, 220
GREY_SHARE = 0.3
"""Share of a folder's photos that are turned infrared-grey, as `train fit` does for a bundle's pictures."""
RANGES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
"""What networks are usually trained on: black to white."""
DARK = 128
"""Pictures none of which is as bright do not show what the input reaches; they may be stored as 0-1."""
SHOWN = 5
"""Of what is left out or missing, so many are named."""
_CHECKED = 100
_SURE = 3.0
"""Standard deviations; the same pictures are shown in up to three ways, and none must win by luck."""
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The chosen pictures, in a fixed order that goes round all classes.

    `images` (n, size, size, 3) uint8 RGB; `labels` (n,) int64 class indexes, -1 where unknown; `lighting` (n,) `day` or
    `night`; `counts` of them by class and lighting. `source` is for the manifest: `source` (`bundle` or the folder) and
    `seed`, and of a folder's photos how many were `unreadable` and how many `held_out`, because they are test photos.
    `notes` is for the terminal: what was left out, and of which classes there is nothing.
    """

    images: Pixels
    labels: NDArray[np.int64]
    lighting: NDArray[np.str_]
    counts: dict[str, dict[str, int]]
    source: dict[str, str | int]
    notes: tuple[str, ...] = ()

    def total(self, lighting: str) -> int:
        """How many pictures of one lighting there are."""
        return sum(by_lighting.get(lighting, 0) for by_lighting in self.counts.values())


def read_calibration(bundle: ModelBundle, samples: int | None = None, seed: int = SEED) -> Calibration:
    """Read a float bundle's own calibration pictures.

    Args:
        bundle: a float bundle.
        samples: take this many, evenly from all classes and lightings; all of them when None.
        seed: of the order, and so of the choice.

    Raises:
        EdgeWatchError: no pictures, or fewer than `samples`.
        BundleError: pictures of another shape or range, or of classes that the bundle does not have.
    """
    path = bundle.path / CALIBRATION
    if CALIBRATION not in bundle.manifest.files:
        raise EdgeWatchError(f"{bundle.path}: expected calibration pictures ({CALIBRATION}), found none; "
                             f"train the model again with `train fit`, or type --calibration DIR")
    try:
        with np.load(path) as stored:
            images, labels = stored["images"], stored["labels"]
            lighting = stored["lighting"].astype(np.str_)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: expected images, labels and lighting, found: {error}; "
                          f"train the model again") from error
    size = bundle.manifest.input.size
    if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3) or not len(images):
        raise BundleError(f"{path}: expected (n, {size}, {size}, 3) uint8 pictures, found {images.shape} "
                          f"{images.dtype}; train the model again")
    _require_bright(str(path), images, "train the model again")
    if (lighting.shape != labels.shape or len(labels) != len(images) or not set(lighting.tolist()) <= set(LIGHTINGS)
            or not _known(labels, len(bundle.labels))):
        raise BundleError(f"{path}: expected one of {len(bundle.labels)} labels and one of {LIGHTINGS} for each "
                          f"picture, found others; train the model again")
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
    chosen = _in_turn((row, (int(labels[row]), str(lighting[row]))) for row in order)[:samples]
    _require_enough(str(path), len(chosen), samples)
    return _calibration(images[chosen], labels[chosen].astype(np.int64), lighting[chosen], bundle.labels,
                        {"source": "bundle", "seed": seed})


def read_folder(
    folder: Path, labels: LabelMap, size: int, samples: int | None = None, seed: int = SEED,
    held_out: Collection[str] = (),
) -> Calibration:
    """Read calibration pictures from a folder of photos.

    Classes take turns, so each gives about as many; which ones depends on their names and the seed only. A share of
    each class, `GREY_SHARE`, is turned infrared-grey.

    Args:
        folder: with a folder for each class, or with photos alone.
        labels: the model's.
        size: pixels a side of the network's input.
        samples: take this many; when None, `SAMPLES` or all there are.
        seed: of the choice.
        held_out: the sha256 of photos to leave out: the test photos.

    Raises:
        UsageError: there is no such folder.
        EdgeWatchError: none that can be read, fewer than `samples`, all dark, or folders that are no classes.
    """
    photos = shuffled(in_folder(folder, labels, "--calibration", flat=True), seed)
    images: list[Pixels] = []
    chosen: list[int] = []
    lighting: list[str] = []
    unreadable: list[str] = []
    held = 0
    for photo in _in_turn((photo, photo.label) for photo in photos):
        if len(images) == (SAMPLES if samples is None else samples):
            break
        try:
            content = read_file(photo.path)
            if held_out and hashlib.sha256(content).hexdigest() in held_out:
                held += 1
                continue
            picture = prepare(decode_image(content, str(photo.path), at_least=size), size, order="BGR")
        except ImageError as error:
            unreadable.append(str(error))
            continue
        turned = _turned(chosen.count(photo.label))
        images.append(infrared(picture) if turned else picture)
        lighting.append("night" if turned or is_infrared(picture) else "day")
        chosen.append(photo.label)
    notes = [f"left out: {line}" for line in unreadable[:SHOWN]]
    notes += [f"{len(unreadable)} photos of {folder} cannot be read"] if len(unreadable) > SHOWN else []
    notes += [f"left out of the calibration: {held} photos that the result is tested on"] if held else []
    notes += _unbalanced(folder, chosen, labels)
    where = f"--calibration {folder}"
    if not images:
        raise EdgeWatchError(f"{where}: expected photos to calibrate with, found none but {len(unreadable)} that "
                             f"cannot be read and {held} test photos"
                             f"{f' (first: {unreadable[0]})' if unreadable else ''}; name a folder with others")
    _require_enough(where, len(images), samples)
    stacked = np.stack(images)
    _require_bright(where, stacked, "name a folder of usual photos")
    return _calibration(stacked, np.array(chosen, np.int64), np.array(lighting), labels, {
        "source": str(folder), "seed": seed, "unreadable": len(unreadable), "held_out": held}, tuple(notes))


def _calibration(
    images: Pixels, chosen: NDArray[np.int64], lighting: NDArray[np.str_], labels: LabelMap,
    source: dict[str, str | int], notes: tuple[str, ...] = (),
) -> Calibration:
    counts: dict[str, dict[str, int]] = {}
    names = [NO_CLASS if label == UNLABELLED else labels.names[label] for label in chosen]
    for (name, light), count in sorted(Counter(zip(names, lighting.tolist(), strict=True)).items()):
        counts.setdefault(name, {})[light] = count
    return Calibration(images, chosen, lighting, counts, source, notes)


def _unbalanced(folder: Path, chosen: Collection[int], labels: LabelMap) -> list[str]:
    """What keeps each class from giving about as many pictures as any other."""
    if UNLABELLED in chosen:
        return [f"not balanced by class: {folder} has photos alone, no folder for each class"] if chosen else []
    missing = [name for index, name in enumerate(labels.names) if index not in chosen]
    named = f"{', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}"
    return [f"not balanced by class: {folder} gives no picture of {len(missing)} of {len(labels)} classes ({named})"
            ] if missing else []


def _known(labels: NDArray[np.int64], classes: int) -> bool:
    return labels.ndim == 1 and labels.min(initial=0) >= 0 and labels.max(initial=0) < classes


def _in_turn(items: Iterable[tuple[Item, Hashable]]) -> list[Item]:
    """Items with their kinds, in an order that goes round all kinds before it takes a second of any."""
    turns: Counter[Hashable] = Counter()
    placed = []
    for item, kind in items:
        placed.append((turns[kind], item))
        turns[kind] += 1
    # Sorting is stable: within a round the order stays.
    return [item for _, item in sorted(placed, key=lambda found: found[0])]


def _turned(place: int) -> bool:
    """Whether a class's picture at this place is turned grey: evenly, and in sum the share, rounded."""
    before, after = (int(GREY_SHARE * count + 0.5) for count in (place, place + 1))
    return after > before


def _require_enough(where: str, found: int, samples: int | None) -> None:
    if samples is not None and found < samples:
        raise EdgeWatchError(f"{where}: expected {samples} calibration pictures, found {found}; "
                             f"type --samples {found} or leave it out")


def _require_bright(where: str, images: Pixels, advice: str) -> None:
    if int(images.max()) < DARK:
        raise BundleError(f"{where}: expected pictures of 0-255, found none brighter than {images.max()}; "
                          f"the calibration does not fit the network's input range, {advice}")


def check_range(
    logits: Callable[[Floats], Floats], images: Pixels, labels: NDArray[np.int64],
    input_range: tuple[float, float] | None = None, stated: float | None = None,
) -> None:
    """Refuse pictures whose range is not the one that the float network was trained on.

    It is shown labelled pictures as they are, and scaled as if the network, or the pictures, were for another range:
    the range is wrong where that gives clearly more right answers (McNemar's test), and the pictures are where hardly
    more are right than by guessing while the network is known to be good.

    Args:
        logits: the float network: (n, size, size, 3) float32 raw RGB to (n, classes).
        images: (n, size, size, 3) uint8 RGB.
        labels: (n,) class indexes, negative where unknown; without any known one nothing is checked.
        input_range: of a bare model, what black and white are turned into within the network; None for a bundle.
        stated: the share of right answers on the test photos, as far as it is known.

    Raises:
        EdgeWatchError: what range, or what pictures, to take instead.
    """
    rows = np.flatnonzero(labels >= 0)[:_CHECKED]
    if not len(rows):
        return
    shown, truth = images[rows].astype(np.float32), labels[rows]
    answers = logits(shown)
    right = answers.argmax(axis=1) == truth
    found = f"{int(right.sum())} of {len(rows)} answered right"
    if (~right).sum() > _SURE**2:  # Else nothing could be clearly better.
        better = [(count, words) for moved, words in _moved(shown, input_range)
                  if (count := _clearly_more(right, logits(moved).argmax(axis=1) == truth))]
        if better:
            count, words = max(better)
            raise EdgeWatchError(f"calibration pictures: expected the range that the network was trained on, found "
                                 f"{found} as they are, but {count} {words}")
    guessing = 1 / answers.shape[1]
    if stated is not None and wilson(int(right.sum()), len(rows))[1] < guessing + (stated - guessing) / 4:
        raise EdgeWatchError(f"calibration pictures: expected about {stated:.0%} answered right, as of the test "
                             f"photos, found {found}; they do not fit the network, calibrate with photos of its kind "
                             f"(--calibration DIR)")


def _moved(shown: Floats, input_range: tuple[float, float] | None) -> Iterator[tuple[Floats, str]]:
    """The pictures as they would reach a network, or be stored, in another range, and what then is to be done."""
    low, high = input_range or RANGES[0]
    for black, white in RANGES:
        if (black, white) != (low, high):
            advice = (f"type --input-range {black:g} {white:g}" if input_range else
                      "the network does not scale raw 0-255 itself, train the model again")
            # What the network's own scaling makes of it is that range.
            wanted = shown * ((white - black) / 255.0) + black
            yield (wanted - low) * (255.0 / (high - low)), f"with numbers from {black:g} to {white:g}; {advice}"
    if (bright := float(np.quantile(shown, 0.999))) < DARK:
        yield (np.clip(shown * (255.0 / max(bright, 1.0)), 0.0, 255.0),
               "stretched to 0-255; take pictures that reach from 0 to 255")


def _clearly_more(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> int:
    """How many are right after, if that is more than luck; else 0."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return int(after.sum()) if gained - lost > _SURE * (gained + lost) ** 0.5 else 0
