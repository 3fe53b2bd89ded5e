"""The Raspberry Pi's camera over a picamera2 that is not there; `make test-picamera2` has the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.cameras import open_camera
from edge.types import Frame
from models.errors import CameraError, UsageError
from tests.test_capture import children

FAKE = Path(__file__).resolve().parent / "fake"


class Told:
    """The frames, the error that ended them, and what the camera was told to do."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.error = ""
        self.log: list[str] = []


Look = Callable[..., Told]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Look at all pictures of a camera that is as `camera` says (see tests/fake/picamera2.py)."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))

    def run(camera: dict[str, Any], stop_after: int = 0, **options: Any) -> Told:
        told, stop, log = Told(), threading.Event(), tmp_path / "log"
        camera = {"metadata": [{}, {}], "log": str(log)} | camera
        monkeypatch.setenv("FAKE_CAMERA", json.dumps(camera))
        try:
            for frame in open_camera("picamera", **options).frames(stop):
                told.frames.append(frame)
                if len(told.frames) == stop_after:
                    stop.set()
        except CameraError as error:
            told.error = str(error)
        assert children("edge.cameras.picam") == []
        told.log = log.read_text().splitlines()
        return told

    return run


def test_picture_luma_and_lux_are_of_one_moment(look: Look) -> None:
    told = look({"metadata": [{"Lux": 300.5}, {"ExposureTime": 100_000, "AnalogueGain": 2.0}, {}]})
    assert [frame.index for frame in told.frames] == [0, 1, 2]
    assert [frame.lux for frame in told.frames] == [300.5, 50.0, None]
    for number, frame in enumerate(told.frames):
        assert frame.image.shape == (720, 1280, 3)
        assert frame.luma is not None
        assert frame.luma.shape == (180, 320)
        assert np.array_equal(frame.image[::4, ::4, 0], frame.luma)
        assert (frame.luma[0, 0], frame.luma[-1, -1]) == (200, 10 * number)
    assert told.error == (
        "picamera: expected a frame within 9 s, found none; check the ribbon cable, and that no other program uses it; "
        "see `edge-doctor`"
    )
    assert told.log == ["open None", "start (1280, 720) sYCC {'FrameRate': 5.0}", "close"]


def test_camera_is_released_at_the_end(look: Look) -> None:
    told = look({}, stop_after=1)
    assert (len(told.frames), told.error, told.log[-1]) == (1, "", "close")


def test_camera_that_cannot_be_released_is_killed(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.capture.CLOSING_S", 0.2)
    assert look({"hangs": True}, stop_after=1).log[-1] == "close"


@pytest.mark.parametrize("turns", [True, False])
def test_upside_down_is_turned_by_the_camera_if_it_can(look: Look, turns: bool) -> None:
    first, *_ = look({"turns": turns}, rotate=180).frames
    assert first.luma is not None
    for picture in (first.image[..., 0], first.luma):
        assert (picture[0, 0], picture[-1, -1]) == (0, 200)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (270, (-1, 0))])
def test_camera_on_its_side_is_turned_clockwise(look: Look, degrees: int, corner: tuple[int, int]) -> None:
    first, *_ = look({}, rotate=degrees).frames
    assert first.luma is not None
    assert (first.image.shape, first.luma.shape) == ((1280, 720, 3), (320, 180))
    for picture in (first.image[..., 0], first.luma):
        assert picture[corner] == 200
        assert int(picture.astype(np.int64).sum()) == 200 * picture.size // 16


def test_camera_without_a_second_picture_says_so(look: Look, capfd: pytest.CaptureFixture[str]) -> None:
    told = look({"lores": None})
    assert [frame.luma for frame in told.frames] == [None, None]
    assert "no second picture for motion (Invalid camera configuration)" in capfd.readouterr().err


def test_second_picture_of_another_kind_is_not_used(look: Look, capfd: pytest.CaptureFixture[str]) -> None:
    assert look({"lores": "XBGR8888"}).frames[0].luma is None
    assert "of a quarter of 1280x720, found XBGR8888 of 320x180; the first is scaled" in capfd.readouterr().err


def test_pictures_of_another_kind_are_one_line(look: Look) -> None:
    told = look({"main": "YUYV"})
    assert told.error == "picamera: expected pictures as RGB888 or NV12, found YUYV; use another camera"
    assert told.log[-1] == "close"


def test_without_infrared_filter_the_picture_is_grey_in_the_dark_and_does_not_flicker_at_dusk(look: Look) -> None:
    dusk_and_dawn = [{"Lux": lux} for lux in (100, 11, 9, 20, 39, 9, 41, 20)]
    told = look({"metadata": dusk_and_dawn, "tuning": ["imx219_noir.json"]}, noir=True)
    assert told.log[0] == "open imx219_noir.json"
    assert [line for line in told.log if "Saturation" in line] == [
        "after 3 {'Saturation': 0.0}", "after 7 {'Saturation': 1.0}",
    ]  # fmt: skip


def test_camera_with_filter_keeps_its_colours(look: Look) -> None:
    assert not [line for line in look({"metadata": [{"Lux": 1}]}).log if "Saturation" in line]


def test_sensor_that_says_noir_itself_has_its_own_tuning(look: Look, capfd: pytest.CaptureFixture[str]) -> None:
    assert look({"model": "imx708_noir", "tuning": ["imx708_noir_noir.json"]}, noir=True).log[0] == "open None"
    assert capfd.readouterr().err.count("--noir") == 0


def test_what_a_camera_without_filter_lacks_is_said(look: Look, capfd: pytest.CaptureFixture[str]) -> None:
    look({"controls": []}, noir=True)
    said = capfd.readouterr().err
    assert "--noir: expected the tuning file imx219_noir.json, found none; its day colours will be tinted" in said
    assert "--noir: this camera cannot make its pictures grey; they stay tinted at night" in said


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("demo", {"rotate": 90}, "--rotate: expected a live camera, found demo; leave it out"),
        ("usb:0", {"noir": True}, "--noir: expected the source picamera, found usb:0; leave it out"),
    ],
)
def test_options_of_live_cameras_are_no_options_of_others(source: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_camera(source, **options)
