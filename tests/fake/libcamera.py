"""As much of libcamera's Python names as the camera's adapter uses."""

from types import SimpleNamespace


class ColorSpace:
    @staticmethod
    def Sycc():  # noqa: N802
        return "sYCC"


def Transform(hflip=0, vflip=0):  # noqa: N802
    return SimpleNamespace(hflip=hflip, vflip=vflip)
