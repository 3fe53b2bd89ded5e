"""Files of every broken and odd kind that a card can hold, made by code."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FRAMES = 64, 48, 10
VARYING_GAPS = (0.25, 0.5, 3.0, 0.25, 1.0, 0.5, 2.0, 0.25, 0.5, 0.25)
"""Seconds after each frame of a clip with a variable frame rate."""


def photo(value: int = 90, suffix: str = ".jpg") -> bytes:
    """A picture with noise, so that it has a body worth cutting."""
    noise = np.random.default_rng(value).integers(0, 40, (240, 320, 3), dtype=np.uint8)
    return cv2.imencode(suffix, noise + np.uint8(value))[1].tobytes()


def clip(
    path: Path, frames: int = FRAMES, codec: str = "mp4v", depth: int = cv2.CV_8U, rate: float = 5.0
) -> bytes:
    """The bytes of a clip whose brightness rises by 10 with each frame."""
    high, many = depth == cv2.CV_16U, (256 if depth == cv2.CV_16U else 1)
    settings = [cv2.VIDEOWRITER_PROP_DEPTH, depth, cv2.VIDEOWRITER_PROP_IS_COLOR, int(not high)]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, (WIDTH, HEIGHT), settings)
    for number in range(frames):
        shape = (HEIGHT, WIDTH) if high else (HEIGHT, WIDTH, 3)
        picture = np.full(shape, 10 * number, np.uint16 if high else np.uint8)
        picture[: HEIGHT // 2] += np.array(50, picture.dtype)
        writer.write(picture * many if high else picture)
    writer.release()
    data = path.read_bytes()
    path.unlink()
    return data


def with_times(mp4: bytes, gaps: list[int]) -> bytes:
    """An MP4 with other times between its frames, in units of its track (the index lies behind the pictures)."""
    at = mp4.index(b"stts") - 4
    size = int.from_bytes(mp4[at : at + 4], "big")
    body = struct.pack(">I4sII", 16 + 8 * len(gaps), b"stts", 0, len(gaps))
    body += b"".join(struct.pack(">II", 1, gap) for gap in gaps)
    out = bytearray(mp4[:at] + body + mp4[at + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = mp4.index(name) - 4
        length = int.from_bytes(mp4[place : place + 4], "big") + len(body) - size
        out[place : place + 4] = length.to_bytes(4, "big")
    return bytes(out)


def turned(mp4: bytes) -> bytes:
    """An MP4 whose header says: turn it by 90 degrees, as a phone held upright writes."""
    at = mp4.index(b"tkhd") + 44  # Version 0: the matrix begins 40 bytes after flags and version.
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)
    return mp4[:at] + matrix + mp4[at + 36 :]


def huge_jpeg() -> bytes:
    data = bytearray(photo())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 30_000, 30_000)
    return bytes(data)


def huge_png() -> bytes:
    """A whole PNG: 900 million black pixels in less than a megabyte."""
    packed = zlib.compressobj()
    rows = b"".join(packed.compress(bytes(30_001)) for _ in range(30_000)) + packed.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def spoiled(data: bytes) -> bytes:
    """The middle third overwritten."""
    third = len(data) // 3
    return data[:third] + b"\x55" * third + data[2 * third :]


def spoiled_within(mp4: bytes) -> bytes:
    """An MP4 whose index is whole; the middle third of its pictures is zeros, as where a card has lost a block."""
    start, end = mp4.index(b"mdat") + 4, mp4.index(b"moov") - 4
    third = (end - start) // 3
    return mp4[: start + third] + bytes(third) + mp4[start + 2 * third :]


def unknown_codec(mp4: bytes) -> bytes:
    """An MP4 of a codec that nobody knows, by both of the names that it has."""
    at = mp4.index(b"\x04\x80\x80\x80", mp4.index(b"esds")) + 5
    return (mp4[:at] + b"\xfe" + mp4[at + 1 :]).replace(b"mp4v", b"zzzz")


def all_kinds(folder: Path) -> dict[str, bytes]:
    """Name and content of each."""
    mp4, avi = clip(folder / "a.mp4"), clip(folder / "a.avi", codec="MJPG")
    slow, mkv = clip(folder / "a.mp4", rate=1), clip(folder / "a.mkv", codec="FFV1")
    at = slow.index(b"stts") + 16
    second = int.from_bytes(slow[at : at + 4], "big")
    return {
        "empty.jpg": b"",
        "cut.jpg": photo()[: len(photo()) // 2],
        "only-head.jpg": photo()[:20],
        "text.jpg": b"this is no picture",
        "clip.jpg": mp4,
        "zeros.jpg": bytes(20_000),
        "spoiled.jpg": spoiled(photo()),
        "huge.jpg": huge_jpeg(),
        "huge.png": huge_png(),
        "cut.png": photo(suffix=".png")[:5000],
        "png.jpg": photo(suffix=".png"),
        "deep.png": cv2.imencode(".png", np.full((48, 64), 30_000, np.uint16))[1].tobytes(),
        "empty.mp4": b"",
        "text.mp4": b"this is no clip",
        "photo.mp4": photo(),
        "cut.mp4": mp4[: len(mp4) // 2],
        "cut.avi": avi[: len(avi) // 2],
        "cut.mkv": mkv[: len(mkv) * 2 // 3],
        "spoiled.mp4": spoiled(mp4),
        "spoiled-within.mp4": spoiled_within(mp4),
        "codec.mp4": unknown_codec(mp4),
        "no-frames.mp4": clip(folder / "a.mp4", frames=0),
        "one-frame.mp4": clip(folder / "a.mp4", frames=1),
        "times-vary.mp4": with_times(slow, [round(second * gap) for gap in VARYING_GAPS]),
        "no-times.mp4": with_times(mp4, [0] * FRAMES),
        "huge.mjpeg": huge_jpeg() * 3,
        "deep.mkv": clip(folder / "a.mkv", codec="FFV1", depth=cv2.CV_16U),
        "turned.mp4": turned(mp4),
        "no-times.mjpeg": b"".join(photo(value) for value in range(20, 80, 10)),
    }
