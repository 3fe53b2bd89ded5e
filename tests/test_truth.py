"""`edge-watch --truth`: which alerts belong to which visits, what the report says, and truth that does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge.__main__ import main
from edge.settings import Settings
from edge.truth.matching import Compared, by_lighting, by_species, compare, total
from edge.truth.page import files
from edge.truth.scenes import find_scenes
from edge.truth.summary import Report, last_line, overview, scene_lines, summary, to_json
from edge.truth.visits import Visit, joined, named, read_rows
from edge.truth.witness import Replay, Seen, replay
from edge.types import Alert, BBox, Deployment, Frame, Sighting, Trigger
from models.errors import UsageError
from models.labels import Label, LabelMap
from tests.conftest import START

LABELS = LabelMap(Label.from_name(name, {"tiger": "Panthera tigris"}) for name in ("empty", "lion", "person", "tiger"))
SETTINGS = Settings(species=("tiger",), event_gap=timedelta(seconds=15), alert_interval=timedelta(0))
HEAD = "clip,species,start_s,end_s\n"


def picture(blue: int) -> bytes:
    return cv2.imencode(".jpg", np.full((90, 320, 3), (blue, 0, 0), np.uint8))[1].tobytes()


def seen(species: str, at: float, end: float, told: bool = True, **more: Any) -> Seen:
    """A sighting that began half a second before it was confirmed."""
    values = {"told": at if told else None, "lighting": "day", **more}
    return Seen(f"{species}-{at:g}", species, "animal", start=at - 0.5, at=at, end=end, first=0.8, probability=0.9,
                frames=5, **values)  # fmt: skip


def scene(visits: list[Visit], found: list[Seen], targets: tuple[str, ...] = ("tiger",), **more: Any) -> Compared:
    return compare("oak", visits, Replay({"day": 90.0, "night": 30.0}, 600, seen=found, **more), targets)


def states(compared: Compared) -> list[tuple[str, list[str]]]:
    return [(each.state, [alert.id for alert in (*each.alerts, *each.by_group)]) for each in compared.outcomes]


def test_alert_from_a_visits_start_to_a_second_after_its_end_is_its_own() -> None:
    visit = Visit("tiger", 10.0, 20.0)
    for at, found in ((9.9, False), (9.96, True), (10.0, True), (20.0, True), (21.0, True), (21.1, False)):
        compared = scene([visit], [seen("tiger", at, at)])
        assert (compared.outcomes[0].state == "found", len(compared.false)) == (found, 0 if found else 1), at
    assert scene([visit], [seen("lion", 12, 14)], ("tiger", "lion")).outcomes[0].state == "missed"


def test_each_alert_belongs_to_one_visit_and_every_visit_that_can_gets_one() -> None:
    """Both fit the first alert; the second alert fits one of them only."""
    visits = [Visit("tiger", 10, 30), Visit("tiger", 11, 20)]
    compared = scene(visits, [seen("tiger", 25, 28), seen("tiger", 12, 18)])
    assert states(compared) == [("found", ["tiger-25"]), ("found", ["tiger-12"])]
    twice = scene(visits[:1], [seen("tiger", 12, 14), seen("tiger", 25, 28)])
    assert states(twice) == [("found", ["tiger-12", "tiger-25"])]
    assert total([twice]).alerts_per_visit == 2
    assert total([twice]).delay == 2


def test_alert_of_a_group_counts_apart_and_chooses_last() -> None:
    cats = seen("big_cat", 11, 15, members=("lion", "tiger"))
    compared = scene([Visit("tiger", 10, 20)], [cats])
    assert states(compared) == [("by group", ["big_cat-11"])]
    assert (total([compared]).found, total([compared]).by_group, total([compared]).missed) == (0, 1, 0)
    both = scene([Visit("tiger", 10, 20), Visit("lion", 10, 21)], [cats, seen("tiger", 14, 15)], ("tiger", "lion"))
    assert states(both) == [("found", ["tiger-14"]), ("by group", ["big_cat-11"])]
    assert scene([Visit("deer", 10, 20)], [cats], ("tiger", "deer")).false == (cats,)


def test_visit_without_an_alert_is_told_apart_from_one_in_an_event_that_went_on_or_was_held_back() -> None:
    visits = [Visit("tiger", 10, 20), Visit("tiger", 40, 50), Visit("tiger", 80, 90)]
    went_on = scene(visits, [seen("tiger", 11, 49)])
    assert [each.state for each in went_on.outcomes] == ["found", "went on", "missed"]
    held_back = scene(visits, [seen("tiger", 11, 19), seen("tiger", 41, 49, told=False)])
    assert [each.state for each in held_back.outcomes] == ["found", "held back", "missed"]
    assert scene_lines(went_on) == [
        "oak, 120 s",
        "  tiger 10.0-20.0 s: alert after 1.0 s (80%)",
        "  tiger 40.0-50.0 s: no alert of its own: the event tiger of 11.0 s went on (--event-gap)",
        "  tiger 80.0-90.0 s: MISSED",
    ]
    assert "seen as tiger of 41.0 s, no alert: a rule held it back (as --alert-interval)" in scene_lines(held_back)[2]


def test_alert_that_comes_when_its_event_is_over_belongs_to_the_visit_and_is_late() -> None:
    [outcome] = scene([Visit("tiger", 10, 20)], [replace(seen("tiger", 12, 19), told=34.0)]).outcomes
    assert (outcome.state, outcome.delay) == ("found", 24)


def test_other_species_are_shown_not_judged() -> None:
    compared = scene([Visit("lion", 5, 9)], [seen("lion", 6, 8, told=False), seen("zebra", 7, 8, told=False)])
    assert (compared.outcomes, compared.false) == ((), ())
    assert [each.state for each in compared.others] == ["found"]


def test_sums_by_species_and_light_and_the_rates_they_support() -> None:
    visits = [Visit("tiger", 10, 20, "day"), Visit("tiger", 40, 50, "night"), Visit("lion", 60, 70)]
    found = [seen("tiger", 11, 19), seen("lion", 30, 31, lighting="night"), seen("lion", 62, 69, lighting="night")]
    compared = [scene(visits, found, ("tiger", "lion"))]
    assert {name: (sums.visits, sums.found, sums.false) for name, sums in by_species(compared, ["tiger"]).items()} == {
        "tiger": (2, 1, 0), "lion": (1, 1, 1)}  # fmt: skip
    light = by_lighting(compared)
    assert (light["day"].visits, light["day"].found, light["day"].false, light["day"].seconds) == (1, 1, 0, 90)
    assert (light["night"].visits, light["night"].found, light["night"].false, light["night"].seconds) == (2, 1, 1, 30)
    assert light["night"].false_per_day == 2880
    everything = total(compared)
    assert everything.false_per_day == 720
    assert everything.most_false_per_day == pytest.approx(4.7439 * 720, rel=1e-4)
    assert everything.delay == 1.5


def made(*scenes: Compared) -> Report:
    return Report("clips", "truth.csv", "wildlife 1", SETTINGS, scenes, ("a note <b>",))


def test_report_as_text() -> None:
    compared = scene([Visit("tiger", 10, 20), Visit("tiger", 40, 50)], [seen("tiger", 11, 19), seen("tiger", 70, 72)],
                     people=3)  # fmt: skip
    assert scene_lines(compared)[-2:] == [
        "  FALSE: tiger at 70.0 s (80%)",
        "  frames in which a person was recognized: 3",
    ]
    said = summary(made(compared)).splitlines()
    assert said[1:6] == [
        "          visits  found  missed  alerts  per visit  false  delay  false a day  at most",
        "tiger          2      1       1       1       1.00      1  1.0 s        720.0     3416",
        "by day         2      1       1       1       1.00      1  1.0 s        960.0     4554",
        "by night       0      0       0       0          -      0      -          0.0     8628",
        "all            2      1       1       1       1.00      1  1.0 s        720.0     3416",
    ]
    assert said[-1] == (
        "1 of 2 visits found with 1 alerts, 1 false, in 2 min of recording; frames in which a person was recognized: 3"
        "; nothing is published or stored"
    )
    assert scene_lines(scene([], [])) == ["oak, 120 s: no visit of a target, no alert"]


def test_columns_that_are_seldom_needed_appear_when_they_are() -> None:
    went_on = scene([Visit("tiger", 10, 20), Visit("tiger", 40, 50)], [seen("tiger", 11, 49)])
    assert overview(made(went_on))[0][1:5] == ("visits", "found", "went on", "missed")
    assert "1 of 2 visits found (1 in an event that went on) with 1 alerts" in last_line(made(went_on))


def test_report_as_json() -> None:
    compared = scene([Visit("tiger", 10, 20, "night")], [seen("tiger", 11, 19, image=picture(9)), seen("lion", 5, 6)],
                     ("tiger", "lion"), people=3)  # fmt: skip
    text = to_json(made(compared))
    found = json.loads(text)
    assert (found["published"], found["notes"], found["species"]) == (False, ["a note <b>"], ["tiger"])
    assert found["by_lighting"]["night"]["found"] == 1
    assert found["all"] == {
        "seconds": 120.0, "visits": 1, "found": 1, "by_group": 0, "went_on": 0, "held_back": 0, "missed": 0,
        "alerts": 1, "alerts_per_visit": 1.0, "false": 1, "false_per_day": 720.0, "most_false_per_day": 3415.582,
        "median_delay_s": 1.0,
    }  # fmt: skip
    [part] = found["scenes"]
    assert part["visits"] == [{"species": "tiger", "start_s": 10, "end_s": 20, "lighting": "night", "state": "found",
                               "ids": ["tiger-11"], "ids_of_group": [], "delay_s": 1.0}]  # fmt: skip
    assert (part["false_alerts"], part["frames_with_people"]) == (["lion-5"], 3)
    assert [each["alert_s"] for each in part["sightings"]] == [11, 5]
    assert len(text) < 3000, "no pictures"


def test_page_holds_the_timeline_and_small_pictures_and_fetches_nothing() -> None:
    found = [seen("tiger", 30, 45, image=picture(200)), seen("tiger", 90, 96, image=picture(90)), seen("lion", 5, 6)]
    compared = scene([Visit("tiger", 24, 48)], found)
    page = files(made(compared, scene([], [])))["report.html"]
    assert "a note &lt;b&gt;" in page
    assert '<i class="was" style="left:20.00%;width:20.00%"' in page
    assert '<i class="seen" style="left:24.58%;width:12.92%"' in page
    assert page.count('<b class="told" style="left:25.00%"') == 1
    assert page.count('<b class="wrong" style="left:75.00%"') == 1
    assert "No animal there, none seen" in page
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 2
    import base64

    image = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (68, 240, 3)
    assert not re.search(r"<script|<link|https?://|url\(", page)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected the columns clip, species, start_s, end_s, found none; add clip, species, start_s, end_s"),
        ("clip;species;start_s;end_s\n", "found clip;species;start_s;end_s; add clip"),
        ("clip,species,start_s\n", "found clip, species, start_s; add end_s"),
        (HEAD + "a,tiger,1,2\nb,tiger,5,4\n", "line 3: expected a start of 0 or later and an end after it, found 5"),
        (HEAD + "a,tiger,-1,4\n", "line 2: expected a start of 0 or later"),
        (HEAD + "a,tiger,1,nan\n", "line 2: expected a start of 0 or later and an end after it, found 1 to nan"),
        (HEAD + "a,tiger,0:08,0:17\n", "line 2: expected start_s and end_s in seconds, found '0:08' and '0:17'"),
        (HEAD + "a,tiger\n", "line 2: expected start_s and end_s in seconds, found '' and ''"),
    ],
)
def test_truth_that_cannot_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_rows(write(tmp_path, text))
    assert said in str(caught.value)
    assert str(caught.value).startswith("--truth ")
    assert "\n" not in str(caught.value)


def test_truth_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(HEAD.encode("utf-16"))
    with pytest.raises(UsageError, match="expected a CSV file in UTF-8"):
        read_rows(path)
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.encode() + b"a,tiger,1,2\n")  # As spreadsheets write it.
    assert read_rows(path)[0].clip == "a"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of two clips of 1.8 s that show nothing, one of them in a folder of its own."""
    for name in ("a.avi", "card/b.avi"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (160, 120))
        for _ in range(10):
            written.write(np.full((120, 160, 3), 90, np.uint8))
        written.release()
    return tmp_path / "clips"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    code = main([str(each) for each in arguments])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


