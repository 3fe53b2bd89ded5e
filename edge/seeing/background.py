"""What a scene looks like when nothing moves in it, and which pixels of a picture differ from that."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

RESTLESS_RATE, RESTLESS = 0.02, 0.12
"""A pixel that came or went in more than 12 % of the last frames (the weight of each fades by 2 %) is a plant in the
wind, or noise. An animal that passes comes and goes once; that counts 4 %."""
MEAN_RATE = 0.02
SPECKS = np.ones((2, 2), np.uint8)


class Background:
    """Learns from every picture; all pictures are of one size.

    MOG2 (Zivkovic 2004) forgives noise and what sways between two or three looks. Beyond that, as in SuBSENSE
    (St-Charles et al. 2015), a pixel that keeps blinking is not believed for a while.

    Args:
        luma: (height, width) uint8, the first picture.
        history: frames over which the background is learned.
        variance_threshold: squared distance from the background, in variances, from which a pixel is foreground.

    Attributes:
        mean: (height, width) float32, the scene as it was of late.
    """

    def __init__(self, luma: Luma, history: int, variance_threshold: float) -> None:
        self._history, self._threshold = history, variance_threshold
        self._blinks = np.zeros(luma.shape, np.float32)
        self._before = np.zeros(luma.shape, np.uint8)
        self.relearn(luma)

    def relearn(self, luma: Luma) -> None:
        """Forget the scene: the light, or the view, is another from this picture on."""
        self._model = cv2.createBackgroundSubtractorMOG2(self._history, self._threshold, detectShadows=False)
        self._model.apply(luma)
        self.mean: NDArray[np.float32] = luma.astype(np.float32)
        self._seen = 1

    def foreground(self, luma: Luma) -> Luma:
        """What differs from the background, 255 where it does; (height, width) uint8. Specks are left out."""
        # Opened in two steps: with an even kernel cv2.MORPH_OPEN moves everything by a pixel.
        mask = cv2.dilate(cv2.erode(self._model.apply(luma), SPECKS), SPECKS, anchor=(0, 0))
        cv2.accumulateWeighted(cv2.bitwise_xor(mask, self._before), self._blinks, RESTLESS_RATE)
        self._before = mask  # type: ignore[assignment]
        return mask  # type: ignore[return-value]

    def restful(self, mask: Luma) -> Luma:
        """A mask without the pixels that keep blinking."""
        calm = cv2.compare(self._blinks, 255 * RESTLESS, cv2.CMP_LT)  # type: ignore[call-overload]
        return cv2.bitwise_and(mask, calm)  # type: ignore[return-value]

    def learn(self, luma: Luma) -> None:
        """Let a picture into `mean`."""
        self._seen += 1
        cv2.accumulateWeighted(luma, self.mean, max(MEAN_RATE, 1 / self._seen))
