"""False alarms, and whether a budget of them is kept on places that it was not chosen on.

    python benchmarks/alarms.py [--data DIR] [--model BUNDLE] [--runs N] [--hours H] [--out alarms.json]

Clips and photos of places without an animal run through the real chain, several times each, every time as another
camera might see them (gain, noise, cut, mirror, speed; photos sway in a drawn wind, with shade, leaves, moths, jolts).
What the model says of each look is kept. Half of the places choose the thresholds of each species for a budget of 1 a
day, the other half measures them, and the other way round: the looks of one half, drawn at random for so many hours of
scene time, go through the real later stages (sightings, alerts).

The streams are RESAMPLES: 72 hours drawn from one hour of looks are no evidence of 72 hours. They show that the way in
which thresholds are chosen keeps a budget on other places. What may be claimed of a model is in `--out`, where every
run counts once; twice as many `--runs` make twice as many hours.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.nuisances import START, Place, halves, moving, places  # noqa: E402
from edge.deciding.alerts import alerts  # noqa: E402
from edge.deciding.budget import Budget, Peak, at_most, choose, hours_needed, log_odds, probability, upper_bound  # noqa: E402
from edge.deciding.expected import confirming, expected, members  # noqa: E402
from edge.deciding.quiet import (  # noqa: E402
    FILE_NAME,
    Gathered,
    QuietHours,
    Watched,
    general_text,
    model_id,
    taken_for,
    write_quiet,
)  # fmt: skip
from edge.deciding.sightings import SightingSettings, sightings  # noqa: E402
from edge.seeing.senses import Senses  # noqa: E402
from edge.seeing.throttle import Bucket  # noqa: E402
from edge.settings import Settings  # noqa: E402
from edge.truth.visits import read_rows  # noqa: E402
from edge.types import Candidate, Crop, Frame, Named, Prediction, Trigger  # noqa: E402
from edge.watch import looks  # noqa: E402
from models.bundle import ALARMS, ModelBundle, default_bundle  # noqa: E402
from models.classifier import Classifier  # noqa: E402
from models.errors import UsageError  # noqa: E402

BUDGET = Budget.parse("1/day")
BETWEEN = timedelta(seconds=61)
"""Between two runs in a stream, uncounted: no visit goes on from one to the other, which would hide an alarm."""
SMALL = (160, 90)
"""Pictures of looks are kept so small: the later stages only compare them."""
MISSED = -34.5


@dataclass(frozen=True)
class Run:
    """One place as one camera saw it: its frames, those without a look but for one a second left out."""

    place: Place
    hours: dict[str, float]
    named: list[Named]
    candidates: list[Candidate]
    start: datetime
    lasted: timedelta


@functools.cache
def classifier_of(model: Path) -> Classifier:
    """One in each process."""
    return Classifier(ModelBundle.open(model))


def run(model: Path, place: Place, seed: int | None) -> Run:
    """The first half of the real chain over a place."""
    classifier, settings = classifier_of(model), Settings()
    frames = (
        Frame(image, at, index, f"{place.name}{'-grey' * place.grey}#{seed}", replay=True)
        for index, (image, at) in enumerate(moving(place, seed))
    )
    watched = Watched(confirming(classifier.bundle), settings.event_gap, members(classifier.bundle))
    named, candidates, times = [], [], []

    def kept(items: Iterable[Named]) -> Iterator[Named]:
        for trigger, predictions in items:
            now = trigger.frame.timestamp
            if predictions or not times or now - times[-1] >= timedelta(seconds=1):
                times.append(now)
                named.append(_smaller(trigger, predictions))
            yield trigger, predictions

    through = kept(watched.pass_on(looks(frames, classifier, settings, Senses(bucket=Bucket(2.0)))))
    points = classifier.bundle.manifest.operating_points
    for _ in sightings(through, classifier.labels, points, heard=candidates.append):
        pass
    return Run(place, watched.hours, named, candidates, times[0], times[-1] - times[0])


def _smaller(trigger: Trigger, predictions: tuple[Prediction, ...]) -> Named:
    import cv2

    image = trigger.frame.image
    image = cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA) if predictions else np.zeros((1, 1, 3), np.uint8)
    small = Trigger(dataclasses.replace(trigger.frame, image=image), (), trigger.lighting)
    return small, tuple(Prediction(Crop(small, each.crop.box), each.probabilities) for each in predictions)


def stream(runs: list[Run], hours: float, seed: int) -> Iterator[Named]:
    """So many hours of runs, drawn with replacement, one after another; as much by day as at night, roughly."""
    rng, now, left = np.random.default_rng(seed), START, {"day": hours / 2, "night": hours / 2}
    kinds = {light: [each for each in runs if max(each.hours, key=each.hours.__getitem__) == light] for light in left}
    while max(left.values()) > 0:
        light = max(left, key=left.__getitem__)
        drawn = kinds[light][int(rng.integers(len(kinds[light])))]
        for trigger, predictions in drawn.named:
            frame = dataclasses.replace(trigger.frame, timestamp=now + (trigger.frame.timestamp - drawn.start))
            moved = Trigger(frame, (), trigger.lighting)
            yield moved, tuple(Prediction(Crop(moved, each.crop.box), each.probabilities) for each in predictions)
        for name, share in drawn.hours.items():
            left[name] -= share
        now += drawn.lasted + BETWEEN


def watch(
    runs: list[Run], hours: float, seed: int, bundle: ModelBundle, points: object
) -> tuple[Watched, Counter[str]]:
    """A stream through the later half of the chain: what was heard, and the alerts of each species."""
    watched = Watched(confirming(bundle), Settings().event_gap, members(bundle))
    animals = [bundle.labels[index].name for index in bundle.labels.of_type("animal")]
    through = watched.pass_on(stream(runs, hours, seed))
    sighted = sightings(through, bundle.labels, points, SightingSettings(), heard=watched.add)  # type: ignore[arg-type]
    settings = Settings(species=tuple(animals), alert_interval=timedelta(0))
    told: Counter[str] = Counter()
    for alert in alerts(sighted, settings, bundle.title):
        told.update(alert.sighting.members or (alert.sighting.species,))
    return watched, told


def real_visits(model: Path, scenes: Path, clip: str) -> tuple[list[Peak], list[Peak]]:
    """A clip with animals as it is: the highest score of each visit as what it was, and of all else as what it was not.

    Only what was there at the time counts as right: a class, or a group that has it.
    """
    bundle = classifier_of(model).bundle
    least, groups = confirming(bundle), members(bundle)
    watched = run(model, Place(clip, scenes / f"{clip}.mp4"), None)
    visits, right, wrong = [row for row in read_rows(scenes / "truth_events.csv") if row.clip == clip], [], []
    for visit in visits:
        scores = {"day": [MISSED], "night": [MISSED]}
        for candidate in watched.candidates:
            at = (candidate.at - watched.start).total_seconds()
            if visit.start - 1 <= at <= visit.end + 1:
                scores[candidate.lighting].append(log_odds(candidate.highest.get(visit.species, 0.0)))
        light = max(scores, key=lambda name: len(scores[name]))
        right.append(Peak(visit.species, light, max(scores[light])))  # type: ignore[arg-type]
    for candidate in watched.candidates:
        at = (candidate.at - watched.start).total_seconds()
        there = {visit.species for visit in visits if visit.start - 1 <= at <= visit.end + 1}
        for species, likely in taken_for(candidate, groups).items():
            if (
                not there & {species, *groups.get(species, ())}
                and log_odds(likely) >= least[species][candidate.lighting]
            ):
                wrong.append(Peak(species, candidate.lighting, log_odds(likely), -at))
    return right, wrong


def _run(job: tuple[Path, Place, int | None]) -> Run:
    return run(*job)


def _visits(job: tuple[Path, Path, str]) -> tuple[list[Peak], list[Peak]]:
    return real_visits(*job)


def main() -> None:
    """Run all, print the table, and write what may be claimed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--model", type=Path, default=default_bundle())
    parser.add_argument("--runs", type=int, default=1, help="of each place (default: 1)")
    parser.add_argument("--hours", type=float, default=80.0, help="of each stream (default: 80)")
    parser.add_argument("--out", type=Path, help="write the bundle's alarms.json")
    options = parser.parse_args()
    if options.hours < hours_needed(BUDGET):
        raise SystemExit(
            f"--hours: expected {hours_needed(BUDGET):.0f} or more for {BUDGET.text}, found {options.hours:g}"
        )
    scenes, model = options.data / "scenes", options.model
    if not (scenes / "clips.csv").is_file():
        raise SystemExit(f"--data: expected the folder with scenes and cameratrap, found none at {options.data}")
    started, found = time.monotonic(), places(options.data)
    seeds = [None, *range(options.runs)]
    jobs = [(model, place, seed) for place in found for seed in seeds if place.clip or seed is not None]
    with multiprocessing.Pool() as pool:
        runs = pool.map(_run, jobs, chunksize=2)
        visits = pool.map(_visits, [(model, scenes, clip) for clip in with_animals(scenes)], chunksize=1)
    sides = [{place.name for place in side} for side in halves(found)]
    parts = [[each for each in runs if each.place.name in side] for side in sides]
    bundle = ModelBundle.open(model)
    print(f"{bundle.title}: {len(runs)} runs of {len(found)} clips and photos in {time.monotonic() - started:.0f} s")
    for name, part in zip("AB", parts, strict=True):
        hours = {light: sum(each.hours[light] for each in part) for light in ("day", "night")}
        print(
            f"half {name}: {len({each.place.name for each in part})} places, {hours['day']:.2f} h by day, "
            f"{hours['night']:.2f} h at night"
        )
    print(f"\nWith the {sum(place.clip for place in halves(found)[0])} clips of half A, each as it is:")
    print(refusal(bundle, [each for each in parts[0] if each.place.clip and each.start != START]))
    table(bundle, parts, options.hours)
    general = quiet_hours(bundle, runs, visits, len({place.name for place in found}), options.runs)
    print(f"\nEvidence of all runs, each once, and of {len(general.visits)} real visits, as edge-watch says it:")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ALARMS).write_text(general_text([general]))
        files = {**bundle.manifest.files, ALARMS: ""}
        trial = dataclasses.replace(
            bundle, path=Path(folder), manifest=dataclasses.replace(bundle.manifest, files=files)
        )
        for index in bundle.labels.of_type("animal"):
            print("\n".join(expected(Settings(species=(bundle.labels[index].name,), data=Path(folder)), trial)[1]))
    if options.out:
        options.out.write_text(general_text([general]))
    print(f"ended after {time.monotonic() - started:.0f} s")


