"""The Raspberry Pi's camera: the only module that imports picamera2.

It is read in a child process of its own, which is this module as a program. libcamera can hang where no signal reaches
it, and a camera that hangs in this process could be neither closed nor opened again; a child is killed.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cameras import FRAME_RATE, STALL
from edge.cameras.capture import Capture
from edge.cameras.child import Child
from models.errors import CameraError, MissingRuntimeError

WIDTH, HEIGHT = 1280, 720
LUMA_WIDTH, LUMA_HEIGHT = 320, 180
"""The second picture, in which motion is looked for: the first, scaled by the camera to a quarter."""
OPENING = timedelta(seconds=30)
"""Importing picamera2 and finding the camera alone take a Pi Zero several seconds."""
PATIENCE_S = STALL.total_seconds() - 1
"""How long a picture is waited for: a little less than the parent waits, so that it hears why there is none."""
DARK_LUX, LIGHT_LUX = 10.0, 40.0
"""With `--noir`: darker than the first the picture is made grey, brighter than the second it is in colour again."""
LUX_SECONDS = 10.0
"""Lux times exposure time times gain of a well-exposed picture at f/2, where the camera does not tell lux itself."""
NO_CAMERA = "check the ribbon cable, and that no other program uses it; see `edge-doctor`"

log = logging.getLogger("edge-watch")


def pi_camera(noir: bool = False, upside_down: bool = False) -> Capture:
    """A CSI camera by picamera2, 1280 x 720, with its own luma plane of 320 x 180.

    Args:
        noir: it has no infrared filter.
        upside_down: turn its pictures by 180 degrees; the camera does that itself.
    """
    if importlib.util.find_spec("picamera2") is None:
        raise MissingRuntimeError(
            "picamera: expected picamera2, found none; on a Raspberry Pi type: sudo apt install python3-picamera2, "
            "and make the environment with: python3 -m venv --system-site-packages"
        )
    options = {"noir": noir, "upside_down": upside_down, "debug": log.isEnabledFor(logging.DEBUG)}
    return Capture("picamera", "a camera", json.dumps(options), NO_CAMERA, "edge.cameras.picam", OPENING)


class _Pictures:
    """An opened camera; raises CameraError, now and later, where it is none."""

    def __init__(self, noir: bool, upside_down: bool) -> None:
        self._camera = _start(noir, upside_down)
        granted = self._camera.camera_configuration()
        transform = granted["transform"]
        self._main, self._lores = granted["main"], _luma_stream(granted)
        # Whatever the camera does not turn itself is turned here.
        self._turn = upside_down and not (transform.hflip and transform.vflip)
        self._names = ["main", "lores"] if self._lores else ["main"]
        self._night = Night() if noir and "Saturation" in self._camera.camera_controls else None
        if noir and self._night is None:
            log.warning("--noir: this camera cannot make its pictures grey; they stay tinted at night")
        self._frames = 0

    def read(self) -> tuple[NDArray[np.uint8], int, NDArray[np.uint8] | None, float | None]:
        """A picture, how many frames there were since the one before, the same view's luma plane, and lux."""
        try:
            # All of one request; it goes back to the camera by itself, also when nobody waits for it any more.
            arrays, metadata = self._camera.capture_arrays(self._names, wait=PATIENCE_S)
        except (TimeoutError, RuntimeError) as error:
            raise CameraError(
                f"picamera: expected a frame within {PATIENCE_S:.0f} s, found {str(error) or 'none'}; {NO_CAMERA}"
            ) from error
        image = _bgr(arrays[0], self._main)
        luma = None
        if self._lores:
            # Rows are padded to what the hardware likes, and the colours follow below.
            columns, rows = self._lores["size"]
            luma = np.ascontiguousarray(arrays[1][:rows, :columns])
        if self._turn:
            image, luma = image[::-1, ::-1], None if luma is None else luma[::-1, ::-1]
        lux = lux_of(metadata)
        if self._night is not None and self._night.changes(lux):
            self._camera.set_controls({"Saturation": 0.0 if self._night.dark else 1.0})
        before, self._frames = self._frames, self._camera.frames
        return image, self._frames - before, luma, lux

    def close(self) -> None:
        self._camera.close()


class Night:
    """Whether it is dark, as a camera's lux say: with some reluctance to change, as a lamp or a cloud is no dawn."""

    def __init__(self) -> None:
        self.dark = False

    def changes(self, lux: float | None) -> bool:
        """Hear of the light of the newest picture; True when night or day begins with it."""
        if lux is None:
            return False
        before = self.dark
        self.dark = lux < (LIGHT_LUX if before else DARK_LUX)
        return self.dark != before


