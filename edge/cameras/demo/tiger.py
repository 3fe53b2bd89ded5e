"""A walking tiger, shaped from round limbs, lit, and striped: one picture for each pose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from edge.cameras.demo.brush import Field, bars, fur, noise, ragged, smooth, spindle
from edge.cameras.demo.gait import fore_joints, hind_joints, step
from edge.cameras.demo.head import CREAM, GOLD, INK, RUST, add_head, whiskers
from edge.cameras.demo.shape import LEFT, SCALE, SIZE, TOP, Canvas, curve, grid, limb

_FUZZ = 0.0018

# Trunk and neck from the rump: x, height of the axis, vertical radius, half the width across.
_TRUNK = np.array([
    (-0.725, 0.725, 0.002, 0.00), (-0.717, 0.725, 0.060, 0.03), (-0.690, 0.722, 0.115, 0.07),
    (-0.620, 0.722, 0.172, 0.11), (-0.500, 0.718, 0.212, 0.14), (-0.360, 0.714, 0.208, 0.145),
    (-0.200, 0.704, 0.194, 0.15), (0.000, 0.686, 0.202, 0.155), (0.180, 0.672, 0.226, 0.16),
    (0.340, 0.676, 0.250, 0.155), (0.470, 0.695, 0.250, 0.14), (0.570, 0.720, 0.218, 0.12),
    (0.640, 0.735, 0.165, 0.08), (0.690, 0.745, 0.090, 0.04), (0.720, 0.75, 0.002, 0.0), (0.800, 0.790, 0.16, 0.0),
    (1.000, 0.80, 0.17, 0.0),
])  # fmt: skip
_TRUNK_END = 0.72
# Stripes that run over haunch and shoulder, as points.
_HAUNCH = (
    ((-0.69, 0.60), (-0.60, 0.56), (-0.50, 0.56)), ((-0.68, 0.53), (-0.58, 0.48), (-0.47, 0.49)),
    ((-0.67, 0.46), (-0.57, 0.41), (-0.46, 0.43)), ((-0.30, 0.50), (-0.37, 0.47), (-0.42, 0.49)),
    ((-0.29, 0.43), (-0.36, 0.40), (-0.43, 0.42)), ((-0.65, 0.39), (-0.56, 0.35), (-0.48, 0.36)),
    ((0.33, 0.54), (0.39, 0.50), (0.46, 0.51)), ((0.57, 0.50), (0.51, 0.47), (0.47, 0.48)),
    ((0.33, 0.46), (0.38, 0.43), (0.43, 0.44)),
)  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """A moment of the movement.

    `phase`: cycles of the walk so far. `pace`: 0 standing to 1 walking. `yaw`: the head's turn towards the viewer in
    radians. `nod`: how far the head is raised. `swing`: the tail's, -1 to 1.
    `lean`: how far the body has moved ahead over feet that stand.
    """

    phase: float
    pace: float
    yaw: float
    nod: float
    swing: float
    lean: float = 0.0


@lru_cache(maxsize=1)
def _hairs() -> Field:
    width, height = SIZE
    fine = fur(height, width, 7, 0.45, 3) + 0.6 * fur(height, width, 15, 0.3, 4)
    return (fine / 1.3).astype(np.float32)


@lru_cache(maxsize=1)
def _coat() -> tuple[Field, Field, Field, Field]:
    """The trunk's distance to the outline, height towards the viewer and color; the color of haunch and shoulder."""
    x, y = grid()
    width, height = SIZE
    axis, radius, depth = (np.interp(x[0], _TRUNK[:, 0], _TRUNK[:, k]).astype(np.float32) for k in (1, 2, 3))
    kernel = (1, 41)
    axis = cv2.GaussianBlur(axis[None], kernel[::-1], 9)[0]
    plump = cv2.GaussianBlur(radius[None], kernel[::-1], 7)[0]
    inside = (x[0] > _TRUNK[0, 0]) & (x[0] < _TRUNK_END)
    shown = np.where(inside, np.minimum(plump, radius * 1.3 + 0.01), np.float32(0.001))
    v = (y - axis) / shown
    edge = np.where(inside, (np.abs(v) - 1) * shown * np.float32(0.9), np.float32(9))
    level = depth * np.sqrt(np.clip(1 - v * v, 0, 1))
    stripes = _flank(axis, plump)
    turn = (
        np.clip((y - axis) / np.maximum(plump, 0.12), -0.95, 1.3) + 0.13 * noise(height, width, 22, 5) + 0.10 * _hairs()
    )
    belly = 1 - smooth(-0.92, -0.45, turn + 0.25 * smooth(0.30, 0.5, -x))
    top = smooth(-0.1, 0.95, turn)
    ground = 1 + 0.065 * _hairs() + 0.09 * noise(height, width, 40, 6)
    ink = np.clip(stripes * (0.93 + 0.10 * _hairs()), 0, 1)[..., None]
    warm = GOLD + (RUST - GOLD) * top[..., None]
    trunk, limbs = (tone * ground[..., None] for tone in (warm + (CREAM - warm) * belly[..., None], warm))
    trunk, limbs = (tone + (INK - tone) * ink for tone in (trunk, limbs))
    return edge.astype(np.float32), level.astype(np.float32), trunk.astype(np.float32), limbs.astype(np.float32)


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

    for points in _HAUNCH:
        path = curve([(*point, 0.0) for point in points], 12)[:, :2]
        spindle(mask, (path - (LEFT, TOP)) * (SCALE * 2, -SCALE * 2), random.uniform(0.007, 0.010) * SCALE * 2)
    x = -0.71
    while x < 0.84:
        calm = 0.75 if 0.25 < x < 0.52 else 1.0
        slant = 0.04 * random.normal() - 0.06 * x + 0.01
        deep = random.uniform(-0.95, 0.05) if random.random() < 0.7 else random.uniform(0.1, 0.5)
        width = random.uniform(0.0105, 0.0175) * calm
        draw(x, 1.75, deep * calm, slant, width, 0.55 if x < 0.6 and random.random() < 0.45 else 0)
        if random.random() < 0.8:
            draw(x + random.uniform(0.02, 0.05), -1.3, random.uniform(-0.2, 0.3), -0.02, random.uniform(0.007, 0.012))
        if random.random() < 0.6:
            middle = random.uniform(-0.1, 0.6)
            draw(x + 0.034, middle + 0.4, middle - 0.5, slant, random.uniform(0.005, 0.008))
        x += random.uniform(0.050, 0.074)
    return ragged(mask, SIZE, 31)


