"""The publisher and a real broker: what arrives, with which flags, and what becomes of what does not."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.recording import exif
from edge.telling import homeassistant
from edge.telling.outbox import Outbox
from edge.telling.payloads import Health, Message, alert_messages, alert_payload
from tests.broker import Mosquitto, Subscriber, old_broker, start_publisher, wait_until
from tests.samples import START, TOPICS, alert, alert_of_its_own, put, sighting

REPOSITORY = Path(__file__).parents[1]
TEXT, PICTURE = TOPICS.alert("Bengal tiger"), TOPICS.image("Bengal tiger")
DISCOVERY = homeassistant.discovery_message(TOPICS, {"Bengal tiger": 600}, version="1")


def test_alert_and_picture_arrive_with_their_id(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = start_publisher(outbox, mosquitto.url)
        outbox.put_alert(alert(), alert_messages(alert()))
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    (text,), (picture,) = subscriber.on(TEXT), subscriber.on(PICTURE)
    assert json.loads(text.payload) == alert_payload(alert(), PICTURE)
    assert (text.id, text.qos) == (alert().sighting.id, 1)
    assert (picture.id, picture.qos) == (alert().sighting.id, 1)
    assert picture.payload == alert_messages(alert())[1].payload


def test_status_and_discovery_are_retained_and_alerts_are_not(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto:
        thread = start_publisher(outbox, mosquitto.url, announce=DISCOVERY)
        wait_until(lambda: thread.connected)
        health = Health(1, 2, 3, None, None, None, 0, 0, 0, 0, 0)
        with Subscriber(mosquitto, client_id="early") as early:
            put(outbox)
            thread.event(sighting())
            thread.health(health)
            early.until(lambda: bool(early.on(TOPICS.events) and early.on(TOPICS.health) and early.on(PICTURE)))
        with Subscriber(mosquitto) as late:
            late.until(lambda: len(late.received) >= 3)
        assert sorted(each.topic for each in late.received) == sorted([TOPICS.status, TOPICS.health, DISCOVERY.topic])
        assert [each.payload for each in late.on(TOPICS.status)] == [b"online"]
        assert [each.payload for each in late.on(DISCOVERY.topic)] == [DISCOVERY.payload]
        assert [each.qos for each in late.on(TOPICS.health)] == [0]
        thread.stop()
        with Subscriber(mosquitto, client_id="later") as later:
            later.until(lambda: bool(later.on(TOPICS.status)))
        assert [each.payload for each in later.on(TOPICS.status)] == [b"offline"]


def test_events_remember_what_was_before(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = start_publisher(outbox, mosquitto.url)
        wait_until(lambda: thread.connected)
        thread.event(sighting(probability=0.5))
        thread.event(sighting(type="update", probability=0.75))
        thread.event(sighting(type="end", probability=1.0, event_end=START))
        thread.stop()
        subscriber.until(lambda: len(subscriber.on(TOPICS.events)) == 3)
    events = [json.loads(each.payload) for each in subscriber.on(TOPICS.events)]
    assert [(each["type"], each["before"]["score"], each["after"]["score"]) for each in events] == [
        ("new", 0.5, 0.5),
        ("update", 0.5, 0.75),
        ("end", 0.75, 1.0),
    ]


def test_home_assistant_is_told_again_after_its_restart(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        thread = start_publisher(outbox, mosquitto.url, announce=DISCOVERY)
        subscriber.until(lambda: len(subscriber.on(DISCOVERY.topic)) == 1)
        wait_until(lambda: homeassistant.STATUS_TOPIC in mosquitto.log)
        subscriber.publish(Message(homeassistant.STATUS_TOPIC, b"offline"))
        subscriber.publish(Message(homeassistant.STATUS_TOPIC, b"online"))
        subscriber.until(lambda: len(subscriber.on(DISCOVERY.topic)) == 2)
        thread.stop()


def test_stop_delivers_what_waits_and_says_offline(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        ids = put(outbox, 20)
        # Stopped before it can have connected: one attempt is made for what waits.
        start_publisher(outbox, mosquitto.url).stop()
        assert outbox.depth() == 0
        subscriber.until(lambda: any(each.payload == b"offline" for each in subscriber.on(TOPICS.status)))
    assert [each.id for each in subscriber.on(TEXT)] == ids
    assert [each.payload for each in subscriber.on(TOPICS.status)] == [b"online", b"offline"]


def test_denied_alert_is_kept_counted_and_said_once(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.telling.publisher._TICK_S", 0.05)
    rules = tmp_path / "acl"
    rules.write_text(f"topic readwrite {TOPICS.base}/status\ntopic read #\n")
    # Only what mosquitto 2.0 wants when it runs as root: nobody else may change who may do what.
    os.chmod(rules, 0o600)
    with Mosquitto(tmp_path, f"allow_anonymous true\nacl_file {rules}") as broker:
        thread = start_publisher(outbox, broker.url, refused_s=0.05)
        put(outbox)
        wait_until(lambda: outbox.counts().refused == 2)
        wait_until(lambda: all(stored.attempts > 1 for stored in outbox.pending(10)) and bool(outbox.pending(10)))
        assert outbox.depth() == 2
        messages = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
        assert messages == [
            f"the MQTT broker refuses {TEXT}: Not authorized",
            f"the MQTT broker refuses {PICTURE}: Not authorized",
        ]
        rules.write_text("topic readwrite #\n")
        broker.reload()
        with Subscriber(broker) as subscriber:
            subscriber.until(lambda: bool(subscriber.on(PICTURE)))
            wait_until(lambda: outbox.depth() == 0)
        thread.stop()


def test_picture_larger_than_the_broker_takes_comes_smaller(tmp_path: Path, outbox: Outbox) -> None:
    broker = Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 20000")
    noise = np.random.default_rng(1).integers(0, 256, (400, 600, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
    with broker, Subscriber(broker) as subscriber:
        thread = start_publisher(outbox, broker.url)
        big = alert_of_its_own(image=jpeg)
        outbox.put_alert(big, alert_messages(big))
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    [picture] = subscriber.on(PICTURE)
    assert len(jpeg) > 100_000
    assert 5_000 < len(picture.payload) < 20_000
    assert exif.read(picture.payload) == exif.read(alert_messages(big)[1].payload)
    assert exif.size(picture.payload) == (300, 200)


def test_what_the_broker_can_never_take_holds_up_nothing(tmp_path: Path, outbox: Outbox) -> None:
    broker = Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 1500")
    with broker, Subscriber(broker) as subscriber:
        thread = start_publisher(outbox, broker.url)
        outbox.put([Message(TEXT, b"x" * 2000)])
        put(outbox)
        subscriber.until(lambda: bool(subscriber.on(TEXT)))
        wait_until(lambda: outbox.counts().refused == 2)
        assert outbox.counts().refused_why == "larger than the broker's 1500 bytes"
        wait_until(lambda: outbox.depth() == 2)
        thread.stop()
    assert len(subscriber.on(TEXT)) == 1


def test_old_broker_is_spoken_to_in_its_own_version(tmp_path: Path, outbox: Outbox) -> None:
    with old_broker(tmp_path) as broker, Subscriber(broker) as subscriber:
        thread = start_publisher(outbox, broker.url)
        (id,) = put(outbox)
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.depth() == 0)
        thread.stop()
    assert [json.loads(each.payload)["id"] for each in subscriber.on(TEXT)] == [id]
    assert [each.payload for each in subscriber.on(TOPICS.status)][:1] == [b"online"]


def test_stopped_publisher_leaves_no_thread(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto:
        before = threading.active_count()
        thread = start_publisher(outbox, mosquitto.url)
        wait_until(lambda: thread.connected)
        assert threading.active_count() == before + 1
        thread.stop()
        assert threading.active_count() == before


def test_health_of_before_the_connection_is_told(mosquitto: Mosquitto, outbox: Outbox) -> None:
    thread = start_publisher(outbox, mosquitto.url)
    for uptime in (1.0, 2.0):
        thread.health(Health(uptime, 0, 0, None, None, None, 0, 0, 0, 0, 0))
    with mosquitto, Subscriber(mosquitto) as subscriber:
        subscriber.until(lambda: bool(subscriber.on(TOPICS.health)))
        thread.stop()
    assert [json.loads(each.payload)["uptime_s"] for each in subscriber.on(TOPICS.health)] == [2.0]
