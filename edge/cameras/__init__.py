"""Where frames come from: one thin adapter per kind of camera, chosen by `--source`."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from edge.types import Frame
from models.errors import UsageError

Pace = Literal["full", "real"]
FRAME_RATE = 5.0
"""Frames a second that are looked at, of a live camera and of a clip alike: a replay then tells what live would."""
STALL = timedelta(seconds=10)
"""A live camera that gives no frame for this long counts as stalled."""


class Camera(Protocol):
    """A source of frames.

    `name`: as shown to people. `live`: frames come when they come, and those nobody waited for are skipped.
    """

    name: str
    live: bool

    @property
    def skipped(self) -> int:
        """How many frames nobody looked at: a live camera's that came too fast, or files that cannot be read."""
        ...

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield frames, oldest first, until the source ends or `stop` is set; then release the camera.

        Raises:
            CameraError: no camera, no frames, or a stall.
        """
        ...


def default_source() -> str:
    """`picamera` where picamera2 is installed, else the first USB camera."""
    return "picamera" if importlib.util.find_spec("picamera2") else "usb:0"


def open_camera(
    source: str, pace: Pace = "full", data: Path | None = None, rotate: int = 0, noir: bool = False
) -> Camera:
    """The camera for a `--source`.

    Args:
        source: see `edge.settings.Settings`.
        pace: of a recording.
        data: folder for what a watched folder has to remember.
        rotate: degrees by which a live camera's pictures are turned clockwise: 0, 90, 180 or 270.
        noir: the Raspberry Pi's camera has no infrared filter.

    Raises:
        UsageError: nothing that this could be; the message lists what it can be. Or one that cannot be turned.
        CameraError: a file that is none or gives no frames.
    """
    if noir and source != "picamera":
        raise UsageError(f"--noir: expected the source picamera, found {source}; leave it out")
    camera = _live_camera(source, rotate, noir)
    if camera is not None:
        return camera
    if rotate:
        raise UsageError(
            f"--rotate: expected a live camera, found {source}; leave it out, files say themselves what is up in them"
        )
    if source.startswith("watch:") and data is not None:
        from edge.cameras.folder import WatchedFolder

        return WatchedFolder(Path(source.removeprefix("watch:")), data)
    if source == "demo":
        from edge.cameras.demo import DemoCamera

        return DemoCamera(pace)
    path = Path(source)
    if path.is_dir():
        from edge.cameras.photos import PhotoFolder

        return PhotoFolder(path, pace)
    if path.is_file():
        from edge.cameras.clip import Clip

        return Clip(path, pace)
    raise UsageError(
        "--source: expected picamera, usb:N, rtsp://..., http://..., watch:DIR, demo, a video file or a folder of "
        f"photos, found {source!r} (no such file or folder); check the path"
    )


def _live_camera(source: str, rotate: int, noir: bool) -> Camera | None:
    kind, _, detail = source.partition(":")
    camera: Camera | None = None
    if source == "picamera":
        from edge.cameras.picam import pi_camera

        camera = pi_camera(noir, upside_down=rotate == 180)
        rotate = 0 if rotate == 180 else rotate
    elif kind == "usb" and detail.isdigit():
        from edge.cameras.capture import usb_camera

        camera = usb_camera(int(detail))
    elif source.startswith(("rtsp://", "rtsps://")):
        from edge.cameras.capture import rtsp_camera

        camera = rtsp_camera(source)
    elif source.startswith(("http://", "https://")):
        from edge.cameras.http import HttpCamera

        camera = HttpCamera(source)
    if camera is None or not rotate:
        return camera
    from edge.cameras.turned import Turned

    return Turned(camera, rotate)
