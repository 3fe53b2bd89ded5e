"""What `convert --quantize int8` makes of float bundles: accuracy, speed, seconds and memory, against its targets.

    python benchmarks/quantization.py [--runs DIR] [--only BACKBONE] [--fresh]
    python benchmarks/quantization.py --steps [--runs DIR] [--only BACKBONE]

The float bundles are `wildlife-BACKBONE-SEED` under --runs, three seeds of each network; those that are missing are
named and left out. Each is converted by the real command in a process of its own, so that its time and its peak memory
are those that a user sees; `--max-drop 100` lets it write what would miss a gate, and the gates are judged here with
the default. The figures are those that it wrote into the new bundle's manifest. A bundle that today's code made of the
same parent is kept. The tables are printed, and written to --out after each bundle.

With --steps the conversion is taken apart instead: the network after each of its steps, on validation and test photos.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from convert_v3 import markdown
from training import say, write

from convert.gates import MAX_DROP, judge, missed
from models.bundle import MANIFEST, ModelBundle, file_hash
from models.errors import EdgeWatchError, run
from models.manifest import Manifest

if TYPE_CHECKING:
    from quantization_steps import Step

ROOT = Path(__file__).resolve().parents[1]
DATA, SPECIES = "wildlife", "tiger"
SEEDS = {"mobilenet_v2": 3, "mobilenet_v3_small": 3, "mobilenet_v3_large_minimalistic": 3}
STEP_SEEDS = {"mobilenet_v3_small": 3, "mobilenet_v2": 1}
MOST_SECONDS, MOST_MB = 30.0, 1500.0
APART = {"search": ("search for ranges",), "fine-tuning": ("fine-tuning",), "proof": ("proof", "speed")}
"""Stages, as the manifest names them, that do not count as conversion."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a conversion went: the code and the parent it was made with, seconds from start to end, seconds of all cores
    together, seconds that the import of TensorFlow alone takes, and the peak memory in MB (of 1,000,000 bytes)."""

    code: str
    parent: str
    seconds: float
    processor: float
    importing: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Case:
    """A converted bundle."""

    backbone: str
    seed: int
    found: Manifest
    run: Run

    def change(self, lighting: str = "day") -> float:
        """In points of accuracy; below 0 where photos were lost."""
        compared = self.found.quantization.compared[lighting]
        return 100 * (compared.accuracy - compared.float_accuracy)

    def recalls(self, lighting: str = "day") -> tuple[float, float]:
        """Of the species that alerts are sent for, before and after, in per cent."""
        before = self.found.quantization.compared[lighting].float_per_class[SPECIES].recall
        return 100 * before, 100 * self.found.metrics[lighting].per_class[SPECIES].recall

    def spent(self, stage: str) -> float:
        """Seconds of a stage of `APART`."""
        return sum(self.found.quantization.seconds.get(part, 0.0) for part in APART[stage])

    @property
    def conversion(self) -> float:
        """Seconds from start to end, without the import of TensorFlow and what is reported apart."""
        return self.run.seconds - self.run.importing - sum(map(self.spent, APART))


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, and print the tables."""
    return run("quantization", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("quantization", description="What `convert --quantize int8` makes of float "
                                     "bundles, against its targets.")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmark", metavar="DIR",
                        help="where the bundles are (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="BACKBONE[-SEED]",
                        help="one network, or one bundle of it; may be given again")
    parser.add_argument("--steps", action="store_true", help="what each step of the conversion brings")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="the tables in Markdown (default: RUNS/quantization.md, RUNS/quantization-steps.md)")
    parser.add_argument("--fresh", action="store_true", help="convert again what is there already")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and TensorFlow's messages")
    options = parser.parse_args(argv)
    started = time.monotonic()
    bundles = _bundles(options, STEP_SEEDS if options.steps else SEEDS)
    out = options.out or options.runs / f"quantization{'-steps' if options.steps else ''}.md"
    made = f"\nMade by `{shlex.join(['python', 'benchmarks/quantization.py', *argv])}`.\n"
    text = (_steps if options.steps else _conversions)(bundles, options, started, lambda text: write(out, text + made))
    print(text + made, end="")
    say(started, f"the tables are in {out}")
    return 0


