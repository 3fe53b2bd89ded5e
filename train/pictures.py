"""All photos as the network will see them, decoded once, in a file instead of in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.bundle import file_hash
from models.errors import EdgeWatchError, ImageError
from models.images import read_image
from models.preprocess import prepare
from train.data import Photo


@dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded photos.

    `pixels`: (n, size, size, 3) uint8 RGB, a memory map: what is not in use costs no memory.
    `photos`: the n photos, with their sha256. `broken`: one line for each photo that could not be read.
    """

    pixels: NDArray[np.uint8]
    photos: tuple[Photo, ...]
    broken: tuple[str, ...]


def decode(root: Path, photos: Sequence[Photo], size: int, folder: Path, say: Callable[[int], None]) -> Pictures:
    """Decode all photos on all cores; what cannot be read is left out.

    Args:
        root: DATA, which the photos' paths are relative to.
        photos: what to read.
        size: pixels a side.
        folder: where the file of the memory map is made; the caller removes it.
        say: called with the number of photos done so far.

    Raises:
        EdgeWatchError: no room for the file.
    """
    need = len(photos) * size * size * 3
    try:
        file = (folder / "pixels").open("wb+")
        os.posix_fallocate(file.fileno(), 0, need)  # A full disk shows here, and not as a crash in a memory map.
    except OSError as error:
        raise EdgeWatchError(f"{folder.parent}: expected room for {need / 1e6:.0f} MB of decoded photos, found: "
                             f"{error.strerror}; make room or choose another --out") from error
    with file:
        pixels = np.memmap(file, np.uint8, "r+", shape=(len(photos), size, size, 3))
    kept: list[Photo] = []
    broken: list[str] = []
    # OpenCV's own threads would only fight with ours.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
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
    return Pictures(pixels[: len(kept)], tuple(kept), tuple(broken))


def _read_all(
    root: Path, photos: Sequence[Photo], size: int
) -> Iterator[tuple[Photo, NDArray[np.uint8] | ImageError]]:
    def read(photo: Photo) -> tuple[Photo, NDArray[np.uint8] | ImageError]:
        path = root / photo.path
        try:
            picture = prepare(read_image(path, at_least=size), size, order="BGR")
            return replace(photo, sha256=file_hash(path)), picture
        except ImageError as error:
            return photo, error

    rest = iter(photos)
    with ThreadPoolExecutor() as pool:
        while some := list(islice(rest, 64)):  # A few at a time: results must not pile up in memory.
            yield from pool.map(read, some)
