"""`--preview FILE`: what the trap sees, as a clip with boxes, names and probabilities drawn in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recording.video import Video
from edge.types import BBox, Frame, Named, Prediction, Sighting, Trigger
from models.labels import LabelMap

HELD = timedelta(seconds=5)
"""So much of the clip waits before it is written: a person may be in it, recognized only then."""
LONGEST = timedelta(seconds=1)
"""How long a frame is shown at most: photos of a folder are hours apart."""
MOVES, LOOKS, KNOWN, PAPER, INK = (0, 180, 255), (255, 255, 255), (80, 255, 80), (40, 40, 40), (255, 255, 255)
"""Blue, green, red: of a region that moves, of a look that shows nothing certain, of a visit, and of text."""
JPEG_QUALITY = 90
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Preview:
    """Draws each frame as it passes, on black where it may not be kept; the file is there when `close` has been called.

    Args:
        path: of an MP4.
        labels: the classes of the probabilities.
        patient: wait for the encoder, as in a replay.
    """

    def __init__(self, path: Path, labels: LabelMap, patient: bool) -> None:
        self._labels, self._visits = labels, dict[str, Sighting]()
        self._video = Video(path, "edge-watch", patient)
        self._at = timedelta(0)
        self._last: datetime | None = None
        self._size: tuple[int, int] | None = None
        self._held: deque[tuple[timedelta, bytes]] = deque()

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        """Pass frames on, and draw each."""
        for trigger, predictions in named:
            now = trigger.frame.timestamp
            if self._last is not None:
                step = LONGEST if trigger.frame.still else max(now - self._last, timedelta(milliseconds=1))
                self._at += min(step, LONGEST)
            self._last = now
            if self._size is None:
                self._size = _canvas(trigger.frame)
            seen = trigger.frame.image if trigger.keep else np.zeros_like(trigger.frame.image)
            picture = self._drawn(scaled(seen, self._size), trigger, predictions)
            picture = framed(picture, self._size)
            if trigger.person:
                black = _jpeg(np.zeros_like(picture))
                self._held = deque((at, black) for at, _ in self._held)
            self._write(self._at - HELD)
            self._held.append((self._at, _jpeg(picture)))
            yield trigger, predictions

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass sightings on; a visit is named from the next frame on."""
        for sighting in sightings:
            if sighting.type == "end":
                self._visits.pop(sighting.id, None)
            else:
                self._visits[sighting.id] = sighting
            yield sighting

    def tick(self) -> None:
        """Nothing is due while no frames come."""

    def finish(self) -> None:
        """No frames come any more: let the encoder go on by itself."""
        self._write(self._at)
        self._video.finish()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutboxError: it could not be written.
        """
        self._write(self._at)
        self._video.close()

    def _write(self, until: timedelta) -> None:
        while self._held and self._held[0][0] <= until:
            at, jpeg = self._held.popleft()
            self._video.add(jpeg, at.total_seconds())

    def _drawn(
        self, picture: NDArray[np.uint8], trigger: Trigger, predictions: Iterable[Prediction]
    ) -> NDArray[np.uint8]:
        """Draw into a copy of a frame's picture."""
        size, line = max(0.45, picture.shape[0] / 1000), max(2, round(picture.shape[0] / 240))
        known = {visit.species for visit in self._visits.values()}
        for region in trigger.regions:
            cv2.rectangle(picture, *_corners(picture, region), MOVES, line)
        for prediction in predictions:
            best = int(prediction.probabilities.argmax())
            name, share = self._labels[best].name, prediction.probabilities[best]
            colour = KNOWN if name in known else LOOKS
            corners = _corners(picture, prediction.crop.box)
            cv2.rectangle(picture, *corners, PAPER, line + 2)
            cv2.rectangle(picture, *corners, colour, line)
            _text(picture, [f"{name} {share:.0%}"], corners[0], size, colour, above=True)
        visits = ", ".join(sorted(known))
        lines = [f"{trigger.frame.timestamp:%Y-%m-%d %H:%M:%S} {trigger.lighting}"]
        lines += [f"visit: {visits}"] if visits else []
        # At the foot: names stand above their boxes.
        _text(picture, lines, (0, picture.shape[0]), size, INK, above=True)
        return picture


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()


def _canvas(frame: Frame) -> tuple[int, int]:
    """Width and height of the clip: those of its first frame, or, of photos of all sizes, such as a screen has."""
    height, width = frame.image.shape[:2]
    return (1280, 720) if frame.still or width > 1280 else (width, height)


def scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A copy of a picture, as large as it can be within a (width, height)."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    if (across, down) == (width, height):
        return picture.copy()
    return cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def framed(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture in the middle of a (width, height), with black bars where its shape is another."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _corners(picture: NDArray[np.uint8], box: BBox) -> tuple[tuple[int, int], tuple[int, int]]:
    """The upper left and the lower right pixel of a box."""
    height, width = picture.shape[:2]
    left, top = round(box.x * width), round(box.y * height)
    return (left, top), (round((box.x + box.width) * width) - 1, round((box.y + box.height) * height) - 1)


def _text(
    picture: NDArray[np.uint8],
    lines: list[str],
    corner: tuple[int, int],
    size: float,
    colour: tuple[int, int, int],
    above: bool = False,
) -> None:
    """Write on a dark ground, readable over anything, moved so that all of it is in the picture."""
    (_, high), low = cv2.getTextSize("Ag", FONT, size, 1)
    wide = max(cv2.getTextSize(line, FONT, size, 1)[0][0] for line in lines)
    step = high + low + 2
    left = max(0, min(corner[0], picture.shape[1] - wide - 6))
    top = max(0, corner[1] - step * len(lines) if above else corner[1])
    cv2.rectangle(picture, (left, top), (left + wide + 6, top + step * len(lines)), PAPER, -1)
    for number, line in enumerate(lines):
        at = left + 3, top + step * number + high + 2
        cv2.putText(picture, line, at, FONT, size, colour, 1, cv2.LINE_AA)
