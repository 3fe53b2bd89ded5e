"""CARD.md of a converted bundle: its float parent's, with this network's results and how it was converted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from convert.gates import SPEED
from convert.words import LABELS, MET, NO_CLASS, STORED, TITLES, change, counts, interval, megabytes, photos, share
from models.labels import LabelMap
from models.manifest import LIGHTINGS, ClassMetrics, Manifest, Quantization

RESULTS, FAILURES, CONVERSION = "## Results per class", "## Known failures", "## Conversion to"


def card(parent_card: str, manifest: Manifest, labels: LabelMap, float_temperature: float | None = None) -> str:
    """The text of a converted bundle's CARD.md.

    Args:
        parent_card: the float bundle's CARD.md; empty where there is none.
        manifest: the converted bundle's.
        labels: of both.
        float_temperature: the float model's, where it had one.
    """
    # The report stays with the float bundle, whose card says so only since a later version.
    parent_card = re.sub(r"^( *)(?=`report\.html` )", r"\1The float bundle's ", parent_card, flags=re.MULTILINE)
    _, *sections = re.split(r"^(?=## )", parent_card, flags=re.MULTILINE)
    sections = [section.strip() for section in sections]
    if manifest.verified:
        own = "\n".join(_results(manifest, labels))
        if not any(section.startswith(RESULTS) for section in sections):
            sections.append(RESULTS)
        sections = [own if section.startswith(RESULTS) else section for section in sections]
    sections = [_counted_with_float(section) if section.startswith(FAILURES) else section for section in sections]
    conversion = "\n".join(_conversion(manifest, float_temperature))
    return "\n\n".join(["\n".join(_head(manifest)), *sections, conversion]) + "\n"


def _head(manifest: Manifest) -> Iterator[str]:
    origin, stored = manifest.provenance, manifest.quantization
    yield f"# {manifest.name} {manifest.version}, {LABELS[stored.scheme]}"
    yield ""
    kind = "network" if origin.backbone in ("", "unknown") else origin.backbone
    about = (f"{kind}, {manifest.input.size} x {manifest.input.size} px, {manifest.output.classes} classes, "
             f"{LABELS[stored.scheme]}: {_size(stored)}")
    # A processor on which the gate cannot tell says nothing of the device either.
    if stored.speed is not None and all(gate.met is not None for gate in stored.gates if gate.name == SPEED):
        about += f", in {stored.speed.ratio:.2f} x the time of its float32 version"
    if not manifest.verified:
        yield (f"{about}. **Not verified**: it was converted without its test photos (`--no-verify`). Temperature, "
               f"operating points and all results below are the float model's.")
        return
    found = [f"{stored.compared[lighting].accuracy:.1%} {TITLES[lighting]} (float: "
             f"{stored.compared[lighting].float_accuracy:.1%})" for lighting in LIGHTINGS]
    yield f"{about}. Test photos right: {', '.join(found)}, n = {stored.compared['day'].n}."


def _size(stored: Quantization) -> str:
    return f"{megabytes(stored.size_bytes)} (float32: {megabytes(stored.float_bytes)})"


def _results(manifest: Manifest, labels: LabelMap) -> Iterator[str]:
    yield RESULTS
    yield ""
    yield (f"On the test photos, with this {LABELS[manifest.quantization.scheme]} model: \"as taken\", be they grey "
           f"already, and \"grey\", infrared-grey versions of the same. \"Alerts from\" is the operating point: the "
           f"probability from which on the class counts as recognised, chosen on the validation photos for a precision "
           f"of 95 %, by day on those in colour; \"-\" where none of them shows it. A precision is \"-\" where nothing "
           f"was called so.")
    yield ""
    kinds = {label.name: label.observation_type for label in labels}
    rows = []
    for name, n, ((day_before, day), (night_before, night)) in _classes(manifest):
        points = [manifest.operating_points[name][lighting] for lighting in LIGHTINGS]
        rows.append((name, kinds[name], str(n), _precision(day), f"{day.recall:.1%}", f"{day_before.recall:.1%}",
                     _precision(night), f"{night.recall:.1%}", f"{night_before.recall:.1%}",
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
                   f"{night.recall:.1%} in grey; {_precision(day)} and {_precision(night)} of what is called "
                   f"{label.name} is one.")
    weak = [f"{name} ({lighting}: {point.precision:.0%})" for name, points in manifest.operating_points.items()
            for lighting, point in points.items() if point.n and point.precision < 0.95]
    if weak:
        yield ""
        yield f"No threshold reached a precision of 95 % on the validation photos for: {', '.join(weak)}."


def _precision(found: ClassMetrics) -> str:
    return share(None if found.named == 0 else found.precision)


def _counted_with_float(section: str) -> str:
    return section.replace(FAILURES, f"{FAILURES}\n\nCounted with the float model, before the conversion:", 1)


def _conversion(manifest: Manifest, float_temperature: float | None) -> Iterator[str]:
    stored, origin, label = manifest.quantization, manifest.provenance, LABELS[manifest.quantization.scheme]
    yield f"{CONVERSION} {label}"
    yield ""
    yield (f"{STORED[stored.scheme]}; the input is raw 0-255 {manifest.input.order} as {manifest.input.dtype}, the "
           f"output {manifest.output.dtype} logits. `model.tflite` has {_size(stored)}. It was converted on "
           f"{origin.created[:10]} from `{origin.parent['path']}` by")
    yield ""
    yield f"```\n{origin.command}\n```"
    yield ""
    yield from _network(stored)
    yield from _recipe(stored)
    if stored.compared:
        yield from _markdown(
            ("test photos right", "float", label, "change, points", "at 95 %", "same answer",
             "calibration error, float", f"calibration error, {label}", "n"),
            [(TITLES[lighting], f"{found.float_accuracy:.1%}", f"{found.accuracy:.1%}", change(found), interval(found),
              f"{found.agreement:.1%}", share(found.float_calibration_error), share(found.calibration_error),
              str(found.n)) for lighting, found in stored.compared.items()],
        )
        yield ""
        yield _fallen(manifest)
        before = "" if float_temperature is None else f", float {float_temperature:.2f}"
        yield ""
        yield (f"Temperature and operating points were fitted again on the validation photos with the {label} model "
               f"(temperature {manifest.temperature:.2f}{before}).")
        yield ""
    if stored.gates:
        yield "What it was held against; a model that misses one of these is not written:"
        yield ""
        yield from _markdown(("gate", "result", "found", "allowed"),
                             [(gate.name, MET[gate.met], gate.found, gate.allowed) for gate in stored.gates])
        yield ""
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items())) + "."


def _network(stored: Quantization) -> Iterator[str]:
    """What stands in the file and how it runs."""
    total = sum(stored.operators.values())
    pieces = "" if stored.partitions is None else (f" XNNPACK runs the network in {_pieces(stored.partitions)}; "
                                                   f"outside: {counts(stored.outside)}.")
    yield (f"{total} operators: {counts(stored.operators)}. {stored.float_operators} of them work on floating-point "
           f"numbers.{pieces}")
    yield ""
    if stored.speed is not None:
        yield (f"Raw invoke on one thread took {stored.speed.ratio:.2f} x the time of the same network in float32, "
               f"both measured in turn in one run on the machine that converted it. The ratio holds within such a run; "
               f"how long the network takes on another device was not measured.")
        yield ""


def _fallen(manifest: Manifest) -> str:
    """The classes of which fewer test photos are right than before, be it by chance or not."""
    fell = [f"{name} {TITLES[lighting]} {before.recall:.1%} -> {after.recall:.1%} ({photos(n)})"
            for name, n, pairs in _classes(manifest) for lighting, (before, after) in zip(LIGHTINGS, pairs, strict=True)
            if after.recall < before.recall]
    return f"Recall that fell, as counted: {'; '.join(fell)}." if fell else "The recall of no class fell."


def _pieces(partitions: int) -> str:
    return "one piece" if partitions == 1 else f"{partitions} pieces"


def _recipe(stored: Quantization) -> Iterator[str]:
    """What the conversion did, one line for each step; a step that is a list of sentences speaks for itself."""
    lines = []
    if stored.calibration:
        lines.append(f"calibration set: {_calibration(stored.calibration)}")
    for step, done in stored.recipe.items():
        lines += _said(done) if isinstance(done, (list, tuple)) else [
            f"{step}: {line}" if line else step for line in _said(done)]
    for line in lines:
        yield f"- {line[0].upper()}{line[1:]}."
    if lines:
        yield ""


def _said(done: Any) -> list[str]:
    """What a step did, in words, line by line: `True` needs none, and what is False or None was not done."""
    if isinstance(done, bool) or done is None:
        return [""] if done else []
    if isinstance(done, (list, tuple)):
        return [line for each in done for line in _said(each)]
    if isinstance(done, dict):
        return [", ".join(f"{key} {', '.join(_said(value))}".strip() for key, value in done.items() if _said(value))]
    return [f"{done:.3g}" if isinstance(done, float) else str(done).rstrip(".")]


def _classes(manifest: Manifest) -> Iterator[tuple[str, int, list[tuple[ClassMetrics, ClassMetrics]]]]:
    """Name, number of test photos, and (float, converted) as taken and in grey, of each class with test photos."""
    for name, found in manifest.metrics["day"].per_class.items():
        if found.n:
            yield name, found.n, [
                (manifest.quantization.compared[lighting].float_per_class[name],
                 manifest.metrics[lighting].per_class[name])
                for lighting in LIGHTINGS
            ]


def _calibration(found: dict[str, dict[str, int]]) -> str:
    total = {lighting: sum(each.get(lighting, 0) for each in found.values()) for lighting in LIGHTINGS}
    known = len(set(found) - {NO_CLASS})
    classes = f"of {known} class{'' if known == 1 else 'es'}" if known else "without classes"
    return (f"{sum(total.values())} pictures {classes} "
            f"({total['day']} by day, {total['night']} in infrared grey)")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
