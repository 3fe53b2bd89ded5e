"""What `train` reads beside class folders and CSV files: COCO, MegaDetector, Camtrap DP, a trap's corrections."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convert.verify import Photo as Compared
from convert.verify import ask
from convert.verify import find_photos as converted
from edge.recording.pictures import described
from edge.seeing.crops import square as edge_square
from edge.types import BBox, Deployment, Sighting
from models import boxes
from models.bundle import ModelBundle
from models.errors import BundleError
from models.images import read_image
from models.preprocess import prepare
from tests.test_train_fit import SMALL, train
from tests.test_train_fit import draw as shape
from tests.tiny import rewritten
from train.cli import main
from train.photos.data import Photo
from train.photos.find import data_name, find_photos
from train.photos.pictures import decode
from train.photos.splits import divide, split_csv

KINDS = {"1": "animal", "2": "person", "3": "vehicle"}
ID = str(uuid.UUID(int=7))


def draw(path: Path, *seed: int, width: int = 200, height: int = 100) -> None:
    """A picture of coloured blobs, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def detection(bbox: list[float], conf: float = 0.9, category: str = "1") -> dict[str, object]:
    return {"category": category, "conf": conf, "bbox": bbox}


def detected(path: Path, images: Mapping[str, list[dict[str, object]] | str], threshold: float | None = None) -> Path:
    """A file as MegaDetector writes it; a text in place of detections is a failure."""
    info: dict[str, Any] = {"format_version": "1.6", "detector": "md_v5a.0.0.pt"}
    if threshold is not None:
        info["detector_metadata"] = {"typical_detection_threshold": threshold}
    return write(path, {"info": info, "detection_categories": KINDS, "images": [
        {"file": file, "failure": found, "detections": None} if isinstance(found, str)
        else {"file": file, "detections": found} for file, found in images.items()]})


def shown(photos: Sequence[Photo]) -> list[tuple[str, str]]:
    return [(photo.name, photo.label) for photo in photos]


# The square around a box, the same for training and the edge.


@pytest.mark.parametrize("box", [(0.4, 0.4, 0.2, 0.1), (0.0, 0.9, 0.3, 0.1), (0.99, 0.0, 0.01, 0.01),
                                 (0.0, 0.0, 1.0, 1.0), (0.1, 0.2, 0.05, 0.7)])
@pytest.mark.parametrize("margin", [0.2, 0.05])
@pytest.mark.parametrize("size", [(1280, 720), (90, 120)])
def test_edge_cuts_by_the_same_rule(box: boxes.Box, margin: float, size: tuple[int, int]) -> None:
    assert edge_square(BBox(*box), margin, *size).as_tuple() == boxes.square(box, margin, *size)


def test_crop_is_a_square_with_a_margin_of_a_fifth_moved_inside_the_picture(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1, width=1000, height=500)
    image = read_image(tmp_path / "1.png")
    cases = (((0.5, 0.4, 0.1, 0.1), image[155:295, 480:620]),  # 100 px wide: 140 px a side
             ((0.9, 0.0, 0.1, 0.1), image[:140, 860:]),
             ((0.5, 0.4, 0.01, 0.02), image[157:253, 457:553]))  # 96 px at least
    for box, cut in cases:
        found = boxes.seen((tmp_path / "1.png").read_bytes(), "1.png", 64, box)
        assert (found == prepare(cut, 64, order="BGR")).all()


@pytest.mark.parametrize(("box", "found"), [
    ((0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)), ((-0.005, 0, 0.5, 1.01), (0, 0, 0.495, 1)),
    ((0.5, 0.5, 0.52, 0.1), None), ((-0.02, 0, 0.5, 0.5), None), ((0, 0, 0, 0.5), None), ((0, 0, 0.5), None),
    ((0, 0, 0.5, True), None), ((0, 0, 0.5, "1"), None), ((0, 0, float("nan"), 1), None), ((1.0, 0, 0.01, 0.1), None),
])
def test_boxes_are_cut_at_the_edge_by_what_rounding_gives_and_no_more(box: Any, found: boxes.Box | None) -> None:
    assert boxes.within(box) == found


