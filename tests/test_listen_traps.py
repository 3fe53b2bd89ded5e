"""What `edge-listen` says of traps that are silent, asleep or back."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.listen.schema import open_database
from edge.listen.traps import Traps
from edge.telling.database import Database
from edge.telling.payloads import Message
from tests.broker import Subscriber, wait_until
from tests.listening import BASE, Listener, ask, listening


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path) as made:
        yield made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path)) as made:
        yield made


class Clock:
    """A monotonic clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def health(promised_s: float = 60.0, sent: float | None = None) -> bytes:
    """Health that promises to be heard again; `sent` by the trap's clock."""
    sent = time.time() if sent is None else sent
    return json.dumps({"schema_version": 1, "sent": sent, "next_contact_by": sent + promised_s}).encode()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines since the last call, without who says them."""
    return [line.removeprefix("edge-listen: ") for line in capsys.readouterr().err.splitlines()]


def test_trap_that_breaks_its_promise_is_flagged_once_and_once_when_it_is_back(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    traps.health("oak 7", health(60), retained=False)
    clock.now += 59.9
    assert traps.check() == pytest.approx(0.1)
    assert said(capsys) == []
    clock.now += 0.2
    for _ in range(3):
        traps.check()
    [line] = said(capsys)
    assert line.startswith("oak 7 is overdue: it promised to be heard within 60 s, last heard 20")
    [(heard, overdue_since)] = database.run(lambda db: db.execute("SELECT heard, overdue_since FROM traps").fetchall())
    assert heard <= overdue_since
    for _ in range(2):
        traps.health("oak 7", health(60), retained=False)
    assert said(capsys) == ["oak 7 is back"]
    clock.now += 61
    traps.check()
    assert len(said(capsys)) == 1


@pytest.mark.parametrize("sent", [0.0, 4e9], ids=["1970", "2096"])
def test_wrong_clock_of_a_trap_does_not_matter(
    database: Database, capsys: pytest.CaptureFixture[str], sent: float
) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    traps.health("oak 7", health(60, sent=sent), retained=False)
    clock.now += 59
    traps.check()
    assert said(capsys) == []
    clock.now += 2
    traps.check()
    assert len(said(capsys)) == 1


def test_promise_that_the_broker_kept_ends_by_the_traps_clock(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    traps.health("late", health(600, sent=time.time() - 700), retained=True)
    traps.health("soon", health(600, sent=time.time() - 300), retained=True)
    # A listener that has only just found the broker gives whoever it finds late a moment to show up there.
    clock.now += 89
    traps.check()
    assert said(capsys) == []
    clock.now += 2
    traps.check()
    assert said(capsys) == ["late is overdue: it promised to be heard within 10 min, not heard by this listener"]
    clock.now += 208
    traps.check()
    assert said(capsys) == []
    clock.now += 3
    traps.check()
    assert said(capsys) == ["soon is overdue: it promised to be heard within 10 min, not heard by this listener"]


def test_connection_gives_time_to_show_up(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    traps.health("oak 7", health(3600), retained=False)
    # The broker was away for two hours, and traps look for it in pauses that grow.
    clock.now += 7200
    traps.connected()
    clock.now += 89
    traps.check()
    assert said(capsys) == []
    clock.now += 2
    traps.check()
    assert len(said(capsys)) == 1


def test_status_is_said_when_it_changes(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    for status, retained in ((b"online", True), (b"online", False), (b"offline", False), (b"offline", True)):
        traps.status("oak\n7", status, retained)
    assert said(capsys) == ["oak?7 is online", "oak?7 is offline"]
    # Nor does a restart say it again.
    Traps(database, clock).status("oak\n7", b"offline", retained=True)
    assert said(capsys) == []


def test_only_the_trap_itself_is_a_sign_of_life(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    text = health(60)
    traps.health("oak 7", text, retained=False)
    clock.now += 61
    traps.check()
    said(capsys)
    # The broker tells of a trap that has gone, and repeats what it said before.
    traps.status("oak 7", b"offline", retained=False)
    traps.status("oak 7", b"online", retained=True)
    traps.health("oak 7", text, retained=True)
    assert said(capsys) == ["oak 7 is offline", "oak 7 is online"]
    traps.status("oak 7", b"online", retained=False)
    assert said(capsys) == ["oak 7 is back"]


@pytest.mark.parametrize("health_first", [True, False])
def test_sleeping_trap_is_said_with_when_it_wakes_and_is_overdue_after(
    database: Database, capsys: pytest.CaptureFixture[str], health_first: bool
) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    traps.health("oak 7", health(180), retained=False)
    messages = [lambda: traps.health("oak 7", health(3600), retained=False)]
    messages.insert(int(health_first), lambda: traps.status("oak 7", b"sleeping", retained=False))
    for message in messages:
        message()
    clock.now += 2.1
    traps.check()
    [line] = said(capsys)
    assert line.startswith("oak 7 is sleeping, back by 20")
    back = time.mktime(time.strptime(line[-25:-6], "%Y-%m-%d %H:%M:%S"))
    assert 3590 < back - time.time() < 3610
    clock.now += 3590
    traps.check()
    assert said(capsys) == []
    clock.now += 20
    traps.check()
    assert said(capsys)[0].startswith("oak 7 is overdue")


def test_restart_keeps_promise_and_flag(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    traps = Traps(database, clock)
    traps.health("oak 7", health(600), retained=False)
    traps.health("elm", health(30), retained=False)
    clock.now += 31
    traps.check()
    assert said(capsys)[0].startswith("elm is overdue")
    # Another clock, as after a restart of the computer.
    clock = Clock()
    clock.now = 5.0
    traps = Traps(database, clock)
    clock.now += 599
    traps.check()
    assert said(capsys) == []
    clock.now += 2
    traps.check()
    assert [line.split(":")[0] for line in said(capsys)] == ["oak 7 is overdue"]
    traps.health("elm", health(30), retained=False)
    assert said(capsys) == ["elm is back"]


def test_killed_listener_flags_once_and_notices_the_return(listener: Listener) -> None:
    with Subscriber(listener.broker, filters=(), client_id="trap") as trap:
        listener.start()
        trap.publish(Message(f"{BASE}/status", b"online", retain=True))
        trap.publish(Message(f"{BASE}/health", health(0.5), retain=True))
        wait_until(lambda: len(listener.warnings) == 2)
        assert listener.warnings[0] == "edge-listen: trap 7 is online"
        assert listener.warnings[1].startswith("edge-listen: trap 7 is overdue: it promised to be heard within 0.5 s")
        # Said before it is written down: a kill in between says it twice rather than never.
        wait_until(lambda: ask(listener.folder, "SELECT count(overdue_since) FROM traps") == [(1,)])
        listener.end(signal.SIGKILL)
        listener.start()
        trap.publish(Message(f"{BASE}/health", health(3600), retain=True))
        wait_until(lambda: len(listener.warnings) == 3)
    assert listener.warnings[2] == "edge-listen: trap 7 is back"
    query = "SELECT deployment, status, overdue_since FROM traps"
    wait_until(lambda: ask(listener.folder, query) == [("trap 7", "online", None)])


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("status", b"asleep"),
        ("status", b""),
        ("status", b"\xff" * 100_000),
        ("health", b"{"),
        ("health", b"[]"),
        ("health", b"{}"),
        ("health", b'{"next_contact_by": "soon"}'),
        ("health", b'{"next_contact_by": 1e400}'),
        ("health", b'{"next_contact_by": true}'),
        ("health", b'{"next_contact_by": 1' + b"0" * 400 + b"}"),
    ],
    ids=lambda value: str(value[:30]),
)
def test_malformed_state_is_a_warning(listener: Listener, topic: str, payload: bytes) -> None:
    listener.start()
    with Subscriber(listener.broker, filters=(), client_id="trap") as trap:
        trap.publish(Message(f"{BASE}/{topic}", payload))
        trap.publish(Message("edge-watch/elm/status", b"online"))
    wait_until(lambda: len(listener.warnings) == 2)
    assert listener.warnings[0].startswith(f"edge-listen: ignored a message on {BASE}/{topic}: ")
    assert listener.warnings[1] == "edge-listen: elm is online"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"next_contact_by": -99999999999, "sent": 0}',
        b'{"next_contact_by": 99999999999, "sent": -99999999999}',
        b'{"next_contact_by": 5, "sent": "x"}',
    ],
)
@pytest.mark.parametrize("retained", [True, False])
def test_odd_promises_do_no_harm(database: Database, payload: bytes, retained: bool) -> None:
    traps = Traps(database, Clock())
    traps.health("oak 7", payload, retained)
    traps.check()
    Traps(database, Clock()).check()
