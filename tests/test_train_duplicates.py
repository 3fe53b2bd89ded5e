"""Near-duplicates: what a fingerprint survives, and what it must not confuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.images import decode_image, read_image
from models.preprocess import infrared, prepare
from train.photos.duplicates import LENGTH, fingerprint, near_duplicates

DATA = Path(__file__).parents[1].parent / "shared" / "data"
Picture = NDArray[np.uint8]


def scene(number: int, height: int = 300, width: int = 400) -> Picture:
    """A picture with detail of every size, as a photo has: (height, width, 3) uint8 RGB."""
    dice = np.random.default_rng(number)
    image = np.full((height, width, 3), 110.0)
    for cells in (3, 6, 12, 25, 50):
        noise = dice.normal(0, 90 / cells**0.4, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)  # type: ignore[no-any-return]


def jpeg(image: Picture, quality: int = 50) -> Picture:
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return decode_image(content.tobytes(), "jpeg")


def half(image: Picture) -> Picture:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def cropped(image: Picture, left: float = 0.015) -> Picture:
    """3 % of each side cut off, of which `left` (a share of the side) at the left and the top."""
    height, width = image.shape[:2]
    y, x = round(left * height), round(left * width)
    return image[y : y + round(0.97 * height), x : x + round(0.97 * width)]


def brighter(image: Picture, share: float = 0.15) -> Picture:
    return np.clip(image * (1 + share), 0, 255).astype(np.uint8)  # type: ignore[no-any-return]


def pair(one: Picture, other: Picture) -> bool:
    prints = [fingerprint(prepare(picture, 224)) for picture in (one, other)]
    return near_duplicates(prints) == [[0, 1]]


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "jpeg": jpeg, "half": half, "cropped": cropped, "brighter": brighter,
    "darker": lambda image: brighter(image, -0.15), "grey": infrared,
    "all": lambda image: jpeg(infrared(brighter(cropped(half(image))))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_survives(change: str) -> None:
    assert [number for number in range(30) if not pair(scene(number), CHANGES[change](scene(number)))] == []


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(50, 100), st.floats(0.5, 1), st.floats(0.01, 0.02), st.floats(-0.15, 0.15),
       st.booleans())
def test_fingerprint_survives_any_mixture(
    number: int, quality: int, scale: float, left: float, light: float, grey: bool
) -> None:
    image = scene(number)
    changed: Picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    changed = brighter(cropped(changed, left), light)
    assert pair(image, jpeg(infrared(changed) if grey else changed, quality))


def test_a_burst_is_one_group() -> None:
    frames = []
    for number in range(5):
        frame = jpeg(scene(1), 90 - number)
        cv2.ellipse(frame, (60 + 60 * number, 180), (25, 14), 0, 0, 360, (150, 100, 40), -1)
        frames.append(fingerprint(prepare(frame, 224)))
    others = [fingerprint(prepare(scene(number), 224)) for number in (2, 3)]
    assert near_duplicates([others[0], *frames, others[1]]) == [[1, 2, 3, 4, 5]]


def test_different_pictures_are_told_apart() -> None:
    prints = [fingerprint(prepare(scene(number), 224)) for number in range(150)]
    assert near_duplicates(prints) == []
    assert not pair(scene(1), np.ascontiguousarray(scene(1)[:, ::-1]))


def night(number: int, light: float = 60.0) -> Picture:
    """An empty night: the lamp's glow and the sensor's noise."""
    dice = np.random.default_rng(number)
    y, x = np.mgrid[:240, :320] / np.array([240, 320])[:, None, None]
    glow = 15 + light * np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.1)
    frame = np.clip(glow + dice.normal(0, 6, (240, 320)), 0, 255).astype(np.uint8)
    return jpeg(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB), 80)


def test_pictures_without_detail_match_nothing() -> None:
    nights = [fingerprint(prepare(night(number, 40 + number), 224)) for number in range(30)]
    plain = [fingerprint(np.full((64, 64, 3), value, np.uint8)) for value in (0, 0, 90, 255)]
    assert set(nights + plain) == {bytes(LENGTH)}
    assert near_duplicates([*nights, *plain, b"", b""]) == []


def test_a_caption_bar_does_not_make_pictures_alike() -> None:
    prints = []
    for number in range(30):
        frame = np.vstack([scene(number) // 4, np.full((24, 400, 3), 250, np.uint8)])
        cv2.putText(frame, "TRAILCAM 12", (10, 318), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2)
        prints.append(fingerprint(prepare(frame, 224)))
    assert near_duplicates(prints) == []


def test_groups_join_through_others_also_across_blocks() -> None:
    dice = np.random.default_rng(0)
    rows = dice.integers(-90, 90, (2500, LENGTH)).astype(np.int8)
    rows[2400], rows[1200] = rows[5], rows[5]
    rows[1200, :4] += 30
    rows[7] = rows[8]
    prints = [row.tobytes() for row in rows]
    prints[6] = b""
    assert near_duplicates(prints) == [[5, 1200, 2400], [7, 8]]
    assert near_duplicates([]) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared photos")
@pytest.mark.parametrize(("folder", "groups", "photos", "largest"), [
    ("birds_coarse", 0, 0, 0), ("butterflies20", 2, 4, 2), ("cameratrap/frames", 17, 66, 14),
])
def test_real_photos_are_rarely_confused_and_bursts_are_found(
    folder: str, groups: int, photos: int, largest: int
) -> None:
    prints = [fingerprint(prepare(read_image(path, at_least=224), 224, order="BGR"))
              for path in sorted((DATA / folder).rglob("*.jpg"))]
    found = near_duplicates(prints)
    assert (len(found), sum(map(len, found)), max(map(len, found), default=0)) == (groups, photos, largest)
