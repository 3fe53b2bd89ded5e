"""What a conversion changed, as a table for the terminal and as a section of CARD.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.manifest import LIGHTINGS, Comparison, Manifest

TITLES = {"day": "by day", "night": "in infrared grey"}


def terminal_table(manifest: Manifest) -> str:
    """Accuracy before and after, and the classes whose recall has changed."""
    compared = manifest.quantization.compared
    lines = [f"{'':18}{'float':>8}{'int8':>9}{'change':>9}{'same answer':>14}{'photos':>9}"]
    for lighting in LIGHTINGS:
        found = compared[lighting]
        lines.append(f"{TITLES[lighting]:18}{found.float_accuracy:8.1%}{found.accuracy:9.1%}"
                     f"{_points(found):>9}{found.agreement:14.1%}{found.n:9}")
    rows = list(_class_rows(manifest))
    wide = max(len(row[0]) for row in rows)
    lines += ["", "recall, float -> int8 of the classes that changed:"]
    changed = [row for row in rows if row[2] != row[3] or row[4] != row[5]]
    lines += [f"  {name:{wide}}  {TITLES['day']} {day_float} -> {day}, {TITLES['night']} {night_float} -> {night}  (n = {n})"
              for name, n, day_float, day, night_float, night in changed]
    return "\n".join(lines if changed else lines[:-2])


def card(parent_card: str, parent: Manifest, manifest: Manifest, size_bytes: int, parent_bytes: int) -> str:
    """The text of the int8 bundle's CARD.md: what its parent's says, and a section on the conversion."""
    return parent_card.rstrip() + "\n\n" + "\n".join(_section(parent, manifest, size_bytes, parent_bytes)) + "\n"


def _section(parent: Manifest, manifest: Manifest, size_bytes: int, parent_bytes: int) -> Iterator[str]:
    stored, origin = manifest.quantization, manifest.provenance
    yield "## Conversion to int8"
    yield ""
    yield (f"The sections above describe the float model. This bundle holds its full-integer version: weights and "
           f"activations are 8-bit, the input is raw uint8 {manifest.input.order}, {manifest.input.size} x "
           f"{manifest.input.size} px, the output {manifest.output.dtype} logits. "
           f"`model.tflite` has {size_bytes / 1e6:.2f} MB (the float model: {parent_bytes / 1e6:.2f} MB).")
    yield ""
    yield f"    {origin.command}"
    yield ""
    yield (f"Made on {origin.created[:10]} from `{origin.parent['path']}` with "
           f"{', '.join(f'{name} {version}' for name, version in sorted(origin.versions.items()))}. "
           f"Ranges were measured on {_calibration(stored.calibration)} of the training set.")
    yield ""
    operators = ", ".join(f"{kind} {count}" for kind, count in stored.operators.items())
    yield f"Operators: {operators}; {stored.float_operators} of them work on floating-point numbers."
    yield ""
    if not stored.compared:
        yield ("**Not verified**: it was converted without its test photos (`--no-verify`). The temperature, the operating "
               "points and all results are those of the float model.")
        return
    yield from _results(parent, manifest)


def _results(parent: Manifest, manifest: Manifest) -> Iterator[str]:
    yield "### Float against int8, on the test photos"
    yield ""
    yield from _markdown(
        ("", "float", "int8", "change, points", "same answer", "photos"),
        [(TITLES[lighting], f"{found.float_accuracy:.1%}", f"{found.accuracy:.1%}", _points(found),
          f"{found.agreement:.1%}", str(found.n))
         for lighting, found in manifest.quantization.compared.items()],
    )
    yield ""
    yield "Recall of each class:"
    yield ""
    yield from _markdown(("class", "photos", "day, float", "day, int8", "grey, float", "grey, int8"),
                         list(_class_rows(manifest)))
    yield ""
    yield (f"Temperature and operating points were fitted again on the validation photos with this file: temperature "
           f"{manifest.temperature:.2f} (float: {parent.temperature:.2f}), calibration error "
           f"{manifest.metrics['day'].calibration_error:.1%} by day and "
           f"{manifest.metrics['night'].calibration_error:.1%} in grey.")


def _class_rows(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    """(class, photos, then recall by day float and int8, in grey float and int8) for each class with test photos."""
    compared = manifest.quantization.compared
    for name, day in manifest.metrics["day"].per_class.items():
        if not day.n:
            continue
        recalls = [
            recall
            for lighting in LIGHTINGS
            for recall in (compared[lighting].float_per_class[name].recall,
                           manifest.metrics[lighting].per_class[name].recall)
        ]
        yield name, str(day.n), *(f"{recall:.1%}" for recall in recalls)


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
