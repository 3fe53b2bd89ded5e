"""An alert in exactly 40 bytes, for gateways of very thin links (LoRa): CBOR, with every value at a fixed place.

docs/mqtt.md has it byte by byte. It is an array that any CBOR library reads (RFC 8949). Numbers are not in CBOR's
shortest form, which is as legal: so each keeps its width, and a microcontroller reads them where they stand.
"""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    # edge.types needs numpy, which a gateway that only reads does without.
    from edge.types import Alert

SIZE = 40
VERSION = 1
NO_LABEL = 0xFFFF
"""The species' number in a test: nothing was seen."""

_FORM = struct.Struct(">BB B16s BI B ii BB BH B B")
# CBOR's heads: an array of 8; a text of 16 and of 8 bytes; a number in 4, 1 and 2 bytes. What is below 24 needs none.
_ARRAY, _BYTES_16, _BYTES_8, _IN_4, _IN_1, _IN_2 = 0x88, 0x50, 0x48, 0x1A, 0x18, 0x19
_HEADS = (_ARRAY, VERSION, _BYTES_16, _IN_4, _BYTES_8, _IN_1, _IN_2)
_MOST = 23
_PER_DEGREE = 10_000_000
_NOWHERE = -(2**31)
_NIGHT, _GROUP, _REPLAY, _TIMESTAMP_ISSUES = 1, 2, 4, 8


class CompactAlert(TypedDict):
    """What the 40 bytes say.

    `event_start` is in whole seconds of UTC, `probability` in hundredths. `latitude` and `longitude` (degrees, WGS 84)
    are None where they are not told. `species_index` is the species' in the labels of the trap's model, None in a
    test; of a `group` it is that of the first of its look-alikes. `count` 23 stands for all above, too.
    """

    version: int
    id: str
    event_start: str
    latitude: float | None
    longitude: float | None
    probability: float
    species_index: int | None
    count: int
    night: bool
    group: bool
    test: bool
    replay: bool
    timestamp_issues: bool


def encode(alert: Alert, species_index: int) -> bytes:
    """The 40 bytes of an alert.

    Args:
        alert: its id is a UUID.
        species_index: the species' in the labels of the model, of a group its first member's; means nothing in a test.

    Raises:
        ValueError: a number that has no room, or an id that is no UUID; one line.
    """
    sighting, place = alert.sighting, alert.deployment
    index = NO_LABEL if alert.test else species_index
    if not 0 <= index < NO_LABEL + alert.test:
        raise ValueError(f"expected a species' number from 0 to {NO_LABEL - 1}, found {index}")
    seconds = int(sighting.event_start.timestamp())
    if not 0 <= seconds < 2**32:
        raise ValueError(f"expected a time from 1970 to 2106, found {sighting.event_start.isoformat()}")
    if place.latitude is None or place.longitude is None:
        latitude = longitude = _NOWHERE
    else:
        latitude, longitude = _fixed(place.latitude, 90), _fixed(place.longitude, 180)
    flags = (
        _NIGHT * (sighting.lighting == "night")
        + _GROUP * bool(sighting.members)
        + _REPLAY * sighting.replay
        + _TIMESTAMP_ISSUES * sighting.timestamp_issues
    )
    return _FORM.pack(
        _ARRAY, VERSION, _BYTES_16, uuid.UUID(sighting.id).bytes, _IN_4, seconds, _BYTES_8, latitude, longitude,
        _IN_1, round(100 * sighting.probability), _IN_2, index, min(sighting.count, _MOST), flags,
    )  # fmt: skip


def decode(payload: bytes) -> CompactAlert:
    """Read what `encode` wrote.

    Raises:
        ValueError: it is something else; one line.
    """
    if len(payload) != SIZE:
        raise ValueError(f"expected a compact alert of {SIZE} bytes, found {len(payload)}")
    (array, version, bytes_16, id, in_4, seconds, bytes_8, latitude, longitude, in_1, percent, in_2, index, count, flags
    ) = _FORM.unpack(payload)  # fmt: skip
    if (array, version, bytes_16, in_4, bytes_8, in_1, in_2) != _HEADS:
        raise ValueError(f"expected a compact alert of version {VERSION}, found {payload[:3].hex()}...")
    somewhere = (latitude, longitude) != (_NOWHERE, _NOWHERE)
    if somewhere and not (abs(latitude) <= 90 * _PER_DEGREE and abs(longitude) <= 180 * _PER_DEGREE):
        raise ValueError(f"expected a place on Earth, found {latitude / _PER_DEGREE}, {longitude / _PER_DEGREE}")
    if percent > 100 or not 1 <= count <= _MOST or flags > 15:
        raise ValueError(f"expected at most 100 %, 1 to {_MOST} animals and flags to 15, found {percent, count, flags}")
    return {
        "version": version,
        "id": str(uuid.UUID(bytes=id)),
        "event_start": datetime.fromtimestamp(seconds, UTC).isoformat(),
        "latitude": latitude / _PER_DEGREE if somewhere else None,
        "longitude": longitude / _PER_DEGREE if somewhere else None,
        "probability": percent / 100,
        "species_index": None if index == NO_LABEL else index,
        "count": count,
        "night": bool(flags & _NIGHT),
        "group": bool(flags & _GROUP),
        "test": index == NO_LABEL,
        "replay": bool(flags & _REPLAY),
        "timestamp_issues": bool(flags & _TIMESTAMP_ISSUES),
    }


def _fixed(degrees: float, most: int) -> int:
    if not -most <= degrees <= most:
        raise ValueError(f"expected degrees from {-most} to {most}, found {degrees}")
    return round(degrees * _PER_DEGREE)
