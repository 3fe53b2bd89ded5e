"""An alert is done when a subscriber has it: nobody subscribed, receipts, and a broker that forgets."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.telling.commands import write_command
from edge.telling.links import LINKS
from edge.telling.outbox import FILE_NAME, Counts, Outbox
from edge.telling.payloads import Message, alert_messages
from edge.telling.publisher import Publisher
from tests.broker import Mosquitto, Subscriber, start_publisher, wait_until
from tests.samples import TOPICS, alert_of_its_own, put

TEXT, PICTURE = TOPICS.alert("Bengal tiger"), TOPICS.image("Bengal tiger")
ACK = TOPICS.command("ack")
QUICK = dataclasses.replace(LINKS["lan"], subscribers_s=0.05)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.telling.publisher._TICK_S", 0.05)


@contextmanager
def publishing(outbox: Outbox, mosquitto: Mosquitto, **settings: object) -> Iterator[Publisher]:
    thread = start_publisher(outbox, mosquitto.url, **{"talk": QUICK, **settings})
    try:
        yield thread
    finally:
        thread.stop()


def acknowledge(subscriber: Subscriber, *topics: str) -> None:
    """Send receipts for all that has come on some topics."""
    for topic in topics:
        part = "image" if topic.endswith("/image") else "alert"
        for each in subscriber.on(topic):
            payload = write_command("ack", alert=each.id, part=part, size=len(each.payload))
            subscriber.publish(Message(ACK, payload))


def test_alert_that_nobody_hears_is_kept_until_somebody_does(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto, publishing(outbox, mosquitto):
        ids = put(outbox, 20)
        # One of a topic is tried, the others wait for what becomes of it.
        wait_until(lambda: outbox.counts().unheard >= 2)
        assert outbox.counts().depth == 40
        with Subscriber(mosquitto) as subscriber:
            subscriber.until(lambda: len(subscriber.on(PICTURE)) == 20)
            wait_until(lambda: outbox.counts() == Counts())
        assert sorted(each.id for each in subscriber.on(TEXT)) == sorted(ids)
    assert [line for line in caplog.messages if "nobody" in line] == [
        f"nobody is subscribed to {TEXT}: it is kept, and tried again",
        f"nobody is subscribed to {PICTURE}: it is kept, and tried again",
    ]


def test_only_the_topic_that_nobody_hears_waits(mosquitto: Mosquitto, outbox: Outbox) -> None:
    slow = LINKS["lan"]
    ids = put(outbox, 30)
    with mosquitto, Subscriber(mosquitto, filters=[TEXT]) as subscriber, publishing(outbox, mosquitto, talk=slow):
        subscriber.until(lambda: len(subscriber.on(TEXT)) == 30)
        wait_until(lambda: outbox.depth() == 30)
        assert [each.id for each in subscriber.on(TEXT)] == ids
        assert all(stored.message.picture for stored in outbox.pending(100))


def test_first_receipt_makes_all_that_follows_wait_for_one(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber, publishing(outbox, mosquitto):
        put(outbox)
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.depth() == 0)
        acknowledge(subscriber, TEXT)
        wait_until(outbox.knows_receipts)
        subscriber.received.clear()
        put(outbox)
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.counts() == Counts(2, awaiting=2))
        acknowledge(subscriber, TEXT)
        wait_until(lambda: outbox.counts() == Counts(1, awaiting=1))
        acknowledge(subscriber, PICTURE)
        wait_until(lambda: outbox.counts() == Counts())


def test_receipt_that_is_known_is_known_after_a_restart(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Outbox(tmp_path / FILE_NAME) as outbox:
        outbox.receipted({("a", False, 1): 0.0})
    reopened = Outbox(tmp_path / FILE_NAME)
    with reopened as outbox, mosquitto, Subscriber(mosquitto) as subscriber, publishing(outbox, mosquitto):
        put(outbox)
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        wait_until(lambda: outbox.counts() == Counts(2, awaiting=2))


def test_receipts_that_have_not_come_for_a_month_are_waited_for_no_longer(
    mosquitto: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.receipted({("a", False, 1): 0.0})
    assert outbox.knows_receipts()
    with mosquitto, Subscriber(mosquitto) as subscriber, publishing(outbox, mosquitto, receipt_s=0.05):
        put(outbox)
        wait_until(lambda: outbox.counts().awaiting == 2)
        now = time.time() + 31 * 86400
        monkeypatch.setattr("edge.telling.outbox.time.time", lambda: now)
        assert not outbox.knows_receipts()
        subscriber.until(lambda: len(subscriber.on(PICTURE)) == 2)
        wait_until(lambda: outbox.depth() == 0)


def test_receipt_of_another_size_is_none(outbox: Outbox) -> None:
    put(outbox)
    text, picture = outbox.pending(10)
    size = len(picture.message.payload)
    outbox.receipted({(text.message.id, True, size - 1): 0.0, (text.message.id, False, size): 0.0})
    assert outbox.pending(10) == [text, picture]
    outbox.receipted({(text.message.id, True, size): 0.0})
    assert outbox.pending(10) == [text]


def test_broker_that_forgot_is_told_again_at_once(tmp_path: Path, outbox: Outbox) -> None:
    broker = Mosquitto(tmp_path)  # It keeps nothing.
    with publishing(outbox, broker, require_ack=True, receipt_s=3600.0):
        with broker, Subscriber(broker) as subscriber:
            ids = put(outbox, 5)
            subscriber.until(lambda: len(subscriber.on(PICTURE)) == 5)
            wait_until(lambda: outbox.counts().awaiting == 10)
        with broker, Subscriber(broker) as subscriber:
            subscriber.until(lambda: len(subscriber.on(PICTURE)) == 5)
            assert [each.id for each in subscriber.on(TEXT)] == ids
            acknowledge(subscriber, TEXT, PICTURE)
            wait_until(lambda: outbox.counts() == Counts())


def test_what_a_broker_that_knows_the_trap_still_has_no_receipt_for_is_told_again_later(
    mosquitto: Mosquitto, outbox: Outbox
) -> None:
    with publishing(outbox, mosquitto, require_ack=True, receipt_s=3600.0):
        with mosquitto, Subscriber(mosquitto) as subscriber:
            put(outbox, 2)
            subscriber.until(lambda: len(subscriber.on(PICTURE)) == 2)
            wait_until(lambda: outbox.counts().awaiting == 4)
            wait_until(lambda: "Saving in-memory database" in mosquitto.log)
            mosquitto.stop()
        with mosquitto, Subscriber(mosquitto, client_id="late") as subscriber:
            subscriber.until(lambda: any(each.payload == b"online" for each in subscriber.on(TOPICS.status)))
            # Not before the time for receipts is over: it may have been stored, and the receipt be on its way.
            assert subscriber.on(TEXT) == []
            assert outbox.counts() == Counts(4, awaiting=4)
            assert outbox.pending(10) == []


def test_receipts_find_a_trap_that_was_away(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber:
        with publishing(outbox, mosquitto, require_ack=True):
            put(outbox)
            subscriber.until(lambda: bool(subscriber.on(PICTURE)))
            wait_until(lambda: outbox.counts().awaiting == 2)
        acknowledge(subscriber, TEXT, PICTURE)
        assert outbox.depth() == 2
        with publishing(outbox, mosquitto, require_ack=True):
            wait_until(lambda: outbox.depth() == 0)


def test_what_happens_now_goes_before_what_happened_before(mosquitto: Mosquitto, outbox: Outbox) -> None:
    before = put(outbox, 3)
    old = outbox.newest_row()
    now = put(outbox, 2)
    ids = [stored.message.id for stored in outbox.pending(10, live=old)]
    assert ids == [*now, *before, *now, *before]
    assert [stored.message.picture for stored in outbox.pending(10, live=old)] == [False] * 5 + [True] * 5


def test_compact_form_needs_no_receipt(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with mosquitto, Subscriber(mosquitto, filters=[TEXT]), publishing(outbox, mosquitto, require_ack=True):
        outbox.put([Message(TOPICS.compact("Bengal tiger"), bytes(40), id="a", receipt=False)])
        wait_until(lambda: outbox.depth() == 0)


def test_picture_under_which_connections_end_comes_smaller(
    mosquitto: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2
    import numpy as np

    from edge.telling.mqtt import Link

    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    big = alert_of_its_own(image=cv2.imencode(".jpg", noise)[1].tobytes())
    whole = alert_messages(big)[1].payload
    publish, tried = Link.publish, []

    def hang_up(link: Link, message: Message) -> int:
        """As some brokers do when a packet is too large for them, without saying so."""
        if message.picture:
            tried.append(len(message.payload))
            if len(message.payload) > len(whole) // 2:
                link.close()
        return publish(link, message)

    monkeypatch.setattr(Link, "publish", hang_up)
    with mosquitto, Subscriber(mosquitto) as subscriber, publishing(outbox, mosquitto):
        outbox.put_alert(big, alert_messages(big))
        subscriber.until(lambda: bool(subscriber.on(PICTURE)))
        [picture] = subscriber.on(PICTURE)
    assert tried[:3] == [len(whole)] * 3
    assert json.loads(subscriber.on(TEXT)[0].payload)["id"] == picture.id
    assert len(picture.payload) < len(whole) // 2


def test_receipt_shows_what_was_sent_before_it_and_never_came(outbox: Outbox) -> None:
    ids = put(outbox, 3)
    texts, pictures = outbox.pending(10)[:3], outbox.pending(10)[3:]
    for stored in (*texts, *pictures):
        outbox.delivered(stored.row, receipt_in_s=600.0)
    assert (outbox.pending(10), outbox.counts()) == ([], Counts(6, awaiting=6))
    outbox.receipted({(ids[1], False, len(texts[1].message.payload)): 0.0})
    # Of the texts the first; pictures have another topic, which that subscriber may not want.
    assert [stored.row for stored in outbox.pending(10)] == [texts[0].row]
    assert outbox.counts() == Counts(5, awaiting=5)


def test_receipt_that_does_not_come_for_long_is_doubted(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    put(outbox)
    now = 1777596330.0
    monkeypatch.setattr("edge.telling.outbox.time.time", lambda: now)
    for after in (600, 1200, 2400):
        text, picture = outbox.pending(10)
        outbox.delivered(text.row, picture.row, receipt_in_s=600.0)
        now += after - 1
        outbox.doubt(60.0)
        assert outbox.pending(10) == []
        now += 1
        outbox.doubt(60.0)
        assert [stored.row for stored in outbox.pending(10)] == [text.row, picture.row]


def test_subscriber_that_comes_back_later_than_the_trap_gets_all(tmp_path: Path, outbox: Outbox) -> None:
    broker = Mosquitto(tmp_path)
    with publishing(outbox, broker, require_ack=True), broker, Subscriber(broker, client_id="dashboard") as other:
        # It sends no receipts, but makes the broker say that somebody is subscribed.
        ids = put(outbox, 3, image=None)
        other.until(lambda: len(other.on(TEXT)) == 3)
        wait_until(lambda: outbox.counts().awaiting == 3)
        with Subscriber(broker, client_id="listener") as listener:
            new = put(outbox, image=None)
            listener.until(lambda: len(listener.on(TEXT)) == 1)
            acknowledge(listener, TEXT)
            listener.until(lambda: len(listener.on(TEXT)) == 4)
            acknowledge(listener, TEXT)
            assert {each.id for each in listener.on(TEXT)} == {*new, *ids}
            wait_until(lambda: outbox.depth() == 0)


def test_receipt_that_comes_at_once_is_not_noted_as_awaited(
    mosquitto: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.telling.delivery._MOMENT_S", 3600.0)
    with mosquitto, Subscriber(mosquitto) as subscriber:
        with publishing(outbox, mosquitto, require_ack=True):
            put(outbox)
            subscriber.until(lambda: bool(subscriber.on(PICTURE)))
            assert outbox.counts() == Counts(2)
            acknowledge(subscriber, TEXT, PICTURE)
            wait_until(lambda: outbox.depth() == 0)
            put(outbox)
            subscriber.until(lambda: len(subscriber.on(PICTURE)) == 2)
        # What is still without one at the end is noted, and not sent anew at the next start.
        assert outbox.counts() == Counts(2, awaiting=2)
