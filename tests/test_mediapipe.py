"""mediapipe, in an environment of its own, as another reader of TFLite metadata: it gives the same answers as we do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.bundle import ModelBundle, default_bundle
from models.classifier import Classifier
from models.images import read_image
from models.preprocess import prepare

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-mediapipe/bin/python"
BUNDLES = sorted(manifest.parent for manifest in default_bundle().parent.glob("*/manifest.json"))
LIBRARIES = "libgl1 libglib2.0-0 libegl1 libgles2"
SCRIPT = """
import json, sys
import mediapipe, numpy
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

model, prepared = sys.argv[1:]
shown = [mediapipe.Image(mediapipe.ImageFormat.SRGB, image) for image in numpy.load(prepared)]
shown += [mediapipe.Image.create_from_file(path) for path in sys.stdin.read().splitlines()]
with ImageClassifier.create_from_options(ImageClassifierOptions(BaseOptions(model_asset_path=model))) as classifier:
    found = [classifier.classify(image).classifications[0].categories for image in shown]
print(json.dumps([[(category.category_name, category.score) for category in categories] for categories in found]))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """A Python with mediapipe, made once."""
    made = subprocess.run(["make", ".venv-mediapipe/installed", f"PYTHON={sys.executable}"], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return PYTHON


def agreement(python: Path, bundle: Path, photos: list[Path], folder: Path) -> tuple[int, int]:
    """Count the photos that mediapipe and our own classifier name alike.

    Returns:
        The count when mediapipe is shown what our network is shown, and when it prepares the photos itself.
    """
    ours = Classifier(ModelBundle.open(bundle))
    size = ours.interpreter.size
    prepared = np.stack([prepare(read_image(photo, at_least=size), size, order="BGR") for photo in photos])
    np.save(folder / "prepared.npy", prepared)
    done = subprocess.run([str(python), "-c", SCRIPT, str(bundle / "model.tflite"), str(folder / "prepared.npy")],
                          input="\n".join(map(str, photos)), text=True, capture_output=True, check=False)
    if "cannot open shared object file" in done.stderr:
        reason = f"{done.stderr.splitlines()[-1]}; type: apt-get install {LIBRARIES}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    assert done.returncode == 0, done.stderr
    logits = [dict(zip(ours.labels.names, ours.interpreter.run(image), strict=True)) for image in prepared]
    answers = json.loads(done.stdout)
    assert len(answers) == 2 * len(photos)
    # Its labels come from the file alone, best first. Of two classes with the same logit either is right.
    assert all({name for name, _ in answer} == set(ours.labels.names) for answer in answers)
    best = [answer[0][0] for answer in answers]

    def alike(names: list[str]) -> int:
        return sum(found[name] == max(found.values()) for name, found in zip(names, logits, strict=True))

    return alike(best[: len(photos)]), alike(best[len(photos) :])


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_drawn_pictures_get_the_same_answers(python: Path, bundle: Path, drawn: list[Path], tmp_path: Path) -> None:
    alike, _ = agreement(python, bundle, drawn, tmp_path)
    assert alike == len(drawn)


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_test_photos_get_the_same_answers(python: Path, bundle: Path, shared: Path, tmp_path: Path) -> None:
    photos = sorted((shared / "data/wildlife/test").glob("*/*.jpg"))
    alike, whole = agreement(python, bundle, photos, tmp_path)
    assert alike == len(photos) == 369
    # Shown a whole photo, mediapipe resizes by its own rule, which decides a few close calls otherwise.
    assert whole >= 0.95 * len(photos)
