"""What a photo that a trap kept says of itself: which trap took it, and of which visit it is."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from html import unescape
from pathlib import Path, PurePosixPath

from train.photos.data import Photo

HEAD = 1 << 17
"""Bytes at the beginning of a JPEG in which its EXIF and XMP lie."""
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_FIELD = re.compile(r"""camtrapdp:(deploymentID|eventID)=(?:"([^"]*)"|'([^']*)')""")
_ID = len(str(uuid.UUID(int=0)))


def marked(root: Path, photo: Photo) -> Photo:
    """The photo with the trap's name as location and the visit as sequence, where it is one that `edge-watch` kept.

    Only files whose name ends with a visit's id, as those in a trap's `corrections` do, are opened; one that cannot
    be read stays as it is.
    """
    try:
        uuid.UUID(PurePosixPath(photo.path).stem[-_ID:])
        with (root / photo.path).open("rb") as file:
            head = file.read(HEAD)
    except (ValueError, OSError):
        return photo
    packet = head.partition(_XMP)[2].decode("utf-8", "replace")
    stated = {name: unescape(double or single) for name, double, single in _FIELD.findall(packet)}
    return replace(photo, location=stated.get("deploymentID", ""), sequence=stated.get("eventID", ""))
