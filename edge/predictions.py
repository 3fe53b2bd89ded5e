"""crops -> predictions: what the model says of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.exposure import lifted
from edge.types import Cropped, Named, Prediction, Trigger
from models.labels import LabelMap

LOOKS_AT_PERSON, SURE, UNSURE = 3, 0.6, 0.5
"""A person is there when the last looks give people this probability on average; one look alone spoils its frame."""
SAME_LOOKS, HOLD = timedelta(seconds=5), timedelta(seconds=60)


class Classify(Protocol):
    """`models.classifier.Classifier`, as much of it as is needed here."""

    def classify(
        self, image: NDArray[np.uint8], box: tuple[float, float, float, float] | None = None
    ) -> NDArray[np.float32]:
        """(classes,) calibrated probabilities of a box of a (height, width, 3) uint8 BGR picture."""
        ...


def predictions(cropped: Iterable[Cropped], classifier: Classify) -> Iterator[Named]:
    """For each frame the predictions of its crops, in their order; quiet frames pass with none."""
    for trigger, crops in cropped:
        image = lifted(trigger.frame.image) if crops else trigger.frame.image
        yield trigger, tuple(Prediction(crop, classifier.classify(image, crop.box.as_tuple())) for crop in crops)


class People:
    """Whether a person is before the camera, or was a moment ago: then no picture is kept, whatever else is in it.

    Animals that are cut off by the frame's edge are taken for a person now and then, for one look. So it takes several
    to be sure of one; then whatever comes within a minute may still show that person, standing still.

    Args:
        labels: the classes of the probabilities.
    """

    def __init__(self, labels: LabelMap) -> None:
        self._people = [index for index, label in enumerate(labels) if label.observation_type == "human"]
        self._shares: deque[float] = deque(maxlen=LOOKS_AT_PERSON)
        self._looked: datetime | None = None
        self._seen: datetime | None = None

    def look(self, trigger: Trigger, predictions: Iterable[Prediction]) -> bool:
        """Hear of each frame, in order of time; whether it must not be kept."""
        now, share = trigger.frame.timestamp, None
        for prediction in predictions:
            share = max(share or 0.0, float(prediction.probabilities[self._people].sum()))
        if share is not None:
            if self._looked is None or abs(now - self._looked) > SAME_LOOKS or trigger.frame.still:
                self._shares.clear()
            self._looked = now
            self._shares.append(share)
            if sum(self._shares) >= SURE * len(self._shares):
                self._seen = now
        return self.about(now) or (share or 0.0) >= UNSURE

    def about(self, now: datetime) -> bool:
        """Whether a person was there a moment ago."""
        return self._seen is not None and abs(now - self._seen) <= HOLD