def with_animals(scenes: Path) -> list[str]:
    """The names of the clips that animals visit."""
    with (scenes / "clips.csv").open(newline="") as file:
        return [row["clip"] for row in csv.DictReader(file) if "_none_" not in row["clip"]]


def refusal(bundle: ModelBundle, runs: list[Run]) -> str:
    """What edge-watch says to 1/day with the evidence of these alone, as `edge-watch calibrate` would have it."""
    files = {name: digest for name, digest in bundle.manifest.files.items() if name != ALARMS}
    bare = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, files=files))
    with tempfile.TemporaryDirectory() as folder:
        write_quiet(Path(folder) / FILE_NAME, [
            Gathered(each.place.path.name, model_id(bundle), ("tiger",), QuietHours(2.0, each.hours, ()))
            for each in runs])  # fmt: skip
        try:
            expected(Settings(species=("tiger",), max_false_alarms=BUDGET, data=Path(folder)), bare)
        except UsageError as error:
            return f"refused: {error}"
    return "NOT REFUSED"


def table(bundle: ModelBundle, parts: list[list[Run]], hours: float) -> None:
    """Thresholds of each species in turn, chosen on one half of the places and measured on the other."""
    animals = [bundle.labels[index].name for index in bundle.labels.of_type("animal")]
    base, least = bundle.manifest.operating_points, confirming(bundle)
    rows: dict[str, list[str]] = {name: [] for name in animals}
    print(
        f"\nRESAMPLES, {hours:g} h of scene time a stream: thresholds for {BUDGET.text}, each species in turn, chosen\n"
        "on one half of the places and measured on the other (log-odds above the operating point: false alarms, a day "
        "\nand with its 95 % bounds)"
    )
    for chosen_on, measured_on in ((0, 1), (1, 0)):
        heard, _ = watch(parts[chosen_on], hours, 1, bundle, base)
        seen = heard.quiet_hours(2.0)
        choices = {name: choose(seen.peaks, 2 * min(seen.hours.values()), least, [name], BUDGET) for name in animals}
        points = {**base}
        for name, choice in choices.items():
            assert choice is not None, "a stream is long enough"
            if choice.raised:
                points[name] = {light: dataclasses.replace(point, threshold=probability(choice.thresholds[name][light]))
                                for light, point in base[name].items()}  # fmt: skip
        other, told = watch(parts[measured_on], hours, 2, bundle, points)
        watched = sum(other.hours.values())
        for name, choice in choices.items():
            thresholds = choice.thresholds[name]
            above = sum(each.score >= thresholds[each.lighting] for each in other.quiet_hours(2.0).peaks
                        if each.species == name)  # fmt: skip
            # Whatever comes of what was heard: a visit that another species began is no alert of its own.
            alarms = max(above, told[name])
            low, high = lower_bound(alarms) * 24 / watched, upper_bound(alarms) * 24 / watched
            held = "held" if low <= 24 * BUDGET.per_hour else "NOT HELD"
            rows[name].append(
                f"+{choice.raised:5.2f}: {alarms:3} in {watched:.0f} h, {alarms * 24 / watched:.2f} "
                f"({low:.2f}-{high:.2f}) {held}"
            )
    print(f"{'':12}{'chosen on A, measured on B':50}chosen on B, measured on A")
    for name, (one, two) in rows.items():
        print(f"{name:12}{one:50}{two}")


def lower_bound(alarms: int) -> float:
    """The mean that is exceeded, at 95 %, where so many events were seen."""
    low, high = 0.0, float(alarms)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if alarms and 1 - at_most(alarms - 1, middle) < 0.05 else (low, middle)
    return low


def quiet_hours(
    bundle: ModelBundle, runs: list[Run], visits: list[tuple[list[Peak], list[Peak]]], count: int, times: int
) -> QuietHours:
    """What the runs say, each once, in no order."""
    hours, peaks = {"day": 0.0, "night": 0.0}, []
    for index in np.random.default_rng(3).permutation(len(runs)):
        heard = Watched(confirming(bundle), Settings().event_gap, members(bundle))
        for candidate in runs[index].candidates:
            heard.add(candidate)
        peaks += [dataclasses.replace(each, at=hours[each.lighting]) for each in heard.quiet_hours(2.0).peaks]
        hours = {name: hours[name] + runs[index].hours[name] for name in hours}
    made = f"{count} places, each made to move {times} times as another camera might see it"
    right, wrong = ([peak for pair in visits for peak in pair[side]] for side in (0, 1))
    return QuietHours(2.0, hours, tuple(peaks + wrong), tuple(right), made)


if __name__ == "__main__":
    main()
