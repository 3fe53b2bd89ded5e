"""What a training has reached, kept beside its bundle-to-be: an interruption costs one epoch at most."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import EdgeWatchError
from train.recipe import Recipe

CHECKPOINT, SUFFIX, LOGS = "checkpoint", ".partial", "logs"
EVENTS = "events.out.tfevents.*"
"""What TensorBoard's files are called."""
DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class State:
    """What is needed to go on: what was found after each epoch, and lists of arrays by their names."""

    history: list[dict[str, float]]
    arrays: dict[str, list[NDArray[Any]]]


class Partial:
    """The folder `<out>.partial` of one training: its last checkpoint, and `work` for what is needed only meanwhile.

    `state` is what an earlier run had reached, or None. `logs` is the folder for TensorBoard's files, which outlasts
    the training if that leaves a bundle or a checkpoint. Until `close` no other run can take the folder.
    """

    def __init__(self, out: Path, recipe: Recipe, resume: bool = False, force: bool = False) -> None:
        """Make the folder, or take up the one that is there.

        Args:
            out: the bundle-to-be.
            recipe: what is trained with.
            resume: go on from the checkpoint, if there is one.
            force: if not, forget it.

        Raises:
            EdgeWatchError: there is a checkpoint, and neither is wanted; it is damaged, or of another recipe; another
                run has the folder; or it cannot be written; or `logs` cannot.
        """
        self.path = out.with_name(out.name + SUFFIX)
        self.work = self.path / "work"
        self.logs = out.parent / LOGS / out.name
        self._out = out
        self.state: State | None = None
        self._file = self.path / CHECKPOINT
        self._about: dict[str, Any] = {"recipe": asdict(recipe)}
        self._stored: dict[str, Any] = {}
        _require_logs(out, self.logs)
        self._lock: int | None = self._take()
        with ExitStack() as undo:
            undo.callback(self.close)
            if self._file.exists() and not resume and not force:
                raise EdgeWatchError(f"{self.path}: expected no unfinished training, found one; type --resume to go on "
                                     f"with it, or --force to start anew")
            if self._file.exists() and resume:
                self._stored, self.state = self._read()
                self._require("recipe", _flat(self._stored["recipe"]), _flat(self._about["recipe"]))
            else:
                self._file.unlink(missing_ok=True)
            shutil.rmtree(self.work, ignore_errors=True)  # A killed run may have left it.
            self.work.mkdir()
            undo.pop_all()

    def begin(self, photos: str, versions: Mapping[str, str]) -> None:
        """Say what the training rests on, before it goes on or starts.

        Args:
            photos: the text of `split.csv`.
            versions: of the libraries.

        Raises:
            EdgeWatchError: the checkpoint rests on other photos, another split or other versions.
        """
        self._about |= {"versions": dict(versions), "photos": photos}
        if self.state is not None:
            self._require("versions", self._stored["versions"], self._about["versions"])
            before, now = set(self._stored["photos"].splitlines()), set(photos.splitlines())
            if before != now:
                raise EdgeWatchError(
                    f"{self.path}: expected the photos and the split that this training began with, found "
                    f"{len(now - before)} lines of split.csv that are new and {len(before - now)} that are gone (one "
                    f"is {min(before ^ now)}); restore them, or type --force without --resume to start anew")

    def save(self, state: State) -> None:
        """Replace the checkpoint, whole or not at all.

        Raises:
            OSError: no room.
        """
        about = self._about | {"history": state.history, "arrays": {key: len(x) for key, x in state.arrays.items()}}
        out = io.BytesIO()
        arrays = {f"{key}.{index}": array for key, many in state.arrays.items() for index, array in enumerate(many)}
        np.savez(out, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        new = self._file.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.write(hashlib.sha256(out.getbuffer()).digest())
                file.write(out.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._file)
            if self._lock is not None:
                os.fsync(self._lock)  # The folder, so that the new name outlasts a power failure, too.
        finally:
            new.unlink(missing_ok=True)

    def finish(self) -> None:
        """The bundle is written: the checkpoint is not needed any more."""
        self._file.unlink(missing_ok=True)

    def close(self) -> bool:
        """Let go of the folder; all that is left of it is the checkpoint. Returns whether there is one."""
        kept = self._file.exists()
        self._file.with_suffix(".new").unlink(missing_ok=True)  # A run that ends at once may be writing it.
        shutil.rmtree(self.work if kept else self.path, ignore_errors=True)
        if not kept and not self._out.exists():
            for file in self.logs.glob(EVENTS):
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # Something else may lie there.
                self.logs.rmdir()
                self.logs.parent.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return kept

    def _take(self) -> int:
        """Make the folder and lock it: the open folder, which the system lets go of however the run ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise EdgeWatchError(f"{self.path}: cannot be written: {error.strerror}; choose another --out") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(folder)
            raise EdgeWatchError(f"{self.path}: expected no other training there, found one that runs; wait for it or "
                                 f"choose another --out") from error
        return folder

    def _read(self) -> tuple[dict[str, Any], State]:
        content = self._file.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            raise EdgeWatchError(f"{self._file}: expected a checkpoint, found a damaged one; type --force without "
                                 f"--resume to start anew")
        with np.load(io.BytesIO(content[DIGEST:])) as stored:
            about = json.loads(stored["about"].tobytes())
            arrays = {key: [stored[f"{key}.{index}"] for index in range(count)]
                      for key, count in about["arrays"].items()}
        return about, State(about["history"], arrays)

    def _require(self, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Refuse to go on where something is other than it was."""
        other = [f"{key} {now.get(key)} instead of {before.get(key)}" for key in sorted({*before, *now})
                 if before.get(key) != now.get(key)]
        if other:
            raise EdgeWatchError(f"{self.path}: expected the {what} that this training began with, found "
                                 f"{', '.join(other)}; go on with the same, or type --force without --resume to start "
                                 f"anew")


def _require_logs(out: Path, logs: Path) -> None:
    """Refuse at once what TensorFlow would only refuse after the head is trained."""
    if out.name == LOGS:
        raise EdgeWatchError(f"{out}: expected another name: beside the bundle {LOGS} is the folder of TensorBoard's "
                             f"files; choose another --out")
    for folder in (logs, logs.parent):
        if os.path.lexists(folder) and not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise EdgeWatchError(f"{folder}: expected a folder for TensorBoard's files that can be written, found "
                                 f"{'a read-only one' if folder.is_dir() else 'a file'}; move it or choose another "
                                 f"--out")


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    inner = {f"augmentation.{key}": value for key, value in recipe["augmentation"].items()}
    return {key: value for key, value in recipe.items() if key != "augmentation"} | inner


def newest(folder: Path, name: str) -> Path | None:
    """The bundle-to-be `<folder>/<name>-<number>` whose checkpoint was written last, if there is one."""
    found = [file for file in folder.glob(f"*{SUFFIX}/{CHECKPOINT}")
             if file.parent.name.removesuffix(SUFFIX).rpartition("-")[0] == name
             and file.parent.name.removesuffix(SUFFIX).rpartition("-")[2].isdecimal()]
    if not found:
        return None
    last = max(found, key=lambda file: file.stat().st_mtime).parent
    return last.with_name(last.name.removesuffix(SUFFIX))