@pytest.mark.parametrize(
    ("rows", "first", "last"),
    [
        ("a,tiger,0.5,1.5\n", "a, 2 s", "0 of 1 visits found with 0 alerts, 0 false, in 4 s of recording"),
        ("a.avi,tiger,0,1\ncard/b,tiger,0,1\nb,Panthera tigris,1,1\nelsewhere,tiger,5,50\n", "a, 2 s", "0 of 3 visits"),
        ("a,,,\n", "a, 2 s: no visit of a target, no alert", "0 of 0 visits"),
        ("a,empty,0,0\n", "a, 2 s: no visit of a target, no alert", "0 of 0 visits"),
        (
            "a,xyz,0,1\n",
            "note: the model does not know 'xyz' (visits in the truth: 1; they are shown, not judged)",
            "0 of 0 visits",
        ),
    ],
)  # fmt: skip
def test_truth_for_a_folder_of_clips(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str], rows: str, first: str, last: str
) -> None:
    truth = write(tmp_path, HEAD + rows)
    code, out, err = run(capsys, "--species", "tiger", "--source", clips, "--truth", truth)
    assert (code, err, out[0]) == (0, "", first)
    assert out[-1].startswith(last)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("c,tiger,1,2\n", "expected rows for some of the 2 clips, found none; its column clip has names like 'c', the "
                          "files like 'a'"),
        ("a,tiger,8,12\n", "line 2: expected times within a, which lasts 1.8 s, found 8 to 12; are they seconds"),
    ],
)  # fmt: skip
def test_truth_that_does_not_fit_the_clips_is_one_line(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str], rows: str, said: str
) -> None:
    truth = write(tmp_path, HEAD + rows)
    code, _, err = run(capsys, "--species", "tiger", "--source", clips, "--truth", truth)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"edge-watch: --truth {truth}")
    assert said in err


