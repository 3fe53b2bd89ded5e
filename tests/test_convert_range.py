"""Pictures in another range of numbers than the network was trained on are noticed before anything is converted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from convert.calibration import check_range
from models.errors import EdgeWatchError


def pictures(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright pictures in turns, (n, 8, 8, 3) uint8 with means of 90 and 165, and which they are."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(0).integers(-85, 86, (n, 8, 8, 3))
    return (90 + 75 * labels[:, None, None, None] + noise).astype(np.uint8), labels


def by_brightness(threshold: float) -> Callable[[np.ndarray], np.ndarray]:
    """A network that tells dark from bright pictures, and gets nothing right if they come in another range."""
    def logits(shown: np.ndarray) -> np.ndarray:
        assert shown.dtype == np.float32
        mean = shown.mean(axis=(1, 2, 3)) - threshold
        return np.stack([-mean, mean], axis=1)

    return logits


def test_pictures_that_fit_pass_and_cost_one_run() -> None:
    images, labels = pictures()
    runs = []

    def counting(shown: np.ndarray) -> np.ndarray:
        runs.append(len(shown))
        return by_brightness(127.5)(shown)

    check_range(counting, images, labels, stated=0.95)
    assert runs == [40]
    check_range(counting, images, np.full(40, -1), stated=0.95)
    assert runs == [40], "without labels nothing can be known"


@pytest.mark.parametrize(("threshold", "given", "advice"), [
    (0.5, (0.0, 255.0), "found 20 of 40 answered right as they are, but 40 with numbers from 0 to 1; "
                        "type --input-range 0 1"),
    (0.0, (0.0, 255.0), "but 40 with numbers from -1 to 1; type --input-range -1 1"),
    (127.5, None, None),
    (0.0, None, "but 40 with numbers from -1 to 1; the network does not scale raw 0-255 itself, train the model again"),
])
def test_range_that_the_network_was_trained_on_is_found(
    threshold: float, given: tuple[float, float] | None, advice: str | None
) -> None:
    images, labels = pictures()
    if advice is None:
        check_range(by_brightness(threshold), images, labels, given)
        return
    with pytest.raises(EdgeWatchError) as found:
        check_range(by_brightness(threshold), images, labels, given)
    assert str(found.value).endswith(advice)


def test_range_typed_by_mistake_is_found() -> None:
    images, labels = pictures()
    # The file scales raw pictures to 0-1, but its network takes raw ones.
    network = by_brightness(127.5)
    with pytest.raises(EdgeWatchError, match="but 40 with numbers from 0 to 255; type --input-range 0 255"):
        check_range(lambda shown: network(shown / np.float32(255.0)), images, labels, (0.0, 1.0))


def test_pictures_stored_in_another_range_are_found() -> None:
    images, labels = pictures()
    small = images // 2
    small[0, 0, 0] = 255
    with pytest.raises(EdgeWatchError, match=r"but .* stretched to 0-255; take pictures that reach from 0 to 255"):
        check_range(by_brightness(127.5), small, labels, stated=0.95)


def test_pictures_of_another_kind_are_found_where_the_network_is_known_to_be_good() -> None:
    images, _ = pictures(60)
    guessed = np.random.default_rng(2).integers(0, 2, 60)
    check_range(by_brightness(127.5), images, guessed)
    with pytest.raises(EdgeWatchError, match=r"expected about 95% answered right, as of the test photos, found \d+ "):
        check_range(by_brightness(127.5), images, guessed, stated=0.95)
