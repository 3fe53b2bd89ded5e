"""The alert id and time in a JPEG, written without touching the picture and read back, also by others."""

from __future__ import annotations

import importlib.util
import io
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from edge.recording import exif
from models.errors import ImageError
from tests.broker import require
from tests.samples import ID, START, jpeg


def test_exif_leaves_pixels_and_other_segments() -> None:
    before = jpeg()
    after = exif.write(before, id=ID, taken=START)
    first, second = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (before, after))
    assert np.array_equal(first, second)
    assert after[:4] == b"\xff\xd8\xff\xe1"
    assert after.endswith(before[2:])
    assert exif.size(after) == (64, 48)


def test_exif_replaces_an_earlier_one() -> None:
    other = "00000000-0000-4000-8000-000000000001"
    twice = exif.write(exif.write(jpeg(), id=other, taken=START), id=ID, taken=datetime(2020, 1, 1, tzinfo=UTC))
    assert exif.read(twice) == exif.Exif(ID, datetime(2020, 1, 1, tzinfo=UTC))
    assert len(twice) == len(exif.write(jpeg(), id=ID, taken=START))
    described = exif.write(twice, id=ID, taken=START, description="x" * 500, xmp=b"y" * 500)
    assert exif.write(described, id=ID, taken=START) == exif.write(jpeg(), id=ID, taken=START)


def test_exif_is_read_by_others() -> None:
    require(importlib.util.find_spec("PIL") is not None, "pillow")
    from PIL import Image

    whole = exif.write(jpeg(), id=ID, taken=START, description="тигр, 98 %", xmp=b"<x/>")
    with Image.open(io.BytesIO(whole)) as picture:
        main, fields = dict(picture.getexif()), picture.getexif().get_ifd(0x8769)
        assert picture.info["xmp"] == b"<x/>"
    assert set(main) == {0x010E, 0x8769}
    assert main[0x010E].encode("latin-1").decode() == "тигр, 98 %"
    assert fields == {
        0x9000: b"0232",
        0x9003: "2026:05:01 06:15:30",
        0x9011: "+05:30",
        0xA420: ID.replace("-", ""),
    }


def test_exif_absent_or_cut_off_reads_as_nothing() -> None:
    assert exif.read(jpeg()) == exif.Exif(None, None)
    whole = exif.write(jpeg(), id=ID, taken=START)
    for length in range(3, len(whole)):
        exif.read(whole[:length])
    with pytest.raises(ValueError, match="at most 65533 bytes"):
        exif.write(jpeg(), id=ID, taken=START, xmp=bytes(70_000))
    for index in range(20, 190):
        exif.read(whole[:index] + b"\xff" + whole[index + 1 :])


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
def test_exif_of_what_is_no_jpeg(content: bytes) -> None:
    with pytest.raises(ImageError, match="expected a JPEG file"):
        exif.read(content)
    with pytest.raises(ImageError, match="expected a JPEG file"):
        exif.write(content, id=ID, taken=START)
