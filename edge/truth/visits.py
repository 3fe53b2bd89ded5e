"""The truth file: a CSV with a row for each visit as it really was."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.truth.scenes import Scene
from edge.types import Lighting
from models.errors import UnknownSpeciesError, UsageError
from models.labels import LabelMap

COLUMNS = ("clip", "species", "start_s", "end_s")
BEYOND = 1.0
"""Seconds by which a visit may reach beyond its clip: truth is typed by people, and a last frame lasts a moment."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file, which is on its line `line`; without a species it says that there is nothing in the clip."""

    line: int
    clip: str
    species: str
    start: float
    end: float
    lighting: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit as it really was, in seconds from the start of its scene; `lighting` is None where nobody says."""

    species: str
    start: float
    end: float
    lighting: Lighting | None = None


def read_rows(path: Path) -> list[Row]:
    """The rows of a truth file.

    Raises:
        UsageError: no such file, other columns, or times that cannot be.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            found = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or []
    except OSError as error:
        raise UsageError(f"--truth {path}: expected a file that can be read, found {error}; check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--truth {path}: expected a CSV file in UTF-8, found {error}; save it as that") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise UsageError(
            f"--truth {path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(columns) or 'none'}; "
            f"add {', '.join(missing)}"
        )
    return [_row(path, line, row) for line, row in found]


def _row(path: Path, line: int, row: Mapping[str, str | None]) -> Row:
    clip, species, *times = ((row[name] or "").strip() for name in COLUMNS)
    where = f"--truth {path}, line {line}"
    try:
        start, end = (float(time) if species or time else 0.0 for time in times)
    except ValueError as error:
        raise UsageError(f"{where}: expected start_s and end_s in seconds, found {times[0]!r} and {times[1]!r}; "
                         f"correct them") from error  # fmt: skip
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise UsageError(f"{where}: expected a start of 0 or later and an end after it, found {start:g} to {end:g}; "
                         f"correct them")  # fmt: skip
    return Row(line, clip, species, start, end, (row.get("lighting") or "").strip().lower())


def named(rows: Iterable[Row], labels: LabelMap, scenes: Sequence[Scene]) -> tuple[list[Row], list[str]]:
    """The rows with the species as the model names them, and a note on each in these scenes that it does not know.

    A row of a blank class is one that says that there is nothing in the clip.
    """
    files = {name for scene in scenes for name, _ in scene.names}
    known: dict[str, str] = {}
    notes: dict[str, str] = {}
    found = []
    for row in rows:
        if row.species and row.species not in known:
            try:
                label = labels[labels.find(row.species)]
                known[row.species] = "" if label.observation_type == "blank" else label.name
            except UnknownSpeciesError as error:
                known[row.species], notes[row.species] = row.species, str(error).partition("; it knows")[0]
        species = known.get(row.species, "")
        found.append(Row(row.line, row.clip, species, row.start, row.end, row.lighting))
    counts = {name: sum(row.species == name and row.clip in files for row in found) for name in notes}
    return found, [f"{note} (visits in the truth: {counts[name]}; they are shown, not judged)"
                   for name, note in notes.items() if counts[name]]  # fmt: skip


def visits_by_scene(path: Path, rows: Sequence[Row], scenes: Sequence[Scene]) -> list[list[tuple[Row, Visit]]]:
    """The visits of each scene, with the rows that say so.

    Raises:
        UsageError: none of several files is named, or a name is that of two.
    """
    homes: dict[str, list[tuple[int, float]]] = {}
    for number, scene in enumerate(scenes):
        for name, start in scene.names:
            homes.setdefault(name, []).append((number, start))
    found: list[list[tuple[Row, Visit]]] = [[] for _ in scenes]
    matched = False
    for row in rows:
        places = homes.get(row.clip, [])
        if len(places) > 1:
            raise UsageError(f"--truth {path}, line {row.line}: expected the name of one file, found {row.clip}, of "
                             f"which there are {len(places)}; give the path in the folder")  # fmt: skip
        for number, start in places:
            matched = True
            if row.species:
                light = _lighting(row.lighting)
                found[number].append((row, Visit(row.species, start + row.start, start + row.end, light)))
    if not matched and len(scenes) > 1:
        example = rows[0].clip if rows else "no row"
        raise UsageError(f"--truth {path}: expected rows for some of the {len(scenes)} clips, found none; its column "
                         f"clip has names like {example!r}, the files like {scenes[0].name!r}")  # fmt: skip
    return [sorted(visits, key=lambda each: each[1].start) for visits in found]


def _lighting(text: str) -> Lighting | None:
    """`night_ir`, `night_flash` and `night` are night."""
    return "night" if text.startswith("night") else "day" if text.startswith("day") else None


def joined(visits: Iterable[Visit], gap: float) -> list[Visit]:
    """Visits of one species that are no further apart than `gap` seconds as one: of photos each has a row."""
    found: list[Visit] = []
    for visit in sorted(visits, key=lambda visit: visit.start):
        before = next((each for each in reversed(found) if each.species == visit.species), None)
        if before is None or visit.start - before.end > gap:
            found.append(visit)
        else:
            found[found.index(before)] = Visit(
                visit.species, before.start, max(before.end, visit.end), before.lighting or visit.lighting
            )
    return found


def require_within(path: Path, scene: Scene, visits: Iterable[tuple[Row, Visit]], seconds: float) -> None:
    """Check that visits lie within their scene, which is `seconds` long.

    Raises:
        UsageError: the first that does not.
    """
    for row, visit in visits:
        if visit.end > seconds + BEYOND:
            raise UsageError(f"--truth {path}, line {row.line}: expected times within {scene.name}, which lasts "
                             f"{seconds:.1f} s, found {row.start:g} to {row.end:g}; are they seconds, and is this the "
                             f"clip?")  # fmt: skip
