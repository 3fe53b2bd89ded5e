"""The tiger's head: balls for skull, muzzle and ears, and a face painted once from the front and once from the side."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.demo.brush import Field, fur, noise, ragged, smooth, spindle
from edge.cameras.demo.shape import LEFT, SCALE, TOP, Canvas, ball, grid

INK = np.array([0.055, 0.065, 0.085], np.float32)
CREAM = np.array([0.72, 0.85, 0.93], np.float32)
RUST = np.array([0.10, 0.325, 0.64], np.float32)
GOLD = np.array([0.25, 0.54, 0.87], np.float32)

_GROWTH = 1.25
_PIXELS = 600
_HALF = 0.30

# Center (ahead, up, aside) and radii; those aside stand on both sides.
_BALLS = (
    ((-0.005, 0.022, 0.0), (0.128, 0.112, 0.112)), ((-0.01, -0.045, 0.07), (0.088, 0.088, 0.062)),
    ((-0.055, -0.052, 0.104), (0.045, 0.092, 0.058)), ((0.080, 0.058, 0.045), (0.050, 0.034, 0.040)),
    ((0.055, -0.005, 0.070), (0.060, 0.045, 0.042)), ((0.125, 0.012, 0.0), (0.105, 0.052, 0.046)),
    ((0.178, -0.040, 0.031), (0.056, 0.043, 0.041)), ((0.145, -0.092, 0.0), (0.062, 0.032, 0.040)),
    ((0.075, -0.085, 0.0), (0.095, 0.045, 0.062)), ((0.222, -0.004, 0.0), (0.020, 0.022, 0.029)),
)  # fmt: skip
_EAR = ((-0.035, 0.116, 0.080), (0.020, 0.046, 0.040))

# Pale patches (a, b, radius a, radius b), a is aside for the front picture and ahead for the side picture.
_PALE_FRONT = (
    (0.060, 0.080, 0.032, 0.017), (0.095, -0.030, 0.040, 0.045), (0.034, -0.052, 0.046, 0.036),
    (0.0, -0.100, 0.060, 0.042), (0.125, -0.085, 0.060, 0.085), (0.052, 0.008, 0.026, 0.012),
)  # fmt: skip
_PALE_SIDE = (
    (0.190, -0.045, 0.055, 0.032), (0.150, -0.095, 0.065, 0.032), (0.050, -0.085, 0.085, 0.050),
    (0.100, 0.066, 0.022, 0.011), (0.090, 0.006, 0.030, 0.012), (-0.04, -0.115, 0.06, 0.05),
)  # fmt: skip
# Stripes: points (a, b) ..., then the width.
_INK_FRONT = (
    (((-0.034, 0.100), (0.0, 0.107), (0.034, 0.100)), 0.0055),
    (((-0.042, 0.120), (0.0, 0.126), (0.042, 0.120)), 0.006),
    (((-0.036, 0.142), (0.0, 0.146), (0.036, 0.142)), 0.006), (((0.0, 0.150), (0.001, 0.120), (0.0, 0.088)), 0.0045),
    (((0.022, 0.064), (0.028, 0.088), (0.046, 0.103), (0.066, 0.106)), 0.0055),
    (((0.058, 0.098), (0.080, 0.100), (0.098, 0.086)), 0.0055),
    (((0.060, 0.122), (0.080, 0.122), (0.100, 0.106)), 0.005),
    (((0.086, 0.042), (0.106, 0.042), (0.124, 0.022)), 0.0048),
    (((0.090, 0.014), (0.106, -0.004), (0.110, -0.030)), 0.0042),
    (((0.112, 0.014), (0.130, -0.014), (0.133, -0.050)), 0.0052),
    (((0.096, -0.034), (0.110, -0.056), (0.104, -0.086)), 0.0045),
    (((0.138, -0.010), (0.150, -0.055), (0.138, -0.105)), 0.0060),
    (((0.122, -0.062), (0.126, -0.094), (0.100, -0.126)), 0.0050),
    (((0.078, -0.060), (0.086, -0.084), (0.074, -0.110)), 0.0038),
    (((0.140, 0.050), (0.150, 0.020), (0.152, 0.000)), 0.0050),
    (((0.066, 0.132), (0.086, 0.136), (0.104, 0.124)), 0.0045),
    (((0.020, 0.072), (0.036, 0.090), (0.058, 0.094)), 0.0036),
    (((0.035, 0.022), (0.027, 0.004), (0.026, -0.012)), 0.0045),
    (((0.016, 0.062), (0.012, 0.084), (0.016, 0.098)), 0.004),
)  # fmt: skip
_INK_SIDE = (
    (((0.075, 0.050), (0.045, 0.056), (0.020, 0.030), (0.012, -0.010)), 0.0065),
    (((0.050, 0.010), (0.030, -0.020), (0.032, -0.070), (0.060, -0.105)), 0.006),
    (((0.000, 0.060), (-0.025, 0.010), (-0.020, -0.060), (0.005, -0.115)), 0.0075),
    (((-0.050, 0.070), (-0.065, 0.000), (-0.060, -0.080), (-0.030, -0.140)), 0.008),
    (((0.090, 0.092), (0.060, 0.105), (0.030, 0.100)), 0.005),
    (((0.090, 0.110), (0.060, 0.124), (0.035, 0.120)), 0.005),
    (((0.050, 0.075), (0.030, 0.085), (0.010, 0.080)), 0.005),
    (((0.128, 0.028), (0.148, 0.010), (0.160, -0.010)), 0.004),
    (((0.235, -0.048), (0.190, -0.064), (0.130, -0.062), (0.105, -0.048)), 0.0038),
    (((0.080, -0.03), (0.072, -0.06), (0.085, -0.09)), 0.0045),
)  # fmt: skip


def _path(points: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """A smooth path through the points, in texture pixels."""
    t = np.linspace(0, len(points) - 1, 24)
    knots = np.array(points)
    fit = np.polyfit(np.arange(len(points)), knots, len(points) - 1)
    places = sum(fit[k] * t[:, None] ** (len(points) - 1 - k) for k in range(len(points)))
    return _pixel(np.asarray(places))


def _pixel(place: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([(place[..., 0] + _HALF) * _PIXELS, (_HALF - place[..., 1]) * _PIXELS], -1)


@lru_cache(maxsize=2)
def _painting(front: bool) -> Field:
    """The face as seen from the front (aside, up) or from the side (ahead, up), (360, 360, 3), BGR 0-1."""
    size = round(2 * _HALF * _PIXELS)
    steps = (np.arange(size, dtype=np.float32) + 0.5) / _PIXELS - _HALF
    a, b = np.meshgrid(steps, -steps)
    hairs = fur(size, size, 9, 2.2 if front else 0.3, 41) + 0.6 * noise(size, size, 9, 42)
    color = GOLD + (RUST - GOLD) * smooth(0.0, 0.16, b + 0.01 * hairs)[..., None]
    pale = np.zeros((size, size), np.float32)
    for x, y, rx, ry in _PALE_FRONT if front else _PALE_SIDE:
        aside = np.abs(a) if front else a
        away = np.sqrt(((aside - x) / rx) ** 2 + ((b - y) / ry) ** 2) + 0.10 * hairs
        pale = np.maximum(pale, 1 - smooth(0.75, 1.15, away))
    color = color + (CREAM - color) * pale[..., None]
    color = color * (1 + 0.12 * hairs)[..., None]
    mask = np.zeros((size * 2, size * 2), np.uint8)
    for points, width in _INK_FRONT if front else _INK_SIDE:
        for sign in (1, -1) if front else (1,):
            mirrored = tuple((sign * x, y) for x, y in points)
            spindle(mask, _path(mirrored) * 2, width * (1.15 if front else 1.1) * _PIXELS * 2)
    ink = ragged(mask, (size, size), 43)
    color = color + (INK - color) * (ink * 0.95)[..., None]
    color = np.ascontiguousarray(color, np.float32)
    (_front_features if front else _side_features)(color)
    return cv2.GaussianBlur(color, (0, 0), 0.9).astype(np.float32)


def _disc(
    color: Field, x: float, y: float, rx: float, ry: float, tone: tuple[float, float, float], tilt: float = 0
) -> None:
    center = np.round(_pixel(np.array([x, y])) * 16).astype(int).tolist()
    axes = (round(rx * _PIXELS * 16), round(ry * _PIXELS * 16))
    points = cv2.ellipse2Poly((0, 0), axes, int(tilt), 0, 360, 8) + np.array(center)
    cv2.fillPoly(color, [points.astype(np.int32)], tone, cv2.LINE_AA, 4)


def _eye(color: Field, x: float, y: float, squeeze: float, tilt: float) -> None:
    _disc(color, x, y, 0.0245 * squeeze, 0.0165, (0.05, 0.05, 0.06), tilt)
    _disc(color, x, y + 0.0005, 0.0170 * squeeze, 0.0118, (0.16, 0.54, 0.72), tilt)
    _disc(color, x, y - 0.003, 0.0115 * squeeze, 0.0066, (0.32, 0.74, 0.86), tilt)
    _disc(color, x, y + 0.001, 0.0068 * squeeze, 0.0072, (0.02, 0.02, 0.03))
    _disc(color, x - 0.004 * squeeze, y + 0.006, 0.0026, 0.0024, (0.95, 0.97, 1.0))


def _stroke(
    color: Field, points: tuple[tuple[float, float], ...], width: float, tone: tuple[float, float, float]
) -> None:
    path = np.round(_path(points) * 16).astype(np.int32)
    cv2.polylines(color, [path], False, tone, max(1, round(width * _PIXELS)), cv2.LINE_AA, 4)


def _front_features(color: Field) -> None:
    dark = (0.06, 0.06, 0.08)
    for sign in (1, -1):
        _eye(color, sign * 0.056, 0.036, 1.0, -16 * sign)
        _stroke(color, ((0.0, -0.050), (sign * 0.024, -0.064), (sign * 0.056, -0.060)), 0.005, dark)
        for row, count in ((-0.034, 3), (-0.043, 4), (-0.052, 3)):
            for k in range(count):
                _disc(color, sign * (0.024 + 0.009 * k), row - 0.001 * k, 0.0018, 0.0018, (0.2, 0.2, 0.22))
    nose = np.array([(-0.027, 0.006), (0.0, 0.010), (0.027, 0.006), (0.020, -0.014), (0.0, -0.024), (-0.020, -0.014)])
    cv2.fillPoly(color, [np.round(_pixel(nose) * 16).astype(np.int32)], (0.36, 0.40, 0.62), cv2.LINE_AA, 4)
    _stroke(color, ((-0.024, -0.010), (0.0, -0.026), (0.024, -0.010)), 0.004, dark)
    for sign in (1, -1):
        _disc(color, sign * 0.013, -0.008, 0.006, 0.004, dark, 20 * sign)
    _stroke(color, ((0.0, -0.024), (0.0, -0.037), (0.0, -0.051)), 0.004, dark)


def _side_features(color: Field) -> None:
    _eye(color, 0.108, 0.037, 0.80, 14)
    _disc(color, 0.235, 0.001, 0.020, 0.014, (0.30, 0.34, 0.52))
    _disc(color, 0.232, -0.005, 0.007, 0.004, (0.06, 0.06, 0.08), 20)
    for row, count in ((-0.030, 3), (-0.039, 4), (-0.048, 3)):
        for k in range(count):
            _disc(color, 0.165 + 0.011 * k, row, 0.0018, 0.0018, (0.2, 0.2, 0.22))


def axes(yaw: float, pitch: float) -> NDArray[np.float32]:
    """The head's directions ahead, up and aside as columns (3, 3), on the picture's axes."""
    turn = np.array([[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[math.cos(pitch), -math.sin(pitch), 0], [math.sin(pitch), math.cos(pitch), 0], [0, 0, 1]])
    return np.asarray(turn @ nod, np.float32)


def add_head(canvas: Canvas, center: NDArray[np.float32], yaw: float, pitch: float) -> None:
    """Shape and paint the head around `center` (3,)."""
    turn = axes(yaw, pitch)
    reach = int(0.36 * SCALE)
    column, row = int((center[0] - LEFT) * SCALE), int((TOP - center[1]) * SCALE)
    where = slice(max(0, row - reach), row + reach), slice(column - reach, column + reach)
    xs, ys = grid()
    x, y = xs[where], ys[where]
    part = Canvas(x.shape)
    origin = (where[0].start, where[1].start)
    for place, radii in _BALLS:
        for sign in (1, -1) if place[2] else (1,):
            _lump(part, origin, center, turn, (place[0], place[1], sign * place[2]), radii, turn)
    level = part.height()
    color = _skin(x - center[0], y - center[1], np.maximum(level - center[2], -0.15), turn)
    canvas.add(where, (0.5 - part.cover) * np.float32(1.6 / SCALE), level, color)
    _ears(canvas, center, turn)


def _lump(
    canvas: Canvas, origin: tuple[int, int], center: NDArray[np.float32], turn: NDArray[np.float32],
    place: tuple[float, float, float], radii: tuple[float, float, float], tilt: NDArray[np.float32],
) -> None:  # fmt: skip
    middle = center + turn @ (np.array(place, np.float32) * np.float32(_GROWTH))
    size = (radii[0] * _GROWTH, radii[1] * _GROWTH, radii[2] * _GROWTH)
    (rows, columns), edge, level = ball(middle, size, tilt)
    inside = (
        slice(rows.start - origin[0], rows.stop - origin[0]),
        slice(columns.start - origin[1], columns.stop - origin[1]),
    )
    canvas.add(inside, edge, level, np.zeros(3, np.float32))


def _skin(x: Field, y: Field, z: Field, turn: NDArray[np.float32]) -> Field:
    """The painted face on the surface points (x, y, z) relative to the head's center."""
    ahead, up, aside = (turn[0, k] * x + turn[1, k] * y + turn[2, k] * z for k in range(3))
    soft = cv2.GaussianBlur(z, (0, 0), 2)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=SCALE / 8), cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=-SCALE / 8)
    facing = (turn[2, 0] - turn[0, 0] * dx - turn[1, 0] * dy) / np.sqrt(1 + dx * dx + dy * dy)
    share = smooth(0.25, 0.75, facing - 0.35 + 1.3 * turn[2, 0] ** 2 + 0.5 * (ahead - 0.10))[..., None]
    grown = np.float32(_PIXELS / _GROWTH)
    shift = np.float32(_HALF * _PIXELS)
    front = cv2.remap(
        _painting(True), aside * grown + shift, shift - up * grown, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    side = cv2.remap(
        _painting(False), ahead * grown + shift, shift - up * grown, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return (front * share + side * (1 - share)).astype(np.float32)


def _ears(canvas: Canvas, center: NDArray[np.float32], turn: NDArray[np.float32]) -> None:
    place, radii = _EAR
    for sign in (1, -1):
        out = axes(-0.55 * sign, 0.0)
        tilt = (turn @ out).astype(np.float32)
        middle = center + turn @ (np.array([place[0], place[1], sign * place[2]], np.float32) * np.float32(_GROWTH))
        size = (radii[0] * _GROWTH, radii[1] * _GROWTH, radii[2] * _GROWTH)
        where, edge, level = ball(middle, size, tilt)
        xs, ys = grid()
        x, y, z = xs[where] - middle[0], ys[where] - middle[1], level - middle[2]
        up, aside = (tilt[0, k] * x + tilt[1, k] * y + tilt[2, k] * z for k in (1, 2))
        away = np.sqrt((up / size[1]) ** 2 + (aside / size[2]) ** 2)
        if tilt[2, 0] > 0.15:  # its inside is seen
            tone = INK + (np.array([0.52, 0.66, 0.78], np.float32) - INK) * (1 - smooth(0.45, 0.8, away))[..., None]
            tone = tone + (GOLD - tone) * smooth(0.80, 0.95, away)[..., None]
        else:  # its black back with the white spot
            tone = INK + (CREAM - INK) * (1 - smooth(0.30, 0.42, away))[..., None]
        canvas.add(where, edge, level, tone.astype(np.float32))


def whiskers(picture: Field, center: NDArray[np.float32], yaw: float, pitch: float) -> None:
    """Draw the whiskers over the finished picture (height, width, 4), BGR 0-1 and cover."""
    turn = axes(yaw, pitch)
    mask = np.zeros(picture.shape[:2], np.uint8)
    for sign in (1, -1):
        if sign < 0 and math.sin(yaw) < 0.35:
            continue
        for k in range(5):
            root = np.array([0.175 + 0.008 * k, -0.030 - 0.006 * k, sign * 0.062])
            bow = root + np.array([-0.03, 0.012 - 0.014 * k, sign * 0.07])
            tip = root + np.array([-0.09, -0.012 - 0.022 * k, sign * 0.12])
            t = np.linspace(0, 1, 10)[:, None]
            places = (1 - t) ** 2 * root + 2 * t * (1 - t) * bow + t**2 * tip
            on = center + (places * _GROWTH) @ turn.T
            pixels = np.stack([(on[:, 0] - LEFT) * SCALE, (TOP - on[:, 1]) * SCALE], 1)
            cv2.polylines(mask, [np.round(pixels * 16).astype(np.int32)], False, 130, 1, cv2.LINE_AA, 4)
    rows, columns = np.nonzero(mask)
    share = mask[rows, columns, None].astype(np.float32) / 255
    spot = picture[rows, columns]
    spot[:, :3] += (np.array([0.80, 0.90, 0.96], np.float32) - spot[:, :3]) * share / np.maximum(spot[:, 3:], share)
    spot[:, 3:] = np.maximum(spot[:, 3:], share)
    picture[rows, columns] = spot
