"""Moving pictures of places without an animal, made of clips and stills; the same seed gives the same pictures."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
ROWS, FPS, SECONDS = 360, 5.0, 24.0
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A clip or a photo of one place. `name` tells places apart; `grey`: shown as an infrared camera would."""

    name: str
    path: Path
    grey: bool = False

    @property
    def clip(self) -> bool:
        return self.path.suffix == ".mp4"


def moving(place: Place, seed: int | None) -> Iterator[tuple[Image, datetime]]:
    """The pictures of a place, (height, width, 3) uint8 BGR, with their times; `seed` None for a clip as it is."""
    from edge.cameras.clip import Clip
    from models.images import read_image
    from models.preprocess import infrared

    if place.clip:
        frames = ((frame.image, frame.timestamp) for frame in Clip(place.path).frames(threading.Event()))
        if seed is None:
            yield from frames
            return
        rng = np.random.default_rng([seed, *place.name.encode()])
        every = int(rng.integers(1, 3))  # Every second frame at the same pace: twice as fast.
        pictures = (image for index, (image, _) in enumerate(frames) if index % every == 0)
    else:
        rng = np.random.default_rng([seed or 0, *place.name.encode()])
        image = read_image(place.path)
        pictures = _wind(_scaled(infrared(image) if place.grey else image), rng)
    change = _perturbation(rng)
    for index, picture in enumerate(pictures):
        yield change(_scaled(picture)), START + timedelta(seconds=index / FPS)


def _scaled(image: Image) -> Image:
    height, width = image.shape[:2]
    return cv2.resize(image, (round(width * ROWS / height) // 2 * 2, ROWS), interpolation=cv2.INTER_AREA)


def _perturbation(rng: np.random.Generator) -> Callable[[Image], Image]:
    """Another camera at another hour: cut out, mirrored, brighter or darker, noisier; the same for a whole run."""
    gain, gamma, noise = rng.uniform(0.4, 1.4), rng.uniform(0.7, 1.4), rng.uniform(0, 7)
    mirror, share = rng.random() < 0.5, rng.uniform(0.7, 1)
    left, top = rng.uniform(0, 1 - share, 2)
    grains: list[list[Image]] = []
    table = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).astype(np.uint8)

    def change(image: Image) -> Image:
        height, width = image.shape[:2]
        x, y = int(left * width), int(top * height)
        part = image[y : y + int(share * height), x : x + int(share * width)]
        part = cv2.LUT(cv2.resize(part, (width, height)), table)
        part = cv2.flip(part, 1) if mirror else part
        # The sensor's noise, alike in all channels, as in the grey of an infrared picture: a few fields, moved about.
        if not grains:
            for _ in range(4):
                grain = rng.normal(0, noise, (height, width)).round()
                grains.append([cv2.cvtColor(np.clip(each, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
                               for each in (grain, -grain)])  # fmt: skip
        over, under = (np.roll(each, rng.integers(height), 0) for each in grains[rng.integers(4)])
        return cv2.subtract(cv2.add(part, over), under)

    return change


def _wind(image: Image, rng: np.random.Generator) -> Iterator[Image]:
    """A still that moves: plants sway, and what else there is, two or three of it."""
    height, width = image.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    where = cv2.resize(rng.random((5, 8)).astype(np.float32) ** 2, (width, height), interpolation=cv2.INTER_CUBIC)
    phase = cv2.resize(rng.uniform(0, 6, (5, 8)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    sway, speed = rng.uniform(0.5, 7), rng.uniform(0.5, 2.5)
    kinds = set(rng.choice(["shade", "leaves", "moth", "shake", "exposure", "gust", "still"], 3).tolist())
    flying = [_flight(rng, width, height, kind) for kind in kinds for _ in range(4) if kind in ("leaves", "moth")]
    dark, when = rng.uniform(0.3, 0.8), rng.uniform(8, 20)
    for index in range(round(SECONDS * FPS)):
        second = index / FPS
        strength = sway * (3 if "gust" in kinds and abs(second - when) < 2 else 1)
        shift = strength * where * np.sin(speed * second + phase)
        jolt = rng.normal(0, 3, 2) if "shake" in kinds and abs(second - when) < 1 else (0, 0)
        # While it settles nothing moves but the plants: a trap is hung up in peace.
        across, down = (xs + shift + jolt[0]).astype(np.float32), (ys + shift / 3 + jolt[1]).astype(np.float32)
        frame = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        if "shade" in kinds:
            patch = np.exp(-(((xs[:1] - width * (second / SECONDS)) / (width / 4)) ** 2))
            column = (255 * (1 - dark * patch)).astype(np.uint8)[..., None]
            shade = cv2.resize(cv2.cvtColor(column, cv2.COLOR_GRAY2BGR), (width, height))
            frame = cv2.multiply(frame, shade, scale=1 / 255)
        if "exposure" in kinds and second > when:
            frame = cv2.convertScaleAbs(frame, alpha=1 - dark / 2)
        for draw in flying:
            draw(frame, second)
        yield frame


def _flight(rng: np.random.Generator, width: int, height: int, kind: str) -> Callable[[Image, float], None]:
    """Something that falls or flies through the picture once."""
    size = rng.uniform(0.01, 0.04) if kind == "leaves" else rng.uniform(0.03, 0.15)
    start, lasts = rng.uniform(4, 20), rng.uniform(1, 4)
    begin, end = rng.uniform(0, 1, 2), rng.uniform(0, 1, 2)
    level = rng.uniform(20, 120) if kind == "leaves" else rng.uniform(160, 255)
    axes = (max(1, round(size * height)), max(1, round(size * height * rng.uniform(0.3, 0.9))))

    def draw(frame: Image, second: float) -> None:
        share = (second - start) / lasts
        if 0 <= share <= 1:
            x, y = begin + (end - begin) * share + 0.03 * np.sin(9 * second)
            center = (round(x * width), round(y * height))
            cv2.ellipse(frame, center, axes, 70 * second % 180, 0, 360, (level,) * 3, -1, cv2.LINE_AA)

    return draw


def places(data: Path) -> list[Place]:
    """Every clip without an animal (but the one with a person), and the blank photos that nothing was trained on.

    Photos count as two places: as taken, and infrared-grey.
    """
    import csv

    with (data / "scenes/clips.csv").open(newline="") as file:
        clips = [row for row in csv.DictReader(file) if "_none_" in row["clip"] and "person" not in row["clip"]]
    found = [Place(Path(row["sources"].split()[0]).stem, data / "scenes" / f"{row['clip']}.mp4") for row in clips]
    with (data / "cameratrap/manifest.csv").open(newline="") as file:
        blank = [data / row["path"] for row in csv.DictReader(file) if row["category"] == "blank"]
    from recipes.places import WITHOUT_ANIMALS

    stills = [path for path in blank if path.stem not in WITHOUT_ANIMALS]
    stills += sorted((data / "wildlife/val/empty").iterdir()) + sorted((data / "wildlife/test/empty").iterdir())
    found += [Place(path.stem, path) for path in stills]
    found += [Place(path.stem, path, grey=True) for path in stills]
    # Five frames and a clip are of one camera.
    return [dataclasses.replace(each, name="mct") if each.name.startswith("mct0") else each for each in found]


def halves(found: list[Place]) -> tuple[list[Place], list[Place]]:
    """The places, clips and photos each, divided so that no place is on both sides."""
    with_clip = sorted({each.name for each in found if each.clip})
    others = sorted({each.name for each in found} - set(with_clip))
    first = set(with_clip[::2]) | set(others[::2])
    return [each for each in found if each.name in first], [each for each in found if each.name not in first]
