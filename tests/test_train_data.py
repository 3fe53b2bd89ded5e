"""Which photos are found, excluded and put on which side of the split, and how classes are weighed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from models.errors import EdgeWatchError, UsageError
from train.data import Photo, assign_splits, check_classes, find_photos, licences, read_exclude, split_csv


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def photos(**counts: int) -> list[Photo]:
    return [Photo(f"{label}/{number:03}.jpg", label, sha256=f"{label}{number}")
            for label, count in counts.items() for number in range(count)]


def test_class_folders_are_listed_with_pictures_only(tmp_path: Path) -> None:
    touch(tmp_path, "tiger/b.JPG", "tiger/deep/a.png", "deer/c.jpeg", "deer/read me.txt", "deer/.hidden.jpg",
          ".git/x.jpg", "loose.jpg")
    data = find_photos(tmp_path)
    assert [(photo.path, photo.label, photo.split) for photo in data.photos] == [
        ("deer/c.jpeg", "deer", None), ("tiger/b.JPG", "tiger", None), ("tiger/deep/a.png", "tiger", None)]
    assert data.names == ("deer", "tiger")


def test_split_folders_are_used_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "train/tiger/1.jpg", "valid/tiger/2.jpg", "test/deer/3.jpg", "notes/deer/4.jpg")
    assert [(photo.path, photo.split) for photo in find_photos(tmp_path).photos] == [
        ("test/deer/3.jpg", "test"), ("train/tiger/1.jpg", "train"), ("valid/tiger/2.jpg", "val")]


def test_a_circle_of_links_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "tiger/1.jpg")
    (tmp_path / "tiger/again").symlink_to(tmp_path)
    assert [photo.path for photo in find_photos(tmp_path).photos] == ["tiger/1.jpg"]


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
    assert data.notes == (f"excluded: 3 photos, of 4 in {listed}",
                          "fox: all 2 photos are excluded, so it is not a class")


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


def test_split_is_stratified_seeded_and_complete() -> None:
    drawn = assign_splits(photos(a=20, b=100, c=5), 1)
    assert Counter((photo.label, photo.split) for photo in drawn) == {
        ("a", "train"): 14, ("a", "val"): 3, ("a", "test"): 3,
        ("b", "train"): 70, ("b", "val"): 15, ("b", "test"): 15,
        ("c", "train"): 3, ("c", "val"): 1, ("c", "test"): 1}
    assert drawn == assign_splits(photos(a=20, b=100, c=5), 1)
    assert [photo.split for photo in drawn] != [photo.split for photo in assign_splits(photos(a=20, b=100, c=5), 2)]


def test_split_of_a_photo_does_not_depend_on_other_classes() -> None:
    alone = {photo.path: photo.split for photo in assign_splits(photos(a=20), 1)}
    beside = {photo.path: photo.split for photo in assign_splits(photos(b=30, a=20), 1)}
    assert alone.items() <= beside.items()


def test_split_keeps_same_contents_on_one_side() -> None:
    twins = [Photo(f"a/{number:03}.jpg", "a", sha256=str(number // 4)) for number in range(80)]
    sides: dict[str, set[str | None]] = {}
    for photo in assign_splits(twins, 1):
        sides.setdefault(photo.sha256, set()).add(photo.split)
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "val", "test"}


def test_missing_val_is_drawn_from_train_and_test_is_left_alone() -> None:
    given = [Photo(f"train/a/{n}.jpg", "a", "train", f"t{n}") for n in range(20)]
    given += [Photo(f"test/a/{n}.jpg", "a", "test", f"e{n}") for n in range(9)]
    counts = Counter((photo.path.split("/")[0], photo.split) for photo in assign_splits(given, 1))
    assert counts == {("train", "train"): 17, ("train", "val"): 3, ("test", "test"): 9}


def test_split_csv_has_one_row_per_photo() -> None:
    assert split_csv([Photo("a/x, y.jpg", "a", "val", "00ff")]) == 'path,label,split,sha256\n"a/x, y.jpg",a,val,00ff\n'


def test_licences_are_counted_as_the_data_states_them(tmp_path: Path) -> None:
    root = touch(tmp_path / "wild", "a/1.jpg", "a/2.jpg", "a/3.jpg")
    assert licences(find_photos(root)) == {}
    (root / "manifest.csv").write_text("path,licence\nwild/a/1.jpg,CC0\na/2.jpg,CC0\nwild/a/9.jpg,MIT\n")
    assert licences(find_photos(root)) == {"CC0": 2, "not stated": 1}