def _bundles(options: argparse.Namespace, seeds: dict[str, int]) -> list[tuple[str, int, ModelBundle]]:
    """The float bundles that are there; what is missing is said.

    Raises:
        EdgeWatchError: there is none.
    """
    found = []
    for backbone, count in seeds.items():
        for seed in range(1, count + 1):
            name = f"{DATA}-{backbone}-{seed}"
            if options.only and not {backbone, f"{backbone}-{seed}"} & set(options.only):
                continue
            if (options.runs / name / MANIFEST).is_file():
                found.append((backbone, seed, ModelBundle.open(options.runs / name)))
                continue
            command = ["train", "fit", str(ROOT.parent / "shared/data" / DATA), "--backbone", backbone, "--seed",
                       str(seed), "--out", str(options.runs / name)]
            print(f"{name}: not there, left out; type: {shlex.join(command)}", file=sys.stderr)
    if not found:
        raise EdgeWatchError(f"--runs {options.runs}: expected float bundles {DATA}-BACKBONE-SEED, found none of those "
                             f"asked for; make them, or name another folder")
    return found


def _conversions(
    bundles: Sequence[tuple[str, int, ModelBundle]], options: argparse.Namespace, started: float,
    keep: Callable[[str], None],
) -> str:
    cases: list[Case] = []
    failed: list[str] = []
    for backbone, seed, bundle in bundles:
        try:
            cases.append(converted(backbone, seed, bundle, options.fresh, started))
        except EdgeWatchError as error:
            print(error, file=sys.stderr)
            failed.append(str(error).splitlines()[0])
        text = tables(cases, failed)
        keep(text)
    return text


def converted(backbone: str, seed: int, bundle: ModelBundle, fresh: bool, started: float) -> Case:
    """The int8 bundle of a float one: the one that is there if today's code made it, else a new one.

    Raises:
        EdgeWatchError: the conversion failed.
    """
    out = bundle.path.with_name(f"{bundle.path.name}-int8")
    record = out.with_name(f"{out.name}.run.json")
    code, parent = todays_code(), file_hash(bundle.path / MANIFEST)
    if not fresh and record.is_file() and out.is_dir():
        known, found = json.loads(record.read_text(encoding="utf-8")), ModelBundle.open(out).manifest
        if known["code"] == code and parent == known["parent"] == found.provenance.parent["sha256"]:
            say(started, f"{out.name}: kept, converted {found.provenance.created}")
            return Case(backbone, seed, found, Run(**known))
    command = ["-m", "convert", "--quantize", "int8", str(bundle.path), "--out", str(out), "--max-drop", "100"]
    say(started, f"{out.name}: {shlex.join(command[1:])}")
    record.unlink(missing_ok=True)
    importing, _ = timed(["-c", "import tensorflow"])
    seconds, usage = timed(command + (["--force"] if out.exists() else []))
    made = Run(code, parent, round(seconds, 1), round(usage.ru_utime + usage.ru_stime, 1), round(importing, 1),
               round(usage.ru_maxrss * 1024 / 1e6))
    write(record, json.dumps(asdict(made), indent=1) + "\n")
    return Case(backbone, seed, ModelBundle.open(out).manifest, made)


def todays_code() -> str:
    """The sha256 of all that a conversion is made by in this project."""
    files = sorted(file for folder in ("convert", "models") for file in (ROOT / folder).glob("*.py"))
    return hashlib.sha256("".join(file_hash(file) for file in files).encode()).hexdigest()


