"""`train inspect`: what is in the photos and what is wrong with them, as a page with pictures and as JSON."""

from __future__ import annotations

import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from html import escape
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from models import page
from models.boxes import cut_out
from models.images import read_image
from train.photos.data import LEAST, RUNS, SPLITS, Photo
from train.photos.find import data_name, find_photos
from train.photos.findings import TINY, Group
from train.photos.looks import Inspection, Look, Spread, examine, look

PAGE, JSON = "inspect.html", "inspect.json"
SECTIONS = ("broken", "tiny", "leaks", "conflicts", "duplicates")
"""The kinds of findings that a section of the page shows."""
SHEET = 24
"""Photos of a class on its contact sheet, at most."""
SHEETS = 480
"""Photos on all contact sheets together; with more than 20 classes each gets shorter."""
GROUPS = 16
"""Groups of a kind that are shown; all stand in the JSON."""
MEMBERS = 4
"""Photos of a group that are shown; of each of its classes at least one."""
FOLDED = 10
"""With more classes than this that have too few photos, they are folded away."""
LINES = 50
"""Broken photos that are listed."""
SIDE, QUALITY = 132, 70
"""Pixels and JPEG quality of a thumbnail: 600 of them make a page of about 4 MB."""


def inspect(
    root: Path, exclude: Path | None, out: Path | None, as_json: bool, detections: Path | None = None
) -> int:
    """`train inspect`: write the page and the JSON, print a summary; the exit code is 0 whatever is found.

    Args:
        root: DATA.
        exclude: a list of photos to leave out, or None.
        out: the new folder; None is `runs/inspect-` and the name of DATA. An earlier inspection is replaced.
        as_json: print the JSON instead of the summary.
        detections: MegaDetector's file, or None for the one beside the photos.

    Raises:
        EdgeWatchError: there are no photos, or the folder cannot be written or holds something else.
    """
    data = find_photos(root, exclude, detections)
    out = out or RUNS / f"inspect-{data_name(root)}"
    page.require_replaceable(out, (PAGE, JSON))
    looks = list(look(data.root, data.photos, lambda line: print(line, file=sys.stderr, flush=True)))
    found = examine(data, looks, str(root))
    text = json.dumps(asdict(found), indent=1)
    page.write_folder(out, {PAGE: as_html(found, data.root, looks), JSON: text + "\n"})
    shown = text if as_json else as_text(found)
    print(shown.encode(errors="backslashreplace").decode())  # Names of files may hold bytes that are no UTF-8.
    print(f"open {out / PAGE}", file=sys.stderr if as_json else sys.stdout)
    return 0


def as_text(found: Inspection) -> str:
    """The findings as lines of text."""
    columns = [split for split in SPLITS if any(split in row.splits for row in found.classes.values())]
    crops = ["crops"] if any(row.crops for row in found.classes.values()) else []
    wide = max(len(label) for label in (*found.classes, "class"))
    lines = [f"{found.data}: {found.photos} photos of {len(found.classes)} classes, {found.excluded} excluded", "",
             "class".ljust(wide) + "".join(f"{title:>9}" for title in ("photos", *columns, *crops, "infrared", "px"))]
    for label, row in found.classes.items():
        cells = (row.photos, *(row.splits.get(split, 0) for split in columns), *(row.crops for _ in crops),
                 row.infrared, row.short_side)
        lines.append(label.ljust(wide) + "".join(f"{cell:>9}" for cell in cells))
    lines += ["", f"imbalance: {_imbalance(found)}"]
    if found.short_side.bins:
        lines += [f"{title}: {_range(spread)}" for title, spread in (
            ("shorter side", found.short_side), ("width", found.width), ("height", found.height))]
        lines += [f"shape (width / height): {_range(found.shape, '.2f', '')}", f"enlarged: {_enlarged(found)}"]
    lines.append(f"infrared-grey: {found.infrared_share:.1%}")
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"{finding.level}: {finding.text} {finding.advice}" for finding in found.findings]
    return "\n".join(lines)


