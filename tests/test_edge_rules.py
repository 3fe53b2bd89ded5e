"""`edge-watch` with rules, people and places as a user sees them: real clips, the published model, a real broker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from edge.telling.outbox import FILE_NAME
from models.bundle import default_bundle
from models.manifest import digest
from tests.broker import Mosquitto, Subscriber
from tests.test_edge_watch import CLOSE_VISITS, edge_watch, over

ANIMALS = (
    "ape,bear,bison,cheetah,deer,elephant,fox,jaguar,kangaroo,leopard,lion,monkey,pig,polar_bear,rabbit,raccoon,"
    "tiger,wolf,zebra"
)
PLACE = ("--latitude", "21.54321", "--longitude", "79.25678")
PEDESTRIANS, PERSON = "data/videos/vid057.mp4", "data/scenes/dev27_none_person.mp4"
TIGER = "data/scenes/dev01_tiger_day_cross.mp4"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as made:
        yield made


def heard(broker: Mosquitto, tmp_path: Path, *options: str) -> dict[str, list[bytes]]:
    """What a run of the trap `oak` says, by topic below its own, or by another's whole name; `said` is its log."""
    with Subscriber(broker, ["#"]) as subscriber:
        own = ("--broker", broker.url, "--deployment", "oak", "--data", str(tmp_path / "data"))
        said = edge_watch(*own, *options).stderr
        over(subscriber)
        found: dict[str, list[bytes]] = {"said": [said.encode()]}
        for each in subscriber.received:
            found.setdefault(each.topic.removeprefix("edge-watch/oak/"), []).append(each.payload)
    return found


