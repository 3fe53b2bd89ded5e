"""What the settings say of species, against a model's labels: targets, what can be here, and where it may be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.settings import Settings
from edge.types import Deployment, Sighting
from models.errors import UsageError
from models.groups import find_target, groups_of
from models.labels import LabelMap

T = TypeVar("T")


def checked(settings: Settings, labels: LabelMap) -> Settings:
    """The settings with species as the model names them, and its classes in place of groups.

    Groups stay in `species` beside their classes, with those within them: a sighting may be of a group.

    Raises:
        UnknownSpeciesError: the message lists near matches.
        UsageError: rules that contradict each other.
    """
    excluded = _classes(labels, "exclude", settings.exclude)
    targets: dict[str, None] = {}
    for text in settings.species:
        targets |= dict.fromkeys(_left(labels, "species", text, excluded))
    present = settings.present
    if present is not None:
        _classes(labels, "present", present)  # People need not be named, and are not left out.
        present = tuple(dict.fromkeys(name for text in present for name in _left(labels, "present", text, excluded)))
    found = dataclasses.replace(
        settings,
        species=tuple(targets),
        present=present,
        exclude=excluded,
        alert_intervals=_each(labels, settings.alert_intervals),
        hide_location=_hidden(labels, settings.hide_location),
    )
    if not allowed(labels, found)[list(labels.of_type("animal"))].any():
        raise UsageError("exclude: expected an animal to be left, found all of the model's excluded; leave one in")
    return found


def meaning(labels: LabelMap, text: str) -> tuple[str, ...]:
    """The classes and groups that a name stands for: itself, and of a group its classes and the groups within it.

    Raises:
        UnknownSpeciesError: the message lists near matches.
    """
    return tuple(_each(labels, {text: None}))


def allowed(labels: LabelMap, settings: Settings) -> NDArray[np.bool_]:
    """(classes,) whether each class can be here; `settings` are `checked`. All but animals always can."""
    present = None if settings.present is None else {*settings.present, *settings.species}
    return np.array(
        [
            label.observation_type != "animal"
            or (label.name not in settings.exclude and (present is None or label.name in present))
            for label in labels
        ]
    )


def place(settings: Settings, sighting: Sighting) -> Deployment:
    """The trap as it may be told of with a sighting; `settings` are `checked`."""
    latitude, longitude = settings.latitude, settings.longitude
    if latitude is not None and longitude is not None and sighting.species in settings.hide_location:
        degrees = settings.hide_location[sighting.species]
        if degrees is None:
            return Deployment(settings.deployment)
        latitude, longitude = _rounded(latitude, degrees, 90), _rounded(longitude, degrees, 180)
    return Deployment(settings.deployment, latitude, longitude)


def hidden_place(settings: Settings) -> Deployment:
    """The trap as it may be told of with anything at all: as with the species of which least is to be said."""
    rules = settings.hide_location.values()
    latitude, longitude = settings.latitude, settings.longitude
    if latitude is None or longitude is None or None in rules:
        return Deployment(settings.deployment)
    degrees = max((each for each in rules if each is not None), default=None)
    if degrees is None:
        return Deployment(settings.deployment, latitude, longitude)
    return Deployment(settings.deployment, _rounded(latitude, degrees, 90), _rounded(longitude, degrees, 180))


def _rounded(value: float, degrees: float, most: float) -> float:
    return max(-most, min(most, round(round(value / degrees) * degrees, 6)))


def _classes(labels: LabelMap, option: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The classes of names and groups, of which all are animals."""
    found: dict[str, None] = {}
    for text in texts:
        for index in find_target(labels, text)[1]:
            if labels[index].observation_type != "animal":
                raise UsageError(
                    f"{option}: expected animals, found {labels[index].name}; people, vehicles and pictures without an "
                    "animal are always possible: leave it out"
                )
            found[labels.names[index]] = None
    return tuple(found)


def _left(labels: LabelMap, option: str, text: str, excluded: Iterable[str]) -> tuple[str, ...]:
    """What a class or group is without what is excluded: classes, and with a group those that lie in it.

    Raises:
        UsageError: nothing is left, or it is the class of pictures without an animal.
    """
    name, indexes = find_target(labels, text)
    if any(labels[index].observation_type == "blank" for index in indexes):
        raise UsageError(f"--{option}: expected an animal, found {name}, the class of pictures without one")
    left = tuple(labels.names[index] for index in indexes if labels.names[index] not in excluded)
    if not left:
        raise UsageError(f"{option}: expected what can be here, found {name}, which exclude names; leave out one")
    groups = groups_of(labels)
    return (*left, *(group for group, members in groups.items() if name in groups and set(members) <= set(indexes)))


def _each(labels: LabelMap, values: Mapping[str, T]) -> dict[str, T]:
    """A value for each class and group that is named; what a class has of its own goes over its group's."""
    named = {find_target(labels, text): value for text, value in values.items()}
    groups, found = groups_of(labels), dict[str, T]()
    for (name, indexes), value in sorted(named.items(), key=lambda item: -len(item[0][1])):
        within = [group for group, members in groups.items() if name in groups and set(members) <= set(indexes)]
        found |= dict.fromkeys([name, *(labels.names[index] for index in indexes), *within], value)
    return found


def _hidden(labels: LabelMap, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """As `_each`; and a group is told of as the strictest of its members, which it may be.

    Of roundings in degrees that is the coarsest; None, which withholds the place, is stricter than any.
    """
    found = _each(labels, values)
    for group, members in groups_of(labels).items():
        rules = [found[name] for name in (group, *(labels.names[index] for index in members)) if name in found]
        if rules:
            found[group] = None if None in rules else max(degrees for degrees in rules if degrees is not None)
    return found
