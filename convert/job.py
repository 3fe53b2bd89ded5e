"""A conversion from beginning to end: convert, try out, compare, hold against the gates, write."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

import models
from convert.calibration import Calibration, check_range
from convert.card import card
from convert.flatbuffer import Graph, read_graph, require_integer
from convert.gates import failure, judge, missed
from convert.golden import golden
from convert.graph import write
from convert.metadata import embed
from convert.parent import Parent
from convert.quiet import quiet
from convert.source import RAW, Source
from convert.speed import invoke_speed, partitions
from convert.terminal import terminal_table
from convert.trial import scratch, try_out
from convert.verify import Photo, Proof, verify
from models.bundle import CARD, GOLDEN, TFLITE, ModelBundle, write_bundle
from models.errors import BundleError, EdgeWatchError
from models.interpreter import Interpreter
from models.manifest import InputSpec, Manifest, OutputSpec, Provenance, Quantization

if TYPE_CHECKING:
    from convert.int8 import Made

Scheme = Literal["none", "int8", "int16x8", "dynamic", "float16"]
Port = Literal["uint8", "int8"]
FLOAT = "float32.tflite"


@dataclass(frozen=True, slots=True)
class Job:
    """What shall be done.

    Args:
        parent: what is converted.
        source: its network, opened.
        out: the new folder.
        calibration: pictures to measure ranges with; None where the scheme needs none.
        photos: validation and test photos to compare on; None to write `verified: false`.
        command: as it was typed, for the provenance.
        scheme: how numbers are stored.
        io: what an int8 network takes and gives.
        target: the runtime it is for.
        max_drop: points of accuracy that may be lost.
        on_miss: `ladder` goes on with float16 where int8 misses a gate.
        fine_tune: whether int8 is fine-tuned.
        seed: of all that is drawn.
        input_range: what the network takes for black and for white.
        force: replace a bundle at `out`.
        debug: show TensorFlow's messages.
    """

    parent: Parent
    source: Source
    out: Path
    calibration: Calibration | None
    photos: dict[str, list[Photo]] | None
    command: str
    scheme: Scheme = "int8"
    io: Port = "uint8"
    target: Literal["xnnpack", "any"] = "xnnpack"
    max_drop: float = 0.5
    on_miss: Literal["fail", "ladder"] = "fail"
    fine_tune: Literal["auto", "never", "always"] = "auto"
    seed: int = 1
    input_range: tuple[float, float] = RAW
    force: bool = False
    debug: bool = False


def convert(job: Job) -> ModelBundle:
    """Convert a model and write the new bundle; what it does is printed.

    Raises:
        GateError: the network was converted but misses a gate; nothing is written.
        EdgeWatchError: the network cannot be converted, run or written; nothing is left behind.
    """
    parent = job.parent
    print(f"{parent.path}: {parent.manifest.name} {parent.manifest.version}, {parent.manifest.provenance.backbone}, "
          f"{len(parent.labels)} classes, {job.source.size} px")
    with scratch(4 * parent.size_bytes) as folder:
        started = time.monotonic()
        model = job.source.float32()
        spent = time.monotonic() - started
        before = _load(model, folder / FLOAT)
        if job.calibration:
            _check_range(job, before)
        scheme, manifest, after = _down_the_ladder(job, model, spent, before, folder)
        if scheme != job.scheme:
            print(f"not {job.scheme}, see above: this is {scheme}")
        text = card(parent.card, manifest, parent.labels, parent.manifest.temperature)
        out = job.out if scheme == job.scheme else renamed(job.out, job.scheme, scheme)
        written = write_bundle(out, manifest, parent.labels, {
            TFLITE: folder / f"{scheme}.tflite", GOLDEN: golden(after), CARD: text.encode()}, job.force)
    print(terminal_table(written.manifest))
    print(f"{out}: written")
    return written


def _down_the_ladder(
    job: Job, model: bytes, spent: float, before: Interpreter, folder: Path, reason: str = ""
) -> tuple[Scheme, Manifest, Interpreter]:
    """The converted network that meets its gates: the wanted one or, if the job allows it, float16.

    `reason` is why it is not the scheme that was wanted.
    """
    try:
        made, after = _converted(job, model, folder)
    # It speaks of the network: no photo is read here, and a full disk is an OSError.
    except EdgeWatchError as error:
        if job.on_miss == "fail":
            raise
        # Without the advice, which does not hold on the ladder.
        said = reason = str(error).rpartition("; ")[0] or str(error)
    else:
        made.seconds = {"reading": spent, **made.seconds}
        if reason:
            made.recipe["ladder"] = reason
        manifest = _judged(job, made, before, after, folder)
        gates = manifest.quantization.gates
        if not (wrong := missed(gates)):
            return job.scheme, manifest, after
        if job.on_miss == "fail":
            raise failure(gates, job.scheme, made.layers)
        said = str(failure(gates, job.scheme, made.layers, goes_on=True))
        reason = f"{job.scheme} missed {'; '.join(f'{gate.name} ({gate.found})' for gate in wrong)}"
    print(f"{said}\non the ladder, next: float16", flush=True)
    step = dataclasses.replace(job, scheme="float16", calibration=None, on_miss="fail")
    return _down_the_ladder(step, model, spent, before, folder, reason)


def _converted(job: Job, model: bytes, folder: Path) -> tuple[Made, Interpreter]:
    """The network converted by the job's scheme, and loaded.

    Raises:
        EdgeWatchError: it cannot be stored so, or the runtime refuses it so.
    """
    made = _make(job, model)
    origin = job.parent.manifest
    about = f"{origin.name}: an image classifier in {job.scheme}, raw RGB in, logits out"
    content = embed(made.content, origin.name, origin.version, about, job.parent.labels.names, job.source.size)
    return made, _load(content, folder / f"{job.scheme}.tflite")


def _make(job: Job, model: bytes) -> Made:
    """Convert the network by the job's scheme."""
    # TensorFlow with it, which a job that is refused before has no need of.
    from convert.int8 import Made, prepare, to_int8

    images = job.calibration.images if job.calibration else None
    if images is not None:
        print(f"calibrating from a set of {len(images)} pictures ...", flush=True)
    started = time.monotonic()
    if job.scheme == "int8":
        assert images is not None
        made = to_int8(model, images, job.target, job.io, job.fine_tune, job.seed, job.debug,
                       lambda text: print(text, flush=True))
        require_integer(read_graph(made.content), job.source.size, len(job.parent.labels), job.io)
        return made
    if job.scheme == "int16x8":
        assert images is not None
        with quiet(job.debug):
            network, recipe = prepare(model, images, xnnpack=True)
        recipe["ranges"] = f"measured on all {len(images)} pictures by TensorFlow's own converter"
        made = Made(job.source.int16x8(write(network), images), recipe)
    else:
        made = Made(job.source.stock(job.scheme), {"converted": "by TensorFlow's own converter"})
    made.seconds["conversion"] = time.monotonic() - started
    return made


