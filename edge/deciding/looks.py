"""Why a visit was taken for its species: the looks that are worth keeping, and their text in the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from edge.types import BBox, Look

FIRST, MOST = 20, 60
"""So many looks are kept from the beginning, and so many in all."""
_DIGITS = 4


def bounded(looks: Sequence[Look]) -> list[Look]:
    """At most `MOST` looks, in their order: the first, and of the later ones those that changed the score most."""
    if len(looks) <= MOST:
        return list(looks)
    later = range(FIRST, len(looks))
    moved = sorted(later, key=lambda place: -abs(looks[place].score - looks[place - 1].score))
    kept = sorted(moved[: MOST - FIRST])
    return [*looks[:FIRST], *(looks[place] for place in kept)]


def to_text(looks: Iterable[Look], start: datetime) -> str:
    """Looks as compact JSON, a list for each: ms after `start`, box, weight, score, species, and the top."""
    rows = [
        [
            round((look.at - start) / timedelta(milliseconds=1)),
            *(round(value, _DIGITS) for value in (*look.box.as_tuple(), look.weight, look.score)),
            look.species,
            *(part for name, probability in look.top for part in (name, round(probability, _DIGITS))),
        ]
        for look in bounded(tuple(looks))
    ]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False) if rows else ""


def from_text(text: str, start: datetime) -> tuple[Look, ...]:
    """What `to_text` made, to the digits that it keeps."""
    found = []
    for at, x, y, width, height, weight, score, species, *top in json.loads(text or "[]"):
        pairs, box = tuple(zip(top[::2], top[1::2], strict=True)), BBox(x, y, width, height)
        found.append(Look(start + timedelta(milliseconds=at), box, weight, pairs, score, species))
    return tuple(found)