# Stripes across the legs: u along from hip to toe, v from hind edge (-1) to front (1), thickness, slant.
_FORE_BARS = (
    (0.34, -1.0, -0.1, 0.009, -0.03), (0.40, 1.0, 0.3, 0.009, -0.03), (0.47, 1.0, -0.3, 0.012, 0.02),
    (0.55, -1.0, -0.2, 0.012, -0.02), (0.60, 1.0, 0.2, 0.010, 0.03), (0.68, -1.0, 0.0, 0.010, 0.0),
)  # fmt: skip
_HIND_BARS = (
    (0.40, -1.0, 0.4, 0.009, 0.04), (0.47, 0.8, -0.5, 0.008, -0.02), (0.51, -1.0, 0.3, 0.012, 0.03),
    (0.58, 1.0, -0.6, 0.012, 0.0), (0.65, -1.0, 0.7, 0.011, 0.0), (0.73, 1.0, -0.5, 0.010, 0.0),
)  # fmt: skip


@lru_cache(maxsize=2)
def _leg_coat(hind: bool) -> Field:
    """A leg's color over (v across, u along), BGR 0-1."""
    width, height = 400, 96
    u, v = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    hairs = fur(height, width, 11, 0.0, 51) + 0.5 * noise(height, width, 12, 52)
    behind = 0.85 * smooth(0.35, 0.95, -v + 0.1 * hairs) * smooth(0.48, 0.62, u)
    pale = np.maximum(smooth(0.72, 0.98, u + 0.03 * hairs), behind)
    if hind:
        pale = np.maximum(pale, 0.8 * smooth(0.45, 0.95, v + 0.1 * hairs) * (1 - smooth(0.45, 0.6, u)))
    warm = GOLD + (RUST - GOLD) * (0.45 * (1 - smooth(0.1, 0.6, u)))[..., None]
    color = warm + (CREAM - warm) * pale[..., None]
    color = color * (1 + 0.07 * hairs)[..., None]
    ink = bars(_HIND_BARS if hind else _FORE_BARS, (width, height), 53 + hind)
    return np.asarray(color + (INK - color) * (ink * 0.93)[..., None], np.float32)


@lru_cache(maxsize=1)
def _tail_coat() -> Field:
    width, height = 400, 64
    u, v = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    hairs = fur(height, width, 11, 0.0, 61)
    warm = GOLD + (RUST - GOLD) * (0.7 - 0.5 * smooth(-0.3, 0.6, v))[..., None]
    pale = smooth(0.05, 0.8, v + 0.12 * hairs) * 0.75 + 0.2 * smooth(0.5, 0.9, u)
    color = warm + (CREAM - warm) * np.clip(pale, 0, 0.9)[..., None]
    rings = np.zeros((height, width), np.float32)
    for k, place in enumerate(np.linspace(0.10, 0.90, 11)):
        thick = 0.010 + 0.012 * place
        away = np.abs(u - place - 0.012 * np.sin(2.1 * v + k)) / thick
        rings = np.maximum(rings, 1 - smooth(0.6, 1.1, away + 0.15 * hairs))
    rings = np.maximum(rings, smooth(0.945, 0.965, u))
    color = color * (1 + 0.08 * hairs)[..., None]
    return np.asarray(color + (INK - color) * rings[..., None], np.float32)


