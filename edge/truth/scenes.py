"""What is replayed: each clip of the source by itself, and all photos of a folder as one series."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.cameras import open_camera
from edge.cameras.files import frames_of, in_order, wanted
from edge.settings import Settings
from edge.types import Frame
from models.errors import CameraError, ImageError, UsageError
from models.images import SUFFIXES

log = logging.getLogger("edge-watch")


@dataclass(frozen=True, slots=True)
class Scene:
    """What goes through one chain from its beginning to its end.

    `names`: what the truth's column `clip` may say for a file of it, and when that file begins, in seconds from the
    start of the scene. `stills`: it is a series of photos.
    """

    name: str
    names: tuple[tuple[str, float], ...]
    frames: Callable[[], Iterator[Frame]]
    stills: bool = False


def find_scenes(settings: Settings) -> list[Scene]:
    """The scenes of `settings.source`.

    Raises:
        UsageError: a live source, or none at all.
        CameraError: a folder with nothing in it.
    """
    source = settings.source or ""
    camera = open_camera(source, "full", rotate=settings.rotate, noir=settings.noir)
    if camera.live:
        raise UsageError(f"--truth: expected a clip or photos, found the live camera {camera.name}; name a file")
    path = Path(source)
    if not path.is_dir():
        name = path.stem
        return [Scene(name, _names(path, path.parent), lambda: camera.frames(threading.Event()))]
    files = [file for file in sorted(path.rglob("*")) if wanted(file, path)]
    if not files:
        raise CameraError(f"{path}: expected photos or clips, found none; name the folder they are in")
    scenes = [_clip(file, path) for file in files if file.suffix.lower() not in SUFFIXES]
    photos = [file for file in files if file.suffix.lower() in SUFFIXES]
    return [*scenes, *([_series(photos, path)] if photos else [])]


def _names(file: Path, folder: Path, start: float = 0.0) -> tuple[tuple[str, float], ...]:
    """A file's name and its path in the folder, both with and without suffix."""
    path = file.relative_to(folder)
    return tuple((name, start) for name in {file.stem, file.name, str(path), str(path.with_suffix(""))})


def _clip(file: Path, folder: Path) -> Scene:
    def frames() -> Iterator[Frame]:
        return open_camera(str(file)).frames(threading.Event())

    return Scene(str(file.relative_to(folder).with_suffix("")), _names(file, folder), frames)


def _series(photos: list[Path], folder: Path) -> Scene:
    ordered = in_order(photos)
    first = ordered[0][0]
    names = [each for taken, file in ordered for each in _names(file, folder, (taken - first).total_seconds())]

    def frames() -> Iterator[Frame]:
        for taken, file in ordered:
            try:
                yield from frames_of(file, taken, "full", threading.Event())
            except ImageError as error:
                log.warning("left out: %s", error)

    return Scene(folder.resolve().name, tuple(names), frames, stills=True)
