"""What the tests share: pictures made by code, and the folder of real photos where there is one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.types import Frame

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
