"""The fallback runtime, in an environment of its own: the published bundle gives the same answers as under LiteRT."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from models.bundle import ModelBundle, default_bundle
from models.classifier import Classifier

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-tflite/bin/python"
SCRIPT = """
import json, sys
from pathlib import Path
from models.bundle import ModelBundle
from models.classifier import Classifier
classifier = Classifier(ModelBundle.open(Path(sys.argv[1])))
answers = [int(classifier.classify_file(Path(path)).argmax()) for path in sys.stdin.read().splitlines()]
print(json.dumps([classifier.interpreter.runtime, classifier.interpreter.version, answers]))
"""


@pytest.fixture(scope="module")
def fallback() -> Path:
    """A Python with tflite-runtime and no LiteRT, made once."""
    if sys.version_info[:2] != (3, 11) or platform.machine() not in ("x86_64", "aarch64"):
        reason = f"tflite-runtime needs Python 3.11 on x86-64 or arm64, found {sys.version[:6]} on {platform.machine()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    made = subprocess.run(["make", ".venv-tflite/installed", f"PYTHON={sys.executable}"], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return PYTHON


def compare(python: Path, photos: list[Path]) -> None:
    """Both runtimes name the same class for every photo."""
    bundle = default_bundle()
    done = subprocess.run([str(python), "-c", SCRIPT, str(bundle)], input="\n".join(map(str, photos)), text=True,
                          cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    runtime, version, answers = json.loads(done.stdout)
    assert runtime == "tflite_runtime"
    assert version.startswith("2.14")
    here = Classifier(ModelBundle.open(bundle))
    assert here.interpreter.runtime == "ai_edge_litert"
    assert answers == [int(here.classify_file(path).argmax()) for path in photos]


def test_drawn_pictures_get_the_same_answers(fallback: Path, drawn: list[Path]) -> None:
    compare(fallback, drawn)


def test_photos_get_the_same_answers(fallback: Path, shared: Path) -> None:
    photos = sorted((shared / "data/wildlife/test").glob("*/*.jpg"))
    compare(fallback, photos[:: len(photos) // 30][:30])