def _judged(job: Job, made: Made, before: Interpreter, after: Interpreter, folder: Path) -> Manifest:
    """Measure the network and hold it against its gates."""
    graph = read_graph(made.content)
    started, proof = time.monotonic(), None
    if job.photos is not None:
        print(f"comparing on {len(job.photos['test'])} test photos ...", flush=True)
        temperature = job.parent.manifest.temperature if job.parent.bundle else None
        proof = verify(job.parent.labels.names, job.photos, before, after, temperature)
    made.seconds["proof"] = time.monotonic() - started
    started = time.monotonic()
    file = folder / f"{job.scheme}.tflite"
    pieces = partitions(file)
    speed = None if job.scheme == "int16x8" else invoke_speed(folder / FLOAT, file)
    made.seconds["speed"] = time.monotonic() - started
    stored = Quantization(
        scheme=job.scheme, calibration=job.calibration.counts if job.calibration else {},
        compared=proof.compared if proof else {}, operators=graph.operators, float_operators=graph.float_operators,
        float_tensors=len(graph.float_tensors), target=job.target, partitions=pieces[0] if pieces else None,
        outside=pieces[1] if pieces else {}, size_bytes=file.stat().st_size,
        float_bytes=(folder / FLOAT).stat().st_size, speed=speed,
        recipe={**made.recipe, **({"pictures": dict(job.calibration.source)} if job.calibration else {})},
        seconds={stage: round(seconds, 1) for stage, seconds in made.seconds.items()},
    )
    stored = dataclasses.replace(stored, gates=judge(stored, job.max_drop))
    return _manifest(job, graph, stored, proof, {after.runtime: after.version})


