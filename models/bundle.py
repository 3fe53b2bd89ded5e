"""A model bundle on disk: open it, check it, write it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import BundleError, EdgeWatchError
from models.labels import LabelMap
from models.manifest import LIGHTINGS, Manifest

MANIFEST, LABELS, TFLITE, KERAS = "manifest.json", "labels.csv", "model.tflite", "model.keras"
GOLDEN, CALIBRATION, SPLIT, CARD = "golden.npz", "calibration.npz", "split.csv", "CARD.md"
ALARMS = "alarms.json"
"""What false alarms the edge has to expect of it, where that was measured; a bundle may do without."""
DEFAULT = "wildlife-1-int8"


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """A folder that holds a model and all that is known of it; every file in it has been checked."""

    path: Path
    manifest: Manifest
    labels: LabelMap

    @classmethod
    def open(cls, path: Path) -> ModelBundle:
        """Open a bundle and check every hash, the label count and that its model is there.

        Raises:
            BundleError: what was expected, what was found, and what to do.
        """
        if not (path / MANIFEST).is_file():
            raise BundleError(
                f"{path}: expected a model bundle (a folder with {MANIFEST}), found none; "
                f"make one with `train fit` and `convert`"
            )
        try:
            manifest = Manifest.from_json((path / MANIFEST).read_text(encoding="utf-8", errors="replace"))
        except BundleError as error:
            raise BundleError(f"{path}/{error}") from error
        for name, expected in manifest.files.items():
            found = file_hash(path / name) if (path / name).is_file() else "no such file"
            if found != expected:
                raise BundleError(
                    f"{path / name}: expected sha256 {expected[:12]}, found {found[:12]}; "
                    f"the bundle is damaged, copy it again"
                )
        for name in (LABELS, GOLDEN):
            if name not in manifest.files:
                raise BundleError(f"{path}: expected {name} among the bundle's files, found none; make it again")
        if not {TFLITE, KERAS} & set(manifest.files):
            raise BundleError(f"{path}: expected {TFLITE} or {KERAS}, found neither; make the bundle again")
        labels = LabelMap.from_csv((path / LABELS).read_text(encoding="utf-8"))
        if len(labels) != manifest.output.classes:
            raise BundleError(
                f"{path}: expected {manifest.output.classes} labels, found {len(labels)}; "
                f"the bundle is damaged, make it again"
            )
        for label in labels:
            points = manifest.operating_points.get(label.name, {})
            if set(points) != set(LIGHTINGS) or not all(0 < point.threshold <= 1 for point in points.values()):
                raise BundleError(
                    f"{path}: expected an operating point of {label.name} for day and night, found "
                    f"{points or 'none'}; make the bundle again"
                )
        return cls(path, manifest, labels)

    @property
    def title(self) -> str:
        """Name and version, as `wildlife 1`."""
        return f"{self.manifest.name} {self.manifest.version}"

    @property
    def is_float(self) -> bool:
        """Whether it holds a Keras model: the input of `convert`, which the edge cannot run."""
        return KERAS in self.manifest.files

    @property
    def model(self) -> Path:
        """The file with the network."""
        return self.path / (KERAS if self.is_float else TFLITE)


def write_bundle(
    path: Path, manifest: Manifest, labels: LabelMap, files: Mapping[str, bytes | Path], force: bool = False
) -> ModelBundle:
    """Write a bundle, whole or not at all.

    Args:
        path: the new folder; its parents are made.
        manifest: `files` is filled in here.
        labels: written as `labels.csv`.
        files: by name in the bundle, the content or a file to move in.
        force: replace a folder that is already a bundle.

    Raises:
        EdgeWatchError: the folder exists, or cannot be written; nothing is left behind.
    """
    # Slow to import, and a trap only reads bundles.
    import shutil
    import tempfile

    require_free(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise EdgeWatchError(f"{path}: cannot be written: {error.strerror}; choose another --out") from error
    try:
        return _fill(path, working, manifest, labels, files)
    except OSError as error:
        raise EdgeWatchError(
            f"{path}: cannot be written: {error.strerror}; make room or choose another --out"
        ) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)


def require_free(path: Path, force: bool = False) -> None:
    """Check before a long job that a bundle can be written there.

    Raises:
        EdgeWatchError: the folder exists and is not a bundle to replace, or its parent cannot be written to.
    """
    require_writable(path)
    if path.exists() and not (force and (path / MANIFEST).is_file()):
        raise EdgeWatchError(
            f"{path}: expected no such folder, found one; choose another --out or type --force "
            f"(which replaces bundles only)"
        )


def require_writable(path: Path, option: str = "--out") -> None:
    """Check before a long job that a folder can be made there, by making and removing one beside it.

    Args:
        path: the folder to be.
        option: what names it, for the message.

    Raises:
        EdgeWatchError: the folder that it would be in cannot be written to.
    """
    import errno
    import tempfile

    parent = path.absolute().parent
    try:
        parent = next(folder for folder in (*path.absolute().parents, Path("/")) if folder.exists())
        # Tried, not asked for: a folder such as /proc says that it can be written to, and then refuses.
        os.rmdir(tempfile.mkdtemp(prefix=f".{path.name}-", dir=parent))
    except NotADirectoryError as error:
        raise EdgeWatchError(f"{path}: cannot be written: {parent} is a file; choose another {option}") from error
    except OSError as error:
        reason = (
            "is read-only"
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
            else (f"takes no new folder ({error.strerror})")
        )
        raise EdgeWatchError(f"{path}: cannot be written: {parent} {reason}; choose another {option}") from error


def _fill(
    path: Path, working: Path, manifest: Manifest, labels: LabelMap, files: Mapping[str, bytes | Path]
) -> ModelBundle:
    import shutil

    (working / LABELS).write_text(labels.to_csv(), encoding="utf-8")
    for name, content in files.items():
        if isinstance(content, Path):
            shutil.move(content, working / name)
        else:
            (working / name).write_bytes(content)
    hashes = {file.name: file_hash(file) for file in sorted(working.iterdir())}
    complete = dataclasses.replace(manifest, files=hashes)
    (working / MANIFEST).write_text(complete.to_json(), encoding="utf-8")
    ModelBundle.open(working)
    working.chmod(0o755)
    aside = working.with_name(f"{working.name}-old")
    if path.exists():
        os.replace(path, aside)  # Deleted only when the new one is in its place.
    os.replace(working, path)
    shutil.rmtree(aside, ignore_errors=True)
    return ModelBundle.open(path)


def file_hash(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_bundle() -> Path:
    """The published bundle that is installed with the edge."""
    return Path(__file__).parent / "bundles" / DEFAULT


def newest_float(runs: Path) -> Path:
    """The float bundle under `runs` that was written last.

    Raises:
        EdgeWatchError: there is none.
    """
    found = [manifest for manifest in runs.glob(f"**/{MANIFEST}") if (manifest.parent / KERAS).is_file()]
    if not found:
        raise EdgeWatchError(
            f"{runs}/: expected a float bundle, found none; make one with `train fit PHOTOS` or name one"
        )
    return max(found, key=lambda manifest: manifest.stat().st_mtime).parent
