"""What a bundle says of itself: the fields of `manifest.json`, typed and checked."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from models.errors import BundleError

SCHEMA_VERSION = 1
Lighting = Literal["day", "night"]
LIGHTINGS: tuple[Lighting, ...] = ("day", "night")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network takes: (1, size, size, 3), raw 0-255, scaled inside the graph.

    `resize`: `stretch` = the box is stretched to the square, as `models.preprocess.prepare` does it.
    """

    size: int
    order: Literal["RGB"] = "RGB"
    dtype: Literal["uint8", "int8"] = "uint8"
    resize: Literal["stretch"] = "stretch"


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What the network gives: (1, classes) logits; `models` applies softmax and temperature."""

    classes: int
    dtype: Literal["float32", "uint8", "int8"] = "float32"
    kind: Literal["logits"] = "logits"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """From which probability on a species counts as recognised, and what that gave on `n` validation photos of it.

    By `day` only photos count that are not infrared-grey as taken, unless the species has no others. With an `n` of 0
    nothing was measured.
    """

    threshold: float
    precision: float
    recall: float
    n: int


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Precision, recall and F1 of one class over `n` photos of it; a share of no photos is 0."""

    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What storing the numbers otherwise changed, on the same `n` test photos; shares 0-1.

    `agreement`: of the photos, those with the same answer before and after. `float_per_class` is the parent's, measured
    again beside the converted model, whose own stands in the manifest's `metrics`.
    """

    n: int
    float_accuracy: float
    accuracy: float
    agreement: float
    float_per_class: dict[str, ClassMetrics]


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the numbers are stored, and what storing them so cost.

    `calibration` counts the pictures by class and lighting. `compared` is by lighting, empty where nothing was
    compared. `operators` counts the network's operators by type; `float_operators` of them touch a float tensor.
    """

    scheme: Literal["none", "int8"] = "none"
    calibration: dict[str, dict[str, int]] = field(default_factory=dict)
    compared: dict[str, Comparison] = field(default_factory=dict)
    operators: dict[str, int] = field(default_factory=dict)
    float_operators: int | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well the model does on `n` photos that it never saw; shares 0-1."""

    n: int
    accuracy: float
    top3: float
    macro_f1: float
    calibration_error: float
    per_class: dict[str, ClassMetrics]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the model came from: enough to make it again."""

    command: str
    created: str
    versions: dict[str, str]
    data: str
    photos: dict[str, int]
    """Photos per split."""
    backbone: str
    weights: str
    seed: int
    left_out: int = 0
    """Photos that could not be read."""
    excluded: int = 0
    """Photos that `--exclude` named."""
    settings: dict[str, Any] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    """Of the bundle this one was converted from: its name, version and path, its manifest's sha256, and how it came
    about; empty where there is none."""


def digest(fields: Mapping[str, Any]) -> str:
    """The sha256 of a manifest's fields (all but `sha256`), however its JSON is laid out."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of `manifest.json` but its own digest. `files` holds the sha256 of every other file of the bundle."""

    name: str
    version: str
    input: InputSpec
    output: OutputSpec
    temperature: float
    quantization: Quantization
    operating_points: dict[str, dict[str, OperatingPoint]]
    """By class name, then by lighting (`day`, `night`)."""
    metrics: dict[str, Metrics]
    """By lighting: `day` on all test photos as taken, be they grey already; `night` on grey versions of them."""
    provenance: Provenance
    verified: bool
    files: dict[str, str]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The text of `manifest.json`: keys sorted, numbers to six digits, and `sha256`, the digest of all that."""
        fields = _rounded(dataclasses.asdict(self))
        return json.dumps({**fields, "sha256": digest(fields)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read `manifest.json`.

        Raises:
            BundleError: not JSON, another schema version, another digest than the one it states, or a field missing,
                unknown or of the wrong type.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise BundleError(f"manifest.json: expected JSON, found {error}; copy the bundle again") from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise BundleError(f"manifest.json: expected schema_version {SCHEMA_VERSION}, found {version}; "
                              f"use the edge-watch release that wrote the bundle, or convert it again")
        stated, expected = raw.pop("sha256", None), digest(raw)
        if stated != expected:
            raise BundleError(f"manifest.json: expected sha256 {expected[:12]}, found {str(stated)[:12]}; "
                              f"the bundle is damaged or was edited, copy it again")
        try:
            found = cls(**{
                **raw,
                "input": InputSpec(**raw["input"]),
                "output": OutputSpec(**raw["output"]),
                "quantization": _quantization(raw["quantization"]),
                "operating_points": {
                    name: _each(points, OperatingPoint) for name, points in raw["operating_points"].items()
                },
                "metrics": {
                    lighting: Metrics(**{**measured, "per_class": _each(measured["per_class"], ClassMetrics)})
                    for lighting, measured in raw["metrics"].items()
                },
                "provenance": Provenance(**raw["provenance"]),
            })
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"manifest.json: expected the fields of schema {SCHEMA_VERSION}, found a difference: "
                              f"{error}; copy the bundle again") from error
        wrong = _misfit(found, cls)
        if wrong is None and (found.temperature <= 0 or found.input.size <= 0):
            wrong = "temperature and input size must be above 0"
        if wrong is not None:
            raise BundleError(f"manifest.json: expected the types of schema {SCHEMA_VERSION}, found {wrong}; "
                              f"copy the bundle again")
        return found


def _misfit(value: Any, kind: Any, name: str = "") -> str | None:
    """The first value within `value` that is not of the type `kind`, as `field = value`; None when all are."""
    inner: list[tuple[Any, Any, str]] = []
    if dataclasses.is_dataclass(kind):
        fits = type(value) is kind
        inner = [(getattr(value, key), hint, key) for key, hint in _hints(kind).items()] if fits else []
    elif get_origin(kind) is dict:
        fits = isinstance(value, dict)
        inner = [(item, get_args(kind)[1], f"{name}.{key}") for key, item in value.items()] if fits else []
    elif get_origin(kind) is Literal:
        fits = value in get_args(kind)
    elif get_origin(kind) is UnionType:
        fits = any(_misfit(value, choice) is None for choice in get_args(kind))
    elif kind is float:
        fits = type(value) in (int, float) and math.isfinite(value)
    else:
        fits = kind is Any or type(value) is kind
    if not fits:
        return f"{name} = {value!r}"[:120]
    return next((wrong for item, hint, key in inner if (wrong := _misfit(item, hint, key)) is not None), None)


_hints: Callable[[Any], dict[str, Any]] = functools.cache(get_type_hints)


def _quantization(raw: Mapping[str, Any]) -> Quantization:
    compared = {
        lighting: Comparison(**{**found, "float_per_class": _each(found["float_per_class"], ClassMetrics)})
        for lighting, found in raw["compared"].items()
    }
    return Quantization(**{**raw, "compared": compared})


def _each(raw: Mapping[str, Mapping[str, Any]], kind: type[T]) -> dict[str, T]:
    return {key: kind(**values) for key, values in raw.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
