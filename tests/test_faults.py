"""The short form of the suite of faults; `make test-faults` is the long one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.telling.broker import Broker, BrokerError
from edge.telling.mqtt import Link
from tests.broker import Mosquitto, mosquitto_binary, require, wait_until
from tests.faults.campaign import CRASHES, KINDS, chosen, faketime
from tests.faults.collector import Arrival
from tests.faults.judge import Report, judge
from tests.faults.ledger import Ledger, Truth
from tests.faults.network import Network
from tests.faults.several import several


@pytest.mark.timeout(600)
def test_every_visit_is_told_once_whatever_happens(tmp_path: Path) -> None:
    mosquitto_binary()
    require(faketime() is not None, "libfaketime")
    report = several(tmp_path, 60, chosen(24, KINDS), seed=3, receipts=True, at_once=4)
    assert report.kept, report.text()
    assert report.visits == report.ids == 60


@pytest.mark.timeout(600)
def test_without_receipts_only_a_broker_that_crashes_loses_anything(tmp_path: Path) -> None:
    mosquitto_binary()
    require(faketime() is not None, "libfaketime")
    kinds = [kind for kind in KINDS if kind not in CRASHES]
    report = several(tmp_path, 12, chosen(10, kinds), seed=5, receipts=False, at_once=2)
    assert report.kept, report.text()
    assert report.visits == report.ids == 12


# Who judges must be able to find fault.


def judged(folder: Path, told: dict[str, str], found: list[tuple[int, str]], arrivals: list[Arrival]) -> Report:
    """What the judge says of visits that were shown, and of what edge-listen has: id -> text of its file."""
    ledger = Ledger(folder / "ledger")
    for number in sorted({number for number, _ in found}):
        ledger.write("begins", visit=number, species=f"animal {number}")
        for id in [id for each, id in found if each == number]:
            ledger.write("found", visit=number, id=id)
            ledger.write("stored", visit=number, id=id)
        ledger.write("ends", visit=number)
    for id, text in told.items():
        (folder / f"x-{id}.json").write_text(text)
        (folder / f"x-{id}.jpg").touch()
    report = Report(receipts=True)
    judge(report, Truth(folder / "ledger"), folder, [f"a  {id}" for id in told], arrivals)
    return report


def ids(*letters: str) -> list[str]:
    return [letter * 8 + "-0000-7000-8000-" + letter * 12 for letter in letters]


def test_judge_finds_lost_twice_told_unknown_and_altered(tmp_path: Path) -> None:
    a, b, c, d = ids("a", "b", "c", "d")
    arrivals = [Arrival(1e9, a, False, "1"), Arrival(1e9, a, False, "1"), Arrival(1e9, a, False, "2")]
    told = {id: f'{{"id": "{id}"}}' for id in (a, b, d)}
    report = judged(tmp_path, told, [(0, a), (0, b), (1, c)], arrivals)
    assert (report.visits, report.lost, report.twice, report.unknown) == (2, [1], [0], [d])
    assert (report.duplicates, report.altered, report.kept) == (1, 1, False)
    assert report.text().endswith(f"BROKEN: lost [1], twice [0], unknown {[d]}, altered 1")


def test_judge_is_content_with_what_was_promised(tmp_path: Path) -> None:
    a, b = ids("a", "b")
    told = {id: f'{{"id": "{id}"}}' for id in (a, b)}
    report = judged(tmp_path, told, [(0, a), (1, b)], [Arrival(1e9, id, False, id) for id in (a, b)])
    assert report.kept
    assert (report.visits, report.ids, report.duplicates) == (2, 2, 0)


def test_visit_that_a_kill_broke_off_before_it_was_stored_is_owed_to_nobody(tmp_path: Path) -> None:
    ledger, truth = Ledger(tmp_path / "ledger"), Truth(tmp_path / "ledger")
    ledger.write("begins", visit=0, species="animal 0")
    ledger.write("found", visit=0, id="a")
    assert truth.look().owed == []
    ledger.write("stored", visit=0, id="a")
    assert [visit.number for visit in truth.look().owed] == [0]


# The network must do what its faults are called.


@pytest.fixture
def network(mosquitto: Mosquitto) -> Iterator[Network]:
    mosquitto.start()
    made = Network(mosquitto.port)
    yield made
    made.close()


@contextlib.contextmanager
def connected(network: Network) -> Iterator[Link]:
    link = Link(Broker.parse(network.url), "someone", timeout_s=1.0)
    try:
        link.connect()
        yield link
    finally:
        link.release()


def ask(link: Link, topic: str) -> None:
    """Subscribe, and serve the connection for a while."""
    for _ in range(5):
        link.subscribe([topic], 0)
        link.wait(0.1)


@pytest.mark.parametrize("fault", ["cut", "refuse", "reset"])
def test_network_ends_connections(network: Network, fault: str) -> None:
    with connected(network) as link:
        getattr(network, fault)()
        with pytest.raises(BrokerError):
            ask(link, "a")
    network.mend()
    with connected(network) as link:
        ask(link, "a")


@pytest.mark.parametrize("answers_only", [False, True])
def test_network_swallows_and_stays_open(network: Network, mosquitto: Mosquitto, answers_only: bool) -> None:
    with connected(network) as link:
        network.half_open(answers_only)
        ask(link, "swallowed")
        if answers_only:
            wait_until(lambda: "swallowed" in mosquitto.log)
        assert ("swallowed" in mosquitto.log) == answers_only
        with pytest.raises(BrokerError, match="silence"), connected(network):
            pass
        network.mend()
        # What was open before stays as it is; a new connection works.
        with connected(network) as other:
            ask(other, "works")
