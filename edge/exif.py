"""The few EXIF fields of an alert's picture (which alert, and when), written and read without an image library."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from models.errors import ImageError

_EXIF = b"Exif\x00\x00"
_EXIF_IFD = 0x8769
_VERSION = 0x9000
_DATE_TIME_ORIGINAL = 0x9003
_OFFSET_TIME_ORIGINAL = 0x9011
_IMAGE_UNIQUE_ID = 0xA420
_ASCII, _LONG, _UNDEFINED = 2, 4, 7


@dataclass(frozen=True, slots=True)
class Exif:
    """What a picture says about itself; None for what it does not say.

    `id`: the alert's UUID in its usual 36 characters. `taken`: timezone-aware if the picture names an offset; else as
    the camera's clock showed it.
    """

    id: str | None
    taken: datetime | None


def write(jpeg: bytes, *, id: str, taken: datetime) -> bytes:
    """Put an alert's id and time into a JPEG; pixels are not touched, an earlier EXIF segment is replaced.

    The standard gives ImageUniqueID 32 hexadecimal characters, so it holds the UUID without its hyphens.

    Args:
        jpeg: a JPEG file.
        id: a UUID.
        taken: timezone-aware; whole seconds are kept.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
        ValueError: `id` is not a UUID or `taken` has no time zone.
    """
    if taken.tzinfo is None:
        raise ValueError(f"expected a time with a time zone, got {taken.isoformat()}")
    offset = taken.strftime("%z")
    tiff = _tiff(
        [
            (_VERSION, _UNDEFINED, b"0232"),
            (_DATE_TIME_ORIGINAL, _ASCII, taken.strftime("%Y:%m:%d %H:%M:%S").encode() + b"\x00"),
            (_OFFSET_TIME_ORIGINAL, _ASCII, f"{offset[:3]}:{offset[3:5]}".encode() + b"\x00"),
            (_IMAGE_UNIQUE_ID, _ASCII, uuid.UUID(id).hex.encode() + b"\x00"),
        ]
    )
    content = _EXIF + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    rest, end = bytearray(), 2
    for marker, start, end in _segments(jpeg):
        if not (marker == 0xE1 and jpeg[start + 4 : start + 10] == _EXIF):
            rest += jpeg[start:end]
    return jpeg[:2] + segment + bytes(rest) + jpeg[end:]


def read(jpeg: bytes) -> Exif:
    """Read back what `write` wrote, from any program's EXIF in either byte order; damaged fields read as None.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
    """
    for marker, start, end in _segments(jpeg):
        if marker == 0xE1 and jpeg[start + 4 : start + 10] == _EXIF:
            fields = _fields(jpeg[start + 10 : end])
            return Exif(_id(fields.get(_IMAGE_UNIQUE_ID, "")), _taken(fields))
    return Exif(None, None)


def size(jpeg: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the JPEG's header says; None where it does not.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
    """
    for marker, start, end in _segments(jpeg):
        # SOF0 to SOF15; C4, C8 and CC in that range are tables, not frames.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and end - start >= 9:
            height, width = struct.unpack_from(">HH", jpeg, start + 5)
            return width, height
    return None


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the compressed picture."""
    if jpeg[:3] != b"\xff\xd8\xff":
        raise ImageError(f"expected a JPEG file, found {len(jpeg)} bytes that begin {jpeg[:4].hex() or 'with nothing'}")
    start = 2
    while start + 4 <= len(jpeg) and jpeg[start] == 0xFF:
        marker, length = jpeg[start + 1], int.from_bytes(jpeg[start + 2 : start + 4], "big")
        end = start + 2 + length
        if marker in (0xD9, 0xDA) or length < 2 or end > len(jpeg):
            return
        yield marker, start, end
        start = end


def _tiff(entries: list[tuple[int, int, bytes]]) -> bytes:
    """A TIFF header, a main directory with nothing but a pointer, and the EXIF directory with `entries`."""
    main = struct.pack(">2sHIHHHIII", b"MM", 42, 8, 1, _EXIF_IFD, _LONG, 1, 26, 0)
    table, values = struct.pack(">H", len(entries)), b""
    values_at = len(main) + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        table += struct.pack(">HHI", tag, kind, len(value))
        if len(value) <= 4:
            table += value.ljust(4, b"\x00")
        else:
            table += struct.pack(">I", values_at + len(values))
            values += value
    return main + table + struct.pack(">I", 0) + values


def _fields(tiff: bytes) -> dict[int, str]:
    """The text fields of the EXIF directory; whatever points outside the segment is left out."""
    order = {b"MM": ">", b"II": "<"}.get(tiff[:2])
    if order is None:
        return {}
    try:
        for tag, _, value in _entries(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0]):
            if tag == _EXIF_IFD:
                at = struct.unpack(order + "I", value)[0]
                return dict(_texts(tiff, order, at))
    except struct.error:
        return {}
    return {}


def _entries(tiff: bytes, order: str, at: int) -> Iterator[tuple[int, tuple[int, int], bytes]]:
    for index in range(struct.unpack_from(order + "H", tiff, at)[0]):
        tag, kind, count, value = struct.unpack_from(order + "HHI4s", tiff, at + 2 + 12 * index)
        yield tag, (kind, count), value


def _texts(tiff: bytes, order: str, at: int) -> Iterator[tuple[int, str]]:
    for tag, (kind, count), value in _entries(tiff, order, at):
        if kind == _ASCII:
            start = struct.unpack(order + "I", value)[0]
            text = value[:count] if count <= 4 else tiff[start : start + count]
            yield tag, text.split(b"\x00")[0].decode("ascii", "replace")


def _id(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _taken(fields: dict[int, str]) -> datetime | None:
    try:
        moment = datetime.strptime(fields.get(_DATE_TIME_ORIGINAL, ""), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    try:
        zone = datetime.strptime(fields.get(_OFFSET_TIME_ORIGINAL, ""), "%z").tzinfo
    except ValueError:
        return moment
    return moment.replace(tzinfo=zone)
