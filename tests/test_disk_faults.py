"""The whole trap while its disk is full, read-only or damaged: it watches on, and tells of all that it saw."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.topics import Topics
from tests.broker import Mosquitto, Subscriber, start_publisher, wait_until
from tests.disk import mounted
from tests.faults.ledger import Truth
from tests.faults.trap import DEPLOYMENT, LEDGER_NAME, READ_ONLY_NAME
from tests.samples import TOPICS, put, sighting

REPOSITORY = Path(__file__).parents[1]
OAK = Topics(DEPLOYMENT)
HEARD = (f"{OAK.base}/alert/+", f"{OAK.base}/alert/+/image", OAK.health)


class Trap:
    """A trap in a process of its own, what it has seen and what it says."""

    def __init__(self, folder: Path, url: str, visits: int, data: Path) -> None:
        self.truth, self._log = Truth(folder / LEDGER_NAME), folder / "trap.log"
        command = [sys.executable, "-m", "tests.faults.trap", str(folder), url, "--visits", str(visits)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--data", str(data)], cwd=REPOSITORY, stderr=log)

    @property
    def said(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines()

    def until(self, condition: Callable[[Truth], bool]) -> None:
        """Wait for what the trap sees; it must not end meanwhile."""

        def reached() -> bool:
            assert self.process.poll() is None, self.said[-5:]
            return condition(self.truth.look())

        wait_until(reached, 60)

    def watches_on(self, visits: int) -> None:
        """Wait until so many more visits have been shown to their end."""
        before = len(shown(self.truth.look()))
        self.until(lambda truth: len(shown(truth)) >= before + visits)


def shown(truth: Truth) -> set[int]:
    return {visit.number for visit in truth.visits.values() if visit.ended}


def stored(truth: Truth) -> set[str]:
    return {id for visit in truth.visits.values() for id in visit.stored}


@contextlib.contextmanager
def trap(folder: Path, url: str, visits: int, data: Path | None = None) -> Iterator[Trap]:
    """A trap that watches for so many visits, and is ended in order."""
    made = Trap(folder, url, visits, data or folder / "data")
    try:
        yield made
        made.process.terminate()
        assert made.process.wait(30) == 0
    finally:
        made.process.kill()
        made.process.wait()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is too small for the ballast."""
    with mounted(tmp_path / "disk", 4) as disk:
        yield disk


def ids(subscriber: Subscriber) -> list[str]:
    """Of all alerts that came, in their order."""
    return [each.id for each in subscriber.received if "/alert/" in each.topic and not each.topic.endswith("/image")]


def held(truth: Truth) -> set[int]:
    """The visits that were shown and are not stored."""
    return shown(truth) - {visit.number for visit in truth.visits.values() if visit.stored}


def fill(filler: Path) -> bool:
    """Leave a disk no room."""
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return True


def test_alerts_of_a_time_with_a_full_disk_are_told_when_there_is_room_again(
    tmp_path: Path, small_disk: Path, mosquitto: Mosquitto
) -> None:
    with mosquitto, Subscriber(mosquitto, HEARD) as subscriber:
        mosquitto.stop()
        with trap(tmp_path, mosquitto.url, visits=10, data=small_disk / "data") as watching:
            watching.until(lambda truth: len(stored(truth)) == 1)
            filler = small_disk / "filler"
            # Room that the trap frees itself, as by a picture half written, is taken from it again.
            watching.until(lambda truth: fill(filler) and len(held(truth)) >= 2
                           and any("cannot write" in line for line in watching.said))
            filler.unlink()
            watching.until(lambda truth: len(shown(truth)) == len(stored(truth)) == 10)
            mosquitto.start()
            with Subscriber(mosquitto, HEARD) as again:
                again.until(lambda: len({*ids(subscriber), *ids(again)}) >= 10)
    assert {*ids(subscriber), *ids(again)} == stored(watching.truth)


def test_alerts_of_a_time_with_a_read_only_disk_are_told_when_it_can_be_written_again(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    read_only = tmp_path / READ_ONLY_NAME
    with mosquitto, Subscriber(mosquitto, HEARD) as subscriber, trap(tmp_path, mosquitto.url, visits=6) as watching:
        watching.until(lambda truth: len(stored(truth)) == 1)
        read_only.touch()
        watching.watches_on(3)
        assert len(stored(watching.truth)) == 1
        read_only.unlink()
        subscriber.until(lambda: len(ids(subscriber)) == 6, 40)
        watching.until(lambda truth: stored(truth) == set(ids(subscriber)))
    assert sum("readonly" in line for line in watching.said) == 1


def test_disk_that_is_read_only_at_the_start_is_said_in_a_line(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = Trap(tmp_path, "mqtt://127.0.0.1:9", 1, small_disk / "data")
    assert done.process.wait(30) == 1
    assert "expected a folder that can be written to" in done.said[-1]


def test_what_can_be_read_of_a_damaged_outbox_is_told_and_health_says_that_it_was(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with mosquitto, Subscriber(mosquitto, HEARD):
        pass  # From now on the broker keeps messages for it.
    with trap(tmp_path, mosquitto.url, visits=4) as watching:
        watching.until(lambda truth: len(stored(truth)) == 4)
    file = tmp_path / "data" / FILE_NAME
    with Outbox(file) as outbox:
        victim = outbox.pending(8)[5].message
    content = bytearray(file.read_bytes())
    at = content.index(victim.payload[20_000:20_064])
    # A page in the middle of a picture: whoever follows the chain of pages comes to one that is none.
    page = at // 4096 * 4096
    content[page : page + 4096] = b"\xff" * 4096
    file.write_bytes(content)
    mosquitto.start()
    with Subscriber(mosquitto, HEARD) as subscriber, trap(tmp_path, mosquitto.url, visits=6) as watching:
        subscriber.until(lambda: len(ids(subscriber)) == 6, 40)
        subscriber.until(lambda: any(json.loads(each.payload)["set_aside"] for each in subscriber.on(OAK.health)))
        watching.until(lambda truth: stored(truth) == set(ids(subscriber)))
    assert sum("was damaged" in line for line in watching.said) == 1
    assert len(list((tmp_path / "data").glob(f"{FILE_NAME}.corrupt-*"))) >= 1


def test_outbox_at_its_cap_while_it_is_delivered_loses_pictures_only_and_counts_them(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with mosquitto, Subscriber(mosquitto) as subscriber, Outbox(tmp_path / FILE_NAME, 2 * 1024 * 1024) as outbox:
        waiting = put(outbox, 40, image=sighting().image + bytes(100_000))  # type: ignore[operator]
        thread = start_publisher(outbox, mosquitto.url)
        waiting += put(outbox, 40, image=sighting().image + bytes(100_000))  # type: ignore[operator]
        wait_until(lambda: outbox.depth() == 0)
        dropped = outbox.counts().dropped_pictures
        text, picture = TOPICS.alert("Bengal tiger"), TOPICS.image("Bengal tiger")
        subscriber.until(lambda: len(subscriber.on(text)) == 80 and len(subscriber.on(picture)) >= 80 - dropped)
        thread.stop()
    assert sorted(each.id for each in subscriber.on(text)) == sorted(waiting)
    assert dropped >= 20
    assert len({each.id for each in subscriber.on(picture)}) == 80 - dropped
