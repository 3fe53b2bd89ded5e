"""crops -> predictions: what the model says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.types import Cropped, Named, Prediction
from models.labels import LabelMap


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
        yield (
            trigger,
            tuple(
                Prediction(crop, classifier.classify(crop.trigger.frame.image, crop.box.as_tuple())) for crop in crops
            ),
        )


def share_of_people(predictions: Iterable[Prediction], labels: LabelMap) -> float:
    """The highest probability, 0-1, that a look at a frame gave to people; 0 where nothing was looked at."""
    people = [index for index, label in enumerate(labels) if label.observation_type == "human"]
    return max((float(prediction.probabilities[people].sum()) for prediction in predictions), default=0.0)
