"""On which side of the split each photo stands: train, val or test."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path, PurePosixPath

from models.boxes import as_text
from models.errors import EdgeWatchError
from train.photos.data import SIDES, Photo, Split
from train.photos.duplicates import grouped, near_duplicates
from train.photos.table import Row, read_table
from train.words import some

SHARE = 0.15
"""Of each class, the share of validation photos and of test photos where the data does not say."""
BURST = 60.0
"""Seconds between two frames of one place up to which they are of one burst."""

HELD: tuple[Split, ...] = ("val", "test")
KNOWN_PLACES = "so test photos show places that the model was trained at"
TOO_GOOD = "so the figures are too good"
Groups = list[list[int]]
Pair = tuple[int, int]


def divide(
    photos: Sequence[Photo], seed: int, listed: Path | None = None, root: Path = Path()
) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """Give every photo a side: that of the list, else that of its folder or table, else a stratified draw.

    What is missing (`val`, `test` or both) is drawn from each class's other photos: about `SHARE` of them each, at
    least one. What belongs together stays on one side: copies, near-duplicates, frames of one sequence or burst, and
    the photos of one location. A class that whole locations cannot divide is divided by sequence, which is said.

    Args:
        photos: with `sha256` and `fingerprint`.
        seed: the same seed and photos give the same split.
        listed: a `split.csv` to use again.
        root: the folder that the photos' paths are relative to.

    Returns:
        The photos in the same order, and what there is to say. `split` is None for photos that must be left out: the
        list does not name them, and they belong together with a val or test photo.

    Raises:
        EdgeWatchError: the list names none of the photos, an unknown side, or a photo that has changed.
    """
    notes: list[str] = []
    together = [*_groups(len(photos), _same(photos))]
    sides, fresh = _listed(photos, listed, root, notes) if listed else ([photo.split for photo in photos], set())
    out = _join(sides, together, fresh)
    if fresh:
        notes.append(f"not in {listed}: {len(fresh - out)} photos, which keep their side or are trained on, and "
                     f"{len(out)} that are left out, as they resemble a val or test photo")
    wanted = [side for side in HELD if side not in sides]
    drawn = _draw(photos, sides, together, wanted, seed, notes) if wanted else {}
    if any(sides):
        counts = Counter(drawn.values())
        notes += [f"no photo is marked {side}: {counts[side]} of the training photos are drawn for it"
                  for side in wanted]
    final: list[Split] = [drawn.get(row, side or "train") for row, side in enumerate(sides)]
    notes += _leaks(final, together, out)
    return tuple(replace(photo, split=None if row in out else final[row]) for row, photo in enumerate(photos)), \
        tuple(notes)


def _join(sides: list[Split | None], together: Groups, fresh: set[int]) -> set[int]:
    """Put photos without a side to the val or test photos that they belong together with: the fresh ones of them."""
    out: set[int] = set()
    for group in together:
        held = [side for side in HELD if any(sides[row] == side for row in group)]
        if held:
            out.update(fresh.intersection(row for row in group if sides[row] is None))
            for row in group:
                sides[row] = sides[row] or held[-1]
    return out


def _groups(count: int, pairs: Iterable[Pair]) -> Iterator[list[int]]:
    """All that belongs together, with those that belong to no other alone."""
    groups = grouped(count, pairs)
    yield from groups
    yield from ([row] for row in sorted(set(range(count)).difference(*groups)))


def _same(photos: Sequence[Photo]) -> Iterator[Pair]:
    """Pairs of photos that must not stand on two sides."""
    yield from _sharing((row, photo.sha256) for row, photo in enumerate(photos))
    yield from _sharing((row, photo.sequence and (photo.location, photo.sequence)) for row, photo in enumerate(photos))
    for group in near_duplicates([photo.fingerprint for photo in photos]):
        yield from ((group[0], row) for row in group[1:])
    timed: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for row, photo in enumerate(photos):
        if photo.timestamp and not photo.sequence:
            place = photo.location or str(PurePosixPath(photo.path).parent)
            timed[place].append((datetime.fromisoformat(photo.timestamp), row))
    for frames in timed.values():
        frames.sort()
        for (before, one), (after, other) in pairwise(frames):
            if (after - before).total_seconds() <= BURST:
                yield one, other


def _sharing(keys: Iterable[tuple[int, Hashable]]) -> Iterator[Pair]:
    first: dict[Hashable, int] = {}
    for row, key in keys:
        if key:
            yield first.setdefault(key, row), row


def _listed(
    photos: Sequence[Photo], path: Path, root: Path, notes: list[str]
) -> tuple[list[Split | None], set[int]]:
    """The sides that a `split.csv` gives, and the rows of the photos that it does not name."""
    prefix = root.resolve().name + "/"
    known = {row.path.removeprefix("./"): row for row in read_table(path, ("path", "split"), "--split")}
    sides: list[Split | None] = [photo.split for photo in photos]
    fresh: set[int] = set()
    used: set[str] = set()
    for index, photo in enumerate(photos):
        # All crops of a photo stand on one side, so the first row of it speaks for all.
        name = next((name for name in (photo.path, prefix + photo.path) if name in known), None)
        if name is None:
            fresh.add(index)
            continue
        used.add(name)
        sides[index] = _side(path, known[name], photo)
    if not used:
        raise EdgeWatchError(f"{path}: expected paths relative to {root}, found none of its photos; name the split.csv "
                             f"of these photos, or leave --split out")
    if gone := [name for name in known if name not in used]:
        notes.append(f"in {path} but not in {root}, or left out: {some(gone)}")
    return sides, fresh


def _side(path: Path, row: Row, photo: Photo) -> Split:
    if row.split.lower() not in SIDES:
        raise EdgeWatchError(f"{path}: expected the split to be train, val or test, found {row.split or 'none'} in "
                             f"line {row.line}; correct it")
    if row.sha256 and row.sha256 != photo.sha256:
        raise EdgeWatchError(f"{path}: expected {photo.path} as it was when the list was made, found it changed (line "
                             f"{row.line}); bring the old photo back, or take its line out of the list")
    return SIDES[row.split.lower()]


def _draw(
    photos: Sequence[Photo], sides: Sequence[Split | None], together: Groups, wanted: list[Split], seed: int,
    notes: list[str],
) -> dict[int, Split]:
    """Draw the missing sides from the training photos: {row: side} of what is drawn."""
    pool = [group for group in together if all(sides[row] in ("train", None) for row in group)]
    rows = [row for group in pool for row in group]
    total = Counter(photos[row].label for row in rows)
    within = [(group[0], row) for group in pool for row in group[1:]]
    bound = {photos[row].label for row in rows if photos[row].location}
    unbound: list[str] = []
    while True:
        # Only the classes that whole locations can divide are bound to them.
        places = _sharing((row, photos[row].location if photos[row].label in bound else "") for row in rows)
        allowed = set(rows)
        groups = [group for group in _groups(len(photos), [*within, *places]) if group[0] in allowed]
        drawn = _stratified(photos, groups, wanted, seed)
        found = Counter((photos[row].label, side) for row, side in drawn.items())
        failed = [label for label in sorted(bound) if 2 * sum(found[label, side] for side in wanted) > total[label]
                  or not all(found[label, side] for side in wanted)]
        if not failed:
            break
        bound.difference_update(failed)
        unbound += failed
    if bound:
        at = {(photos[row].location, drawn.get(row)) for row in rows if photos[row].location}
        spread = Counter(location for location, _ in at)
        notes.append(f"divided by location: {list(spread.values()).count(1)} of {len(spread)} stand on one side as a "
                     f"whole")
    if unbound:
        notes.append(f"too few or too uneven locations for a side each: photos of {some(sorted(unbound))} are divided "
                     f"by sequence, {KNOWN_PLACES}")
    if many := [group for group in pool if len(group) > 1]:
        notes.append(f"on one side together: {len(many)} groups of copies, near-duplicates or frames of one sequence, "
                     f"{sum(map(len, many))} photos, the largest {max(map(len, many))}")
    if lacking := [f"{label} ({side})" for label in sorted(total) for side in wanted if not found[label, side]]:
        notes.append(f"no photos to measure on of {some(lacking)}: too few that do not belong together")
    return drawn


def _stratified(photos: Sequence[Photo], groups: Groups, wanted: list[Split], seed: int) -> dict[int, Split]:
    """Give whole groups to the wanted sides, the class with the fewest groups first, in random order.

    As iterative stratification does (Sechidis et al. 2011), with groups in place of photos.
    """
    sides = _Sides([Counter(photos[row].label for row in group) for group in groups], wanted)
    members: dict[str, list[int]] = defaultdict(list)
    for group in sorted(range(len(groups)), key=lambda group: min(photos[r].sha256 or photos[r].path
                                                                  for r in groups[group])):
        for label in sides.counts[group]:
            members[label].append(group)
    for label in sorted(members, key=lambda label: (len(members[label]), label)):
        order = members[label]
        random.Random(f"{seed} {label}").shuffle(order)
        for side in wanted:
            sides.fill(side, label, order)
    return {row: side for group, side in sides.chosen.items() for row in groups[group]}


class _Sides:
    """Which side each group is given, and how many photos of each class a side has and needs."""

    def __init__(self, counts: list[Counter[str]], wanted: list[Split]) -> None:
        """`counts` are the photos of each class in each group."""
        self.counts = counts
        self.chosen: dict[int, Split] = {}
        self._left: Counter[str] = sum(counts, Counter())
        self._need = {label: max(1, round(SHARE * total)) for label, total in self._left.items()}
        self._got: dict[Split, Counter[str]] = {side: Counter() for side in wanted}

    def fill(self, side: Split, label: str, order: Sequence[int]) -> None:
        """Give a side what it needs of a class, from groups in this order; at least one, where one can be spared."""
        got, need = self._got[side], self._need
        for exact in (True, False):  # First what fits; then what overshoots, but less than it lacked before.
            for group in order:
                if got[label] >= need[label]:
                    break
                fits = all(got[name] + count <= need[name] for name, count in self.counts[group].items())
                if group not in self.chosen and (fits or not exact) and self._cost(side, group) < 0:
                    self._take(side, group)
        rest = [group for group in order if group not in self.chosen and self._cost(side, group) < float("inf")]
        if rest and not got[label]:
            self._take(side, min(rest, key=lambda group: self._cost(side, group)))

    def _cost(self, side: Split, group: int) -> float:
        """How much further from what is needed, over all classes; infinite if nothing would be left to train on."""
        got, need = self._got[side], self._need
        if any(self._left[label] <= count for label, count in self.counts[group].items()):
            return float("inf")
        return sum((abs(got[label] + count - need[label]) - abs(got[label] - need[label])) / need[label]
                   for label, count in self.counts[group].items())

    def _take(self, side: Split, group: int) -> None:
        self.chosen[group] = side
        self._got[side].update(self.counts[group])
        self._left.subtract(self.counts[group])


def _leaks(sides: Sequence[Split], together: Groups, out: set[int]) -> Iterator[str]:
    """A note on copies that the given sides tear apart."""
    leaked = 0
    for group in together:
        here = Counter(sides[row] for row in group if row not in out)
        leaked += here["val"] + here["test"] if here["train"] else 0
    if leaked:
        yield (f"{leaked} val or test photos are in train, too, as a copy, a near-duplicate or a frame of the same "
               f"sequence, {TOO_GOOD}: `train inspect` shows them")


def doubts(notes: Iterable[str]) -> tuple[str, ...]:
    """Of what `divide` has to say, what makes results on the test photos look better than they are."""
    return tuple(note for note in notes if KNOWN_PLACES in note or TOO_GOOD in note)


def split_csv(photos: Iterable[Photo]) -> str:
    """The text of `split.csv`; with location, sequence and box where any photo has one (docs/training.md)."""
    rows = list(photos)
    columns = ["path", "label", "split", "sha256"]
    columns += [name for name in ("location", "sequence", "box") if any(getattr(photo, name) for photo in rows)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([as_text(photo.box) if name == "box" else getattr(photo, name) or "" for name in columns]
                     for photo in rows)
    return out.getvalue()
