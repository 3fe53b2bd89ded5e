"""`edge-classify`: what is on the photos of an archive or an SD card, as CSV.

edge-classify photos/ card/DCIM > found.csv
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from models import __version__
from models.errors import ImageError, UsageError, run

PROGRAM = "edge-classify"
COLUMNS = ("file", "observation_type", "species", "scientific_name", "probability", "lighting")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(PROGRAM, description="Say what is on photos, as CSV on standard output.")
    made.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="photos, or folders of them")
    made.add_argument(
        "--model", metavar="BUNDLE", type=Path, help="a converted model bundle (default: the published one)"
    )
    made.add_argument("--threads", metavar="N", type=int, default=1, help="threads of the model (default: 1)")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return made


def classify_main(argv: Sequence[str]) -> int:
    """Write one row per photo; a species below its operating point is `unknown`.

    Returns:
        0, or 1 if a photo could not be read (it is named on standard error, and the others are still done).
    """
    options = parser().parse_args(argv)
    from models.bundle import ModelBundle, default_bundle
    from models.classifier import Classifier
    from models.images import read_image
    from models.preprocess import is_infrared

    files = list(_photos(options.paths))
    classifier = Classifier(ModelBundle.open(options.model or default_bundle()), options.threads)
    points, unread = classifier.bundle.manifest.operating_points, 0
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(COLUMNS)
    for file in files:
        try:
            image = read_image(file, at_least=classifier.interpreter.size)
        except ImageError as error:
            unread += 1
            print(f"{PROGRAM}: left out: {error}", file=sys.stderr)
            continue
        probabilities = classifier.classify(image)
        best = int(probabilities.argmax())
        label, lighting = classifier.labels[best], "night" if is_infrared(image) else "day"
        sure = float(probabilities[best]) >= points[label.name][lighting].threshold
        named = (label.observation_type, label.name, label.scientific_name) if sure else ("unknown", "", "")
        out.writerow((file, *named, f"{probabilities[best]:.4f}", lighting))
    return 1 if unread else 0


def _photos(paths: Sequence[Path]) -> Iterator[Path]:
    from models.images import SUFFIXES

    for path in paths:
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES]
            if not found:
                raise UsageError(f"{path}: expected photos in this folder, found none; name the folder they are in")
            yield from found
        elif path.exists():
            yield path
        else:
            raise UsageError(f"{path}: expected a photo or a folder, found no such file; check the path")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `edge-classify`."""
    try:
        return run(PROGRAM, classify_main, argv)
    except BrokenPipeError:  # `edge-classify ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
