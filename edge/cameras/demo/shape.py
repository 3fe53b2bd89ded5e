"""Round shapes seen from the side: parts that grow together softly, with a height towards the viewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cameras.demo.brush import Field

SCALE = 250.0
"""Pixels to a shoulder height, the unit of every length here; x points ahead, y up from the ground, z to the viewer."""

LEFT, RIGHT, BOTTOM, TOP = -1.28, 1.26, -0.08, 1.16
SIZE = (round((RIGHT - LEFT) * SCALE), round((TOP - BOTTOM) * SCALE))
"""Width and height in pixels of the canvas that holds the whole animal."""

Window = tuple[slice, slice]

_SOFT = 80.0


class Canvas:
    """What has been shaped so far: the nearest surface wins, softly, so that parts grow together."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        height, width = shape
        self.total = np.full((height, width), 1e-9, np.float32)
        self.color = np.zeros((height, width, 3), np.float32)
        self.cover = np.zeros((height, width), np.float32)

    def add(self, where: Window, edge: Field, height: Field, color: Field) -> None:
        """Add a part: `edge` is the distance to its outline (inside < 0), `height` towards the viewer."""
        cover = np.clip(0.5 - edge * SCALE / 1.6, 0, 1)
        weight = np.exp(np.float32(_SOFT) * height) * cover
        self.total[where] += weight
        self.color[where] += weight[..., None] * color
        np.maximum(self.cover[where], cover, out=self.cover[where])

    def height(self) -> Field:
        """The surface towards the viewer, in units."""
        return np.log(self.total) / np.float32(_SOFT)


@lru_cache(maxsize=1)
def grid() -> tuple[Field, Field]:
    x = (LEFT + (np.arange(SIZE[0]) + 0.5) / SCALE).astype(np.float32)
    y = (TOP - (np.arange(SIZE[1]) + 0.5) / SCALE).astype(np.float32)
    across, up = np.meshgrid(x, y)
    return across, up


def curve(joints: Sequence[tuple[float, float, float]], pieces: int) -> NDArray[np.float64]:
    """A smooth line (Catmull-Rom) through the joints (x, y, radius), `pieces` steps between two."""
    points = np.array([joints[0], *joints, joints[-1]])
    steps = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * steps + (2 * a - 5 * b + 4 * c - d) * steps**2 + (3 * b - a - 3 * c + d) * steps**3)
        for a, b, c, d in zip(points, points[1:], points[2:], points[3:], strict=False)
    ]
    return np.concatenate([*parts, points[-1:]])


def _window(low: NDArray[np.floating[Any]], high: NDArray[np.floating[Any]]) -> Window:
    rows = slice(max(0, int((TOP - high[1]) * SCALE) - 2), max(0, min(SIZE[1], int((TOP - low[1]) * SCALE) + 3)))
    return rows, slice(max(0, int((low[0] - LEFT) * SCALE) - 2), min(SIZE[0], int((high[0] - LEFT) * SCALE) + 3))


def limb(line: NDArray[np.float64], lateral: float, flat: float) -> tuple[Window, Field, Field, Field, Field]:
    """A tube along `line` (n, 3): its window, distance to the outline, height, and coordinates u 0-1 and v -1-1."""
    where = _window((line[:, :2] - line[:, 2:]).min(0), (line[:, :2] + line[:, 2:]).max(0))
    xs, ys = grid()
    x, y = xs[where], ys[where]
    best = np.full(x.shape, 9, np.float32)
    radius, u, v = np.ones_like(best), np.zeros_like(best), np.zeros_like(best)
    for k, (a, b) in enumerate(zip(line.astype(np.float32), line[1:].astype(np.float32), strict=False)):
        dx, dy = b[0] - a[0], b[1] - a[1]
        px, py = x - a[0], y - a[1]
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy + np.float32(1e-9)), 0, 1)
        r = a[2] + t * (b[2] - a[2])
        edge = np.hypot(px - t * dx, py - t * dy) - r
        near = edge < best
        np.copyto(best, edge, where=near)
        np.copyto(radius, r, where=near)
        np.copyto(u, (k + t) / np.float32(len(line) - 1), where=near)
        np.copyto(v, (py * dx - px * dy) / np.float32(math.hypot(dx, dy) + 1e-6) / r, where=near)
    share = np.clip(1 + best / radius, 0, 1)
    height = np.float32(lateral) + np.float32(flat) * radius * np.sqrt(np.clip(1 - share * share, 0, 1))
    return where, best, height, u, v


def ball(
    center: NDArray[np.float32], radii: tuple[float, float, float], turn: NDArray[np.float32]
) -> tuple[Window, Field, Field]:
    """An ellipsoid at `center` (3,) whose axes are the columns of `turn` (3, 3): window, outline distance, height."""
    spread = (turn * np.square(np.array(radii, np.float32))) @ turn.T
    reach = np.sqrt(np.diag(spread))[:2]
    where = _window(center[:2] - reach, center[:2] + reach)
    xs, ys = grid()
    x, y = xs[where] - center[0], ys[where] - center[1]
    flat = np.linalg.inv(spread[:2, :2])
    inner = flat[0, 0] * x * x + 2 * flat[0, 1] * x * y + flat[1, 1] * y * y
    slope = spread[2, :2] @ flat
    depth = math.sqrt(max(1e-9, float(spread[2, 2] - slope @ spread[:2, 2])))
    size = math.sqrt(float(reach[0] * reach[1]))
    edge = (np.sqrt(inner) - 1) * np.float32(size)
    height = center[2] + slope[0] * x + slope[1] * y + np.float32(depth) * np.sqrt(np.clip(1 - inner, 0, 1))
    return where, edge.astype(np.float32), height.astype(np.float32)
