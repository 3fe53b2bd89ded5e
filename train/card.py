"""The model card: what a bundle is for, what it was made of, and where it fails."""

from __future__ import annotations

from collections.abc import Sequence

from models.labels import LabelMap
from models.manifest import Manifest
from train.photos.data import SPLITS
from train.report.numbers import Report
from train.report.summary import confusions, listing, sensitivity

USE = """Names what a fixed camera sees: the animal (or person, or nothing) in a crop around something that moved, by
day or in infrared-grey at night. It runs on the camera's own small computer. It knows the classes below and no others:
any other animal gets one of these names, and often enough with a probability above its operating point. It does not
tell individuals apart, nor recognise who a person is. Do not let it alone decide about anything that harms."""

RESULTS = """On the test photos; "grey" are infrared-grey versions of the same photos. "point" is the operating point:
the probability from which on a class counts as recognised, chosen on the validation photos for a precision of 95 %."""
LIMITS = """- Animals that are small, cut off, behind grass or blurred are recognised less often than test photos.
- "In grey" was measured on photos turned grey, not on photos taken at night. `report.html` shows more."""


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
        f"{origin.created[:10]}. Test photos right: {day.accuracy:.1%} by day, {night.accuracy:.1%} in infrared-grey "
        f"(n = {day.n}).",
        "## Intended use", USE,
        "## Data", _data(manifest, licences, notes, about),
        "## Results per class", _results(manifest, labels),
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


def _results(manifest: Manifest, labels: LabelMap) -> str:
    lines = [RESULTS, "",
             "| class | kind | n | precision day | recall day | precision grey | recall grey | point day / night |",
             "|---|---|---:|---:|---:|---:|---:|---:|"]
    for label in labels:
        day, night = (manifest.metrics[key].per_class[label.name] for key in ("day", "night"))
        points = manifest.operating_points[label.name]
        lines.append(
            f"| {label.name} | {label.observation_type} | {day.n} | {day.precision:.1%} | {day.recall:.1%} | "
            f"{night.precision:.1%} | {night.recall:.1%} | "
            f"{points['day'].threshold:.2f} / {points['night'].threshold:.2f} |"
        )
    for key, name in (("day", "By day"), ("night", "In grey")):
        found = manifest.metrics[key]
        lines += ["", f"{name}: accuracy {found.accuracy:.1%}, macro-F1 {found.macro_f1:.1%}, among the first three "
                  f"{found.top3:.1%}, expected calibration error {found.calibration_error:.1%}."]
    for label in labels:
        if label.observation_type == "human":
            day, night = (manifest.metrics[key].per_class[label.name] for key in ("day", "night"))
            lines += ["", f"People (`{label.name}`): {day.recall:.1%} of {day.n} test pictures recognised by day, "
                      f"{night.recall:.1%} in grey; {day.precision:.1%} and {night.precision:.1%} of what is called "
                      f"{label.name} is one."]
    weak = [f"{name} ({lighting}: {point.precision:.0%})" for name, points in manifest.operating_points.items()
            for lighting, point in points.items() if point.precision < 0.95]
    if weak:
        lines += ["", "No threshold reached a precision of 95 % on the validation photos for: " + ", ".join(weak) + "."]
    return "\n".join(lines)


def _failures(report: Report) -> str:
    lines = []
    for key, text in (("day", "By day"), ("night", "In grey")):
        found = report.results[key]
        every = confusions(report.subject.names, found.confusion)
        wrong = sum(each.wrong for each in found.classes.values())
        worst = "; ".join([*every[:6], *["others"] * (len(every) > 6)])
        lines.append(f"- {text}, {wrong} of {found.metrics.n} test photos are named wrongly: {worst}." if every else
                     f"- {text}, no test photo is named wrongly.")
    missing = [name for name, each in report.results["day"].classes.items() if not each.n]
    if missing:
        lines.append(f"- No test photo shows {listing(missing, 'or')}: how well the model does there is unknown.")
    return "\n".join([*lines, f"- Geometry: {sensitivity(report)}", LIMITS])
