"""How fast int8 networks run beside their own float32 and beside TensorFlow's own int8 conversion, in one run.

    python benchmarks/convert_v3.py [BUNDLE ...]

For each float bundle (when none is named, the newest MobileNetV3Small and MobileNetV2 under runs/) three .tflite files
are made: float32; int8 as TensorFlow's converter makes it ("stock"), calibrated with the same pictures; and int8 as
`convert` makes it, without fine-tuning, which changes weights and no operator. Each is first run in a process of its
own. Where LiteRT with XNNPACK refuses the stock file or dies of it, the stock recipe is applied to the same network
once more, after the squeeze-excite gates that are constant were folded away, and that file is timed in its place.

All files of a network are timed in turn in one run: raw invoke, one thread, medians; ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from convert.calibration import read_calibration
from convert.source import Source
from convert.speed import ROUNDS, invoke_times, partitions
from convert.trial import try_out
from convert.words import counts
from models.bundle import KERAS, MANIFEST, ModelBundle
from models.errors import BundleError, EdgeWatchError, run

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 20.0
OURS, STOCK, CURED, FLOAT = "convert", "stock", "stock, constant gates folded", "float32"
TARGETS = {"mobilenet_v3_small": {FLOAT: 0.72, STOCK: 0.32}, "mobilenet_v2": {FLOAT: 0.55}}
"""By backbone, at most so many times the float32's and the stock file's time."""
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class File:
    """A .tflite file of a network, by what made it; where the runtime does not run it, why."""

    name: str
    path: Path
    refused: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, time and print."""
    return run("convert_v3", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("convert_v3", description="How fast int8 networks run beside their own float32 "
                                     "and TensorFlow's own int8 conversion.")
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE",
                        help="float bundles (default: the newest of each network with a target under runs/)")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S",
                        help=f"how long to time each network, at most {ROUNDS} rounds (default: %(default)g)")
    parser.add_argument("--debug", action="store_true", help="show TensorFlow's messages and tracebacks")
    options = parser.parse_args(argv)
    met = []
    for path in options.bundles or [newest(backbone) for backbone in TARGETS]:
        bundle = ModelBundle.open(path)
        if not bundle.is_float:
            raise EdgeWatchError(f"{path}: expected a float bundle, found one that is converted; name its parent")
        with tempfile.TemporaryDirectory() as folder:
            files = make(bundle, Path(folder), options.debug)
            met += show(bundle, files, options.seconds)
    print(f"{sum(met)} of {len(met)} targets met")
    return 0


def newest(backbone: str) -> Path:
    """The float bundle of a backbone under runs/ that was written last.

    Raises:
        EdgeWatchError: there is none.
    """
    found = [path.parent for path in (ROOT / "runs").glob(f"**/{MANIFEST}") if (path.parent / KERAS).is_file()]
    for path in sorted(found, key=lambda folder: -(folder / MANIFEST).stat().st_mtime):
        if ModelBundle.open(path).manifest.provenance.backbone == backbone:
            return path
    raise EdgeWatchError(f"runs/: expected a float bundle of {backbone}, found none; name one, or type: "
                         f"train fit PHOTOS --backbone {backbone}")


def make(bundle: ModelBundle, folder: Path, debug: bool = False) -> list[File]:
    """The float32, stock and own int8 files of a float bundle, tried out; a cured stock file where the stock fails."""
    source, pictures = Source(bundle.model, debug=debug), read_calibration(bundle).images
    from convert.int8 import to_int8  # It imports TensorFlow, which `Source` has kept quiet.

    model = source.float32()
    files = [tried(FLOAT, folder, model), tried(STOCK, folder, source.stock("int8", pictures))]
    if files[-1].refused:
        files.append(tried(CURED, folder, cured(model, pictures)))
    return [*files, tried(OURS, folder, to_int8(model, pictures, tuning="never", debug=debug).content)]


