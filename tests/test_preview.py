"""`--preview`: what is drawn into the frames, and that all of them are in the clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge.recording.preview import KNOWN, LOOKS, MOVES, Preview, framed, scaled
from edge.types import BBox, Crop, Frame, Named, Prediction, Trigger
from models.labels import Label, LabelMap
from tests.samples import sighting

LABELS = LabelMap(Label.from_name(name, {}) for name in ("blank", "tiger"))
REGION, BOX = BBox(0.3, 0.4, 0.2, 0.2), BBox(0.25, 0.35, 0.3, 0.4)
MakeFrame = Callable[..., Frame]


def named(frame: Frame) -> Named:
    trigger = Trigger(frame, (REGION,), "day")
    return trigger, (Prediction(Crop(trigger, BOX), np.array([0.1, 0.9], np.float32)),)


def shown(path: Path) -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(path)), []
    while capture.grab():
        found.append(capture.retrieve()[1])
    capture.release()
    return found


def near(picture: np.ndarray, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    """Whether a line of the colour passes by a place; the encoder blurs lines."""
    row, column = round(y * picture.shape[0]), round(x * picture.shape[1])
    around = picture[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).astype(int)
    return bool((np.abs(around - np.array(colour)).max(axis=1) < 70).any())


def test_boxes_are_where_they_belong_and_change_colour_in_a_visit(tmp_path: Path, make_frame: MakeFrame) -> None:
    grey = np.full((360, 640, 3), 120, np.uint8)
    preview = Preview(tmp_path / "out.mp4", LABELS, patient=True)
    items = [named(make_frame(second / 5, grey)) for second in range(10)]
    for number, _ in enumerate(preview.keep(items)):
        if number == 4:
            assert len(list(preview.record([sighting(type="new", species="tiger")]))) == 1
    preview.close()
    frames = shown(tmp_path / "out.mp4")
    assert len(frames) == 10
    middle = BOX.y + BOX.height / 2
    assert near(frames[2], BOX.x, middle, LOOKS)
    assert not near(frames[2], BOX.x, middle, KNOWN)
    assert near(frames[8], BOX.x, middle, KNOWN)
    assert near(frames[2], REGION.x, 0.5, MOVES)
    assert not near(frames[2], 0.9, 0.9, LOOKS)
    assert np.array_equal(grey, np.full((360, 640, 3), 120, np.uint8))  # The frame itself is not drawn on.


def test_photos_of_other_sizes_and_hours_apart_are_a_second_each(tmp_path: Path, make_frame: MakeFrame) -> None:
    preview = Preview(tmp_path / "out.mp4", LABELS, patient=True)
    sizes = ((120, 160), (900, 400), (480, 1920))
    photos = [
        make_frame(3600 * hour, np.full((*size, 3), 99, np.uint8), still=True) for hour, size in enumerate(sizes)
    ]
    photos[2] = make_frame(3600, np.full((480, 1920, 3), 99, np.uint8), still=True)  # In the same second as another.
    list(preview.keep([named(photo) for photo in photos]))
    preview.close()
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    times = []
    while capture.grab():
        times.append(round(capture.get(cv2.CAP_PROP_POS_MSEC)))
    assert times == [0, 1000, 2000]
    assert [frame.shape for frame in shown(tmp_path / "out.mp4")] == [(720, 1280, 3)] * 3


def test_person_is_not_shown_nor_the_seconds_before(tmp_path: Path, make_frame: MakeFrame) -> None:
    light = np.full((360, 640, 3), 200, np.uint8)
    items = []
    for second in range(12):
        trigger, predictions = named(make_frame(second, light))
        person = second in (8, 9)
        items.append((dataclasses.replace(trigger, keep=not person, person=person), predictions))
    preview = Preview(tmp_path / "out.mp4", LABELS, patient=True)
    list(preview.keep(items))
    preview.close()
    seen = [bool(frame[100, 20].mean() > 100) for frame in shown(tmp_path / "out.mp4")]
    assert seen == [True] * 3 + [False] * 7 + [True] * 2


def test_picture_of_another_shape_stands_between_bars() -> None:
    tall = framed(scaled(np.full((200, 100, 3), 255, np.uint8), (160, 120)), (160, 120))
    assert tall.shape == (120, 160, 3)
    assert [int(tall[60, x, 0]) for x in (0, 49, 50, 109, 110, 159)] == [0, 0, 255, 255, 0, 0]
