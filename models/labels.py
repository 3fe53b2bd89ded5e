"""The classes of a model: names, scientific names and what kind of observation each one is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args, overload

from models.errors import BundleError, UnknownSpeciesError, UsageError

ObservationType = Literal["animal", "human", "vehicle", "blank"]
FIELDS = ("index", "name", "display_name", "scientific_name", "observation_type")

_KINDS: dict[str, ObservationType] = {
    **dict.fromkeys(("empty", "blank", "none", "background"), "blank"),
    **dict.fromkeys(("person", "people", "human", "persons", "humans", "homo_sapiens", "homo sapiens"), "human"),
    **dict.fromkeys(("vehicle", "car"), "vehicle"),
}


def is_human(name: str) -> bool:
    """Whether a folder of photos, or a species as somebody names it, stands for people."""
    return _KINDS.get(name.lower()) == "human"


@dataclass(frozen=True, slots=True)
class Label:
    """One class: `name` as in the folder of photos, the others for people."""

    name: str
    display_name: str
    scientific_name: str
    observation_type: ObservationType

    @classmethod
    def from_name(cls, name: str, scientific_names: dict[str, str]) -> Label:
        """The label of a folder of photos called `name`; the scientific name is empty where unknown."""
        kind = _KINDS.get(name.lower(), "animal")
        display = name.replace("_", " ").replace("-", " ").strip().capitalize()
        return cls(name, display, scientific_names.get(name.lower(), ""), kind)


class LabelMap(Sequence[Label]):
    """The classes in the order of the model's outputs."""

    def __init__(self, labels: Iterable[Label]) -> None:
        self._labels = tuple(labels)
        self.names = tuple(label.name for label in self._labels)
        if len(set(self.names)) != len(self.names):
            raise BundleError(f"labels: expected each name once, found {sorted(self.names)}; rename one of them")

    @overload
    def __getitem__(self, index: int) -> Label: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Label]: ...
    def __getitem__(self, index: int | slice) -> Label | Sequence[Label]:
        return self._labels[index]

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelMap) and self._labels == other._labels

    def __hash__(self) -> int:
        return hash(self._labels)

    def find(self, species: str) -> int:
        """The index of a species typed by a person: name, display name or scientific name, any case.

        Raises:
            UnknownSpeciesError: no such class; the message lists near matches.
        """
        return self.names.index(look_up(species, self.known(), f"it knows: {', '.join(self.names)}"))

    def known(self) -> dict[str, str]:
        """The names of the classes by each text that a person may mean them with, `plain`."""
        found: dict[str, str] = {}
        for label in self._labels:
            for text in (label.name, label.display_name, label.scientific_name):
                found.setdefault(plain(text), label.name)
        found.pop("", None)
        return found

    def of_type(self, kind: ObservationType) -> tuple[int, ...]:
        """The indexes of the classes of one observation type."""
        return tuple(index for index, label in enumerate(self._labels) if label.observation_type == kind)

    def to_csv(self) -> str:
        """The text of `labels.csv`."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(FIELDS)
        for index, label in enumerate(self._labels):
            writer.writerow((index, label.name, label.display_name, label.scientific_name, label.observation_type))
        return out.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> LabelMap:
        """Read `labels.csv`.

        Raises:
            BundleError: other columns, indexes out of order, or an unknown observation type.
        """
        rows = list(csv.DictReader(io.StringIO(text)))
        if not rows or set(rows[0]) != set(FIELDS):
            raise BundleError(f"labels.csv: expected the columns {','.join(FIELDS)}, found {text.splitlines()[:1]}")
        labels = []
        for expected, row in enumerate(rows):
            if row["index"] != str(expected) or row["observation_type"] not in get_args(ObservationType):
                raise BundleError(f"labels.csv: expected index {expected} and a known observation_type, found {row}")
            kind = cast(ObservationType, row["observation_type"])
            labels.append(Label(row["name"], row["display_name"], row["scientific_name"], kind))
        return cls(labels)


def scientific_names(data: Path | None = None) -> dict[str, str]:
    """Scientific names by lower-case class name: the shipped table, with `DATA/labels.csv` over it.

    `DATA/labels.csv` has at least the columns `name` and `scientific_name`.

    Raises:
        UsageError: it is no CSV file.
    """
    table = _read_names(Path(__file__).with_name("species.csv"))
    if data is not None and (data / "labels.csv").is_file():
        table |= _read_names(data / "labels.csv")
    return table


def _read_names(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {
                row["name"].lower(): row["scientific_name"]
                for row in csv.DictReader(file)
                if row.get("name") and row.get("scientific_name")
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path}: expected a CSV file in UTF-8, found {error}; save it as CSV UTF-8, or move it"
        ) from error


def plain(text: str) -> str:
    """A name without what people type in several ways."""
    return text.strip().lower().replace("_", " ").replace("-", " ")


def look_up(typed: str, known: Mapping[str, str], all_known: str) -> str:
    """What a person means by a text; `known`: names by `plain` texts, `all_known`: said where nothing is near.

    Raises:
        UnknownSpeciesError: nothing; the message lists near matches.
    """
    if plain(typed) in known:
        return known[plain(typed)]
    import difflib  # for people who mistype only

    near = difflib.get_close_matches(plain(typed), known, n=5, cutoff=0.5)
    names = ", ".join(dict.fromkeys(known[text] for text in near))
    raise UnknownSpeciesError(f"the model does not know {typed!r}; {f'did you mean: {names}?' if near else all_known}")
