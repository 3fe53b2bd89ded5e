"""All photos as the network will see them, decoded once, in a file instead of in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.boxes import seen
from models.errors import ImageError
from models.images import read_file
from train.photos.data import Photo
from train.photos.duplicates import fingerprint
from train.photos.store import Store


@dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded photos.

    `pixels`: (n, size, size, 3) uint8 RGB. `photos`: the n photos, with their sha256 and fingerprint. `broken`: one
    line for each photo that could not be read.
    """

    pixels: Store
    photos: tuple[Photo, ...]
    broken: tuple[str, ...]

    def keep(self, photos: Sequence[Photo]) -> Pictures:
        """The same with other photos, of which those without a split are left out; `pixels` shrinks with them."""
        rows = [row for row, photo in enumerate(photos) if photo.split]
        for place, row in enumerate(rows):
            if place != row:
                self.pixels[place] = self.pixels[row]
        self.pixels.shorten(len(rows))
        return replace(self, photos=tuple(photos[row] for row in rows))


def decode(root: Path, photos: Sequence[Photo], size: int, folder: Path, say: Callable[[int], None]) -> Pictures:
    """Decode all photos on all cores; what cannot be read is left out.

    Args:
        root: the folder that the photos' paths are relative to.
        photos: what to read.
        size: pixels a side.
        folder: where the file with the pixels is made; the caller removes it.
        say: called with the number of photos done so far.

    Raises:
        EdgeWatchError: no room for the file.
    """
    pixels = Store(folder / "pixels", (len(photos), size, size, 3), np.uint8)
    kept: list[Photo] = []
    broken: list[str] = []
    # OpenCV's own threads would only fight with ours, and its warnings say again what `broken` says.
    threads, level = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(0)
    try:
        for done, (photo, picture) in enumerate(_read_all(root, photos, size), 1):
            if isinstance(picture, ImageError):
                broken.append(str(picture))
            else:
                pixels[len(kept)] = picture
                kept.append(photo)
            say(done)
    finally:
        cv2.setNumThreads(threads)
        cv2.utils.logging.setLogLevel(level)
    pixels.shorten(len(kept))
    return Pictures(pixels, tuple(kept), tuple(broken))


def _read_all(
    root: Path, photos: Sequence[Photo], size: int
) -> Iterator[tuple[Photo, NDArray[np.uint8] | ImageError]]:
    def read(photo: Photo) -> tuple[Photo, NDArray[np.uint8] | ImageError]:
        path = root / photo.path
        try:
            content = read_file(path)
            picture = seen(content, str(path), size, photo.box)
        except ImageError as error:
            return photo, error
        found = hashlib.sha256(content).hexdigest()
        return replace(photo, sha256=found, fingerprint=fingerprint(picture)), picture

    rest = iter(photos)
    with ThreadPoolExecutor() as pool:
        while some := list(islice(rest, 64)):  # A few at a time: results must not pile up in memory.
            yield from pool.map(read, some)
