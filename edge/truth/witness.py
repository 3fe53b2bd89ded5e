"""One scene through the daemon's chain, and what came out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from edge.seeing.senses import Senses
from edge.seeing.throttle import Bucket
from edge.settings import Settings
from edge.types import Alert, Frame, Lighting, Named, Sighting
from edge.watch import Classifier, Observer, watch


@dataclass(slots=True)
class Seen:
    """One sighting of a replay; times in seconds from the start of the scene.

    `species`: what it was told as, or, where it was not told, what it was in the end; with its `members` where that is
    a group. `became`: what it was in the end. `at`: when it was first confirmed. `told`: when it became an alert; None
    where it did not. `first`: the probability then. `probability`: the final one. `image`: its picture as the sighting
    carried it, a JPEG.
    """

    id: str
    species: str
    observation_type: str
    lighting: Lighting
    start: float
    at: float
    end: float
    first: float
    probability: float
    frames: int
    told: float | None = None
    members: tuple[str, ...] = ()
    became: str = ""
    image: bytes | None = None

    @property
    def when(self) -> float:
        """When it was told, or else confirmed; where that came when it was over, when it was last seen."""
        return min(self.at if self.told is None else self.told, self.end)

    def may_be(self, species: str) -> bool:
        """Whether it is a sighting of this species, or of a group that it belongs to."""
        return species == self.species or species in self.members


@dataclass(slots=True)
class Replay:
    """What a replay gave: how long it is by the light of its pictures, and its sightings, oldest first.

    `people`: in how many frames a person was recognized. `heard`: every change of a sighting, without
    picture, and when it came.
    """

    seconds: dict[Lighting, float] = field(default_factory=lambda: {"day": 0.0, "night": 0.0})
    frames: int = 0
    people: int = 0
    seen: list[Seen] = field(default_factory=list)
    heard: list[tuple[float, Sighting]] = field(default_factory=list)

    @property
    def length(self) -> float:
        """From the first frame to the last, in seconds."""
        return sum(self.seconds.values())

    @property
    def alerts(self) -> list[Seen]:
        """The sightings that were told."""
        return [each for each in self.seen if each.told is not None]


def replay(
    frames: Iterable[Frame], classifier: Classifier, settings: Settings, observers: Sequence[Observer] = ()
) -> Replay:
    """Run the chain over a scene as the daemon does; nothing is stored, published or remembered.

    Args:
        frames: of the scene, to its end.
        classifier: the model.
        settings: the daemon's, with `species` as the model names them.
        observers: also see what passes.
    """
    witness, senses = _Witness(), Senses(bucket=Bucket(settings.looks_per_second))
    watch(frames, classifier, settings, witness.note, witness.hear, senses=senses, observers=[witness, *observers])
    witness.found.people = senses.people.frames
    return witness.found


class _Witness:
    """Sees what passes through the chain, and writes it down."""

    def __init__(self) -> None:
        self.found = Replay()
        self._start: datetime | None = None
        self._now: datetime | None = None
        self._by_id: dict[str, Seen] = {}

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        for trigger, predictions in named:
            now = trigger.frame.timestamp
            if self._now is not None:
                self.found.seconds[trigger.lighting] += (now - self._now).total_seconds()
            self._start, self._now = self._start or now, now
            self.found.frames += 1
            yield trigger, predictions

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        yield from sightings

    def note(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Write down each change of a visit, before its alert."""
        for sighting in sightings:
            self._note(sighting)
            yield sighting

    def hear(self, alert: Alert) -> None:
        """Write down that a visit was told."""
        assert self._now is not None
        seen = self._by_id[alert.sighting.id]
        seen.told, seen.first = self._at(self._now), alert.sighting.probability

    def _at(self, time: datetime) -> float:
        assert self._start is not None
        return (time - self._start).total_seconds()

    def _note(self, sighting: Sighting) -> None:
        assert self._now is not None
        now, seen = self._at(self._now), self._by_id.get(sighting.id)
        self.found.heard.append((now, dataclasses.replace(sighting, image=None)))
        if seen is None:
            seen = self._by_id[sighting.id] = Seen(
                sighting.id, sighting.species, sighting.observation_type, sighting.lighting,
                self._at(sighting.event_start), now, 0.0, sighting.probability, 0.0, 0,
            )  # fmt: skip
            self.found.seen.append(seen)
        # More looks may make another species of it.
        if seen.told is None:
            seen.species, seen.members = sighting.species, sighting.members
        seen.became, seen.observation_type = sighting.species, sighting.observation_type
        seen.end, seen.frames = self._at(sighting.last_seen), sighting.frames
        seen.probability = sighting.probability
        # People are never in a sighting's picture; nor is a picture taken from a sighting of them.
        if sighting.image is not None and sighting.observation_type != "human":
            seen.image = sighting.image
