"""What a conversion might have found, made up number by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from models.evaluation import paired
from models.labels import Label, LabelMap
from models.manifest import (
    LIGHTINGS,
    Changed,
    ClassMetrics,
    Comparison,
    Manifest,
    Metrics,
    OperatingPoint,
    Quantization,
    Speed,
)
from tests.bundles import MANIFEST

NAMES = ("deer", "tiger")
LABELS = LabelMap(Label(name, name.title(), "", "animal") for name in NAMES)


def compare(photos: Mapping[str, int], lost: Mapping[str, int], gained: Mapping[str, int] | None = None,
            odd: int = 0) -> Comparison:
    """A comparison of classes with so many photos, of which some were lost, some gained, and some wrong otherwise.

    All other photos are right both times.
    """
    gained, n = gained or {}, sum(photos.values())
    changed = [Changed(f"test/{name}/lost{each}.jpg", name, name, "other") for name in photos
               for each in range(lost.get(name, 0))]
    changed += [Changed(f"test/{name}/gained{each}.jpg", name, "other", name) for name in photos
                for each in range(gained.get(name, 0))]
    changed += [Changed(f"test/{next(iter(photos))}/odd{each}.jpg", next(iter(photos)), "other", "another")
                for each in range(odd)]
    away, back = sum(lost.values()), sum(gained.values())
    low, high = paired(away, back, n)
    per_class = {name: ClassMetrics(1.0, (count - gained.get(name, 0)) / count if count else 0.0, 1.0, count, count)
                 for name, count in photos.items()}
    return Comparison(n, (n - back - odd) / n, (n - away - odd) / n, 1 - len(changed) / n, per_class, 0.021, 0.034,
                      (away - back) / n, low, high, tuple(changed))


def quantization(day: Comparison, night: Comparison | None = None) -> Quantization:
    """An int8 one that meets every gate but, it may be, those of accuracy."""
    return Quantization(
        "int8", {name: {"day": 7, "night": 4} for name in NAMES}, {"day": day, "night": night or day},
        {"CONV_2D": 35, "QUANTIZE": 2}, 0, 0, "xnnpack", 1, {"QUANTIZE": 2}, 2_761_416, 8_993_852,
        Speed(3.55, 1.76, 0.4957, 150),
    )


def manifest(stored: Quantization) -> Manifest:
    """Of a converted bundle; its metrics follow from the comparison."""
    def after(found: Comparison) -> Metrics:
        per_class = {}
        for name, before in found.float_per_class.items():
            right = sum(each.after == name for each in found.changed if each.label == name) - sum(
                each.before == name for each in found.changed if each.label == name)
            recall = before.recall + (right / before.n if before.n else 0)
            per_class[name] = replace(before, recall=recall)
        return Metrics(found.n, found.accuracy, 1.0, 0.9, found.calibration_error or 0.0, per_class)

    point = OperatingPoint(0.5, 1.0, 1.0, 9)
    return replace(
        MANIFEST, input=replace(MANIFEST.input, size=224), temperature=0.88, quantization=stored,
        operating_points={name: dict.fromkeys(LIGHTINGS, point) for name in NAMES},
        metrics={lighting: after(found) for lighting, found in stored.compared.items()},
        provenance=replace(MANIFEST.provenance, command="convert --quantize int8 runs/w", backbone="mobilenet_v2",
                           versions={"keras": "3", "ai_edge_litert": "2"}, parent={"path": "runs/w"}),
        verified=bool(stored.compared),
    )
