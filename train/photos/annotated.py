"""Photos with annotations, as standard formats have them: which of them can be trained on, and as what."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.boxes import Box
from models.errors import EdgeWatchError
from models.labels import Label
from train.photos.data import DataSet, Photo, beside
from train.words import counted, some

EMPTY, PERSON, VEHICLE, ANIMAL = "empty", "person", "vehicle", "animal"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a file says of one photo: a class, and where the animal is, if it says that, too."""

    label: str
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Annotated:
    """A photo (still without label and box) and all that is said of it."""

    photo: Photo
    annotations: tuple[Annotation, ...]


def class_name(text: str) -> str:
    """A species as a class is called: `Red fox` is `red_fox`."""
    return re.sub(r"[\s/]+", "_", text.strip().lower())


def data_set(
    source: Path, root: Path, found: Iterable[Annotated], notes: Sequence[str] = (),
    scientific: dict[str, str] | None = None, advice: str = "download them, or move the file to them",
) -> DataSet:
    """The photos that can be trained on, as a data set.

    A photo with boxes is there once for each. One without, of several classes, is left out: nobody could say what
    the network is to answer.

    Args:
        source: the file that says all this, for messages.
        root: the folder that paths are relative to.
        found: the photos.
        notes: what there is to say already.
        scientific: scientific names by class.
        advice: what to do where no photo is there.

    Raises:
        EdgeWatchError: there are no photos, or none of them is there.
    """
    every = [replace(each, photo=replace(each.photo, path=beside(root, each.photo.path))) for each in found]
    there = [each for each in every if os.path.exists(root / each.photo.path)]
    missing = [each.photo.path for each in every if not os.path.exists(root / each.photo.path)]
    if not every:
        raise EdgeWatchError(f"{source}: expected photos, found none; name another file")
    if not there:
        raise EdgeWatchError(f"{source}: expected its photos in {root}, found none of {len(missing)} there (the first "
                             f"is {missing[0]}); {advice}")
    said = [*notes]
    if missing:
        said.append(f"{source.name}: left out: {counted(len(missing), 'photo')} of {len(every)} that are not in {root} "
                    f"(the first is {missing[0]}); download them")
    photos: list[Photo] = []
    unlabelled: list[Photo] = []
    several: list[str] = []
    for each in there:
        labels = {annotation.label for annotation in each.annotations}
        boxed = {annotation for annotation in each.annotations if annotation.box and not _blank(annotation.label)}
        if boxed:
            photos += (replace(each.photo, label=one.label, box=one.box) for one in boxed)
        elif len(labels) == 1:
            photos.append(replace(each.photo, label=min(labels)))
        elif labels:
            several.append(f"{each.photo.path}: {', '.join(sorted(labels))}")
        else:
            unlabelled.append(each.photo)
    if several:
        said.append(f"{source.name}: left out: {counted(len(several), 'photo')} of several classes and without boxes "
                    f"({some(several, 1)})")
    photos.sort(key=lambda photo: (photo.name, photo.label))
    return DataSet(root, tuple(photos), notes=tuple(said), unlabelled=tuple(unlabelled), scientific=scientific or {})


def _blank(label: str) -> bool:
    return Label.from_name(label, {}).observation_type == "blank"