def tried(name: str, folder: Path, content: bytes) -> File:
    """Write a .tflite file, and run it in a process of its own."""
    path = folder / (re.sub("[^a-z0-9]+", "-", name.lower()) + ".tflite")
    path.write_bytes(content)
    try:
        try_out(path)
    except BundleError as error:
        return File(name, path, str(error).partition("found")[2].strip(" :").rpartition(";")[0])
    return File(name, path)


def cured(model: bytes, pictures: Pictures) -> bytes:
    """TensorFlow's recipe for int8, applied to a float .tflite file without its constant squeeze-excite gates.

    It is what `TFLiteConverter` does once it has made the float file, with settings as `Source.stock` has them.

    Args:
        model: as `Source.float32` gives it.
        pictures: (n, size, size, 3) uint8 RGB to calibrate with.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.optimize import calibrator

    from convert.graph import read, write
    from convert.quiet import quiet
    from convert.ranges import reach
    from convert.rewrites import fold_factors, fold_gates

    def shown() -> Any:
        return ([picture[np.newaxis].astype(np.float32)] for picture in pictures)

    with quiet():
        network = read(model)
        fold_factors(network)  # Else the sixth of the gate stands between the dead unit and what it is folded into.
        seen = reach(network, pictures)
        fold_gates(network, seen.lowest, seen.highest)
        calibrated = calibrator.Calibrator(calibrator.add_intermediate_tensors(write(network))).calibrate(shown)
        return bytes(mlir_quantize(calibrated, input_data_type=tf.uint8, output_data_type=tf.uint8))


def show(bundle: ModelBundle, files: Sequence[File], seconds: float) -> list[bool]:
    """Time a network's files and print them as a Markdown table; whether each of its targets is met."""
    backbone = bundle.manifest.provenance.backbone
    runs = [file for file in files if not file.refused]
    times = dict(zip([file.name for file in runs], invoke_times([file.path for file in runs], seconds), strict=True))
    rival = next((name for name in (STOCK, CURED) if name in times), None)
    print(f"\n{bundle.path.name} ({backbone}), {len(times[FLOAT])} rounds, one thread:\n")
    rows = []
    for file in files:
        cells = ["", "", "", "refused", ""]
        if not file.refused:
            own, pieces = times[file.name], partitions(file.path) or ("?", {})
            ratios = [f"{ratio(own, times[other]):.2f}" if other else "" for other in (FLOAT, rival)]
            cells = [f"{np.median(own) * 1000:.2f}", *ratios, str(pieces[0]), counts(pieces[1])]
        rows.append([file.name, *cells, f"{file.path.stat().st_size / 1e6:.2f}"])
    print("\n".join(markdown(("file", "ms", "x float32", "x stock", "XNNPACK pieces", "left outside", "MB"), rows)))
    print()
    for file in files:
        if file.refused:
            print(f"{file.name}: {file.refused}")
    return [hold(backbone, FLOAT if other == FLOAT else rival, most, times)
            for other, most in TARGETS.get(backbone, {}).items()] + hold_pieces(backbone, files[-1])


def ratio(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The time of one file as a multiple of another's; both (rounds,) of the same run."""
    return float(np.median(own / other))


def hold(backbone: str, other: str | None, most: float, times: dict[str, NDArray[np.float64]]) -> bool:
    """Print one target of a network and what was found."""
    found = ratio(times[OURS], times[other]) if other and OURS in times else None
    met = found is not None and found <= most
    print(f"{backbone}: {'no time' if found is None else f'{found:.2f}'} x {other or 'a stock file, which none runs'} "
          f"(target at most {most}): {'met' if met else 'missed'}")
    return met


def hold_pieces(backbone: str, ours: File) -> list[bool]:
    """Print whether XNNPACK runs a network with targets in one piece."""
    if backbone not in TARGETS:
        return []
    pieces = None if ours.refused else partitions(ours.path)
    met = pieces is not None and pieces[0] == 1
    print(f"{backbone}: {pieces[0] if pieces else 'unknown'} XNNPACK pieces (target 1): {'met' if met else 'missed'}")
    return [met]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    raise SystemExit(main())
