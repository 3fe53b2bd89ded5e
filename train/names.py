"""The backbones' names, known without importing TensorFlow."""

from __future__ import annotations

import re

from models.errors import UsageError

FAMILIES = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_small_minimalistic", "mobilenet_v3_large",
    "mobilenet_v3_large_minimalistic", "efficientnet_b0",
)
NARROW = tuple(name for name in FAMILIES if name != "efficientnet_b0")
"""Those that can be made narrower or wider: `mobilenet_v2_0.35` has 0.35 times the channels."""


def parse(name: str) -> tuple[str, float]:
    """The family and the width of a backbone: `mobilenet_v2_0.35` is (`mobilenet_v2`, 0.35).

    Raises:
        UsageError: no such family, or a width that it does not have.
    """
    found = re.fullmatch(r"(.+?)(?:_(\d+(?:\.\d+)?))?", name)
    family, width = (found[1], found[2]) if found else (name, None)
    if family not in FAMILIES or (width is not None and (family not in NARROW or not 0 < float(width) <= 2)):
        raise UsageError(f"--backbone: expected {', '.join(FAMILIES)}, found {name}; all but efficientnet_b0 also take "
                         f"a width, as mobilenet_v2_0.35")
    return family, float(width or 1.0)
