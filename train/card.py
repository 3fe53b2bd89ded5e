"""The model card: what a bundle is for, what it was made of, and where it fails."""

from __future__ import annotations

from collections.abc import Sequence

from models.labels import LabelMap
from models.manifest import LIGHTINGS, Manifest
from train.photos.data import SPLITS
from train.report.numbers import Report
from train.report.summary import confusions, percent, real_night, sensitivity
from train.words import counted, listing

USE = """Names what a fixed camera sees: the animal (or person, or nothing) in a crop around something that moved, by
day or in infrared-grey at night. Converted to int8, it runs on the camera's own small computer. It knows the classes
below and no others: any other animal gets one of these names, and may get it with a probability above its operating
point. It does not tell individuals apart, nor recognise who a person is. Do not let it alone decide about anything that
harms."""

RESULTS = """On the test photos: "as taken", be they grey already, and "grey", infrared-grey versions of the same.
"point" is the operating point: the probability from which on a class counts as recognised, chosen on the validation
photos for a precision of 95 %, by day on those in colour. "-": there was nothing to measure."""
LIMITS = """- Not measured: grass in front of an animal, blur, rain, and animals that are none of the classes.
  The float bundle's `report.html` shows more."""


def card(
    manifest: Manifest, labels: LabelMap, report: Report, licences: dict[str, int], notes: Sequence[str],
    about: str = "",
) -> str:
    """The text of `CARD.md`.

    Args:
        manifest: of the bundle.
        labels: the classes.
        report: what was measured.
        licences: photos by licence, as found in the data.
        notes: what the training left out.
        about: text of `DATA/ABOUT.md`, which describes the data.
    """
    origin = manifest.provenance
    day, night = manifest.metrics["day"], manifest.metrics["night"]
    parts = [
        f"# {manifest.name} {manifest.version}",
        f"{origin.backbone}, {manifest.input.size} x {manifest.input.size} px, {len(labels)} classes, trained "
        f"{origin.created[:10]}. Test photos right: {day.accuracy:.1%} as taken, {night.accuracy:.1%} in infrared-grey "
        f"(n = {day.n}).",
        "## Intended use", USE,
        "## Data", _data(manifest, licences, notes, about),
        "## Results per class", _results(manifest, labels, report),
        "## Known failures", _failures(report),
        "## How it was made", f"```\n{origin.command}\n```",
        "Versions: " + ", ".join(f"{key} {value}" for key, value in sorted(origin.versions.items())) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _data(manifest: Manifest, licences: dict[str, int], notes: Sequence[str], about: str) -> str:
    origin = manifest.provenance
    counts = ", ".join(f"{origin.photos[split]} {split}" for split in SPLITS)
    parts = [about.strip()] if about else []
    parts.append(f"`{origin.data}`: {counts} photos. Left out: {origin.left_out} that could not be read, "
                 f"{origin.excluded} excluded by a list.")
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    if licences:
        rows = "\n".join(f"| {count} | {licence} |" for licence, count in licences.items())
        parts.append(f"Licences as the data states them:\n\n| photos | licence as found |\n|---:|---|\n{rows}")
    else:
        parts.append("The data states no licences (it has no `manifest.csv` with the columns `path` and `licence`).")
    return "\n\n".join(parts)


def _results(manifest: Manifest, labels: LabelMap, report: Report) -> str:
    lines = [RESULTS, "",
             "| class | kind | n | precision as taken | recall as taken | precision grey | recall grey | "
             "point day / grey |",
             "|---|---|---:|---:|---:|---:|---:|---:|"]
    for label in labels:
        day, night = (report.results[key].classes[label.name] for key in LIGHTINGS)
        points = [report.points[label.name][key] for key in LIGHTINGS]
        lines.append(
            f"| {label.name} | {label.observation_type} | {day.n} | {percent(day.precision)} | {percent(day.recall)} | "
            f"{percent(night.precision)} | {percent(night.recall)} | "
            f"{' / '.join(f'{point.threshold:.2f}' if point.n else '-' for point in points)} |"
        )
    for key, name in (("day", "As taken"), ("night", "In grey")):
        found = manifest.metrics[key]
        lines += ["", f"{name}: accuracy {found.accuracy:.1%}, macro-F1 {found.macro_f1:.1%}, among the first three "
                  f"{found.top3:.1%}, expected calibration error {found.calibration_error:.1%}."]
    for label in labels:
        if label.observation_type == "human":
            lines += ["", _people(label.name, report)]
    weak = [f"{name} ({lighting}: {point.precision:.0%})" for name, each in report.points.items()
            for lighting, point in each.items() if point.precision is not None and not point.reached]
    if weak:
        lines += ["", "No threshold reached a precision of 95 % on the validation photos for: " + ", ".join(weak) + "."]
    guessed = [name for name, each in report.points.items() if not each["night"].n]
    if guessed:
        lines += ["", f"No validation photo shows {listing(guessed, 'or')}: the operating point of "
                  f"{manifest.operating_points[guessed[0]]['day'].threshold:.2f} is a guess."]
    return "\n".join(lines)


def _people(name: str, report: Report) -> str:
    day, night = (report.results[key].classes[name] for key in LIGHTINGS)
    if not day.n:
        return f"People (`{name}`): there are no test pictures of them, so how well they are recognised is unknown."
    return (f"People (`{name}`): {percent(day.recall)} of {counted(day.n, 'test picture')} recognised as taken, "
            f"{percent(night.recall)} in grey. Of what is called {name}, this share is one: {percent(day.precision)} "
            f"as taken, {percent(night.precision)} in grey (-: nothing is called so).")


def _failures(report: Report) -> str:
    lines = []
    for key, text in (("day", "As taken"), ("night", "In grey")):
        found = report.results[key]
        every = confusions(report.subject.names, found.confusion)
        wrong = sum(each.wrong for each in found.classes.values())
        worst = "; ".join([*every[:6], *["others"] * (len(every) > 6)])
        lines.append(f"- {text}, {wrong} of {found.metrics.n} test photos are named wrongly: {worst}." if every else
                     f"- {text}, no test photo is named wrongly.")
    missing = [name for name, each in report.results["day"].classes.items() if not each.n]
    if missing:
        lines.append(f"- No test photo shows {listing(missing, 'or')}: how well the model does there is unknown.")
    lines += [f"- {line}" for line in real_night(report)]
    each = "; ".join(f"{view.name} {view.accuracy:.1%}" for view in report.moved)
    lines.append(f"- Geometry: {sensitivity(report)} Right after each change: {each}.")
    return "\n".join([*lines, LIMITS])
