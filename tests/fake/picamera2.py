"""A picamera2 with the interface of version 0.3.38 whose camera does what the environment's FAKE_CAMERA (JSON) says.

`model`: the sensor's. `main`: the format that is granted. `lores`: the second picture's format, null for a camera that
refuses one. `turns`: whether it can turn pictures. `controls`: their names. `tuning`: the tuning files that there are.
`metadata`: of one picture after another; when they are over, no picture comes any more. `hangs`: it cannot be closed.
`log`: a file that gets a line for whatever it is told to do.

The picture with number N, from 0, has the brightness 10 * N, and 200 in its upper left corner.
"""

import json
import os
import time

import numpy as np

CAMERA = {
    "model": "imx219", "main": "RGB888", "lores": "YUV420", "turns": True, "controls": ["Saturation"], "tuning": [],
    "hangs": False,
} | json.loads(os.environ["FAKE_CAMERA"])  # fmt: skip
PADDING = 64


def told(*words):
    with open(CAMERA["log"], "a") as file:
        print(*words, file=file)


class Picamera2:
    def __init__(self, tuning=None):
        told("open", tuning)
        self.frames = 0
        self.camera_controls = dict.fromkeys(CAMERA["controls"], (0.0, 32.0, 1.0))

    @staticmethod
    def global_camera_info():
        return [{"Model": CAMERA["model"], "Num": 0}]

    @staticmethod
    def load_tuning_file(name):
        if name not in CAMERA["tuning"]:
            raise RuntimeError("Tuning file not found")
        return name

    def create_video_configuration(self, main, lores=None, transform=None, colour_space=None, controls=None):
        return {"main": dict(main), "lores": lores and dict(lores), "transform": transform,
                "colour_space": colour_space, "controls": controls}  # fmt: skip

    def configure(self, configuration):
        if configuration["lores"] and not CAMERA["lores"]:
            raise RuntimeError("Invalid camera configuration")
        self._granted = configuration
        configuration["main"]["format"] = CAMERA["main"]
        if configuration["lores"]:
            configuration["lores"]["format"] = CAMERA["lores"]
        if not CAMERA["turns"]:
            configuration["transform"].hflip = configuration["transform"].vflip = 0

    def camera_configuration(self):
        return self._granted

    def start(self):
        told("start", self._granted["main"]["size"], self._granted["colour_space"], self._granted["controls"])
        print("libraries print what they like")

    def capture_arrays(self, names, wait):
        assert wait < 10
        if self.frames == len(CAMERA["metadata"]):
            raise TimeoutError
        arrays = [self._array(name) for name in names]
        self.frames += 1
        return arrays, CAMERA["metadata"][self.frames - 1]

    def _array(self, name):
        width, height = self._granted[name]["size"]
        picture = np.full((height, width), 10 * self.frames, np.uint8)
        picture[: height // 4, : width // 4] = 200
        if self._granted["transform"].hflip and self._granted["transform"].vflip:
            picture = picture[::-1, ::-1]
        if name == "main":
            return np.repeat(picture[..., None], 3, axis=2)
        # The rows are padded; colours follow.
        padded = np.full((height * 3 // 2, width + PADDING), 255, np.uint8)
        padded[:height, :width] = picture
        return padded

    def set_controls(self, controls):
        told("after", self.frames, controls)

    def close(self):
        told("close")
        if CAMERA["hangs"]:
            time.sleep(600)
