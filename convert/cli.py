"""`convert --quantize int8 [BUNDLE]`: the command."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError

if TYPE_CHECKING:
    from convert.calibration import Calibration
    from convert.parent import Parent
    from convert.verify import Photo

RUNS = Path("runs")
ENDINGS = {"int8": "int8", "int16x8": "int16x8", "dynamic": "dynamic", "float16": "float16", "none": "float32"}
"""What the new bundle's name ends with, by how it stores numbers."""
MEASURED = ("int8", "int16x8")
"""The schemes that need pictures to measure ranges with."""
DESCRIPTION = """Make a trained model one that runs on the edge, prove on the test photos that it is as good, and write
it as a new bundle. What cannot be proven, or misses a gate, ends with exit code 1."""
EXAMPLES = """how numbers are stored (--quantize):
  int8     integers through and through: the smallest and fastest; what the edge is for
  float16  weights at half their size, computed as floats: nothing lost, not faster
  none     floats as they are, in a file for the edge
  int16x8  16-bit activations: nearly nothing lost, but many times slower
  dynamic  8-bit weights, computed partly as floats

examples:
  convert --quantize int8                      the newest float bundle under runs/
  convert --quantize int8 runs/wildlife-1      writes runs/wildlife-1-int8
  convert --quantize int8 runs/wildlife-1 --calibration photos/my-trap --on-miss ladder
  convert --quantize int8 my.keras --labels names.txt --input-range -1 1 --calibration train/ --data test/
  convert --quantize float16 exported/ --labels names.txt --data test/ --out models/mine-float16
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="convert", description=DESCRIPTION, epilog=EXAMPLES,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("model", nargs="?", type=Path, metavar="BUNDLE|MODEL",
                       help="a float bundle, as `train fit` writes it (default: the newest under runs/); or a .keras "
                            "or .h5 file or a SavedModel's folder, with --labels")
    found.add_argument("--quantize", required=True, choices=tuple(ENDINGS), help="how to store the numbers; see below")
    found.add_argument("--out", type=Path, metavar="DIR",
                       help="the new bundle (default: BUNDLE with -int8 and so on appended; for MODEL under runs/)")
    found.add_argument("--force", action="store_true", help="replace a bundle that is already there")
    found.add_argument("--seed", type=int, default=1, metavar="N",
                       help="of all that is drawn: calibration pictures, halves of --data (default: 1)")
    found.add_argument("--debug", action="store_true", help="show TensorFlow's messages and tracebacks")
    _int8_options(found.add_argument_group("int8"))
    _proof_options(found.add_argument_group("proof"))
    bare = found.add_argument_group("a model that is no bundle")
    bare.add_argument("--labels", type=Path, metavar="FILE",
                      help="its classes in the order of its outputs: a labels.csv, or text with a name a line")
    bare.add_argument("--input-range", type=float, nargs=2, metavar=("LOW", "HIGH"),
                      help="what it takes for black and for white, as 0 1 or -1 1; the scaling becomes part of the new "
                           "model (default: 0 255)")
    return found


def _int8_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--calibration", type=Path, metavar="DIR",
                       help="measure ranges with these photos: class folders, or photos alone (default: the bundle's "
                            "own pictures); also for int16x8")
    group.add_argument("--samples", type=int, metavar="N",
                       help="calibrate with N pictures, evenly from all classes (default: all of a bundle's, 220 of a "
                            "folder's)")
    group.add_argument("--io", choices=("uint8", "int8"), help="what the network takes and gives (default: uint8)")
    group.add_argument("--for", dest="target", choices=("xnnpack", "any"),
                       help="the runtime: xnnpack (LiteRT's default; no operator may cut the network in pieces) or any "
                            "(default: xnnpack)")
    group.add_argument("--fine-tune", choices=("auto", "never", "always"),
                       help="train the integer network for a short while with the float one as its teacher; auto: when "
                            "the calibration alone loses too much (default: auto)")


def _proof_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--data", type=Path, metavar="DIR",
                       help="where a bundle's photos are, if they have moved; for MODEL labelled photos: class folders "
                            "(half of each validates), or val and test folders of such")
    group.add_argument("--no-verify", action="store_true", help="do not compare on the test photos")
    group.add_argument("--max-drop", type=float, metavar="POINTS",
                       help="the accuracy that may be lost, in percentage points (default: 0.5)")
    group.add_argument("--on-miss", choices=("fail", "ladder"), default="fail",
                       help="when a gate is missed: write nothing, or go on with float16 and say so (default: fail)")


def main(argv: Sequence[str]) -> int:
    """Convert a model.

    Raises:
        EdgeWatchError: the job cannot be done, or a gate was missed; nothing is written.
        UsageError: the options contradict one another.
    """
    options = parser().parse_args(argv)
    _check(options)

    # numpy, OpenCV and TensorFlow only now: `--help` and a wrong option answer at once.
    from convert.job import Job, convert, renamed
    from convert.parent import open_parent
    from convert.source import RAW, Source
    from models.bundle import newest_float, require_free

    path = options.model
    if path is None:
        path = newest_float(RUNS)
        print(f"{path} is the newest float bundle under {RUNS}/")
    parent = open_parent(path, options.labels)
    _check_parent(options, parent)
    out = options.out or _default_out(path, parent, options.quantize)
    for each in (out, renamed(out, options.quantize, "float16")) if options.on_miss == "ladder" else (out,):
        if each.resolve() == path.resolve():
            raise UsageError(f"--out {each}: expected another folder than the float model's, found the same; "
                             f"choose another")
        require_free(each, options.force)
    photos = _photos(options, parent)
    # All that a bundle says of itself is checked before the slow import of TensorFlow; a bare model says nothing.
    calibration = _calibration(options, parent, photos) if parent.bundle else None
    input_range = tuple(options.input_range or RAW)
    source = Source(parent.model, input_range, options.debug)
    parent = parent.fitted(source.size, source.classes)
    if not parent.bundle:
        calibration = _calibration(options, parent, photos)
    for note in calibration.notes if calibration else ():
        print(note)
    convert(Job(
        parent=parent, source=source, out=out, calibration=calibration, photos=photos,
        command=shlex.join(["convert", *argv, *([] if options.model else [str(path)])]), scheme=options.quantize,
        io=options.io or "uint8", target=options.target or ("any" if options.quantize == "int16x8" else "xnnpack"),
        max_drop=0.5 if options.max_drop is None else options.max_drop, on_miss=options.on_miss,
        fine_tune=options.fine_tune or "auto", seed=options.seed, input_range=input_range, force=options.force,
        debug=options.debug,
    ))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse options that cannot be meant together."""
    scheme = options.quantize
    for option, value, schemes in (
        ("--calibration", options.calibration, MEASURED), ("--samples", options.samples, MEASURED),
        ("--io", options.io, ("int8",)), ("--fine-tune", options.fine_tune, ("int8",)),
    ):
        if value is not None and scheme not in schemes:
            raise UsageError(f"{option}: expected it with --quantize {' or '.join(schemes)} only, found it with "
                             f"{scheme}; leave it out")
    if options.on_miss == "ladder" and scheme != "int8":
        raise UsageError(f"--on-miss ladder: expected it with --quantize int8, from which it goes down to float16, "
                         f"found it with {scheme}; leave it out")
    if options.target == "xnnpack" and scheme == "int16x8":
        raise UsageError("--for xnnpack: expected a scheme that XNNPACK runs, found int16x8, which it does not; "
                         "type --for any")
    for option, value in (("--data", options.data), ("--max-drop", options.max_drop)):
        if value is not None and options.no_verify:
            raise UsageError(f"{option}: expected it without --no-verify, which compares nothing, found both; "
                             f"leave one of them out")
    if options.samples is not None and options.samples < 1:
        raise UsageError(f"--samples: expected a number of pictures from 1, found {options.samples}; correct it")
    if options.seed < 0:
        raise UsageError(f"--seed: expected a number from 0, found {options.seed}; correct it")
    if options.max_drop is not None and not 0 <= options.max_drop <= 100:
        raise UsageError(f"--max-drop: expected percentage points from 0 to 100, found {options.max_drop:g}; "
                         f"correct it")
    if options.input_range is not None:
        low, high = options.input_range
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise UsageError(f"--input-range: expected two numbers, the lower one first, found {low:g} {high:g}; "
                             f"correct them")


