"""What a user sees of COCO files, detections and Camtrap DPs that cannot be meant: one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.test_train_inputs import coco, detected, detection, draw, package, single, table, write
from train.cli import main

Content = dict[str, Any]


def refused(data: Path, capsys: pytest.CaptureFixture[str], *more: object, code: int = 1) -> str:
    """The one line that `train inspect` says, after its name."""
    out = data.parent / "out"
    assert main(["inspect", str(data), "--out", str(out), *map(str, more)]) == code
    said = capsys.readouterr().err
    assert not out.exists()
    assert said.startswith("train: ")
    assert said.count("\n") == 1
    return said.removeprefix("train: ").rstrip("\n")


@pytest.mark.parametrize(("text", "message"), [
    ("", "expected JSON, found an empty file; write it again or name another file"),
    ("{'images': []}", "expected JSON, found none (Expecting property name enclosed in double quotes: line 1 column 2 "
     "(char 1)); write it again or name another file"),
    ("[]", "expected COCO Camera Traps (images, annotations, categories), MegaDetector's detections (images, "
     "detection_categories) or a Camtrap DP (resources), found no object; name another file"),
    ('{"predictions": [], "info": 1}', "expected COCO Camera Traps (images, annotations, categories), MegaDetector's "
     "detections (images, detection_categories) or a Camtrap DP (resources), found an object of predictions, info; "
     "name another file"),
])
def test_json_that_is_none_of_the_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert refused(path, capsys) == f"{path}: {message}"


def change(**fields: Any) -> Callable[[Content], None]:
    """Change one entry of a list: `images_0={...}` adds fields to the first image."""

    def apply(content: Content) -> None:
        for place, more in fields.items():
            name, _, index = place.rpartition("_")
            content[name][int(index)] |= more

    return apply


@pytest.mark.parametrize(("changed", "message"), [
    (change(annotations_0={"category_id": 9}, annotations_5={"category_id": 8}),
     "expected each category_id to be an id of its categories, found 2 annotations with another (the first is 9); add "
     "it to the categories or correct it"),
    (change(annotations_1={"category_id": "1"}),
     "expected each category_id to be an id of its categories, found 1 annotation with another (the first is '1', but "
     "has it as a number); write both alike"),
    (change(categories_1={"id": "1"}),
     "expected each category_id to be an id of its categories, found 4 annotations with another (the first is 1, but "
     "has it as a text); write both alike"),
    (change(annotations_3={"image_id": "i9"}),
     "expected each image_id to be an id of its images, found 1 annotation with another (the first is 'i9'); add it to "
     "the images or correct it"),
    (change(annotations_0={"category_id": None}),
     "expected a number or a text as category_id in each of its annotations, found None; correct it"),
    (change(categories_2={"name": " "}), "expected a name for each of its categories, found none for 2; add it"),
    (change(categories_2={"name": 7}), "expected a text as name in categories[2], found a number (7); correct it"),
    (change(images_1={"file_name": None}), "expected a text as file_name in images[1], found null; correct it"),
    (change(annotations_2={"bbox": [300, 20, 110, 40]}, annotations_9={"bbox": [0, 0, 0, 5]}),
     "expected boxes (left, top, width, height in pixels) inside their pictures, found 2 that are not (the first is "
     "[300, 20, 110, 40] of 1.png, 400 x 200 px); correct or remove them"),
    (change(annotations_2={"bbox": ["1", 2, 3, 4]}),
     "expected boxes (left, top, width, height in pixels) inside their pictures, found 1 that are not (the first is "
     "['1', 2, 3, 4] of 1.png, 400 x 200 px); correct or remove them"),
    (lambda content: content.pop("annotations"),
     "expected a list annotations, found none; write the file again or name another"),
    (lambda content: content["images"].append("x.png"), "expected an object in images[7], found a text ('x.png'); "
     "correct it"),
    (lambda content: content.update(images=[], annotations=[]), "expected photos, found none; name another file"),
    (lambda content: content["images"].append(content["images"][0]), "expected each id of images once, found 'i0' "
     "twice; remove one"),
])
def test_coco_that_says_what_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: Callable[[Content], object], message: str
) -> None:
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    changed(content)
    write(path, content)
    assert refused(path, capsys) == f"{path}: {message}"


def test_coco_whose_photos_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = coco(tmp_path)
    for photo in (tmp_path / "images").iterdir():
        photo.unlink()
    assert refused(path, capsys) == (f"{path}: expected its photos in {tmp_path}, found none of 7 there (the first is "
                                     f"0.png); download them, or move the file to them")


def test_coco_without_any_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = coco(tmp_path)
    write(path, json.loads(path.read_text()) | {"annotations": []})
    assert refused(path, capsys) == (
        f"{path}: expected photos that show something known, found none (left out, without a label: 7 photos (the "
        f"first is images/0.png)); label some, or let MegaDetector look at them")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("fox/1", "fox/2", "none/1"):
        draw(tmp_path / f"photos/{name}.png", len(name))
    return tmp_path / "photos"


@pytest.mark.parametrize(("images", "message"), [
    ({}, "expected detections in photos, found no photo; run MegaDetector on {root}, or take the file away"),
    ({"a/1.png": [], "2.png": []}, "expected paths relative to {root}, found none of its 2 photos there (the first is "
     "a/1.png); run MegaDetector on that folder with relative paths, or take the file away"),
    ({"fox": []}, "expected detections in the photos of {root}, found none of their paths (the first is fox); run "
     "MegaDetector on that folder with relative paths, or take the file away"),
    ({"fox/1.png": [detection([0.5, 0, 0.6, 1]), detection([10, 20, 30, 40])]},
     "expected boxes (left, top, width, height as shares 0-1) inside their pictures, found 2 that are not (the first "
     "is [0.5, 0, 0.6, 1] of fox/1.png); correct or remove them"),
    ({"fox/1.png": [detection([0, 0, 1, 1], category="4")]},
     "expected a category of '1', '2', '3' of fox/1.png, found '4'; correct it"),
    ({"fox/1.png": [{"category": 1, "conf": 0.9, "bbox": [0, 0, 1, 1]}]},
     "expected a category of '1', '2', '3' of fox/1.png, found 1; ids are texts: write '1'"),
    ({"fox/1.png": [{"category": "1", "conf": "0.9", "bbox": [0, 0, 1, 1]}]},
     "expected a number as conf of fox/1.png, found '0.9'; correct it"),
    ({"fox/1.png": None}, "expected a list of detections of fox/1.png, or a failure, found neither; run MegaDetector "
     "again"),
])
def test_detections_that_cannot_be(
    photos: Path, capsys: pytest.CaptureFixture[str], images: Any, message: str
) -> None:
    path = detected(photos / "boxes.json", images)
    assert refused(photos, capsys) == f"{path}: {message.format(root=photos)}"


@pytest.mark.parametrize(("more", "message"), [
    ({"detection_categories": {"1": "fox"}}, "expected the detection_categories animal, person, vehicle, found fox; "
     "take the boxes of MegaDetector"),
    ({"detection_categories": []}, "expected the detection_categories animal, person, vehicle, found []; take the "
     "boxes of MegaDetector"),
    ({"info": {"detector_metadata": {"typical_detection_threshold": "0.2"}}},
     "expected a typical_detection_threshold from 0 to 1, found '0.2'; correct it"),
    ({"images": {}}, "expected a list images, found an object; write the file again or name another"),
    ({"images": [{"file": 3}]}, "expected a text as file in images[0], found a number (3); correct it"),
])
def test_files_of_detections_that_cannot_be(
    photos: Path, capsys: pytest.CaptureFixture[str], more: Content, message: str
) -> None:
    path = detected(photos / "boxes.json", {"fox/1.png": []})
    write(path, json.loads(path.read_text()) | more)
    assert refused(photos, capsys) == f"{path}: {message}"


@pytest.mark.parametrize(("text", "code", "message"), [
    ("", 1, "expected JSON, found an empty file; write it again or name another file"),
    ('{"images": []}', 1, "expected MegaDetector's images and detection_categories, found an object of images; name "
     "another file"),
])
def test_a_file_that_is_called_after_megadetector_must_be_its_own(
    photos: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, message: str
) -> None:
    path = photos / "my_MegaDetector_v5.json"
    path.write_text(text)
    assert refused(photos, capsys, code=code) == f"{path}: {message}"


def test_detections_that_are_not_there_or_twice_there(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(photos, capsys, "--detections", "no.json", code=2) == (
        "no.json: expected a JSON file in UTF-8, found none; name another")
    for name in ("a", "b"):
        path = detected(photos / f"{name}.json", {"fox/1.png": []})
    assert refused(photos, capsys, code=2) == (f"{photos}: expected one file of detections, found a.json, b.json; name "
                                               f"one with --detections")
    assert refused(path, capsys, "--detections", "a.json", code=2) == (
        f"--detections a.json: expected none with {path}, which holds detections itself; leave it out")


@pytest.mark.parametrize(("rows", "message"), [
    ([single("m9"), single("m8")], "expected each mediaID of observations to be in media, found 2 rows with another "
     "(the first is m9); add it to media or remove the rows"),
    ([{"deploymentID": "d3"}], "expected each deploymentID of observations to be in deployments, found 1 row with "
     "another (the first is d3); add it to deployments or remove the rows"),
    ([single("m1", scientificName="Meles meles", bboxX="0.5", bboxY="0", bboxWidth="0.6", bboxHeight="1")],
     "expected boxes (bboxX, bboxY, bboxWidth, bboxHeight as shares 0-1) inside their pictures, found 1 that are not "
     "(the first is 0.5, 0, 0.6, 1 of o0); correct or remove them"),
    ([single("m1", scientificName="Meles meles", bboxX="0.5")],
     "expected boxes (bboxX, bboxY, bboxWidth, bboxHeight as shares 0-1) inside their pictures, found 1 that are not "
     "(the first is 0.5, , ,  of o0); correct or remove them"),
    ([{"scientificName": "Meles meles", "eventEnd": "noon"}], "expected times as 2026-05-31T04:15:00Z as eventStart "
     "and eventEnd, found 2020-05-01T04:00:00Z and noon of o0; correct them"),
])
def test_a_package_that_names_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]], message: str
) -> None:
    path = package(tmp_path / "dp", rows)
    assert refused(path.parent, capsys) == f"{path}: {message}"


def test_a_package_without_its_tables_columns_or_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = package(tmp_path / "dp", [single("m1", scientificName="Meles meles")])
    for photo in (tmp_path / "dp/media").iterdir():
        photo.unlink()
    assert refused(path, capsys) == (
        f"{path}: expected its photos in {path.parent}, found none of 6 there (the first is media/0.png); download "
        f"them, and correct filePath in media where it is an address")
    table(path.parent / "observations.csv", [{"observation_id": "o1"}])
    assert refused(path, capsys) == (
        f"{path.parent / 'observations.csv'}: expected the columns of Camtrap DP 1.0, found no observationID; export "
        f"the package in that version")
    (path.parent / "observations.csv").unlink()
    assert refused(path, capsys) == (
        f"{path}: expected the tables deployments, media, observations of a Camtrap DP beside it, found no "
        f"observations.csv; copy all of the package there")
    path.write_text("")
    assert refused(path.parent, capsys) == (
        f"{path}: expected JSON, found an empty file; write it again or name another file")
    path.write_text("[]")
    assert refused(path.parent, capsys) == (
        f"{path}: expected an object as a Camtrap DP has, found none; write it again or name another folder")


def test_a_box_in_a_table_that_is_none(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "all.csv").write_text("path,label,box\nfox/1.png,fox,0.1 0.1 0.2 0.2\nfox/2.png,fox,0 0 2 1\n")
    assert refused(photos / "all.csv", capsys) == (
        f"{photos}/all.csv: expected a box as 0.1 0.25 0.5 0.4 (left, top, width and height as shares of the picture), "
        f"found 0 0 2 1 in line 3; correct it or empty the cell")
    (photos / "all.csv").write_text("path,label,box\nfox/1.png,fox,0 0 1 1\nfox/1.png,owl,0 0 1 1\n")
    assert refused(photos / "all.csv", capsys) == (
        f"{photos}/all.csv: expected one label for each photo, found fox/1.png [0 0 1 1] as fox in line 2 and as owl "
        f"in line 3; keep one of them")
