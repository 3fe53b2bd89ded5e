"""The long form: 1,000 visits over more than 100 faults with receipts, then without them. `make test-faults` runs it.

python -m tests.faults [--visits N] [--faults N] [--seed N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.faults.campaign import CRASHES, KINDS, chosen, faketime
from tests.faults.several import several


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=1000, help="with receipts; a fifth of them without")
    parser.add_argument("--faults", type=int, default=120, help="with receipts; a fifth of them without")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"), help="for logs and reports; emptied first")
    options = parser.parse_args()
    options.folder = options.folder.resolve()  # A broker is started in it.
    shutil.rmtree(options.folder, ignore_errors=True)
    kinds = KINDS
    if faketime() is None:
        kinds = tuple(kind for kind in KINDS if "clock" not in kind)
        print("libfaketime is not installed (Debian: faketime): no fault of the clock")
    kept = True
    for name, visits, wanted, receipts in (
        ("with receipts", options.visits, chosen(options.faults, kinds), True),
        (
            "without receipts, no broker crash",
            options.visits // 5,
            chosen(options.faults // 5, [kind for kind in kinds if kind not in CRASHES]),
            False,
        ),
        ("without receipts, broker crashes", options.visits // 10, chosen(options.faults // 10, CRASHES), False),
    ):
        report = several(options.folder / name.replace(" ", "-"), visits, wanted, options.seed, receipts)
        (options.folder / f"{name.replace(' ', '-')}.json").write_text(report.as_json() + "\n")
        print(f"\n{name}\n{report.text()}", flush=True)
        kept = kept and report.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