def _check_parent(options: argparse.Namespace, parent: Parent) -> None:
    """Refuse options that do not fit what is converted."""
    if parent.bundle:
        if options.input_range is not None:
            raise UsageError("--input-range: expected none with a bundle, whose network takes raw 0-255, found "
                             f"{options.input_range[0]:g} {options.input_range[1]:g}; leave it out")
        return
    if options.quantize in MEASURED and options.calibration is None:
        raise UsageError(f"{parent.path}: expected --calibration DIR with a model that is no bundle, found none; "
                         f"name a folder of photos as it was trained on")
    if options.data is None and not options.no_verify:
        raise UsageError(f"{parent.path}: expected labelled photos to compare on, found none: the model is no bundle; "
                         f"type --data DIR, or --no-verify to convert without comparing")


def _default_out(path: Path, parent: Parent, scheme: str) -> Path:
    if not parent.bundle:
        return RUNS / f"{parent.manifest.name}-{ENDINGS[scheme]}"
    named = path if path.name not in ("", "..") else path.resolve()
    return named.with_name(f"{named.name}-{ENDINGS[scheme]}")


def _photos(options: argparse.Namespace, parent: Parent) -> dict[str, list[Photo]] | None:
    """Validation and test photos; None where nothing shall be compared."""
    from convert.photos import labelled
    from convert.verify import find_photos

    if options.no_verify:
        return None
    if parent.bundle:
        return find_photos(parent.bundle, options.data)
    return labelled(options.data, parent.labels, options.seed)


def _calibration(
    options: argparse.Namespace, parent: Parent, photos: dict[str, list[Photo]] | None
) -> Calibration | None:
    """The pictures to measure ranges with; None for a scheme that needs none."""
    from convert.calibration import read_calibration, read_folder
    from models.bundle import file_hash

    if options.quantize not in MEASURED:
        return None
    if options.calibration is None:
        assert parent.bundle is not None
        return read_calibration(parent.bundle, options.samples, options.seed)
    held_out = {file_hash(photo.path) for photo in photos["test"]} if photos else set()
    return read_folder(options.calibration, parent.labels, parent.manifest.input.size, options.samples, options.seed,
                       held_out)
