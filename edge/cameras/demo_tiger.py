"""A walking tiger, shaped from round limbs, lit, and striped: one picture for each pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.demo_coat import Field, bars, fur, noise, ragged, smooth, spindle

STRIDE = 0.78
"""How far one cycle of the walk carries the body."""

_DUTY = 0.64
_SOFT = 80.0

# Trunk and neck from the rump: x, height of the axis, vertical radius, half the width across.
_TRUNK = np.array([
    (-0.730, 0.735, 0.002, 0.00), (-0.722, 0.735, 0.060, 0.03), (-0.690, 0.730, 0.125, 0.07),
    (-0.620, 0.722, 0.180, 0.11), (-0.500, 0.715, 0.215, 0.14), (-0.360, 0.705, 0.212, 0.145),
    (-0.200, 0.690, 0.207, 0.15), (0.000, 0.676, 0.214, 0.155), (0.180, 0.672, 0.232, 0.16),
    (0.340, 0.682, 0.244, 0.155), (0.470, 0.705, 0.235, 0.14), (0.570, 0.735, 0.205, 0.12),
    (0.640, 0.755, 0.150, 0.08), (0.690, 0.765, 0.090, 0.04), (0.720, 0.77, 0.002, 0.0),
    (0.800, 0.825, 0.15, 0.0), (1.000, 0.84, 0.16, 0.0),
])  # fmt: skip
_TRUNK_END = 0.72

_INK = np.array([0.055, 0.065, 0.085], np.float32)
_CREAM = np.array([0.70, 0.84, 0.93], np.float32)
_RUST = np.array([0.075, 0.275, 0.60], np.float32)
_GOLD = np.array([0.20, 0.48, 0.86], np.float32)


@dataclass(frozen=True)
class Pose:
    """A moment of the movement.

    `phase`: cycles of the walk so far. `pace`: 0 standing to 1 walking. `yaw`: the head's turn towards the viewer in
    radians. `nod`: how far the head is raised. `swing`: the tail's, -1 to 1.
    """

    phase: float
    pace: float
    yaw: float
    nod: float
    swing: float


@lru_cache(maxsize=1)
def _hairs() -> Field:
    width, height = SIZE
    fine = fur(height, width, 7, 0.45, 3) + 0.6 * fur(height, width, 15, 0.3, 4)
    return (fine / 1.3).astype(np.float32)


@lru_cache(maxsize=1)
def _coat() -> tuple[Field, Field, Field]:
    """Trunk: distance to the outline, height towards the viewer, and color with stripes (also for neck and hips)."""
    x, y = grid()
    width, height = SIZE
    axis, radius, depth = (np.interp(x[0], _TRUNK[:, 0], _TRUNK[:, k]).astype(np.float32) for k in (1, 2, 3))
    kernel = (1, 41)
    axis = cv2.GaussianBlur(axis[None], kernel[::-1], 9)[0]
    plump = cv2.GaussianBlur(radius[None], kernel[::-1], 7)[0]
    inside = (x[0] > _TRUNK[0, 0]) & (x[0] < _TRUNK_END)
    shown = np.where(inside, np.minimum(plump, radius * 1.3 + 0.01), np.float32(0.001))
    v = (y - axis) / shown
    edge = (np.abs(v) - 1) * shown * np.float32(0.9)
    level = depth * np.sqrt(np.clip(1 - v * v, 0, 1))
    stripes = _flank(axis, plump)
    turn = (y - axis) / np.maximum(plump, 0.12) + 0.13 * noise(height, width, 22, 5) + 0.10 * _hairs()
    belly = 1 - smooth(-0.78, -0.30, turn + 0.28 * np.clip(-x - 0.2, 0, 0.3) - 0.35 * smooth(0.45, 0.72, x))
    top = smooth(-0.1, 0.95, turn)
    color = _GOLD + (_RUST - _GOLD) * top[..., None]
    color = color + (_CREAM - color) * belly[..., None]
    color = color * (1 + 0.10 * _hairs() + 0.07 * noise(height, width, 40, 6))[..., None]
    color = color + (_INK - color) * np.clip(stripes * (0.93 + 0.10 * _hairs()), 0, 1)[..., None]
    return edge.astype(np.float32), level.astype(np.float32), color.astype(np.float32)


def _flank(axis: Field, radius: Field) -> Field:
    """The stripes of trunk and neck, 0-1 over the canvas."""
    mask = np.zeros((SIZE[1] * 2, SIZE[0] * 2), np.uint8)
    random = np.random.default_rng(23)
    columns = LEFT + (np.arange(SIZE[0]) + 0.5) / SCALE

    def draw(x: float, start: float, stop: float, slant: float, width: float, hollow: float = 0.0) -> None:
        turn = np.linspace(start, stop, 30)
        waver = random.normal(0, 0.014) * np.sin(turn * random.uniform(1.5, 3.5) + random.uniform(0, 6))
        xs = x + slant * (1 - np.sin(turn)) + waver
        ys = np.interp(xs, columns, axis) + np.interp(xs, columns, radius) * np.sin(turn) * 1.03
        spindle(mask, np.stack([(xs - LEFT) * SCALE * 2, (TOP - ys) * SCALE * 2], 1), width * SCALE * 2, hollow)

    x = -0.71
    while x < 0.90:
        calm = 0.75 if 0.25 < x < 0.52 else 1.0
        slant = 0.04 * random.normal() - 0.06 * x + 0.01
        deep = random.uniform(-0.95, 0.05) if random.random() < 0.7 else random.uniform(0.1, 0.5)
        draw(x, 1.75, deep * calm, slant, random.uniform(0.0105, 0.0175) * calm, 0.55 if random.random() < 0.45 else 0)
        if random.random() < 0.8:
            draw(x + random.uniform(0.02, 0.05), -1.3, random.uniform(-0.2, 0.3), -0.02, random.uniform(0.007, 0.012))
        if random.random() < 0.6:
            middle = random.uniform(-0.1, 0.6)
            draw(x + 0.034, middle + 0.4, middle - 0.5, slant, random.uniform(0.005, 0.008))
        x += random.uniform(0.050, 0.074)
    return ragged(mask, SIZE, 31)


