"""What goes over a thin link, and pictures made small enough for it."""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.duties import Duties
from edge.recording import exif
from edge.recording.pictures import described
from edge.recording.thin import CROP_BYTES, cropped, fitted
from edge.settings import Settings, read_settings
from edge.telling.links import LINKS
from edge.telling.outbox import Outbox
from edge.telling.payloads import alert_messages, alert_payload
from edge.types import BBox
from models.errors import ImageError, UsageError
from tests.broker import Mosquitto, Subscriber, start_publisher, wait_until
from tests.samples import TOPICS, alert, jpeg
from tests.test_daemon import HeardHealth, LiveCamera, made

NOISE = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8))[1].tobytes()


def decoded(picture: bytes | None) -> np.ndarray:
    assert picture is not None
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)


def test_crop_shows_the_animal_with_a_margin() -> None:
    picture = np.zeros((400, 800, 3), np.uint8)
    picture[100:200, 200:400] = 255
    crop = decoded(cropped(cv2.imencode(".png", picture)[1].tobytes(), BBox(0.25, 0.25, 0.25, 0.25), 10_000))
    assert crop.shape == (130, 260, 3)
    assert crop[15:115, 30:230].min() > 200
    assert crop[:10].max() < 60


def test_crop_at_the_edge_of_the_picture_ends_there() -> None:
    crop = decoded(cropped(jpeg(400, 400), BBox(0.9, 0.0, 0.1, 0.1), 10_000))
    assert crop.shape == (46, 46, 3)


@settings(max_examples=50)
@given(
    st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1), st.integers(300, 50_000),
)  # fmt: skip
def test_crop_is_never_larger_than_it_may_be(x: float, y: float, width: float, height: float, most: int) -> None:
    crop = cropped(NOISE, BBox(x, y, min(width, 1 - x), min(height, 1 - y)), most)
    if crop is not None:
        assert len(crop) <= most
        assert max(decoded(crop).shape) <= 480


@pytest.mark.parametrize("most", [200_000, 60_000, 20_000, 5_000])
def test_picture_is_made_small_enough_with_what_it_says_of_itself(most: int) -> None:
    told = alert(image=NOISE)
    whole = described(NOISE, told.sighting, told.deployment, "wildlife 1")
    small = fitted(whole, most)
    assert small is not None
    assert len(small) <= most
    assert exif.segments(small) == exif.segments(whole)
    height, width = decoded(small).shape[:2]
    assert width / height == pytest.approx(4 / 3, rel=0.02)


def test_picture_that_is_small_enough_stays_as_it_is_and_one_that_cannot_be_is_none() -> None:
    assert fitted(NOISE, len(NOISE)) is NOISE
    assert fitted(NOISE, 300) is None
    with pytest.raises(ImageError, match="expected a JPEG picture, found 7 bytes that cannot be decoded"):
        cropped(b"no jpeg", BBox(0, 0, 1, 1), 10_000)


@pytest.mark.parametrize(("pictures", "sizes"), [("whole", [180_000]), ("crop", [CROP_BYTES]), ("nothing", [])])
def test_link_chooses_what_is_sent_of_the_picture(pictures: str, sizes: list[int]) -> None:
    told = alert(image=NOISE, frame_size=(640, 480))
    text, *rest = alert_messages(told, pictures=pictures)  # type: ignore[arg-type]
    topic = TOPICS.image("Bengal tiger") if sizes else None
    assert json.loads(text.payload) == alert_payload(told, topic)
    assert [message.topic for message in rest] == [topic] * len(sizes)
    for message, size in zip(rest, sizes, strict=True):
        assert size / 3 < len(message.payload) <= (size if pictures == "crop" else 10 * size)
        assert exif.read(message.payload).id == told.sighting.id


def test_visits_are_not_told_change_by_change_over_a_satellite(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        for link, told in (("satellite", 0), ("cell", 1)):
            thread = start_publisher(outbox, mosquitto.url, talk=LINKS[link])  # type: ignore[index]
            wait_until(lambda: thread.connected)  # noqa: B023
            thread.event(alert().sighting)
            thread.stop()
            subscriber.until(lambda: any(each.payload == b"offline" for each in subscriber.on(TOPICS.status)))
            subscriber.received, before = [], subscriber.received
            assert len([each for each in before if each.topic == TOPICS.events]) == told


@pytest.mark.parametrize(
    ("given", "link", "silence_s", "farewell"),
    [
        ({}, "lan", 180, "offline"),
        ({"link": "cell"}, "cell", 1800, "offline"),
        ({"link": "satellite"}, "satellite", 10800, "offline"),
        ({"wakes_every": 7200.0}, "lan", 7200, "sleeping"),
    ],
)
def test_trap_says_when_it_will_be_heard_again(
    given: dict[str, object], link: str, silence_s: float, farewell: str, tmp_path: Path, outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    heard = HeardHealth()
    monkeypatch.setattr(Duties, "_connect", lambda self: heard)
    daemon = made(tmp_path, LiveCamera(datetime.now(UTC), range(3)), outbox, **given)
    daemon.run(threading.Event())
    daemon.close()
    last = heard.told[-1]
    assert (last.link, round(last.next_contact_by - last.sent, 3), heard.farewell) == (link, silence_s, farewell)


def test_settings_of_the_link_are_checked() -> None:
    with pytest.raises(UsageError, match="link: expected lan, cell, satellite, found 'pigeon'"):
        dataclasses.replace(Settings(), link="pigeon")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="wakes_every: expected more than 0 seconds, found 0"):
        read_settings(None, {"wakes_every": 0.0})