def _sample(coat: Field, u: Field, v: Field) -> Field:
    height, width = coat.shape[:2]
    across, down = u * (width - 1), np.clip(v + 1, 0, 2) * ((height - 1) / 2)
    return np.asarray(cv2.remap(coat, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _leg(canvas: Canvas, pose: Pose, hind: bool, near: bool) -> None:
    # The order of a cat's walk: hind, fore on one side, then on the other, a quarter of the cycle apart.
    offset = {(True, True): 0.0, (False, True): 0.25, (True, False): 0.5, (False, False): 0.75}[hind, near]
    rest = {(True, True): -0.10, (False, True): 0.03, (True, False): 0.10, (False, False): -0.07}[hind, near]
    ahead, above, fold = step(pose.phase + offset, pose.pace, 0.08 if hind else 0.10, rest)
    ahead -= pose.lean
    joints = hind_joints(ahead, above, fold) if hind else fore_joints(ahead, above, fold, pose.pace)
    where, edge, height, u, v = limb(curve(joints, 3), 0.104 if near else -0.098, 0.55)
    color = _sample(_leg_coat(hind), u, v)
    if near:
        blend = (smooth(0.32, 0.46, u) if hind else smooth(0.28, 0.46, u))[..., None]
        color = _coat()[3][where] * (1 - blend) + color * blend
    else:
        color = color * np.array([0.52, 0.47, 0.44], np.float32)
    canvas.add(where, edge + _FUZZ * _hairs()[where] * (u < 0.8), height, color)


def _tail(canvas: Canvas, swing: float) -> None:
    joints = [
        (-0.60, 0.80, 0.07), (-0.69, 0.775, 0.062), (-0.755, 0.68, 0.052), (-0.80, 0.53, 0.045),
        (-0.845 - 0.02 * swing, 0.38, 0.042), (-0.905 - 0.04 * swing, 0.265, 0.040),
        (-0.985 - 0.06 * swing, 0.190 + 0.02 * swing, 0.039), (-1.075 - 0.06 * swing, 0.175 + 0.05 * swing, 0.037),
        (-1.140 - 0.04 * swing, 0.220 + 0.08 * swing, 0.027),
    ]  # fmt: skip
    where, edge, height, u, v = limb(curve(joints, 3), -0.04, 1.0)
    canvas.add(where, edge + _FUZZ * _hairs()[where], height, _sample(_tail_coat(), u, v))


def render(pose: Pose) -> Field:
    """The animal in one pose, looking to the right: (height, width, 4) float32, BGR 0-1 and how much it covers."""
    canvas = Canvas((SIZE[1], SIZE[0]))
    everywhere = slice(0, SIZE[1]), slice(0, SIZE[0])
    edge, level, color, _ = _coat()
    canvas.add(everywhere, edge + _FUZZ * _hairs(), level, color)
    _tail(canvas, pose.swing)
    for hind in (True, False):
        for near in (False, True):
            _leg(canvas, pose, hind, near)
    turned = math.sin(pose.yaw)
    center = np.array([0.93 - 0.05 * turned, 0.815 + pose.nod, 0.02 + 0.05 * turned], np.float32)
    throat, nape = (0.76, 0.77 + 0.5 * pose.nod, 0.178), (0.89, 0.80 + pose.nod, 0.13)
    neck = curve([(0.42, 0.715, 0.22), (0.60, 0.735, 0.208), throat, nape], 4)
    where, edge, level, _, _ = limb(neck, 0.0, 0.66)
    canvas.add(where, edge + _FUZZ * _hairs()[where], level, color[where])
    pitch = -0.16 + 0.10 * turned
    add_head(canvas, center, pose.yaw, pitch)
    picture = _light(canvas)
    whiskers(picture, center, pose.yaw, pitch)
    return picture


def _light(canvas: Canvas) -> Field:
    """Morning sun from ahead and above, sky from above, and what the grass throws back."""
    level = cv2.GaussianBlur(canvas.height(), (0, 0), 1.6)
    dx = np.clip(cv2.Sobel(level, cv2.CV_32F, 1, 0, scale=SCALE / 8), -1.7, 1.7)
    dy = np.clip(cv2.Sobel(level, cv2.CV_32F, 0, 1, scale=-SCALE / 8), -1.7, 1.7)
    fine = 0.07 * _hairs()
    length = 1 / np.sqrt(1 + dx * dx + dy * dy)
    nx, ny = (fine - dx) * length, (fine - dy) * length
    sun = np.clip(0.42 * nx + 0.66 * ny + 0.62 * length + 0.12, 0, 1.2)
    sky = 0.5 + 0.5 * ny
    rim = np.clip(1 - length * 1.25, 0, 1) ** 2 * np.clip(0.5 * nx + 0.8 * ny, 0, 1)
    albedo = canvas.color / canvas.total[..., None]
    light = (
        sun[..., None] * np.array([0.62, 0.80, 0.95], np.float32)
        + sky[..., None] * np.array([0.40, 0.36, 0.32], np.float32)
        + (1 - sky)[..., None] * np.array([0.19, 0.29, 0.30], np.float32)
    )
    shown = albedo * light + rim[..., None] * np.array([0.42, 0.60, 0.72], np.float32)
    return np.dstack([np.clip(shown, 0, 1), canvas.cover]).astype(np.float32)
