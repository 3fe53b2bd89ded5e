"""The daemon over a live camera: restarts, crashes, full disks, and one daemon per folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge.cameras.clock import Clock
from edge.cameras.keeper import Keeper
from edge.daemon import Daemon
from edge.duties import Duties
from edge.process import alone_in, notify
from edge.seeing.spots import command
from edge.settings import Settings, read_settings
from edge.telling.backlog import MOST, Backlog
from edge.telling.broker import Broker
from edge.telling.links import LINKS
from edge.telling.outbox import FILE_NAME, Outbox, OutboxError
from edge.telling.payloads import Health, alert_messages
from edge.telling.publisher import Publisher
from edge.telling.topics import Topics
from edge.types import Alert, BBox, Frame, Sighting
from models.errors import CameraError, UsageError
from models.labels import Label, LabelMap
from models.manifest import OperatingPoint
from tests.broker import Mosquitto, Subscriber, free_port, wait_until
from tests.samples import alert_of_its_own, put, sighting

LABELS = LabelMap(Label.from_name(name, {}) for name in ("empty", "person", "tiger"))
POINTS = {label.name: {"day": OperatingPoint(0.8, 1, 1, 9), "night": OperatingPoint(0.8, 1, 1, 9)} for label in LABELS}


class LiveCamera:
    """A camera of stills, live: a tiger in each of `seconds` after `start`, then it ends, or breaks."""

    live, name, skipped = True, "usb:0", 0

    def __init__(self, start: datetime, seconds: range, breaks: bool = False) -> None:
        self._start, self._seconds, self._breaks = start, seconds, breaks

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        for second in self._seconds:
            time = self._start + timedelta(seconds=second)
            yield Frame(np.full((48, 64, 3), 99, np.uint8), time, second, self.name, still=True)
        if self._breaks:
            raise CameraError("usb:0: unplugged")


class TigerEverywhere:
    """A classifier that sees a tiger in every picture."""

    labels = LABELS
    manifest = SimpleNamespace(operating_points=POINTS, files={}, temperature=1.0)
    bundle = SimpleNamespace(manifest=manifest, title="test 1", labels=LABELS)

    def classify(self, image: np.ndarray, box: object = None) -> np.ndarray:
        return np.array([0.01, 0.01, 0.98], np.float32)


def watch(data: Path, camera: LiveCamera, **changes: object) -> list[tuple[str, str]]:
    """Run a daemon over a camera; what waits in its outbox afterwards, as (id, topic)."""
    changes = {"species": ("tiger",), "data": data, "deployment": "oak"} | changes
    settings = dataclasses.replace(Settings(), **changes)  # type: ignore[arg-type]
    broker = Broker.parse(f"mqtt://127.0.0.1:{free_port()}")
    with Outbox(data / FILE_NAME) as outbox:
        daemon = Daemon(settings, camera, TigerEverywhere(), lambda: outbox, Topics("oak"), broker)  # type: ignore[arg-type]
        with contextlib.suppress(CameraError):
            daemon.run(threading.Event())
        left = [(stored.message.id, stored.message.topic) for stored in outbox.pending(100)]
        if daemon._duties._publisher is not None:
            # Of a crash nothing would go on; there is no broker that could hear what is said now.
            daemon._duties._publisher.stop(timeout_s=0.1)
        return left


def visits(data: Path) -> list[tuple[str, str]]:
    """Every visit that was not ended, or lately, as (id, type)."""
    now = datetime.now(UTC)
    with Outbox(data / FILE_NAME) as outbox:
        return [(each.id, each.type) for each in outbox.open_sightings("usb:0", now - timedelta(days=1), now)]


def test_visit_that_goes_on_after_a_restart_is_the_same_and_told_once(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = watch(tmp_path, LiveCamera(now - timedelta(seconds=30), range(5), breaks=True))
    again = watch(tmp_path, LiveCamera(now - timedelta(seconds=5), range(5)))
    assert [topic for _, topic in first] == ["edge-watch/oak/alert/tiger", "edge-watch/oak/alert/tiger/image"]
    assert again == first
    assert visits(tmp_path) == [(first[0][0], "end")]


def test_visit_after_the_gap_is_another_and_the_one_a_crash_left_open_is_ended(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = watch(tmp_path, LiveCamera(now - timedelta(minutes=30), range(5), breaks=True))
    assert visits(tmp_path) == [(first[0][0], "new")]
    again = watch(tmp_path, LiveCamera(now - timedelta(seconds=5), range(5)))
    assert len({id_ for id_, _ in again}) == 2
    assert [kind for _, kind in visits(tmp_path)] == ["end", "end"]


def test_alert_interval_survives_a_restart(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = watch(tmp_path, LiveCamera(now - timedelta(minutes=5), range(5)))
    assert watch(tmp_path, LiveCamera(now - timedelta(seconds=5), range(5))) == first
    longer = watch(tmp_path, LiveCamera(now, range(5)), alert_interval=timedelta(seconds=1), event_gap=timedelta(0))
    assert len({id_ for id_, _ in longer}) > 1


def test_species_that_cannot_be_here_is_no_visit(tmp_path: Path) -> None:
    camera = LiveCamera(datetime.now(UTC) - timedelta(seconds=5), range(5))
    assert watch(tmp_path, camera, present=("deer",), species=()) == []
    assert visits(tmp_path) == []


def test_alert_that_waited_is_told_with_its_picture_and_not_again_after_a_restart(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert watch(tmp_path, LiveCamera(now - timedelta(seconds=30), range(5), breaks=True), least_frames=8) == []
    told = watch(tmp_path, LiveCamera(now - timedelta(seconds=20), range(5), breaks=True), least_frames=8)
    assert [topic for _, topic in told] == ["edge-watch/oak/alert/tiger", "edge-watch/oak/alert/tiger/image"]
    assert watch(tmp_path, LiveCamera(now - timedelta(seconds=5), range(5)), least_frames=8) == told


def test_crash_before_the_alert_is_stored_tells_it_after_the_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)

    def power_fails(*_: object) -> bool:
        raise CameraError("power fails here")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "put_alert", power_fails)
        assert watch(tmp_path, LiveCamera(now - timedelta(seconds=20), range(5))) == []
    assert len(watch(tmp_path, LiveCamera(now - timedelta(seconds=5), range(5)))) == 2


def test_alert_that_a_full_disk_refuses_is_stored_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_alert, refusals = Outbox.put_alert, iter([True, True])

    def full_at_first(self: Outbox, *arguments: object) -> bool:
        if next(refusals, False):
            raise OutboxError("disk full")
        return put_alert(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "put_alert", full_at_first)
    monkeypatch.setattr("edge.telling.backlog.AGAIN_S", 0.0)
    assert len(watch(tmp_path, LiveCamera(datetime.now(UTC), range(5)))) == 2


def test_outbox_that_fails_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OutboxError("read-only file system")

    monkeypatch.setattr(Outbox, "save_sighting", fails)
    monkeypatch.setattr(Outbox, "counts", fails)
    assert len(watch(tmp_path, LiveCamera(datetime.now(UTC), range(5)))) == 2


def test_second_daemon_in_a_folder_is_refused(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(UsageError, match="found another"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_alerts_have_the_ids_of_their_visits(tmp_path: Path) -> None:
    told: list[Alert] = []
    camera = LiveCamera(datetime.now(UTC), range(3))
    from edge.watch import watch as chain

    frames = camera.frames(threading.Event())
    chain(frames, TigerEverywhere(), dataclasses.replace(Settings(), species=("tiger",)), iter, told.append)  # type: ignore[arg-type]
    assert [alert.sighting.species for alert in told] == ["tiger"]
    assert told[0].model == "test 1"


class DarkCamera(LiveCamera):
    """A stream, live, that has gone dark while it is light."""

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        for frame in super().frames(stop):
            yield dataclasses.replace(frame, image=np.zeros((48, 64, 3), np.uint8), still=False, lux=500.0)


class HeardHealth:
    """A publisher that is connected and keeps what health it was given."""

    connected, broken = True, False

    def __init__(self) -> None:
        self.told: list[Health] = []
        self.farewell = ""

    def health(self, health: Health) -> None:
        self.told.append(health)

    def event(self, sighting: object) -> None: ...

    def stop(self, farewell: str) -> None:
        self.farewell = farewell


def made(data: Path, camera: LiveCamera, outbox: Outbox, **given: object) -> Daemon:
    settings = read_settings(None, {"species": "tiger", "data": data, "deployment": "oak", **given})
    broker = Broker.parse(str(given.get("broker", f"mqtt://127.0.0.1:{free_port()}")))
    return Daemon(settings, camera, TigerEverywhere(), lambda: outbox, Topics("oak"), broker)  # type: ignore[arg-type]


def test_health_tells_of_a_camera_gone_dark_as_soon_as_that_is_sure(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = HeardHealth()
    monkeypatch.setattr(Duties, "_connect", lambda self: heard)
    monkeypatch.setattr("edge.duties.LINKS", {"lan": dataclasses.replace(LINKS["lan"], health_s=1e9)})
    daemon = made(tmp_path, DarkCamera(datetime.now(UTC), range(600)), outbox)
    daemon.run(threading.Event())
    told = [(each.frames, each.tampering, each.lux) for each in heard.told]
    assert told == [(1, None, 500.0), (181, "dark", 500.0)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_delivery_that_ends_by_an_error_begins_anew(
    tmp_path: Path,
    outbox: Outbox,
    mosquitto: Mosquitto,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ids = put(outbox)
    serve, calls = Publisher._serve, []

    def once(publisher: Publisher) -> None:
        calls.append(publisher)
        if len(calls) == 1:
            raise RuntimeError("nobody thought of it")
        serve(publisher)

    monkeypatch.setattr(Publisher, "_serve", once)
    with mosquitto, Subscriber(mosquitto) as subscriber:
        daemon = made(tmp_path, LiveCamera(datetime.now(UTC), range(3)), outbox, broker=mosquitto.url)
        daemon._duties.tick()
        wait_until(lambda: bool(calls) and daemon._duties._publisher.broken)  # type: ignore[union-attr]
        daemon._duties.tick()  # Not at once, should it end again and again.
        assert len(calls) == 1
        daemon._duties._publisher_due = 0.0
        daemon._duties.tick()
        subscriber.until(lambda: {each.id for each in subscriber.received} >= set(ids))
        daemon.close()
    assert [line for line in caplog.messages if "delivers" in line] == [
        "what delivers alerts has ended by an error, and begins anew"
    ]


def test_trap_that_crashes_does_not_say_that_it_sleeps(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for well in (True, False):
        heard = HeardHealth()
        monkeypatch.setattr(Duties, "_connect", lambda self: heard)  # noqa: B023
        daemon = made(tmp_path, LiveCamera(datetime.now(UTC), range(3)), outbox, wakes_every=7200.0)
        daemon.run(threading.Event())
        daemon.close(well)
        said.append(heard.farewell)
    assert said == ["sleeping", "offline"]


def test_alerts_that_a_full_disk_costs_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    def full() -> Outbox:
        raise OutboxError("no space left")

    backlog = Backlog(full, alert_messages)
    told = [alert_of_its_own() for _ in range(MOST + 2)]
    for each in told:
        backlog.put(each)
    assert (len(backlog), backlog.dropped) == (MOST, 2)
    assert [line for line in caplog.messages if "is lost" in line] == [
        f"alert {each.sighting.id} of Bengal tiger is lost: 20 wait in memory already" for each in told[:2]
    ]


def test_spots_are_kept_when_the_daemon_ends(tmp_path: Path, outbox: Outbox) -> None:
    now = datetime.now(UTC)
    daemon = made(tmp_path, LiveCamera(now, range(1)), outbox)
    for half in range(24):
        daemon._senses.spots.nothing(BBox(0.1, 0.1, 0.2, 0.2), now + timedelta(seconds=30 * half - 720))
    daemon.close()
    assert command("list", tmp_path) == "0.10,0.10,0.20,0.20  strength 24"


def kept(camera: LiveCamera, wall: list[float]) -> Keeper:
    return Keeper(lambda: camera, Clock(lambda: wall[0], lambda: 0.0, lambda: False))  # type: ignore[arg-type,return-value]


def test_visit_before_the_clock_was_set_is_marked_in_its_alert_and_on_disk(tmp_path: Path) -> None:
    camera = kept(LiveCamera(datetime.now(UTC), range(3)), [datetime.now(UTC).timestamp()])
    with Outbox(tmp_path / FILE_NAME) as outbox:
        settings = dataclasses.replace(Settings(), species=("tiger",), data=tmp_path, deployment="oak")
        broker = Broker.parse(f"mqtt://127.0.0.1:{free_port()}")
        daemon = Daemon(settings, camera, TigerEverywhere(), lambda: outbox, Topics("oak"), broker)  # type: ignore[arg-type]
        with contextlib.suppress(CameraError):
            daemon.run(Once())
        text, _ = outbox.pending(2)
        [stored] = outbox.open_sightings("usb:0", datetime.now(UTC) - timedelta(days=1), datetime.now(UTC))
    assert json.loads(text.message.payload)["timestamp_issues"] is True
    assert stored.timestamp_issues is True


def test_clock_is_held_while_a_visit_goes_on(tmp_path: Path) -> None:
    camera = kept(LiveCamera(datetime.now(UTC), range(3)), [datetime.now(UTC).timestamp()])
    held: list[bool] = []
    settings = dataclasses.replace(Settings(), species=("tiger",), data=tmp_path, deployment="oak")
    broker = Broker.parse(f"mqtt://127.0.0.1:{free_port()}")
    with Outbox(tmp_path / FILE_NAME) as outbox:
        daemon = Daemon(settings, camera, TigerEverywhere(), lambda: outbox, Topics("oak"), broker)  # type: ignore[arg-type]
        changes = [sighting_of(*each) for each in (("a", "new"), ("b", "new"), ("a", "end"), ("b", "end"))]
        for _ in daemon._record(changes):
            held.append(camera.clock.held)
    # Each is noted when the next is asked for.
    assert held == [False, True, True, True]
    assert camera.clock.held is False


def sighting_of(id: str, kind: str) -> Sighting:
    return sighting(id=id, type=kind, image=None, pictured=False)


class Once(threading.Event):
    """Set when it is first waited for: a camera that has ended is not opened again."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


def test_systemd_hears_that_the_daemon_is_ready_and_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(10)
        notify("READY=1")
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        watch(tmp_path, LiveCamera(datetime.now(UTC), range(3)))
        assert heard.recv(100) == b"WATCHDOG=1"
