"""What the default recipe reaches on each set of photos, against its targets and beside Frigate's recipe, in one run.

    python benchmarks/training.py [--data DIR] [--weights-dir DIR] [--only SET]

One `train fit` after the other, each into a bundle under --runs; the numbers are those that it wrote into the bundle's
manifest. A bundle that was trained with today's settings is kept, and a training that was interrupted goes on, so the
run can be stopped and started again. Frigate's recipe (benchmarks/frigate.py) gets the photos of train and val of the
same bundle and is measured on the same test photos. The table is printed, and written to --out after each set.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.bundle import SPLIT, ModelBundle
from models.errors import EdgeWatchError, UsageError, run
from models.manifest import LIGHTINGS, Metrics
from recipes.studies.fitting import plain, train, weights_file
from train.photos.data import SIDES, Photo
from train.photos.table import read_table
from train.recipe import DEFAULT, Recipe, apply, override, read_recipe

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
FRIGATE = "mobilenet_v2_0.35"
TITLES = {"day": "right by day", "night": "right in grey"}


@dataclass(frozen=True, slots=True)
class Case:
    """A set and a network, and what is to be reached with them, as the mean over the seeds; all in per cent.

    `frozen` is what a linear classifier on the frozen features of that network gives. In grey, accuracy may be `loss`
    points lower than by day; `recall` is asked of a class by day and in grey.
    """

    data: str
    backbone: str
    seeds: int
    target: float
    frozen: float
    loss: float | None = None
    recall: tuple[str, float, float] | None = None


CASES = (
    Case("wildlife", "mobilenet_v2", 3, 97.0, 95.9, 5.0, ("tiger", 100.0, 97.0)),
    Case("wildlife", "mobilenet_v3_small", 3, 95.0, 91.9, 5.0, ("tiger", 100.0, 97.0)),
    Case("animals10", "mobilenet_v2", 1, 98.0, 96.5),
    Case("monkeys10", "mobilenet_v2", 1, 98.0, 96.7),
    Case("butterflies20", "mobilenet_v2", 1, 80.0, 68.8),
    Case("birds_coarse", "mobilenet_v2", 1, 95.0, 92.7),
)
SETS = tuple(dict.fromkeys(case.data for case in CASES))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `each` and `frigate` hold a value for each seed, over `n` photos; all in per cent."""

    case: Case
    what: str
    n: int
    each: list[float]
    frigate: list[float]
    target: float | None = None
    frozen: float | None = None
    rival: bool = True

    @property
    def found(self) -> float:
        """The mean over the seeds."""
        return fmean(self.each)

    @property
    def met(self) -> bool:
        """Whether the target is reached; manifests keep six digits."""
        return self.target is not None and self.found >= self.target - 1e-4

    @property
    def ahead(self) -> bool:
        """Whether Frigate's recipe loses."""
        return self.found > fmean(self.frigate)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure and print the table."""
    return run("training", _main, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("training", description="What the default recipe reaches on each set of photos, "
                                     "against its targets and beside Frigate's recipe.")
    parser.add_argument("--data", type=Path, default=SHARED / "data", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--weights-dir", default=str(SHARED / "weights"), metavar="imagenet|none|DIR",
                        help="folder with the files of weights (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=SETS, metavar="SET",
                        help=f"one of {', '.join(SETS)}; may be given again")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmark", metavar="DIR",
                        help="where the bundles are kept (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table in Markdown (default: RUNS/training.md)")
    parser.add_argument("--fresh", action="store_true", help="train again what is there already")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="another than the default recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="one setting of the recipe, as for `train fit`; may be given again")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    cases = [case for case in CASES if not options.only or case.data in options.only]
    for case in cases:
        if not (options.data / case.data).is_dir():
            raise UsageError(f"--data: expected a folder {options.data / case.data}, found none; name the folder that "
                             f"has it, or choose others with --only")
        for backbone in (case.backbone, FRIGATE):
            weights(options.weights_dir, backbone)
    out = options.out or options.runs / "training.md"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that a training is not left behind.
    started, rows, rivals = time.monotonic(), [], {}
    for case in cases:
        pairs = []
        for seed in range(1, case.seeds + 1):
            bundle = trained(case, seed, options, started)
            key = (case.data, bundle.manifest.files[SPLIT], seed)
            if key not in rivals:
                say(started, f"{case.data}, seed {seed}: Frigate's recipe")
                rivals[key] = rival(options.data / case.data, bundle, options.weights_dir, seed)
            pairs.append((bundle.manifest.metrics, rivals[key]))
        rows += compare(case, pairs)
        write(out, table(rows, argv))
    print(table(rows, argv), end="")
    say(started, f"the table is in {out}")
    return 0


def say(started: float, line: str) -> None:
    """Show a line of progress with the time since the start."""
    seconds = int(time.monotonic() - started)
    print(f"[{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}] {line}", file=sys.stderr, flush=True)


def weights(folder: str, backbone: str) -> str:
    """What `train fit --weights` gets for a backbone.

    Raises:
        UsageError: the folder does not have its file.
    """
    path = weights_file(Path(folder).resolve(), backbone)
    if folder in ("imagenet", "none"):
        return folder
    if not path.is_file():
        raise UsageError(f"--weights-dir: expected {path.name} in {folder}, found none; name the folder that has "
                         f"it, or imagenet to download it")
    return str(path)


def trained(case: Case, seed: int, options: argparse.Namespace, started: float) -> ModelBundle:
    """The bundle of a case and seed: the one that is there if it is today's, else a new one.

    Raises:
        EdgeWatchError: the training failed.
    """
    name = f"{case.data}-{case.backbone}-{seed}"
    out, data = options.runs.resolve() / name, (options.data / case.data).resolve()
    chosen = {"backbone": case.backbone, "weights": weights(options.weights_dir, case.backbone), "seed": seed}
    if out.exists() and not options.fresh:
        bundle = ModelBundle.open(out)
        origin, today = bundle.manifest.provenance, recipe(options, chosen)
        if origin.data == str(data) and plain(origin.settings) == plain(dataclasses.asdict(today)):
            say(started, f"{name}: kept, trained {origin.created}")
            return bundle
        say(started, f"{name}: is there, but trained with other settings or photos")
    given = {"recipe": options.recipe} if options.recipe else {}
    command = ["fit", str(data), *(f"--{key}={value}" for key, value in (given | chosen | {"out": out}).items()),
               *(f"--set={setting}" for setting in options.set)]
    return train(command, out, options.fresh, lambda line: say(started, line))


def recipe(options: argparse.Namespace, chosen: dict[str, Any]) -> Recipe:
    """The recipe that `train fit` takes today."""
    base = read_recipe(options.recipe) if options.recipe else DEFAULT
    for setting in options.set:
        base = override(base, setting)
    return apply(base, chosen, "benchmark")


def rival(root: Path, bundle: ModelBundle, folder: str, seed: int) -> dict[str, Metrics]:
    """What Frigate's recipe reaches with the photos of a bundle, by lighting."""
    from frigate import fit_and_measure

    rows = read_table(bundle.path / SPLIT, ("path", "label", "split"))
    photos = [Photo(row.path, row.label, SIDES[row.split]) for row in rows]
    return fit_and_measure(root, photos, weights(folder, FRIGATE), seed)


