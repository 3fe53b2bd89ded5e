"""A manifest with every number made up, for tests to change."""

from __future__ import annotations

from models.labels import Label, LabelMap
from models.manifest import (
    ClassMetrics,
    Comparison,
    InputSpec,
    Manifest,
    Metrics,
    OperatingPoint,
    OutputSpec,
    Provenance,
    Quantization,
)

LABELS = LabelMap([Label("lion", "Lion", "Panthera leo", "animal"), Label("tiger", "Tiger", "", "animal")])
POINT = OperatingPoint(0.625, 0.95, 0.75, 8)
CLASS = ClassMetrics(0.5, 0.25, 1 / 3, 8)
MANIFEST = Manifest(
    name="wildlife", version="2", input=InputSpec(32), output=OutputSpec(2, "uint8"), temperature=1.25,
    quantization=Quantization("int8", {"lion": {"day": 3}}, {"day": Comparison(8, 0.5, 0.75, 0.875, {"lion": CLASS})},
                              {"CONV_2D": 4}, 0),
    operating_points={name: {"day": POINT, "night": POINT} for name in ("lion", "tiger")},
    metrics={"day": Metrics(8, 0.5, 1.0, 0.25, 0.125, {"lion": CLASS, "tiger": CLASS})},
    provenance=Provenance("train fit x", "2026-05-01T06:00:00+00:00", {"keras": "3"}, "x", {"train": 9}, "v2", "none",
                          1, settings={"dropout": 0.2}, parent={"name": "w 2"}),
    verified=True, files={},
)