def _check_range(job: Job, before: Interpreter) -> None:
    """Refuse calibration pictures in another range than the network was trained on."""
    assert job.calibration is not None
    metrics = job.parent.manifest.metrics.get("night")

    def answers(pictures: Any) -> Any:
        return np.stack([before.run(picture) for picture in pictures])

    check_range(answers, job.calibration.images, job.calibration.labels,
                input_range=None if job.parent.bundle else job.input_range,
                stated=metrics.accuracy if metrics else None)


def _load(content: bytes, file: Path) -> Interpreter:
    """Write a .tflite file and load it, once another process has done so and lives."""
    file.write_bytes(content)
    try_out(file)
    return Interpreter(file)


def renamed(out: Path, wanted: str, found: str) -> Path:
    """The folder for what the ladder led to: its name shall not say what it is not."""
    stem = out.name.removesuffix(f"-{wanted}")
    return out.with_name(f"{stem}-{found}")


def _manifest(
    job: Job, graph: Graph, stored: Quantization, proof: Proof | None, runtime: Mapping[str, str]
) -> Manifest:
    origin = job.parent.manifest
    dtypes = {"UINT8": "uint8", "INT8": "int8", "FLOAT32": "float32"}
    taken, given = (dtypes.get(port.dtype) for port in (graph.input, graph.output))
    if taken is None or given is None:
        raise BundleError(f"model.tflite: expected uint8, int8 or float32 in and out, found {graph.input.dtype} and "
                          f"{graph.output.dtype}; convert again")
    return Manifest(
        name=origin.name,
        version=origin.version,
        input=InputSpec(origin.input.size, origin.input.order, taken, origin.input.resize),  # type: ignore[arg-type]
        output=OutputSpec(origin.output.classes, given),  # type: ignore[arg-type]
        temperature=proof.temperature if proof else origin.temperature,
        quantization=stored,
        operating_points=proof.operating_points if proof else origin.operating_points,
        metrics=proof.metrics if proof else origin.metrics,
        provenance=_provenance(job, runtime),
        verified=proof is not None,
        files={},
    )


def _provenance(job: Job, runtime: Mapping[str, str]) -> Provenance:
    """The parent's origin, with the conversion over it; what that replaces is kept under `parent`."""
    origin = job.parent.manifest.provenance
    return dataclasses.replace(
        origin,
        command=job.command,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={"edge-watch": models.__version__, "python": platform.python_version(), "numpy": np.__version__,
                  "opencv": cv2.__version__, **job.source.versions, **runtime},
        settings={**origin.settings, "quantize": job.scheme, "max_drop": job.max_drop, "conversion_seed": job.seed,
                  **({"fine_tune": job.fine_tune, "io": job.io} if job.scheme == "int8" else {})},
        parent={
            "name": f"{job.parent.manifest.name} {job.parent.manifest.version}",
            "path": str(job.parent.path),
            "sha256": job.parent.sha256,
            "command": origin.command,
            "created": origin.created,
            "versions": ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items())),
        },
    )
