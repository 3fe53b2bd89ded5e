"""Photos of a COCO Camera Traps file, the format of LILA's data sets."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models.boxes import Box, within
from models.errors import EdgeWatchError, ImageError
from models.images import read_image
from train.photos.annotated import Annotated, Annotation, class_name, data_set
from train.photos.data import DataSet, Photo
from train.photos.table import taken
from train.texts import objects
from train.words import counted

Id = int | str


def from_coco(path: Path, content: Mapping[str, Any]) -> DataSet:
    """The photos of a COCO Camera Traps file.

    `location`, `seq_id` and `datetime` of an image are its location, sequence and timestamp. Paths (`file_name`) are
    relative to the file's folder, or to a folder beside the file.

    Args:
        path: the file.
        content: what is in it.

    Raises:
        EdgeWatchError: something in it is missing, of another type, unknown or outside its picture; or no photo is
            there.
    """
    images = _by_id(path, content, "images", {"file_name": str})
    categories = _by_id(path, content, "categories", {"name": str})
    names = {key: class_name(category["name"]) for key, category in categories.items()}
    if nameless := [key for key, name in names.items() if not name]:
        raise EdgeWatchError(f"{path}: expected a name for each of its categories, found none for {nameless[0]!r}; "
                             f"add it")
    said = _by_image(path, content, images, names)
    folder = _folder(path.parent, [image["file_name"] for image in images.values()])
    prefix = "" if folder == path.parent else f"{folder.name}/"
    corrupt = sum(image.get("corrupt") is True for image in images.values())
    notes = [f"{path.name}: left out: {counted(corrupt, 'photo')} marked as corrupt"] if corrupt else []
    outside: list[str] = []
    found = []
    for key, image in images.items():
        if image.get("corrupt") is True:
            continue
        photo = Photo(prefix + image["file_name"], "", location=_place(image.get("location")),
                      sequence=_text(image.get("seq_id")), timestamp=_time(image.get("datetime")))
        annotations = []
        for annotation in said[key]:
            box = _box(path.parent / photo.path, image, annotation["bbox"], outside) if annotation.get("bbox") else None
            annotations.append(Annotation(names[annotation["category_id"]], box))
        found.append(Annotated(photo, tuple(annotations)))
    if outside:
        raise EdgeWatchError(f"{path}: expected boxes (left, top, width, height in pixels) inside their pictures, "
                             f"found {len(outside)} that are not (the first is {outside[0]}); correct or remove them")
    return data_set(path, path.parent, found, notes)


def _by_id(path: Path, content: Mapping[str, Any], name: str, needed: Mapping[str, type]) -> dict[Id, dict[str, Any]]:
    found: dict[Id, dict[str, Any]] = {}
    for entry in objects(path, content, name, needed):
        key = _id(path, name, entry, "id")
        if key in found:
            raise EdgeWatchError(f"{path}: expected each id of {name} once, found {key!r} twice; remove one")
        found[key] = entry
    return found


def _by_image(
    path: Path, content: Mapping[str, Any], images: Mapping[Id, Any], names: Mapping[Id, str]
) -> dict[Id, list[dict[str, Any]]]:
    said: dict[Id, list[dict[str, Any]]] = defaultdict(list)
    strange: dict[str, list[Id]] = {"image_id": [], "category_id": []}
    for annotation in objects(path, content, "annotations", {}):
        for field, known in (("image_id", images), ("category_id", names)):
            key = _id(path, "annotations", annotation, field)
            if key not in known:
                strange[field].append(key)
        said[annotation["image_id"]].append(annotation)
    for field, known in (("category_id", names), ("image_id", images)):
        if keys := strange[field]:
            other = " as a number" if isinstance(keys[0], str) else " as a text"
            alike = f", but has it{other}" if str(keys[0]) in map(str, known) else ""
            many = "categories" if field == "category_id" else "images"
            raise EdgeWatchError(f"{path}: expected each {field} to be an id of its {many}, found "
                                 f"{counted(len(keys), 'annotation')} with another (the first is {keys[0]!r}{alike}); "
                                 f"{'write both alike' if alike else f'add it to the {many} or correct it'}")
    return said


def _id(path: Path, name: str, entry: Mapping[str, Any], field: str) -> Id:
    found = entry.get(field)
    if isinstance(found, bool) or not isinstance(found, (int, str)):
        raise EdgeWatchError(f"{path}: expected a number or a text as {field} in each of its {name}, found {found!r}; "
                             f"correct it")
    return found


def _folder(folder: Path, names: Iterable[str]) -> Path:
    """The folder that paths are relative to: the file's own, or the first one in it that has any of the photos."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return next((place for place in (folder, *inner) if any(os.path.exists(place / name) for name in names)), folder)


def _box(file: Path, image: Mapping[str, Any], bbox: Any, outside: list[str]) -> Box | None:
    """An animal's box as shares; one that cannot be is noted in `outside`."""
    if not os.path.exists(file):
        return None
    try:
        width, height = _size(file, image)
    except ImageError:
        return None  # Whoever reads the photo says so.
    found = None
    if isinstance(bbox, list) and len(bbox) == 4 and all(type(value) in (int, float) for value in bbox):
        found = within((bbox[0] / width, bbox[1] / height, bbox[2] / width, bbox[3] / height))
    if found is None:
        outside.append(f"{bbox} of {image['file_name']}, {width} x {height} px")
    return found


def _size(file: Path, image: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels of the picture that boxes are drawn in: as stated, since a photo may have been shrunk later."""
    stated = image.get("width"), image.get("height")
    if all(type(value) is int and value > 0 for value in stated):
        return stated  # type: ignore[return-value]
    height, width = read_image(file).shape[:2]
    return width, height


def _place(value: object) -> str:
    text = _text(value)
    return "" if text.lower() == "unknown" else text


def _time(value: object) -> str:
    time = taken(_text(value))
    return time.isoformat() if time else ""


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
