"""`--preview FILE`: what the trap sees, as a clip with boxes, names and probabilities drawn in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import BBox, Named, Prediction, Sighting, Trigger
from edge.video import Video
from models.labels import LabelMap

LONGEST = timedelta(seconds=1)
"""How long a frame is shown at most: photos of a folder are hours apart."""
MOVES, LOOKS, KNOWN, PAPER, INK = (0, 180, 255), (255, 255, 255), (80, 255, 80), (40, 40, 40), (255, 255, 255)
"""Blue, green, red: of a region that moves, of a look that shows nothing certain, of a visit, and of text."""
JPEG_QUALITY = 90
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Preview:
    """Draws each frame as it passes; the file is there when `close` has been called.

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

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        """Pass frames on, and draw each."""
        for trigger, predictions in named:
            now = trigger.frame.timestamp
            if self._last is not None:
                self._at += min(max(now - self._last, timedelta(milliseconds=1)), LONGEST)
            self._last = now
            picture = fitted(self._drawn(trigger, predictions), self._size)
            self._size = self._size or (picture.shape[1], picture.shape[0])
            jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
            self._video.add(jpeg, self._at.total_seconds())
            yield trigger, predictions

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass sightings on; a visit is named from the next frame on."""
        for sighting in sightings:
            if sighting.type == "end":
                self._visits.pop(sighting.id, None)
            else:
                self._visits[sighting.id] = sighting
            yield sighting

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutboxError: it could not be written.
        """
        self._video.close()

    def _drawn(self, trigger: Trigger, predictions: Iterable[Prediction]) -> NDArray[np.uint8]:
        picture = trigger.frame.image.copy()
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
        lines = [f"{trigger.frame.timestamp:%Y-%m-%d %H:%M:%S} {trigger.lighting}"]
        lines += [f"visit: {visit.species}" for visit in self._visits.values()]
        _text(picture, lines, (0, 0), size, INK)
        return picture


def fitted(picture: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """A picture scaled into a (width, height), with bars where its shape is another; as it is for None."""
    height, width = picture.shape[:2]
    if size is None or size == (width, height):
        return picture
    scale = min(size[0] / width, size[1] / height)
    across, down = round(width * scale), round(height * scale)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - across) // 2, (size[1] - down) // 2
    canvas[top : top + down, left : left + across] = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
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
