"""The files of a visit: its best picture and a clip, whole, explained, without people, and not too many."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from edge.deciding.privacy import People, screened
from edge.recording import exif, media
from edge.recording.media import Recorder, slug
from edge.types import BBox, Crop, Deployment, Frame, Named, Prediction, Sighting, Trigger
from models.errors import OutboxError
from models.labels import Label, LabelMap
from tests.broker import require
from tests.conftest import START
from tests.samples import ID, jpeg, sighting

ROOT = Path(__file__).resolve().parents[1]
LABELS = LabelMap(Label.from_name(name, {}) for name in ("blank", "person", "tiger"))
OAK = Deployment("oak <7>", 21.5, 79.25)
HERE = BBox(0.2, 0.2, 0.4, 0.4)
MakeFrame = Callable[..., Frame]


def recorder(folder: Path, **more: object) -> Recorder:
    return Recorder(folder, OAK, "wildlife 1", ("tiger",), patient=True, **more)  # type: ignore[arg-type]


def looked(frame: Frame, *shares: tuple[float, float, float]) -> Named:
    """A frame with a look for each row of probabilities."""
    trigger = Trigger(frame, (HERE,) * len(shares), "day")
    crop = Crop(trigger, HERE)
    return trigger, tuple(Prediction(crop, np.array(row, np.float32)) for row in shares)


TIGER, PERSON, UNSURE = (0.0, 0.1, 0.9), (0.0, 0.9, 0.1), (0.0, 0.55, 0.45)


def run(made: Recorder, items: Iterable[Named | Sighting]) -> list[Sighting]:
    """Frames and sightings in the order in which the chain brings them."""
    found: list[Sighting] = []

    def frames() -> Iterator[Named]:
        for item in items:
            if isinstance(item, Sighting):
                found.extend(made.record([item]))
            else:
                yield item

    for _ in made.keep(screened(frames(), LABELS, "drop", People())):
        pass
    made.close()
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def tiger(kind: str, second: float, **more: object) -> Sighting:
    """A sighting of a visit that began 2 s after START."""
    at = START + timedelta(seconds=second)
    values = {"type": kind, "species": "tiger", "event_start": START + timedelta(seconds=2), "last_seen": at,
              "image": jpeg(), "pictured_at": at} | more  # fmt: skip
    return sighting(**values)


NAME = f"2026-05-01/060002_tiger_{ID}"


def test_picture_is_there_from_the_beginning_and_the_best_replaces_it(tmp_path: Path) -> None:
    made, best = recorder(tmp_path), jpeg(96, 64)
    assert [each.type for each in made.record([tiger("new", 3)])] == ["new"]
    path = tmp_path / f"{NAME}.jpg"
    assert exif.size(path.read_bytes()) == (64, 48)
    list(made.record([tiger("update", 8, image=None, pictured_at=None)]))
    list(made.record([tiger("end", 9, image=best, pictured_at=START + timedelta(seconds=5))]))
    assert exif.size(path.read_bytes()) == (96, 64)
    assert exif.read(path.read_bytes()) == exif.Exif(ID, START + timedelta(seconds=5))
    assert files(tmp_path) == [f"{NAME}.jpg"]


def test_first_picture_that_stays_the_best_is_written_once(tmp_path: Path) -> None:
    made, new = recorder(tmp_path), tiger("new", 3)
    list(made.record([new]))
    before = (tmp_path / f"{NAME}.jpg").stat()
    list(made.record([dataclasses.replace(new, type="end")]))
    after = (tmp_path / f"{NAME}.jpg").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_picture_of_before_a_restart_stays(tmp_path: Path) -> None:
    list(recorder(tmp_path).record([tiger("new", 3)]))
    list(recorder(tmp_path).record([tiger("end", 9, image=jpeg(96, 64))]))
    assert exif.size((tmp_path / f"{NAME}.jpg").read_bytes()) == (64, 48)


def test_files_of_a_visit_that_turns_out_to_be_of_another_species_carry_its_name(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    frames = visit(make_frame, 12, moves=(6, 8))
    changed = {"species": "leopard", "scientific_name": "Panthera pardus"}
    items = [*frames[:35], tiger("new", 6), *frames[35:38], tiger("update", 7, **{**changed, "image": None})]
    items += [*frames[38:], tiger("end", 8, **changed)]
    made = recorder(tmp_path, clips=True)
    found = run(made, items)
    made.close()
    assert [name.split("_")[1] for name in files(tmp_path)] == ["leopard", "leopard"]
    assert found[-1].has_clip
    [picture] = tmp_path.glob("*/*.jpg")
    assert b"Panthera pardus" in picture.read_bytes()
    assert b"Panthera tigris" not in picture.read_bytes()


def test_visit_without_a_picture_has_no_file(tmp_path: Path) -> None:
    list(recorder(tmp_path).record([tiger("new", 3, image=None), tiger("end", 9, image=None)]))
    assert files(tmp_path) == []


def test_picture_explains_itself_in_exif_and_xmp(tmp_path: Path) -> None:
    require(importlib.util.find_spec("PIL") is not None, "pillow")
    from PIL import Image

    list(recorder(tmp_path).record([tiger("new", 3)]))
    data = (tmp_path / f"{NAME}.jpg").read_bytes()
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.getexif()[0x010E] == "tiger (Panthera tigris), 99 %, oak <7>"
        packet = picture.info["xmp"]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(pixels, cv2.imdecode(np.frombuffer(jpeg(), np.uint8), cv2.IMREAD_COLOR))
    [about] = ElementTree.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    terms = "{https://camtrap-dp.tdwg.org/data/#observations.}"
    assert {key.removeprefix(terms): value for key, value in about.attrib.items() if key.startswith(terms)} == {
        "deploymentID": "oak <7>",
        "eventID": ID,
        "eventStart": "2026-05-01T06:00:02+00:00",
        "observationType": "animal",
        "scientificName": "Panthera tigris",
        "classificationMethod": "machine",
        "classifiedBy": "wildlife 1",
        "classificationProbability": "0.9877",
    }
    subject = about.find("{http://purl.org/dc/elements/1.1/}subject")
    assert [item.text for item in subject.iter() if item.text] == ["tiger", "Panthera tigris"]  # type: ignore[union-attr]
    assert b"21.5" not in packet  # Where the trap hangs stays at home.


def visit(make_frame: MakeFrame, seconds: float, *, moves: tuple[float, float], look: object = TIGER) -> list[Named]:
    """Five frames a second; between two times something is looked at."""
    return [
        looked(make_frame(at), *((look,) if moves[0] <= at < moves[1] else ()))  # type: ignore[arg-type]
        for at in (number / 5 for number in range(round(seconds * 5)))
    ]


def times(path: Path) -> tuple[int, float]:
    """How many frames a clip has, and how long it is in seconds."""
    capture, count, last = cv2.VideoCapture(str(path)), 0, 0.0
    while capture.grab():
        count, last = count + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    capture.release()
    return count, last


def test_clip_shows_the_seconds_before_and_after(tmp_path: Path, make_frame: MakeFrame) -> None:
    named: list[Named | Sighting] = list(visit(make_frame, 40, moves=(12, 18)))
    started = START + timedelta(seconds=12)
    named.insert(63, tiger("new", 12.4, event_start=started))
    found = run(recorder(tmp_path, clips=True), [*named, tiger("end", 18, event_start=started)])
    assert [each.has_clip for each in found] == [False, True]
    [clip] = tmp_path.rglob("*.mp4")
    count, length = times(clip)
    assert clip.name == f"060012_tiger_{ID}.mp4"
    # From 5 s before the visit, at a frame each half second, to 5 s after the last look, at five a second.
    assert 10.6 <= length <= 11.2 + 5
    assert length == pytest.approx(5 + 5.8 + 5, abs=0.5)
    assert count == pytest.approx(5 * 2 + (5.8 + 5) * 5, abs=4)


def test_no_clip_without_being_asked_for(tmp_path: Path, make_frame: MakeFrame) -> None:
    named: list[Named | Sighting] = list(visit(make_frame, 5, moves=(1, 4)))
    named.insert(12, tiger("new", 2.4))
    run(recorder(tmp_path), named)
    assert [Path(name).suffix for name in files(tmp_path)] == [".jpg"]


def test_clip_of_a_visit_without_end_ends(tmp_path: Path, make_frame: MakeFrame) -> None:
    named: list[Named | Sighting] = list(visit(make_frame, 120, moves=(6, 120)))
    named.insert(33, tiger("new", 6.4, event_start=START + timedelta(seconds=6)))
    run(recorder(tmp_path, clips=True), named)
    [clip] = tmp_path.rglob("*.mp4")
    assert times(clip)[1] == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("at", [3.0, 77.0, 85.0, 88.0])
def test_clip_with_a_person_is_not_kept(tmp_path: Path, make_frame: MakeFrame, at: float) -> None:
    """Long before the visit; then just before it, in it, and after it."""
    named: list[Named | Sighting] = list(visit(make_frame, 100, moves=(85, 87)))
    for number in range(round(at * 5), round(at * 5) + 10):
        named[number] = looked(make_frame(number / 5), PERSON, TIGER)
    named.insert(428, tiger("new", 85.4, event_start=START + timedelta(seconds=85)))
    run(recorder(tmp_path, clips=True), named)
    assert len(list(tmp_path.rglob("*.mp4"))) == (at == 3)


def test_person_who_stands_still_is_in_no_clip(tmp_path: Path, make_frame: MakeFrame) -> None:
    named: list[Named | Sighting] = [looked(make_frame(number / 5), PERSON) for number in range(5)]
    named += [looked(make_frame(number / 5)) for number in range(5, 150)]
    named += [looked(make_frame(number / 5), TIGER) for number in range(150, 160)]
    named.append(tiger("new", 32, event_start=START + timedelta(seconds=30)))
    run(recorder(tmp_path, clips=True), named)
    assert list(tmp_path.rglob("*.mp4")) == []


def test_visits_that_overlap_share_a_clip_and_its_encoder(tmp_path: Path, make_frame: MakeFrame) -> None:
    other = "00000000-0000-4000-8000-000000000001"
    named: list[Named | Sighting] = list(visit(make_frame, 25, moves=(6, 10)))
    named.insert(45, tiger("new", 8.4, id=other, species="deer", event_start=START + timedelta(seconds=8)))
    named.insert(33, tiger("new", 6.4, event_start=START + timedelta(seconds=6)))
    ends = [tiger("end", 10, event_start=START + timedelta(seconds=6)),
            tiger("end", 10, id=other, species="deer", event_start=START + timedelta(seconds=8))]  # fmt: skip
    found = run(recorder(tmp_path, clips=True), [*named, *ends])
    assert [each.has_clip for each in found] == [False, False, True, True]
    one, two = sorted(tmp_path.rglob("*.mp4"))
    assert one.samefile(two)


def test_clip_ends_when_no_frames_come(tmp_path: Path, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recorder(tmp_path, clips=True)
    named = visit(make_frame, 7, moves=(6, 7))
    list(made.keep(named))
    list(made.record([tiger("new", 6.4, event_start=START + timedelta(seconds=6))]))
    made.tick()
    assert list(tmp_path.rglob("*.mp4")) == []
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    for _ in range(200):
        made.tick()
        if list(tmp_path.rglob("*.mp4")):
            return
        time.sleep(0.05)
    pytest.fail("the clip was not finished")


def test_frames_wider_than_the_encoder_can_bear_are_scaled(tmp_path: Path, make_frame: MakeFrame) -> None:
    wide = np.full((1080, 1920, 3), 99, np.uint8)
    named: list[Named | Sighting] = [looked(make_frame(number / 5, wide), TIGER) for number in range(8)]
    run(recorder(tmp_path, clips=True), [*named, tiger("new", 1.4, event_start=START)])
    capture = cv2.VideoCapture(str(next(tmp_path.rglob("*.mp4"))))
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (1280, 720)


def test_one_look_that_is_unsure_of_a_person_spoils_no_clip(tmp_path: Path, make_frame: MakeFrame) -> None:
    named: list[Named | Sighting] = list(visit(make_frame, 20, moves=(6, 10)))
    named[30] = looked(make_frame(6), UNSURE)
    named.insert(33, tiger("new", 6.4, event_start=START + timedelta(seconds=6)))
    run(recorder(tmp_path, clips=True), named)
    assert len(list(tmp_path.rglob("*.mp4"))) == 1


def test_visit_of_a_person_leaves_no_file(tmp_path: Path, make_frame: MakeFrame) -> None:
    named: list[Named | Sighting] = list(visit(make_frame, 10, moves=(3, 6), look=UNSURE))
    named.insert(20, tiger("new", 3.8, species="person", observation_type="human", image=None))
    run(recorder(tmp_path, clips=True), named)
    assert files(tmp_path) == []


def test_visit_that_turns_out_to_be_of_a_person_leaves_no_file(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    list(made.record([tiger("new", 3), tiger("new", 3, id="00000000-0000-4000-8000-000000000001")]))
    assert len(files(tmp_path)) == 2
    person = {"species": "person", "observation_type": "human", "image": None, "pictured": False}
    list(made.record([tiger("end", 9, **person)]))
    assert files(tmp_path) == ["2026-05-01/060002_tiger_00000000-0000-4000-8000-000000000001.jpg"]


def test_oldest_files_go_first_and_those_of_targets_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(media, "RESERVE", 0)
    caplog.set_level("INFO", "edge-watch")
    made = recorder(tmp_path, most_bytes=15_000)
    for number, species in enumerate(("tiger", "polar bear", "deer", "tiger", "deer")):
        id_ = f"00000000-0000-4000-8000-00000000000{number}"
        start = START + timedelta(days=number)
        image = jpeg() + bytes(2500)
        list(made.record([tiger("new", 0, id=id_, species=species, event_start=start, image=image)]))
    left = [name.split("_")[1] for name in files(tmp_path)]
    assert left == ["tiger", "tiger", "deer"]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jpg")) <= 15_000
    assert "of the oldest files were deleted to make room" in caplog.text


def test_disk_full_of_other_things_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is kept stays where deleting it would not bring back the reserve, and that is said once."""
    list(recorder(tmp_path).record([tiger("new", 3)]))
    free = os.statvfs(tmp_path)
    monkeypatch.setattr(media, "RESERVE", free.f_bavail * free.f_frsize + 10**9)
    made = recorder(tmp_path)
    for number in range(1, 4):
        list(made.record([tiger("new", 3, id=f"00000000-0000-4000-8000-00000000000{number}")]))
    assert files(tmp_path) == [f"{NAME}.jpg"]
    assert caplog.text.count("are left: no pictures are kept") == 1


