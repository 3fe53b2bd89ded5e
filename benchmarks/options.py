"""Which options of a training help: each beside the default recipe, on the same photos, over several seeds.

    python benchmarks/options.py [--sets SET] [--only ROW] [--seeds 1,2,3] [--backbone NAME]
    python benchmarks/options.py --merge FROM_ANOTHER_MACHINE.json

One `train fit` after the other, each into a bundle under --runs; what it found goes into a JSON file at once, so the
run can be stopped and started again, and what is in the file is not trained again as long as the settings are today's.
Sets, rows and seeds can be shared out among machines: each writes its own file, and --merge takes up the others'.

The table has for each row the mean over the seeds and each of them, and what that changes. `better` and `worse` mean
that every seed lies beyond every seed of the default recipe, which of three and three happens by chance once in ten
times; else the change is within the spread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from convert_v3 import markdown
from training import ROOT, SHARED, Case, plain, recipe, say, trained, weights, write

from models.bundle import ModelBundle
from models.errors import EdgeWatchError, UsageError, run
from models.manifest import LIGHTINGS
from train.names import parse
from train.recipe import STEP
from train.report.numbers import DATA as REPORT

SETS = ("wildlife", "butterflies20")
DEFAULT_ROW, ENSEMBLE = "default", (1, 2, 3)
LARGER = "mobilenet_v2"
SEEN = {"day": "as taken", "night": "in grey"}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: settings beside the default recipe's, and the seeds of its teachers (0: the pupil's own)."""

    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    teachers: tuple[int, ...] = ()


