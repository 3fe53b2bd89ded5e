"""A small network from scratch, with flattened features and a hidden layer: from photos to a bundle of integers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convert.__main__ import main as convert
from models.bundle import ModelBundle
from models.manifest import Speed
from tests.test_train_fit import class_folders, train_here
from train.quiet import import_tensorflow
from train.recipe import DEFAULT, override

import_tensorflow()
keras = pytest.importorskip("keras")
from train.backbones import build  # noqa: E402
from train.head import fit_head  # noqa: E402
from train.pipeline import Examples  # noqa: E402

MINIVGG = ("--backbone", "minivgg", "--weights", "none", "--size", "32", "--set", "head=flat", "--set", "hidden=16",
           "--set", "fine_rate=3e-3", "--set", "batch=8", "--set", "augmentation=none", "--epochs", "12",
           "--deterministic")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Of Keras, saving a network.
def test_network_from_scratch_is_trained_and_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = class_folders(tmp_path / "photos", 14)
    done = train_here("fit", photos, *MINIVGG, "--out", tmp_path / "runs/mini")
    assert done.returncode == 0, done.stderr
    bundle = ModelBundle.open(tmp_path / "runs/mini")
    origin = bundle.manifest.provenance
    assert (origin.backbone, origin.weights, origin.settings["head"], origin.settings["hidden"]) == (
        "minivgg", "none", "flat", 16)
    history = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))["history"]
    # So few photos make it worse at first, with batch norm of nothing yet.
    assert min(epoch["loss"] for epoch in history[1:]) < history[0]["loss"] - 0.1, "it learns more than the head alone"
    # Of so small a network half the time is the way in and out; no time decides a test.
    monkeypatch.setattr("convert.job.invoke_speed", lambda before, after: Speed(2.0, 1.0, 0.5, 150))
    assert convert(["--quantize", "int8", str(bundle.path), "--fine-tune", "never"]) == 0
    made = ModelBundle.open(tmp_path / "runs/mini-int8").manifest
    assert (made.quantization.float_tensors, made.quantization.partitions) == (0, 1)


@pytest.mark.parametrize(("head", "hidden"), [("mean", 0), ("flat", 6)])
def test_head_is_trained_as_a_whole_and_alone(tmp_path: Path, head: str, hidden: int) -> None:
    dice = np.random.default_rng(0)
    truth = np.arange(24) % 3
    pixels = (dice.integers(0, 60, (24, 32, 32, 3)) + 90 * np.eye(3, dtype=int)[truth][:, None, None]).astype(np.uint8)
    examples = Examples(pixels, truth, np.arange(24), np.arange(3), np.arange(0), 3)
    recipe = override(override(DEFAULT, f"head={head}"), f"hidden={hidden}")
    keras.utils.set_random_seed(1)
    model, backbone = build("shallownet", "none", 32, 3, 0.2, 0.0, recipe.head, recipe.hidden)
    backbone.trainable = False
    before = {layer.name: layer.get_weights() for layer in model.layers}
    found = fit_head(model, override(recipe, "head_epochs=20"), examples, tmp_path)
    assert found["loss"] < np.log(3)
    changed = {layer.name for layer in model.layers if any(
        (a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))}
    assert changed == ({"hidden", "logits"} if hidden else {"logits"})
    assert list(tmp_path.iterdir()) == [], "no features are left behind"


@pytest.mark.parametrize(("options", "message"), [
    (["--backbone", "lenet"],
     "--weights: expected none, as there are no weights of lenet, found imagenet; type --weights none"),
    (["--backbone", "minivgg@pool1", "--weights", "mine.weights.h5"],
     "--weights: expected none, as there are no weights of minivgg, found mine.weights.h5; type --weights none"),
    (["--backbone", "inception_v3", "--weights", "none", "--size", "64"],
     "--size: expected at least 96 for inception_v3, found 64; type --size 96"),
    (["--backbone", "minivgg@pool3", "--weights", "none", "--size", "32"],
     "--backbone minivgg@pool3: expected a layer of minivgg, found none of that name; near are pool2, pool1, drop2"),
    (["--backbone", "lenet", "--weights", "none", "--set", "hidden=5000"],
     "--set: expected hidden from 0 to 4096, found 5000; correct it"),
    (["--backbone", "lenet", "--weights", "none", "--set", "head=both"],
     "--set: expected head to be mean or flat, found 'both'; correct it"),
])
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    photos = class_folders(tmp_path / "photos", 5)
    done = train_here("fit", photos, *options, "--out", tmp_path / "new")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"train: {message}"
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
