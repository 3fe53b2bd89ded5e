"""`make test-arm64`: the published bundles give the same bits on this machine as on emulated Raspberry Pis."""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared/data"
LAB = ROOT / ".arm64"
CORES = {"cortex-a53": "Pi Zero 2 W, Pi 3", "cortex-a72": "Pi 4", "cortex-a76": "Pi 5"}
THREADS = (1, 4)
ENOUGH = 30
SHOWN = 5
"""Photos that are named of a run whose bits differ."""


class Run(NamedTuple):
    """One process: a bundle on a core (None: this machine) with a number of threads."""

    bundle: Path
    core: str | None
    threads: int

    @property
    def name(self) -> str:
        """The columns that say what ran."""
        where = f"{self.core} ({CORES[self.core]})" if self.core else "this machine"
        return f"{self.bundle.name:24} {where:32} {self.threads} thread{'s' * (self.threads > 1):1}"


class Answers(NamedTuple):
    """What a run printed: its versions, and by photo (prepared, logits, class, probability)."""

    versions: str
    photos: dict[str, list[str]]


def choose_photos() -> list[str]:
    """A photo of each species, and frames of real traps by day, by infrared and by flash."""
    found = [sorted(folder.glob("*.jpg"))[:1] for folder in sorted((DATA / "wildlife/test").glob("*"))]
    with (DATA / "cameratrap/labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for lighting in ("day", "night_ir", "night_flash"):
        frames = [DATA / row["path"] for row in rows if row["lighting"] == lighting]
        found.append(frames[:: max(1, len(frames) // 7)][:7])
    return [str(photo) for photos in found for photo in photos]


def answers(run: Run, photos: list[str]) -> Answers | str:
    """Run `bits.py`; a text says why it gave no answers."""
    python = [sys.executable]
    if run.core is not None:
        root = LAB / "root"
        python = [str(LAB / "qemu-aarch64"), "-L", str(root), "-E", f"PYTHONHOME={root}/usr",
                  "-E", f"PYTHONPATH={root}/opt/edge", "-E", "PYTHONDONTWRITEBYTECODE=1", f"{root}/usr/bin/python3.11"]
    done = subprocess.run(
        [*python, "-m", "tests.arm64.bits", str(run.bundle), str(run.threads)], input="\n".join(photos), text=True,
        cwd=ROOT, env=os.environ | {"QEMU_CPU": run.core or ""}, capture_output=True, check=False,
    )
    if done.returncode != 0:
        return f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    versions, *lines = done.stdout.splitlines()
    return Answers(versions, {path: rest for path, *rest in (line.split("\t") for line in lines)})


def differences(expected: Answers | str, found: Answers | str) -> list[str]:
    """A line for each photo whose bits differ, or one that says why there are none to compare."""
    if isinstance(found, str):
        return [found]
    if isinstance(expected, str):
        return ["this machine gave no answers to compare with"]
    told = []
    for path, (picture, logits, *answer) in expected.photos.items():
        other = found.photos.get(path, ["", "", "no", "answer"])
        if other[:2] != [picture, logits]:
            what = "another prepared picture" if other[0] != picture else "other logits"
            told.append(f"{Path(path).relative_to(DATA)}: {what}; expected {' '.join(answer)}, "
                        f"found {' '.join(other[2:])}")
    return told


def main() -> int:
    """Run every bundle everywhere, print a table, and give the exit code."""
    photos = choose_photos()
    bundles = sorted(manifest.parent for manifest in (ROOT / "models/bundles").glob("*/manifest.json"))
    if len(photos) < ENOUGH or not bundles:
        print(f"expected bundles, and at least {ENOUGH} photos under {DATA}; found {len(bundles)} and {len(photos)}; "
              f"copy them again", file=sys.stderr)
        return 1
    runs = [Run(*parts) for parts in itertools.product(bundles, (None, *CORES), THREADS)]
    print(f"{len(photos)} photos, {len(runs)} runs; this takes minutes, and says nothing about speed on a Pi\n")
    print(f"{'bundle':24} {'processor':32} {'':9}  photos  same bits", flush=True)
    reference: Answers | str = ""
    versions, told = set(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run, found in zip(runs, pool.map(lambda run: answers(run, photos), runs), strict=True):
            if (run.core, run.threads) == (None, 1):
                reference = found
            problems = differences(reference, found)
            compared = isinstance(reference, Answers) and isinstance(found, Answers)
            same = len(photos) - len(problems) if compared else "failed"
            print(f"{run.name}  {len(photos):6}  {same:>9}", flush=True)
            told += [f"{' '.join(run.name.split())}: {problem}" for problem in problems[:SHOWN]]
            told += [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
            versions |= {found.versions} if isinstance(found, Answers) else set()
    print("", *sorted(versions), *told, sep="\n")
    print("\nnot the same bits everywhere" if told else "\nthe same bits everywhere")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
