"""The pictures that the converter measures the ranges of the network's numbers with."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import CALIBRATION, ModelBundle
from models.errors import BundleError, EdgeWatchError
from models.manifest import LIGHTINGS

SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The chosen pictures, (n, size, size, 3) uint8 RGB in a fixed order, and how many by class and lighting."""

    images: NDArray[np.uint8]
    counts: dict[str, dict[str, int]]

    def total(self, lighting: str) -> int:
        """How many pictures of one lighting there are."""
        return sum(by_lighting.get(lighting, 0) for by_lighting in self.counts.values())


def read_calibration(bundle: ModelBundle, samples: int | None = None) -> Calibration:
    """Read a float bundle's calibration pictures.

    Args:
        bundle: a float bundle.
        samples: take this many, evenly from all classes and lightings; all of them when None.

    Raises:
        EdgeWatchError: no pictures, or fewer than `samples`.
        BundleError: pictures of another shape or range, or of classes that the bundle does not have.
    """
    path = bundle.path / CALIBRATION
    if CALIBRATION not in bundle.manifest.files:
        raise EdgeWatchError(f"{bundle.path}: expected calibration pictures ({CALIBRATION}), found none; "
                             f"train the model again with `train fit`")
    try:
        with np.load(path) as stored:
            images, labels = stored["images"], stored["labels"]
            lighting = [str(value) for value in stored["lighting"]]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: expected images, labels and lighting, found: {error}; "
                          f"train the model again") from error
    size = bundle.manifest.input.size
    if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3) or not len(images):
        raise BundleError(f"{path}: expected (n, {size}, {size}, 3) uint8 pictures, found {images.shape} "
                          f"{images.dtype}; train the model again")
    if int(images.max()) < 128:
        raise BundleError(f"{path}: expected pictures of 0-255, found none brighter than {images.max()}; "
                          f"the calibration does not fit the network's input range, train the model again")
    if len(labels) != len(images) or not set(lighting) <= set(LIGHTINGS) or not _known(labels, len(bundle.labels)):
        raise BundleError(f"{path}: expected one of {len(bundle.labels)} labels and one of {LIGHTINGS} for each "
                          f"picture, found others; train the model again")
    kinds = [(bundle.labels.names[int(label)], light) for label, light in zip(labels, lighting, strict=True)]
    chosen = _choose(kinds, len(images) if samples is None else samples)
    if samples is not None and len(chosen) < samples:
        raise EdgeWatchError(f"{path}: expected {samples} calibration pictures, found {len(images)}; "
                             f"type --samples {len(images)} or leave it out")
    return Calibration(images[chosen], _counts(kinds[index] for index in chosen))


def _known(labels: NDArray[np.int64], classes: int) -> bool:
    return labels.ndim == 1 and labels.min(initial=0) >= 0 and labels.max(initial=0) < classes


def _choose(kinds: list[tuple[str, str]], samples: int) -> list[int]:
    """The first `samples` rows of a seeded order that goes round all kinds before it takes a second of any."""
    turns: Counter[tuple[str, str]] = Counter()
    turn = {}
    for index in np.random.default_rng(SEED).permutation(len(kinds)):
        turn[int(index)] = turns[kinds[index]]
        turns[kinds[index]] += 1
    # Sorting is stable: within a round the seeded order stays.
    return sorted(turn, key=lambda index: turn[index])[:samples]


def _counts(kinds: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for name, lighting in sorted(kinds):
        by_lighting = counts.setdefault(name, {})
        by_lighting[lighting] = by_lighting.get(lighting, 0) + 1
    return counts
