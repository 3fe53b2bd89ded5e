"""Repeats a public study, and prints its table.

    python -m recipes.studies parrots

Each is trained by `train fit` with the recipes beside this file. A bundle that is there already, of the same recipe and
photos, is kept, and a training that was interrupted goes on: the command can be stopped and typed again.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import EdgeWatchError, UsageError, run
from recipes.studies.plan import BY_SEQUENCE, FOLDER, FREQUENT, STUDIES, Study

ROOT = FOLDER.parents[1]
SHARED = ROOT.parent / "shared"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study; returns the exit code."""
    return run("recipes.studies", _main, argv)


def _parser() -> argparse.ArgumentParser:
    last = "On two slow cores, without weights to download: " + ", ".join(
        f"{name} about {study.minutes} minutes" for name, study in STUDIES.items()) + "."
    parser = argparse.ArgumentParser("recipes.studies", description=__doc__, epilog=last,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="NAME", choices=STUDIES, help=", ".join(STUDIES))
    parser.add_argument("--data", type=Path, default=SHARED / "data", metavar="DIR",
                        help="the folder that holds the sets of photos (default: %(default)s)")
    parser.add_argument("--weights-dir", default=str(SHARED / "weights"), metavar="imagenet|DIR",
                        help="folder with the files of weights, or imagenet to download them; a network without a file "
                             "is trained from nothing, for a moment (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/studies"), metavar="DIR",
                        help="where the bundles and the table go (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="train again what is there already")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that a training is not left behind.
    text = study(STUDIES[options.study], options, shlex.join(["python", "-m", "recipes.studies", *argv]))
    print(text, end="")
    return 0


def study(chosen: Study, options: argparse.Namespace, typed: str) -> str:
    """Train all that belongs to a study, and give its tables, which are also written to OUT.

    Raises:
        UsageError: photos or weights are missing.
        EdgeWatchError: a training failed.
    """
    from recipes.studies import table
    from recipes.studies.fitting import Place, fitted
    from recipes.studies.trapped import TRAPPED, write_tables

    made = {FREQUENT, BY_SEQUENCE} & {training.data for training in chosen.trainings}
    for data in dict.fromkeys(TRAPPED if training.data in made else training.data for training in chosen.trainings):
        if not (options.data / data).exists():
            raise UsageError(f"--data: expected {options.data / data}, found none; name the folder that has it")
    if options.weights_dir != "imagenet" and not Path(options.weights_dir).is_dir():
        raise UsageError(f"--weights-dir: expected imagenet or a folder, found {options.weights_dir}; correct it")
    # With whole paths: wherever it is typed, the same is trained, and so it is not trained again.
    weights = options.weights_dir if options.weights_dir == "imagenet" else str(Path(options.weights_dir).resolve())
    place = Place(options.data.resolve(), weights, options.out / options.study, options.fresh)
    place.out.mkdir(parents=True, exist_ok=True)
    if made:
        write_tables(options.data / TRAPPED, place.out)
    say = clock()
    inspected = inspect(options.data / chosen.inspect, place.out) if chosen.inspect else ""
    results = [table.read(training, fitted(training, place, say)) for training in chosen.trainings]
    text = table.document(results, inspected, chosen.classes, typed)
    path = place.out / "table.md"
    path.write_text(text, encoding="utf-8")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    say(f"done, with {(used.ru_utime + used.ru_stime) / 60:.0f} minutes of processor time; the table is in {path}")
    return text


def inspect(data: Path, out: Path) -> str:
    """What `train inspect` prints of a set of photos; its page goes into OUT."""
    data = Path(os.path.relpath(data))
    done = subprocess.run([sys.executable, "-m", "train", "inspect", data, "--out", out / f"inspect-{data.name}"],
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeWatchError(f"{data}: expected `train inspect` to end well, found: {done.stderr.strip()[-300:]}")
    return done.stdout


def clock() -> Callable[[str], None]:
    """What shows a line with the time since now."""
    started = time.monotonic()

    def say(line: str) -> None:
        seconds = int(time.monotonic() - started)
        print(f"[{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}] {line}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    raise SystemExit(main())
