"""Which photos there are, and what they show: whatever kind of thing DATA is."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from models.errors import EdgeWatchError, UsageError
from models.images import SUFFIXES
from train.photos.camtrap import from_package
from train.photos.coco import from_coco
from train.photos.data import DataSet, Photo, beside
from train.photos.detections import is_detections, read_detections, with_boxes
from train.photos.folders import filed
from train.photos.listed import listed
from train.photos.table import has_header, read_table
from train.texts import objects, read_json, read_text
from train.words import counted, some

DETECTIONS = "megadetector"
"""A JSON file in DATA whose name has this in it must hold detections."""
PACKAGE = "datapackage.json"
"""The file of a Camtrap DP that names all others."""


def find_photos(data: Path, exclude: Path | None = None, detections: Path | None = None) -> DataSet:
    """List the photos of DATA, with what they show.

    Args:
        data: DATA. Class folders, or train, val and test folders of such (`train.photos.folders`); a CSV file
            (`train.photos.listed`); a COCO Camera Traps file (`train.photos.coco`); the folder of a Camtrap DP, or its
            datapackage.json (`train.photos.camtrap`); or a file in MegaDetector's format, of photos without labels.
        exclude: a list of photos to leave out; see `read_exclude`.
        detections: a file in MegaDetector's format; None for the one that lies beside the photos, if one does.

    Raises:
        UsageError: no such folder or file, or no list.
        EdgeWatchError: no photos, a file that lacks something or says what cannot be, or a list that names none of the
            photos.
    """
    content = read_json(data) if data.is_file() and data.suffix.lower() == ".json" else None
    if is_detections(content):
        if detections:
            raise UsageError(f"--detections {detections}: expected none with {data}, which holds detections itself; "
                             f"leave it out")
        found = DataSet(data.parent, (), unlabelled=tuple(_named(data, content)))
        detections = data
    else:
        found = _labelled(data, content)
        detections = detections or _beside(found.root, data)
    if detections:
        stated = read_json(detections)
        if not is_detections(stated):
            raise EdgeWatchError(f"{detections}: expected MegaDetector's images and detection_categories, found "
                                 f"{_keys(stated)}; name another file")
        found = with_boxes(found, read_detections(detections, stated, found.root))
    if found.unlabelled:
        count, first = counted(len(found.unlabelled), "photo"), found.unlabelled[0].path
        note = f"left out, without a label: {count} (the first is {first})"
        found = replace(found, unlabelled=(), notes=(*found.notes, note))
    if not found.photos:
        raise EdgeWatchError(f"{data}: expected photos that show something known, found none "
                             f"({'; '.join(found.notes)}); label some, or let MegaDetector look at them")
    return _without(found, exclude) if exclude else found


def _labelled(data: Path, content: Any) -> DataSet:
    if data.is_dir():
        return from_package(data / PACKAGE, read_json(data / PACKAGE)) if (data / PACKAGE).is_file() else filed(data)
    if not data.is_file():
        raise UsageError(f"{data}: expected a folder of photos, or a CSV file that lists some, found none; name a "
                         f"folder with one folder of photos per class")
    if data.suffix.lower() != ".json":
        return listed(data)
    if isinstance(content, dict) and "resources" in content:
        return from_package(data, content)
    if isinstance(content, dict) and {"images", "annotations", "categories"} & set(content):
        return from_coco(data, content)
    raise EdgeWatchError(f"{data}: expected COCO Camera Traps (images, annotations, categories), MegaDetector's "
                         f"detections (images, detection_categories) or a Camtrap DP (resources), found "
                         f"{_keys(content)}; name another file")


def _keys(content: Any) -> str:
    if not isinstance(content, dict):
        return "no object"
    return f"an object of {some(content)}" if content else "an empty object"


def _named(path: Path, content: Any) -> Iterator[Photo]:
    """The photos that a file of detections names, as far as they are there."""
    for image in objects(path, content, "images", {"file": str}):
        name = beside(path.parent, image["file"])
        if PurePosixPath(name).suffix.lower() in SUFFIXES and os.path.exists(path.parent / name):
            yield Photo(name, "")


def _beside(root: Path, data: Path) -> Path | None:
    """The file of detections that lies beside the photos, if one does; DATA itself is none."""
    found = []
    for path in sorted(root.glob("*.json")):
        if path.name in (data.name, PACKAGE):
            continue
        if DETECTIONS in path.name.lower():
            found.append(path)
            continue
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):  # Any file may lie there.
            continue
        if is_detections(content):
            found.append(path)
    if len(found) > 1:
        raise UsageError(f"{root}: expected one file of detections, found {some(path.name for path in found)}; name "
                         f"one with --detections")
    return found[0] if found else None


def data_name(data: Path) -> str:
    """What DATA is called: a folder's name, or a file's without its suffix; of a Camtrap DP that of its folder."""
    path = data.resolve()
    if path.name == PACKAGE:
        return path.parent.name
    return path.stem if path.is_file() else path.name


def read_exclude(path: Path) -> tuple[str, ...]:
    """The photos, folders and classes that a list names: one a line, or a CSV file with a column `path`.

    Raises:
        UsageError: no such file, or it is no text.
    """
    text = read_text(path, "a text file with one photo's path a line", "check --exclude")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and has_header(lines[0]):
        return tuple(row.path for row in read_table(path, ("path",), "--exclude"))
    return tuple(lines)


def _without(data: DataSet, exclude: Path) -> DataSet:
    prefix = data.root.resolve().name + "/"  # A list may also name photos from the folder above DATA.
    listed = {entry.removeprefix("./").rstrip("/") for entry in read_exclude(exclude)}
    kept: list[Photo] = []
    taken_by: Counter[str] = Counter()
    idle = set(listed)
    for photo in data.photos:
        steps = photo.path.split("/")
        above = ["/".join(steps[:depth]) for depth in range(len(steps), 0, -1)]
        names = [name for step in above for name in (step, prefix + step)] + [photo.name, photo.label]
        entry = next((name for name in names if name in listed), None)
        idle.difference_update(names)
        if entry is None:
            kept.append(photo)
        else:
            taken_by[entry] += 1
    gone = len(data.photos) - len(kept)
    if listed and not gone:
        raise EdgeWatchError(f"{exclude}: expected paths relative to {data.root}, found none of its photos "
                             f"(the first is {min(listed)}); correct the list or leave --exclude out")
    notes = [f"excluded: {gone} photos, by {len(taken_by)} of the {len(listed)} entries of {exclude}"
             + (f"; these name no photo: {some(sorted(idle), 3)}" if idle else "")]
    if many := [f"{count} of {entry}" for entry, count in sorted(taken_by.items()) if count > 1]:
        notes.append(f"excluded by folder or class: {some(many)}")
    left = {photo.label for photo in kept}
    for name in data.names:
        if name not in left:
            total = sum(photo.label == name for photo in data.photos)
            notes.append(f"{name}: all {total} photos are excluded, so it is not a class")
    return replace(data, photos=tuple(kept), excluded=gone, notes=(*data.notes, *notes))
