"""The HTML pages of the reports: one file each, pictures inside, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.bundle import require_writable
from models.errors import EdgeWatchError

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fafaf7; max-width: 1100px; margin: 2em auto;
  padding: 0 1em }
h1 { font-size: 1.7em; margin-bottom: 0 } h2 { font-size: 1.25em; margin: 2em 0 .4em; border-bottom: 1px solid #ddd }
p.quiet, td.quiet, figcaption { color: #666; font-size: .9em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92em; display: block;
  overflow-x: auto }
th, td { padding: .2em .5em; text-align: left; border-bottom: 1px solid #eee; white-space: nowrap }
th { color: #666; font-weight: 600; vertical-align: bottom } th.number, td.number { text-align: right }
details { margin: .6em 0 } summary { cursor: pointer }
img { max-width: 100%; height: auto } figure { margin: 1em 0 }
.wall { display: flex; flex-wrap: wrap; gap: .6em } .wall figure { margin: 0; width: 132px }
.wall img { display: block; width: 132px; height: 132px; object-fit: contain; background: #eee }
.wall figcaption { font-size: .78em; line-height: 1.3; overflow-wrap: anywhere }
.groups { display: flex; flex-wrap: wrap; gap: .8em; align-items: flex-start } .groups figure { margin: 0 }
.group { border: 1px solid #ddd; background: #fff; padding: .5em; max-width: 568px }
.group > p { margin: 0 0 .4em; font-size: .85em; max-width: 34em }
.bar { display: inline-block; height: .7em; margin-right: .5em; background: #7fa8a0 }
.mark { background: #444; color: #fff; padding: 0 .3em; border-radius: .2em; font-weight: 600 }
.bad { color: #c8553d; font-weight: 600 } .good { color: #2c7a4b; font-weight: 600 }
@media (max-width: 700px) { .bar { display: none } th, td { padding: .2em .4em } h1 { overflow-wrap: anywhere }
  td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6.5em } }
"""


class Html(str):
    """Text that is HTML already, for a cell of a table."""

    __slots__ = ()


def page(title: str, parts: Iterable[str]) -> str:
    """A whole HTML page; `title` is text, `parts` are HTML."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """The heading of a section, or with level 3 of a part of one."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text; `kind` may be `quiet`, `bad` or `good`."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """A table of text cells, or `Html`; the first `words` columns are words, the others numbers (set to the right)."""

    def cells(tag: str, row: Sequence[object]) -> str:
        inner = (cell if isinstance(cell, Html) else escape(str(cell)) for cell in row)
        return "".join(
            f'<{tag} class="number">{cell}</{tag}>' if place >= words else f"<{tag}>{cell}</{tag}>"
            for place, cell in enumerate(inner)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{cells('th', header)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def bar(share: float, width: int = 100) -> Html:
    """A bar for a table's cell; all of it (share 1) is `width` pixels long."""
    return Html(f'<span class="bar" style="width:{max(1, round(share * width))}px"></span>')


def picture(content: bytes, caption: str = "", alt: str = "", mark: str = "") -> str:
    """A figure with a PNG, JPEG or SVG file inside the page; caption, alternative and mark are text.

    The mark, a word or two, stands out before the caption.
    """
    kind = "png" if content[:4] == b"\x89PNG" else "jpeg" if content[:2] == b"\xff\xd8" else "svg+xml"
    data = base64.b64encode(content).decode()
    before = f'<span class="mark">{escape(mark)}</span> ' if mark else ""
    below = f"<figcaption>{before}{breaking(caption)}</figcaption>" if caption or mark else ""
    return f'<figure><img src="data:image/{kind};base64,{data}" alt="{escape(alt or caption)}">{below}</figure>'


def breaking(text: str) -> Html:
    """Text in which long names break after `/`, `_` and `-`, rather than a letter before their end."""
    return Html(re.sub("([/_-])(?=.)", r"\1<wbr>", escape(text)))


def fold(summary: str, parts: Iterable[str]) -> str:
    """HTML that shows only a line of text until it is opened."""
    inner = "\n".join(parts)
    return f"<details>\n<summary>{escape(summary)}</summary>\n{inner}\n</details>"


def wall(figures: Iterable[str]) -> str:
    """Small pictures (`picture(thumbnail(...), caption)`) side by side, as many in a row as fit."""
    return '<div class="wall">' + "\n".join(figures) + "</div>"


def thumbnail(image: NDArray[np.uint8], side: int = 132, quality: int = 80) -> bytes:
    """A JPEG of a (height, width, 3) uint8 BGR picture, its longer side shrunk to `side` pixels."""
    share = side / max(image.shape[:2])
    if share < 1:
        size = (max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def require_replaceable(out: Path, names: Sequence[str], option: str = "--out") -> None:
    """Check before a long job that a folder with files of these names can be written, or replaced; `option` names it.

    Raises:
        EdgeWatchError: the folder holds anything else (it would be lost), or cannot be written.
    """
    require_writable(out, option)
    if out.exists() and not (out.is_dir() and set(os.listdir(out)) in (set(), set(names))):
        raise EdgeWatchError(
            f"{out}: expected no such folder, or one that holds only {' and '.join(names)}, found "
            f"another; choose another {option}"
        )


def write_folder(out: Path, files: Mapping[str, str], option: str = "--out") -> None:
    """Write text files into a folder, all or none; a folder that holds only files of these names is replaced.

    Raises:
        EdgeWatchError: as `require_replaceable`, or the disk is full; nothing is left behind.
    """
    require_replaceable(out, tuple(files), option)
    working = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        new = working / "new"
        new.mkdir()
        for name, text in files.items():  # Names of files may hold bytes that are no UTF-8.
            (new / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        if out.exists():
            os.replace(out, working / "old")
        os.replace(new, out)
    except OSError as error:
        raise EdgeWatchError(
            f"{out}: cannot be written: {error.strerror}; make room or choose another {option}"
        ) from error
    finally:
        if working:
            if (working / "old").exists() and not out.exists():
                os.replace(working / "old", out)
            shutil.rmtree(working, ignore_errors=True)
