"""The report as a page: one file without scripts, with the timeline of each scene and small pictures in it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import cv2
import numpy as np

from edge.truth.matching import Compared
from edge.truth.summary import UNITS, Report, false_text, last_line, length, overview, to_json, visit_text
from edge.truth.timeline import LEGEND, STYLE, timeline
from edge.truth.witness import Seen
from models.page import Html, heading, page, paragraph, picture, table, thumbnail, wall

PAGE, DATA = "report.html", "report.json"
WIDE, QUALITY = 240, 70
"""Pixels of a small picture's longer side, and its JPEG quality: some 8 kB each."""
_WALL = """.wall figure { width: 220px } .wall img { width: 220px; height: auto; background: none }
section { break-inside: avoid } h3 { margin: 1.6em 0 0; break-after: avoid }
ul { margin: .3em 0 .6em; padding-left: 1.2em } .mark { background: #c03000; print-color-adjust: exact }
@media (max-width: 700px) { .wall figure { width: calc(50% - .3em) } .wall img { width: 100% }
  h3 { overflow-wrap: anywhere } }
@media print { body { margin: 0; max-width: none; background: none; font-size: 12px } .wall figure { width: 160px }
  .wall img { width: 160px } table { font-size: .8em; display: table } }
"""


def files(report: Report) -> dict[str, str]:
    """The report's files by name, as text."""
    return {PAGE: html(report), DATA: to_json(report)}


def html(report: Report) -> str:
    """The page."""
    targets = ", ".join(report.settings.species)
    settings = report.settings
    parts = [
        Html(f"<style>{STYLE}{_WALL}</style>"),
        paragraph(
            f"{report.source}, compared with {report.truth}; model {report.model}, event gap "
            f"{settings.event_gap.total_seconds():g} s, alert interval {settings.alert_interval.total_seconds():g} s",
            "quiet",
        ),
        paragraph(last_line(report) + "."),
        *(paragraph(note, "quiet") for note in report.notes),
        table(*overview(report)),
        paragraph(UNITS + ".", "quiet"),
        heading("Along the time"),
        LEGEND,
    ]
    busy = [scene for scene in report.scenes if scene.outcomes or scene.others or scene.replay.seen]
    for scene in busy:
        parts += _scene(scene)
    quiet = [_quiet(scene) for scene in report.scenes if scene not in busy]
    if quiet:
        parts += [heading("No animal there, none seen", 3), paragraph(", ".join(quiet))]
    return page(f"edge-watch beside the truth: {targets}", parts)


def _quiet(scene: Compared) -> str:
    people = f", in {scene.replay.people} frames a person" if scene.replay.people else ""
    return f"{scene.name} ({length(scene.replay.length)}{people})"


def _scene(scene: Compared) -> Iterator[str]:
    yield "<section>"
    yield heading(f"{scene.name}, {length(scene.replay.length)}", 3)
    yield timeline(scene)
    lines = [visit_text(outcome) for outcome in scene.outcomes]
    lines += [f"FALSE: {false_text(alert)}" for alert in scene.false]
    if scene.replay.people:
        lines.append(f"frames in which a person was recognized: {scene.replay.people}")
    if lines:
        yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
    figures = [_figure(scene, each) for each in scene.replay.seen if each.image is not None]
    if figures:
        yield wall(figures)
    yield "</section>"


def _figure(scene: Compared, seen: Seen) -> str:
    assert seen.image is not None
    image = cv2.imdecode(np.frombuffer(seen.image, np.uint8), cv2.IMREAD_COLOR)
    told = "recorded only" if seen.told is None else f"alert at {seen.told:.1f} s"
    became = f", then taken for {seen.became}" if seen.became not in ("", seen.species) else ""
    caption = f"{seen.species} {seen.probability:.0%}, {seen.start:.1f}-{seen.end:.1f} s, {told}{became}"
    mark = "FALSE" if any(seen is each for each in scene.false) else ""
    return picture(thumbnail(image, WIDE, QUALITY), caption, mark=mark)  # type: ignore[arg-type]
