"""frames -> frames: whether the camera still sees what it was hung up to see."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.seeing.motion import luma_of
from edge.seeing.regions import correlation
from edge.types import Frame
from models.preprocess import is_infrared

log = logging.getLogger("edge-watch")

Harm = Literal["dark", "covered", "blurred", "turned"]
SAYS: dict[Harm, str] = {
    "dark": "the picture has been dark for minutes: is the lens covered, or the lamp out?",
    "covered": "the picture has shown next to nothing for minutes: is the lens covered?",
    "blurred": "the picture has been blurred for minutes: is the lens wet, dirty or out of focus?",
    "turned": "the camera has seen another place for minutes: was it turned?",
}
LOOK_EVERY = timedelta(seconds=5)
LASTS = timedelta(minutes=3)
"""Shorter than this it may be an animal that sits in front of the lens."""
MOST_PASSED = timedelta(minutes=1)
"""No more than this has passed between two looks, whatever a clock says that was set in between."""
NEW_VIEW = timedelta(hours=24)
"""A view that has stayed for so long is the right one."""
OTHER_PLACE = timedelta(minutes=2)
"""After such a gap the usual picture is learned anew: nobody knows what was done to the camera in between."""
RATE, FIRST = 1 / 60, 12
"""The usual picture is learned over five minutes; so many looks make the first one."""
BRIGHT = 40.0
"""A picture brighter than this is none of a trap without a lamp at night."""
SUDDEN = timedelta(minutes=5)
"""Dusk takes longer than this from a bright picture to a black one, and that to have lasted; a hand does not."""
LIGHT_LUX = 40.0
DARK, FLAT, FLATTER, BLUNT, ELSEWHERE = 16.0, 8.0, 0.3, 0.4, 0.3


@dataclass(slots=True)
class _View:
    """What a picture is like: contrast, sharpness relative to it, and what is where in it, without its brightness."""

    brightness: float
    contrast: float
    sharpness: float
    places: NDArray[np.float32]
    looks: int = 1

    def learn(self, other: _View) -> None:
        self.looks += 1
        rate = max(RATE, 1 / self.looks)
        self.contrast += rate * (other.contrast - self.contrast)
        self.sharpness += rate * (other.sharpness - self.sharpness)
        self.places += rate * (other.places - self.places)


class Guard:
    """Compares what the camera sees with what it usually sees, apart for day and for night.

    A camera without a lamp sees nothing at night. Then nothing is told, neither of harm nor of its end.

    Attributes:
        harm: what has been wrong for minutes, and was told; None while all is well.
        lux: how much light the camera says there is; None if it does not.
    """

    def __init__(self) -> None:
        self.harm: Harm | None = None
        self.lux: float | None = None
        self._bright: datetime | None = None
        self._lit = 0
        self._usual: dict[bool, _View] = {}
        self._last: datetime | None = None
        self._source = ""
        self._wrong: timedelta | None = None
        self._well: timedelta | None = None

    def look(self, frame: Frame) -> None:
        """Look at one frame in five seconds."""
        now = frame.timestamp
        if self._last is not None and abs(now - self._last) < LOOK_EVERY:
            return
        if frame.source != self._source or (self._last is not None and abs(now - self._last) > OTHER_PLACE):
            # The clips of a folder are of other places, and so may be what another camera drops into one.
            self._usual, self._wrong, self._source = {}, None, frame.source
        passed = min(abs(now - self._last), MOST_PASSED) if self._last is not None else timedelta(0)
        self._last = now
        grey, view = is_infrared(frame.image), _view(luma_of(frame))
        self.lux = frame.lux
        usual = self._usual.get(grey)
        found = _harm(view, usual)
        if view.brightness >= BRIGHT:
            self._bright = now
            self._lit += grey and found is None
        elif found is not None and self._is_night(now):
            return
        if found is None:
            self._is_well(passed)
            if usual is None:
                self._usual[grey] = view
            else:
                usual.learn(view)
            return
        self._well = None
        self._wrong = timedelta(0) if self._wrong is None else self._wrong + passed
        if self._wrong >= NEW_VIEW and found == "turned":
            self._usual = {grey: view}
        elif self._wrong >= LASTS and self.harm is None:
            self.harm = found
            log.warning("%s", SAYS[found])

    def _is_night(self, now: datetime) -> bool:
        """Whether a picture that shows too little may just be one of the night: see `SUDDEN`."""
        sudden = self._bright is not None and abs(now - self._bright) <= SUDDEN
        lamp = self._lit >= FIRST
        return not (sudden or lamp or (self.lux is not None and self.lux > LIGHT_LUX))

    def _is_well(self, passed: timedelta) -> None:
        self._well = timedelta(0) if self._well is None else self._well + passed
        if self.harm is None:
            self._wrong = None
        elif self._well >= LASTS:
            log.info("the camera sees as before")
            self.harm = self._wrong = None


def guarded(frames: Iterable[Frame], guard: Guard) -> Iterator[Frame]:
    """Pass the frames on under the eyes of a guard; photos of a series are each of another place, and not guarded."""
    for frame in frames:
        if not frame.still:
            guard.look(frame)
        yield frame


def _view(small: NDArray[np.uint8]) -> _View:
    thumbnail = cv2.resize(small, (64, 36), interpolation=cv2.INTER_AREA).astype(np.float32)
    contrast = float(thumbnail.std())
    edges = float(np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean())
    places = thumbnail - cv2.GaussianBlur(thumbnail, (0, 0), 4)
    places /= max(1.0, float(places.std()))
    return _View(float(thumbnail.mean()), contrast, edges / (contrast + 1), places)


def _harm(view: _View, usual: _View | None) -> Harm | None:
    """What is wrong with a view beside the usual one of that light; only dark and covered need no usual one."""
    if view.contrast < FLAT and view.brightness < DARK:
        return "dark"
    known = usual is not None and usual.looks >= FIRST
    if view.contrast < FLAT and (not known or (usual and view.contrast < FLATTER * usual.contrast)):
        return "covered" if view.brightness >= BRIGHT else "dark"
    if usual is None or not known:
        return None
    if correlation(view.places.ravel(), usual.places.ravel()) < ELSEWHERE:
        return "turned"
    return "blurred" if view.sharpness < BLUNT * usual.sharpness else None
