"""Groups of species in the words of the field, as `big_cat`: for what a model mistakes, and to name many at once."""

from __future__ import annotations

from collections.abc import Mapping

from models.labels import LabelMap, look_up, plain

_GROUPS: Mapping[str, str] = {
    "spotted_cat": "cheetah, jaguar, leopard, leopard_cat, snow_leopard, ocelot, serval",
    "big_cat": "cheetah, cougar, jaguar, leopard, lion, puma, snow_leopard, tiger",
    "felid": "bobcat, caracal, cat, cheetah, cougar, jaguar, leopard, leopard_cat, lion, lynx, ocelot, puma, serval, "
    "snow_leopard, tiger",
    "canid": "coyote, dhole, dog, fox, gray_wolf, grey_wolf, jackal, raccoon_dog, red_fox, wild_dog, wolf",
    "ursid": "bear, black_bear, brown_bear, giant_panda, grizzly_bear, panda, polar_bear, sloth_bear, sun_bear",
    "primate": "ape, baboon, chimpanzee, gorilla, langur, macaque, monkey, orangutan",
    "cervid": "chital, deer, elk, moose, muntjac, red_deer, reindeer, roe_deer, sambar",
    "cattle": "bison, buffalo, cow, gaur, water_buffalo",
    "equid": "donkey, horse, zebra",
    "suid": "boar, pig, warthog, wild_boar",
    "ungulate": "antelope, bison, boar, buffalo, chital, cow, deer, donkey, elk, gaur, gazelle, giraffe, goat, "
    "horse, impala, moose, mousedeer, muntjac, pig, red_deer, reindeer, roe_deer, sambar, sheep, warthog, "
    "water_buffalo, wild_boar, zebra",
    "small_mammal": "badger, hare, hedgehog, marten, mongoose, mouse, porcupine, rabbit, raccoon, rat, skunk, "
    "squirrel, weasel",
    "bird": "bird, chicken, duck, eagle, goose, hawk, owl, peafowl, pheasant, turkey",
    "carnivore": "badger, bear, black_bear, bobcat, brown_bear, caracal, cat, cheetah, cougar, coyote, dhole, dog, "
    "fox, giant_panda, gray_wolf, grey_wolf, grizzly_bear, hyena, jackal, jaguar, leopard, leopard_cat, lion, lynx, "
    "marten, mongoose, ocelot, panda, polar_bear, puma, raccoon, raccoon_dog, red_fox, serval, skunk, sloth_bear, "
    "snow_leopard, sun_bear, tiger, weasel, wild_dog, wolf",
}
"""Group and the names of classes that are in it; a group within another stands before it."""


def groups_of(labels: LabelMap) -> dict[str, tuple[int, ...]]:
    """The groups that a model has, with the indexes of their classes; the smallest first.

    A group of fewer than two of the model's classes is none, and neither is one that has the name of a class.
    """
    classes = {plain(label.name): index for index, label in enumerate(labels) if label.observation_type == "animal"}
    taken = {plain(name) for name in labels.names}
    found = {}
    for group, members in _GROUPS.items():
        indexes = tuple(sorted(classes[name] for name in map(plain, members.split(",")) if name in classes))
        if len(indexes) > 1 and plain(group) not in taken:
            found[group] = indexes
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def display_name(group: str) -> str:
    """`Big cat` for `big_cat`."""
    return group.replace("_", " ").capitalize()


def find_target(labels: LabelMap, text: str) -> tuple[str, tuple[int, ...]]:
    """The class or group that a person means, in any case: its name, and the indexes of its classes.

    Raises:
        UnknownSpeciesError: neither; the message lists near matches.
    """
    groups = groups_of(labels)
    known = labels.known() | {plain(group): group for group in groups}
    more = f"; and the groups {', '.join(groups)}" if groups else ""
    name = look_up(text, known, f"it knows: {', '.join(labels.names)}{more}")
    return name, groups.get(name) or (labels.names.index(name),)