def _imbalance(found: Inspection) -> str:
    uneven = found.imbalance
    return (f"{uneven.most} has {uneven.ratio:.1f} times as many photos as {uneven.fewest}; in training each photo "
            f"of {uneven.fewest} counts {uneven.weight:.1f} times as much (setting `imbalance`)")


def _range(spread: Spread, form: str = "g", unit: str = " px") -> str:
    return f"{spread.least:{form}} to {spread.greatest:{form}}{unit}, median {spread.median:{form}}"


def _enlarged(found: Inspection) -> str:
    total = found.photos - len(found.broken)
    return (f"{found.enlarged} of {total} photos ({found.enlarged / total:.0%}) have a side below {found.input} px, "
            f"the network's input")


def as_html(found: Inspection, root: Path, looks: Sequence[Look], seed: int = 1) -> str:
    """The page, with all its pictures inside.

    Args:
        found: what `looks` came to.
        root: the folder that the photos' paths are relative to; those that are shown are read again.
        looks: one for each photo.
        seed: the same seed and photos give the same contact sheets.

    Raises:
        ImageError: a photo that could be read before cannot be read now.
    """
    album = {one.photo.name: one for one in looks if not one.broken}
    sheets = contact_sheets(album.values(), seed)
    alone = [group for group in found.duplicates if len(group.classes) == 1 and len(group.splits) < 2]
    groups = {"leaks": found.leaks, "conflicts": found.conflicts, "duplicates": alone}
    members = {kind: [_members(group, album) for group in some[:GROUPS]] for kind, some in groups.items()}
    wanted = {path for some in members.values() for paths in some for path in paths} | set(found.tiny[:SHEET])
    wanted |= {path for paths in sheets.values() for path in paths}
    small = _thumbnails(root, [album[name].photo for name in sorted(wanted)])
    total = f"{found.photos} photos of {len(found.classes)} classes, {found.excluded} excluded."
    parts = [page.paragraph(total, "quiet"), *_verdict(found), *_counts(found), *_sizes(found), *_broken(found)]
    if found.tiny:
        parts += [_section("tiny", f"Smaller than {TINY} px: {len(found.tiny)}"), _more(len(found.tiny), SHEET),
                  page.wall(_figure(album[path], small, path) for path in found.tiny[:SHEET])]
    for kind, title in (("leaks", "On more than one side of the split"), ("conflicts", "In more than one class"),
                        ("duplicates", "Other photos that are the same, or nearly")):
        parts += _groups(kind, title, groups[kind], members[kind], album, small)
    parts += [page.heading("Contact sheets"), page.paragraph(
        "Photos drawn evenly from each class. Is one in the wrong class? Has a class anything else in common, such as "
        "its place or its light, that a model could take for the animal?", "quiet")]
    walls = {label: f'<div id="class-{quote(label)}">'
                    + page.heading(f"{label}: {len(paths)} of {found.classes[label].photos}", 3) + "</div>\n"
                    + page.wall(_figure(album[path], small, PurePosixPath(path).name) for path in paths)
             for label, paths in sheets.items()}
    folded = _folded(found)
    parts += [part for label, part in walls.items() if label not in folded]
    if folded:
        parts.append(page.fold(_few(folded), (walls[label] for label in folded if label in walls)))
    return page.page(f"Photos in {found.data}", (part for part in parts if part))


