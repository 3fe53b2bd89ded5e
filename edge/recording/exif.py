"""The metadata of a picture (EXIF fields and an XMP packet), written and read without an image library."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from models.errors import ImageError

_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_APP1 = 0xE1
_IMAGE_DESCRIPTION = 0x010E
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


def write(jpeg: bytes, *, id: str, taken: datetime, description: str = "", xmp: bytes = b"") -> bytes:
    """Put metadata into a JPEG; pixels are not touched, earlier EXIF and XMP segments are replaced.

    The standard gives ImageUniqueID 32 hexadecimal characters, so it holds the UUID without its hyphens.

    Args:
        jpeg: a JPEG file.
        id: a UUID.
        taken: timezone-aware; whole seconds are kept.
        description: ImageDescription, what viewers show; UTF-8, as nearly every program writes it.
        xmp: an XMP packet; empty for none.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
        ValueError: `id` is not a UUID, `taken` has no time zone, or the metadata is larger than a segment of 64 kB.
    """
    if taken.tzinfo is None:
        raise ValueError(f"expected a time with a time zone, got {taken.isoformat()}")
    offset = taken.strftime("%z")
    tiff = _tiff(
        [(_IMAGE_DESCRIPTION, _ASCII, description.encode() + b"\x00")] if description else [],
        [
            (_VERSION, _UNDEFINED, b"0232"),
            (_DATE_TIME_ORIGINAL, _ASCII, taken.strftime("%Y:%m:%d %H:%M:%S").encode() + b"\x00"),
            (_OFFSET_TIME_ORIGINAL, _ASCII, f"{offset[:3]}:{offset[3:5]}".encode() + b"\x00"),
            (_IMAGE_UNIQUE_ID, _ASCII, uuid.UUID(id).hex.encode() + b"\x00"),
        ],
    )
    segments = _segment(_EXIF + tiff) + (_segment(_XMP + xmp) if xmp else b"")
    rest, end = bytearray(), 2
    for marker, start, end in _segments(jpeg):
        if not (marker == _APP1 and jpeg[start + 4 : end].startswith((_EXIF, _XMP))):
            rest += jpeg[start:end]
    return jpeg[:2] + segments + bytes(rest) + jpeg[end:]


def _segment(content: bytes) -> bytes:
    if len(content) > 0xFFFD:
        raise ValueError(f"expected metadata of at most 65533 bytes, got {len(content)}")
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def read(jpeg: bytes) -> Exif:
    """Read back what `write` wrote, from any program's EXIF in either byte order; damaged fields read as None.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
    """
    for marker, start, end in _segments(jpeg):
        if marker == _APP1 and jpeg[start + 4 : start + 10] == _EXIF:
            fields = _fields(jpeg[start + 10 : end])
            return Exif(_id(fields.get(_IMAGE_UNIQUE_ID, "")), _taken(fields))
    return Exif(None, None)


def segments(jpeg: bytes) -> bytes:
    """The EXIF and XMP of a picture as they are, to be put behind the first two bytes of another.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
    """
    found = [(start, end) for marker, start, end in _segments(jpeg) if marker == _APP1]
    return b"".join(jpeg[start:end] for start, end in found if jpeg[start + 4 : end].startswith((_EXIF, _XMP)))


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


def _tiff(main: list[tuple[int, int, bytes]], exif: list[tuple[int, int, bytes]]) -> bytes:
    """A TIFF header, the main directory with a pointer behind its entries, and the EXIF directory."""
    at = 8 + 2 + 12 * (len(main) + 1) + 4
    values = sum(len(value) for _, _, value in main if len(value) > 4)
    pointer = (_EXIF_IFD, _LONG, struct.pack(">I", at + values))
    return struct.pack(">2sHI", b"MM", 42, 8) + _directory([*main, pointer], 8) + _directory(exif, at + values)


def _directory(entries: list[tuple[int, int, bytes]], at: int) -> bytes:
    """A directory that begins `at`, and the values that have no room in it."""
    table, values = struct.pack(">H", len(entries)), b""
    values_at = at + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        table += struct.pack(">HHI", tag, kind, 1 if kind == _LONG else len(value))
        if len(value) <= 4:
            table += value.ljust(4, b"\x00")
        else:
            table += struct.pack(">I", values_at + len(values))
            values += value
    return table + struct.pack(">I", 0) + values


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
