"""The edge of a misty forest in the morning, painted once, and the grass that moves in the wind."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge.cameras.demo.brush import Field, noise, smooth

Image = NDArray[np.uint8]
Tone = NDArray[np.float32]

WIDTH, HEIGHT = 1280, 720
HORIZON = 392
GRASS_TOP = 470
"""Above this row nothing stands in front of an animal, save the frame of trunk and leaves at the edges."""

_SUN = (905.0, 190.0)
_MIST = np.array([176, 208, 218], np.float32)
_GLOW = np.array([170, 226, 255], np.float32)
_DAWN = np.array([206, 244, 255], np.float32)
_DEEP = np.array([30, 44, 36], np.float32)


def _grid() -> tuple[Field, Field]:
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    return x, y


def _glow() -> Field:
    """How much of the sun's haze lies over each pixel, 0-1."""
    x, y = _grid()
    away = np.hypot((x - _SUN[0]) / 620, (y - _SUN[1]) / 400)
    return np.exp(-away * away * 1.4).astype(np.float32)


def _vignette() -> Field:
    """How much the lens darkens each pixel, 0-1."""
    x, y = _grid()
    away = np.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / HEIGHT)
    return np.asarray(0.62 * np.clip(away - 0.28, 0, 1) ** 1.3, np.float32)


def _octaves(height: int, width: int, cell: float, seed: int) -> Field:
    total = noise(height, width, cell, seed)
    for k in range(1, 5):
        total = total + noise(height, width, cell / 2**k, seed + k) * np.float32(0.62**k)
    return (total / 1.6).astype(np.float32)


def _blend(picture: Image, tone: Tone, share: Field) -> None:
    """Mix `tone` into the picture; pictures are uint8 because OpenCV smooths edges only there."""
    # A band at a time: as numbers with fractions, the whole picture is ten times as large.
    for top in range(0, len(picture), 60):
        band = slice(top, top + 60)
        mixed = picture[band] + (tone - picture[band]) * np.clip(share[band], 0, 1)[..., None]
        picture[band] = np.clip(mixed, 0, 255).astype(np.uint8)


def _dabs(
    picture: Image, random: Generator, places: NDArray[np.float64], sizes: NDArray[np.float64], tones: Field
) -> None:
    """Leaves: small pointed shapes at `places` (n, 2), each with its size in pixels and its tone."""
    turns = random.uniform(0, math.pi, len(places))
    shape = np.array([(-1.0, 0.0), (-0.2, 0.48), (0.5, 0.34), (1.1, 0.0), (0.5, -0.34), (-0.2, -0.48)])
    for place, size, turn, tone in zip(places, sizes, turns, tones.tolist(), strict=True):
        c, s = math.cos(turn), math.sin(turn)
        points = (shape * size) @ np.array([(c, s), (-s, c)]) + place
        cv2.fillConvexPoly(picture, np.round(points * 8).astype(np.int32), tone, cv2.LINE_AA, 3)


def _trunk(picture: Image, random: Generator, x: float, foot: float, width: float, tone: Tone, light: Tone) -> None:
    """A tree from `foot` to above the picture, lit from the sun's side."""
    rows = np.linspace(-20, foot, 24)
    rise = (foot - rows) / foot
    lean = random.normal(0, 16) * rise + random.normal(0, 5) * np.sin(rise * random.uniform(3, 6))
    half = width / 2 * (1 - 0.38 * rise + 0.9 * np.exp(-(foot - rows) / (width * 0.7)))

    def side(a: float, b: float) -> NDArray[np.int32]:
        left = np.stack([x + lean + a * half, rows], 1)
        right = np.stack([x + lean + b * half, rows], 1)[::-1]
        return np.round(np.concatenate([left, right]) * 8).astype(np.int32)

    sunny = 1 if x < _SUN[0] else -1
    cv2.fillPoly(picture, [side(-1, 1)], tone.tolist(), cv2.LINE_AA, 3)
    for k, share in enumerate((0.18, 0.34, 0.55, 0.8)):
        edge = 1 - 0.42 / (k + 1)
        strip = side(edge, 1) if sunny > 0 else side(-1, -edge)
        cv2.fillPoly(picture, [strip], (tone + (light - tone) * share).tolist(), cv2.LINE_AA, 3)
    for _ in range(int(width * 2.5)):
        at, length = random.uniform(-0.8, 0.8), random.uniform(10, 50)
        top = random.uniform(0, foot - length)
        span = np.linspace(top, top + length, 5)
        line = np.stack([x + np.interp(span, rows, lean) + at * np.interp(span, rows, half), span], 1)
        crack = (tone * random.uniform(0.72, 1.12)).tolist()
        cv2.polylines(picture, [np.round(line * 8).astype(np.int32)], False, crack, 1, cv2.LINE_AA, 3)


