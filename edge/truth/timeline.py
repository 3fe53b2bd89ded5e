"""A scene drawn along its time in HTML: for each species what was there, and below it what the trap made of it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from edge.truth.matching import Compared
from edge.truth.visits import Visit
from edge.truth.witness import Seen

# Colors of Okabe and Ito, which color-blind people tell apart; and no two things differ by color alone.
STYLE = """
.time { display: grid; grid-template-columns: minmax(5.5em, max-content) 1fr; column-gap: .6em; margin: .4em 0 .8em;
  -webkit-print-color-adjust: exact; print-color-adjust: exact; break-inside: avoid; font-size: .9em }
.time .name { grid-row: span 2; align-self: center; overflow-wrap: anywhere } .time .other { color: #666 }
.lane { position: relative; height: 1.1em; background: #f0f0ea; border-left: 1px solid #999 }
.lane.trap { margin-bottom: .45em; height: 1.3em }
.lane i { position: absolute; top: 0; bottom: 0; min-width: 3px; box-sizing: border-box }
.was { background: #0072b2 }
.seen { border: 2px solid #b87a00; background: repeating-linear-gradient(-45deg, #f0c25a 0 4px, #fff 4px 8px) }
.lane b { position: absolute; top: -.12em; transform: translateX(-50%); font: 700 1.1em/1.3 system-ui, sans-serif;
  text-shadow: 0 0 3px #fff, 0 0 3px #fff }
.told { color: #000 } .wrong { color: #c03000 }
.axis { grid-column: 2; position: relative; height: 1.4em; border-left: 1px solid transparent; color: #666 }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap }
.axis span:first-child { transform: none } .axis span:last-child { transform: translateX(-100%) }
.legend { display: flex; flex-wrap: wrap; gap: .2em 1.4em; color: #666; font-size: .9em }
.key { display: inline-block; width: 1.6em; height: .9em; vertical-align: -.1em; margin-right: .4em;
  box-sizing: border-box; -webkit-print-color-adjust: exact; print-color-adjust: exact }
"""
TOLD, WRONG = "▲", "✕"
LEGEND = (
    '<div class="legend"><span><i class="key was"></i>was there</span>'
    '<span><i class="key seen"></i>recorded by the trap</span>'
    f'<span><b class="told">{TOLD}</b> alert of a visit</span>'
    f'<span><b class="wrong">{WRONG}</b> false alert</span></div>'
)
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def timeline(scene: Compared) -> str:
    """The HTML of a scene's time: a pair of lanes for each species that was there or was seen, targets first."""
    seconds = max(scene.replay.length, 0.001)
    visits = [outcome.visit for outcome in (*scene.outcomes, *scene.others)]
    targets = {outcome.visit.species for outcome in scene.outcomes} | {alert.species for alert in scene.replay.alerts}
    names = {visit.species for visit in visits} | {each.species for each in scene.replay.seen}
    lanes = []
    for name in sorted(names, key=lambda name: (name not in targets, name)):
        kind = "name" if name in targets else "name other"
        was = "".join(_was(visit, seconds) for visit in visits if visit.species == name)
        seen = [each for each in scene.replay.seen if each.species == name]
        trap = "".join(_seen(each, seconds) for each in seen) + "".join(_told(scene, each, seconds) for each in seen)
        lanes.append(f'<span class="{kind}">{escape(name)}</span><div class="lane">{was}</div>'
                     f'<div class="lane trap">{trap}</div>')  # fmt: skip
    ticks = "".join(f'<span style="left:{_share(tick, seconds)}">{text}</span>' for tick, text in _ticks(seconds))
    return f'<div class="time">{"".join(lanes)}<div class="axis">{ticks}</div></div>'


def _was(visit: Visit, seconds: float) -> str:
    said = escape(f"{visit.species} was there from {visit.start:.1f} to {visit.end:.1f} s")
    return _bar("was", visit.start, visit.end, seconds, said)


def _seen(seen: Seen, seconds: float) -> str:
    said = escape(f"{seen.species} recorded from {seen.start:.1f} to {seen.end:.1f} s, {seen.probability:.0%}")
    return _bar("seen", seen.start, seen.end, seconds, said)


def _told(scene: Compared, seen: Seen, seconds: float) -> str:
    if seen.told is None:
        return ""
    wrong = any(seen is each for each in scene.false)
    said = f"{'false alert' if wrong else 'alert'} at {seen.told:.1f} s"
    sign, kind = (WRONG, "wrong") if wrong else (TOLD, "told")
    return f'<b class="{kind}" style="left:{_share(seen.told, seconds)}" title="{said}">{sign}</b>'


def _bar(kind: str, start: float, end: float, seconds: float, said: str) -> str:
    start, end = max(0.0, start), min(end, seconds)
    width = f"{100 * max(0.0, end - start) / seconds:.2f}%"
    return f'<i class="{kind}" style="left:{_share(start, seconds)};width:{width}" title="{said}"></i>'


def _share(time: float, seconds: float) -> str:
    return f"{100 * min(max(time / seconds, 0.0), 1.0):.2f}%"


def _ticks(seconds: float) -> Iterator[tuple[float, str]]:
    """Times to write below the lanes, four or so, the end among them: more would overlap on a phone."""
    step = next((step for step in _STEPS if seconds / step <= 5), _STEPS[-1] * max(1, round(seconds / 4 / _STEPS[-1])))
    at = 0.0
    while at <= seconds - 0.6 * step:
        yield at, _clock(at)
        at += step
    yield seconds, _clock(seconds)


def _clock(time: float) -> str:
    if time < 100:
        return f"{time:.0f} s"
    minutes, rest = divmod(round(time), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02d} h"
