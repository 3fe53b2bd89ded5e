"""What the evidence of a track makes of it: a class, a group of look-alikes, an unknown animal, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.deciding.tracks import Track
from models.labels import LabelMap
from models.manifest import LIGHTINGS, OperatingPoint

UNKNOWN = "unknown"
LEAST_SURE = 0.8
"""A visit takes this probability, however low the operating point for one picture is."""
SURE_IN_PLACE = 0.95
"""So much of what has not moved from its place: most animals come from somewhere, and most branches do not."""
SHARED_WEIGHT = 5.0
"""Look-alikes are told apart by looks of so much weight, or they are told as a group."""
SHARES = 0.2
"""A class with less of a group's probability has no share in it."""
UNKNOWN_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a track is taken for; `members` are the classes that share the evidence of a group."""

    species: str
    scientific_name: str
    observation_type: str
    probability: float
    members: tuple[str, ...] = ()


class Judge:
    """Knows the classes, their groups and from which probability on each counts.

    Args:
        labels: the classes of the probabilities.
        points: by class name and lighting, from the bundle's manifest or from a budget of false alarms.
        groups: name of a group -> indexes of its classes, the smallest group first.
    """

    def __init__(
        self,
        labels: LabelMap,
        points: Mapping[str, Mapping[str, OperatingPoint]],
        groups: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._labels, self._groups = labels, groups
        self._least = {
            lighting: np.array([points[label.name][lighting].threshold for label in labels]) for lighting in LIGHTINGS
        }
        self._blank = list(labels.of_type("blank"))
        self._animals = list(labels.of_type("animal"))

    def species(self, track: Track) -> Verdict | None:
        """The class or group that its looks are enough for."""
        if not track.enough:
            return None
        shares, least = track.shares, self._thresholds(track)
        best = int(shares.argmax())
        label = self._labels[best]
        if label.observation_type == "blank":
            return None
        if shares[best] >= least[best]:
            return Verdict(label.name, label.scientific_name, label.observation_type, float(shares[best]))
        if not track.still and track.heard < SHARED_WEIGHT - 1e-9:
            return None
        for group, indexes in self._groups.items():
            members = [index for index in indexes if shares[index] >= SHARES]
            total = float(shares[list(indexes)].sum())
            if best in indexes and len(members) > 1 and total >= max(least[members]):
                return Verdict(group, "", "animal", total, tuple(self._labels[index].name for index in members))
        return None

    def animal(self, track: Track) -> Verdict | None:
        """An unknown animal, if it was one."""
        known = float(track.shares[self._animals].sum())
        if (
            known < (LEAST_SURE if track.moved or track.still else SURE_IN_PLACE)
            or not track.enough
            or track.weight < UNKNOWN_WEIGHT
        ):
            return None
        return Verdict(UNKNOWN, "", "animal", known)

    def relative(self, group: str, species: str) -> bool:
        """Whether a species is one of a group's."""
        return any(self._labels[index].name == species for index in self._groups.get(group, ()))

    def named(self, track: Track) -> dict[str, float]:
        """The probability of each class that is not blank, and of each group, after all looks."""
        found = {
            label.name: float(share)
            for label, share in zip(self._labels, track.shares, strict=True)
            if label.observation_type != "blank"
        }
        return found | {group: float(track.shares[list(indexes)].sum()) for group, indexes in self._groups.items()}

    def _thresholds(self, track: Track) -> NDArray[np.float64]:
        """(classes,) from which probability on each counts; for a still it is that of one picture."""
        least = self._least[track.lighting]
        if track.still:
            return least
        raised: NDArray[np.float64] = np.maximum(least, LEAST_SURE if track.moved else SURE_IN_PLACE)
        return raised
