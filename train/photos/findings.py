"""What is wrong with photos, in words: what was found, and what to do about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from models.labels import Label
from train.photos.data import LEAST
from train.recipe import DEFAULT
from train.words import counted, some

TINY = 80
"""Pixels of the shorter side below which a photo shows too little to learn from."""
UNEVEN = 3.0
"""Times as many photos of the largest class as of the smallest, from which on it is worth a word."""
REASONS = 3
"""Why photos cannot be read: as many reasons are named."""
NIGHT, DAY = 0.8, 0.2
"""Shares of infrared photos: a class above the one, among others below the other, can be told by its light alone."""


@dataclass(frozen=True, slots=True)
class Class:
    """What there is of one class.

    `photos`: how many, with the broken ones; `splits`: how many on each side, where the data says. `distinct`: how many
    of those that can be read show something new (of photos that are nearly the same one counts). `infrared`: how many
    are infrared-grey. `short_side`: the median of the shorter side in pixels. `locations`, `sequences`: how many
    different ones, where the data names them. `crops`: how many are cut around a box.
    """

    photos: int
    splits: dict[str, int]
    broken: int
    distinct: int
    infrared: int
    short_side: int
    locations: int
    sequences: int
    crops: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that belong together: of the `same` content, `near`ly the same, or of one `sequence` or `location`.

    `name` is that of the sequence or location; `classes` and `splits` are those that the photos lie in.
    """

    kind: Literal["same", "near", "sequence", "location"]
    name: str
    photos: list[str]
    classes: list[str]
    splits: list[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to put right (`problem`) or to know (`hint`): what was found, and what to do about it."""

    kind: Literal["broken", "conflicts", "leaks", "empty", "one_class", "few", "tiny", "uneven", "light", "no_blank",
                  "no_infrared", "duplicates"]
    level: Literal["problem", "hint"]
    text: str
    advice: str


def findings(
    classes: Mapping[str, Class], empty: Sequence[str], broken: Mapping[str, str], tiny: int, alike: Sequence[Group],
    leaks: Sequence[Group], split: bool,
) -> list[Finding]:
    """All findings, problems first.

    Args:
        classes: by name.
        empty: class folders without photos.
        broken: by the paths of photos that cannot be read, why.
        tiny: how many are smaller than `TINY`.
        alike: groups of the same or nearly the same content.
        leaks: groups on more than one side of the split.
        split: whether the data says which side a photo is on.
    """
    return [*_unusable(classes, empty, broken, tiny), *_leaks(leaks), *_conflicts(alike), *_uneven(classes),
            *_light(classes), *_blank(classes), *_duplicates(alike, split)]


def _unusable(
    classes: Mapping[str, Class], empty: Sequence[str], broken: Mapping[str, str], tiny: int
) -> Iterator[Finding]:
    if broken:
        yield Finding("broken", "problem", f"{counted(len(broken), 'photo')} cannot be read.", _reasons(broken))
    if empty:
        yield Finding("empty", "problem", f"No photos in the class folders {some(empty)}.",
                      "`train fit` refuses an empty class: add photos, or remove the folder.")
    if len(classes) == 1:
        yield Finding("one_class", "problem", f"There is one class only, {next(iter(classes))}.",
                      "`train fit` needs two: add other photos, such as `empty` ones.")
    few = [f"{label} ({found.photos})" for label, found in classes.items() if found.photos < LEAST]
    if few:
        yield Finding("few", "problem", f"Fewer than {LEAST} photos of {some(few)}.",
                      "`train fit` refuses such a class: add photos, or take the class out.")
    if tiny:
        yield Finding("tiny", "problem", f"{counted(tiny, 'photo')} {_is(tiny)} smaller than {TINY} px.",
                      "They show too little to learn from: delete them, or name them in a list for --exclude.")


def _reasons(broken: Mapping[str, str]) -> str:
    """The commonest reasons, each with the first of its photos and with what to do, for it says that, too."""
    paths: dict[str, list[str]] = defaultdict(list)
    for path, reason in broken.items():
        paths[reason].append(path)
    commonest = sorted(paths, key=lambda reason: -len(paths[reason]))
    said = [f"{some(paths[reason], 3)}: {reason}." for reason in commonest[:REASONS]]
    more = sum(len(paths[reason]) for reason in commonest[REASONS:])
    said += [f"{more} more: the reasons are in inspect.json."] if more else []
    return " ".join([*said, "`train fit` leaves out what it cannot read."])


def _blank(classes: Mapping[str, Class]) -> Iterator[Finding]:
    if not any(Label.from_name(label, {}).observation_type == "blank" for label in classes):
        yield Finding("no_blank", "hint", "There is no class `empty`.",
                      "The model will give every empty picture the name of an animal: add a folder `empty` with "
                      "pictures that show none.")


def _duplicates(alike: Sequence[Group], split: bool) -> Iterator[Finding]:
    rest = [group for group in alike if len(group.classes) == 1 and len(group.splits) < 2]
    if rest:
        more = sum(len(group.photos) for group in rest) - len(rest)
        yield Finding("duplicates", "hint", f"{counted(more, 'photo')} {_is(more)} the same, or nearly, as another one "
                      f"of the class{' and split' if split else ''}.",
                      "They teach little, and count as if they were more: `distinct` counts them once. "
                      "`train fit` keeps them on one side of its split.")


def _conflicts(alike: Sequence[Group]) -> Iterator[Finding]:
    groups = [group for group in alike if len(group.classes) > 1]
    pairs = Counter((pair, group.kind) for group in groups for pair in combinations(group.classes, 2))
    shared = [f"{one} and {other} {'share' if kind == 'same' else 'seem to share'} {counted(count, 'photo')}"
              for ((one, other), kind), count in sorted(pairs.items(), key=lambda pair: -pair[1])]
    if shared:
        sure = any(group.kind == "same" for group in groups)
        yield Finding("conflicts", "problem" if sure else "hint", f"{some(shared, 5)}.",
                      "Look at them: one label is wrong, unless both are in the picture or it only looks the same, as "
                      "frames of one camera do. Delete or move what is wrong.")


def _leaks(groups: Sequence[Group]) -> Iterator[Finding]:
    if not groups:
        return
    kinds = Counter("picture" if group.kind in ("same", "near") else group.kind for group in groups)
    named = [counted(count, kind) for kind, count in kinds.items()]
    yield Finding("leaks", "problem", f"On more than one side of the split: {', '.join(named)}.",
                  "Results on the test photos will be too good: keep each on one side, or leave the split to "
                  "`train fit` (class folders without train, val and test; a CSV without the column `split`).")


def _uneven(classes: Mapping[str, Class]) -> Iterator[Finding]:
    most = max(classes, key=lambda label: classes[label].photos)
    fewest = min(classes, key=lambda label: classes[label].photos)
    ratio = classes[most].photos / classes[fewest].photos
    if ratio > UNEVEN:
        yield Finding("uneven", "hint", f"There are {ratio:.1f} times as many photos of {most} "
                      f"({classes[most].photos}) as of {fewest} ({classes[fewest].photos}).",
                      f"`train fit` lets each photo of {fewest} count {ratio**DEFAULT.imbalance:.1f} times as much as "
                      f"one of {most} (setting `imbalance`); more photos of {fewest} help more.")


def _light(classes: Mapping[str, Class]) -> Iterator[Finding]:
    readable = {label: found.photos - found.broken for label, found in classes.items()}
    if not any(found.infrared for found in classes.values()):
        yield Finding("no_infrared", "hint", "None of the photos is infrared-grey.",
                      "`train fit` turns a part of them grey (setting `augmentation.infrared`), but the results by "
                      "night are then those on greyed photos: add real night photos if the trap works by night.")
        return
    for label, found in classes.items():
        others = max(1, sum(readable.values()) - readable[label])
        elsewhere = sum(other.infrared for other in classes.values()) - found.infrared
        if len(classes) > 1 and found.infrared > NIGHT * readable[label] and elsewhere < DAY * others:
            yield Finding("light", "hint", f"Nearly all photos of {label} are infrared-grey, but few of the others.",
                          "The model may learn the light instead of what is in the picture: add photos of "
                          f"{label} by day, and of others by night.")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
