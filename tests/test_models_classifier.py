"""The interpreter and the classifier: what goes in and out, and what they refuse at start-up."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Any

import ai_edge_litert.interpreter
import cv2
import numpy as np
import pytest

import models.interpreter
from models.bundle import ModelBundle, default_bundle, write_bundle
from models.classifier import Classifier
from models.errors import BundleError, MissingRuntimeError
from models.images import read_image
from models.interpreter import Interpreter
from models.labels import Label, LabelMap
from models.manifest import (
    LIGHTINGS,
    InputSpec,
    Manifest,
    OperatingPoint,
    OutputSpec,
    Provenance,
    Quantization,
    Scheme,
)
from models.preprocess import prepare
from tests import tiny
from tests.networks import colours, swishes

SIZE = 4

def stored(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "model.tflite").write_bytes(content)
    return tmp_path / "model.tflite"


COLOURS = np.full((SIZE, SIZE, 3), (20, 130, 250), np.uint8)


@pytest.mark.parametrize(("given", "zero", "expected"), [
    ("float32", 0, [20, 130, 250]),
    ("uint8", 10, [5, 60, 120]),
    # As int8 the picture is 128 less; its zero point of -128 must not overflow.
    ("int8", -128, [10, 65, 125]),
    ("int8", 127, [-117.5, -62.5, -2.5]),
])
def test_input_and_output_of_every_kind(tmp_path: Path, given: str, zero: int, expected: list[float]) -> None:
    found = Interpreter(stored(tmp_path, colours(given, zero=zero)))
    assert (found.size, found.dtype, found.classes, found.output_dtype) == (SIZE, np.dtype(given), 3, np.dtype(given))
    assert found.runtime == "ai_edge_litert"
    assert found.version[0].isdigit()
    logits = found.run(COLOURS)
    assert logits.dtype == np.float32
    assert logits.tolist() == expected
    found.run(np.zeros_like(COLOURS))
    assert logits.tolist() == expected, "an answer does not change when the network runs again"
    assert COLOURS[0, 0].tolist() == [20, 130, 250], "the picture is left as it was"


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (1, 4, 5, 3), (1, 4, 4, 1)])
def test_network_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match=r"expected an input of \(1, size, size, 3\), found"):
        Interpreter(stored(tmp_path, colours(shape=shape)))


def test_file_that_the_runtime_refuses(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.tflite: ai_edge_litert .* refuses it .*; convert the mo") as found:
        Interpreter(stored(tmp_path, b"no model at all"))
    assert "\n" not in str(found.value)


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    real = importlib.import_module

    def load(name: str, package: str | None = None) -> Any:
        if name.partition(".")[0] in hidden:
            raise ImportError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr(models.interpreter.importlib, "import_module", load)


def test_missing_runtime_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "ai_edge_litert", "tflite_runtime")
    with pytest.raises(MissingRuntimeError) as found:
        Interpreter(stored(tmp_path, colours()))
    assert "expected ai-edge-litert or tflite-runtime, found neither" in str(found.value)
    assert "pip install ai-edge-litert" in str(found.value)
    assert "pip install '.[tflite]'" in str(found.value)
    assert "\n" not in str(found.value)
    assert isinstance(found.value, ImportError)


NAMES = ("red", "green", "blue")
POINTS = {name: dict.fromkeys(LIGHTINGS, OperatingPoint(0.5, 1, 1, 1)) for name in NAMES}
RUNTIME = f"ai_edge_litert {importlib.metadata.version('ai_edge_litert')}"


def bundle(
    folder: Path, golden: np.ndarray | None = None, model: bytes = b"", **changes: Any
) -> ModelBundle:
    """A bundle whose network gives the mean of each colour as logits."""
    pictures = np.stack([COLOURS, np.zeros_like(COLOURS)])
    outputs = np.array([[5, 60, 120], [-5, -5, -5]], np.float32) if golden is None else golden
    content = tiny.npz(inputs=pictures, outputs=outputs, runtime=np.array(RUNTIME))
    manifest = Manifest(
        name="colours", version="1", input=InputSpec(SIZE), output=OutputSpec(3, "uint8"), temperature=10.0,
        quantization=Quantization("int8"), operating_points=POINTS, metrics={}, verified=True, files={},
        provenance=Provenance("", "", {}, "", {}, "", "", 1),
    )
    labels = LabelMap([Label(name, name, "", "animal") for name in ("red", "green", "blue")])
    folder.mkdir(parents=True, exist_ok=True)
    return write_bundle(folder / "colours", replace(manifest, **changes), labels,
                        {"model.tflite": model or colours(), "golden.npz": content})


def test_picture_becomes_probabilities(tmp_path: Path) -> None:
    classifier = Classifier(bundle(tmp_path))
    image = np.full((30, 50, 3), (0, 0, 100), np.uint8)
    image[:, 25:] = (60, 0, 0)
    # Means of red 100 are (100 - 10) / 2 = 45 and of 0 are -5; at temperature 10 that is e^5 against 2.
    left = classifier.classify(image, (0.0, 0.0, 0.5, 1.0))
    assert left.tolist() == pytest.approx([np.e**5 / (np.e**5 + 2), 1 / (np.e**5 + 2), 1 / (np.e**5 + 2)])
    assert classifier.classify(image, (0.5, 0.0, 0.5, 1.0)).argmax() == 2
    assert classifier.classify(image, (0.0, 0.0, 0.5, 1.0), order="RGB").argmax() == 2
    assert classifier.logits(image, (0.0, 0.0, 0.5, 1.0)).tolist() == [45, -5, -5]
    assert classifier.logits(image).tolist() == classifier.interpreter.run(prepare(image, SIZE, order="BGR")).tolist()


def test_file_is_classified_as_a_whole_picture(tmp_path: Path) -> None:
    classifier = Classifier(bundle(tmp_path))
    cv2.imwrite(str(tmp_path / "green.jpg"), np.full((600, 800, 3), (0, 200, 0), np.uint8))
    found = classifier.classify_file(tmp_path / "green.jpg")
    assert found.argmax() == 1
    assert found.tolist() == classifier.classify(read_image(tmp_path / "green.jpg", at_least=SIZE)).tolist()


def test_other_outputs_than_the_golden_ones_are_refused(tmp_path: Path) -> None:
    wrong = np.array([[5, 60, 120.5], [-5, -5, -5]], np.float32)
    with pytest.raises(BundleError, match=r"expected the golden outputs of ai_edge_litert [0-9.]+, found others"):
        Classifier(bundle(tmp_path, wrong))


@pytest.mark.parametrize("content", [b"", b"no archive", tiny.npz(inputs=np.zeros((2, 4, 4, 3), np.uint8)), tiny.npz(
    inputs=np.zeros((2, 9, 9, 3), np.uint8), outputs=np.zeros((2, 3), np.float32), runtime=np.array("x"))])
def test_damaged_golden_pictures_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    found = bundle(tmp_path)
    files: dict[str, bytes | Path] = {"model.tflite": colours(), "golden.npz": content}
    odd = write_bundle(tmp_path / "odd", found.manifest, found.labels, files)
    with pytest.raises(BundleError, match=r"golden\.npz: expected pictures that fit the model") as refused:
        Classifier(odd)
    assert "\n" not in str(refused.value)


FLOATS: dict[str, Any] = {"input": InputSpec(SIZE, dtype="float32"), "output": OutputSpec(3, "float32")}


@pytest.mark.parametrize("scheme", ["none", "float16", "dynamic", "int16x8"])
def test_floats_may_round_otherwise_on_another_processor(tmp_path: Path, scheme: Scheme) -> None:
    model, changes = colours("float32"), {**FLOATS, "quantization": Quantization(scheme)}
    near = np.array([[20.001, 130, 250], [0, 0, 0]], np.float32)
    image = np.full((SIZE, SIZE, 3), (250, 130, 20), np.uint8)
    assert Classifier(bundle(tmp_path / "near", near, model, **changes)).logits(image).tolist() == [20, 130, 250]
    other = np.array([[300, 130, 250], [0, 0, 0]], np.float32)
    with pytest.raises(BundleError, match="expected the golden outputs"):
        Classifier(bundle(tmp_path / "other", other, model, **changes))


@pytest.mark.parametrize(("partitions", "exact"), [(None, True), (1, True), (2, False)])
def test_bits_are_promised_where_one_piece_runs_all(tmp_path: Path, partitions: int | None, exact: bool) -> None:
    near = np.array([[5, 60, 120.5], [-5, -5, -5]], np.float32)
    found = bundle(tmp_path, near, quantization=Quantization("int8", partitions=partitions))
    if exact:
        with pytest.raises(BundleError, match="expected the golden outputs"):
            Classifier(found)
    else:
        Classifier(found)


def test_pieces_of_a_network_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Interpreter(stored(tmp_path, swishes())).delegated() == (2, {"HARD_SWISH": 2})
    assert Interpreter(stored(tmp_path, colours())).delegated() == (1, {})
    # The scaling to the network's own integers stands outside: XNNPACK does not turn uint8 into int8.
    assert Interpreter(default_bundle() / "model.tflite").delegated() == (1, {"CAST": 1, "QUANTIZE": 1})
    monkeypatch.delattr(ai_edge_litert.interpreter.Interpreter, "_get_ops_details")
    assert Interpreter(stored(tmp_path, colours())).delegated() is None


def test_another_version_of_the_runtime_may_round_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = np.array([[5, 60, 120.5], [-5, -5, -5]], np.float32)
    with pytest.raises(BundleError, match="expected the golden outputs"):
        Classifier(bundle(tmp_path / "same", near))
    monkeypatch.setattr(ai_edge_litert, "__version__", "2.99.0")
    assert Classifier(bundle(tmp_path / "other", near)).interpreter.version == "2.99.0"


def test_under_another_runtime_the_same_answers_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.interpreter, "_RUNTIMES", ("tflite_runtime",))
    real = importlib.import_module

    def load(name: str, package: str | None = None) -> Any:
        return real(name.replace("tflite_runtime", "ai_edge_litert"), package)

    monkeypatch.setattr(models.interpreter.importlib, "import_module", load)
    near = np.array([[5, 60, 120.5], [-5, -5, -5]], np.float32)
    assert Classifier(bundle(tmp_path / "near", near)).interpreter.runtime == "tflite_runtime"
    other = np.array([[5, 60, 1], [-5, -5, -5]], np.float32)
    with pytest.raises(BundleError, match="expected the golden outputs"):
        Classifier(bundle(tmp_path / "other", other))


@pytest.mark.parametrize("changes", [
    {"input": InputSpec(5)}, {"input": InputSpec(SIZE, dtype="int8")}, {"output": OutputSpec(3, "int8")},
    {"output": OutputSpec(3, "float32")},
])
def test_manifest_that_does_not_fit_its_network_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="expected size, input, classes, output"):
        Classifier(bundle(tmp_path, **changes))


def test_float_bundle_is_refused_with_what_to_type(tmp_path: Path) -> None:
    found = bundle(tmp_path)
    files: dict[str, bytes | Path] = {"model.keras": b"x", "golden.npz": (found.path / "golden.npz").read_bytes()}
    whole = write_bundle(tmp_path / "float", found.manifest, found.labels, files)
    with pytest.raises(BundleError, match=r"found a float one; type: convert --quantize int8 .*/float"):
        Classifier(whole)
