"""A conversion from beginning to end: quantize, check, try out, compare, write."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

import models
from convert.calibration import Calibration
from convert.card import card, terminal_table
from convert.flatbuffer import Graph, read_graph, require_integer, shift_logits
from convert.golden import golden
from convert.int8 import FloatModel
from convert.metadata import embed
from convert.trial import try_out
from convert.verify import Photo, Proof, mean_error, verify
from models.bundle import CARD, GOLDEN, MANIFEST, TFLITE, ModelBundle, file_hash, write_bundle
from models.errors import BundleError, EdgeWatchError
from models.interpreter import Interpreter
from models.manifest import InputSpec, Manifest, OutputSpec, Provenance, Quantization


def open_float(path: Path) -> ModelBundle:
    """Open a float bundle.

    Raises:
        BundleError: no bundle, a damaged one, or one that is converted already.
    """
    bundle = ModelBundle.open(path)
    if not bundle.is_float:
        raise BundleError(f"{path}: expected a float bundle, found one that is converted already "
                          f"({bundle.manifest.quantization.scheme}); name the bundle that `train fit` wrote")
    return bundle


def convert(
    parent: ModelBundle, out: Path, calibration: Calibration, photos: dict[str, list[Photo]] | None, command: str,
    force: bool = False, debug: bool = False,
) -> ModelBundle:
    """Convert a float bundle to int8 and write the new bundle; what it does is printed.

    Args:
        parent: the float bundle.
        out: the new folder.
        calibration: the pictures to measure ranges with.
        photos: validation and test photos to compare on; None to write `verified: false`.
        command: as it was typed, for the provenance.
        force: replace a bundle at `out`.
        debug: show TensorFlow's messages.

    Raises:
        EdgeWatchError: the network cannot be converted, run or written; nothing is left behind.
    """
    size, classes = parent.manifest.input.size, len(parent.labels)
    print(f"{parent.path}: {parent.title}, {parent.manifest.provenance.backbone}, {classes} classes, {size} px")
    print(f"quantizing with {len(calibration.images)} pictures ({calibration.total('day')} by day, "
          f"{calibration.total('night')} in infrared grey) ...", flush=True)
    started = time.monotonic()
    with _scratch(4 * parent.model.stat().st_size) as folder:
        model = FloatModel(parent.model, debug)
        raw = model.to_int8(calibration.images)
        graph = read_graph(raw)
        require_integer(graph, size, classes)
        shift = mean_error(calibration.images, model.logits, _load(raw, folder / TFLITE))
        corrected = shift_logits(raw, shift)
        if corrected is None:
            corrected, shift = raw, np.zeros_like(shift)
        about = f"{parent.title}: an image classifier in int8, raw RGB in, logits out"
        content = embed(corrected, parent.manifest.name, parent.manifest.version, about, parent.labels.names, size)
        print(_summary(graph, len(content), parent.model.stat().st_size, time.monotonic() - started))
        file = folder / TFLITE
        network = _load(content, file)
        if photos is not None:
            print(f"comparing on {len(photos['test'])} test photos ...", flush=True)
        proof = None if photos is None else verify(parent, photos, model.logits, network)
        versions = _versions(model, network)
        manifest = _manifest(parent, graph, calibration, proof,
                             _provenance(parent, command, versions, calibration, float(np.abs(shift).max())))
        text = card(_parent_card(parent), parent.manifest, manifest, parent.labels, len(content),
                    parent.model.stat().st_size)
        files: dict[str, bytes | Path] = {TFLITE: file, GOLDEN: golden(network), CARD: text.encode()}
        written = write_bundle(out, manifest, parent.labels, files, force)
    print(terminal_table(manifest) if proof else "not verified (--no-verify): nothing is known of its accuracy")
    print(f"{out}: written")
    return written


@contextlib.contextmanager
def _scratch(need: int) -> Iterator[Path]:
    """A temporary folder with room for `need` bytes; TensorFlow's own errors on a full disk are no help."""
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="convert-")))
            with (folder / "room").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, need)
            (folder / "room").unlink()
        except OSError as error:
            raise EdgeWatchError(f"{tempfile.gettempdir()}: expected room for {need / 1e6:.1f} MB of temporary files, "
                                 f"found: {error.strerror}; make room or set TMPDIR") from error
        yield folder


def _summary(graph: Graph, size_bytes: int, parent_bytes: int, seconds: float) -> str:
    operators = ", ".join(f"{kind} {count}" for kind, count in graph.operators.items())
    return (f"{TFLITE}: {size_bytes / 1e6:.2f} MB (float {parent_bytes / 1e6:.2f} MB), {seconds:.0f} s\n"
            f"operators: {operators}; float ones: {graph.float_operators}")


def _load(content: bytes, file: Path) -> Interpreter:
    """Write a .tflite file and load it, once another process has done so and lives."""
    file.write_bytes(content)
    try_out(file)
    return Interpreter(file)


def _parent_card(parent: ModelBundle) -> str:
    return (parent.path / CARD).read_text(encoding="utf-8") if CARD in parent.manifest.files else ""


def _versions(model: FloatModel, network: Interpreter) -> dict[str, str]:
    return {"edge-watch": models.__version__, "python": platform.python_version(), "numpy": np.__version__,
            "opencv": cv2.__version__, **model.versions, network.runtime: network.version}


def _provenance(
    parent: ModelBundle, command: str, versions: dict[str, str], calibration: Calibration, shift: float
) -> Provenance:
    """The parent's origin, with the conversion over it; what that replaces is kept under `parent`."""
    origin = parent.manifest.provenance
    return dataclasses.replace(
        origin,
        command=command,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions,
        settings={**origin.settings, "quantize": "int8", "samples": len(calibration.images),
                  "bias_correction": shift},
        parent={
            "name": parent.title,
            "path": str(parent.path),
            "sha256": file_hash(parent.path / MANIFEST),
            "command": origin.command,
            "created": origin.created,
            "versions": ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items())),
        },
    )


def _manifest(
    parent: ModelBundle, graph: Graph, calibration: Calibration, proof: Proof | None, provenance: Provenance
) -> Manifest:
    origin = parent.manifest
    return Manifest(
        name=origin.name,
        version=origin.version,
        input=InputSpec(origin.input.size, origin.input.order, "uint8", origin.input.resize),
        output=OutputSpec(origin.output.classes, "uint8" if graph.output.dtype == "UINT8" else "int8"),
        temperature=proof.temperature if proof else origin.temperature,
        quantization=Quantization("int8", calibration.counts, proof.compared if proof else {}, graph.operators,
                                  graph.float_operators),
        operating_points=proof.operating_points if proof else origin.operating_points,
        metrics=proof.metrics if proof else origin.metrics,
        provenance=provenance,
        verified=proof is not None,
        files={},
    )
