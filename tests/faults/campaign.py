"""A trap, a network, a broker and a subscriber, and one fault after another while visits go on."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.broker import KEEPS, Mosquitto
from tests.faults.collector import Collector
from tests.faults.judge import Report, judge, stored_ids
from tests.faults.ledger import Truth, Visit
from tests.faults.network import Network
from tests.faults.trap import LEDGER_NAME

ROOT = Path(__file__).resolve().parents[2]
KINDS = (
    "daemon killed",
    "daemon killed in a visit",
    "broker killed",
    "broker's state lost",
    "link cut",
    "half-open",
    "half-open for answers",
    "connection reset",
    "connection refused",
    "clock set while it runs",
    "clock wrong at the start",
    "edge-listen killed",
)
CRASHES = ("broker killed", "broker's state lost")
SHORTEST_S, LONGEST_S = 0.3, 5.0
"""How long a fault lasts that is mended."""
PATIENCE_S = 240.0
"""How long the end waits for what is still on its way."""


def chosen(number: int, kinds: Sequence[str]) -> list[str]:
    """So many faults of these kinds, each as often as any other."""
    return [kinds[index % len(kinds)] for index in range(number)]


def faketime() -> Path | None:
    """libfaketime, if it is installed (the package `faketime`)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class Campaign:
    """So many faults, spread evenly over so many visits, in an order that follows from the seed.

    Args:
        folder: for everything; kept.
        visits: that have to be told in the end.
        faults: the kinds, each as often as it is to happen.
        seed: of their order, their moments and their lengths.
        receipts: `edge-listen` sends receipts, and the trap waits for them.
    """

    def __init__(self, folder: Path, visits: int, faults: Sequence[str], seed: int, receipts: bool) -> None:
        self.folder, self.visits, self.report = folder, visits, Report(receipts)
        self._chance = random.Random(seed)
        self._faults = list(faults)
        self._chance.shuffle(self._faults)
        folder.mkdir(parents=True, exist_ok=True)
        self._truth = Truth(folder / LEDGER_NAME)
        self._broker = Mosquitto(folder, KEEPS)
        self._mends: list[tuple[float, Callable[[], None]]] = []
        self._clock, self._clock_file = 0, folder / "clock"
        self._clock_changed = False
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starts = self._said = 0

    def run(self) -> Report:
        """Carry it out, and judge what came of it; what kept it from going on is in the report's `crashes`."""
        started = time.monotonic()
        self._set_clock(0)
        with contextlib.ExitStack() as closing:
            self._broker.start()
            closing.callback(self._broker.kill)
            self._network = Network(self._broker.port)
            closing.callback(self._network.close)
            self._collector = Collector(self._broker.port)
            closing.callback(self._collector.close)
            closing.callback(self._end_children)
            assert self._collector.ready.wait(20), "expected the collector to be subscribed"
            self._start_listener()
            self._wait(lambda: "edge-watch/+/alert/+" in self._broker.log, 20, "edge-listen to subscribe")
            self._start_trap(stays=False)
            try:
                self._show()
                self._settle()
            except AssertionError as error:
                self.report.crashes.append(str(error))
        lines = (self.folder / "listen.out").read_text(encoding="utf-8").splitlines()
        judge(self.report, self._truth, self.folder / "alerts", lines, self._collector.arrivals)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _show(self) -> None:
        """Faults until there have been as many as there should be, and visits until there have been enough."""
        spread = self.visits / (len(self._faults) + 1)
        for number, kind in enumerate(self._faults):
            due = spread * (number + self._chance.uniform(0.6, 1.4))
            self._wait(lambda due=due: len(self._owed()) >= due, PATIENCE_S, "the next visits")  # type: ignore[misc]
            self._pause(self._chance.uniform(0, 1.2))
            self._cause(kind)
            self.report.faults[kind] += 1
        self._wait(lambda: len(self._owed()) >= self.visits, PATIENCE_S, "the last visits")

    def _owed(self) -> list[Visit]:
        return self._truth.look().owed

    def _settle(self) -> None:
        """Mend everything, wait for what is on its way, end the trap and look at what it has left."""
        for _, mend in self._mends:
            mend()
        self._mends.clear()
        wanted = {visit.number for visit in self._owed()}
        of = {id: visit.number for visit in self._truth.visits.values() for id in visit.found}
        with contextlib.suppress(AssertionError):  # The judge says what is missing.
            self._wait(lambda: wanted <= {of.get(id) for id in stored_ids(self.folder / "alerts")[0]}, 60, "all texts")
        with contextlib.suppress(AssertionError):
            self._wait(self._nothing_waits, 60, "an empty outbox")
        self.report.waiting = self._depth()
        # Before it watches, a signal ends it at once.
        self._wait_for_the_trap()
        trap = self._children.pop("trap")
        trap.terminate()
        if (code := trap.wait(30)) != 0:
            self.report.crashes.append(f"trap: {code} at its end")

    def _nothing_waits(self) -> bool:
        texts, pictures = stored_ids(self.folder / "alerts")
        return texts == pictures and self._depth() == 0

    def _depth(self) -> int:
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.folder / "data" / "edge-watch.sqlite", timeout=10)) as db:
            return int(db.execute("SELECT count(*) FROM messages").fetchone()[0])

    # The processes.

    def _start(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        with (self.folder / f"{name}.out").open("ab") as out, (self.folder / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=out, stderr=log
            )

    def _start_listener(self) -> None:
        command = ["-m", "edge.listen", "--broker", self._broker.url, "--folder", str(self.folder / "alerts")]
        self._start("listen", command if self.report.receipts else [*command, "--no-ack"])

    def _start_trap(self, stays: bool) -> None:
        self._starts += 1
        log = self.folder / "trap.log"
        self._said = log.stat().st_size if log.exists() else 0
        command = ["-m", "tests.faults.trap", str(self.folder), self._network.url, "--visits", str(self.visits)]
        command += ["--seed", str(self._starts)] + ["--stays"] * stays + ["--require-ack"] * self.report.receipts
        environment = {}
        if (library := faketime()) is not None:
            environment = {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self._clock_changed = False
        self._start("trap", command, environment)

    def _kill(self, name: str) -> None:
        child = self._children.pop(name)
        if child.poll() is not None:
            self.report.crashes.append(f"{name}: {child.returncode}")
        child.kill()
        child.wait()
        # What libfaketime leaves behind where it is killed.
        for left in (f"faketime_shm_{child.pid}", f"sem.faketime_sem_{child.pid}"):
            Path("/dev/shm", left).unlink(missing_ok=True)

    def _end_children(self) -> None:
        for name in list(self._children):
            self._kill(name)

    # Waiting, during which faults are mended and nobody may end by himself.

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"waited {seconds:.0f} s in vain for {what}; see {self.folder}"
            self._look()
            time.sleep(0.02)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._look()
            time.sleep(0.02)

    def _look(self) -> None:
        now = time.monotonic()
        for mend in [each for each in self._mends if each[0] <= now]:
            self._mends.remove(mend)
            mend[1]()
        for name, child in self._children.items():
            if child.poll() is not None:
                raise AssertionError(f"{name} has ended by itself with {child.returncode}; see {self.folder}")

    def _until_then(self, mend: Callable[[], None]) -> None:
        self._mends.append((time.monotonic() + self._chance.uniform(SHORTEST_S, LONGEST_S), mend))

    # The faults.

    def _cause(self, kind: str) -> None:
        {
            "daemon killed": lambda: self._restart(in_a_visit=False),
            "daemon killed in a visit": lambda: self._restart(in_a_visit=True),
            "broker killed": lambda: self._crash(lost=False),
            "broker's state lost": lambda: self._crash(lost=True),
            "link cut": lambda: self._break(self._network.cut),
            "half-open": lambda: self._break(self._network.half_open),
            "half-open for answers": lambda: self._break(lambda: self._network.half_open(answers_only=True)),
            "connection reset": lambda: self._break(self._network.reset),
            "connection refused": lambda: self._break(self._network.refuse),
            "clock set while it runs": self._set_clock_while_it_runs,
            "clock wrong at the start": self._restart_with_another_clock,
            "edge-listen killed": self._restart_listener,
        }[kind]()

    def _break(self, how: Callable[[], None]) -> None:
        # One at a time: what was broken before is mended first.
        for mend in [each for each in self._mends if each[1] == self._network.mend]:
            self._mends.remove(mend)
        self._network.mend()
        how()
        self._until_then(self._network.mend)

    def _crash(self, lost: bool) -> None:
        for mend in [each for each in self._mends if each[1] == self._broker_again]:
            self._mends.remove(mend)
            mend[1]()
        self._broker.kill()
        if lost:
            (self.folder / "mosquitto.db").unlink(missing_ok=True)
        self._until_then(self._broker_again)

    def _broker_again(self) -> None:
        self._broker.start()

    def _restart(self, in_a_visit: bool) -> None:
        if in_a_visit:
            self._wait_for_a_visit(stored=self._chance.random() < 0.6)
        self._kill("trap")
        cut = self._truth.look().latest
        told = set(cut.stored) if cut and not cut.ended else set()
        self._pause(self._chance.uniform(0, 1))
        # After a jump of the clock nobody can say whether it is still the same visit.
        stays = not self._clock_changed and self._chance.random() < 0.7
        self._start_trap(stays)
        self.report.resumed += bool(stays and told)

    def _wait_for_a_visit(self, stored: bool) -> None:
        """Until the next visit was stored a moment ago, or to any moment of it; or until there are no more."""
        last = self._truth.look().latest
        number = last.number if last else -1

        def goes_on() -> bool:
            now = self._truth.look().latest
            if len(self._owed()) >= self.visits:
                return True
            return now is not None and now.number > number and (bool(now.stored) or not stored)

        self._wait(goes_on, 60, "a visit")
        if not stored:
            self._pause(self._chance.uniform(0.0, 1.0))

    def _restart_listener(self) -> None:
        self._kill("listen")
        self._pause(self._chance.uniform(0, 1))
        self._start_listener()

    def _set_clock(self, seconds: int) -> None:
        """Where `libfaketime` reads by how much the trap's clock is wrong; replaced in one step."""
        draft = self._clock_file.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._clock_file)
        self._clock, self._clock_changed = seconds, True

    def _change_clock(self) -> None:
        self._set_clock(0 if self._clock else self._chance.choice((-1, 1)) * self._chance.randrange(600, 40_000))

    def _set_clock_while_it_runs(self) -> None:
        # Were it set while the trap starts, that would be a visit of before the start under another clock.
        self._wait_for_the_trap()
        self._change_clock()

    def _wait_for_the_trap(self) -> None:
        """Until it has had its first frame."""
        log = self.folder / "trap.log"
        self._wait(lambda: b"watching show:0" in log.read_bytes()[self._said :], 60, "the trap to watch")

    def _restart_with_another_clock(self) -> None:
        self._kill("trap")
        self._change_clock()
        self._start_trap(stays=False)
