"""The command `train`: fit, inspect and evaluate."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from models.errors import EdgeWatchError, UsageError, run
from train.names import BACKBONES
from train.recipe import DEFAULT, Recipe

EXAMPLES = """examples:
  train inspect photos/
  train fit photos/
  train fit photos/ --backbone mobilenet_v3_small --unfreeze 40 --exclude bad.txt --out runs/small
  train evaluate runs/photos-1-int8 photos/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `train`; returns the exit code."""
    return run("train", _main, argv)


def parser() -> argparse.ArgumentParser:
    """The command line of `train`."""
    top = argparse.ArgumentParser("train", description="From labelled photos to a float bundle.", epilog=EXAMPLES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="fit|inspect|evaluate")

    fit = commands.add_parser("fit", help="train a model on photos", description="Train a model on photos. The result "
                              "is a float bundle, which `convert` turns into one for the edge.")
    fit.add_argument("data", metavar="DATA", type=Path,
                     help="folder with one folder of photos per class, or with train, val and test folders of such")
    fit.add_argument("--backbone", choices=BACKBONES, default=DEFAULT.backbone, help="default: %(default)s")
    fit.add_argument("--weights", default=DEFAULT.weights, metavar="imagenet|none|FILE",
                     help="what training starts from: a download, nothing or a .weights.h5 file (default: %(default)s)")
    fit.add_argument("--unfreeze", type=_layers, default=DEFAULT.unfreeze, metavar="N|all",
                     help="fine-tune the backbone's last N layers (default: %(default)s)")
    fit.add_argument("--exclude", type=Path, metavar="LIST",
                     help="photos to leave out: one path a line, relative to DATA, or a CSV file with a column `path`")
    fit.add_argument("--out", type=Path, metavar="DIR", help="the new bundle (default: runs/DATA-1, -2, ...)")
    fit.add_argument("--name", help="the model's name (default: that of the --out folder)")
    fit.add_argument("--size", type=_size, default=DEFAULT.size, metavar="PIXELS",
                     help="side of the network's input; smaller is faster (default: %(default)s)")
    fit.add_argument("--epochs", type=_count, default=DEFAULT.epochs, metavar="N",
                     help="passes of fine-tuning; 0 trains the head only (default: %(default)s)")
    fit.add_argument("--seed", type=int, default=DEFAULT.seed, metavar="N", help="default: %(default)s")
    fit.add_argument("--force", action="store_true", help="replace the bundle at --out")

    inspect = commands.add_parser("inspect", help="what is in the photos, and what is wrong with them")
    inspect.add_argument("data", metavar="DATA", type=Path)
    evaluate = commands.add_parser("evaluate", help="measure a bundle, float or int8, on labelled photos")
    evaluate.add_argument("bundle", metavar="BUNDLE", type=Path)
    evaluate.add_argument("data", metavar="DATA", type=Path,
                          help="as for fit; where it has a test folder, only that counts")
    for command in (inspect, evaluate):
        command.add_argument("--exclude", type=Path, metavar="LIST", help="photos to leave out, as for fit")
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for command in (fit, inspect, evaluate):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return top


def _layers(text: str) -> int | str:
    return text if text == "all" else _count(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found {text!r}")
    return int(text)


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) % 32 or not 32 <= int(text) <= 512:
        raise argparse.ArgumentTypeError(f"expected a multiple of 32 from 32 to 512, found {text!r}")
    return int(text)


def _main(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    if arguments.command == "inspect":
        from train.inspection import inspect

        return inspect(arguments.data, arguments.exclude, arguments.json)
    if arguments.command == "evaluate":
        from train.evaluate import evaluate

        return evaluate(arguments.bundle, arguments.data, arguments.exclude, arguments.json)
    return _fit(arguments, shlex.join(["train", *argv]))


def say(line: str) -> None:
    """Show one line of progress at once, also in a log."""
    print(line, file=sys.stderr, flush=True)


def _fit(arguments: argparse.Namespace, command: str) -> int:
    from models.bundle import require_free
    from train.data import check_classes, find_photos

    # All that can be refused is refused before the slow import of TensorFlow.
    recipe = _recipe(arguments)
    data = find_photos(arguments.data, arguments.exclude)
    check_classes(data)
    out, number = _target(arguments)
    require_free(out, arguments.force)
    for note in data.notes:
        say(note)
    say(f"{arguments.data}: {len(data.photos)} photos of {len(data.names)} classes; the bundle goes to {out}")
    working = _working(out)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that what is half-done is removed then, too.
    try:
        from train.quiet import import_tensorflow

        import_tensorflow()
        from train.job import Job, train

        train(Job(data, recipe, out, arguments.name or out.name, number, command, arguments.force), working, say)
    except OSError as error:
        raise EdgeWatchError(f"{out}: cannot be written: {error.strerror or error}; make room or choose another "
                             f"--out") from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return 0


def _recipe(arguments: argparse.Namespace) -> Recipe:
    chosen: dict[str, Any] = {field.name: getattr(arguments, field.name) for field in fields(Recipe)
                              if hasattr(arguments, field.name)}
    weights = arguments.weights
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise UsageError(f"--weights: expected imagenet, none or a file, found {weights}, which does not exist; "
                         f"correct the path")
    if weights not in ("imagenet", "none") and not weights.endswith((".weights.h5", ".h5")):
        raise UsageError(f"--weights: expected a .weights.h5 file, found {weights}; save the backbone's weights with "
                         f"Keras' save_weights")
    return Recipe(**chosen)


def _target(arguments: argparse.Namespace) -> tuple[Path, str]:
    """Where the bundle goes, and its version: with --out 1, else the first number that is free under runs/."""
    if arguments.out:
        return arguments.out, "1"
    name = arguments.name or arguments.data.resolve().name
    number = 1
    while (found := Path("runs") / f"{name}-{number}").exists():
        number += 1
    arguments.name = name
    return found, str(number)


def _working(out: Path) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}-work-", dir=out.parent))
    except OSError as error:
        raise EdgeWatchError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
