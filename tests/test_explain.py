"""`edge-watch --explain`: why a stored event was taken for what it is."""

from __future__ import annotations

import dataclasses
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.deciding.explain import why_text
from edge.deciding.looks import FIRST, MOST, bounded, from_text, to_text
from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.tables import MIGRATIONS
from edge.types import BBox, Look, Sighting
from tests.conftest import START

ID = "0197a1b2-c3d4-7e5f-8a6b-112233445566"
BOX = BBox(0.1, 0.7, 0.2, 0.25)


def look(second: float, score: float, **more: Any) -> Look:
    top = (("tiger", 0.91234), ("leopard", 0.05), ("lion", 0.01))
    values = {"box": BOX, "weight": 0.2, "top": top, "species": "tiger", **more}
    return Look(START + timedelta(seconds=second), score=score, **values)


LOOKS = (
    look(0, -1.0, weight=1.0, top=(("leopard", 0.6), ("tiger", 0.3)), species="leopard", box=BBox(0.4, 0.4, 0.2, 0.2)),
    look(0.6, 1.0),
    look(2.4, 3.5),
)


def sighting(**more: Any) -> Sighting:
    end = START + timedelta(seconds=9)
    values = {"type": "end", "id": ID, "event_start": START, "event_end": end, "frames": 3, "evidence": LOOKS,
              "probability": 0.97, **more}  # fmt: skip
    return Sighting(species="tiger", scientific_name="Panthera tigris", observation_type="animal", last_seen=end,
                    lighting="night", box=BOX, frame_size=(640, 360), source="oak", replay=False, pictured=False,
                    **values)  # fmt: skip


def store(data: Path, *sightings: Sighting) -> None:
    with Outbox(data / FILE_NAME) as outbox:
        for each in sightings:
            outbox.save_sighting(each)


def explain(data: Path, event: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["--explain", event, "--data", str(data)])
    out, err = capsys.readouterr()
    return code, out, err


def test_event_is_explained_look_by_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path, sighting())
    code, out, err = explain(tmp_path, ID[:6].upper(), capsys)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "tiger, 97 % sure after 3 looks in 2.4 s; next best leopard",
        f"2026-05-01 06:00:00 to 06:00:09, by night, oak, event {ID}",
        "",
        " time  where       size  weight  looks like                           so far",
        "0.0 s  middle      20 %    1.00  leopard 60 %  tiger 30 %             leopard 27 %",
        "0.6 s  lower left  25 %    0.20  tiger 91 %    leopard 5 %  lion 1 %  tiger 73 %",
        "2.4 s  lower left  25 %    0.20  tiger 91 %    leopard 5 %  lion 1 %  tiger 97 %",
    ]
    assert explain(tmp_path, ID, capsys)[1] == out


def test_event_without_evidence_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path, sighting(type="update", event_end=None, evidence=()))
    assert explain(tmp_path, ID, capsys)[1].splitlines() == [
        "tiger, 97 % sure; its evidence is stored when it is over",
        f"2026-05-01 06:00:00, still going on, by night, oak, event {ID}",
    ]
    store(tmp_path, sighting(evidence=()))
    assert explain(tmp_path, ID, capsys)[1].splitlines()[0] == "tiger, 97 % sure; no evidence was stored with it"


def test_unknown_event_is_one_line_with_the_newest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = [sighting(id=f"{number}" * 8, event_start=START + timedelta(hours=number)) for number in range(7)]
    store(tmp_path, *others)
    code, out, err = explain(tmp_path, "0197a1", capsys)
    newest = ", ".join(f"{f'{number}' * 8} (tiger, 2026-05-01 {6 + number:02}:00)" for number in (6, 5, 4, 3, 2))
    assert (code, out) == (2, "")
    assert err == ("edge-watch: --explain 0197a1: expected an event's id or its first 6 characters or more, found no "
                   f"such event; the newest are {newest}\n")  # fmt: skip
    for short in ("", "66666", "%%%%%%", "66666_"):
        assert "found no such event" in explain(tmp_path, short, capsys)[2], short


def test_beginning_of_two_ids_is_one_line_with_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path, sighting(), sighting(id=ID[:-1] + "7"))
    code, _, err = explain(tmp_path, ID[:8], capsys)
    assert (code, "found 2 events that begin so: " in err, len(err.splitlines())) == (2, True, 1)
    assert explain(tmp_path, ID, capsys)[0] == 0


