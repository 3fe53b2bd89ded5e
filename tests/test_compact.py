"""The 40 bytes of an alert: as documented, as another CBOR library reads them, and there and back."""

from __future__ import annotations

import re
import struct
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.telling import compact
from edge.types import Alert, Deployment
from tests.samples import ID, alert, sighting

TIGER = 17
PAGE = (Path(__file__).parents[1] / "docs" / "mqtt.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Compact form", 1)[1].split("\n## ", 1)[0]


def test_example_in_the_docs_is_what_is_sent() -> None:
    (example,) = re.findall(r"```hex\n(.*?)```", SECTION, re.DOTALL)
    payload = compact.encode(alert(), TIGER)
    assert bytes.fromhex(example) == payload
    assert len(payload) == 40


def test_table_in_the_docs_is_where_the_values_stand() -> None:
    payload = compact.encode(alert(count=2, lighting="night"), TIGER)
    rows = re.findall(r"^\| (\d+)(?:-(\d+))? \| (`[0-9a-f ]+`)? *\| (.*?) \|", SECTION, re.MULTILINE)
    read = 0
    for start, end, fixed, _ in rows:
        assert int(start) == read, "the rows leave nothing out"
        read = int(end or start) + 1
        if fixed:
            assert payload[int(start) : read] == bytes.fromhex(fixed.strip("`"))
    assert read == 40
    assert struct.unpack(">I", payload[20:24]) == (1777596330,)
    assert struct.unpack(">ii", payload[25:33]) == (215_000_000, 792_500_000)
    assert (payload[34], struct.unpack(">H", payload[36:38])[0], payload[38], payload[39]) == (99, TIGER, 2, 1)


def test_another_cbor_library_reads_it() -> None:
    place = struct.pack(">ii", 215_000_000, 792_500_000)
    read = cbor2.loads(compact.encode(alert(), TIGER))
    assert read == [1, uuid.UUID(ID).bytes, 1777596330, place, 99, TIGER, 1, 0]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (alert(), {}),
        (alert(lighting="night"), {"night": True}),
        (alert(species="big_cat", members=("leopard", "tiger")), {"group": True}),
        (alert(replay=True), {"replay": True}),
        (alert(timestamp_issues=True), {"timestamp_issues": True}),
        (replace(alert(), test=True), {"test": True, "species_index": None}),
        (alert(count=40), {"count": 23}),
        (Alert(sighting(), Deployment("t"), "m"), {"latitude": None, "longitude": None}),
        (Alert(sighting(), Deployment("t", -90.0, -180.0), "m"), {"latitude": -90.0, "longitude": -180.0}),
    ],
)
def test_decoded_alert(made: Alert, expected: dict[str, object]) -> None:
    assert compact.decode(compact.encode(made, TIGER)) == {
        "version": 1,
        "id": ID,
        "event_start": "2026-05-01T00:45:30+00:00",
        "latitude": 21.5,
        "longitude": 79.25,
        "probability": 0.99,
        "species_index": TIGER,
        "count": 1,
        "night": False,
        "group": False,
        "test": False,
        "replay": False,
        "timestamp_issues": False,
        **expected,
    }


@given(
    id=st.uuids(),
    moment=st.datetimes(datetime(1970, 1, 2), datetime(2106, 2, 6), timezones=st.just(UTC)),
    place=st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    probability=st.floats(0, 1),
    index=st.integers(0, 0xFFFE),
    count=st.integers(1, 23),
    flags=st.tuples(st.sampled_from(["day", "night"]), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_there_and_back(
    id: uuid.UUID,
    moment: datetime,
    place: tuple[float, float] | None,
    probability: float,
    index: int,
    count: int,
    flags: tuple[str, bool, bool, bool, bool],
) -> None:
    lighting, group, test, replay, issues = flags
    seen = sighting(
        id=str(id), event_start=moment, probability=probability, count=count, lighting=lighting, replay=replay,
        timestamp_issues=issues, members=("lion", "tiger") if group else (),
    )  # fmt: skip
    payload = compact.encode(Alert(seen, Deployment("t", *(place or ())), "m", test), index)
    assert len(payload) == 40
    assert len(cbor2.loads(payload)) == 8
    told = compact.decode(payload)
    assert (told["id"], told["event_start"]) == (str(id), moment.replace(microsecond=0).isoformat())
    assert (told["species_index"], told["count"]) == (None if test else index, count)
    assert (told["night"], told["group"], told["test"]) == (lighting == "night", group, test)
    assert (told["replay"], told["timestamp_issues"]) == (replay, issues)
    assert told["probability"] == pytest.approx(probability, abs=0.0051)
    if place is None:
        assert (told["latitude"], told["longitude"]) == (None, None)
    else:
        assert (told["latitude"], told["longitude"]) == pytest.approx(place, abs=1e-7)


@pytest.mark.parametrize(
    ("made", "index", "says"),
    [
        (alert(), -1, "expected a species' number from 0 to 65534, found -1"),
        (alert(), 65535, "expected a species' number from 0 to 65534, found 65535"),
        (alert(event_start=datetime(1969, 7, 20, tzinfo=UTC)), 1, "a time from 1970 to 2106, found 1969-07-20"),
        (alert(event_start=datetime(2107, 1, 1, tzinfo=UTC)), 1, "a time from 1970 to 2106, found 2107-01-01"),
        (alert(id="tiger"), 1, "badly formed hexadecimal UUID string"),
        (Alert(sighting(), Deployment("t", 91.0, 0.0), "m"), 1, "expected degrees from -90 to 90, found 91.0"),
        (Alert(sighting(), Deployment("t", 0.0, float("nan")), "m"), 1, "expected degrees from -180 to 180, found nan"),
    ],
)
def test_what_has_no_room_is_refused(made: Alert, index: int, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        compact.encode(made, index)
    assert "\n" not in str(refused.value)


WHOLE = compact.encode(alert(), TIGER)


def put(at: int, *values: int) -> bytes:
    return WHOLE[:at] + bytes(values) + WHOLE[at + len(values) :]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "expected a compact alert of 40 bytes, found 0"),
        (WHOLE[:-1], "expected a compact alert of 40 bytes, found 39"),
        (cbor2.dumps(cbor2.loads(WHOLE)), "expected a compact alert of 40 bytes, found 38"),
        (bytes(40), "expected a compact alert of version 1, found 000000..."),
        (put(1, 2), "expected a compact alert of version 1, found 880250..."),
        (put(24, 0x44), "expected a compact alert of version 1, found 880150..."),
        (put(25, 0x7F), "expected a place on Earth, found 214.437984, 79.25"),
        (put(25, 0x80, 0, 0, 0), "expected a place on Earth, found -214.7483648, 79.25"),
        (put(34, 101), "expected at most 100 %, 1 to 23 animals and flags to 15, found (101, 1, 0)"),
        (put(38, 0), "expected at most 100 %, 1 to 23 animals and flags to 15, found (99, 0, 0)"),
        (put(39, 16), "expected at most 100 %, 1 to 23 animals and flags to 15, found (99, 1, 16)"),
    ],
)
def test_what_is_no_compact_alert_is_refused(payload: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        compact.decode(payload)


@given(st.binary(min_size=40, max_size=40) | st.binary(max_size=60))
def test_any_bytes_are_an_alert_or_refused_in_a_line(payload: bytes) -> None:
    says = ""
    try:
        compact.decode(payload)
    except ValueError as error:
        says = str(error)
    assert "\n" not in says
