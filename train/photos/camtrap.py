"""Photos of a Camera Trap Data Package (Camtrap DP 1.0), labelled by its observations."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.boxes import Box, within
from models.errors import EdgeWatchError
from train.photos.annotated import EMPTY, PERSON, VEHICLE, Annotated, Annotation, class_name, data_set
from train.photos.data import DataSet, Photo
from train.photos.table import taken
from train.texts import read_text
from train.words import counted

TABLES = {
    "deployments": ("deploymentID",),
    "media": ("mediaID", "deploymentID", "timestamp", "filePath", "fileMediatype"),
    "observations": ("observationID", "deploymentID", "eventStart", "eventEnd", "observationLevel", "observationType"),
}
"""The three tables, and the columns of them that are needed here; the standard requires all of them."""
BBOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
NAMES = {"human": PERSON, "vehicle": VEHICLE, "blank": EMPTY}
"""What an observation that is none of an animal is called."""

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Event:
    """What was observed of one event: everything that was taken from `start` to `end` belongs to it."""

    start: datetime
    end: datetime
    id: str
    rows: list[Row]


def from_package(path: Path, content: Any) -> DataSet:
    """The photos of a Camtrap DP.

    What is observed in a single photo goes before what is observed of the event that it belongs to. The location is
    that of the deployment (`locationID`, else `deploymentID`), the sequence the event. A species is called by its
    English name where the package has one (`taxonomic`), else by its scientific name.

    Args:
        path: its `datapackage.json`.
        content: what is in it.

    Raises:
        EdgeWatchError: a table or a column is missing, a row names what is not there or has a box outside its picture,
            or no photo is there.
    """
    tables = _tables(path, content)
    places = {row["deploymentID"]: row.get("locationID") or row["deploymentID"] for row in tables["deployments"]}
    media = {row["mediaID"]: row for row in tables["media"]}
    of_photo: dict[str, list[Row]] = defaultdict(list)
    for row in tables["observations"]:
        of_photo[row.get("mediaID", "")].append(row)
    events = _events(path, tables["observations"])
    names, scientific = _names(content, tables["observations"])
    photos = [row for row in media.values() if row["fileMediatype"].startswith("image/")]
    notes = []
    if videos := len(media) - len(photos):
        notes.append(f"{path.name}: left out, as they are no photos: {counted(videos, 'file')}")
    outside: list[str] = []
    nameless: list[str] = []
    found = []
    for row in photos:
        during = [*_during(row, events[row["deploymentID"]])]
        rows = of_photo[row["mediaID"]] or [each for event in during for each in event.rows]
        if any(each["observationType"] == "animal" and not each.get("scientificName") for each in rows):
            nameless.append(row["filePath"])
            continue
        sequence = next((each["eventID"] for each in rows if each.get("eventID")), during[0].id if during else "")
        time = taken(row["timestamp"])
        photo = Photo(row["filePath"], "", location=places[row["deploymentID"]], sequence=sequence,
                      timestamp=time.isoformat() if time else "")
        found.append(Annotated(photo, tuple(_annotations(rows, names, outside))))
    if outside:
        raise EdgeWatchError(f"{path}: expected boxes (bboxX, bboxY, bboxWidth, bboxHeight as shares 0-1) inside their "
                             f"pictures, found {len(outside)} that are not (the first is {outside[0]}); correct or "
                             f"remove them")
    if nameless:
        notes.append(f"{path.name}: left out: {counted(len(nameless), 'photo')} of animals without a scientificName "
                     f"(the first is {nameless[0]})")
    return data_set(path, path.parent, found, notes, scientific,
                    "download them, and correct filePath in media where it is an address")


def _tables(path: Path, content: Any) -> dict[str, list[Row]]:
    if not isinstance(content, dict):
        raise EdgeWatchError(f"{path}: expected an object as a Camtrap DP has, found none; write it again or name "
                             f"another folder")
    stated = {str(entry.get("name")): entry.get("path") for entry in _objects(content, "resources")}
    tables = {}
    for name, columns in TABLES.items():
        place = stated.get(name)
        file = path.parent / (place if isinstance(place, str) else f"{name}.csv")
        if not file.is_file():
            raise EdgeWatchError(f"{path}: expected the tables {', '.join(TABLES)} of a Camtrap DP beside it, found no "
                                 f"{file.relative_to(path.parent)}; copy all of the package there")
        tables[name] = _rows(file, columns)
    places = {row["deploymentID"] for row in tables["deployments"]}
    media = {row["mediaID"] for row in tables["media"]}
    _require_known(path, "media", tables["media"], "deploymentID", places)
    _require_known(path, "observations", tables["observations"], "deploymentID", places)
    single = [row for row in tables["observations"] if row.get("mediaID")]
    _require_known(path, "observations", single, "mediaID", media)
    return tables


def _rows(file: Path, columns: Sequence[str]) -> list[Row]:
    text = read_text(file, "a CSV file in UTF-8", "export the package again")
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    try:
        rows = [{name: cell.strip() for name, cell in row.items() if name} for row in reader]
    except csv.Error as error:
        raise EdgeWatchError(f"{file}: expected a row of a CSV file in line {reader.line_num}, found: {error}; export "
                             f"the package again") from error
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise EdgeWatchError(f"{file}: expected the columns of Camtrap DP 1.0, found no {missing[0]}; export the "
                             f"package in that version")
    return rows


def _require_known(path: Path, table: str, rows: Iterable[Row], column: str, known: Set[str]) -> None:
    strange = [row[column] for row in rows if row[column] not in known]
    if strange:
        other = "media" if column == "mediaID" else "deployments"
        name = _short(strange[0]) or "empty"
        raise EdgeWatchError(f"{path}: expected each {column} of {table} to be in {other}, found "
                             f"{counted(len(strange), 'row')} with another (the first is {name}); add it to "
                             f"{other} or remove the rows")


def _short(cell: str) -> str:
    """A cell for a message: where quotes are not closed, it goes on to the end of the file."""
    text = " ".join(cell.split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _events(path: Path, observations: Iterable[Row]) -> dict[str, list[_Event]]:
    """What was observed of events, by deployment."""
    grouped: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in observations:
        if not row.get("mediaID"):
            grouped[row["deploymentID"], row.get("eventID", ""), row["eventStart"], row["eventEnd"]].append(row)
    events: dict[str, list[_Event]] = defaultdict(list)
    for (deployment, name, start, end), rows in grouped.items():
        first, last = _moment(start), _moment(end)
        if first is None or last is None:
            raise EdgeWatchError(f"{path}: expected times as 2026-05-31T04:15:00Z as eventStart and eventEnd, found "
                                 f"{start or 'none'} and {end or 'none'} of {rows[0]['observationID']}; correct them")
        events[deployment].append(_Event(first, last, name, rows))
    return events


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def _during(row: Row, events: Iterable[_Event]) -> Iterator[_Event]:
    """The events that a photo belongs to: the standard links them by time alone."""
    time = _moment(row["timestamp"])
    if time is not None:
        yield from (event for event in events if event.start <= time <= event.end)


def _objects(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = content.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _names(content: Mapping[str, Any], observations: Iterable[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """What each species is called as a class, and the scientific name of each class."""
    english: dict[str, str] = {}
    for taxon in _objects(content, "taxonomic"):
        common = taxon.get("vernacularNames")
        for language in ("en", "eng"):
            if isinstance(common, dict) and isinstance(common.get(language), str):
                english.setdefault(str(taxon.get("scientificName")), common[language])
    seen = {row.get("scientificName", "") for row in observations if row["observationType"] == "animal"} - {""}
    names = {species: class_name(english.get(species) or species) for species in seen}
    return names, {names[species]: species for species in sorted(seen, reverse=True)}


def _annotations(rows: Iterable[Row], names: Mapping[str, str], outside: list[str]) -> Iterator[Annotation]:
    """The classes and boxes of a photo; one that cannot be is noted in `outside`."""
    for row in rows:
        if row["observationType"] == "animal":
            yield Annotation(names[row["scientificName"]], _box(row, outside))
        elif row["observationType"] in NAMES:
            yield Annotation(NAMES[row["observationType"]], _box(row, outside))


def _box(row: Row, outside: list[str]) -> Box | None:
    cells = [row.get(name, "") for name in BBOX]
    if not any(cells) or not row.get("mediaID"):
        return None
    try:
        box = within([float(cell) for cell in cells])
    except ValueError:
        box = None
    if box is None:
        outside.append(f"{', '.join(map(_short, cells))} of {_short(row['observationID'])}")
    return box
