"""Labels: what a person may type, and what labels.csv must hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import BundleError, UnknownSpeciesError
from models.labels import Label, LabelMap, scientific_names

NAMES = {"tiger": "Panthera tigris", "polar_bear": "Ursus maritimus", "lion": "Panthera leo"}
LABELS = LabelMap(Label.from_name(name, NAMES) for name in ("empty", "lion", "person", "polar_bear", "tiger", "car"))


def test_label_of_a_folder_knows_its_kind_and_names() -> None:
    assert LABELS[3] == Label("polar_bear", "Polar bear", "Ursus maritimus", "animal")
    assert [label.observation_type for label in LABELS] == ["blank", "animal", "human", "animal", "animal", "vehicle"]
    assert Label.from_name("Background", {}).observation_type == "blank"
    assert Label.from_name("people", {}).observation_type == "human"
    assert LABELS.of_type("animal") == (1, 3, 4)


@pytest.mark.parametrize("typed", ["polar_bear", "Polar Bear", "POLAR-BEAR", " polar bear ", "Ursus maritimus"])
def test_species_is_found_as_people_type_it(typed: str) -> None:
    assert LABELS.find(typed) == 3


@pytest.mark.parametrize(("typed", "near"), [
    ("tigre", "tiger"), ("polarbear", "polar_bear"), ("panthera tigres", "tiger, lion"), ("lions", "lion"),
])
def test_near_matches_are_offered(typed: str, near: str) -> None:
    with pytest.raises(UnknownSpeciesError) as found:
        LABELS.find(typed)
    assert str(found.value) == f"the model does not know {typed!r}; did you mean: {near}?"
    assert found.value.exit_code == 2


@pytest.mark.parametrize("typed", ["xyzzy", "", "  "])
def test_without_near_matches_all_names_are_listed(typed: str) -> None:
    with pytest.raises(UnknownSpeciesError) as found:
        LABELS.find(typed)
    assert str(found.value).endswith("it knows: empty, lion, person, polar_bear, tiger, car")


def test_csv_round_trip() -> None:
    text = LABELS.to_csv()
    assert text.splitlines()[:2] == ["index,name,display_name,scientific_name,observation_type", "0,empty,Empty,,blank"]
    assert LabelMap.from_csv(text) == LABELS
    odd = LabelMap([Label('a,"b"', "Ä", "", "animal")])
    assert LabelMap.from_csv(odd.to_csv()) == odd


@pytest.mark.parametrize("text", [
    "",
    "name,index\ntiger,0\n",
    "index,name,display_name,scientific_name,observation_type\n1,tiger,Tiger,,animal\n",
    "index,name,display_name,scientific_name,observation_type\n0,tiger,Tiger,,monster\n",
    "index,name,display_name,scientific_name,observation_type\n0,tiger,Tiger,,animal\n1,tiger,Tiger,,animal\n",
])
def test_damaged_labels_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(BundleError, match="expected") as found:
        LabelMap.from_csv(text)
    assert "\n" not in str(found.value)


def test_scientific_names_of_the_data_go_over_the_shipped_ones(tmp_path: Path) -> None:
    assert scientific_names()["tiger"] == "Panthera tigris"
    assert scientific_names(tmp_path) == scientific_names()
    rows = "name,scientific_name,note\nTiger,Panthera tigris altaica,x\nyeti,Homo nivalis,\n"
    (tmp_path / "labels.csv").write_text(rows)
    names = scientific_names(tmp_path)
    assert (names["tiger"], names["yeti"], names["lion"]) == ("Panthera tigris altaica", "Homo nivalis", "Panthera leo")