def test_name_of_two_files_is_refused(tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips / "a.avi").rename(clips / "b.avi")
    truth = write(tmp_path, HEAD + "b,tiger,0,1\n")
    code, _, err = run(capsys, "--species", "tiger", "--source", clips, "--truth", truth)
    assert (code, "line 2: expected the name of one file, found b, of which there are 2" in err) == (2, True)


def test_clip_without_a_row_is_one_without_animals_and_that_is_said(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write(tmp_path, HEAD + "other,tiger,0,1\n")
    code, out, _ = run(capsys, "--species", "tiger", "--source", clips / "a.avi", "--truth", truth)
    assert (code, out[0]) == (0, f"note: {truth} has no row for a: every alert is false")


def test_clip_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "c.mp4").write_bytes(b"nothing")
    truth = write(tmp_path, HEAD + "a,tiger,0,1\n")
    arguments = ("--species", "tiger", "--source", clips, "--truth", truth)
    code, out, _ = run(capsys, *arguments, "--report", tmp_path / "report")
    assert code == 0
    assert any(line.startswith(f"note: left out: {clips / 'c.mp4'}: expected a video") for line in out)
    assert "left out" in (tmp_path / "report/report.html").read_text()


def test_report_is_written_whole_or_not_at_all(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, out = write(tmp_path, HEAD + "a,tiger,0,1\n"), tmp_path / "out"
    arguments = ("--species", "tiger", "--source", clips, "--truth", truth, "--report", out)
    code, lines, _ = run(capsys, *arguments)
    assert (code, lines[-1]) == (0, f"written: {out / 'report.html'}")
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    before = (out / "report.json").read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.page.Path.write_text", full)
    code, _, err = run(capsys, *arguments)
    assert (code, err) == (1, f"edge-watch: {out}: cannot be written: No space left on device; make room or choose "
                              "another --report\n")  # fmt: skip
    assert (out / "report.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    (out / "mine.txt").write_bytes(b"")
    code, _, err = run(capsys, *arguments)
    assert (code, "choose another --report" in err) == (1, True)


def test_report_needs_truth(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--report", "out")
    assert (code, err) == (2, "edge-watch: --report: expected --truth FILE with it, found none; name what to compare "
                              "with\n")  # fmt: skip


def test_photos_of_a_folder_are_one_scene_and_rows_of_one_visit_are_one(tmp_path: Path) -> None:
    import os

    for name, second in (("p1", 0), ("p2", 4), ("p3", 60)):
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), np.zeros((90, 160, 3), np.uint8))
        os.utime(path, (1_700_000_000 + second, 1_700_000_000 + second))
    [found] = find_scenes(Settings(source=str(tmp_path)))
    assert found.stills
    assert {name: start for name, start in found.names if "." not in name} == {"p1": 0, "p2": 4, "p3": 60}
    assert [frame.still for frame in found.frames()] == [True] * 3
    visits = [Visit("tiger", 4, 4), Visit("tiger", 0, 0), Visit("tiger", 60, 60), Visit("lion", 1, 1)]
    assert joined(visits, 15) == [Visit("tiger", 0, 4), Visit("lion", 1, 1), Visit("tiger", 60, 60)]


def test_lighting_of_the_truth_is_day_or_night(tmp_path: Path) -> None:
    from edge.truth.scenes import Scene
    from edge.truth.visits import visits_by_scene

    text = "clip,species,start_s,end_s,lighting\n" + "".join(
        f"a,tiger,{number},9,{light}\n" for number, light in enumerate(("day", "night_ir", "night_flash", "", "dusk"))
    )
    path = write(tmp_path, text)
    scenes = [Scene("a", (("a", 0.0),), lambda: iter(()))]
    rows, notes = named(read_rows(path), LABELS, scenes)
    [found] = visits_by_scene(path, rows, scenes)
    assert [visit.lighting for _, visit in found] == ["day", "night", "night", None, None]
    assert notes == []


def test_replay_writes_down_when_what_was_told_and_what_it_became(
    make_frame: Callable[..., Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(type: str, species: str, second: float, probability: float, **more: Any) -> Sighting:
        return Sighting(type, "1", species, "", "animal", probability, START + timedelta(seconds=1),  # type: ignore[arg-type]
                        START + timedelta(seconds=second), None, "night", 3, BBox(0, 0, 1, 1), (320, 180), "clip", True,
                        True, **more)  # fmt: skip

    changes = {2: change("new", "leopard", 2, 0.6, image=b"first"), 4: change("update", "lion", 4, 0.8),
               9: change("end", "lion", 5, 0.9, image=b"best")}  # fmt: skip

    def watch(frames: Any, classifier: Any, settings: Any, record: Any, tell: Any, senses: Any, observers: Any) -> None:
        def sighted() -> Iterator[Sighting]:
            named = ((Trigger(frame, (), "night" if frame.index > 15 else "day"), ()) for frame in frames)
            for trigger, _ in observers[0].keep(named):
                second = (trigger.frame.timestamp - START).total_seconds()
                if second in changes:
                    yield changes[second]

        for each in record(observers[0].record(sighted())):
            if each.type == "new":
                tell(Alert(each, Deployment("oak"), "wildlife 1"))

    monkeypatch.setattr("edge.truth.witness.watch", watch)
    classifier = SimpleNamespace(labels=LABELS)
    found = replay((make_frame(second) for second in range(11)), classifier, SETTINGS)  # type: ignore[arg-type]
    assert (found.frames, found.seconds, found.length, found.people) == (11, {"day": 3, "night": 7}, 10, 0)
    [seen] = found.alerts
    assert (seen.species, seen.became, seen.start, seen.at, seen.told, seen.end) == ("leopard", "lion", 1, 2, 2, 5)
    assert (seen.first, seen.probability, seen.image) == (0.6, 0.9, b"best")
    assert [(at, each.species, each.image) for at, each in found.heard] == [
        (2, "leopard", None), (4, "lion", None), (9, "lion", None)]  # fmt: skip
    assert compare("oak", [Visit("lion", 1, 6)], found, ["leopard", "lion"]).false == (seen,)


def test_replay_of_two_visits_with_the_published_model(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes, out, data = shared / "data/scenes", tmp_path / "report", tmp_path / "data"
    arguments = ("--species", "tiger", "--source", scenes / "dev03_tiger_day_twovisits.mp4", "--data", data, "--truth",
                 scenes / "truth_events.csv", "--event-gap", 15, "--alert-interval", 0)  # fmt: skip
    code, lines, err = run(capsys, *arguments, "--report", out)
    assert (code, err) == (0, "")
    assert lines[0] == "dev03_tiger_day_twovisits, 60 s"
    assert all(re.fullmatch(r"  tiger .* s: alert after [01]\.\d s \(\d+%\)", line) for line in lines[1:3])
    assert any(line.startswith("2 of 2 visits found with 2 alerts, 0 false, in 60 s of recording") for line in lines)
    assert (out / "report.html").read_text().count("<img ") == 2
    assert json.loads((out / "report.json").read_text())["all"]["found"] == 2
    assert not data.exists(), "nothing is stored"


def test_no_person_is_in_the_report(tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes, out = shared / "data/scenes", tmp_path / "report"
    code, lines, _ = run(capsys, "--species", "tiger", "--source", scenes / "dev27_none_person.mp4", "--truth",
                         scenes / "truth_events.csv", "--report", out)  # fmt: skip
    assert code == 0
    [people] = [line for line in lines if line.startswith("  frames in which a person was recognized: ")]
    assert int(people.rpartition(" ")[2]) >= 20
    assert "<img" not in (out / "report.html").read_text()
    assert json.loads((out / "report.json").read_text())["scenes"][0]["frames_with_people"] >= 20
