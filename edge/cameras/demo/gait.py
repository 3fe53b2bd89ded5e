"""How a big cat walks: where its paws are, and how its legs bend to reach them."""

from __future__ import annotations

import math

Point = tuple[float, float]
Joint = tuple[float, float, float]
"""x and y in shoulder heights, as in shape.py, and the leg's thickness there."""

STRIDE = 0.78
"""How far one cycle of the walk carries the body."""

_DUTY = 0.64
"""Share of the cycle for which a paw stands."""


def step(phase: float, pace: float, lift: float, rest: float) -> tuple[float, float, float]:
    """Where a paw is: ahead of its middle place, above the ground, and how far it is folded back."""
    p = phase % 1.0
    reach = STRIDE * _DUTY
    if p < _DUTY:
        late = max(0.0, (p / _DUTY - 0.78) / 0.22)
        ahead, above, fold = reach * (0.5 - p / _DUTY), 0.0, 0.55 * late
    else:
        q = (p - _DUTY) / (1 - _DUTY)
        eased = q * q * (3 - 2 * q)
        ahead, above = reach * (eased - 0.5), lift * math.sin(math.pi * q) ** 0.8
        fold = 0.55 * (1 - q) + 0.75 * math.sin(math.pi * q) - 0.25 * q
    return ahead * pace + rest * (1 - pace), above * pace, fold * pace


def _between(start: Point, stop: Point, share: float) -> Point:
    return start[0] + share * (stop[0] - start[0]), start[1] + share * (stop[1] - start[1])


def _bend(start: Point, stop: Point, upper: float, lower: float, side: float) -> Point:
    """The joint between two bones from `start` to `stop`; `side` 1 bends it ahead, -1 behind."""
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    away = min(math.hypot(dx, dy), 0.998 * (upper + lower))
    along = (upper**2 - lower**2 + away**2) / (2 * away)
    out = side * math.sqrt(max(0.0, upper**2 - along**2))
    ux, uy = dx / math.hypot(dx, dy), dy / math.hypot(dx, dy)
    return start[0] + ux * along - uy * out, start[1] + uy * along + ux * out


def _foot(paw: Point, fold: float, ankle: Point) -> tuple[Point, Point]:
    """Ankle and toe of a paw that is folded back by `fold` radians."""
    c, s = math.cos(fold), math.sin(fold)
    above = paw[0] + c * ankle[0] + s * ankle[1], paw[1] + c * ankle[1] - s * ankle[0]
    down = -0.9 * fold
    return above, (paw[0] + 0.075 * math.cos(down), max(0.034, paw[1] + 0.075 * math.sin(down) - 0.012))


def hind_joints(ahead: float, above: float, fold: float) -> list[Joint]:
    """Hip, thigh, knee, shin, hock, heel, paw and toe: x, y and thickness."""
    paw, hip = (-0.53 + ahead, 0.048 + above), (-0.50 + 0.06 * ahead, 0.70)
    hock, toe = _foot(paw, fold * 0.8, (-0.075, 0.165))
    knee = _bend(hip, hock, 0.285, 0.285, 1.0)
    thigh, shin, heel = _between(hip, knee, 0.45), _between(knee, hock, 0.5), _between(hock, paw, 0.45)
    return [
        (hip[0] + 0.01, hip[1] + 0.03, 0.15), (*hip, 0.18), (thigh[0] - 0.01, thigh[1], 0.172),
        (knee[0] - 0.025, knee[1] - 0.01, 0.128), (*shin, 0.090), (*hock, 0.062), (heel[0] - 0.006, heel[1], 0.059),
        (*paw, 0.062), (*toe, 0.046),
    ]  # fmt: skip


def fore_joints(ahead: float, above: float, fold: float, pace: float) -> list[Joint]:
    """Shoulder blade, shoulder, upper arm, elbow, forearm, wrist, paw and toe: x, y and thickness."""
    paw = (0.46 + ahead, 0.050 + above)
    shoulder = (0.46 + 0.12 * ahead, 0.63 - 0.10 * max(0.0, -ahead) * pace)
    wrist, toe = _foot(paw, fold, (-0.020, 0.125))
    elbow = _bend(shoulder, wrist, 0.235, 0.275, -1.0)
    upper, fore = _between(shoulder, elbow, 0.6), _between(elbow, wrist, 0.5)
    return [
        (shoulder[0], shoulder[1] + 0.16, 0.09), (shoulder[0] + 0.02, shoulder[1] + 0.08, 0.135), (*shoulder, 0.155),
        (*upper, 0.138), (*elbow, 0.116), (fore[0] + 0.008, fore[1], 0.093), (*wrist, 0.073), (*paw, 0.069),
        (*toe, 0.050),
    ]  # fmt: skip