def test_box_is_read_as_it_was_written() -> None:
    box = boxes.within((1 / 3, 0, 0.25, 1e-5))
    assert boxes.as_text(box) == "0.333333 0 0.25 1e-05"
    assert boxes.from_text("0.333333 0 0.25 1e-05") == box
    assert (boxes.as_text(None), boxes.from_text("")) == ("", None)
    for text in ("0.1 0.2 0.3", "a b c d", "0 0 2 2"):
        with pytest.raises(ValueError, match=f"left, top, width and height as shares of the picture.*found {text}"):
            boxes.from_text(text)


# COCO Camera Traps.


def coco(root: Path) -> Path:
    """Seven photos below `images`: a fox, a deer with two boxes, both without and with boxes, nothing, nobody knows."""
    for number in range(7):
        draw(root / f"images/{number}.png", number)
    names = ("empty", "Red fox", "white-tailed deer/elk", "human")
    images: list[dict[str, Any]] = [{"id": f"i{number}", "file_name": f"{number}.png"} for number in range(7)]
    images[0] |= {"location": 12, "seq_id": "s1", "datetime": "2020-05-01 06:00:00"}
    images[1] |= {"location": "unknown", "width": 400, "height": 200}
    images[3] |= {"width": 200, "height": 100}
    said: list[tuple[int, int, list[float] | None]] = [
        (0, 1, None), (0, 1, None), (1, 2, [40, 20, 40, 40]), (1, 2, [200, 100, 200, 100]), (2, 1, None), (2, 2, None),
        (3, 1, [0, 0, 50, 50]), (3, 3, [100, 0, 50, 100]), (4, 0, [0, 0, 10, 10]), (6, 2, [20, 10, 40, 40])]
    return write(root / "trap.json", {
        "info": {}, "images": images, "categories": [{"id": key, "name": name} for key, name in enumerate(names)],
        "annotations": [{"id": str(key), "image_id": f"i{image}", "category_id": category} | ({"bbox": bbox} if bbox
                        else {}) for key, (image, category, bbox) in enumerate(said)]})


def test_coco_gives_labels_boxes_locations_and_sequences(tmp_path: Path) -> None:
    found = find_photos(coco(tmp_path))
    assert found.root == tmp_path
    assert shown(found.photos) == [
        ("images/0.png", "red_fox"), ("images/1.png [0.1 0.1 0.1 0.2]", "white-tailed_deer_elk"),
        ("images/1.png [0.5 0.5 0.5 0.5]", "white-tailed_deer_elk"), ("images/3.png [0 0 0.25 0.5]", "red_fox"),
        ("images/3.png [0.5 0 0.25 1]", "human"), ("images/4.png", "empty"),
        ("images/6.png [0.1 0.1 0.2 0.4]", "white-tailed_deer_elk"),  # Its size is not stated but read.
    ]
    first = found.photos[0]
    assert (first.location, first.sequence, first.timestamp) == ("12", "s1", "2020-05-01T06:00:00")
    assert {photo.location for photo in found.photos[1:]} == {""}
    assert found.notes == (
        "trap.json: left out: 1 photo of several classes and without boxes "
        "(images/2.png: red_fox, white-tailed_deer_elk)",
        "left out, without a label: 1 photo (the first is images/5.png)")
    assert data_name(tmp_path / "trap.json") == "trap"


def test_coco_photos_that_are_not_there_or_corrupt_are_left_out_and_said(tmp_path: Path) -> None:
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    content["images"][4]["corrupt"] = True
    write(path, content)
    for number in (0, 6):
        (tmp_path / f"images/{number}.png").unlink()
    found = find_photos(path)
    assert len(found.photos) == 4
    assert found.notes[:2] == ("trap.json: left out: 1 photo marked as corrupt",
                               f"trap.json: left out: 2 photos of 6 that are not in {tmp_path} (the first is "
                               f"images/0.png); download them")


# MegaDetector.


@pytest.fixture
def filed(tmp_path: Path) -> Path:
    """Class folders with photos of foxes, a person and nothing, and two photos that lie in no folder."""
    root = tmp_path / "photos"
    for number, name in enumerate(("fox/1", "fox/2", "fox/3", "fox/4", "people/1", "none/1", "none/2", "x", "y", "z")):
        draw(root / f"{name}.png", number)
    return root


