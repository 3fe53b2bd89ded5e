"""What a conversion changed: the table for the terminal, and CARD.md of the int8 bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from models.labels import LabelMap
from models.manifest import LIGHTINGS, ClassMetrics, Comparison, Manifest

TITLES = {"day": "as taken", "night": "in infrared grey"}
RESULTS, FAILURES, CONVERSION = "## Results per class", "## Known failures", "## Conversion to int8"


def terminal_table(manifest: Manifest) -> str:
    """Accuracy before and after, and the classes whose recall has changed."""
    lines = [f"{'':18}{'float':>8}{'int8':>9}{'change':>9}{'same answer':>14}{'photos':>9}"]
    for lighting, found in manifest.quantization.compared.items():
        lines.append(f"{TITLES[lighting]:18}{found.float_accuracy:8.1%}{found.accuracy:9.1%}"
                     f"{_points(found):>9}{found.agreement:14.1%}{found.n:9}")
    changed = []
    for name, count, pairs in _classes(manifest):
        day, night = ((before.recall, after.recall) for before, after in pairs)
        if day[0] != day[1] or night[0] != night[1]:
            changed.append((name, count, *day, *night))
    if changed:
        wide = max(6, *(len(row[0]) for row in changed))
        lines += ["", f"{'recall':{wide}}  photos as taken: float    int8   in grey: float    int8"]
        lines += [f"{name:{wide}}  {n:>6}{before:>16.1%}{after:>8.1%}{night_before:>17.1%}{night_after:>8.1%}"
                  for name, n, before, after, night_before, night_after in changed]
    return "\n".join(lines)


def card(
    parent_card: str, parent: Manifest, manifest: Manifest, labels: LabelMap, size_bytes: int, parent_bytes: int
) -> str:
    """The text of the int8 bundle's CARD.md: its parent's, with this model's results and how it was converted.

    Args:
        parent_card: the float bundle's CARD.md.
        parent: the float bundle's manifest.
        manifest: the int8 bundle's.
        labels: of both.
        size_bytes: of `model.tflite`.
        parent_bytes: of `model.keras`.
    """
    _, *sections = re.split(r"^(?=## )", parent_card, flags=re.MULTILINE)
    sections = [section.strip() for section in sections]
    if manifest.verified:
        own = "\n".join(_results(manifest, labels))
        if not any(section.startswith(RESULTS) for section in sections):
            sections.append(RESULTS)
        sections = [own if section.startswith(RESULTS) else section for section in sections]
    sections = [_counted_with_float(section) if section.startswith(FAILURES) else section for section in sections]
    conversion = "\n".join(_conversion(parent, manifest, size_bytes, parent_bytes))
    return "\n\n".join(["\n".join(_head(manifest)), *sections, conversion]) + "\n"


def _head(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name} {manifest.version}, int8"
    yield ""
    origin, stored = manifest.provenance, manifest.quantization
    about = (f"{origin.backbone}, {manifest.input.size} x {manifest.input.size} px, {manifest.output.classes} classes, "
             f"in 8-bit integers")
    if not manifest.verified:
        yield (f"{about}. **Not verified**: it was converted without its test photos (`--no-verify`). Temperature, "
               f"operating points and all results below are the float model's.")
        return
    found = [f"{stored.compared[lighting].accuracy:.1%} {TITLES[lighting]} (float: "
             f"{stored.compared[lighting].float_accuracy:.1%})" for lighting in LIGHTINGS]
    yield f"{about}. Test photos right: {', '.join(found)}, n = {stored.compared['day'].n}."


def _results(manifest: Manifest, labels: LabelMap) -> Iterator[str]:
    yield RESULTS
    yield ""
    yield ("On the test photos, with this int8 model: \"as taken\", be they grey already, and \"grey\", infrared-grey "
           "versions of the same. \"Alerts from\" is the operating point: the probability from which on the class "
           "counts as recognised, chosen on the validation photos for a precision of 95 %, by day on those in colour; "
           "\"-\" where none of them shows it.")
    yield ""
    kinds = {label.name: label.observation_type for label in labels}
    rows = []
    for name, n, ((day_before, day), (night_before, night)) in _classes(manifest):
        points = [manifest.operating_points[name][lighting] for lighting in LIGHTINGS]
        rows.append((name, kinds[name], str(n), f"{day.precision:.1%}", f"{day.recall:.1%}", f"{day_before.recall:.1%}",
                     f"{night.precision:.1%}", f"{night.recall:.1%}", f"{night_before.recall:.1%}",
                     " / ".join(f"{point.threshold:.2f}" if point.n else "-" for point in points)))
    yield from _markdown(("class", "kind", "n", "precision as taken", "recall as taken", "recall as taken, float",
                          "precision grey", "recall grey", "recall grey, float", "alerts from, day / grey"), rows)
    unseen = [name for name, found in manifest.metrics["day"].per_class.items() if not found.n]
    if unseen:
        yield ""
        yield f"No test photo shows these, so how well the model does there is unknown: {', '.join(unseen)}."
    for lighting in LIGHTINGS:
        found = manifest.metrics[lighting]
        yield ""
        yield (f"{TITLES[lighting].capitalize()}: accuracy {found.accuracy:.1%}, macro-F1 {found.macro_f1:.1%}, among "
               f"the first three {found.top3:.1%}, expected calibration error {found.calibration_error:.1%}.")
    for label in labels:
        if label.observation_type == "human":
            day, night = (manifest.metrics[lighting].per_class[label.name] for lighting in LIGHTINGS)
            if not day.n:
                continue
            yield ""
            yield (f"People (`{label.name}`): {day.recall:.1%} of {day.n} test pictures recognised as taken, "
                   f"{night.recall:.1%} in grey; {day.precision:.1%} and {night.precision:.1%} of what is called "
                   f"{label.name} is one.")
    weak = [f"{name} ({lighting}: {point.precision:.0%})" for name, points in manifest.operating_points.items()
            for lighting, point in points.items() if point.n and point.precision < 0.95]
    if weak:
        yield ""
        yield f"No threshold reached a precision of 95 % on the validation photos for: {', '.join(weak)}."


def _counted_with_float(section: str) -> str:
    return section.replace(FAILURES, f"{FAILURES}\n\nCounted with the float model, before the conversion:", 1)


def _conversion(parent: Manifest, manifest: Manifest, size_bytes: int, parent_bytes: int) -> Iterator[str]:
    stored, origin = manifest.quantization, manifest.provenance
    yield CONVERSION
    yield ""
    yield (f"Weights (by channel) and activations are 8-bit integers; the input is raw uint8 {manifest.input.order}, "
           f"the output {manifest.output.dtype} logits. `model.tflite` has {size_bytes / 1e6:.2f} MB, the float model "
           f"{parent_bytes / 1e6:.2f} MB. It was converted on {origin.created[:10]} from `{origin.parent['path']}` by")
    yield ""
    yield f"```\n{origin.command}\n```"
    yield ""
    yield (f"The ranges of the activations were measured on {_calibration(stored.calibration)} of the training set. "
           f"The mean error of each logit on them, at most {origin.settings['bias_correction']:.2f}, was taken off. "
           f"{stored.float_operators} of {sum(stored.operators.values())} operators work on floating-point numbers: "
           f"{', '.join(f'{kind} {count}' for kind, count in stored.operators.items())}.")
    if stored.compared:
        yield ""
        yield from _markdown(
            ("test photos right", "float", "int8", "change, points", "same answer", "n"),
            [(TITLES[lighting], f"{found.float_accuracy:.1%}", f"{found.accuracy:.1%}", _points(found),
              f"{found.agreement:.1%}", str(found.n)) for lighting, found in stored.compared.items()],
        )
        yield ""
        yield (f"Temperature and operating points were fitted again on the validation photos with the int8 model "
               f"(temperature {manifest.temperature:.2f}, float {parent.temperature:.2f}).")
    yield ""
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items())) + "."


def _classes(manifest: Manifest) -> Iterator[tuple[str, int, list[tuple[ClassMetrics, ClassMetrics]]]]:
    """Name, number of test photos, and (float, int8) as taken and in grey, of each class with test photos."""
    for name, found in manifest.metrics["day"].per_class.items():
        if found.n:
            yield name, found.n, [
                (manifest.quantization.compared[lighting].float_per_class[name],
                 manifest.metrics[lighting].per_class[name])
                for lighting in LIGHTINGS
            ]


def _calibration(counts: dict[str, dict[str, int]]) -> str:
    total = {lighting: sum(found.get(lighting, 0) for found in counts.values()) for lighting in LIGHTINGS}
    return (f"{sum(total.values())} pictures of {len(counts)} classes "
            f"({total['day']} by day, {total['night']} in infrared grey)")


def _points(found: Comparison) -> str:
    return f"{(found.accuracy - found.float_accuracy) * 100:+.1f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