def contact_sheets(looks: Iterable[Look], seed: int) -> dict[str, list[str]]:
    """By class, the paths of photos drawn evenly: one from each of as many stretches of the sorted paths."""
    paths: dict[str, list[str]] = defaultdict(list)
    for one in looks:
        paths[one.photo.label].append(one.photo.name)
    share = max(6, min(SHEET, SHEETS // max(1, len(paths))))
    sheets = {}
    for label in sorted(paths):
        every, count = sorted(paths[label]), min(share, len(paths[label]))
        dice = random.Random(f"{seed} {label}")
        limits = [place * len(every) // count for place in range(count + 1)]
        sheets[label] = [every[dice.randrange(low, high)] for low, high in pairwise(limits)]
    return sheets


def _members(group: Group, album: Mapping[str, Look]) -> list[str]:
    """The photos of a group that are shown: one of each class, then one from each split, then others."""
    first: dict[tuple[str, str | None], str] = {}
    for path in group.photos:
        first.setdefault((album[path].photo.label, None), path)
    for path in group.photos:
        first.setdefault((album[path].photo.label, album[path].photo.split), path)
    every = dict.fromkeys([*first.values(), *group.photos])
    return list(every)[:max(MEMBERS, len(group.classes))]


def _thumbnails(root: Path, photos: Sequence[Photo]) -> dict[str, bytes]:
    def one(photo: Photo) -> bytes:
        image = read_image(root / photo.path, at_least=None if photo.box else SIDE)
        return page.thumbnail(cut_out(image, photo.box), SIDE, QUALITY)

    with ThreadPoolExecutor() as pool:
        return dict(zip((photo.name for photo in photos), pool.map(one, photos), strict=True))


def _figure(one: Look, small: Mapping[str, bytes], caption: str) -> str:
    return page.picture(small[one.photo.name], caption, mark="infrared-grey" if one.infrared else "")


def _verdict(found: Inspection) -> Iterator[str]:
    problems = sum(finding.level == "problem" for finding in found.findings)
    yield page.heading("What to do")
    if not problems:
        yield page.paragraph("Nothing is plainly wrong with these photos.", "good")
    items = [f'<span class="{"bad" if finding.level == "problem" else ""}">{_code(finding.text)}</span> '
             f"{_code(finding.advice)}{' <a href=#' + finding.kind + '>Show</a>' if finding.kind in SECTIONS else ''}"
             for finding in found.findings]
    yield f"<ul>{''.join(f'<li>{item}</li>' for item in (*items, *map(escape, found.notes)))}</ul>"


def _section(kind: str, title: str) -> str:
    return f'<div id="{kind}">{page.heading(title)}</div>'


def _code(text: str) -> str:
    """Text as HTML, with what stands in `backticks` set as code."""
    return re.sub(r"`(.*?)`", r"<code>\1</code>", escape(text))


def _counts(found: Inspection) -> Iterator[str]:
    rows = found.classes.values()
    splits = [split for split in SPLITS if any(split in row.splits for row in rows)]
    places = [name for name in ("crops", "locations", "sequences") if any(getattr(row, name) for row in rows)]
    most = found.classes[found.imbalance.most].photos

    def cells(label: str) -> list[object]:
        row = found.classes[label]
        grey = row.infrared / max(1, row.photos - row.broken)
        return [page.Html(f'<a href="#class-{quote(label)}">{page.breaking(label)}</a>'),
                page.Html(f"{page.bar(row.photos / most)}{row.photos}"),
                *(row.splits.get(split, 0) for split in splits), row.distinct, *(getattr(row, name) for name in places),
                page.Html(f"{page.bar(grey, 60)}{grey:.0%}") if grey else "0%", f"{row.short_side} px", row.broken]

    yield page.heading("Classes")
    header = ["class", "photos", *splits, "distinct", *places, "infrared-<br>grey", "shorter<br>side", "broken"]
    folded = _folded(found)

    def rows_of(labels: Iterable[str]) -> str:
        return page.table([page.Html(title) for title in header], map(cells, labels), words=2)

    if len(folded) < len(found.classes):
        yield rows_of(label for label in found.classes if label not in folded)
    if folded:
        yield page.fold(_few(folded), [rows_of(folded)])
    yield page.paragraph(
        f"{_imbalance(found).replace('`', '')}. "
        f"Of all photos that can be read {found.infrared_share:.1%} are infrared-grey. Distinct: photos that are the "
        f"same, or nearly, count once. Shorter side: the median.", "quiet")


def _folded(found: Inspection) -> list[str]:
    """The classes that are folded away: those that `train fit` would refuse, where they are many."""
    few = [label for label, row in found.classes.items() if row.photos < LEAST]
    return few if len(few) > FOLDED else []


def _few(labels: Sequence[str]) -> str:
    return f"{len(labels)} classes with fewer than {LEAST} photos, too few to train on"


def _sizes(found: Inspection) -> Iterator[str]:
    if not found.short_side.bins:
        return
    yield page.heading("Sizes")
    yield page.paragraph(f"Shorter side: {_range(found.short_side)}. {_enlarged(found)} unless told otherwise, to "
                         f"which pictures are stretched. Shape (width / height): {_range(found.shape, '.2f', '')}.")
    charts = ((found.width, "Photos by their width in pixels", "histogram of the width"),
              (found.height, "Photos by their height in pixels", "histogram of the height"),
              (found.short_side, "Photos by their shorter side in pixels", "histogram of the shorter side"),
              (found.shape, "Photos by width / height: below 1 upright, above 1 lying", "histogram of the shape"))
    figures = (page.picture(histogram(spread), caption, alt) for spread, caption, alt in charts)
    yield f'<div class="groups">{"".join(figures)}</div>'


def histogram(spread: Spread) -> bytes:
    """An SVG picture of the bins, with their number of photos above and their limits below."""
    wide, high, bottom = 44, 150, 175
    most = max(one.photos for one in spread.bins)
    marks = []
    for place, one in enumerate(spread.bins):
        left, tall = 20 + place * wide, high * one.photos / most
        marks.append(f'<rect x="{left + 1}" y="{bottom - tall:.1f}" width="{wide - 2}" height="{tall:.1f}" '
                     f'fill="#7fa8a0"/><text x="{left + wide / 2}" y="{bottom - tall - 5:.1f}">{one.photos}</text>'
                     f'<text x="{left}" y="{bottom + 16}">{one.low:g}</text>')
    last, right = spread.bins[-1].high, 20 + len(spread.bins) * wide
    marks.append(f'<text x="{right}" y="{bottom + 16}">{"" if last is None else f"{last:g}"}</text>'
                 f'<path d="M20 {bottom}H{right}" stroke="#888"/>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 20}" height="{bottom + 22}" '
            f'font-family="sans-serif" font-size="11" fill="#444" text-anchor="middle">{"".join(marks)}</svg>').encode()


def _broken(found: Inspection) -> Iterator[str]:
    if found.broken:
        yield _section("broken", f"Cannot be read: {len(found.broken)}")
        yield _more(len(found.broken), LINES)
        yield page.table(["photo", "why"], ((one.path, one.reason) for one in found.broken[:LINES]), words=2)


def _groups(
    kind: str, title: str, groups: Sequence[Group], members: Sequence[Sequence[str]], album: Mapping[str, Look],
    small: Mapping[str, bytes],
) -> Iterator[str]:
    if not groups:
        return
    yield _section(kind, f"{title}: {len(groups)}")
    first = f"The first {GROUPS} of {len(groups)}; all" if len(groups) > GROUPS else "All"
    yield page.paragraph(f"{first}, with all their photos, are in {JSON}, under {kind}.", "quiet")
    boxes = []
    for group, paths in zip(groups, members, strict=False):
        several = len(group.classes) > 1
        what = {"same": "the same file", "near": "nearly the same"}.get(group.kind, f"{group.kind} {group.name}")
        sides = [" and ".join(some) for some in (group.classes, group.splits) if some]
        more = len(group.photos) - len(paths)
        label = f"{what}: {len(group.photos)} photos; {'; '.join(sides)}" + (f" ({more} not shown)" if more else "")
        boxes.append(f'<div class="group">{page.paragraph(label)}'
                     + page.wall(_figure(album[path], small, f"{album[path].photo.label}: {path}" if several else path)
                                 for path in paths) + "</div>")
    yield f'<div class="groups">{"".join(boxes)}</div>'


def _more(total: int, shown: int) -> str:
    return page.paragraph(f"The first {shown} of {total}; all are in inspect.json.", "quiet") if total > shown else ""