def timed(command: Sequence[str]) -> tuple[float, resource.struct_rusage]:
    """Run Python in a process of its own; seconds, and what it used.

    Raises:
        EdgeWatchError: it did not end with 0.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen([sys.executable, *command], stdout=said, stderr=said,
                              env=os.environ | {"PYTHONPATH": str(ROOT)}) as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        said.seek(0)
        lines = said.read().strip().splitlines() or ["it said nothing"]
    if child.returncode:
        # The last line is the error; that of a missed gate is followed by what was missed.
        place = next((index for index, line in enumerate(lines) if line.startswith("convert: ")), -1)
        raise EdgeWatchError(f"python {shlex.join(command)}: expected it to end with 0, found {child.returncode}: "
                             + "\n".join(lines[place:]))
    return seconds, usage


def tables(cases: Sequence[Case], failed: Sequence[str] = ()) -> str:
    """All that was found, as Markdown tables: accuracy, cost, and the targets."""
    accuracy: list[list[str]] = []
    cost: list[list[str]] = []
    targets: list[list[str]] = []
    for backbone in dict.fromkeys(case.backbone for case in cases):
        own = [case for case in cases if case.backbone == backbone]
        accuracy += [_accuracy(case) for case in own]
        cost += [_cost(case) for case in own]
        targets += _targets(backbone, own)
    costs = ("network", "seed", "MB", "float MB", "XNNPACK pieces", "x float's time", "conversion s",
             *(f"{stage} s" for stage in APART), "total s (processor)", "peak MB", "gates missed")
    lines = ["Per cent of the test photos right, as taken and in infrared grey; change in points; calibration error in "
             "per cent.", "",
             *markdown(("network", "seed", "float", "int8", "change", "grey: float", "int8", "change", "same answer",
                        f"{SPECIES} recall", "in grey", "calibration error"), accuracy), "",
             "Size, speed (raw invoke, one thread, as a multiple of its own float32), seconds and peak memory of the "
             "conversion.", "",
             *markdown(costs, cost), "",
             *markdown(("network", "target", "found", ""), targets)]
    return "\n".join([*lines, *(f"\nFailed: {line}" for line in failed)]) + "\n"


def _accuracy(case: Case) -> list[str]:
    cells = [case.backbone, str(case.seed)]
    compared = case.found.quantization.compared
    for lighting, found in compared.items():
        cells += [f"{found.float_accuracy:.1%}", f"{found.accuracy:.1%}", f"{case.change(lighting):+.1f}"]
    cells.append(f"{compared['day'].agreement:.1%}")
    cells += ["{:.1f} -> {:.1f}".format(*case.recalls(lighting)) for lighting in compared]
    errors = compared["day"].float_calibration_error, compared["day"].calibration_error
    return [*cells, " -> ".join("?" if error is None else f"{100 * error:.1f}" for error in errors)]


def _cost(case: Case) -> list[str]:
    stored = case.found.quantization
    sizes = [f"{(size or 0) / 1e6:.2f}" for size in (stored.size_bytes, stored.float_bytes)]
    wrong = ", ".join(gate.name for gate in missed(judge(stored, MAX_DROP))) or "none"
    return [case.backbone, str(case.seed), *sizes, str(stored.partitions),
            f"{stored.speed.ratio:.2f}" if stored.speed else "?", f"{case.conversion:.0f}",
            *(f"{case.spent(stage):.0f}" for stage in APART), f"{case.run.seconds:.0f} ({case.run.processor:.0f})",
            f"{case.run.peak_mb:.0f}", wrong]


def _targets(backbone: str, cases: Sequence[Case]) -> list[list[str]]:
    """What was asked of a network, and what was found over its seeds."""
    changes = [case.change() for case in cases]
    before, after = ([case.recalls()[place] for case in cases] for place in (0, 1))
    slowest, most = max(case.conversion for case in cases), max(case.run.peak_mb for case in cases)
    rows: list[tuple[str, str, bool]] = [
        (f"at most {MAX_DROP} points below float, mean of the seeds", f"{fmean(changes):+.2f} points",
         fmean(changes) >= -MAX_DROP - 1e-9),
        (f"{SPECIES} recall not lower, mean of the seeds", f"{fmean(before):.1f} -> {fmean(after):.1f}",
         fmean(after) >= fmean(before) - 1e-9),
        (f"conversion at most {MOST_SECONDS:.0f} s", f"{slowest:.0f} s at most", slowest <= MOST_SECONDS),
        (f"peak at most {MOST_MB:.0f} MB", f"{most:.0f} MB at most", most <= MOST_MB),
    ]
    seeds = f"{len(cases)} of {SEEDS[backbone]} seeds"
    return [[backbone, what, f"{found} ({seeds})", "met" if met else "missed"] for what, found, met in rows]


def _steps(
    bundles: Sequence[tuple[str, int, ModelBundle]], options: argparse.Namespace, started: float,
    keep: Callable[[str], None],
) -> str:
    found: dict[str, list[list[Step]]] = {}
    for backbone, _, bundle in bundles:
        from quantization_steps import measured, table

        say(started, f"{bundle.path.name}, step by step")
        with tempfile.TemporaryDirectory() as folder:
            found.setdefault(backbone, []).append(
                measured(bundle, Path(folder), lambda line: say(started, line), options.debug))
        text = "\n".join(table(name, runs) for name, runs in found.items())
        keep(text)
    return text


if __name__ == "__main__":
    raise SystemExit(main())