def stored(tmp_path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(tmp_path / "data" / FILE_NAME) as db:
        return db.execute("SELECT species, pictured FROM sightings ORDER BY row").fetchall()


def media(tmp_path: Path) -> list[str]:
    return sorted(path.suffix for path in (tmp_path / "data").rglob("*.*") if path.suffix in (".jpg", ".mp4", ".part"))


def places(value: object) -> list[object]:
    """What is said of a place anywhere within a payload."""
    if isinstance(value, list):
        return [place for each in value for place in places(each)]
    if not isinstance(value, dict):
        return []
    here = [each for key, each in value.items() if key in ("location", "latitude", "longitude") and each is not None]
    return here + [place for each in value.values() for place in places(each)]


@pytest.mark.parametrize(("clip", "least"), [(PEDESTRIANS, 10), (PERSON, 1)])
def test_nothing_of_a_person_is_stored_or_told_but_a_count(
    tmp_path: Path, shared: Path, broker: Mosquitto, clip: str, least: int
) -> None:
    told = heard(broker, tmp_path, "--source", str(shared / clip), "--species", ANIMALS, "--record", "clip")
    assert not {topic for topic in told if topic == "events" or topic.startswith("alert/")}
    assert media(tmp_path) == []
    assert stored(tmp_path) == []
    assert json.loads(told["health"][-1])["people"] >= least


def test_person_as_a_target_is_told_without_a_picture_and_as_vaguely_as_asked(
    tmp_path: Path, shared: Path, broker: Mosquitto
) -> None:
    told = heard(
        broker, tmp_path, "--source", str(shared / PEDESTRIANS), "--species", "person", "--record", "clip",
        *PLACE, "--hide-location", "person=0.5",
    )  # fmt: skip
    [alert] = [json.loads(each) for each in told["alert/person"]]
    assert (alert["species"], alert["image_topic"]) == ("person", None)
    assert alert["location"] == {"latitude": 21.5, "longitude": 79.5}
    assert "alert/person/image" not in told
    events = [json.loads(each) for each in told["events"]]
    assert events[0]["type"] == "new"
    assert {(event["after"]["label"], event["after"]["has_snapshot"]) for event in events} == {("person", False)}
    assert media(tmp_path) == []
    assert stored(tmp_path) == [("person", 0)]


def test_people_are_kept_on_request(tmp_path: Path, shared: Path, broker: Mosquitto) -> None:
    told = heard(
        broker, tmp_path, "--source", str(shared / PEDESTRIANS), "--species", "person", "--people", "keep",
    )  # fmt: skip
    assert len(told["alert/person/image"]) == 1
    assert media(tmp_path) == [".jpg"]


def test_people_who_are_blurred_leave_a_picture_and_no_clip(tmp_path: Path, shared: Path, broker: Mosquitto) -> None:
    options = ("--source", str(shared / PEDESTRIANS), "--species", "person", "--record", "clip", "--people", "blur")
    told = heard(broker, tmp_path, *options)
    assert len(told["alert/person/image"]) == 1
    assert media(tmp_path) == [".jpg"]


@pytest.mark.parametrize(("people", "pictures"), [((), []), (("--people", "keep"), [".jpg"])])
def test_model_without_people_keeps_and_sends_no_picture_unless_told_to(
    tmp_path: Path, shared: Path, broker: Mosquitto, people: tuple[str, ...], pictures: list[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle)
    labels = (bundle / "labels.csv").read_text().replace(",human\n", ",animal\n")
    (bundle / "labels.csv").write_text(labels)
    fields = json.loads((bundle / "manifest.json").read_text())
    fields["files"]["labels.csv"] = hashlib.sha256(labels.encode()).hexdigest()
    del fields["sha256"]
    (bundle / "manifest.json").write_text(json.dumps({**fields, "sha256": digest(fields)}))
    options = ("--source", str(shared / TIGER), "--species", "tiger", "--model", str(bundle), "--broker", broker.url)
    with Subscriber(broker, ["#"]) as subscriber:
        said = edge_watch(*options, "--deployment", "oak", "--data", str(tmp_path / "data"), *people).stderr
        over(subscriber)
        assert len(subscriber.on("edge-watch/oak/alert/tiger")) == 1
        assert len(subscriber.on("edge-watch/oak/alert/tiger/image")) == len(pictures)
    assert said.count("this model cannot recognize people: pictures may show them") == 1
    assert set(media(tmp_path)) == set(pictures)


@pytest.mark.parametrize(
    ("hide", "location"),
    [
        ((), {"latitude": 21.54321, "longitude": 79.25678}),
        (("--hide-location", "tiger"), None),
        (("--hide-location", "big_cat=0.1"), {"latitude": 21.5, "longitude": 79.3}),
    ],
)
def test_place_leaves_by_no_channel_more_exactly_than_allowed(
    tmp_path: Path, shared: Path, broker: Mosquitto, hide: tuple[str, ...], location: dict[str, float] | None
) -> None:
    """Alert, events, health, Home Assistant, and the files on the disk with their metadata."""
    told = heard(
        broker, tmp_path, "--source", str(shared / TIGER), "--species", "tiger", "--record", "clip", *PLACE, *hide
    )
    [alert] = [json.loads(each) for each in told["alert/tiger"]]
    assert alert["location"] == location
    assert {"alert/tiger/image", "events", "health", "homeassistant/device/oak/config"} <= set(told)
    assert {".jpg", ".mp4"} == set(media(tmp_path))
    del told["alert/tiger"]
    files = [path.read_bytes() for path in (tmp_path / "data/media").rglob("*.*")]
    payloads = [payload for topic, each in told.items() if topic != "said" for payload in each]
    texts = [json.loads(payload) for payload in payloads if payload.startswith(b"{")]
    assert len(texts) >= 4
    assert [place for text in texts for place in places(text)] == []
    for each in [*payloads, *told["said"], *files]:
        # Digits enough that no duration or temperature, and no chance of compressed bytes, looks like them.
        assert not [number for number in (b"21.543", b"79.256", b"79.257") if number in each]
    assert len(files) == 2
    assert [each for each in files if b"atitude" in each] == []  # As EXIF, XMP and Camtrap DP call it.


def test_rules_of_a_settings_file(tmp_path: Path, shared: Path, broker: Mosquitto) -> None:
    file = tmp_path / "trap.toml"
    file.write_text(
        'species = ["big_cat"]\npresent = ["deer"]\nexclude = ["cheetah"]\nleast_frames = 8\nleast_seconds = 1.5\n'
        'active_hours = "00:00-23:59"\nevent_gap = 15\n[alert_intervals]\ntiger = 0\n[hide_location]\ntiger = 0.1\n'
    )
    two = "data/scenes/dev03_tiger_day_twovisits.mp4"
    told = heard(broker, tmp_path, "--settings", str(file), "--source", str(shared / two), *PLACE)
    alerts = [json.loads(each) for each in told["alert/tiger"]]
    assert len(alerts) == len(told["alert/tiger/image"]) == 2
    assert all(alert["frames"] >= 8 for alert in alerts)
    assert {topic for topic in told if topic.startswith("alert/")} == {"alert/tiger", "alert/tiger/image"}
    entities = json.loads(told["homeassistant/device/oak/config"][0])["components"]
    assert entities["seen_tiger"]["off_delay"] == 1
    assert entities["seen_lion"]["off_delay"] == 600
    assert "seen_cheetah" not in entities


@pytest.mark.parametrize(("hours", "alerts"), [("18:00-06:00", 0), ("11:00-13:00", 1)])
def test_visits_outside_the_active_hours_are_recorded_and_not_told(
    tmp_path: Path, shared: Path, broker: Mosquitto, hours: str, alerts: int
) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copy(shared / TIGER, clip)
    noon = datetime(2026, 5, 1, 12, 0).timestamp()
    os.utime(clip, (noon, noon))
    told = heard(broker, tmp_path, "--source", str(clip), "--species", "tiger", *CLOSE_VISITS, "--active-hours", hours)
    line = f"alerts leave from {hours.replace('-', ' to ')} only; visits are recorded all day"
    assert told["said"][0].decode().count(line) == 1
    assert len(told.get("alert/tiger", [])) == len(told.get("alert/tiger/image", [])) == alerts
    assert ("tiger", 1) in stored(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--species", "tiger", "--exclude", "big_cat"], "species: expected what can be here, found tiger"),
        (["--present", ""], "present: expected names, found an empty text"),
        (["--species", "bigcats"], "the model does not know 'bigcats'; did you mean: big_cat"),
        (["--exclude", f"{ANIMALS}"], "exclude: expected an animal to be left"),
        (["--present", "tiger", "--exclude", "tiger"], "present: expected what can be here, found tiger"),
        (["--active-hours", "now"], "active_hours: expected two times of day, found 'now'; as 18:00-06:00"),
        (["--hide-location", "tiger=90"], "hide_location: expected more than 0, up to 10 degrees, found tiger=90"),
    ],
)
def test_rule_that_cannot_be_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    found = edge_watch(*arguments, "--data", str(tmp_path / "data"), check=2)
    errors = [line for line in found.stderr.splitlines() if line.startswith("edge-watch: ")]
    assert len(errors) == 1, found.stderr
    assert said in errors[0]
    assert "Traceback" not in found.stderr
