"""What a conversion gave, for the terminal."""

from __future__ import annotations

import textwrap

from convert.words import LABELS, MET, TITLES, change, counts, interval, megabytes, share
from models.manifest import LIGHTINGS, Comparison, Manifest, Quantization

WIDTH, MARGIN, LONGEST = 110, 18, 20
SHOWN = 10
"""Photos that changed their answer and are named; the others stand in manifest.json."""


def terminal_table(manifest: Manifest) -> str:
    """Network, speed, accuracy before and after, what changed, seconds and gates; no line over 110 characters."""
    stored = manifest.quantization
    blocks = [_network(stored)]
    if stored.compared:
        blocks += [_accuracy(stored), _recall(manifest), _changed(stored)]
    else:
        blocks.append(["not verified (--no-verify): nothing is known of its accuracy"])
    seconds = ", ".join(f"{stage} {spent:.1f}" for stage, spent in stored.seconds.items())
    blocks += [_row("seconds", seconds) if seconds else [], _gates(stored)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _row(title: str, text: str) -> list[str]:
    """A title and what stands beside it, on as many lines as it needs."""
    return textwrap.wrap(text, WIDTH, initial_indent=f"{title:{MARGIN}}", subsequent_indent=" " * MARGIN)


def _network(stored: Quantization) -> list[str]:
    lines = _row("size", f"{megabytes(stored.size_bytes)}, float {megabytes(stored.float_bytes)}")
    lines += _row("operators", counts(stored.operators))
    if stored.float_tensors is not None and stored.scheme.startswith("int"):
        lines += _row("float tensors", str(stored.float_tensors))
    if stored.partitions is not None:
        lines += _row("XNNPACK pieces", f"{stored.partitions}, outside: {counts(stored.outside)}")
    if stored.speed is not None:
        speed = stored.speed
        lines += _row("raw invoke", f"{speed.ms:.2f} ms, float {speed.float_ms:.2f} ms: {speed.ratio:.2f} x (one "
                                    f"thread, in turn, medians of {speed.runs})")
    return lines


def _accuracy(stored: Quantization) -> list[str]:
    label = LABELS[stored.scheme]
    lines = [f"{'':{MARGIN}}{'float':>7}{label:>9}{'change':>8}{'at 95 %':>15}{'same answer':>13}"
             f"{'calibration error':>27}{'photos':>8}"]
    for lighting, found in stored.compared.items():
        errors = f"{share(found.float_calibration_error)} -> {share(found.calibration_error)}"
        lines.append(f"{TITLES[lighting]:{MARGIN}}{found.float_accuracy:7.1%}{found.accuracy:9.1%}{change(found):>8}"
                     f"{interval(found):>15}{found.agreement:13.1%}{errors:>27}{found.n:8}")
    return lines


def _recall(manifest: Manifest) -> list[str]:
    """The classes whose recall has changed."""
    label, compared = LABELS[manifest.quantization.scheme], manifest.quantization.compared
    rows = []
    for name, found in manifest.metrics["day"].per_class.items():
        recalls = [(compared[key].float_per_class[name].recall, manifest.metrics[key].per_class[name].recall)
                   for key in LIGHTINGS]
        if found.n and any(before != after for before, after in recalls):
            rows.append((name, found.n, *recalls[0], *recalls[1]))
    if not rows:
        return ["recall            the same for every class"]
    wide = min(2 * LONGEST, max(MARGIN - 2, *(len(row[0]) for row in rows))) + 2
    lines = [f"{'recall':{wide}}{'photos':>6}   as taken: float{label:>9}   in grey: float{label:>9}"]
    for name, n, before, after, grey_before, grey_after in rows:
        lines.append(f"{_shortened(name, wide - 2):{wide}}{n:>6}{before:>18.1%}{after:>9.1%}{grey_before:>17.1%}"
                     f"{grey_after:>9.1%}")
    return lines


def _changed(stored: Quantization) -> list[str]:
    """The photos with another answer: those now wrong, then those now right, then those wrong both times."""
    found = [(lighting, each) for lighting, compared in stored.compared.items() for each in compared.changed]
    if not found:
        return ["answers           the same for every photo"]
    found.sort(key=lambda pair: (pair[1].before != pair[1].label, pair[1].after != pair[1].label))
    label = LABELS[stored.scheme]
    names = [name for _, each in found[:SHOWN] for name in (each.label, each.before, each.after)]
    wide = min(LONGEST, max(7, *map(len, names))) + 2
    lines = [_tally(stored.compared),
             f"{'':{MARGIN}}{'shows':{wide}}{'float':{wide}}{label:{wide}}photo"]
    for lighting, each in found[:SHOWN]:
        row = TITLES[lighting].ljust(MARGIN)
        row += "".join(_shortened(name, wide - 2).ljust(wide) for name in (each.label, each.before, each.after))
        lines.append(row + _shortened(each.photo, WIDTH - len(row)))
    if len(found) > SHOWN:
        lines.append(f"{'':{MARGIN}}and {len(found) - SHOWN} more: see manifest.json")
    return lines


def _tally(compared: dict[str, Comparison]) -> str:
    every = [each for found in compared.values() for each in found.changed]
    lost, gained = sum(each.before == each.label for each in every), sum(each.after == each.label for each in every)
    return (f"{'answers':{MARGIN}}{len(every)} changed: {lost} now wrong, {gained} now right, "
            f"{len(every) - lost - gained} wrong both times")


def _shortened(text: str, room: int) -> str:
    """The end of a text, which tells more of a path than its beginning, where there is no room for the whole."""
    return text if len(text) <= room else f"...{text[len(text) - room + 3:]}"


def _gates(stored: Quantization) -> list[str]:
    lines: list[str] = []
    for gate in stored.gates:
        lines += _row(MET[gate.met], f"{gate.name}: {gate.found} (allowed: {gate.allowed})")
    return ["gates", *lines] if lines else []
