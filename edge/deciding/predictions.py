"""crops -> predictions: what the model says of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.deciding.evidence import WRONG
from edge.seeing.exposure import lifted
from edge.types import Cropped, Named, Prediction


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


def possible(named: Iterable[Named], allowed: NDArray[np.bool_]) -> Iterator[Named]:
    """Predictions given that some classes cannot be here: theirs are 0, and the others sum to 1 again.

    Args:
        named: one item per frame.
        allowed: (classes,) as `edge.deciding.rules.allowed` says.
    """
    for trigger, predictions in named:
        yield (
            trigger,
            tuple(
                dataclasses.replace(each, probabilities=renormalized(each.probabilities, allowed))
                for each in predictions
            ),
        )


def renormalized(probabilities: NDArray[np.float32], allowed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(classes,) probabilities that sum to 1, with 0 for what is not `allowed`.

    A look that is all but sure of what cannot be here is wrong, and that one of the other classes has 0.001 and the
    next 0.0001 is no evidence for the first. So each is first given its share of the looks that are wrong
    (`edge.deciding.evidence.WRONG`).
    """
    if allowed.all():
        return probabilities
    shares = np.where(allowed, (1 - WRONG) * probabilities + WRONG / len(probabilities), 0.0)
    return (shares / shares.sum()).astype(np.float32)  # type: ignore[no-any-return]
