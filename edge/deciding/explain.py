"""`edge-watch --explain EVENT`: what was seen, look by look, that made a stored event what it is."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from edge.deciding.looks import FIRST, MOST
from edge.telling.outbox import FILE_NAME, Outbox
from edge.types import BBox, Look, Sighting
from models.errors import UsageError
from models.labels import Label

LEAST = 6
"""Characters of an id that name an event; live ids begin with their time, so fewer would name half of a day's."""
NEWEST = 5
HEADER = ("time", "where", "size", "weight", "looks like", "", "", "so far")


def explain(event: str, data: Path) -> str:
    """What `edge-watch --explain` prints.

    Args:
        event: an id, or the first characters of one.
        data: the trap's data folder.

    Raises:
        UsageError: nothing is stored, or no event or several are called that; the message names the newest.
        OutboxError: the file cannot be read.
    """
    file = data / FILE_NAME
    if not file.exists():
        raise UsageError(f"--explain: expected {file}, found no such file; name the trap's folder with --data")
    with Outbox(file, shared=True) as outbox:
        found = outbox.sightings_like(event.strip().lower()) if len(event.strip()) >= LEAST else []
        newest = outbox.newest_sightings(NEWEST)
    if len(found) == 1:
        return text(found[0])
    if not newest:
        raise UsageError(f"--explain {event}: expected an event, found none stored in {file} yet")
    listed = ", ".join(f"{each.id} ({each.species}, {each.event_start:%Y-%m-%d %H:%M})" for each in found or newest)
    said = f"{len(found)} events that begin so: {listed}" if found else f"no such event; the newest are {listed}"
    raise UsageError(f"--explain {event}: expected an event's id or its first {LEAST} characters or more, found {said}")


def text(sighting: Sighting) -> str:
    """A stored event with its evidence, for a ranger."""
    looks = sighting.evidence
    until = f" to {sighting.event_end:%H:%M:%S}" if sighting.event_end else ", still going on"
    facts = (
        f"{sighting.event_start:%Y-%m-%d %H:%M:%S}{until}, by {sighting.lighting}, {sighting.source}, "
        f"event {sighting.id}"
    )
    if not looks:
        going_on = sighting.event_end is None
        why = "its evidence is stored when it is over" if going_on else "no evidence was stored with it"
        return f"{sighting.species}, {_said(sighting.probability)} sure; {why}\n{facts}"
    rows = [HEADER, *(_row(look, looks[0]) for look in looks)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
    right = (0, 2, 3)
    lines = [
        "  ".join(cell.rjust(width) if place in right else cell.ljust(width)
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    more = ["(looks that changed little are not listed)"] if len(looks) >= MOST else []
    return "\n".join((why_text(sighting), facts, "", *lines, *more))


def why_text(sighting: Sighting) -> str:
    """Why, in one sentence: `tiger, 97 % sure after 9 looks in 2.4 s; next best leopard`.

    The looks are those until it was first as sure as that.
    """
    looks = sighting.evidence
    sure = [_said(share(look.score)) == _said(sighting.probability) and look.species in ("", sighting.species)
            for look in looks]  # fmt: skip
    last = sure.index(True) if any(sure) else len(looks) - 1
    count = f"{last + 1}" if last < FIRST or len(looks) < MOST else f"more than {FIRST}"
    after = "one look" if last == 0 else f"{count} looks in {(looks[last].at - looks[0].at).total_seconds():.1f} s"
    others: dict[str, float] = defaultdict(float)
    for look in looks:
        for name, probability in look.top:
            if name != sighting.species and Label.from_name(name, {}).observation_type != "blank":
                others[name] += look.weight * probability
    best = max(others, key=lambda name: others[name], default=None)
    return f"{sighting.species}, {_said(sighting.probability)} sure after {after}" + (
        f"; next best {best}" if best else "; nothing else was likely"
    )


def _row(look: Look, first: Look) -> tuple[str, ...]:
    top = [f"{name} {100 * probability:.0f} %" for name, probability in look.top[:3]]
    return (
        f"{(look.at - first.at).total_seconds():.1f} s",
        place(look.box),
        f"{100 * look.box.height:.0f} %",
        f"{look.weight:.2f}",
        *(top + [""] * 3)[:3],
        f"{look.species} {_said(share(look.score))}".strip(),
    )


def place(box: BBox) -> str:
    """Where a box is, in a word or two: `lower left`, `middle`."""
    x, y = box.center
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    line = "upper" if y < 1 / 3 else "lower" if y > 2 / 3 else ""
    return " ".join(word for word in (line, column) if word) or "middle"


def share(score: float) -> float:
    """The probability, 0-1, of natural log-odds."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, score))))


def _said(probability: float) -> str:
    """A probability in percent for people; no look is so sure that it makes 0 or 100."""
    return "under 1 %" if probability < 0.005 else "over 99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"