def test_detections_beside_the_photos_cut_them(filed: Path) -> None:
    detected(filed / "boxes.json", {
        "fox/1.png": [detection([0.1, 0.1, 0.2, 0.2], 0.3), detection([0.5, 0.5, 0.2, 0.2]),
                      detection([0, 0, 0.9, 0.9], 0.29), detection([0, 0, 0.5, 0.5], category="2")],
        "fox\\2.png": [detection([0, 0, 1, 1], category="2")], "photos/fox/3.png": "Failure image access",
        "people/1.png": [detection([0, 0, 0.5, 1], category="2"), detection([0, 0, 1, 1])],
        "none/1.png": [], "none/2.png": [detection([0, 0, 1, 1])], "gone.png": [], "x.png": [],
        str(filed / "y.png"): [detection([0, 0, 0.5, 0.5], category="3"), detection([0, 0, 1, 1])],
        "z.png": [detection([0, 0, 1, 1])],
    }, threshold=0.3)
    found = find_photos(filed)
    assert shown(found.photos) == [
        ("fox/1.png [0.1 0.1 0.2 0.2]", "fox"), ("fox/1.png [0.5 0.5 0.2 0.2]", "fox"), ("fox/3.png", "fox"),
        ("fox/4.png", "fox"), ("none/1.png", "none"), ("people/1.png [0 0 0.5 1]", "people"), ("x.png", "none"),
        ("y.png [0 0 0.5 0.5]", "vehicle"),
    ]
    assert found.notes == (
        "boxes.json: 4 crops of 3 photos, cut around what was found by md_v5a.0.0.pt with a confidence of 0.3 and more",
        "boxes.json: blank, without a label and with nothing found in them: 1 photo (the first is x.png)",
        "boxes.json: whole, as nothing is said of them: 2 photos (the first is fox/3.png)",
        "boxes.json: left out, with nothing of their label's kind found in them: 1 photo (the first is fox/2.png)",
        "boxes.json: left out, labelled blank but with something found in them: 1 photo (the first is none/2.png)",
        "boxes.json: left out, without a label and with animals found in them: 1 photo (the first is z.png)",
        "boxes.json: not read by the detector: 1 photo (the first is fox/3.png)",
        "boxes.json: named, but not there: 1 photo (the first is gone.png)",
    )


def test_without_detections_photos_stay_whole_and_those_in_no_folder_are_left_out(filed: Path) -> None:
    (filed / "other.json").write_text("{no json")
    write(filed / "notes.json", {"images": []})
    found = find_photos(filed)
    assert not any(photo.box for photo in found.photos)
    assert found.notes == ("left out, without a label: 3 photos (the first is x.png)",)


def test_the_threshold_is_a_fifth_where_the_file_has_none_and_detections_may_lie_elsewhere(
    filed: Path, tmp_path: Path
) -> None:
    path = detected(tmp_path / "md.json", {
        "fox/1.png": [detection([0, 0, 1, 1], 0.2)], "fox/2.png": [detection([0, 0, 1, 1], 0.19)]})
    found = find_photos(filed, detections=path)
    assert [photo.name for photo in found.photos if photo.label == "fox"] == [
        "fox/1.png [0 0 1 1]", "fox/3.png", "fox/4.png"]


def test_boxes_of_coco_go_before_those_of_megadetector(tmp_path: Path) -> None:
    path = coco(tmp_path)
    detected(tmp_path / "megadetector.json", {
        "images/0.png": [detection([0, 0, 0.5, 0.5])], "images/1.png": [detection([0, 0, 1, 1])], "images/5.png": []})
    found = shown(find_photos(path).photos)
    assert ("images/0.png [0 0 0.5 0.5]", "red_fox") in found
    assert [name for name, _ in found if name.startswith("images/1")] == [
        "images/1.png [0.1 0.1 0.1 0.2]", "images/1.png [0.5 0.5 0.5 0.5]"]
    assert ("images/5.png", "empty") in found


