"""Boxes that MegaDetector found, beside the photos: crops of animals, people and vehicles, and photos of nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.boxes import Box, within
from models.errors import EdgeWatchError
from models.labels import Label, ObservationType
from train.photos.annotated import ANIMAL, EMPTY, PERSON, VEHICLE
from train.photos.data import DataSet, Photo, beside
from train.texts import objects
from train.words import counted

THRESHOLD = 0.2
"""Confidence from which on a detection counts, where the file does not say (`typical_detection_threshold`)."""
KINDS: dict[str, ObservationType] = {"animal": "animal", "person": "human", "vehicle": "vehicle"}
"""What MegaDetector calls what it finds."""
CLASSES: dict[ObservationType, str] = {"blank": EMPTY, "human": PERSON, "vehicle": VEHICLE, "animal": ANIMAL}
"""What photos without a label are called, where no class of the kind has a name yet."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found: by photo the kind and the box of everything from `threshold` on.

    `failed`: photos that the detector could not read, and why. `missing`: how many named photos are not there, and the
    first of them.
    """

    path: Path
    detector: str
    threshold: float
    found: dict[str, list[tuple[ObservationType, Box]]]
    failed: dict[str, str]
    missing: tuple[str, ...]


@dataclass(slots=True)
class _Tally:
    """What became of the photos: lists of their paths."""

    cut: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    not_blank: list[str] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)


def is_detections(content: object) -> bool:
    """Whether a JSON file's content is in MegaDetector's format."""
    return isinstance(content, dict) and {"images", "detection_categories"} <= set(content)


def read_detections(path: Path, content: Mapping[str, Any], root: Path) -> Detections:
    """What is in a file in MegaDetector's batch format 1.x.

    Args:
        path: the file.
        content: what is in it.
        root: the folder that photos are in; the paths in the file may begin with that folder's name.

    Raises:
        EdgeWatchError: something is missing, of another type or outside its picture, it names no photos, or none that
            is there.
    """
    about = content.get("info")
    about = about if isinstance(about, dict) else {}
    metadata = about.get("detector_metadata")
    threshold = (metadata if isinstance(metadata, dict) else {}).get("typical_detection_threshold", THRESHOLD)
    if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
        raise EdgeWatchError(f"{path}: expected a typical_detection_threshold from 0 to 1, found {threshold!r}; "
                             f"correct it")
    kinds = _kinds(path, content["detection_categories"])
    images = objects(path, content, "images", {"file": str})
    if not images:
        raise EdgeWatchError(f"{path}: expected detections in photos, found no photo; run MegaDetector on {root}, or "
                             f"take the file away")
    found: dict[str, list[tuple[ObservationType, Box]]] = {}
    failed: dict[str, str] = {}
    missing: list[str] = []
    outside: list[str] = []
    for image in images:
        name = _relative(root, beside(root, image["file"]))
        if not os.path.exists(root / name):
            missing.append(name)
        elif image.get("failure"):
            failed[name] = str(image["failure"])
        else:
            found[name] = [*_boxes(path, image, kinds, threshold, outside)]
    if outside:
        raise EdgeWatchError(f"{path}: expected boxes (left, top, width, height as shares 0-1) inside their pictures, "
                             f"found {len(outside)} that are not (the first is {outside[0]}); correct or remove them")
    if len(missing) == len(images):
        raise EdgeWatchError(f"{path}: expected paths relative to {root}, found none of its {len(images)} photos there "
                             f"(the first is {missing[0]}); run MegaDetector on that folder with relative paths, or "
                             f"take the file away")
    return Detections(path, str(about.get("detector", "")), threshold, found, failed, tuple(missing))


def _relative(root: Path, name: str) -> str:
    """A path from `root`: MegaDetector writes whole ones unless told otherwise."""
    above = root.resolve()
    return Path(name).relative_to(above).as_posix() if Path(name).is_absolute() and Path(name).is_relative_to(above) \
        else name


def _kinds(path: Path, categories: object) -> dict[str, ObservationType]:
    if not isinstance(categories, dict) or not all(name in (*KINDS, "empty") for name in categories.values()):
        found = ", ".join(map(str, categories.values())) if isinstance(categories, dict) else repr(categories)
        raise EdgeWatchError(f"{path}: expected the detection_categories {', '.join(KINDS)}, found "
                             f"{found or 'none'}; take the boxes of MegaDetector")
    return {key: KINDS[name] for key, name in categories.items() if name in KINDS}


def _boxes(
    path: Path, image: Mapping[str, Any], kinds: Mapping[str, ObservationType], threshold: float, outside: list[str]
) -> Iterator[tuple[ObservationType, Box]]:
    where = f"of {image['file']}"
    detections = image.get("detections")
    if not isinstance(detections, list):
        raise EdgeWatchError(f"{path}: expected a list of detections {where}, or a failure, found neither; run "
                             f"MegaDetector again")
    for one in detections:
        confidence, category = (one.get("conf"), one.get("category")) if isinstance(one, dict) else (None, None)
        if isinstance(confidence, bool) or not isinstance(confidence, (int, float)):
            raise EdgeWatchError(f"{path}: expected a number as conf {where}, found {confidence!r}; correct it")
        if not isinstance(category, str) or category not in kinds:
            alike = f"; ids are texts: write '{category}'" if str(category) in kinds else "; correct it"
            raise EdgeWatchError(f"{path}: expected a category of {', '.join(map(repr, kinds))} {where}, found "
                                 f"{category!r}{alike}")
        if confidence >= threshold:
            bbox = one.get("bbox")
            box = within(bbox) if isinstance(bbox, list) else None
            if box is None:
                outside.append(f"{bbox} {where}")
            else:
                yield kinds[category], box


def with_boxes(data: DataSet, detections: Detections) -> DataSet:
    """The photos as a detector saw them: cut to what they are labelled as, or left out.

    A photo is there once for each box of its label's kind. One in which the detector found nothing of that kind is
    left out, and so is a blank one in which it found anything. What the detector did not look at, or what has boxes
    of its own, stays as it is. Of photos without a label, those with nothing in them are blank, and people and vehicles
    are cut out of the others; animals only where no photo of the data has a label.

    Args:
        data: the photos.
        detections: of the same root.

    Raises:
        EdgeWatchError: the detections are of none of the photos.
    """
    known = detections.found.keys() | detections.failed.keys()
    if not any(photo.path in known for photo in (*data.photos, *data.unlabelled)):
        raise EdgeWatchError(f"{detections.path}: expected detections in the photos of {data.root}, found none of "
                             f"their paths (the first is {next(iter(known))}); run MegaDetector on that folder with "
                             f"relative paths, or take the file away")
    tally = _Tally()
    photos: list[Photo] = []
    for photo in data.photos:
        photos += _labelled(photo, detections, tally)
    names = dict(CLASSES)
    for label in data.names:
        kind = Label.from_name(label, {}).observation_type
        if kind != "animal":
            names[kind] = label
    crops = len([photo for photo in photos if photo.box])
    for photo in data.unlabelled:
        photos += _unlabelled(photo, detections, names, bool(data.photos), tally)
    more = len([photo for photo in photos if photo.box]) - crops
    left = tuple(photo for photo in data.unlabelled if photo.path not in detections.found)
    photos.sort(key=lambda photo: (photo.name, photo.label))
    return replace(data, photos=tuple(photos), unlabelled=left,
                   notes=(*data.notes, *_notes(detections, tally, crops + more)))


def _labelled(photo: Photo, detections: Detections, tally: _Tally) -> Iterator[Photo]:
    if photo.box or photo.path not in detections.found:
        if not photo.box:
            tally.whole.append(photo.path)
        yield photo
        return
    boxes = detections.found[photo.path]
    kind = Label.from_name(photo.label, {}).observation_type
    wanted = [box for of, box in boxes if of == kind]
    if kind == "blank":
        if boxes:
            tally.not_blank.append(photo.path)
        else:
            yield photo
    elif wanted:
        tally.cut.append(photo.path)
        yield from (replace(photo, box=box) for box in dict.fromkeys(wanted))
    else:
        tally.unseen.append(photo.path)


def _unlabelled(
    photo: Photo, detections: Detections, names: Mapping[ObservationType, str], named: bool, tally: _Tally
) -> Iterator[Photo]:
    boxes = detections.found.get(photo.path)
    if boxes is None:
        return
    if not boxes:
        tally.blank.append(photo.path)
        yield replace(photo, label=names["blank"])
        return
    wanted = [(kind, box) for kind, box in dict.fromkeys(boxes) if not (named and kind == "animal")]
    if wanted:
        tally.cut.append(photo.path)
    else:
        tally.nameless.append(photo.path)
    yield from (replace(photo, label=names[kind], box=box) for kind, box in wanted)


def _notes(detections: Detections, tally: _Tally, crops: int) -> Iterator[str]:
    name = detections.path.name
    detector = f" by {detections.detector}" if detections.detector else ""
    yield (f"{name}: {counted(crops, 'crop')} of {counted(len(set(tally.cut)), 'photo')}, cut around what was found"
           f"{detector} with a confidence of {detections.threshold:g} and more")
    for what, paths in (
        ("blank, without a label and with nothing found in them", tally.blank),
        ("whole, as nothing is said of them", tally.whole),
        ("left out, with nothing of their label's kind found in them", tally.unseen),
        ("left out, labelled blank but with something found in them", tally.not_blank),
        ("left out, without a label and with animals found in them", tally.nameless),
        ("not read by the detector", [*detections.failed]),
        ("named, but not there", detections.missing),
    ):
        if paths:
            yield f"{name}: {what}: {counted(len(paths), 'photo')} (the first is {paths[0]})"
