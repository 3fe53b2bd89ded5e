"""What a bundle says of itself: the fields of `manifest.json`, typed and checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.errors import BundleError
from models.typed import typed

SCHEMA_VERSION = 2
READABLE = (1, 2)
"""Schema 2 added fields, all with a default; a file of schema 1 is read as one of schema 2 without them."""
Scheme = Literal["none", "int8", "int16x8", "dynamic", "float16"]
Target = Literal["xnnpack", "any"]
Lighting = Literal["day", "night"]
LIGHTINGS: tuple[Lighting, ...] = ("day", "night")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network takes: (1, size, size, 3), raw 0-255 whatever the dtype, scaled inside the graph.

    `resize`: `stretch` = the box is stretched to the square, as `models.preprocess.prepare` does it.
    """

    size: int
    order: Literal["RGB"] = "RGB"
    dtype: Literal["uint8", "int8", "float32"] = "uint8"
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
    """Precision, recall and F1 of one class over `n` photos of it; a share of no photos is 0.

    `named`: photos that were given its name, right or wrong; None in files of schema 1.
    """

    precision: float
    recall: float
    f1: float
    n: int
    named: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A photo with another answer after the conversion: its path relative to the data folder, and class names."""

    photo: str
    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What storing the numbers otherwise changed, on the same `n` test photos; shares 0-1.

    `agreement`: of the photos, those with the same answer before and after. `float_per_class` is the parent's, measured
    again beside the converted model, whose own stands in the manifest's `metrics`.

    Since schema 2: the expected calibration error of both, each with its own temperature; `drop`, the share of photos
    right before less the share right after, between `drop_low` and `drop_high` at 95 % (`models.evaluation.paired`);
    and the photos that `changed` their answer, right or wrong.
    """

    n: int
    float_accuracy: float
    accuracy: float
    agreement: float
    float_per_class: dict[str, ClassMetrics]
    float_calibration_error: float | None = None
    calibration_error: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    changed: tuple[Changed, ...] = ()


@dataclass(frozen=True, slots=True)
class Speed:
    """Raw invoke of the network and of its own float32 version, in one interleaved run on one thread.

    `float_ms` and `ms` are medians of `runs` invokes each, in milliseconds on the machine that converted. `ratio`, of
    the network's time to its float's, is the median over the rounds of that run: it holds where absolute times do not.
    `vnni`: whether that machine, an x86-64 one, has the instructions that XNNPACK's int8 for it is made for; None
    where that is not known, and for others.
    """

    float_ms: float
    ms: float
    ratio: float
    runs: int
    vnni: bool | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """A demand on a conversion: what was found and what is allowed, in words; `met` is None where it cannot be told."""

    name: str
    met: bool | None
    found: str
    allowed: str


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the numbers are stored, and what storing them so cost.

    `calibration` counts the pictures of the calibration set by class and lighting; `recipe` says what was done with how
    many. `compared` is by lighting, empty where nothing was compared. `operators` counts the network's operators by
    type; `float_operators` of them touch a float tensor. A .tflite file of plain floats has the scheme `none` too: what
    tells a trained bundle is its files.
    """

    scheme: Scheme = "none"
    calibration: dict[str, dict[str, int]] = field(default_factory=dict)
    compared: dict[str, Comparison] = field(default_factory=dict)
    operators: dict[str, int] = field(default_factory=dict)
    float_operators: int | None = None
    float_tensors: int | None = None
    """Float tensors that operators read or write, counted at each operator."""
    target: Target = "any"
    """What it was made for: `xnnpack` (LiteRT on a CPU) or any runtime."""
    partitions: int | None = None
    """Pieces that XNNPACK runs; None where they could not be counted."""
    outside: dict[str, int] = field(default_factory=dict)
    """Operators by type that XNNPACK leaves to the runtime's own kernels."""
    size_bytes: int | None = None
    float_bytes: int | None = None
    """Of the same network as a float32 .tflite file."""
    speed: Speed | None = None
    gates: tuple[Gate, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    """What the conversion did, step by step."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each stage of the conversion took."""

    @property
    def same_everywhere(self) -> bool:
        """Whether all devices compute the same bits with it: integers, and XNNPACK runs the network in one piece.

        Of schema 1 there are only int8 bundles, whose partitions were not counted.
        """
        return self.scheme == "int8" and self.partitions in (None, 1)


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
        if version not in READABLE:
            raise BundleError(
                f"manifest.json: expected schema_version {' or '.join(map(str, READABLE))}, found "
                f"{version}; use the edge-watch release that wrote the bundle, or convert it again"
            )
        stated, expected = raw.pop("sha256", None), digest(raw)
        if stated != expected:
            raise BundleError(
                f"manifest.json: expected sha256 {expected[:12]}, found {str(stated)[:12]}; "
                f"the bundle is damaged or was edited, copy it again"
            )
        try:
            found: Manifest = typed(cls, {**raw, "schema_version": SCHEMA_VERSION})
        except (KeyError, TypeError) as error:
            raise BundleError(
                f"manifest.json: expected the fields of schema {version}, found a difference: "
                f"{error}; copy the bundle again"
            ) from error
        except ValueError as error:
            raise BundleError(
                f"manifest.json: expected the types of schema {version}, found {error}; copy the bundle again"
            ) from error
        if found.temperature <= 0 or found.input.size <= 0:
            raise BundleError(
                f"manifest.json: expected a temperature and an input size above 0, found "
                f"{found.temperature} and {found.input.size}; copy the bundle again"
            )
        return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
