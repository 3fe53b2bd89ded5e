"""What is converted: a float bundle, or a Keras model or SavedModel with a list of its labels."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from models.bundle import CARD, KERAS, MANIFEST, ModelBundle, file_hash
from models.errors import BundleError, EdgeWatchError, UsageError
from models.evaluation import LEAST_THRESHOLD
from models.labels import Label, LabelMap, scientific_names
from models.manifest import LIGHTINGS, InputSpec, Manifest, OperatingPoint, OutputSpec, Provenance, Quantization

SUFFIXES = (".keras", ".h5", ".hdf5")
SAVED_MODEL = "saved_model.pb"
KINDS = f"a float bundle, a {SUFFIXES[0]} or {SUFFIXES[1]} file, or a SavedModel's folder"


@dataclass(frozen=True, slots=True)
class Parent:
    """A trained network and what is known of it.

    `path` is as the user named it; `model` the Keras file or the SavedModel's folder. `manifest` and `card` are the
    float bundle's. For a bare model the card is empty and the manifest a made-up one: temperature 1, thresholds from no
    photos, and an input size of 0 until `fitted` gives it.
    """

    path: Path
    model: Path
    labels: LabelMap
    manifest: Manifest
    card: str
    bundle: ModelBundle | None

    @property
    def sha256(self) -> str:
        """Of the bundle's manifest, which holds those of its files, or of the model's file or files."""
        if self.bundle is not None:
            return file_hash(self.path / MANIFEST)
        if self.model.is_file():
            return file_hash(self.model)
        files = sorted(file.relative_to(self.model).as_posix() for file in self.model.rglob("*") if file.is_file())
        return hashlib.sha256("".join(f"{file_hash(self.model / file)}  {file}\n" for file in files).encode()
                              ).hexdigest()

    @property
    def size_bytes(self) -> int:
        """The size of the model's file or files."""
        files = [self.model] if self.model.is_file() else self.model.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def fitted(self, size: int, classes: int) -> Parent:
        """This one, with its network's input size if that was not known.

        Args:
            size: pixels a side of the network's input.
            classes: its outputs.

        Raises:
            EdgeWatchError: there are more or fewer labels than outputs, or a bundle states another size.
        """
        if classes != len(self.labels):
            raise EdgeWatchError(f"{self.path}: expected a label for each of the network's {classes} outputs, found "
                                 f"{len(self.labels)} labels ({self.labels.names[0]} to {self.labels.names[-1]}); "
                                 + ("train the model again" if self.bundle else "correct the file of --labels"))
        if self.bundle is None:
            return replace(self, manifest=replace(self.manifest, input=InputSpec(size)))
        if size != self.manifest.input.size:
            raise EdgeWatchError(f"{self.path}: expected a network for {self.manifest.input.size} px, found one for "
                                 f"{size} px; train the model again")
        return self


def open_parent(path: Path, labels: Path | None = None) -> Parent:
    """Open what shall be converted; the network itself is not read.

    Args:
        path: a float bundle, a .keras or .h5 file, or a SavedModel's folder.
        labels: of a bare model: a labels.csv as bundles have it, or a text file with a name a line.

    Raises:
        UsageError: a bundle with a list of labels, a bare model without one, or a list that cannot be read.
        BundleError: a damaged bundle, or one that is converted already.
        EdgeWatchError: none of these, or a list of labels that is none.
    """
    if (path / MANIFEST).is_file():
        if labels is not None:
            raise UsageError(f"--labels: expected none with a bundle, which has labels of its own, found {labels}; "
                             f"leave it out")
        return _bundle(path)
    if not ((path.is_file() and path.suffix in SUFFIXES) or (path / SAVED_MODEL).is_file()):
        raise EdgeWatchError(f"{path}: expected {KINDS}, found {_what(path)}; "
                             f"name another, or make a bundle with `train fit`")
    if labels is None:
        raise UsageError(f"{path}: expected --labels FILE with a model that is no bundle, found none; type --labels "
                         f"and a text file with the name of a class a line, in the order of the network's outputs")
    return _bare(path, read_labels(labels))


def _what(path: Path) -> str:
    if not path.exists():
        return "nothing"
    if path.suffix == ".tflite":
        return "a file that is converted already"
    return f"a folder without {MANIFEST} and {SAVED_MODEL}" if path.is_dir() else "another file"


def _bundle(path: Path) -> Parent:
    bundle = ModelBundle.open(path)
    if not bundle.is_float:
        raise BundleError(f"{path}: expected a float bundle, found one that is converted already "
                          f"({bundle.manifest.quantization.scheme}); name the bundle that `train fit` wrote")
    card = (path / CARD).read_text(encoding="utf-8") if CARD in bundle.manifest.files else ""
    return Parent(path, path / KERAS, bundle.labels, bundle.manifest, card, bundle)


def _bare(path: Path, labels: LabelMap) -> Parent:
    unknown = OperatingPoint(LEAST_THRESHOLD, 0.0, 0.0, 0)
    manifest = Manifest(
        name=path.resolve().name if path.is_dir() else path.stem, version="1", input=InputSpec(0),
        output=OutputSpec(len(labels)), temperature=1.0, quantization=Quantization(),
        operating_points={name: dict.fromkeys(LIGHTINGS, unknown) for name in labels.names},
        metrics={}, verified=False, files={},
        provenance=Provenance("", "", {}, "", {}, "unknown", "unknown", 0),
    )
    return Parent(path, path, labels, manifest, "", None)


def read_labels(path: Path) -> LabelMap:
    """Read a list of classes: a labels.csv as bundles have it, or text with a name a line.

    In text, numbers before all names (`0 tiger`, `0: tiger`, as Coral's tools write) say which output each one is.
    Scientific names and kinds are filled in as `train` does for folders of these names.

    Raises:
        UsageError: it cannot be read, or is no text.
        EdgeWatchError: it names no class, or a class or an output twice, or its columns are not those of labels.csv.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {path}: expected a text file in UTF-8, found "
                         f"{'none' if isinstance(error, FileNotFoundError) else error}; correct it") from error
    lines = [line.strip() for line in text.strip().splitlines()]
    if lines and {"index", "name"} & set(lines[0].lower().split(",")):
        try:
            return LabelMap.from_csv(text)
        except BundleError as error:  # It speaks of the file in a bundle.
            raise EdgeWatchError(f"{path}: {str(error).partition(': ')[2]}; correct the file, or write only names, one "
                                 f"a line") from error
    known = scientific_names()
    return LabelMap(Label.from_name(name, known) for name in _in_order(path, lines))


def _in_order(path: Path, lines: list[str]) -> list[str]:
    if "" in lines or not lines:
        found = f"line {lines.index('') + 1} empty" if lines else "none"
        raise EdgeWatchError(f"{path}: expected the name of a class in each line, found {found}; write one a line")
    numbered = [re.fullmatch(r"(\d+)(?::\s*|\s+)(\S.*)", line) for line in lines]
    pairs = sorted((int(found[1]), found[2]) for found in numbered if found)
    if len(pairs) == len(lines) and [number for number, _ in pairs] != list(range(len(pairs))):
        raise EdgeWatchError(f"{path}: expected each number from 0 to {len(pairs) - 1} once, found "
                             f"{', '.join(str(number) for number, _ in pairs)[:80]}; correct the numbers")
    names = [name for _, name in pairs] if len(pairs) == len(lines) else lines
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise EdgeWatchError(f"{path}: expected each name once, found {twice[0]} {names.count(twice[0])} times; "
                             f"rename one of them")
    return names
