"""What each step of the int8 conversion brings on a real network; for benchmarks/quantization.py --steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from convert_v3 import FLOAT, File, markdown, ratio, tried
from numpy.typing import NDArray

import models.interpreter
from convert.calibration import read_calibration
from convert.source import Source
from convert.speed import invoke_times, partitions
from convert.verify import Photo, ask, find_photos
from models.bundle import ModelBundle
from models.interpreter import Interpreter
from models.manifest import LIGHTINGS

if TYPE_CHECKING:
    from convert.graph import Network
    from convert.quantize import Ranges
    from convert.ranges import Reach

STOCK = "TensorFlow's own recipe"
SECONDS, SIDES = 20.0, ("val", "test")
Pictures = NDArray[np.uint8]
Logits = list[dict[str, NDArray[np.float32]]]
"""Of each file by lighting, (n, classes)."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """What a network is worth after a step; shares 0-1.

    `accuracy` by side (`val`, `test`) and lighting; `agreement`, the test photos as taken with the float network's
    answer; `error`, how far the logits of validation photos as taken are from the float network's, as a share of their
    spread; `pieces` that XNNPACK runs, None where it refuses the file; `ratio` of its time to its float32's.
    """

    name: str
    accuracy: Mapping[str, Mapping[str, float]]
    agreement: float
    error: float
    pieces: int | None
    ratio: float | None


def measured(bundle: ModelBundle, folder: Path, say: Say, debug: bool = False) -> list[Step]:
    """Convert a float bundle step by step, and measure the file of each.

    Args:
        bundle: its photos must be where it says.
        folder: for the files.
        say: is told what takes long.
        debug: show TensorFlow's messages.
    """
    source, pictures = Source(bundle.model, debug=debug), read_calibration(bundle).images
    model = source.float32()
    files = [tried(FLOAT, folder, model), tried(STOCK, folder, source.stock("int8", pictures))]
    for name, content in variants(model, pictures, say, debug):
        files.append(tried(name, folder, content))
    say(f"comparing {len(files)} files on photos")
    networks = [undelegated(file.path) if file.refused else Interpreter(file.path) for file in files]
    photos = find_photos(bundle)
    logits = {side: ask(photos[side], networks)[0] for side in SIDES}
    runs = [file for file in files if not file.refused]
    times = dict(zip([file.name for file in runs], invoke_times([file.path for file in runs], SECONDS), strict=True))
    return [_step(file, place, photos, logits, times) for place, file in enumerate(files)]


def _step(
    file: File, place: int, photos: Mapping[str, list[Photo]], logits: Mapping[str, Logits],
    times: Mapping[str, NDArray[np.float64]],
) -> Step:
    truth = {side: np.array([photo.label for photo in photos[side]]) for side in logits}
    accuracy = {side: {light: float((values.argmax(axis=1) == truth[side]).mean())
                       for light, values in found[place].items()} for side, found in logits.items()}
    exact, own = logits["test"][0]["day"], logits["test"][place]["day"]
    found = None if file.refused else partitions(file.path)
    return Step(
        file.name, accuracy, float((exact.argmax(axis=1) == own.argmax(axis=1)).mean()),
        off(logits["val"][0]["day"], logits["val"][place]["day"]), found[0] if found else None,
        ratio(times[file.name], times[FLOAT]) if file.name in times else None)


def variants(model: bytes, pictures: Pictures, say: Say, debug: bool, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """The steps of `convert.int8.to_int8` one by one, each with the int8 file that it gives; those with nothing to do
    are left out."""
    from convert.engine import logits
    from convert.graph import read
    from convert.int8 import ENOUGH, JUDGED, SEARCHED, SHAPED, WEIGHED
    from convert.quantize import quantize, settle
    from convert.quiet import quiet
    from convert.ranges import equalize, even_swishes, reach, search, shrink_linear, whole_steps
    from convert.rewrites import fold_gates, merge_linear, rewrite
    from convert.rounding import round_weights
    from convert.tune import fine_tune

    network = read(model)
    rewrite(network)
    whole_steps(network)
    shaped, shown = pictures[:SHAPED], pictures[-JUDGED:]
    with quiet(debug):
        seen = reach(network, shaped)
    yield "graph rewritten", quantize(network, outermost(network, seen))
    steps: dict[str, Callable[[Reach], int]] = {
        "+ constant gates folded": lambda found: fold_gates(network, found.lowest, found.highest),
        "+ pairs of convolutions merged": lambda _: merge_linear(network),
        "+ linear channels made smaller": lambda found: shrink_linear(network, found),
        "+ hard-swishes made even": lambda found: even_swishes(
            network, found, search(network, pictures[:WEIGHED], found, seed)[1]),
        "+ channels equalised": lambda found: equalize(network, found),
    }
    for name, step in steps.items():
        if step(seen):
            with quiet(debug):
                seen = reach(network, shaped)
            yield name, quantize(network, outermost(network, seen))
    teacher = network.copy()
    with quiet(debug):
        round_weights(network, shaped)
        seen = reach(network, shaped)
    yield "+ weights rounded together", quantize(network, outermost(network, seen))
    say("searching for ranges")
    with quiet(debug):
        ranges = settle(network, search(network, pictures[:SEARCHED], seen, seed)[0])
        error = off(logits(teacher, shown), logits(network, shown, ranges))
    yield "+ ranges searched", quantize(network, ranges)
    if error > ENOUGH:
        say(f"off by {error:.2f}; fine-tuning")
        with quiet(debug):
            learned = fine_tune(teacher, network, ranges, pictures, seed)
        yield "+ fine-tuned", quantize(network, learned)


def off(exact: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """How far logits are from the float network's, as a share of their spread; both (n, classes).

    What is added to all logits alike does not count: it changes no answer.
    """
    exact, found = (each - each.mean(axis=1, keepdims=True) for each in (exact, found))
    return float(np.sqrt(np.mean((found - exact) ** 2)) / exact.std())


def outermost(network: Network, seen: Reach) -> Ranges:
    """The range of each tensor from its lowest to its highest number, as converters take it by default."""
    from convert.ranges import candidates

    found = {}
    for tensor, choices in candidates(network, seen).items():
        low, high = seen.kept[tensor][:, -1]
        found[tensor] = choices[0] if len(choices) == 1 else (float(min(low, 0)), float(max(high, 1e-6)))
    return found


def undelegated(model: Path) -> Interpreter:
    """A .tflite file that XNNPACK refuses, run by LiteRT's own kernels."""
    from ai_edge_litert.interpreter import OpResolverType

    kind, name, version = models.interpreter.load_runtime()
    plain = partial(kind, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    with patch.object(models.interpreter, "load_runtime", lambda: (plain, name, version)):
        return Interpreter(model)


def table(backbone: str, runs: Sequence[Sequence[Step]]) -> str:
    """A network's table in Markdown.

    Args:
        backbone: the network.
        runs: the steps of each of its bundles; shown are the means over those bundles that have a step.
    """
    rows = []
    for name in [step.name for step in max(runs, key=len)]:
        own = [step for steps in runs for step in steps if step.name == name]
        shares = [fmean(step.accuracy[side][light] for step in own) for side in SIDES for light in LIGHTINGS]
        each = " ".join(f"{100 * step.accuracy['test']['day']:.1f}" for step in own)
        pieces = sorted({"refused" if step.pieces is None else str(step.pieces) for step in own})
        times = [step.ratio for step in own if step.ratio is not None]
        rows.append([name, *(f"{100 * share:.1f}" for share in shares), each,
                     f"{100 * fmean(step.agreement for step in own):.1f}", f"{fmean(step.error for step in own):.3f}",
                     ", ".join(pieces), f"{fmean(times):.2f}" if times else ""])
    head = ("after", "val", "val in grey", "test", "test in grey", "test, each seed", "same answer", "logits off by",
            "XNNPACK pieces", "x float's time")
    bundles = f"means over {len(runs)} seeds" if len(runs) > 1 else "one seed"
    title = (f"{backbone}, {bundles}: per cent right. What each step does was decided on validation photos; test "
             "photos are shown for comparison only.")
    return "\n".join([title, "", *markdown(head, rows), ""])
