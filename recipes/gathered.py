"""A folder of photos that a recipe gathers, with a row for each in `manifest.csv`."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import EdgeWatchError

Image = NDArray[np.uint8]
COLUMNS = ("path", "class", "split", "source", "licence")
MANIFEST, EXCLUDE, ABOUT = "manifest.csv", "exclude.txt", "ABOUT.md"


@dataclass(slots=True)
class Gathered:
    """The folder that is being filled, the rows of its manifest, and the photos to leave out."""

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)

    def place(self, split: str, label: str, name: str, source: str, licence: str) -> Path:
        """Note a photo in the manifest and return where it belongs."""
        path = f"{split}/{label}/{name}"
        self.rows.append(dict(zip(COLUMNS, (path, label, split, source, licence), strict=True)))
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / path

    def save(self, image: Image, split: str, label: str, name: str, source: str, licence: str) -> None:
        """Write a (height, width, 3) uint8 BGR picture as a JPEG."""
        cv2.imwrite(str(self.place(split, label, name, source, licence)), image, [cv2.IMWRITE_JPEG_QUALITY, 92])

    def of(self, split: str) -> Iterator[dict[str, str]]:
        """The rows of a split, without what is left out."""
        left = set(self.exclude)
        return (row for row in self.rows if row["split"] == split and row["path"] not in left)

    def finish(self, about: str) -> None:
        """Write the manifest, the list of what is left out, and `ABOUT.md`."""
        with (self.folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        (self.folder / EXCLUDE).write_text("".join(f"{path}\n" for path in sorted(self.exclude)), encoding="utf-8")
        (self.folder / ABOUT).write_text(about, encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill beside `out`, which it becomes in the end; nothing is left of it if that fails.

    Raises:
        EdgeWatchError: `out` exists.
    """
    if out.exists():
        raise EdgeWatchError(f"{out}: expected no such folder, found one; delete it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield working
        working.chmod(0o755)
        working.rename(out)
    finally:
        shutil.rmtree(working, ignore_errors=True)
