"""On which side of the split each photo stands, and what never stands on two."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import EdgeWatchError, UsageError
from train.photos.data import SPLITS, Photo
from train.photos.duplicates import LENGTH
from train.photos.splits import divide, doubts, split_csv


def photos(**counts: int) -> list[Photo]:
    return [Photo(f"{label}/{number:03}.jpg", label, sha256=f"{label}{number}")
            for label, count in counts.items() for number in range(count)]


def sides(found: list[Photo], seed: int = 1) -> tuple[Photo, ...]:
    return divide(found, seed)[0]


def by(key: str, divided: tuple[Photo, ...]) -> dict[str, set[str | None]]:
    """The sides on which photos of the same `key` stand."""
    found = defaultdict(set)
    for photo in divided:
        found[getattr(photo, key)].add(photo.split)
    return dict(found)


def test_split_is_stratified_seeded_and_complete() -> None:
    drawn, notes = divide(photos(a=20, b=100, c=5), 1)
    assert Counter((photo.label, photo.split) for photo in drawn) == {
        ("a", "train"): 14, ("a", "val"): 3, ("a", "test"): 3,
        ("b", "train"): 70, ("b", "val"): 15, ("b", "test"): 15,
        ("c", "train"): 3, ("c", "val"): 1, ("c", "test"): 1}
    assert notes == ()
    assert drawn == sides(photos(a=20, b=100, c=5))
    assert [photo.split for photo in drawn] != [photo.split for photo in sides(photos(a=20, b=100, c=5), 2)]


def test_split_of_a_photo_does_not_depend_on_other_classes() -> None:
    alone = {photo.path: photo.split for photo in sides(photos(a=20))}
    beside = {photo.path: photo.split for photo in sides(photos(b=30, a=20))}
    assert alone.items() <= beside.items()


def test_copies_stay_on_one_side_also_across_classes() -> None:
    twins = [Photo(f"{'ab'[number % 2]}/{number:03}.jpg", "ab"[number % 2], sha256=str(number // 4))
             for number in range(80)]
    divided, notes = divide(twins, 1)
    assert all(len(found) == 1 for found in by("sha256", divided).values())
    assert Counter((photo.label, photo.split) for photo in divided) == {
        ("a", "train"): 28, ("a", "val"): 6, ("a", "test"): 6, ("b", "train"): 28, ("b", "val"): 6, ("b", "test"): 6}
    assert notes == ("on one side together: 20 groups of copies, near-duplicates or frames of one sequence, 80 photos, "
                     "the largest 4",)


def test_near_duplicates_stay_on_one_side() -> None:
    marks = [bytes(100 if place == number // 3 else 0 for place in range(LENGTH)) for number in range(60)]
    divided = sides([replace(photo, fingerprint=mark) for photo, mark in zip(photos(a=60), marks, strict=True)])
    assert all(len(found) == 1 for found in by("fingerprint", divided).values())
    assert Counter(photo.split for photo in divided) == {"train": 42, "val": 9, "test": 9}


def test_frames_of_one_sequence_stay_on_one_side_but_its_name_counts_per_location_only() -> None:
    frames = [replace(photo, sequence=f"q{number % 10}", location="") for number, photo in enumerate(photos(a=50))]
    assert all(len(found) == 1 for found in by("sequence", sides(frames)).values())
    away = [replace(photo, location=f"s{number}", sequence="1") for number, photo in enumerate(photos(a=40))]
    assert Counter(photo.split for photo in sides(away)) == {"train": 28, "val": 6, "test": 6}


@pytest.mark.parametrize(("location", "gap", "together"), [("", 60, True), ("", 61, False), ("s", 61, True)])
def test_frames_within_a_minute_at_one_place_are_one_burst(location: str, gap: int, together: bool) -> None:
    start = datetime(2020, 5, 31)
    times = [start + timedelta(hours=number // 3, seconds=number % 3 * gap) for number in range(60)]
    divided = sides([replace(photo, location=location and f"{location} {number // 3}", timestamp=time.isoformat())
                     for number, (photo, time) in enumerate(zip(photos(a=60), times, strict=True))])
    assert Counter(photo.split for photo in divided) == {"train": 42, "val": 9, "test": 9}
    bursts = [{photo.split for photo in divided[first : first + 3]} for first in range(0, 60, 3)]
    assert all(len(found) == 1 for found in bursts) == together


def test_locations_stay_whole() -> None:
    frames = [replace(photo, location=f"s{number % 20}") for number, photo in enumerate(photos(a=100, b=60))]
    divided, notes = divide(frames, 1)
    assert all(len(found) == 1 for found in by("location", divided).values())
    assert Counter((photo.label, photo.split) for photo in divided) == {
        ("a", "train"): 70, ("a", "val"): 15, ("a", "test"): 15, ("b", "train"): 42, ("b", "val"): 9, ("b", "test"): 9}
    assert notes == ("divided by location: 20 of 20 stand on one side as a whole",)


def test_a_class_of_one_location_is_divided_by_sequence_and_that_is_said() -> None:
    frames = [replace(photo, location=f"s{number % 20}") for number, photo in enumerate(photos(a=100))]
    bears = [replace(photo, location="s7", sequence=f"q{number // 2}") for number, photo in enumerate(photos(bear=20))]
    divided, notes = divide([*frames, *bears], 1)
    assert all(len(found) == 1 for found in by("location", divided[:100]).values())
    assert all(len(found) == 1 for found in by("sequence", divided[100:]).values())
    assert Counter(photo.split for photo in divided[100:]) == {"train": 16, "val": 2, "test": 2}
    assert notes[:2] == (
        "divided by location: 19 of 20 stand on one side as a whole",
        "too few or too uneven locations for a side each: photos of bear are divided by sequence, so test photos show "
        "places that the model was trained at")
    assert doubts(notes) == (notes[1],)


def test_a_class_that_is_one_sequence_is_trained_on_and_said_not_to_be_measured() -> None:
    frames = [*photos(a=20), *(replace(photo, sequence="q") for photo in photos(bear=9))]
    divided, notes = divide(frames, 1)
    assert {photo.split for photo in divided if photo.label == "bear"} == {"train"}
    assert notes[-1] == ("no photos to measure on of bear (val), bear (test): too few that do not belong together")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.sampled_from(["", *"123456"])), min_size=1),
       st.integers(0, 5))
def test_no_sequence_and_no_copy_ever_stands_on_two_sides(rows: list[tuple[str, int, str]], seed: int) -> None:
    found = [Photo(f"{number}.jpg", label, sha256=f"{number % 40}", location=place, sequence=f"q{burst}")
             for number, (label, burst, place) in enumerate(rows)]
    divided = sides(found, seed)
    assert [replace(photo, split=None) for photo in divided] == found
    assert all(len(sides) == 1 for sides in by("sha256", divided).values())
    joint = defaultdict(set)
    for photo in divided:
        joint[photo.location, photo.sequence].add(photo.split)
    assert all(len(sides) == 1 for sides in joint.values())
    assert {photo.label for photo in found} == {photo.label for photo in divided if photo.split == "train"}


def test_twenty_thousand_photos_are_divided() -> None:
    assert Counter(photo.split for photo in sides(photos(a=15000, b=5000))) == {
        "train": 14000, "val": 3000, "test": 3000}


def test_missing_val_is_drawn_from_train_and_test_is_left_alone() -> None:
    given = [Photo(f"train/a/{n}.jpg", "a", "train", f"t{n}") for n in range(20)]
    given += [Photo(f"test/a/{n}.jpg", "a", "test", f"e{n}") for n in range(9)]
    counts = Counter((photo.path.split("/")[0], photo.split) for photo in sides(given))
    assert counts == {("train", "train"): 17, ("train", "val"): 3, ("test", "test"): 9}


def test_given_sides_are_obeyed_and_leaks_are_said() -> None:
    given = [Photo(f"{side}/a/{n}.jpg", "a", side, f"{n}") for side in SPLITS for n in range(5)]
    divided, notes = divide(given, 1)
    assert list(divided) == given
    assert notes == ("10 val or test photos are in train, too, as a copy, a near-duplicate or a frame of the same "
                     "sequence, so the figures are too good: `train inspect` shows them",)
    assert doubts(notes) == notes


def test_split_csv_has_one_row_per_photo_and_what_is_known() -> None:
    assert split_csv([Photo("a/x, y.jpg", "a", "val", "00ff")]) == 'path,label,split,sha256\n"a/x, y.jpg",a,val,00ff\n'
    rows = [Photo("1.jpg", "a", "val", "00", "s1", "q1"), Photo("2.jpg", "a", "test", "01")]
    assert split_csv(rows) == ("path,label,split,sha256,location,sequence\n1.jpg,a,val,00,s1,q1\n2.jpg,a,test,01,,\n")


def test_a_split_is_used_again(tmp_path: Path) -> None:
    first = sides(photos(a=20, b=20), 1)
    listed = tmp_path / "split.csv"
    listed.write_text(split_csv(first))
    again, notes = divide(photos(a=20, b=20), 2, listed, tmp_path / "wild")
    assert (again, notes) == (first, ())


def test_photos_that_the_list_does_not_name_are_trained_on_unless_they_resemble_a_test_photo(tmp_path: Path) -> None:
    listed = tmp_path / "split.csv"
    first = sides(photos(a=20), 1)
    listed.write_text(split_csv(first).replace("\na/", "\nwild/a/") + "a/gone.jpg,a,test,ff\n")
    held = next(photo for photo in first if photo.split == "test")
    new = [Photo("a/copy.jpg", "a", sha256=held.sha256), Photo("a/new.jpg", "a", sha256="new"),
           Photo("test/a/1.jpg", "a", "test", sha256="kept")]
    again, notes = divide([*photos(a=20), *new], 2, listed, tmp_path / "wild")
    assert again[:20] == first
    assert [photo.split for photo in again[20:]] == [None, "train", "test"]
    assert notes == (
        f"in {listed} but not in {tmp_path / 'wild'}, or left out: a/gone.jpg",
        f"not in {listed}: 2 photos, which keep their side or are trained on, and 1 that are left out, as they "
        f"resemble a val or test photo")


@pytest.mark.parametrize(("text", "message"), [
    ("path,label,split,sha256\na/000.jpg,a,test,a0\na/001.jpg,a,test,ff\n", r"a/001.jpg as it was .* changed \(line 3"),
    ("path,label,split\na/000.jpg,a,dev\n", "train, val or test, found dev in line 2"),
    ("path,label,split\na/000.jpg,a,\n", "train, val or test, found none in line 2"),
    ("path,label,split\nx/000.jpg,a,val\n", "found none of its photos; name the split.csv"),
    ("path,label\na/000.jpg,a\n", "a column `split` in line 1"),
])
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(EdgeWatchError, match=message):
        divide(photos(a=20), 1, tmp_path / "split.csv", tmp_path)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="correct --split"):
        divide(photos(a=20), 1, tmp_path / "split.csv", tmp_path)


def test_a_side_that_is_missing_is_drawn_and_said() -> None:
    given = [Photo(f"{side}/{label}/{number:02}.jpg", label, side, sha256=f"{side}{label}{number}")
             for side, count in (("train", 20), ("test", 5)) for label in ("fox", "owl") for number in range(count)]
    photos, notes = divide(given, seed=1)
    assert [sum(photo.split == side for photo in photos) for side in ("train", "val", "test")] == [34, 6, 10]
    assert notes == ("no photo is marked val: 6 of the training photos are drawn for it",)
