"""The backbones' names, known without importing TensorFlow."""

from __future__ import annotations

import re

from models.errors import UsageError

FAMILIES = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_small_minimalistic", "mobilenet_v3_large",
    "mobilenet_v3_large_minimalistic", "efficientnet_b0", "resnet50_v2", "inception_v3", "lenet", "shallownet",
    "minivgg",
)
NARROW = tuple(name for name in FAMILIES if name.startswith("mobilenet"))
"""Those that can be made narrower or wider: `mobilenet_v2_0.35` has 0.35 times the channels."""
FROM_SCRATCH = ("lenet", "shallownet", "minivgg")
"""Small ones of which there are no weights."""
LEAST_SIZE = {"inception_v3": 96}
"""Pixels a side that a network needs at least; the others make do with the least size of a recipe."""
FORMS = "the mobilenets also with a width, as mobilenet_v2_0.35, and any cut at an inner layer, as inception_v3@mixed5"


def parse(name: str) -> tuple[str, float, str]:
    """The family, the width and the layer of a backbone: `mobilenet_v2_0.35` is (`mobilenet_v2`, 0.35, ``).

    The layer is that behind which the network is cut, as `mixed5` in `inception_v3@mixed5`; only Keras knows which ones
    there are.

    Raises:
        UsageError: no such family, a width that it does not have, or no layer behind an @.
    """
    network, at, layer = name.partition("@")
    found = re.fullmatch(r"(.+?)(?:_(\d+(?:\.\d+)?))?", network)
    family, width = (found[1], found[2]) if found else (network, None)
    if (family not in FAMILIES or (at and not layer)
            or (width is not None and (family not in NARROW or not 0 < float(width) <= 2))):
        raise UsageError(f"--backbone: expected {', '.join(FAMILIES)}, found {name}; choose one of them, {FORMS}")
    return family, float(width or 1.0), layer
