"""How a conversion is talked of: names for schemes and lightings, numbers with their units."""

from __future__ import annotations

from collections.abc import Mapping

from models.manifest import Comparison

TITLES = {"day": "as taken", "night": "in infrared grey"}
LABELS = {"none": "float32", "int8": "int8", "int16x8": "int16x8", "dynamic": "dynamic", "float16": "float16"}
"""By scheme, how the converted network is called beside `float`, its parent."""
STORED = {
    "none": "Weights and activations are 32-bit floating-point numbers",
    "int8": "Weights (by channel) and activations are 8-bit integers",
    "int16x8": "Weights (by channel) are 8-bit integers, activations 16-bit integers",
    "dynamic": "Weights are 8-bit integers; activations are floating-point numbers, some made integers as it runs",
    "float16": "Weights are 16-bit floating-point numbers, activations 32-bit ones",
}

NO_CLASS = "unlabelled"
"""How calibration pictures of no known class are counted."""
MET = {True: "met", False: "missed", None: "cannot tell"}
"""By `Gate.met`."""


def change(found: Comparison) -> str:
    """What became of the accuracy, in points: negative where photos were lost."""
    return f"{(found.accuracy - found.float_accuracy) * 100:+.1f}"


def interval(found: Comparison) -> str:
    """Between which changes, in points, the true one lies at 95 %; `-` where that is not known."""
    if found.drop_low is None or found.drop_high is None:
        return "-"
    return f"{-found.drop_high * 100:+.1f} to {-found.drop_low * 100:+.1f}"


def share(value: float | None) -> str:
    """A share as a percentage; `-` for None."""
    return "-" if value is None else f"{value:.1%}"


def counts(found: Mapping[str, int]) -> str:
    """Kinds and how many of each, as `CONV_2D 35, ADD 11`; `nothing` where there are none."""
    return ", ".join(f"{kind} {count}" for kind, count in found.items()) or "nothing"


def photos(count: int) -> str:
    """A number of photos, as `1 photo`."""
    return f"{count} photo{'' if count == 1 else 's'}"


def megabytes(size: int | None) -> str:
    """A size in megabytes; `?` for None."""
    return "?" if size is None else f"{size / 1e6:.2f} MB"
