"""`convert --quantize int8 [BUNDLE]`: the command."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from models.errors import UsageError

RUNS = Path("runs")
EXAMPLES = """examples:
  convert --quantize int8                      the newest float bundle under runs/
  convert --quantize int8 runs/wildlife-1      writes runs/wildlife-1-int8
  convert --quantize int8 runs/wildlife-1 --out models/bundles/wildlife-1-int8
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="convert", description="Make the model of a float bundle a full-integer one that runs on the edge, "
        "and compare both on the test photos.", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE",
                       help="a float bundle, as `train fit` writes it (default: the newest under runs/)")
    found.add_argument("--quantize", required=True, choices=("int8",), help="how to store the numbers")
    found.add_argument("--out", type=Path, metavar="DIR", help="the new bundle (default: BUNDLE with -int8 appended)")
    found.add_argument("--data", type=Path, metavar="DIR", help="where the photos are, if they have moved")
    found.add_argument("--no-verify", action="store_true", help="do not compare on the test photos")
    found.add_argument("--samples", type=int, metavar="N", help="calibrate with N of the pictures (default: all)")
    found.add_argument("--force", action="store_true", help="replace a bundle that is already there")
    found.add_argument("--debug", action="store_true", help="show TensorFlow's messages and tracebacks")
    return found


def main(argv: Sequence[str]) -> int:
    """Convert a bundle.

    Raises:
        EdgeWatchError: the job cannot be done; nothing is written.
        UsageError: the options contradict one another.
    """
    options = parser().parse_args(argv)
    if options.samples is not None and options.samples < 1:
        raise UsageError(f"--samples: expected a number of pictures from 1, found {options.samples}")

    # numpy, OpenCV and TensorFlow only now: `--help` and a wrong option answer at once.
    from convert.calibration import read_calibration
    from convert.job import convert, open_float
    from convert.verify import find_photos
    from models.bundle import newest_float, require_free

    path = options.bundle
    if path is None:
        path = newest_float(RUNS)
        print(f"{path} is the newest float bundle under {RUNS}/")
    parent = open_float(path)
    out = options.out or _beside(path)
    if out.resolve() == path.resolve():
        raise UsageError(f"--out {out}: expected another folder than the float bundle's, found the same; "
                         f"choose another")
    require_free(out, options.force)
    calibration = read_calibration(parent, options.samples)
    photos = None if options.no_verify else find_photos(parent, options.data)
    command = shlex.join(["convert", *argv, *([] if options.bundle else [str(path)])])
    convert(parent, out, calibration, photos, command, force=options.force, debug=options.debug)
    return 0


def _beside(path: Path) -> Path:
    named = path if path.name not in ("", "..") else path.resolve()
    return named.with_name(f"{named.name}-int8")
