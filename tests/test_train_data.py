"""Which photos are found, excluded and put on which side of the split, and how classes are weighed."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import EdgeWatchError, UsageError
from train.photos.data import check_classes
from train.photos.find import data_name, find_photos, read_exclude
from train.photos.origin import about, licences

DATA = Path(__file__).parents[1].parent / "shared" / "data"


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def test_class_folders_are_listed_with_pictures_only(tmp_path: Path) -> None:
    touch(tmp_path, "tiger/b.JPG", "tiger/deep/a.png", "deer/c.jpeg", "deer/read me.txt", "deer/.hidden.jpg",
          ".git/x.jpg", "loose.jpg")
    data = find_photos(tmp_path)
    assert [(photo.path, photo.label, photo.split) for photo in data.photos] == [
        ("deer/c.jpeg", "deer", None), ("tiger/b.JPG", "tiger", None), ("tiger/deep/a.png", "tiger", None)]
    assert data.names == ("deer", "tiger")


def test_split_folders_are_used_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "train/tiger/1.jpg", "Valid/tiger/2.jpg", "test/deer/3.jpg", "notes/deer/4.jpg")
    data = find_photos(tmp_path)
    assert [(photo.path, photo.split) for photo in data.photos] == [
        ("Valid/tiger/2.jpg", "val"), ("test/deer/3.jpg", "test"), ("train/tiger/1.jpg", "train")]
    assert data.notes == ("left out, beside train, val and test: notes",)


def test_links_are_read_once_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "else/fox/1.jpg", "photos/tiger/1.jpg")
    root = tmp_path / "photos"
    (root / "tiger/again").symlink_to(root)
    (root / "round").symlink_to(root)
    (root / "ping").symlink_to(root / "pong")
    (root / "pong").symlink_to(root / "ping")
    (root / "fox").symlink_to(tmp_path / "else/fox")
    data = find_photos(root)
    assert [(photo.path, photo.label) for photo in data.photos] == [("fox/1.jpg", "fox"), ("tiger/1.jpg", "tiger")]
    assert data.notes == ("left out: round is a link to a folder with all classes in it",)


def test_circles_within_split_folders_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/fox/1.jpg", "train/hen/2.jpg", "test/fox/3.jpg")
    (tmp_path / "train/loop").symlink_to(".")
    (tmp_path / "train/up").symlink_to("..")
    (tmp_path / "train/across").symlink_to("../test")
    (tmp_path / "test/old").symlink_to("../train/hen")
    data = find_photos(tmp_path)
    assert [(photo.path, photo.label) for photo in data.photos] == [
        ("test/fox/3.jpg", "fox"), ("test/old/2.jpg", "old"), ("train/fox/1.jpg", "fox"), ("train/hen/2.jpg", "hen")]
    assert data.notes == tuple(f"left out: train/{name} is a link to a folder with all classes in it"
                               for name in ("across", "loop", "up"))


def test_results_of_an_earlier_run_in_the_folder_of_photos_are_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "fox/1.jpg", "hen/2.jpg", "runs/inspect-photos/inspect.html", "runs/photos-1/model.keras")
    assert (find_photos(tmp_path).names, find_photos(tmp_path).empty) == (("fox", "hen"), ())
    touch(tmp_path, "runs/3.jpg", "hen/runs/4.jpg")
    assert find_photos(tmp_path).names == ("fox", "hen", "runs")
    (tmp_path / "run").mkdir()
    assert find_photos(tmp_path).empty == ("run",)


def test_pictures_of_other_kinds_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "fox/1.jpg", "fox/2.heic", "fox/3.HEIC", "fox/4.gif", "fox/notes.txt")
    assert find_photos(tmp_path).notes == ("left out: 1 .gif, 2 .heic, which are not read; save them as JPEG or PNG",)


@pytest.mark.parametrize(("text", "listed"), [
    ("tiger/1.jpg\n\n  deer/2.jpg \n", ("tiger/1.jpg", "deer/2.jpg")),
    ("licence,path\nNC,tiger/1.jpg\n,\"deer/a,b.jpg\"\n", ("tiger/1.jpg", "deer/a,b.jpg")),
    ("", ()),
])
def test_exclude_reads_lines_or_a_csv_column(tmp_path: Path, text: str, listed: tuple[str, ...]) -> None:
    (tmp_path / "list").write_text(text)
    assert read_exclude(tmp_path / "list") == listed


def test_exclude_takes_paths_from_data_or_from_the_folder_above(tmp_path: Path) -> None:
    root = touch(tmp_path / "wild", "train/tiger/1.jpg", "train/tiger/2.jpg", "train/fox/3.jpg", "train/fox/4.jpg")
    listed = tmp_path / "list"
    listed.write_text("wild/train/tiger/1.jpg\ntrain/fox/3.jpg\nwild/train/fox/4.jpg\nwild/train/fox/9.jpg\n")
    data = find_photos(root, listed)
    assert [photo.path for photo in data.photos] == ["train/tiger/2.jpg"]
    assert data.excluded == 3
    assert data.notes == (f"excluded: 3 photos, by 3 of the 4 entries of {listed}; these name no photo: "
                          "wild/train/fox/9.jpg",
                          "fox: all 2 photos are excluded, so it is not a class")


def test_exclude_takes_folders_and_classes(tmp_path: Path) -> None:
    root = touch(tmp_path / "wild", *(f"{split}/{name}/{n}.jpg" for split in ("train", "test")
                                      for name in ("fox", "hen", "lion") for n in (1, 2)), "train/lion/old/3.jpg")
    listed = tmp_path / "list"
    listed.write_text("wild/train/fox/\ntrain/lion/old\nhen\ntest/lion/1.jpg\nnowhere\n")
    data = find_photos(root, listed)
    assert [photo.path for photo in data.photos] == [
        "test/fox/1.jpg", "test/fox/2.jpg", "test/lion/2.jpg", "train/lion/1.jpg", "train/lion/2.jpg"]
    assert data.notes == (f"excluded: 8 photos, by 4 of the 5 entries of {listed}; these name no photo: nowhere",
                          "excluded by folder or class: 4 of hen, 2 of wild/train/fox",
                          "hen: all 4 photos are excluded, so it is not a class")


def test_exclude_that_names_no_photo_is_refused(tmp_path: Path) -> None:
    root = touch(tmp_path / "wild", "tiger/1.jpg")
    (tmp_path / "list").write_text("lion/1.jpg\n")
    with pytest.raises(EdgeWatchError, match="none of its photos"):
        find_photos(root, tmp_path / "list")


def test_no_folder_and_no_class_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        find_photos(tmp_path / "nowhere")
    touch(tmp_path, "loose.jpg")
    with pytest.raises(EdgeWatchError, match="found no photos in such folders"):
        find_photos(tmp_path)


def test_classes_need_five_photos_and_some_to_train_on(tmp_path: Path) -> None:
    few = touch(tmp_path / "few", *(f"a/{n}.jpg" for n in range(5)), *(f"b/{n}.jpg" for n in range(4)))
    with pytest.raises(EdgeWatchError, match=r"found fewer of b \(4\)"):
        check_classes(find_photos(few))
    untrained = touch(tmp_path / "untrained", *(f"train/a/{n}.jpg" for n in range(5)), "train/c/0.jpg",
                      *(f"train/c/{n}.jpg" for n in range(5)), *(f"test/b/{n}.jpg" for n in range(5)))
    with pytest.raises(EdgeWatchError, match="each class in train, found none of b"):
        check_classes(find_photos(untrained))


def test_an_empty_class_and_a_single_one_are_refused(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"fox/{n}.jpg" for n in range(5)))
    with pytest.raises(EdgeWatchError, match=r"at least 2 classes, found 1 \(fox\)"):
        check_classes(find_photos(root))
    (root / "hare/deep").mkdir(parents=True)
    (root / "hare/deep/notes.txt").write_text("no picture")
    assert find_photos(root).empty == ("hare",)
    with pytest.raises(EdgeWatchError, match="in each class folder, found none in hare; add photos"):
        check_classes(find_photos(root))


def test_table_is_read_with_any_common_names(tmp_path: Path) -> None:
    root = touch(tmp_path / "wild", "a/1.jpg", "a/2.jpg", "b/3 é.jpg")
    (root / "all.csv").write_bytes("\ufeffSpecies;FilePath ;Split;Station;seq_id;TimeStamp\r\n"
                                   "fox;a/1.jpg;VALID;s1;q1;2016:02:20 08:13:15\r\n\r\n"
                                   "hen;b\\3 é.jpg;Train;;;2020-05-31T04:15:00Z\r\n"
                                   "fox;wild/a/2.jpg;;s2;;2020-05-31\r\n".encode())
    data = find_photos(root / "all.csv")
    assert (data.root, data.table, data_name(root / "all.csv")) == (root, root / "all.csv", "all")
    assert [(p.path, p.label, p.split, p.location, p.sequence, p.timestamp) for p in data.photos] == [
        ("a/1.jpg", "fox", "val", "s1", "q1", "2016-02-20T08:13:15"), ("a/2.jpg", "fox", None, "s2", "", ""),
        ("b/3 é.jpg", "hen", "train", "", "", "2020-05-31T04:15:00")]
    assert data.notes == ("all.csv: 1 timestamps are no time as 2026-05-31T04:15:00 (line 5), so they are not used",)


def test_table_may_name_photos_elsewhere_and_missing_ones(tmp_path: Path) -> None:
    touch(tmp_path, "else/1.jpg", "lists/2.jpg")
    table = tmp_path / "lists/all.csv"
    table.write_text(f"path,label\n{tmp_path}/else/1.jpg,fox\n../else/1.jpg,fox\n2.jpg,hen\n2.jpg,hen\n9.jpg,hen\n")
    data = find_photos(table)
    assert [photo.path for photo in data.photos] == ["../else/1.jpg", f"{tmp_path}/else/1.jpg", "2.jpg", "9.jpg"]
    assert data.notes == ("all.csv lists 1 photos twice; each counts once",)


@pytest.mark.parametrize(("text", "message"), [
    ("path,kind\n1.jpg,fox\n", r"a column `label` \(or `class`, `species`\) in line 1, found path, kind; add it"),
    ("name,label\n1.jpg,fox\n", r"a column `path` \(or `filepath`, `filename`, `file`\) in line 1"),
    ("", r"in line 1, found an empty file"),
    ("path,label\n1.jpg,fox\n2.jpg,\n3.jpg, \n", r"a label in each line, found none in line 3, 4; fill it in"),
    ("path,label\n,fox\n", r"a photo's path in line 2, found none"),
    ("path,label,split\n1.jpg,fox,train\n2.jpg,fox,tset\n", r"train, val, test or empty, found tset in line 3"),
    ("path,label\n1.jpg,fox\n1.jpg,hen\n", r"found 1.jpg as fox in line 2 and as hen in line 3; keep one"),
    ("path,label\n8.jpg,fox\n9.jpg,hen\n", r"found none of its 2 photos there \(the first is 8.jpg\)"),
    ("path,label\n", r"expected a photo in each line below the header, found no such line; add"),
])
def test_table_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "all.csv").write_text(text)
    with pytest.raises(EdgeWatchError, match=message):
        find_photos(tmp_path / "all.csv")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match="expected a CSV file in UTF-8"):
        find_photos(tmp_path / "photo.jpg")


def test_a_split_that_divides_nothing_is_not_used(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "all.csv").write_text("path,label,split\n1.jpg,fox,dev\n2.jpg,hen,dev\n")
    data = find_photos(tmp_path / "all.csv")
    assert [photo.split for photo in data.photos] == [None, None]
    assert data.notes == ("all.csv: the split is dev for every photo, which divides nothing, so a new one is drawn",)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared photos")
@pytest.mark.parametrize(("table", "photos", "classes", "first"), [
    ("bigcats_view.csv", 722, 5, "wildlife/test/cheetah/"), ("wildlife/manifest.csv", 2161, 20, "test/ape/"),
    ("cameratrap/labels.csv", 423, 87, "frames/"),
])
def test_real_tables_are_read_as_they_are(table: str, photos: int, classes: int, first: str) -> None:
    data = find_photos(DATA / table)
    assert (len(data.photos), len(data.names)) == (photos, classes)
    assert data.photos[0].path.startswith(first)
    assert all((data.root / photo.path).is_file() for photo in data.photos)


def test_description_is_read_with_any_mark_and_is_empty_without_one(tmp_path: Path) -> None:
    data = find_photos(touch(tmp_path, "a/1.jpg"))
    assert about(data) == ""
    (tmp_path / "ABOUT.md").write_bytes("\ufeffVon Häsen.".encode())
    assert about(data) == "Von Häsen."


def test_licences_are_counted_as_the_data_states_them(tmp_path: Path) -> None:
    root = touch(tmp_path / "wild", "a/1.jpg", "a/2.jpg", "a/3.jpg")
    assert licences(find_photos(root)) == {}
    (root / "manifest.csv").write_text("path,licence\nwild/a/1.jpg,CC0\na/2.jpg,CC0\nwild/a/9.jpg,MIT\n")
    assert licences(find_photos(root)) == {"CC0": 2, "not stated": 1}


def test_licences_come_from_the_table_that_is_data(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "all.csv").write_text("path,label,license\n1.jpg,fox,CC0\n2.jpg,hen,\n")
    (tmp_path / "manifest.csv").write_text("name,version\nx,1\n")
    assert licences(find_photos(tmp_path / "all.csv")) == {"CC0": 1, "not stated": 1}