def _grove(picture: Image, random: Generator, depth: float, glow: Field) -> None:
    """One row of trees: `depth` 0 is the farthest, 1 the nearest."""
    haze = _MIST + (_GLOW - _MIST) * 0.5
    dark = haze + (_DEEP - haze) * (0.16 + 0.74 * depth)
    light = haze + (np.array([62, 150, 158], np.float32) - haze) * (0.10 + 0.75 * depth)
    foot = HORIZON + 4 + 34 * depth
    count = round(26 - 17 * depth)
    for k in range(count):
        x = (k + random.uniform(0.1, 0.9)) * WIDTH / count
        if depth > 0.55 and 430 < x < 1010:
            continue
        _trunk(
            picture, random, x, foot + random.uniform(-4, 4), random.uniform(7, 13) * (0.6 + 2.6 * depth), dark, light
        )
    clusters = round(70 - 30 * depth)
    for _ in range(clusters):
        x = random.uniform(-40, WIDTH + 40)
        reach = 40 + 80 * depth
        y = random.uniform(-40, 190 - 60 * depth) if random.random() < 0.72 else random.uniform(foot - 60, foot - 5)
        if depth > 0.5 and 430 < x < 1010 and y > 40:
            continue
        low = y > 250
        n = round(420 * (0.8 if low else 1.0))
        spread = np.array([reach * 0.8, reach * (0.22 if low else 0.42)])
        offsets = random.normal(0, 1, (n, 2)) * 0.6
        places = np.array([x, y]) + offsets * spread
        shine = np.clip(
            0.35 - 0.45 * offsets[:, 1] + 0.20 * offsets[:, 0] * np.sign(_SUN[0] - x) + random.normal(0, 0.16, n), 0, 1
        )
        tones = dark + (light - dark) * shine[:, None].astype(np.float32)
        _dabs(picture, random, places, random.uniform(1.6, 3.4, n) * (0.6 + 0.75 * depth) * (0.75 if low else 1), tones)
    low = np.exp(-np.square((_grid()[1] - foot - 6) / (40 + 50 * (1 - depth))))
    if depth < 0.9:
        picture[...] = cv2.GaussianBlur(picture, (0, 0), 0.5 + 1.6 * (1 - depth))
    veil = (0.30 * (1 - depth) + 0.42 * low * (1 - 0.7 * depth)) * (
        0.8 + 0.35 * _octaves(HEIGHT, WIDTH, 300, 70 + int(9 * depth))
    )
    veil = np.clip(veil, 0, 0.9) + 0.16 * glow * (1 - depth)
    _blend(picture, _MIST, veil)
    _blend(picture, _GLOW, veil * glow)


def _rays(picture: Image) -> None:
    x, y = _grid()
    turn = np.arctan2(x - _SUN[0], y - _SUN[1] + 260)
    strength = np.zeros_like(x)
    random = np.random.default_rng(5)
    for _ in range(15):
        strength += random.uniform(0.3, 1) * np.exp(
            -np.square((turn - random.uniform(-1.2, 0.7)) / random.uniform(0.012, 0.04))
        )
    fade = np.clip(1 - (y - 120) / 420, 0, 1)
    _blend(picture, _GLOW, np.clip(0.26 * strength * fade, 0, 0.5).astype(np.float32))


def _meadow(picture: Image) -> None:
    _, y = _grid()
    near = np.clip((y - HORIZON) / (HEIGHT - HORIZON), 0, 1)
    patches = cv2.warpPerspective(
        _octaves(HEIGHT, WIDTH, 150, 90), _ground_view(), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT
    )
    ground = smooth(HORIZON - 3, HORIZON + 10, y + 5 * noise(HEIGHT, WIDTH, 40, 91))
    _blend(picture, np.array([128, 196, 200], np.float32), ground)
    _blend(picture, np.array([34, 74, 66], np.float32), near**0.55 * ground)
    rough = (0.09 * patches + 0.06 * _octaves(HEIGHT, WIDTH, 12, 93)) * ground
    _blend(picture, np.zeros(3, np.float32), -rough)
    _blend(picture, np.array([190, 235, 240], np.float32), rough)


def _ground_view() -> NDArray[np.floating[Any]]:
    """The lie of the land: a picture from above, seen at a flat angle."""
    source = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], np.float32)
    target = np.array([(300, HORIZON), (980, HORIZON), (2300, HEIGHT), (-1000, HEIGHT)], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(source, target), np.float64)