def test_detections_alone_give_animals_people_vehicles_and_nothing(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
    path = detected(tmp_path / "all.json", {
        "0.png": [detection([0, 0, 1, 1])], "1.png": [detection([0, 0, 1, 1], category="2")],
        "2.png": [detection([0, 0, 1, 1], category="3")], "3.png": [], "clip.mp4": []})
    assert shown(find_photos(path).photos) == [
        ("0.png [0 0 1 1]", "animal"), ("1.png [0 0 1 1]", "person"), ("2.png [0 0 1 1]", "vehicle"),
        ("3.png", "empty")]


def test_crops_are_excluded_by_photo_and_by_box(filed: Path, tmp_path: Path) -> None:
    detected(filed / "boxes.json", {"fox/1.png": [detection([0.1, 0.1, 0.2, 0.2]), detection([0.5, 0.5, 0.2, 0.2])],
                                    "fox/2.png": [detection([0, 0, 1, 1]), detection([0, 0, 0.5, 1])]})
    (tmp_path / "bad.txt").write_text("fox/1.png\nfox/2.png [0 0 0.5 1]\n")
    found = find_photos(filed, tmp_path / "bad.txt")
    assert [photo.name for photo in found.photos if photo.box] == ["fox/2.png [0 0 1 1]"]
    assert found.excluded == 3


# Camtrap DP.

OBSERVATION = {"deploymentID": "d1", "mediaID": "", "eventID": "", "eventStart": "2020-05-01T04:00:00Z",
               "eventEnd": "2020-05-01T04:01:00Z", "observationLevel": "event", "observationType": "animal",
               "scientificName": "", "bboxX": "", "bboxY": "", "bboxWidth": "", "bboxHeight": ""}


def package(root: Path, observations: Sequence[Mapping[str, object]]) -> Path:
    """Six photos and a clip of two deployments, the first at a named location."""
    media = []
    for number in range(6):
        draw(root / f"media/{number}.png", number)
        media.append({"mediaID": f"m{number}", "deploymentID": "d1" if number < 5 else "d2",
                      "timestamp": f"2020-05-01T06:00:{10 * number:02}+02:00", "filePath": f"media/{number}.png",
                      "filePublic": "true", "fileMediatype": "image/png"})
    media.append({**media[0], "mediaID": "clip", "filePath": "media/clip.mp4", "fileMediatype": "video/mp4"})
    table(root / "media.csv", media)
    table(root / "deployments.csv", [{"deploymentID": "d1", "locationID": "oak"},
                                     {"deploymentID": "d2", "locationID": ""}])
    table(root / "observations.csv", [OBSERVATION | {"observationID": f"o{number}"} | row
                                      for number, row in enumerate(observations)])
    return write(root / "datapackage.json", {
        "resources": [{"name": name, "path": f"{name}.csv"} for name in ("deployments", "media", "observations")],
        "taxonomic": [{"scientificName": "Vulpes vulpes", "vernacularNames": {"nl": "vos", "en": "Red Fox"}},
                      {"scientificName": "Meles meles"}]})


def single(media: str, **more: object) -> dict[str, object]:
    return {"mediaID": media, "observationLevel": "media", **more}


def test_package_gives_labels_boxes_locations_and_events(tmp_path: Path) -> None:
    bbox = {"bboxX": "0.1", "bboxY": "0.2", "bboxWidth": "0.3", "bboxHeight": "0.4"}
    package(tmp_path, [
        # From 04:00:00 to 04:00:10 UTC: the first two photos.
        {"scientificName": "Vulpes vulpes", "eventID": "e1", "eventEnd": "2020-05-01T04:00:10Z"},
        single("m1", scientificName="Meles meles", eventID="e1", **bbox),
        single("m2", observationType="blank"), single("m3", observationType="human"),
        single("m4", observationType="unclassified"), single("m5", observationType="vehicle", deploymentID="d2"),
    ])
    found = find_photos(tmp_path)
    assert shown(found.photos) == [
        ("media/0.png", "red_fox"), ("media/1.png [0.1 0.2 0.3 0.4]", "meles_meles"), ("media/2.png", "empty"),
        ("media/3.png", "person"), ("media/5.png", "vehicle")]
    assert [(photo.location, photo.sequence) for photo in found.photos] == [
        ("oak", "e1"), ("oak", "e1"), ("oak", ""), ("oak", ""), ("d2", "")]
    assert found.photos[0].timestamp == "2020-05-01T06:00:00"
    assert found.scientific == {"red_fox": "Vulpes vulpes", "meles_meles": "Meles meles"}
    assert found.notes == ("datapackage.json: left out, as they are no photos: 1 file",
                           "left out, without a label: 1 photo (the first is media/4.png)")
    assert find_photos(tmp_path / "datapackage.json") == found
    assert data_name(tmp_path / "datapackage.json") == data_name(tmp_path) == tmp_path.name


def test_package_leaves_out_events_of_several_species_and_animals_without_a_name(tmp_path: Path) -> None:
    package(tmp_path, [{"scientificName": "Vulpes vulpes", "eventEnd": "2020-05-01T04:00:10Z"},
                       {"scientificName": "Meles meles", "eventEnd": "2020-05-01T04:00:00Z"}, single("m2"),
                       single("m3", scientificName="Meles meles")])
    found = find_photos(tmp_path)
    assert shown(found.photos) == [("media/1.png", "red_fox"), ("media/3.png", "meles_meles")]
    assert found.notes[1:] == (
        "datapackage.json: left out: 1 photo of animals without a scientificName (the first is media/2.png)",
        "datapackage.json: left out: 1 photo of several classes and without boxes (media/0.png: meles_meles, red_fox)",
        "left out, without a label: 2 photos (the first is media/4.png)")


# Corrections of a trap.


def kept(path: Path, event: str, deployment: str) -> None:
    """A picture as the edge keeps it."""
    now = datetime(2026, 5, 1, 6, 0, tzinfo=UTC)
    box = BBox(0.0, 0.0, 1.0, 1.0)
    sighting = Sighting("end", event, "tiger", "Panthera tigris", "animal", 0.9, now, now, now, "day", 3, box, (64, 48),
                        "clip.mp4", False, True)
    jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(described(jpeg, sighting, Deployment(deployment), "wildlife 1"))


def test_corrections_have_the_trap_as_location_and_the_visit_as_sequence(tmp_path: Path) -> None:
    name = 'oak "7" & Söhne'
    kept(tmp_path / f"leopard/{ID}.jpg", ID, name)
    kept(tmp_path / f"leopard/060000_tiger_{ID}.jpg", ID, "it's")
    draw(tmp_path / f"leopard/{uuid.UUID(int=8)}.png", 1)
    (tmp_path / f"leopard/{uuid.UUID(int=9)}.jpg").mkdir()
    draw(tmp_path / "leopard/1.png", 2)
    found = {photo.path.removeprefix("leopard/"): (photo.location, photo.sequence)
             for photo in find_photos(tmp_path).photos}
    assert found == {f"{ID}.jpg": (name, ID), f"060000_tiger_{ID}.jpg": ("it's", ID), "1.png": ("", ""),
                     f"{uuid.UUID(int=8)}.png": ("", "")}


# What becomes of crops.


def test_crops_are_decoded_stand_on_one_side_and_are_written_with_their_boxes(filed: Path, tmp_path: Path) -> None:
    detected(filed / "boxes.json", {"fox/1.png": [detection([0.1, 0.1, 0.2, 0.2]), detection([0.5, 0.5, 0.2, 0.2])]})
    found = find_photos(filed)
    (tmp_path / "work").mkdir()
    pictures = decode(found.root, found.photos, 32, tmp_path / "work", lambda done: None)
    one, other = pictures.photos[:2]
    assert one.sha256 == other.sha256
    assert (pictures.pixels[0] == boxes.seen((filed / "fox/1.png").read_bytes(), "", 32, one.box)).all()
    assert (pictures.pixels[0] != pictures.pixels[1]).any()
    divided, _ = divide(pictures.photos, 1)
    assert divided[0].split == divided[1].split
    text = split_csv(divided)
    assert text.splitlines()[:3] == [
        "path,label,split,sha256,box", f"fox/1.png,fox,{one.split or divided[0].split},{one.sha256},0.1 0.1 0.2 0.2",
        f"fox/1.png,fox,{divided[0].split},{one.sha256},0.5 0.5 0.2 0.2"]
    # The list is DATA itself where it lies beside the photos, and --split where it does not.
    (filed / "boxes.json").unlink()
    (filed / "split.csv").write_text(text)
    assert shown(find_photos(filed / "split.csv").photos) == shown(divided)
    again, notes = divide([*pictures.photos], 2, filed / "split.csv", filed)
    assert [photo.split for photo in again] == [photo.split for photo in divided]
    assert notes == ()


def test_inspect_counts_and_shows_crops(
    filed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = detected(tmp_path / "md.json", {"fox/1.png": [detection([0.1, 0.1, 0.2, 0.2]), detection([0.5, 0, 0.5, 1])]})
    assert main(["inspect", str(filed), "--detections", str(path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "\nclass    photos    crops infrared       px\nfox           5        2        0      100\n" in said
    assert "note: md.json: 2 crops of 1 photo, cut around what was found by md_v5a.0.0.pt" in said
    found = json.loads((tmp_path / "out/inspect.json").read_text())
    assert {name: row["crops"] for name, row in found["classes"].items()} == {"fox": 2, "none": 0, "people": 0}
    assert found["duplicates"] == []  # Two animals of one photo are not the same picture.
    page = (tmp_path / "out/inspect.html").read_text()
    assert ">crops</th>" in page
    assert "1.png [0.1 0.1 0.2 0.2]" in page


class Shown:
    """A network that only remembers what it was shown."""

    size = 64

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def run(self, picture: np.ndarray) -> np.ndarray:
        self.pictures.append(picture)
        return np.zeros(2, np.float32)


def test_converting_shows_crops_as_training_did(filed: Path, tmp_path: Path) -> None:
    detected(filed / "boxes.json", {"fox/1.png": [detection([0.1, 0.1, 0.2, 0.2]), detection([0.5, 0.5, 0.2, 0.2])]})
    photos = find_photos(filed).photos
    wanted = decode(filed, photos, 64, tmp_path, lambda done: None)
    network = Shown()
    ask([Compared(filed / photo.path, 0, photo.name, photo.box) for photo in photos],
        [network])  # type: ignore[list-item]
    assert (np.stack(network.pictures[::2]) == wanted.pixels[:]).all()  # Every second one is in infrared-grey.


def test_split_of_a_training_names_crops_for_converting(tmp_path: Path) -> None:
    boxed = {}
    for number in range(12):
        for kind, bbox in (("round", [0.1, 0.1, 0.4, 0.4]), ("square", [0.5, 0.5, 0.4, 0.4])):
            path = tmp_path / f"photos/{kind}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(shape(kind, number), (300, 240)))
            boxed[f"{kind}/{number}.png"] = [detection(bbox)]
    detected(tmp_path / "photos/md.json", boxed)
    done = train("fit", "photos", *SMALL[:-1], "0", "--out", "runs/crops", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "md.json: 24 crops of 24 photos" in done.stderr
    bundle = ModelBundle.open(tmp_path / "runs/crops")
    assert "- md.json: 24 crops of 24 photos, cut around what" in (bundle.path / "CARD.md").read_text()
    rows = [*csv.DictReader((bundle.path / "split.csv").read_text().splitlines())]
    assert {(row["label"], row["box"]) for row in rows} == {("round", "0.1 0.1 0.4 0.4"), ("square", "0.5 0.5 0.4 0.4")}

    test = converted(bundle, tmp_path / "photos")["test"]
    assert [photo.name for photo in test] == [f"{row['path']} [{row['box']}]" for row in rows if row["split"] == "test"]
    assert {photo.box for photo in test} == {(0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.4, 0.4)}


@pytest.mark.parametrize("box", ["0 0 2 1", "fox"])
def test_damaged_box_in_a_list_of_photos_is_one_line(tiny_parent: ModelBundle, tmp_path: Path, box: str) -> None:
    text = (tiny_parent.path / "split.csv").read_text().splitlines()
    listed = "\n".join([text[0] + ",box", *(f"{line},{box}" for line in text[1:])])
    bundle = ModelBundle.open(rewritten(tiny_parent.path, tmp_path / "x", split=listed.encode()))
    with pytest.raises(BundleError, match=r"split\.csv: expected a box as 0\.1 .* found .* of .*\.png; train the model "
                                          r"again, or type --no-verify$"):
        converted(bundle, tiny_parent.path.parent.parent / "photos")
