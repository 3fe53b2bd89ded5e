"""Adds to a converted bundle what false alarms it gives, and to its card what it does with composite clips.

    python -m recipes.measured models/bundles/wildlife-1-int8 ../shared/data
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from models.bundle import ALARMS, CARD, LABELS, ModelBundle, write_bundle
from models.errors import EdgeWatchError, UsageError, run

ROOT = Path(__file__).resolve().parents[1]
TITLE = "## Measured with this int8 model"
SEEN = """No test photo was trained on. But earlier recipes had been measured on the same test photos, and those results
were known when this one was settled: expect a little less of other photos of the same kind."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write; returns the exit code."""
    return run("recipes.measured", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("recipes.measured", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a converted bundle; its card is written anew")
    parser.add_argument("data", type=Path, help="the folder that holds scenes")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    bundle, data = ModelBundle.open(arguments.bundle.resolve()), arguments.data.resolve()
    if not (data / "scenes/clips.csv").is_file():
        raise UsageError(f"{data}: expected the folder scenes with its clips.csv, found none; name the folder that "
                         f"holds it")
    events = _output("benchmarks/events.py", "--model", bundle.path, "--scenes", data / "scenes")
    with tempfile.TemporaryDirectory() as folder:
        alarms = Path(folder) / ALARMS
        budget = _output("benchmarks/alarms.py", "--model", bundle.path, "--data", data, "--out", alarms)
        counted = alarms.read_bytes()
    card = (bundle.path / CARD).read_text(encoding="utf-8").partition(TITLE)[0].rstrip()
    clips = f"`python benchmarks/events.py`, on composite clips:\n\n```\n{events}```\n"
    quiet = f"`python benchmarks/alarms.py`, on places without animals:\n\n```\n{budget}```\n"
    card = "\n\n".join([card, TITLE, SEEN, clips, quiet])
    files: dict[str, bytes | Path] = {
        name: (bundle.path / name).read_bytes() for name in bundle.manifest.files if name not in (LABELS, CARD)}
    files |= {CARD: card.encode(), ALARMS: counted}
    write_bundle(bundle.path, bundle.manifest, bundle.labels, files, force=True)
    print(f"{bundle.path / CARD}: written", file=sys.stderr)
    return 0


def _output(*arguments: object) -> str:
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeWatchError(f"{arguments[0]}: expected it to end well, found: {done.stderr.strip()[-300:]}; "
                             f"run it alone")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
