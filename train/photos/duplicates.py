"""Photos that show the same picture although their files differ: copies, crops, and frames of one burst."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32
"""Pixels a side of the thumbnail that is compared."""
_WAVES = np.hypot(*np.mgrid[:12, :12])
_CHOSEN = (_WAVES > 4) & (_WAVES < 12)
"""Which cosines count: slower ones are light and shade, which all night frames share; faster ones do not survive."""
LENGTH = int(_CHOSEN.sum())
FLAT = 3.0
"""Grey levels (root mean square, of 255) of such detail below which a picture shows too little to be compared."""
ALIKE = 0.85
"""Least correlation: of 2,000,000 pairs of different photos of animals it is greater for 2 (plates of butterflies)."""
BLOCK = 1024


def fingerprint(image: NDArray[np.uint8]) -> bytes:
    """What of a picture survives copying: the waves of a thumbnail whose contrast is made even.

    A perceptual hash by the cosine transform (Zauner 2010, pHash), with the amounts kept instead of their signs, and
    with local contrast evened out so that a caption bar does not outweigh the picture.

    It survives: JPEG of quality 50, half the size, up to 3 % of each side cut off in all, light 15 % up or down, grey
    instead of colour, and all of them together. It does not: mirroring, turning, larger crops. Frames of a burst by a
    camera that does not move match as long as the animal fills little of them.

    Args:
        image: (height, width, 3) uint8, RGB.

    Returns:
        `LENGTH` bytes; all zero for a picture with next to no detail, such as fog or an empty dark night.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if np.linalg.norm(_waves(small)) / SIDE < FLAT:
        return bytes(LENGTH)
    detail = small - cv2.GaussianBlur(small, (0, 0), 4)
    spread = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4))
    waves = _waves(detail / (spread + 6))
    return bytes(np.rint(waves / np.abs(waves).max() * 127).astype(np.int8))


def _waves(small: NDArray[np.float32]) -> NDArray[np.float32]:
    waves: NDArray[np.float32] = cv2.dct(small)[:12, :12][_CHOSEN]
    return waves


def near_duplicates(fingerprints: Sequence[bytes]) -> list[list[int]]:
    """Groups of pictures that are near-duplicates of one another, directly or through others of the group.

    Args:
        fingerprints: as `fingerprint` gives them; empty ones (photos that cannot be read) match nothing, nor do those
            of pictures without detail: only their files can tell whether they are the same.

    Returns:
        The indexes of each group of 2 and more, sorted.
    """
    rows = [index for index, found in enumerate(fingerprints) if any(found)]
    table = np.frombuffer(b"".join(fingerprints[row] for row in rows), np.int8).reshape(-1, LENGTH)
    # Products of whole numbers below 2^24 are exact in float32: every machine finds the same groups.
    lengths = np.sqrt((table.astype(np.float64) ** 2).sum(1))
    # Merged at once: a camera that does not move may give thousands of frames, all alike, which is millions of pairs.
    groups = np.arange(len(rows))
    for top in range(0, len(rows), BLOCK):
        block = table[top : top + BLOCK].astype(np.float32)
        for left in range(top, len(rows), BLOCK):
            product = block @ table[left : left + BLOCK].astype(np.float32).T
            alike = product >= ALIKE * np.outer(lengths[top : top + BLOCK], lengths[left : left + BLOCK])
            for one in np.flatnonzero(alike.any(axis=1)):
                met = groups[left + np.flatnonzero(alike[one])]
                if (met != groups[top + one]).any():
                    joined = np.append(met, groups[top + one])
                    groups[np.isin(groups, joined)] = joined.min()
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in zip(rows, groups, strict=True):
        members[int(group)].append(row)
    return [found for found in members.values() if len(found) > 1]


def grouped(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """What belongs together, directly or through others: the sorted indexes (of `count`) of groups of 2 and more."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        groups[root(index)].append(index)
    return [group for group in groups.values() if len(group) > 1]
