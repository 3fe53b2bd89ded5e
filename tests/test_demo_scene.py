"""The demo's camera: what a watcher sees, and that the shipped model recognizes what was never a photo."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edge.cameras import open_camera
from edge.cameras.demo import STRIP, DemoCamera, animal_box, draw
from edge.seeing.crops import crops, square
from edge.seeing.motion import triggers
from edge.types import BBox, Frame
from models.bundle import ModelBundle, default_bundle
from models.classifier import Classifier

QUIET_S = 5.0


def orange(image: np.ndarray) -> np.ndarray:
    """Where a (height, width, 3) BGR picture has the color of a tiger's coat, which nothing else in the scene has."""
    blue, green, red = (image[..., k].astype(int) for k in range(3))
    return (red > 130) & (red > 1.25 * green) & (green > 1.2 * blue)


@dataclass(frozen=True)
class Seen:
    """What one frame of the whole scene held."""

    second: float
    coat: int
    middle: float
    strip: str
    regions: tuple[BBox, ...]


@pytest.fixture(scope="module")
def scene() -> list[Seen]:
    """All frames, one after the other through the motion detector, as the daemon takes them."""
    frames = DemoCamera().frames(threading.Event())
    return [look(trigger.frame, trigger.regions) for trigger in triggers(frames)]


def look(frame: Frame, regions: tuple[BBox, ...]) -> Seen:
    coat = orange(frame.image)
    across = np.nonzero(coat)[1]
    strip = hashlib.sha256(frame.image[-STRIP:].tobytes()).hexdigest()
    second = frame.index / 5
    return Seen(second, int(coat.sum()), float(across.mean()) if across.size else float("nan"), strip, regions)


def test_draw_gives_the_same_picture_for_the_same_time() -> None:
    image = draw(9.0)
    assert image.shape == (720, 1280, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, draw(9.0))
    assert not np.array_equal(image, draw(9.2))


def test_draw_gives_the_same_picture_in_another_process() -> None:
    code = "import hashlib; from edge.cameras.demo import draw; print(hashlib.sha256(draw(11.2)).hexdigest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert other.stdout.strip() == hashlib.sha256(draw(11.2).tobytes()).hexdigest()


def test_camera_gives_frames_that_are_marked_as_replay_at_fixed_times() -> None:
    camera = open_camera("demo")
    frames = camera.frames(threading.Event())
    first, second = next(frames), next(frames)
    assert first.timestamp == datetime(2026, 1, 1, 6, 12, tzinfo=UTC)
    assert second.timestamp - first.timestamp == timedelta(seconds=0.2)
    assert [(each.index, each.source, each.replay, each.still) for each in (first, second)] == [
        (0, "demo", True, False),
        (1, "demo", True, False),
    ]
    assert not camera.live


def test_camera_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    frames = DemoCamera().frames(stop)
    next(frames)
    stop.set()
    assert list(frames) == []


def test_scene_begins_and_ends_without_an_animal(scene: list[Seen]) -> None:
    end = scene[-1].second
    assert end == 24.8
    for seen in scene:
        if seen.second <= QUIET_S or seen.second >= end - QUIET_S:
            assert seen.coat == 0, seen
            assert animal_box(seen.second) is None, seen
            assert seen.regions == (), seen


def test_animal_walks_in_from_the_left_stops_in_the_middle_and_leaves_to_the_right(scene: list[Seen]) -> None:
    middles = [seen.middle for seen in scene if seen.coat > 1500]
    assert middles[0] < 200
    assert middles[-1] > 1080
    # While it stands it shifts its weight a little, and turns its head.
    assert all(later > earlier - 8 for earlier, later in itertools.pairwise(middles))
    standing = [middle for middle in middles if 500 < middle < 700]
    assert len(standing) > 3 * 5


def test_strip_that_says_simulated_is_the_same_in_each_picture(scene: list[Seen]) -> None:
    assert len({seen.strip for seen in scene}) == 1
    words = draw(0.0)[-STRIP:, :120].max(axis=2)
    assert np.count_nonzero(words < 40) > 0.6 * words.size
    assert 150 < np.count_nonzero(words > 120) < 0.3 * words.size


def test_motion_detector_sees_the_animal_as_it_walks(scene: list[Seen]) -> None:
    walking = [seen for seen in scene if seen.coat > 10_000 and not 9.8 < seen.second < 13.2]
    assert len(walking) > 25
    for seen in walking:
        box = animal_box(seen.second)
        assert box is not None
        assert seen.regions[0].intersection(box) > 0.9 * seen.regions[0].area, seen


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(ModelBundle.open(default_bundle()))


def whole_animals() -> Iterator[tuple[float, BBox]]:
    """The times at which all of the animal is in the picture, and where it is."""
    for index in range(130):
        box = animal_box(index / 5)
        if box is not None and box.x > 0 and box.x + box.width < 1:
            yield index / 5, box


def test_shipped_model_recognizes_the_tiger(classifier: Classifier) -> None:
    tiger = classifier.labels.find("tiger")
    sure = [
        float(classifier.classify(draw(second), square(box, 0.1, 1280, 720).as_tuple())[tiger])
        for second, box in list(whole_animals())[::3]
    ]
    assert len(sure) >= 10
    assert sum(each >= 0.9 for each in sure) >= 0.9 * len(sure), sure


def test_shipped_model_recognizes_the_tiger_where_it_moves(classifier: Classifier) -> None:
    """The crops that the daemon makes: never another animal's name on the whole tiger."""
    tiger, names = classifier.labels.find("tiger"), [label.name for label in classifier.labels]
    times = {second for second, _ in whole_animals()}
    found: list[str] = []
    for trigger, cut in crops(triggers(DemoCamera().frames(threading.Event()))):
        if trigger.frame.index / 5 in times and cut:
            probabilities = classifier.classify(trigger.frame.image, cut[0].box.as_tuple())
            found.append(names[int(probabilities.argmax())])
    assert found.count(names[tiger]) >= 0.95 * len(found), found


@pytest.mark.parametrize("box", [None, (0.0, 0.0, 0.5, 0.9), (0.3, 0.2, 0.4, 0.7), (0.55, 0.3, 0.3, 0.6)])
@pytest.mark.parametrize("second", [1.0, 24.0])
def test_shipped_model_names_no_animal_in_the_empty_scene(
    classifier: Classifier, second: float, box: tuple[float, float, float, float] | None
) -> None:
    probabilities = classifier.classify(draw(second), box)
    best = classifier.labels[int(probabilities.argmax())]
    assert best.observation_type == "blank" or probabilities.max() < 0.8, best.name


def test_demo_camera_imports_nothing_heavy() -> None:
    code = "import sys, edge.cameras.demo; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"tensorflow", "keras", "scipy", "matplotlib", "PIL", "paho", "ai_edge_litert", "tflite_runtime"}
    assert not heavy & set(loaded.stdout.split())
