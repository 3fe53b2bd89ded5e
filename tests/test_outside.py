"""Looks that are asked for from outside the pictures: by a command over MQTT, beside a sensor on a pin."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge.daemon import Daemon
from edge.doctor import check_trigger
from edge.seeing.outside import Looks, open_trigger, prompted
from edge.settings import Settings
from edge.telling.broker import Broker
from edge.telling.mqtt import Link
from edge.telling.outbox import Outbox
from edge.telling.payloads import Message
from edge.telling.topics import Topics
from edge.types import WHOLE, BBox, Frame, Trigger
from models.errors import UsageError
from tests.broker import Mosquitto, Subscriber, start_publisher, wait_until
from tests.samples import TOPICS
from tests.test_daemon import TigerEverywhere

MakeFrame = Callable[..., Frame]


def command(id: object = "7f0c", issued: object = "2026-05-01T06:15:30.250+05:30", **more: object) -> bytes:
    return json.dumps({"id": id, "issued": issued, **more}).encode()


@pytest.mark.parametrize("trigger", ["pir", "gpio:", "gpio:x", "mqtt:1", "mqtt,", "gpio:²"])
def test_unknown_trigger_says_what_it_can_be(trigger: str) -> None:
    with pytest.raises(UsageError, match="expected gpio:N with the number of a GPIO pin, mqtt, or both"):
        open_trigger(trigger, Looks())


def test_whole_frame_is_looked_at_where_only_something_outside_asks(make_frame: MakeFrame) -> None:
    moved = BBox(0.1, 0.1, 0.2, 0.2)
    told = iter([False, True, *[False] * 20, True, False])
    regions = [(), (), (moved,), *[()] * 19, (), ()]
    given = [Trigger(make_frame(step / 5), each, "day") for step, each in enumerate(regions)]
    # Three seconds of looks make a visit of an animal that stands still; each telling brings them.
    expected = [(), (WHOLE,), (moved,), *[(WHOLE,)] * 14, *[()] * 5, (WHOLE,), (WHOLE,)]
    assert [trigger.regions for trigger in prompted(given, lambda: next(told))] == expected


def test_fast_camera_is_asked_for_five_looks_a_second(make_frame: MakeFrame) -> None:
    told = iter([True, *[False] * 200])
    given = [Trigger(make_frame(step / 50), (), "day") for step in range(200)]
    assert sum(trigger.regions == (WHOLE,) for trigger in prompted(given, lambda: next(told))) == 16


def test_command_asks_for_one_look() -> None:
    looks = Looks()
    asked = open_trigger("mqtt", looks)
    assert not asked()
    looks.ask()
    looks.ask()
    assert [asked(), asked()] == [True, False]


def test_subscription_that_the_broker_refuses_is_said_once(
    mosquitto: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # mosquitto's access rules refuse no subscription, they only deliver nothing; other brokers refuse.
    monkeypatch.setattr(Link, "subscribe", lambda link, filters, qos: link.denied.append("Not authorized"))
    with mosquitto:
        thread = start_publisher(outbox, mosquitto.url)
        wait_until(lambda: bool(caplog.messages))
        thread.stop()
    expected = f"the MQTT broker refuses a subscription: Not authorized; may this user read {TOPICS.command('+')}?"
    assert caplog.messages == [expected]


class StillLife:
    """A live camera before which nothing moves."""

    live, name, skipped = True, "usb:0", 0

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        index = 0
        while not stop.wait(0.02):
            yield Frame(np.full((180, 320, 3), 99, np.uint8), datetime.now(UTC), index, self.name)
            index += 1


def test_command_over_a_real_broker_brings_a_look_of_the_running_daemon(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looked: list[object] = []

    class Watched(TigerEverywhere):
        def classify(self, image: np.ndarray, box: object = None) -> np.ndarray:
            looked.append(box)
            return super().classify(image, box)

    settings = Settings(data=tmp_path, deployment="oak 7", trigger="mqtt", species=("tiger",))
    topics, stop = Topics("oak 7"), threading.Event()
    with mosquitto, Subscriber(mosquitto) as sender, caplog.at_level(logging.INFO):
        daemon = Daemon(
            settings, StillLife(), Watched(), lambda: outbox, topics, Broker.parse(mosquitto.url)  # type: ignore[arg-type]
        )
        running = threading.Thread(target=daemon.run, args=(stop,))
        running.start()
        try:
            sender.until(lambda: bool(sender.on(topics.health)))
            assert looked == []
            sender.publish(Message("edge-watch/oak%207/command/look", command()))
            # One command is enough for an alert of an animal that stands still.
            sender.until(lambda: bool(sender.on(topics.alert("tiger"))))
            sender.publish(Message("edge-watch/oak%207/command/look", command()))
            seen = daemon.frames
            wait_until(lambda: daemon.frames > seen + 5)
        finally:
            stop.set()
            running.join()
            daemon.close()
    assert len(looked) > 3
    assert set(looked) == {WHOLE.as_tuple()}
    assert caplog.messages.count("a look was asked for by command") == 1


def test_doctor_says_where_commands_are_heard() -> None:
    assert check_trigger(Settings(deployment="oak 7")) == "none but motion in the picture"
    assert check_trigger(Settings(deployment="oak 7", trigger="mqtt")) == (
        "commands are heard on edge-watch/oak%207/command/look"
    )