ROWS = {
    DEFAULT_ROW: Row("default recipe"),
    "mixup": Row("MixUp, 0.2", {"mixup": 0.2}),
    "cutmix": Row("CutMix, 1.0", {"cutmix": 1.0}),
    "resizing": Row("progressive resizing, from 4/7"),
    "swa": Row("stochastic weight averaging", {"average": "swa"}),
    "raw": Row("no average", {"average": "none"}),
    "teacher": Row("a larger teacher", teachers=(0,)),
    "ensemble": Row("three teachers", teachers=ENSEMBLE),
}
"""All but the default; `teacher` is left out where the network is as large as its teacher."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one training came to: shares of `n` test photos right, and the lowest validation loss of an epoch.

    `recipe` is all that it was trained with, without paths, by which it is known on another machine.
    """

    data: str
    backbone: str
    row: str
    seed: int
    n: int
    right: dict[str, float]
    loss: float
    kept: str
    seconds: float
    recipe: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What it was to be."""
        return self.data, self.backbone, self.row, self.seed


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure and print the table."""
    return run("options", _main, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("options", description="Which options of a training help, each beside the default "
                                     "recipe.")
    parser.add_argument("--data", type=Path, default=SHARED / "data", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--weights-dir", default=str(SHARED / "weights"), metavar="imagenet|none|DIR",
                        help="folder with the files of weights (default: %(default)s)")
    parser.add_argument("--sets", action="append", metavar="SET",
                        help=f"a folder of --data; may be given again (default: {', '.join(SETS)})")
    parser.add_argument("--only", action="append", choices=tuple(ROWS), metavar="ROW",
                        help=f"one of {', '.join(ROWS)}; may be given again")
    parser.add_argument("--seeds", type=_seeds, default=(1, 2, 3), metavar="N,N", help="default: 1,2,3")
    parser.add_argument("--backbone", action="append", metavar="NAME",
                        help="may be given again (default: mobilenet_v2)")
    parser.add_argument("--larger", default=LARGER, metavar="NAME", help="the teachers' network (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/options", metavar="DIR",
                        help="where the bundles are kept (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the results as JSON (default: RUNS/options.json); "
                        "beside it the table in Markdown")
    parser.add_argument("--merge", type=Path, action="append", default=[], metavar="FILE",
                        help="another such file, whose results are taken up; may be given again")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    parser.add_argument("--fresh", action="store_true", help="train again what is there already")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of all rows, as for `train fit`; may be given again")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(recipe=None)
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between them, found {text!r}")
    return tuple(dict.fromkeys(map(int, parts)))


def _main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    options.out = options.out or options.runs / "options.json"
    _check(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that a training is not left behind.
    started, results = time.monotonic(), {}
    for file in (*([options.out] if options.out.exists() else []), *options.merge):
        results |= {found.key: found for found in read(file)}
    made = f"\nMade by `{shlex.join(['python', 'benchmarks/options.py', *argv])}`.\n"
    for case, name, seed in () if options.table else _wanted(options):
        key, wanted = (case.data, case.backbone, name, seed), _about(options, case, name, seed)
        if not options.fresh and key in results and results[key].recipe == wanted:
            say(started, f"{' '.join(map(str, key))}: in the file already")
            continue
        before = time.monotonic()
        bundle = _trained(options, case, name, seed, started)
        results[key] = _found(bundle, key, time.monotonic() - before, wanted)
        _store(options, results, made)
    _store(options, results, made)
    print("\n".join(table(list(results.values()))) + made, end="")
    say(started, f"results: {options.out}, table: {options.out.with_suffix('.md')}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be trained before anything is."""
    for name in (*(options.backbone or ()), options.larger):
        parse(name)
        weights(options.weights_dir, name)
    for data in options.sets or SETS:
        if not options.table and not (options.data / data).is_dir():
            raise UsageError(f"--sets: expected a folder {options.data / data}, found none; choose others, or name the "
                             f"folder that has it with --data")
    recipe(options, {})


def _wanted(options: argparse.Namespace) -> Iterator[tuple[Case, str, int]]:
    """All that is to be trained: seed by seed, so that a run that is stopped has whole seeds."""
    for data in options.sets or SETS:
        for backbone in options.backbone or ("mobilenet_v2",):
            for seed in options.seeds:
                for name in options.only or ROWS:
                    if name != "teacher" or backbone != options.larger:
                        yield Case(data, backbone, len(options.seeds), 0.0, 0.0), name, seed


def _settings(options: argparse.Namespace, case: Case, name: str, seed: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What a row changes in the recipe, and the seeds of its teachers."""
    row, size = ROWS[name], recipe(options, {}).size
    smaller = {"start_size": size * 4 // 7 // STEP * STEP} if name == "resizing" else {}
    return {**row.settings, **smaller}, tuple(each or seed for each in row.teachers)


def _about(options: argparse.Namespace, case: Case, name: str, seed: int) -> dict[str, Any]:
    """All settings of a training, without paths."""
    changes, teachers = _settings(options, case, name, seed)
    file = Path(weights(options.weights_dir, case.backbone)).name
    chosen = {"backbone": case.backbone, "seed": seed, "weights": file,
              "teacher": [f"{options.larger} {each}" for each in teachers] or "none"}
    found: dict[str, Any] = plain(dataclasses.asdict(recipe(options, changes | chosen)))
    return found


def _trained(options: argparse.Namespace, case: Case, name: str, seed: int, started: float) -> ModelBundle:
    """The bundle of a row, and before it those of its teachers, which are default recipes."""
    changes, seeds = _settings(options, case, name, seed)
    larger = dataclasses.replace(case, backbone=options.larger)
    teachers = [str(_trained(options, larger, DEFAULT_ROW, each, started).path) for each in seeds]
    stated = [f"{key}={value}" for key, value in changes.items()]
    stated += [f"teacher={json.dumps(teachers)}"] if teachers else []
    # A teacher is not trained anew for each of its pupils.
    fresh = options.fresh and (name != DEFAULT_ROW or case.backbone != options.larger)
    return trained(case, seed, argparse.Namespace(**vars(options) | {
        "runs": options.runs / name, "set": [*options.set, *stated], "fresh": fresh}), started)


def _found(bundle: ModelBundle, key: tuple[str, str, str, int], seconds: float, about: dict[str, Any]) -> Found:
    report = json.loads((bundle.path / REPORT).read_text(encoding="utf-8"))
    metrics = bundle.manifest.metrics
    history = report["history"][1:] or report["history"]
    return Found(*key, metrics["day"].n, {light: metrics[light].accuracy for light in LIGHTINGS},
                 min(entry["val_loss"] for entry in history), report["kept"], round(seconds), about)


def read(file: Path) -> list[Found]:
    """The results in a JSON file.

    Raises:
        EdgeWatchError: it is none of this benchmark's.
    """
    try:
        return [Found(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise EdgeWatchError(f"{file}: expected results of benchmarks/options.py, found others ({error}); name its "
                             f"JSON file") from error


def _store(options: argparse.Namespace, results: dict[Any, Found], made: str) -> None:
    found = [dataclasses.asdict(entry) for entry in results.values()]
    write(options.out, json.dumps(found, indent=1) + "\n")
    write(options.out.with_suffix(".md"), "\n".join(table(list(results.values()))) + made)


def table(results: Sequence[Found]) -> list[str]:
    """The Markdown lines of all results, those of the default recipe first in each set and network."""
    groups: dict[tuple[str, str, str], dict[int, Found]] = {}
    for entry in sorted(results, key=lambda entry: (entry.data, entry.backbone, list(ROWS).index(entry.row))):
        groups.setdefault((entry.data, entry.backbone, entry.row), {})[entry.seed] = entry
    lines = []
    for (data, backbone, name), by_seed in groups.items():
        entries = [by_seed[seed] for seed in sorted(by_seed)]
        base = list(groups.get((data, backbone, DEFAULT_ROW), {}).values())
        cells = [data, backbone, ROWS[name].title]
        for light in SEEN:
            cells += _cells([100 * entry.right[light] for entry in entries],
                            [100 * entry.right[light] for entry in base] if name != DEFAULT_ROW else [], 1)
        cells += _cells([entry.loss for entry in entries],
                        [entry.loss for entry in base] if name != DEFAULT_ROW else [], 3, sign=-1)
        lines.append(cells)
    counts = sorted({(entry.data, entry.n) for entry in results})
    head = ["set", "network", "option"]
    for what in (*SEEN.values(), "validation loss"):
        head += [f"{what} (each seed)", "change"]
    photos = ", ".join(f"{data} {n}" for data, n in counts)
    return [*markdown(head, lines), "", f"Per cent of the test photos right ({photos}), and the lowest validation loss "
            "of an epoch. `better` and `worse`: every seed lies beyond every seed of the default recipe."]


def _cells(values: list[float], base: list[float], digits: int, sign: int = 1) -> list[str]:
    """A mean and its seeds, and the change against the default's seeds; with `sign` -1 less is better."""
    shown = f"{fmean(values):.{digits}f} ({' '.join(f'{value:.{digits}f}' for value in values)})"
    if not base:
        return [shown, ""]
    change = fmean(values) - fmean(base)
    # By photos, which rounding must not tell apart.
    better, worse = (sign * way for way in (1, -1))
    beyond = [name for name, way in (("better", better), ("worse", worse))
              if min(way * value for value in values) > max(way * value for value in base) + 1e-9]
    verdict = "one seed" if min(len(values), len(base)) < 2 else beyond[0] if beyond else "within"
    return [shown, f"{change:+.{digits}f} {verdict}"]


if __name__ == "__main__":
    raise SystemExit(main())
