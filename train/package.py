"""From a trained classifier to a float bundle: what it is worth, what `convert` needs, and where it came from."""

from __future__ import annotations

import datetime
import io
import platform
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.evaluation import calibrate
from models.labels import LabelMap
from models.manifest import (
    LIGHTINGS,
    InputSpec,
    Lighting,
    Manifest,
    OperatingPoint,
    OutputSpec,
    Provenance,
    Quantization,
)
from models.preprocess import infrared, is_infrared
from train.measure import Network, Pixels, logits
from train.report.numbers import LIGHTING_VIEWS, Report, grey_as_taken

GREY_SHARE = 0.3
"""Share of the calibration pictures that are infrared-grey: their activations reach elsewhere than colour's."""


def calibrated(
    network: Network, pixels: Pixels, val: NDArray[np.int64], truth: NDArray[np.int64], names: Sequence[str]
) -> tuple[float, dict[str, dict[str, OperatingPoint]]]:
    """Temperature and operating points from the validation photos.

    The temperature is fitted on all of them, as taken and in grey together: the daemon applies one for both.

    Args:
        network: the classifier.
        pixels: (n, size, size, 3) uint8 RGB.
        val: rows of the validation photos.
        truth: their class indexes.
        names: the classes' names, in order.
    """
    by_lighting = {str(lighting): logits(network, pixels, val, view) for lighting, view in LIGHTING_VIEWS.items()}
    return calibrate(by_lighting, truth, names, grey_as_taken(pixels, val))


def calibration(
    pixels: Pixels, truth: NDArray[np.int64], train: NDArray[np.int64], names: Sequence[str],
    total: int, seed: int,
) -> tuple[bytes, dict[str, dict[str, int]]]:
    """Class-balanced training pictures for `convert`, a share of them in infrared-grey.

    Returns:
        The content of `calibration.npz` (`images` (n, size, size, 3) uint8 RGB, `labels` (n,) int64, `lighting` (n,)
        `day` or `night`) and its counts per class and lighting.
    """
    draw = random.Random(seed)
    each = -(-total // len(names))
    images, labels, lighting = [], [], []
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(LIGHTINGS, 0))
    for index, name in enumerate(names):
        rows = [int(row) for row in train if truth[row] == index]
        drawn = draw.sample(rows, min(each, len(rows)))
        for place, row in enumerate(drawn):
            picture = pixels[row]
            turned = place < round(GREY_SHARE * len(drawn))
            images.append(infrared(picture) if turned else picture)
            light: Lighting = "night" if turned or is_infrared(picture) else "day"
            labels.append(index)
            lighting.append(light)
            counts[name][light] += 1
    content = _npz(images=np.stack(images), labels=np.array(labels, np.int64), lighting=np.array(lighting))
    return content, dict(counts)


def golden(network: Network, size: int) -> bytes:
    """The content of `golden.npz`: two drawn pictures (nobody's photo), in colour and in grey, and their logits."""
    generator = np.random.default_rng(0)
    across = np.linspace(0, 1, size)
    waves = np.zeros((size, size, 3))
    for strength in (90, 50, 30, 20):
        along, down, phase = generator.uniform(-8, 8, 3), generator.uniform(-8, 8, 3), generator.uniform(0, 6.3, 3)
        waves += strength * np.sin(2 * np.pi * (across[:, None, None] * down + across[None, :, None] * along) + phase)
    colour = np.clip(waves + 120, 0, 255).astype(np.uint8)
    inputs = np.stack([colour, infrared(colour)])
    return _npz(inputs=inputs, outputs=network(inputs), runtime=np.array(f"keras {keras.__version__}"))


def _npz(**arrays: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def manifest(
    name: str, number: str, size: int, labels: LabelMap, report: Report, counts: dict[str, dict[str, int]],
    provenance: Provenance,
) -> Manifest:
    """The manifest of a float bundle; `files` is filled in when it is written.

    Args:
        name: the model's.
        number: its version.
        size: pixels a side of the input.
        labels: the classes.
        report: what was measured.
        counts: calibration pictures by class and lighting.
        provenance: where it came from.
    """
    subject = report.subject
    return Manifest(
        name=name, version=number, input=InputSpec(size), output=OutputSpec(len(labels)),
        temperature=subject.temperature, quantization=Quantization(calibration=counts),
        operating_points={key: dict(points) for key, points in subject.points.items()},
        metrics={lighting: found.metrics for lighting, found in report.results.items()}, provenance=provenance,
        verified=True, files={},
    )


def versions() -> dict[str, str]:
    """The versions that the result depends on."""
    modules = {"tensorflow": tf, "keras": keras, "numpy": np, "opencv": cv2}
    return {"python": platform.python_version()} | {key: module.__version__ for key, module in modules.items()}


def now() -> str:
    """The time, to the second, with its zone."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def save_keras(model: keras.Model, folder: Path) -> Path:
    """Write `model.keras` into a folder."""
    path = folder / "model.keras"
    # A new model around the same layers: without the optimizer, which is twice as large as the weights.
    keras.Model(model.input, model.output, name=model.name).save(path)
    return path
