"""What the tests share: pictures made by code, and the folder of real photos where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.outbox import FILE_NAME, Outbox
from edge.types import Frame
from tests.broker import KEEPS, Mosquitto

START = datetime(2026, 5, 1, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and clips that lies beside a checkout for development."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs ../shared, which is not there")
    return folder


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
