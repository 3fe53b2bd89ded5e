"""`train inspect`: what is in the photos and what is wrong with them, in words, on a page and as JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.page import write_folder
from train.cli import main
from train.photos.data import DataSet, Photo
from train.photos.find import find_photos
from train.photos.findings import Class, Group
from train.photos.inspection import contact_sheets, histogram
from train.photos.looks import Bin, Broken, Imbalance, Inspection, Look, Spread, examine, look, spread


def draw(*seed: int, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """A picture of coloured blobs, another one for each seed: (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Split folders with every trouble once: damaged, tiny, grey, doubled, nearly so, twice filed and leaked photos."""
    root = tmp_path / "photos"
    for split, label, count in (("train", "deer", 6), ("train", "tiger", 20), ("test", "deer", 3)):
        (root / split / label).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(root / split / label / f"{number}.png"), draw(len(split), len(label), number))
    train, test = root / "train", root / "test"
    grey = cv2.cvtColor(draw(7, width=200, height=60), cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(train / "tiger/0.png"), grey)
    (train / "tiger/1.png").write_bytes(b"\x89PNG no more")
    shutil.copy(train / "tiger/2.png", train / "deer/2.png")
    shutil.copy(train / "deer/3.png", test / "deer/1.png")
    cv2.imwrite(str(test / "deer/2.png"), cv2.resize(cv2.imread(str(train / "deer/4.png")), (120, 90)))
    cv2.imwrite(str(train / "tiger/4.png"), cv2.convertScaleAbs(cv2.imread(str(train / "tiger/3.png")), alpha=0.9))
    return root


def inspected(root: Path) -> Inspection:
    found = find_photos(root)
    return examine(found, look(root, found.photos))


def test_inspect_counts_and_names_all_troubles(data: Path) -> None:
    found = inspected(data)
    assert (found.photos, found.excluded) == (29, 0)
    assert found.classes == {
        "deer": Class(9, {"train": 6, "test": 3}, broken=0, distinct=7, infrared=0, short_side=120, locations=0,
                      sequences=0),
        "tiger": Class(20, {"train": 20}, broken=1, distinct=18, infrared=1, short_side=120, locations=0, sequences=0),
    }
    assert found.imbalance == Imbalance("tiger", "deer", 2.222, 1.221)
    assert found.short_side == Spread(60, 120, 120, [Bin(57, 80, 1), Bin(80, 113, 1), Bin(113, 160, 26)])
    assert found.width == Spread(120, 160, 200, [Bin(113, 160, 1), Bin(160, 226, 27)])
    assert found.height == found.short_side
    assert (found.input, found.enlarged) == (224, 28)
    assert found.shape == Spread(1.333, 1.333, 3.333, [Bin(1.25, 1.5, 27), Bin(1.5, 2.0, 0), Bin(2.0, None, 1)])
    assert (found.infrared, found.infrared_share) == (["train/tiger/0.png"], 0.0357)
    assert found.tiny == ["train/tiger/0.png"]
    assert found.broken == [Broken("train/tiger/1.png", "expected a picture, found data that is none or is damaged; "
                                   "copy it again or delete it")]
    same = Group("same", "", ["test/deer/1.png", "train/deer/3.png"], ["deer"], ["train", "test"])
    near = Group("near", "", ["test/deer/2.png", "train/deer/4.png"], ["deer"], ["train", "test"])
    twice = Group("same", "", ["train/deer/2.png", "train/tiger/2.png"], ["deer", "tiger"], ["train"])
    alike = Group("near", "", ["train/tiger/3.png", "train/tiger/4.png"], ["tiger"], ["train"])
    assert found.duplicates == [same, near, twice, alike]
    assert found.conflicts == [twice]
    assert found.leaks == [same, near]
    assert [(finding.kind, finding.level, finding.text) for finding in found.findings] == [
        ("broken", "problem", "1 photo cannot be read."),
        ("tiny", "problem", "1 photo is smaller than 80 px."),
        ("leaks", "problem", "On more than one side of the split: 2 pictures."),
        ("conflicts", "problem", "deer and tiger share 1 photo."),
        ("no_blank", "hint", "There is no class `empty`."),
        ("duplicates", "hint", "1 photo is the same, or nearly, as another one of the class and split."),
    ]


def test_inspect_writes_a_page_and_the_same_as_json(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in data.rglob("*.png")}
    out = tmp_path / "new" / "found"
    assert main(["inspect", str(data), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{data}: 29 photos of 2 classes, 0 excluded\n")
    assert "\ndeer         9        6        3        0      120\n" in text
    assert ("\n\nimbalance: tiger has 2.2 times as many photos as deer; in training each photo of deer counts 1.2 "
            "times as much (setting `imbalance`)\nshorter side: 60 to 120 px, median 120\n"
            "width: 120 to 200 px, median 160\nheight: 60 to 120 px, median 120\n"
            "shape (width / height): 1.33 to 3.33, median 1.33\n"
            "enlarged: 28 of 28 photos (100%) have a side below 224 px, the network's input\n"
            "infrared-grey: 3.6%\n") in text
    assert "problem: 1 photo cannot be read. train/tiger/1.png: expected a picture, found data that is none" in text
    assert text.endswith(f"\nopen {out}/inspect.html\n")
    assert {file.name for file in out.iterdir()} == {"inspect.html", "inspect.json"}
    page = (out / "inspect.html").read_text(encoding="utf-8")
    # Four charts, one tiny photo, two of each of the four groups, and contact sheets of all 28 that can be read.
    assert page.count("<img") == 4 + 1 + 4 * 2 + 9 + 19
    assert page.count('<span class="mark">infrared-grey</span>') == 2
    assert "deer and tiger share 1 photo." in page
    assert "tiger has 2.2 times as many photos as deer; in training each photo of deer counts 1.2 times" in page
    assert "28 of 28 photos (100%) have a side below 224 px, the network&#x27;s input unless told otherwise" in page
    assert "<a href=#conflicts>Show</a>" in page
    assert "nearly the same: 2 photos; deer; train and test" in page
    assert '<a href="#class-tiger">tiger</a>' in page
    assert '<div id="class-tiger"><h3>tiger: 19 of 20</h3></div>' in page
    assert "http" not in re.sub(r"data:[^\"]*", "", page)
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in data.rglob("*.png")} == before

    assert main(["inspect", str(data), "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"open {out}/inspect.html\n"
    assert printed.out == (out / "inspect.json").read_text(encoding="utf-8")
    content = json.loads(printed.out)
    assert list(content) == [
        "data", "root", "photos", "excluded", "notes", "findings", "classes", "imbalance", "short_side", "width",
        "height", "shape", "input", "enlarged", "infrared_share", "infrared", "tiny", "broken",
        "duplicates", "conflicts", "leaks",
    ]
    assert content["classes"]["tiger"]["splits"] == {"train": 20}


def test_inspect_goes_below_runs_by_default(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "photos"]) == 0
    assert (tmp_path / "runs/inspect-photos/inspect.html").is_file()


def test_inspect_replaces_only_an_earlier_inspection(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    assert main(["inspect", str(data), "--out", str(out)]) == 0
    assert main(["inspect", str(data), "--out", str(out), "--exclude", str(_listed(tmp_path))]) == 0
    assert json.loads((out / "inspect.json").read_text())["excluded"] == 1
    (out / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert main(["inspect", str(data), "--out", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"train: {out}: expected no such folder, or one that holds only inspect.html and inspect.json, found another; "
        f"choose another --out\n")
    assert json.loads((out / "inspect.json").read_text())["excluded"] == 1
    assert main(["inspect", str(data), "--out", str(out / "notes.txt" / "new")]) == 1
    assert "notes.txt is a file; choose another --out" in capsys.readouterr().err


def _listed(folder: Path) -> Path:
    (folder / "bad.txt").write_text("train/tiger/1.png\n")
    return folder / "bad.txt"


def test_a_full_disk_leaves_the_earlier_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "found"
    write_folder(out, {"a": "1", "b": "2"})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Exception, match="found: cannot be written: No space left on device; make room or choose"):
        write_folder(out, {"a": "3", "b": "4"})
    assert [path.name for path in tmp_path.iterdir()] == ["found"]
    assert (out / "a").read_bytes() == b"1"


def test_names_with_spaces_and_bytes_that_are_no_text_are_shown(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(data / "train/deer/0.png", data / "train/deer/ein Reh ä <b>.png")
    (data / "train/deer/\udcff.png").write_bytes(b"")
    assert main(["inspect", str(data), "--out", str(tmp_path / "found")]) == 0
    said = capsys.readouterr().out
    assert "2 photos cannot be read. train/deer/\\udcff.png: expected a picture, found an empty file" in said
    page = (tmp_path / "found/inspect.html").read_text(encoding="utf-8")
    assert "ein Reh ä &lt;b&gt;.png" in page
    assert "<b>" not in page


def test_large_photos_have_their_true_upright_size(tmp_path: Path) -> None:
    (tmp_path / "deer").mkdir()
    _, plain = cv2.imencode(".jpg", draw(1, width=1001, height=603))
    turn = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = plain.tobytes()[:2] + b"\xff\xe1" + (len(turn) + 2).to_bytes(2, "big") + turn + plain.tobytes()[2:]
    (tmp_path / "deer/plain.jpg").write_bytes(plain.tobytes())
    (tmp_path / "deer/turned.jpg").write_bytes(turned)
    photos = find_photos(tmp_path).photos
    assert [(one.width, one.height) for one in look(tmp_path, photos)] == [(1001, 603), (603, 1001)]


def seen(path: str, label: str, **more: object) -> Look:
    """A look at a photo that is like no other."""
    known = Photo(path, label, sha256=path, **more)  # type: ignore[arg-type]
    return Look(known, 320, 240)


def test_sequences_and_locations_on_two_sides_are_leaks() -> None:
    looks = [
        seen("1", "fox", split="train", location="A", sequence="a1"),
        seen("2", "fox", split="test", location="A", sequence="a1"),
        seen("3", "fox", split="train", location="A", sequence="a2"),
        seen("4", "deer", split="train", location="B", sequence="b1"),
        seen("5", "deer", split="train", location="B", sequence="b1"),
        seen("6", "deer", split="test"),
    ]
    found = examine(DataSet(Path("trap"), tuple(one.photo for one in looks)), looks)
    assert found.leaks == [
        Group("sequence", "a1", ["1", "2"], ["fox"], ["train", "test"]),
        Group("location", "A", ["1", "2", "3"], ["fox"], ["train", "test"]),
    ]
    assert found.duplicates == []
    assert found.findings[1].text == "On more than one side of the split: 1 sequence, 1 location."
    assert (found.classes["fox"].locations, found.classes["fox"].sequences) == (1, 2)


def test_inspect_warns_of_few_and_uneven_classes_and_of_light_that_gives_them_away() -> None:
    looks = [seen(f"deer/{number}", "deer") for number in range(16)] + [seen("fox/1", "fox")]
    photos = DataSet(Path("trap"), tuple(one.photo for one in looks))
    texts = {finding.kind: f"{finding.text} {finding.advice}" for finding in examine(photos, looks).findings}
    assert list(texts) == ["few", "uneven", "no_infrared", "no_blank"]
    assert texts["few"].startswith("Fewer than 5 photos of fox (1).")
    assert texts["uneven"].startswith("There are 16.0 times as many photos of deer (16) as of fox (1). `train fit` "
                                      "lets each photo of fox count 2.0 times as much")
    looks[-1] = Look(looks[-1].photo, 320, 240, infrared=True)
    kinds = {finding.kind: finding.text for finding in examine(photos, looks).findings}
    assert kinds["light"] == "Nearly all photos of fox are infrared-grey, but few of the others."
    assert "no_infrared" not in kinds


def test_inspect_names_what_fit_would_refuse(tmp_path: Path) -> None:
    for label in ("deer", "fox"):
        (tmp_path / label).mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"deer/{number}.png"), draw(number))
    texts = [finding.text for finding in inspected(tmp_path).findings if finding.level == "problem"]
    assert texts == ["No photos in the class folders fox.", "There is one class only, deer."]


def test_pictures_that_only_seem_the_same_in_two_classes_are_a_hint(tmp_path: Path) -> None:
    for label, light in (("deer", 1.0), ("fox", 0.9)):
        (tmp_path / label).mkdir()
        for number in range(5):
            cv2.imwrite(str(tmp_path / f"{label}/{number}.png"), draw(len(label), number))
        cv2.imwrite(str(tmp_path / f"{label}/5.png"), cv2.convertScaleAbs(draw(9), alpha=light))
    first = inspected(tmp_path).findings[0]
    assert (first.kind, first.level, first.text) == ("conflicts", "hint", "deer and fox seem to share 1 photo.")


def test_a_file_that_is_too_large_is_said_with_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos/deer").mkdir(parents=True)
    with (tmp_path / "photos/deer/huge.tif").open("wb") as file:
        file.truncate(200_000_000)
    assert main(["inspect", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    assert ("problem: 1 photo cannot be read. deer/huge.tif: expected a picture of at most 64 MB, found 200 MB; shrink "
            "it or leave it out. `train fit` leaves out what it cannot read.\n") in capsys.readouterr().out


def listed(root: Path, rows: list[tuple[str, str]]) -> str:
    """The page of a table of (path, label), whose pictures are drawn: those of one number look the same."""
    for place, (path, _) in enumerate(rows):
        number = int(path.rpartition("-")[2].partition(".")[0]) if "-" in path else 1000 + place
        cv2.imwrite(str(root / path), draw(number))
    (root / "all.csv").write_text("".join(f"{path},{label}\n" for path, label in [("path", "label"), *rows]))
    assert main(["inspect", str(root / "all.csv"), "--out", str(root / "out")]) == 0
    return (root / "out/inspect.html").read_text(encoding="utf-8")


def test_a_picture_in_several_classes_is_shown_in_each_with_its_name(tmp_path: Path) -> None:
    rows = [(f"{letter}-1.png", label) for letter, label in zip("abcdefghi", ["fox"] * 4 + list("vwxyz"), strict=True)]
    shown = listed(tmp_path, rows).partition('<div id="conflicts">')[2].partition("Contact sheets")[0]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", shown)
    assert captions == ["fox: a-<wbr>1.png", "v: e-<wbr>1.png", "w: f-<wbr>1.png", "x: g-<wbr>1.png",
                        "y: h-<wbr>1.png", "z: i-<wbr>1.png"]
    assert "All, with all their photos, are in inspect.json, under conflicts." in shown


def test_many_classes_with_too_few_photos_are_folded_away(tmp_path: Path) -> None:
    rows = [(f"deer{number}.png", "deer") for number in range(5)] + [(f"{n}.png", f"rare_{n}") for n in range(11)]
    shown = listed(tmp_path, rows)
    folded = re.findall(r"<details>(.*?)</details>", shown, re.DOTALL)
    assert len(folded) == 2, "of the table and of the contact sheets"
    for part in folded:
        assert part.startswith("\n<summary>11 classes with fewer than 5 photos, too few to train on</summary>")
        assert all(f"class-rare_{number}" in part for number in range(11))
        assert "class-deer" not in part
    assert shown.count('<div id="class-') == 12
    (tmp_path / "out/inspect.json").unlink()
    (tmp_path / "out/inspect.html").unlink()
    assert "<details>" not in listed(tmp_path, rows[:-1])


def test_photos_of_which_none_can_be_read_still_make_a_page(tmp_path: Path) -> None:
    (tmp_path / "photos/deer").mkdir(parents=True)
    (tmp_path / "photos/deer/1.jpg").write_bytes(b"")
    assert main(["inspect", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    assert "found an empty file" in (tmp_path / "out/inspect.html").read_text(encoding="utf-8")


def test_contact_sheets_are_drawn_evenly_and_the_same_each_time() -> None:
    looks = [seen(f"deer/{number:03}", "deer") for number in range(96)] + [seen("fox/1", "fox")]
    sheets = contact_sheets(looks, 1)
    assert [int(path[-3:]) // 4 for path in sheets["deer"]] == list(range(24))
    assert sheets["fox"] == ["fox/1"]
    assert contact_sheets(reversed(looks), 1) == sheets
    assert contact_sheets(looks, 2)["deer"] != sheets["deer"]
    many = [seen(f"{label}/{number:03}", str(label)) for label in range(60) for number in range(20)]
    assert {len(sheet) for sheet in contact_sheets(many, 1).values()} == {8}


def test_values_are_spread_over_bins() -> None:
    assert spread([], (1, 2)) == Spread(0, 0, 0, [])
    found = spread([5, 10, 19, 40], (10, 20, 30))
    assert found == Spread(5, 10, 40, [Bin(0, 10, 1), Bin(10, 20, 2), Bin(20, 30, 0), Bin(30, None, 1)])
    assert re.findall(r'height="([\d.]+)" fill', histogram(found).decode()) == ["75.0", "150.0", "0.0", "75.0"]


def test_inspecting_loads_neither_tensorflow_nor_matplotlib() -> None:
    code = "import sys, train.photos.inspection; print({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_a_folder_that_is_not_there_is_refused_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "nowhere"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("train: nowhere: expected a folder of photos")
    assert printed.count("\n") == 1


def test_evaluate_refuses_what_is_no_bundle(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "none"), str(data)]) == 1
    assert "expected a model bundle" in capsys.readouterr().err
