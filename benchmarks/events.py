"""Visits found, missed and invented over the scenes with known truth, by the daemon's own chain.

    python benchmarks/events.py [--model BUNDLE] [--scenes DIR] [--defaults]

Each clip is replayed once with the target `tiger` and once with every other species of the model as a target. Visits
25 s apart are told apart with `--event-gap 15 --alert-interval 0`; `--defaults` keeps the daemon's defaults.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import sys
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCENES = ROOT.parent / "shared/data/scenes"
TARGET = "tiger"


def main() -> None:
    """Replay every clip and print a line for each, then the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--scenes", type=Path, default=SCENES)
    parser.add_argument("--defaults", action="store_true")
    options = parser.parse_args()
    if not (options.scenes / "clips.csv").is_file():
        raise SystemExit(f"--scenes: expected a folder with clips.csv, found none at {options.scenes}; name one")
    sys.path.insert(0, str(ROOT))
    from edge.settings import Settings
    from edge.truth import compare, read_visits
    from models.bundle import ModelBundle, default_bundle
    from models.classifier import Classifier

    classifier = Classifier(ModelBundle.open(options.model or default_bundle()))
    others = tuple(label.name for label in classifier.labels if label.observation_type == "animal")
    others = tuple(name for name in others if name != TARGET)
    base = Settings()
    if not options.defaults:
        base = dataclasses.replace(base, event_gap=timedelta(seconds=15), alert_interval=timedelta(0))
    with (options.scenes / "clips.csv").open(newline="") as file:
        clips = [row["clip"] for row in csv.DictReader(file)]
    truth = options.scenes / "truth_events.csv"
    sums = {TARGET: [0, 0, 0, 0], "others": [0, 0, 0, 0]}
    delays: list[float] = []
    unknown: set[str] = set()
    for clip in clips:
        visits = read_visits(truth, clip)
        unknown |= {visit.species for visit in visits} - set(classifier.labels.names)
        parts = []
        for name, targets in ((TARGET, (TARGET,)), ("others", others)):
            settings = dataclasses.replace(base, species=targets, source=str(options.scenes / f"{clip}.mp4"))
            found = compare(settings, classifier, visits)
            told = [alerts for _, alerts in found.visits]
            hits = sum(bool(alerts) for alerts in told)
            counted = (len(told), hits, sum(len(alerts) for alerts in told), len(found.false))
            sums[name] = [total + value for total, value in zip(sums[name], counted, strict=True)]
            delays += [alerts[0].at - visit.start for visit, alerts in found.visits if alerts and name == TARGET]
            missed = [visit.species for visit, alerts in found.visits if not alerts]
            false = [f"{alert.species} at {alert.at:.0f} s" for alert in found.false]
            if told or false:
                parts.append(f"{name} {hits}/{len(told)}" + _named(" missed", missed) + _named(" FALSE", false))
        print(f"{clip:32}{'; '.join(parts) or 'quiet'}", flush=True)
    for name, (visits_, hits, alerts, false) in sums.items():
        print(f"{name}: {hits} of {visits_} visits found with {alerts} alerts, {false} false alerts")
    if delays:
        print(f"{TARGET}: median delay from first appearance to alert {statistics.median(delays):.1f} s")
    if unknown:
        print(f"not in the model, so not counted as visits: {', '.join(sorted(unknown))}")


def _named(what: str, items: list[str]) -> str:
    return f"{what} ({', '.join(items)})" if items else ""


if __name__ == "__main__":
    main()