def test_disk_that_is_full_is_told_and_the_sightings_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert [each.type for each in recorder(tmp_path).record([tiger("new", 3), tiger("end", 9)])] == ["new", "end"]
    assert "No space left on device; is there space left on the disk?; watching goes on" in caplog.text
    assert files(tmp_path) == []


def test_folder_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutboxError, match=r"^cannot write .*file/a\.jpg: .*; is there space left on the disk\?$"):
        media.write_whole(tmp_path / "file/a.jpg", b"x")


def test_what_a_power_cut_left_half_is_removed_at_the_start(tmp_path: Path) -> None:
    left = tmp_path / f"{NAME}.mp4".replace("060002", ".060002")
    left.parent.mkdir()
    left.with_name(left.name + ".part").write_bytes(b"half")
    recorder(tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("species", "name"), [("Polar bear", "polar-bear"), ("a/b_c", "a-b-c"), ("тигр", "тигр"), ("虎" * 50, "虎" * 40)]
)
def test_species_in_a_file_name(species: str, name: str) -> None:
    assert slug(species) == name
    assert len(f".060002_{slug(species)}_{ID}.jpg.part".encode()) < 255


def test_nothing_is_written_while_nothing_moves(tmp_path: Path) -> None:
    """The daemon over a quiet scene: after its start no file in the data folder changes."""
    clip = tmp_path / "quiet.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 5, (320, 240))
    noise = np.random.default_rng(0)
    scene = noise.integers(60, 200, (240, 320, 3)).astype(np.int16)
    for _ in range(150):
        writer.write(np.clip(scene + noise.normal(0, 2, scene.shape), 0, 255).astype(np.uint8))
    writer.release()
    script = f"""
import os, sys, pathlib
from edge.duties import Duties
look, states = Duties.look, []
def looked(self):
    look(self)
    data = pathlib.Path({str(tmp_path / "data")!r})
    states.append(sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in data.rglob("*")))
Duties.look = looked
from edge.__main__ import main
code = main(sys.argv[1:])
assert len(states) == 150, len(states)
assert all(state == states[0] for state in states[1:]), [state for state in states if state != states[0]][0]
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "--source", str(clip), "--data", str(tmp_path / "data"), "--record", "clip",
         "--broker", "mqtt://127.0.0.1:9"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not os.listdir(tmp_path / "data/media") if (tmp_path / "data/media").exists() else True
