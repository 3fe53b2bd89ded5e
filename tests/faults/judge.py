"""What came of the visits, held against the ledger, and the report of it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.collector import Arrival
from tests.faults.ledger import Truth


@dataclass(slots=True)
class Report:
    """What a campaign of faults came to.

    Owed is every visit whose alert the outbox has said to have stored, and every one that was shown to its end to a
    trap that lived that long. A visit that a kill broke off before its alert was stored, and whose animal was gone
    when the trap saw again, is owed to nobody. None may be told twice: an animal that is still there after the restart
    is the same visit.

    Attributes:
        receipts: whether the subscriber's receipts were waited for.
        faults: how many there were of each kind.
        visits: how many are owed.
        ids: how many different ids the subscriber (`edge-listen`) has stored.
        lost: visits that are owed and were not told, by number; `lost_pictures`: those of which the picture is missing.
        twice: visits that were told under two ids.
        unknown: ids at a subscriber that no visit has.
        resumed: visits that a kill broke off and that went on afterwards.
        duplicates: messages that came to the raw collector more than once, with the same id and the same bytes;
            `altered`: texts that came with other bytes; `smaller`: pictures that did, as they may where connections end
            under them again and again.
        printed_again: lines that `edge-listen` has printed for an id it had printed before.
        missed: ids that the subscriber has and the raw collector has not: the broker has lost them for it.
        longest_s: the longest time from stored to arrived, and for half of them at most `median_s`.
        crashes: ends of a process that nobody asked for.
        waiting: messages that were left in the outbox at the end.
    """

    receipts: bool
    faults: Counter[str] = field(default_factory=Counter)
    visits: int = 0
    ids: int = 0
    lost: list[int] = field(default_factory=list)
    lost_pictures: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    resumed: int = 0
    duplicates: int = 0
    altered: int = 0
    smaller: int = 0
    printed_again: int = 0
    missed: int = 0
    longest_s: float = 0.0
    median_s: float = 0.0
    crashes: list[str] = field(default_factory=list)
    waiting: int = 0
    seconds: float = 0.0

    @property
    def broker_crashes(self) -> int:
        return self.faults["broker killed"] + self.faults["broker's state lost"]

    @property
    def kept(self) -> bool:
        """Whether all that is promised was kept: without receipts a broker that crashes may lose what it confirmed."""
        told = not (self.lost or self.lost_pictures) or (not self.receipts and self.broker_crashes > 0)
        odd = self.twice or self.unknown or self.altered or self.crashes
        return told and not odd and (self.waiting == 0 or not self.receipts)

    def text(self) -> str:
        """The report as a table."""
        excused = ": the broker had confirmed them before it crashed, and no receipt was waited for"
        rows = [
            ("visits that are owed", self.visits),
            ("faults", sum(self.faults.values())),
            *((f"  {kind}", number) for kind, number in sorted(self.faults.items())),
            ("ids at the subscriber", self.ids),
            ("lost", f"{len(self.lost)}{excused if self.lost and self.kept else ''}"),
            ("pictures lost", len(self.lost_pictures)),
            ("visits told under two ids", len(self.twice)),
            ("visits broken off by a kill and gone on with", self.resumed),
            ("messages that came again, same id and bytes", self.duplicates),
            ("texts that came again with other bytes", self.altered),
            ("pictures that came again, smaller", self.smaller),
            ("lines of edge-listen for an id it had told", self.printed_again),
            ("longest time to delivery", f"{self.longest_s:.1f} s (half within {self.median_s:.2f} s)"),
            ("processes that ended by themselves", len(self.crashes)),
            ("messages left in the outbox", self.waiting),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        verdict = "kept: what is promised" if self.kept else f"BROKEN: {self.problems()}"
        return "\n".join([*(f"  {name:48}{value}" for name, value in rows), f"  {verdict}"])

    def problems(self) -> str:
        found = {
            name: getattr(self, name)
            for name in ("lost", "lost_pictures", "twice", "unknown", "altered", "crashes", "waiting")
        }
        return ", ".join(f"{name} {value}" for name, value in found.items() if value)

    def as_json(self) -> str:
        found = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return json.dumps({**found, "kept": self.kept}, indent=1)


def merged(reports: Sequence[Report]) -> Report:
    """Several campaigns as one; visits of the second are numbered from 1000000 on, and so on."""
    total = Report(reports[0].receipts)
    for number, each in enumerate(reports):
        total.faults += each.faults
        for name in (
            "visits",
            "ids",
            "resumed",
            "duplicates",
            "altered",
            "smaller",
            "printed_again",
            "missed",
            "waiting",
        ):
            setattr(total, name, getattr(total, name) + getattr(each, name))
        for name in ("lost", "lost_pictures", "twice"):
            getattr(total, name).extend(1_000_000 * number + visit for visit in getattr(each, name))
        total.unknown += each.unknown
        total.crashes += each.crashes
        for name in ("longest_s", "median_s", "seconds"):
            setattr(total, name, max(getattr(total, name), getattr(each, name)))
    return total


def stored_ids(folder: Path) -> tuple[set[str], set[str]]:
    """The ids of the alerts, and of the pictures, that `edge-listen` has in its folder."""
    texts = {str(json.loads(file.read_text(encoding="utf-8"))["id"]) for file in folder.glob("*.json")}
    return texts, {file.stem[-36:] for file in folder.glob("*.jpg")}


def judge(report: Report, truth: Truth, folder: Path, lines: Iterable[str], arrivals: Sequence[Arrival]) -> None:
    """Fill the report in.

    Args:
        report: what is known of the faults.
        truth: the ledger, at the end.
        folder: of `edge-listen`.
        lines: what `edge-listen` has printed, over all its lives.
        arrivals: at the raw collector.
    """
    texts, pictures = stored_ids(folder)
    visits = truth.look().visits.values()
    of = {id: visit for visit in visits for id in visit.found}
    told = Counter(of[id].number for id in texts if id in of)
    report.visits, report.ids = len(truth.owed), len(texts)
    report.lost = [visit.number for visit in truth.owed if not told[visit.number]]
    report.lost_pictures = sorted(of[id].number for id in texts - pictures if id in of)
    report.twice = [number for number, times in told.items() if times > 1]
    heard = {arrival.id for arrival in arrivals}
    report.unknown = sorted((texts | heard) - of.keys())
    report.twice += [
        number for number, times in Counter(of[id].number for id in heard if id in of).items()
        if times > 1 and number not in report.twice
    ]  # fmt: skip
    report.missed = len(texts - heard)
    first: dict[tuple[str, bool], Arrival] = {}
    for arrival in arrivals:
        known = first.setdefault((arrival.id, arrival.picture), arrival)
        if known is not arrival:
            if known.digest == arrival.digest:
                report.duplicates += 1
            elif arrival.picture:
                report.smaller += 1
            else:
                report.altered += 1
    printed = Counter(id for line in lines for id in of if id in line)
    report.printed_again = sum(times - 1 for times in printed.values())
    waits = sorted(
        first[id, False].at - at for visit in visits for id, at in visit.stored.items() if (id, False) in first
    )
    if waits:
        report.longest_s, report.median_s = waits[-1], waits[len(waits) // 2]
