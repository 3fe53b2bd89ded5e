"""What the tests share: pictures made by code, and the folder of real photos where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from edge.cameras import demo
from edge.telling.outbox import FILE_NAME, Outbox
from edge.types import Frame
from models.bundle import ModelBundle
from tests.broker import KEEPS, Mosquitto

# On a busy machine an example takes as long as it takes: timings never decide a test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

START = datetime(2026, 5, 1, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and clips that lies beside a checkout for development."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs ../shared, which is not there")
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures that this project draws itself: the demo scene, around its animal once that is there."""
    # Not before `models`, which says how loud OpenCV is to be.
    import cv2

    folder = tmp_path_factory.mktemp("drawn")
    paths = []
    for number, second in enumerate(np.arange(2.0, 14.0, 0.5)):
        picture, box = demo.draw(float(second)), demo.animal_box(float(second))
        if box is not None:
            height, width = picture.shape[:2]
            left, top = max(0, round(box.x * width)), max(0, round(box.y * height))
            picture = picture[top : top + round(box.height * height), left : left + round(box.width * width)]
        paths.append(folder / f"demo{number}.png")
        cv2.imwrite(str(paths[-1]), picture)
    return paths


@pytest.fixture(scope="session")
def tiny_parent(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A tiny float bundle, runs/tiny in a folder that also holds its photos; not to be changed."""
    from tests import tiny

    return ModelBundle.open(tiny.float_bundle(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that are no bundles; not to be changed."""
    from tests.bare import save_models

    folder = tmp_path_factory.mktemp("bare")
    save_models(folder)
    return folder


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The jobs that `convert` was to do; none of them is done. It runs in `tmp_path`, beside labels and photos."""
    from tests.bare import fill

    found: list[Any] = []
    monkeypatch.setattr("convert.job.convert", found.append)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("blank\ndeer\ntiger\n")
    fill(tmp_path / "photos", {"blank": 4, "deer": 4, "tiger": 4})
    return found


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    """Make a frame: its second, and a (height, width, 3) uint8 BGR picture."""

    def make(second: float, image: np.ndarray | None = None, **more: object) -> Frame:
        if image is None:
            image = np.zeros((180, 320, 3), np.uint8)
        values = {"index": round(second * 5), "source": "clip.mp4@0", "replay": True, **more}
        return Frame(image, START + timedelta(seconds=second), **values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real broker that keeps what it confirmed; not started yet."""
    broker = Mosquitto(tmp_path, KEEPS)
    yield broker
    broker.kill()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    with Outbox(tmp_path / FILE_NAME) as made:
        yield made