def lux_of(metadata: dict[str, Any]) -> float | None:
    """How much light there is: as the camera says, else as its exposure (microseconds) times gain tells."""
    if "Lux" in metadata:
        return float(metadata["Lux"])
    exposure = metadata.get("ExposureTime", 0) / 1e6 * metadata.get("AnalogueGain", 0.0)
    return LUX_SECONDS / exposure if exposure > 0 else None


def _start(noir: bool, upside_down: bool) -> Any:
    try:
        from libcamera import ColorSpace, Transform
        from picamera2 import Picamera2
    except ImportError as error:
        raise CameraError(
            f"picamera: expected picamera2 and libcamera, found {error}; type: sudo apt install python3-picamera2"
        ) from error
    camera = None
    try:
        camera = Picamera2(tuning=_tuning(Picamera2) if noir else None)
        turned = int(upside_down)
        settings = {
            "main": {"size": (WIDTH, HEIGHT), "format": "RGB888"},
            # From 0 for black to 255: video has less, and a black picture would not be dark.
            "colour_space": ColorSpace.Sycc(),
            "transform": Transform(hflip=turned, vflip=turned),
            "controls": {"FrameRate": FRAME_RATE},
        }
        lores = {"size": (LUMA_WIDTH, LUMA_HEIGHT), "format": "YUV420"}
        try:
            camera.configure(camera.create_video_configuration(lores=lores, **settings))
        except (RuntimeError, IndexError, AttributeError) as error:
            # What picamera2 makes of a camera with one stream depends on the camera.
            log.warning("picamera: no second picture for motion (%s); the first is scaled instead", error)
            camera.configure(camera.create_video_configuration(**settings))
        camera.start()
    except (RuntimeError, IndexError) as error:
        if camera is not None:
            camera.close()
        found = error.__cause__ or error
        raise CameraError(f"picamera: expected a camera that is free, found {found}; {NO_CAMERA}") from error
    return camera


def _tuning(picamera2: Any) -> Any:
    """The colours of the sensor without its infrared filter; None if the camera's own are these, or there are none."""
    cameras = picamera2.global_camera_info()
    model = cameras[0]["Model"] if cameras else ""
    if not model or model.endswith("_noir"):
        return None  # No camera, which is told when it is opened; or one that says by itself that it has no filter.
    try:
        return picamera2.load_tuning_file(f"{model}_noir.json")
    except RuntimeError:
        log.warning("--noir: expected the tuning file %s_noir.json, found none; its day colours will be tinted", model)
        return None


def _luma_stream(granted: dict[str, Any]) -> dict[str, Any] | None:
    lores: dict[str, Any] | None = granted["lores"]
    if lores is None:
        return None
    (width, height), (whole_width, whole_height) = lores["size"], granted["main"]["size"]
    if lores["format"] in ("YUV420", "NV12") and width * 4 == whole_width and height * 4 == whole_height:
        return lores
    log.warning(
        "picamera: expected a second picture for motion of a quarter of %dx%d, found %s of %dx%d; the first is scaled "
        "instead", whole_width, whole_height, lores["format"], width, height,
    )  # fmt: skip
    return None


def _bgr(array: NDArray[np.uint8], stream: dict[str, Any]) -> NDArray[np.uint8]:
    """What the camera gave, as BGR."""
    if stream["format"] == "RGB888":
        return array  # picamera2's name for bytes in the order B, G, R
    if stream["format"] != "NV12":
        raise CameraError(
            f"picamera: expected pictures as RGB888 or NV12, found {stream['format']}; use another camera"
        )
    import cv2

    width, height = stream["size"]
    colours = cv2.resize(array[height:, :width].reshape(height // 2, width // 2, 2), (width, height))
    # cv2's own NV12 is that of video, which has 16 for black.
    planes = cv2.merge([array[:height, :width], colours[..., 1], colours[..., 0]])
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR)  # type: ignore[return-value]


def main() -> int:
    """Serve the camera until the questions end."""
    child = Child()
    options = json.loads(child.source)
    debug = options.pop("debug")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    # The first line that goes wrong is told by us.
    logging.getLogger("picamera2").setLevel(logging.DEBUG if debug else logging.CRITICAL)
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:INFO" if debug else "*:FATAL")
    pictures = None
    try:
        pictures = _Pictures(**options)
        while child.asked():
            child.answer(*pictures.read())
    except CameraError as error:
        child.complain(str(error))
        return 1
    finally:
        if pictures is not None:
            pictures.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