def _blade(
    picture: Image, foot: tuple[float, float], length: float, lean: float, width: float, tone: list[float]
) -> None:
    t = np.linspace(0, 1, 6)
    x = foot[0] + lean * length * t**1.8
    y = foot[1] - length * t * (1 - 0.18 * abs(lean) * t)
    half = width / 2 * (1 - t) ** 0.8
    points = np.concatenate([np.stack([x - half, y], 1), np.stack([x + half, y], 1)[::-1]])
    cv2.fillPoly(picture, [np.round(points * 8).astype(np.int32)], tone, cv2.LINE_AA, 3)


def _grass(picture: Image, random: Generator, low: float, high: float, count: int, size: float) -> None:
    """Blades rooted between two rows, the farthest first; with a fourth channel (cover) where the picture has one."""
    feet = np.sort(low + (high - low) * random.random(count) ** 1.12)
    thick = _octaves(64, 256, 30, 95)
    for foot in feet:
        near = (foot - HORIZON) / (HEIGHT - HORIZON)
        x = random.uniform(-20, WIDTH + 20)
        lush = float(thick[int(near * 63) % 64, int(x / WIDTH * 255) % 256])
        if random.random() > 0.72 + 0.3 * lush:
            continue
        length = (7 + 62 * near**1.25) * random.uniform(0.5, 1.25) * size * (1 + 0.3 * lush)
        sunny = np.clip(random.normal(0.42, 0.22) + 0.25 * math.exp(-(((x - _SUN[0]) / 420) ** 2)), 0, 1)
        shade, shine = np.array([30, 66, 54]), np.array([96, 190, 196])
        if random.random() < 0.16:
            shine = np.array([140, 205, 222])
        tone = shade + (shine - shade) * sunny
        haze = max(0.0, 0.55 - 1.5 * near)
        tone = (tone + (np.array([150, 205, 212]) - tone) * haze).tolist()
        _blade(
            picture,
            (x, foot),
            length,
            random.normal(0.12, 0.30),
            (1.0 + 3.4 * near) * random.uniform(0.6, 1.1),
            [*tone, 255.0],
        )


@lru_cache(maxsize=1)
def background() -> Image:
    """Everything that stands still, (720, 1280, 3) uint8, BGR."""
    random = np.random.default_rng(11)
    x, y = _grid()
    glow = _glow()
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[...] = _MIST
    _blend(picture, _GLOW, glow)
    for depth in (0.0, 0.22, 0.45, 0.72, 1.0):
        _grove(picture, random, depth, glow)
        if depth == 0.45:
            _blend(picture, _DAWN, 0.80 * glow**7)
            _rays(picture)
    _meadow(picture)
    _grass(picture, random, HORIZON + 2, HEIGHT + 20, 34000, 0.62)
    lane = np.exp(-np.square((x - _SUN[0]) / 360) - np.maximum(y - HORIZON, 0) / 130)
    lane = lane * smooth(HORIZON - 4, HORIZON + 24, y)
    _blend(picture, np.array([120, 222, 250], np.float32), 0.5 * lane)
    _blend(picture, _GLOW, 0.12 * glow)
    _blend(picture, np.zeros(3, np.float32), _vignette())
    return picture


@lru_cache(maxsize=1)
def foreground() -> Image:
    """The grass in front of the feet, from row GRASS_TOP on: (250, 1280, 4) uint8, BGR times cover, and cover."""
    random = np.random.default_rng(12)
    sharp = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    _grass(sharp, random, 606, HEIGHT + 40, 2900, 1.05)
    _grass(sharp, random, 690, HEIGHT + 60, 500, 1.7)
    layer = np.asarray(cv2.GaussianBlur(sharp[GRASS_TOP:], (0, 0), 0.6), np.uint8)
    layer[..., :3] = layer[..., :3] * (1 - _vignette()[GRASS_TOP:, :, None])
    return layer


def sway(layer: Image, t: float, reach: float) -> Image:
    """`layer` (height, width, channels) bent by the wind at `t` seconds: `reach` pixels at its top, 0 at its foot."""
    height, width = layer.shape[:2]
    x = np.arange(width, dtype=np.float32)
    rise = np.linspace(1, 0, height, dtype=np.float32) ** 1.4 * np.float32(reach)
    wave = np.sin(2 * math.pi * (t / 3.3 - x / 460)) + 0.45 * np.sin(2 * math.pi * (t / 1.9 + x / 150)) + 0.4
    across = x + rise[:, None] * wave.astype(np.float32)
    down = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], across.shape)
    return cv2.remap(layer, across, np.ascontiguousarray(down), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]
