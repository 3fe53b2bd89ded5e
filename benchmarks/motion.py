"""The motion gate beside a bare MOG2 and Frigate's detector, interleaved in one run over the scenes with known truth.

    python benchmarks/motion.py [--scenes DIR] [--clips NAME,...] [--each]

Every frame is shown to the three detectors one after the other, in an order that turns. Printed for each: the visits
whose animal reaches 8 % of the frame's height and that get at least one box of IoU 0.3 or more with the truth; the
share of all frames with an animal that get one; frames with a trigger per hour on the clips without animals, with the
person's clip left out, and outside the visits of the other clips; and the time a frame takes. `--each` adds a line per
clip.

The bare MOG2 is what a first program does: luma of about 180 rows, MOG2 (varThreshold 25, no shadows), 2 x 2 opening,
boxes of at least 0.1 % of the frame. Its time is that of the resize and the model alone, without opening and boxes.

Frigate's detector is made again from its description and its defaults (threshold 30, contour_area 10, frame_alpha 0.01,
frame_height 100, improve_contrast, lightning_threshold 0.8): a running mean of the contrast-stretched, blurred luma;
boxes are contours of what differs; while it calibrates nothing is triggered. In its favour it blurs with OpenCV and
not with scipy, and gets its luma from the few pixels that its nearest-neighbour resize leaves.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import open_camera
from edge.seeing.motion import triggers
from edge.types import BBox, Frame

SCENES = Path(__file__).resolve().parents[2] / "shared/data/scenes"
LEAST_HEIGHT, LEAST_IOU = 0.08, 0.3
LEAST_AREA, ROWS = 0.001, 180

Boxes = list[BBox]
Look = Callable[[Frame], Boxes]


def gate() -> Look:
    """`edge.seeing.motion.triggers`, a frame at a time."""
    waiting: list[Frame] = []

    def frames() -> Iterator[Frame]:
        while True:
            yield waiting.pop()

    found = triggers(frames())

    def look(frame: Frame) -> Boxes:
        waiting.append(frame)
        return list(next(found).regions)

    return look


class Mog2:
    """A bare MOG2; `foreground` is the part whose time counts."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(500, 25, detectShadows=False)
        self.mask: NDArray[np.uint8]

    def foreground(self, frame: Frame) -> None:
        factor = max(1, round(frame.image.shape[0] / ROWS))
        width, height = frame.image.shape[1] // factor, frame.image.shape[0] // factor
        whole = frame.image[: height * factor, : width * factor]
        small = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        self.mask = self._model.apply(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))

    def boxes(self) -> Boxes:
        mask = cv2.morphologyEx(self.mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        kept = [contour for contour in contours if cv2.contourArea(contour) >= LEAST_AREA * mask.size]
        return [_share(cv2.boundingRect(contour), mask.shape) for contour in kept]


def frigate() -> Look:
    """Frigate's detector with its default settings."""
    mean: NDArray[np.float32] | None = None
    contrasts = np.tile(np.array([0.0, 255.0]), (50, 1))
    number, moving, calibrating = 0, 0, True

    def look(frame: Frame) -> Boxes:
        nonlocal mean, number, moving, calibrating
        height, width = frame.image.shape[:2]
        size = (100 * width // height, 100)
        grey = cv2.cvtColor(cv2.resize(frame.image, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_BGR2GRAY)
        low, high = np.percentile(grey, (4, 96)).astype(np.uint8)
        if low < high:
            contrasts[number % len(contrasts)] = low, high
            number += 1
            least, most = contrasts.mean(axis=0)
            grey = ((np.clip(grey, least, most) - least) / (most - least) * 255).astype(np.uint8)
        grey = cv2.GaussianBlur(grey, (3, 3), 1)
        if mean is None:
            mean = np.zeros(grey.shape, np.float32)
        changed = cv2.threshold(cv2.absdiff(grey, cv2.convertScaleAbs(mean)), 30, 255, cv2.THRESH_BINARY)[1]
        changed = cv2.dilate(changed, None)
        contours, _ = cv2.findContours(changed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        areas = [cv2.contourArea(contour) for contour in contours]
        boxes = [_share(cv2.boundingRect(contour), grey.shape)
                 for contour, area in zip(contours, areas, strict=True) if area > 10]
        share = sum(areas) / grey.size
        if share < 0.05 and len(boxes) <= 4:
            calibrating = False
        if share > 0.8:
            calibrating = True
        moving = moving + 1 if boxes else 0
        # A difference counts as background only once it has lasted.
        if not boxes or moving >= 10:
            cv2.accumulateWeighted(grey, mean, 0.2 if calibrating else 0.01)
        return [] if calibrating else boxes

    return look


def _share(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> BBox:
    left, top, width, height = box
    return BBox(left / shape[1], top / shape[0], width / shape[1], height / shape[0])


@dataclass(slots=True)
class Truth:
    """What happens in a clip: boxes by frame and species, and visits as (species, start, end, height)."""

    boxes: dict[int, list[tuple[str, BBox]]] = field(default_factory=lambda: defaultdict(list))
    visits: list[tuple[str, float, float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """What a detector did: per clip the frames with a trigger where there is no animal, and of how many seconds;
    visits hit and missed; the time of each look in ms; and in how many frames an animal shows and is hit."""

    false: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hit: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    shown: int = 0
    seen: int = 0


def read_truth(scenes: Path) -> dict[str, Truth]:
    """The truth by clip; a clip without animals has no boxes and no visits."""
    truths: dict[str, Truth] = {}
    for row in _rows(scenes / "clips.csv"):
        truths[row["clip"]] = Truth()
    for row in _rows(scenes / "truth_boxes.csv"):
        box = BBox(*(float(row[name]) for name in ("x", "y", "w", "h")))
        truths[row["clip"]].boxes[int(row["frame"])].append((row["species"], box))
    for row in _rows(scenes / "truth_events.csv"):
        times = float(row["start_s"]), float(row["end_s"]), float(row["max_height_frac"])
        truths[row["clip"]].visits.append((row["species"], *times))
    return truths


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def measure(clip: Path, truth: Truth, found: dict[str, Found]) -> None:
    """Show a clip to the three detectors."""
    bare = Mog2()
    looks: dict[str, Look] = {"gate": gate(), "frigate": frigate()}
    names = list(found)
    hits: dict[str, set[int]] = {name: set() for name in names}
    for each in found.values():
        each.false[clip.stem], each.seconds[clip.stem] = 0, 0.0
    start = None
    for number, frame in enumerate(open_camera(str(clip)).frames(threading.Event())):
        start = start or frame.timestamp
        now = (frame.timestamp - start).total_seconds()
        animals = truth.boxes.get(frame.index, [])
        for name in names[number % 3 :] + names[: number % 3]:
            begun = time.perf_counter()
            if name == "bare MOG2":
                bare.foreground(frame)
                found[name].times.append((time.perf_counter() - begun) * 1000)
                boxes = bare.boxes()
            else:
                boxes = looks[name](frame)
                found[name].times.append((time.perf_counter() - begun) * 1000)
            if not animals:
                found[name].false[clip.stem] += bool(boxes)
                found[name].seconds[clip.stem] += 0.2
            for index, (species, begin, end, _) in enumerate(truth.visits):
                if begin - 0.01 <= now <= end + 0.01:
                    true = [box for other, box in animals if other == species]
                    found[name].shown += bool(true)
                    if any(box.iou(each) >= LEAST_IOU for box in boxes for each in true):
                        found[name].seen += 1
                        hits[name].add(index)
    for name in names:
        for index, (species, begin, _, height) in enumerate(truth.visits):
            if height >= LEAST_HEIGHT:
                said = f"{species} at {begin:.0f} s of {clip.stem}"
                (found[name].hit if index in hits[name] else found[name].missed).append(said)


def per_hour(found: Found, clips: list[str]) -> float:
    """Frames with a trigger per hour without animals."""
    seconds = sum(found.seconds[clip] for clip in clips)
    return sum(found.false[clip] for clip in clips) / seconds * 3600 if seconds else 0.0


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, default=SCENES)
    parser.add_argument("--clips", default="", help="only clips whose name contains one of these")
    parser.add_argument("--each", action="store_true", help="a line per clip too")
    options = parser.parse_args()
    if not (options.scenes / "clips.csv").is_file():
        raise SystemExit(f"--scenes: expected a folder with clips.csv, found none at {options.scenes}; name one")
    cv2.setNumThreads(1)
    truths = read_truth(options.scenes)
    wanted = options.clips.split(",")
    clips = [clip for clip in truths if any(part in clip for part in wanted)]
    found = {"gate": Found(), "bare MOG2": Found(), "frigate": Found()}
    for clip in clips:
        measure(options.scenes / f"{clip}.mp4", truths[clip], found)
        if options.each:
            rates = ", ".join(f"{name} {each.false[clip]}" for name, each in found.items())
            print(f"{clip:30}{found['gate'].seconds[clip]:6.0f} s without an animal; frames triggered: {rates}")
    empty = [clip for clip in clips if not truths[clip].visits]
    nobody = [clip for clip in empty if "person" not in clip]
    others = [clip for clip in clips if truths[clip].visits]
    print(f"\n{'':12}{'visits':>10}{'share':>8}{'frames':>8}{'triggers/h':>12}{'no person':>11}{'outside':>9}"
          f"{'ms mean':>9}{'median':>8}{'ratio':>7}")
    floor = statistics.mean(found["bare MOG2"].times)
    for name, each in found.items():
        visits = len(each.hit) + len(each.missed)
        print(f"{name:12}{f'{len(each.hit)}/{visits}':>10}{len(each.hit) / max(1, visits):>8.1%}"
              f"{each.seen / max(1, each.shown):>8.0%}"
              f"{per_hour(each, empty):>12.0f}{per_hour(each, nobody):>11.0f}{per_hour(each, others):>9.0f}"
              f"{statistics.mean(each.times):>9.3f}{statistics.median(each.times):>8.3f}"
              f"{statistics.mean(each.times) / floor:>7.2f}")
    ours, peers = found["gate"], [found["bare MOG2"], found["frigate"]]
    print("targets: visits 97 % "
          + _met(len(ours.hit) >= 0.97 * (len(ours.hit) + len(ours.missed)))
          + ", triggers lower than both "
          + _met(all(per_hour(ours, empty) < per_hour(each, empty) for each in peers))
          + ", time 1.25 x bare MOG2 and resize "
          + _met(statistics.mean(ours.times) <= 1.25 * floor))
    for name, each in found.items():
        if each.missed:
            print(f"{name} missed: {'; '.join(each.missed)}")


if __name__ == "__main__":
    main()