def test_nothing_stored_is_one_line_and_makes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = explain(tmp_path / "data", ID, capsys)
    assert (code, "found no such file; name the trap's folder with --data" in err) == (2, True)
    assert not (tmp_path / "data").exists()
    store(tmp_path, sighting())
    with Outbox(tmp_path / FILE_NAME) as outbox:
        outbox.run(lambda db: db.execute("DELETE FROM sightings"))
    assert "expected an event, found none stored" in explain(tmp_path, ID, capsys)[2]


def test_sentence_counts_the_looks_until_it_was_sure_and_weighs_what_was_next_best() -> None:
    later = (*LOOKS, look(3, 3.6), look(4, 9.0))
    assert why_text(sighting(evidence=later)) == "tiger, 97 % sure after 3 looks in 2.4 s; next best leopard"
    surer = why_text(sighting(evidence=later, probability=0.9999))
    assert surer == "tiger, over 99 % sure after 5 looks in 4.0 s; next best leopard"
    many = tuple(look(number / 2, 0.1 if number < 50 else 3.5) for number in range(MOST))
    assert why_text(sighting(evidence=many)).startswith("tiger, 97 % sure after more than 20 looks in 25.0 s")
    other = (look(0, 3.5, species="leopard"), look(1, 3.5))
    assert why_text(sighting(evidence=other)).startswith("tiger, 97 % sure after 2 looks in 1.0 s")
    alone = (look(0, 3.5, top=(("tiger", 0.9), ("empty", 0.1))),)
    assert why_text(sighting(evidence=alone)) == "tiger, 97 % sure after one look; nothing else was likely"
    heavy = (look(0, 3.0, weight=1.0, top=(("lion", 0.3),)), look(1, 3.0, weight=0.1, top=(("zebra", 0.9),)))
    assert why_text(sighting(evidence=heavy)).endswith("next best lion")


def test_evidence_survives_the_database(tmp_path: Path) -> None:
    stored = sighting(count=2, members=("leopard", "tiger"))
    store(tmp_path, stored)
    with Outbox(tmp_path / FILE_NAME) as outbox:
        [found] = outbox.newest_sightings(1)
        rounded = tuple(dataclasses.replace(each, top=tuple((name, round(share, 4)) for name, share in each.top))
                        for each in LOOKS)  # fmt: skip
        assert found == dataclasses.replace(stored, evidence=rounded)
        text = outbox.run(lambda db: db.execute("SELECT evidence FROM sightings").fetchone())[0]
    assert text.startswith('[[0,0.4,0.4,0.2,0.2,1.0,-1.0,"leopard","leopard",0.6,"tiger",0.3],[600,0.1,0.7,')


def test_at_most_60_looks_are_stored_the_first_and_those_that_changed_most() -> None:
    looks = [look(number, 3.0 + (number % 2) * (number > 150) - 9 * (number == 100)) for number in range(200)]
    kept = [round((each.at - START).total_seconds()) for each in bounded(looks)]
    # Look 100 fell, look 101 rose again, and from 151 on it went up and down; of equal changes the first are kept.
    assert kept == [*range(FIRST), 100, 101, *range(151, 189)]
    assert len(kept) == MOST
    assert bounded(looks[:MOST]) == list(looks[:MOST])
    text = to_text(looks, START)
    assert len(from_text(text, START)) == MOST
    assert len(text) < 6000
    assert to_text((), START) == ""
    assert from_text("", START) == ()


def test_file_of_before_is_migrated(tmp_path: Path) -> None:
    store(tmp_path, sighting())
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(sightings)")]
        [values] = db.execute("SELECT * FROM sightings").fetchall()
    db.close()
    (tmp_path / FILE_NAME).unlink()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.executescript("".join(MIGRATIONS[:2]) + "PRAGMA user_version = 2;")
        there = [row[1] for row in db.execute("PRAGMA table_info(sightings)")]
        assert len(there) < len(columns)
        kept = [value for column, value in zip(columns, values, strict=True) if column in there]
        db.execute(f"INSERT INTO sightings VALUES ({', '.join('?' * len(kept))})", kept)
    db.close()
    with Outbox(tmp_path / FILE_NAME) as outbox:
        assert outbox.newest_sightings(9) == [sighting(evidence=())]
