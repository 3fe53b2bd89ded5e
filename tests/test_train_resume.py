"""A training that is interrupted goes on where it was, and the same seed gives the same model."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.bundle import ModelBundle
from models.errors import EdgeWatchError
from tests.test_train_fit import class_folders, train, train_here
from train.cli import parser, recipe_of
from train.history import stalls
from train.partial import Partial, State, newest
from train.recipe import DEFAULT, override

ROOT = Path(__file__).parents[1]
SETTINGS = ("--backbone", "mobilenet_v1_0.25@conv_pw_5_relu", "--weights", "none", "--size", "64", "--unfreeze", "6",
            "--epochs", "4", "--set", "batch=8", "--set", "fine_rate=1e-3", "--deterministic")


def killed(data: Path, out: Path, at: str, *more: str) -> list[str]:
    """Train, and kill -9 when it says something; what it had said."""
    said = []
    command = [sys.executable, "-m", "train", "fit", data, *SETTINGS, *more, "--out", out]
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith(at):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "".join(said)
    return said


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("resume") / "photos", 10)


@pytest.fixture(scope="module")
def stopped(photos: Path) -> Path:
    """The bundle-to-be of a training that was killed in its third epoch of four; only copies of it go on."""
    out = photos.parent / "runs/stopped"
    killed(photos, out, "fine-tuning 2/4")
    return out


def copy(stopped: Path, to: Path) -> Path:
    shutil.copytree(stopped.with_name("stopped.partial"), to.with_name(to.name + ".partial"))
    return to


def reached(out: Path) -> State:
    """What the checkpoint of a training holds."""
    partial = Partial(out, recipe_of(parser().parse_args(["fit", "photos", *SETTINGS])), resume=True)
    partial.close()
    assert partial.state is not None
    return partial.state


def test_resumed_training_is_that_which_was_never_interrupted(photos: Path, stopped: Path, tmp_path: Path) -> None:
    """Bit for bit, with augmentation; so two runs with one seed are equal, too. Killed again, it still ends well."""
    killed(photos, tmp_path / "whole", "measuring")
    out = copy(stopped, tmp_path / "mein modell ü")
    before = len(reached(out).history)
    said = "".join(killed(photos, out, "measuring", "--resume"))
    assert f"going on after epoch {before - 1} of fine-tuning" in said
    assert before in (2, 3), "the head, and of two epochs at most one lost"
    assert "training the head" not in said
    whole, parts = reached(tmp_path / "whole"), reached(out)
    assert whole.history == parts.history
    assert len(whole.history) == 5
    assert set(whole.arrays) == {"first", "tuned", "model", "optimizer", "average"}
    assert whole.arrays.pop("average") == parts.arrays["average"] == []
    for name, expected in whole.arrays.items():
        assert len(expected) == len(parts.arrays[name]) > 20
        assert all(np.array_equal(a, b) for a, b in zip(expected, parts.arrays[name], strict=True)), name
    assert any((a != b).any() for a, b in zip(whole.arrays["first"], whole.arrays["tuned"], strict=True))

    done = train("fit", photos, *SETTINGS, "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert "75 % fine-tuned" in done.stderr
    assert ModelBundle.open(out).labels.names == ("empty", "round", "square")
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "mein modell ü", "whole.partial"}
    assert done.stdout.endswith(f" Next: convert --quantize int8 '{out}'\n"), "it can be pasted into a shell"


@pytest.mark.parametrize(("more", "message"), [
    pytest.param([], "expected no unfinished training, found one; type --resume to go on with it, or --force",
                 id="neither"),
    pytest.param(["--resume", "--epochs", "5"], "found epochs 5 instead of 4", id="another recipe"),
    pytest.param(["--resume", "--set", "augmentation.flip=0"], "found augmentation.flip 0.0 instead of 0.5",
                 id="another augmentation"),
])
def test_unfinished_training_is_refused_in_one_line_that_says_why(
    photos: Path, stopped: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    out = copy(stopped, tmp_path / "new")
    before = (tmp_path / "new.partial/checkpoint").read_bytes()
    done = train_here("fit", photos, *SETTINGS, "--out", out, *more)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["new.partial"]
    assert (tmp_path / "new.partial/checkpoint").read_bytes() == before


def test_other_photos_are_refused(photos: Path, stopped: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "photos"))
    shutil.copy(data / "round/round 00.png", data / "round/zzz.png")
    out = copy(stopped, tmp_path / "new")
    done = train_here("fit", data, *SETTINGS, "--out", out, "--resume")
    assert done.returncode == 1
    assert "expected the photos and the split that this training began with, found" in done.stderr.splitlines()[-1]
    assert (tmp_path / "new.partial/checkpoint").exists()


@pytest.mark.parametrize("at", [3, 40, 2_000, -1])
def test_damaged_checkpoint_is_refused_in_one_line(stopped: Path, tmp_path: Path, at: int) -> None:
    out = copy(stopped, tmp_path / "new")
    file = tmp_path / "new.partial/checkpoint"
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(EdgeWatchError, match="expected a checkpoint, found a damaged one; type --force"):
        Partial(out, DEFAULT, resume=True)
    file.write_bytes(b"")
    with pytest.raises(EdgeWatchError, match="expected a checkpoint, found a damaged one"):
        Partial(out, DEFAULT, resume=True)
    assert file.exists()


STATE = State([{"loss": 0.1, "accuracy": 1 / 3}], {
    "model": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7], np.uint32)], "tuned": [],
})


def test_checkpoint_keeps_numbers_exactly_and_ends_with_the_training(tmp_path: Path) -> None:
    out = tmp_path / "runs/new"
    partial = Partial(out, DEFAULT)
    partial.begin("path\na\n", {"tensorflow": "2"})
    partial.save(STATE)
    assert partial.close()
    again = Partial(out, DEFAULT, resume=True)
    again.begin("path\na\n", {"tensorflow": "2"})
    assert again.state is not None
    assert again.state.history == STATE.history
    for key, arrays in STATE.arrays.items():
        found = again.state.arrays[key]
        assert [(a.dtype, a.tolist()) for a in found] == [(a.dtype, a.tolist()) for a in arrays]
    again.finish()
    assert not again.close()
    assert list(out.parent.iterdir()) == []


def test_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "new", DEFAULT)
    partial.begin("", {"tensorflow": "2.20", "keras": "3"})
    partial.save(STATE)
    partial.close()
    again = Partial(tmp_path / "new", DEFAULT, resume=True)
    with pytest.raises(EdgeWatchError, match=r"expected the versions .*, found tensorflow 2\.21 instead of 2\.20; go"):
        again.begin("", {"tensorflow": "2.21", "keras": "3"})
    again.close()


def test_force_forgets_and_a_second_run_is_kept_out(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "new", DEFAULT)
    partial.begin("", {})
    partial.save(STATE)
    with pytest.raises(EdgeWatchError, match="expected no other training there, found one that runs"):
        Partial(tmp_path / "new", DEFAULT, resume=True)
    partial.close()
    forced = Partial(tmp_path / "new", override(DEFAULT, "epochs=1"), force=True)
    assert forced.state is None
    forced.close()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Partial(tmp_path / "new", DEFAULT)
    partial.begin("", {})
    partial.save(STATE)
    before = hashlib.sha256((partial.path / "checkpoint").read_bytes()).digest()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        partial.save(State([], {}))
    assert [path.name for path in sorted(partial.path.iterdir())] == ["checkpoint", "work"]
    assert hashlib.sha256((partial.path / "checkpoint").read_bytes()).digest() == before
    partial.close()


def test_resume_without_anything_to_resume_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "other.partial").mkdir()
    done = train_here("fit", photos, *SETTINGS, "--out", tmp_path / "new", "--resume")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"train: --resume: expected an unfinished training at {tmp_path / 'new'}.partial, found none there, but of "
        f"{tmp_path / 'other'} (name it with --out); or leave --resume out to start anew")
    assert [path.name for path in tmp_path.iterdir()] == ["other.partial"]


def test_newest_unfinished_training_of_a_name_is_taken(tmp_path: Path) -> None:
    for age, name in enumerate(["owls-2", "owls-1", "barn-owls-7", "owls-x"]):
        (tmp_path / f"{name}.partial").mkdir()
        (tmp_path / f"{name}.partial/checkpoint").touch()
        os.utime(tmp_path / f"{name}.partial/checkpoint", (1e9 - age, 1e9 - age))
    assert newest(tmp_path, "owls") == tmp_path / "owls-2"
    assert newest(tmp_path, "foxes") is None


def entry(loss: float, accuracy: float = 0.5) -> dict[str, float]:
    return {"val_accuracy": accuracy, "val_loss": loss}


@pytest.mark.parametrize(("history", "patience", "expected"), [
    ([], 2, 0),
    ([entry(0.5), entry(0.5), entry(0.6)], 2, 1),
    ([entry(0.5), entry(0.5, 0.9), entry(0.4, 0.1)], 2, 0),
    ([entry(0.5), entry(0.6), entry(0.4), entry(0.4), entry(0.9)], 2, 1),
    ([entry(0.5), *[entry(0.6)] * 5], 2, 2),
    ([entry(0.5), entry(float("nan")), entry(float("inf"))], 2, 1),
])
def test_stalls_counts_runs_of_epochs_without_anything_better(
    history: list[dict[str, float]], patience: int, expected: int
) -> None:
    assert stalls(history, patience) == expected