def compare(case: Case, pairs: Sequence[tuple[dict[str, Metrics], dict[str, Metrics]]]) -> list[Row]:
    """The lines of a case.

    Args:
        case: what was to be reached.
        pairs: for each seed, metrics by lighting of the default recipe and of Frigate's.
    """
    rows: list[Row] = []
    for light in LIGHTINGS:
        each, other = ([100 * found[light].accuracy for found in side] for side in zip(*pairs, strict=True))
        target = case.target if light == "day" else rows[0].found - case.loss if case.loss is not None else None
        rows.append(Row(case, TITLES[light], pairs[0][0][light].n, each, other, target,
                        case.frozen if light == "day" else None))
    if case.recall:
        name, *targets = case.recall
        for light, target in zip(LIGHTINGS, targets, strict=True):
            each, other = ([100 * found[light].per_class[name].recall for found in side]
                           for side in zip(*pairs, strict=True))
            what = f"{name} recall {TITLES[light].removeprefix('right ')}"
            rows.append(Row(case, what, pairs[0][0][light].per_class[name].n, each, other, target, rival=False))
    return rows


def table(rows: Sequence[Row], argv: Sequence[str]) -> str:
    """The finished lines as a Markdown table, and below it what they come to and which command line made them."""
    head = ("set", "network", "what", "n", "found", "each seed", "target", "", "frozen features", "Frigate's recipe",
            "which")
    cells = [head]
    for row in rows:
        cells.append((
            row.case.data, row.case.backbone, row.what, str(row.n), f"{row.found:.1f}",
            " ".join(f"{value:.1f}" for value in row.each) if len(row.each) > 1 else "",
            "" if row.target is None else f"{row.target:.1f}",
            "" if row.target is None else "met" if row.met else "missed",
            "" if row.frozen is None else f"{row.frozen:.1f}", f"{fmean(row.frigate):.1f}",
            "" if not row.rival else "loses" if row.ahead else "does not lose",
        ))
    wide = [max(3, *(len(line[column]) for line in cells)) for column in range(len(head))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, wide, strict=True)) + " |"
             for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in wide) + "|")
    wanted, rivals = [row for row in rows if row.target is not None], [row for row in rows if row.rival]
    lines += ["", "Per cent of the `n` test photos, the mean over the seeds. Targets met: "
              f"{sum(row.met for row in wanted)} of {len(wanted)}. Frigate's recipe loses in "
              f"{sum(row.ahead for row in rivals)} of {len(rivals)} comparisons.",
              f"Made by `{shlex.join(['python', 'benchmarks/training.py', *argv])}`."]
    return "\n".join(lines) + "\n"


def write(out: Path, text: str) -> None:
    """Write the table so far."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(f".{out.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        raise EdgeWatchError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error


if __name__ == "__main__":
    raise SystemExit(main())
