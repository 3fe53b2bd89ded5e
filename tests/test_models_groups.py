"""Groups of species: which a model has, and what people call them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.bundle import ModelBundle, default_bundle
from models.errors import UnknownSpeciesError
from models.groups import display_name, find_target, groups_of
from models.labels import Label, LabelMap


def labels(*names: str) -> LabelMap:
    return LabelMap(Label.from_name(name, {"tiger": "Panthera tigris"}) for name in names)


def test_published_model_has_its_groups_the_smaller_first() -> None:
    known = ModelBundle.open(default_bundle()).labels
    assert {name: [known.names[index] for index in members] for name, members in groups_of(known).items()} == {
        "canid": ["fox", "wolf"],
        "ursid": ["bear", "polar_bear"],
        "primate": ["ape", "monkey"],
        "small_mammal": ["rabbit", "raccoon"],
        "spotted_cat": ["cheetah", "jaguar", "leopard"],
        "ungulate": ["bison", "deer", "pig", "zebra"],
        "big_cat": ["cheetah", "jaguar", "leopard", "lion", "tiger"],
        "felid": ["cheetah", "jaguar", "leopard", "lion", "tiger"],
        "carnivore": ["bear", "cheetah", "fox", "jaguar", "leopard", "lion", "polar_bear", "raccoon", "tiger", "wolf"],
    }
    sizes = [len(members) for members in groups_of(known).values()]
    assert sizes == sorted(sizes)


def test_readme_names_every_group_of_the_published_model() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    said = readme.partition("The groups of the published model are")[2].partition(";")[0]
    known = groups_of(ModelBundle.open(default_bundle()).labels)
    assert set(re.findall(r"`(\w+)`", said)) == known.keys()


def test_group_needs_two_animals_and_a_name_of_its_own() -> None:
    assert groups_of(labels("tiger", "deer", "empty")) == {}
    assert groups_of(labels("Snow-Leopard", "tiger", "felid")) == {"big_cat": (0, 1), "carnivore": (0, 1)}
    assert groups_of(LabelMap([*labels("tiger"), Label("lion", "Lion", "", "human")])) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tiger", ("tiger", (1,))),
        ("panthera TIGRIS", ("tiger", (1,))),
        ("Big cat", ("big_cat", (1, 2))),
        ("big-cat", ("big_cat", (1, 2))),
        ("person", ("person", (3,))),
    ],
)
def test_target_is_a_class_or_a_group(text: str, found: tuple[str, tuple[int, ...]]) -> None:
    assert find_target(labels("empty", "tiger", "lion", "person"), text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tigr", "the model does not know 'tigr'; did you mean: tiger?"),
        ("bigcats", "the model does not know 'bigcats'; did you mean: big_cat?"),
        (
            "xylophone",
            "the model does not know 'xylophone'; it knows: tiger, lion; and the groups big_cat, felid, carnivore",
        ),
        ("ursid", "the model does not know 'ursid'; it knows: tiger, lion; and the groups big_cat, felid, carnivore"),
    ],
)
def test_unknown_target_is_named_with_what_is_near(text: str, said: str) -> None:
    with pytest.raises(UnknownSpeciesError) as error:
        find_target(labels("tiger", "lion"), text)
    assert str(error.value) == said


def test_display_name() -> None:
    assert display_name("big_cat") == "Big cat"
