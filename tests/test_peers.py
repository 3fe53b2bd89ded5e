"""The benchmark's peers and worse clips: what they do is what their descriptions say."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.degraded import dark, half, noise, noisy, slow
from benchmarks.events import in_turn
from benchmarks.peers import FrigateVote, HobbyLoop
from edge.settings import Settings
from edge.truth.witness import Replay, Seen
from edge.types import BBox, Crop, Frame, Named, Prediction, Sighting, Trigger
from models.labels import Label, LabelMap
from tests.conftest import START

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("empty", "lion", "person", "tiger")
LABELS = LabelMap(Label.from_name(name, {}) for name in NAMES)
HERE, THERE = BBox(0.1, 0.1, 0.2, 0.2), BBox(0.6, 0.6, 0.2, 0.2)
MakeFrame = Callable[..., Frame]


def probabilities(name: str, share: float) -> NDArray[np.float32]:
    values = np.full(len(NAMES), (1 - share) / (len(NAMES) - 1), np.float32)
    values[NAMES.index(name)] = share
    return values


def looks(make_frame: MakeFrame, *said: tuple[float, str, float, BBox]) -> list[Named]:
    """A look for each: second, name, probability, place."""
    found: list[Named] = []
    for second, name, share, box in said:
        trigger = Trigger(make_frame(second), (box,), "day")
        found.append((trigger, (Prediction(Crop(trigger, box), probabilities(name, share)),)))
    return found


def voted(named: Iterable[Named]) -> list[tuple[float, str]]:
    vote = FrigateVote(LABELS)
    list(vote.keep(named))
    return [((when - START).total_seconds(), name) for when, name, _ in vote.alarms]


def test_vote_needs_three_sure_attempts_of_which_most_agree(make_frame: MakeFrame) -> None:
    sure = [(number, "tiger", 0.8, HERE) for number in range(5)]
    assert voted(looks(make_frame, *sure)) == [(2, "tiger")]
    assert voted(looks(make_frame, *sure[:2])) == []
    assert voted(looks(make_frame, *[(number, "tiger", 0.79, HERE) for number in range(9)])) == []
    # Two of four are not 60 %, three of five are.
    mixed = [(0, "lion", 0.9, HERE), (1, "lion", 0.9, HERE), (2, "tiger", 0.9, HERE), (3, "tiger", 0.9, HERE)]
    assert voted(looks(make_frame, *mixed)) == [(2, "lion")]
    mixed = [(0, "lion", 0.9, HERE), (1, "tiger", 0.9, HERE), (2, "person", 0.9, HERE), *[(3, "tiger", 0.9, HERE)] * 1,
             (4, "tiger", 0.9, HERE)]  # fmt: skip
    assert voted(looks(make_frame, *mixed)) == [(4, "tiger")]


def test_vote_is_of_one_object_and_an_object_has_16_attempts(make_frame: MakeFrame) -> None:
    apart = [(0, "tiger", 0.9, HERE), (1, "tiger", 0.9, THERE), (2, "tiger", 0.9, HERE), (3, "tiger", 0.9, THERE)]
    assert voted(looks(make_frame, *apart)) == []
    lost = [(0, "tiger", 0.9, HERE), (1, "tiger", 0.9, HERE), (6.5, "tiger", 0.9, HERE)]
    assert voted(looks(make_frame, *lost)) == []
    empty = [(number, "empty", 0.9, HERE) for number in range(16)]
    assert voted(looks(make_frame, *empty, *[(16 + number, "tiger", 0.9, HERE) for number in range(99)])) == []


class Answers:
    """A classifier that says the next of what it was told to say, and keeps the boxes it was asked about."""

    def __init__(self, said: Sequence[tuple[str, float]]) -> None:
        self.said, self.boxes = list(said), list[tuple[float, float, float, float] | None]()

    def classify(
        self, image: NDArray[np.uint8], box: tuple[float, float, float, float] | None = None
    ) -> NDArray[np.float32]:
        self.boxes.append(box)
        return probabilities(*self.said.pop(0))


def moving(make_frame: MakeFrame, seconds: Iterable[float]) -> list[Frame]:
    """A minute of nothing, then a bright square that is elsewhere in each frame."""
    frames = [make_frame(-60 + number) for number in range(60)]
    for number, second in enumerate(seconds):
        image = np.zeros((180, 320, 3), np.uint8)
        image[60:90, 20 + 40 * (number % 7) : 50 + 40 * (number % 7)] = 255
        frames.append(make_frame(second, image))
    return frames


def test_hobby_loop_tells_at_once_and_then_not_for_half_a_minute(make_frame: MakeFrame) -> None:
    tigers = [("tiger", 0.79), ("tiger", 0.8), ("tiger", 0.99)]
    # All of its first frame is new to MOG2.
    answers = Answers([("empty", 0.9), *tigers, ("person", 0.99), ("lion", 0.9), ("tiger", 0.9), ("tiger", 0.9)])
    loop = HobbyLoop(answers, LABELS)
    frames = moving(make_frame, (0, 1, 2, 3, 4, 30.9, 31))
    assert list(loop.watch(frames)) == frames
    assert [((when - START).total_seconds(), name) for when, name, _ in loop.alarms] == [
        (1, "tiger"), (4, "lion"), (31, "tiger")]  # fmt: skip
    assert len(answers.boxes) == 8
    assert answers.boxes[1] is not None
    x, y, width, height = answers.boxes[1]
    assert width * 320 == pytest.approx(height * 180)
    assert (x * 320 < 21, y * 180 < 61, width * 320 >= 96) == (True, True, True)


def test_worse_clips_are_as_much_worse_as_they_say(make_frame: MakeFrame) -> None:
    dice = np.random.default_rng(3)
    scene = dice.integers(60, 190, (90, 160), np.uint8)
    images = [
        cv2.merge([np.clip(scene + dice.normal(0, 4, scene.shape), 0, 255).astype(np.uint8)] * 3) for _ in range(25)
    ]
    frames = [make_frame(number / 5, image) for number, image in enumerate(images)]
    assert noise(images) == pytest.approx(4, rel=0.03)
    worse = [frame.image for frame in noisy(frames)]
    assert len(worse) == 25
    assert noise(worse) == pytest.approx(8, rel=0.03)
    assert all((image[..., 0] == image[..., 2]).all() for image in worse), "grey stays grey"
    assert np.mean(worse) == pytest.approx(np.mean(images), abs=0.2)
    calm = [make_frame(number / 5, cv2.merge([scene] * 3)) for number in range(25)]
    assert noise([frame.image for frame in noisy(calm)]) == pytest.approx(math.sqrt(3), rel=0.05)
    assert next(half(frames)).image.shape == (45, 80, 3)
    assert np.array_equal(next(dark(frames)).image, np.round(images[0] / 4).astype(np.uint8))
    times = [(frame.timestamp - START).total_seconds() for frame in slow(frames)]
    assert times == pytest.approx([0, 0.6, 1, 1.6, 2, 2.6, 3, 3.6, 4, 4.6])
    assert list(noisy([])) == []


def test_alerts_of_each_target_in_turn_are_those_of_a_watch_for_it_alone() -> None:
    def new(id: str, species: str, second: float) -> tuple[float, Sighting]:
        begun = START + timedelta(seconds=second)
        return second + 1, Sighting("new", id, species, "", "animal", 0.9, begun, begun, None, "day", 3, HERE,
                                    (320, 180), "clip", True, False)  # fmt: skip

    heard = [new("a", "tiger", 10), new("b", "lion", 20), new("c", "tiger", 50), new("d", "zebra", 60)]
    seen = [Seen(each.id, each.species, "animal", "day", at - 1, at, at + 5, 0.9, 0.9, 3) for at, each in heard]
    found = Replay(seen=seen, heard=heard)
    for seconds, expected in ((90, ["a", "b"]), (0, ["a", "b", "c"])):
        settings = Settings(species=("lion", "tiger"), alert_interval=timedelta(seconds=seconds))
        told = in_turn(found, settings)
        assert sorted((each.id, each.told) for each in told) == [
            (each.id, each.at) for each in seen if each.id in expected]  # fmt: skip


def test_benchmark_prints_its_table(shared: object) -> None:
    # A process of its own: the benchmark forks, which after TensorFlow has begun its threads may never end.
    command = [sys.executable, "benchmarks/events.py", "--clips", "dev11,dev24"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    lines = done.stdout.splitlines()
    assert lines[0] == "--event-gap 15 --alert-interval 0"
    assert [line.split("  ")[0] for line in lines[2:5]] == ["edge-watch", "hobby loop", "Frigate's vote"]
    assert lines[2].split()[1:4] == ["1", "of", "1"]
    assert lines[2].split()[-1] == "0"
    assert "The defaults: --event-gap 60 --alert-interval 600" in lines
