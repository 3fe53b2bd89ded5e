"""Reading pictures that come from cameras, cards and strangers: nothing crashes, nothing eats the memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.errors import ImageError
from models.images import MAX_BYTES, SUFFIXES, decode_image, jpeg_size, read_image

ROOT = Path(__file__).parents[1]


def scene(height: int = 120, width: int = 200) -> np.ndarray:
    """(height, width, 3) uint8 BGR: smooth, red to the right and blue downwards."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = np.linspace(0, 255, width)
    image[..., 0] = np.linspace(0, 255, height)[:, None]
    return image


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def with_orientation(data: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def huge_png(side: int) -> bytes:
    """A PNG of side x side black pixels, made row by row: small on disk, enormous in memory."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    rows = [packer.compress(b"\0" * (3 * side + 1)) for _ in range(side)]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", b"".join(rows) + packer.flush()) + chunk(b"IEND", b""))


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_kind_of_file_is_read_as_bgr(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scene{suffix}"
    assert cv2.imwrite(str(path), scene())
    found = read_image(path)
    assert (found.shape, found.dtype) == ((120, 200, 3), np.uint8)
    assert np.abs(found.astype(int) - scene()).mean() < 3


@pytest.mark.parametrize(("orientation", "shape", "brightest_red"), [
    (1, (120, 200), "right"), (3, (120, 200), "left"), (6, (200, 120), "bottom"), (8, (200, 120), "top"),
])
def test_picture_is_turned_upright(orientation: int, shape: tuple[int, int], brightest_red: str) -> None:
    found = decode_image(with_orientation(jpeg(scene()), orientation), "turned.jpg")
    assert found.shape[:2] == shape
    red = found[..., 2].astype(int)
    edges = {"right": red[:, -9:], "left": red[:, :9], "top": red[:9], "bottom": red[-9:]}
    assert max(edges, key=lambda edge: float(edges[edge].mean())) == brightest_red


@pytest.mark.parametrize(("at_least", "expected"), [
    (None, (1080, 1920)), (1080, (1080, 1920)), (541, (1080, 1920)), (540, (540, 960)), (271, (540, 960)),
    (270, (270, 480)), (224, (270, 480)), (135, (135, 240)), (8, (135, 240)),
])
def test_jpeg_is_decoded_no_larger_than_needed(at_least: int | None, expected: tuple[int, int]) -> None:
    assert decode_image(jpeg(scene(1080, 1920)), "big.jpg", at_least).shape[:2] == expected


def test_reduced_picture_shows_the_same(tmp_path: Path) -> None:
    data = jpeg(scene(480, 640))
    whole = cv2.resize(decode_image(data, "whole.jpg"), (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(decode_image(data, "small.jpg", 120).astype(int) - whole).max() <= 4


def test_other_formats_are_never_reduced() -> None:
    data = cv2.imencode(".png", scene(480, 640))[1].tobytes()
    assert decode_image(data, "scene.png", 32).shape == (480, 640, 3)


def test_grey_and_transparent_pictures_become_three_channels() -> None:
    for image in (np.full((4, 4), 7, np.uint8), np.full((4, 4, 4), 7, np.uint8)):
        assert decode_image(cv2.imencode(".png", image)[1].tobytes(), "x.png").tolist() == [[[7] * 3] * 4] * 4


@pytest.mark.parametrize("content", [
    b"", b"x", b"this is a text file, not a picture\n" * 20, b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 50,
    b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 ", b"BM" + b"\xff" * 60,
])
def test_what_is_no_picture_is_an_image_error_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    for at_least in (None, 32):
        with pytest.raises(ImageError, match="expected a picture, found") as found:
            read_image(path, at_least)
        assert str(found.value).startswith(str(path))
        assert "\n" not in str(found.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_truncated_picture_is_refused_wherever_it_ends(suffix: str) -> None:
    data = cv2.imencode(suffix, scene(48, 64))[1].tobytes()
    for length in range(0, len(data) * 9 // 10, 7):
        for at_least in (None, 8):
            with pytest.raises(ImageError, match="expected a picture, found") as found:
                decode_image(data[:length], "cut", at_least)
            assert "\n" not in str(found.value)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing.jpg: does not exist; correct the path, or the table that names it"):
        read_image(tmp_path / "nothing.jpg")
    with pytest.raises(ImageError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


def test_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match="expected a picture of at most 64 MB, found 64 MB"):
        read_image(path)


def test_png_of_30000_pixels_a_side_is_refused_without_taking_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(huge_png(30_000))
    assert path.stat().st_size < 13_000_000
    script = f"""
import models.images, resource, pathlib
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    models.images.read_image(pathlib.Path({str(path)!r}))
except models.images.ImageError as error:
    print(error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 100_000, f"{{grown}} kB"
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}: expected at most 100 megapixels, found more; shrink it or leave it out\n"


def test_jpeg_size_is_read_from_the_header() -> None:
    assert jpeg_size(jpeg(scene(33, 77))) == (77, 33)
    assert jpeg_size(with_orientation(jpeg(scene(33, 77)), 6)) == (77, 33)
    assert jpeg_size(cv2.imencode(".png", scene())[1].tobytes()) is None
    assert jpeg_size(b"\xff\xd8\xff\xe0\xff\xff") is None
    assert jpeg_size(b"\xff\xd8" + b"\xff\xe0\0\0" * 3) is None
