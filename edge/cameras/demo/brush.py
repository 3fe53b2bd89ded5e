"""Brushes of the demo scene: noise, fur, and the stripes of a tiger's flank and limbs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""(height, width) or (height, width, 3), float32."""


def noise(height: int, width: int, cell: float, seed: int) -> Field:
    """Smooth noise, (height, width) float32, about -1 to 1, with bumps of about `cell` pixels."""
    small = np.random.default_rng(seed).standard_normal((int(height / cell) + 3, int(width / cell) + 3))
    grown = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(grown / 1.4, -1.6, 1.6), np.float32)


def fur(height: int, width: int, length: int, slope: float, seed: int) -> Field:
    """Short streaks that lie along one direction (`slope` in radians), (height, width) float32, about -1 to 1."""
    white = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    kernel = np.zeros((length, length), np.float32)
    middle, reach = length // 2, length / 2
    step = np.array([math.cos(slope), -math.sin(slope)]) * reach
    start, stop = np.round(16 * (middle - step)).astype(int), np.round(16 * (middle + step)).astype(int)
    cv2.line(kernel, start.tolist(), stop.tolist(), 1.0, 1, cv2.LINE_AA, 4)
    streaks = cv2.filter2D(white, -1, kernel)
    return np.asarray(streaks / streaks.std() / 2, np.float32)


def smooth(low: float, high: float, value: Field) -> Field:
    """0 at or below `low`, 1 at or above `high`, and a soft step between."""
    share = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def spindle(mask: NDArray[np.uint8], path: NDArray[np.float64], width: float, hollow: float = 0.0) -> None:
    """Draw one stripe along `path` (n, 2) pixels: it swells from a point and tapers out, and may open in its middle."""
    along = np.linspace(0, 1, len(path))
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / (np.hypot(*tangent.T)[:, None] + 1e-6)
    body = width * np.sin(np.pi * along**0.7) ** 0.8
    gap = body * hollow * np.clip(np.sin(np.pi * (along - 0.15) / 0.7), 0, 1)
    for half, tone in ((body, 255), (gap, 0)):
        if half.max() > 0.4:
            edge = np.concatenate([path + normal * half[:, None], (path - normal * half[:, None])[::-1]])
            cv2.fillPoly(mask, [np.round(edge * 16).astype(np.int32)], tone, cv2.LINE_AA, 4)


def ragged(mask: NDArray[np.uint8], size: tuple[int, int], seed: int) -> Field:
    """The mask at `size` (width, height) as 0-1, with an edge of single hairs instead of a cut."""
    width, height = size
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    shift = 0.9 * fur(height, width, 9, 0.4, seed)
    moved = cv2.remap(small, x + shift, y + 0.6 * shift, cv2.INTER_LINEAR)
    return cv2.GaussianBlur(moved, (0, 0), 0.6).astype(np.float32)


def bars(specs: Sequence[tuple[float, float, float, float, float]], size: tuple[int, int], seed: int) -> Field:
    """Stripes across a limb: a mask 0-1 over (u along, v across) of `size` (width, height).

    `specs`: u, v where it starts, v where it ends, thickness in u, slant in u; v is -1 at the hind edge, 1 in front.
    """
    width, height = size[0] * 2, size[1] * 2
    mask = np.zeros((height, width), np.uint8)
    random = np.random.default_rng(seed)
    for u, start, stop, thick, slant in specs:
        v = np.linspace(start, stop, 20)
        bent = u + slant * (v - start) + random.normal(0, 0.012) * np.sin(3 * v + random.uniform(0, 6))
        path = np.stack([bent * width, (v + 1) / 2 * height], 1)
        spindle(mask, path, thick * width)
    return ragged(mask, size, seed + 1)
