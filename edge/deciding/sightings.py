"""predictions -> sightings: looks at one animal over time become one visit of one species."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge.deciding.tracks import Track, Tracks
from edge.deciding.verdict import UNKNOWN, Judge, Verdict
from edge.deciding.visits import CERTAIN, Picture, Visit
from edge.types import Candidate, Frame, Named, Sighting
from models.groups import groups_of
from models.labels import LabelMap
from models.manifest import OperatingPoint

REPLAY_NAMESPACE = "6f0e7a52-5d0c-5c1c-9c43-0d7b1c1e5a11"
"""Ids of replayed visits are made from the file and the frame within this namespace."""


@dataclass(frozen=True, slots=True)
class SightingSettings:
    """When looks become a sighting.

    `event_gap`: a visit is over when its species was not seen for this long.
    `same_animal`: looks further apart than this in time are not taken for the same animal.
    `update`: how often a visit that goes on is told as an `update`.
    """

    event_gap: timedelta = timedelta(seconds=60)
    same_animal: timedelta = timedelta(seconds=3)
    update: timedelta = timedelta(seconds=10)


def sightings(
    named: Iterable[Named],
    labels: LabelMap,
    operating_points: Mapping[str, Mapping[str, OperatingPoint]],
    settings: SightingSettings = SightingSettings(),
    resumed: Iterable[Sighting] = (),
    heard: Callable[[Candidate], None] = lambda candidate: None,
) -> Iterator[Sighting]:
    """Yield a sighting whenever it changes: `new`, `update`, `end`.

    A species is seen when what all looks at one animal add up to reaches its operating point for the light. Animals of
    one species that come within the gap are one visit. Where more looks make another species of the only animal of a
    visit, the visit keeps its id, and an `update` tells the other name.

    Args:
        named: one item per frame, in order of time; quiet frames included, or no visit would end.
        labels: the classes of the probabilities.
        operating_points: by class name and lighting, from the bundle's manifest.
        settings: when looks become a sighting.
        resumed: visits of before a restart that may still go on: they keep their ids and are not `new` again.
        heard: takes, for each animal that was followed, how sure the looks were of each species at most.
    """
    visits = _Visits(labels, Judge(labels, operating_points, groups_of(labels)), settings, heard)
    yield from visits.resume(resumed)
    tracks = Tracks(labels, settings.same_animal)
    for trigger, predictions in named:
        now = trigger.frame.timestamp
        for track in tracks.lost(now, all_of_them=trigger.frame.still):
            yield from visits.leave(track)
        yield from visits.end_those_over(now)
        frame = trigger.frame if trigger.keep else None
        for track in tracks.follow(predictions):
            yield from visits.look(track, frame)
        if trigger.frame.still:
            for track in tracks.end():
                yield from visits.leave(track)
    for track in tracks.end():
        yield from visits.leave(track)
    yield from visits.end_all()


class _Visits:
    """The visits that go on, by the name of their species."""

    def __init__(
        self, labels: LabelMap, judge: Judge, settings: SightingSettings, heard: Callable[[Candidate], None]
    ) -> None:
        self._labels, self._judge, self._settings, self._heard = labels, judge, settings, heard
        self._visits: dict[str, Visit] = {}
        self._of: dict[Track, Visit] = {}
        self._pictures: dict[Track, Picture] = {}
        self._highest: dict[Track, dict[str, float]] = {}

    def resume(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Visits of before a restart; of two of one species only the later can go on."""
        for sighting in sorted(sightings, key=lambda sighting: sighting.last_seen):
            if sighting.species in self._visits:
                yield from self._end(self._visits[sighting.species])
            self._visits[sighting.species] = Visit(sighting, sighting.last_seen, animals=sighting.count)

    def end_those_over(self, now: datetime) -> Iterator[Sighting]:
        # Either way: a clock that was set back must not keep visits open until the old time is reached again.
        for visit in [visit for visit in self._visits.values() if visit.gap(now) > self._settings.event_gap]:
            yield from self._end(visit)

    def end_all(self) -> Iterator[Sighting]:
        for visit in list(self._visits.values()):
            yield from self._end(visit)

    def look(self, track: Track, frame: Frame | None) -> Iterator[Sighting]:
        """One more look at an animal; `frame` is None where it must not be kept."""
        if track.enough:
            most = self._highest.get(track, {})
            self._highest[track] = {name: max(most.get(name, 0), now) for name, now in self._judge.named(track).items()}
        if not track.shows:
            return
        visit, verdict = self._of.get(track), self._judge.species(track)
        if verdict is not None and (visit is None or verdict.species != visit.sighting.species):
            yield from self._confirm(track, verdict, frame)
        elif visit is not None:
            yield from self._go_on(visit, track, verdict, frame)
        elif frame is not None and track.evidence.blank < 0.5:
            # It may turn out to be an animal that nobody knows.
            self._pictures.setdefault(track, Picture()).offer(frame, track.box, 1 - track.evidence.blank)

    def leave(self, track: Track) -> Iterator[Sighting]:
        """Nothing more is seen of an animal."""
        if track in self._highest:
            self._heard(Candidate(track.first.timestamp, track.lighting, self._highest.pop(track)))
        visit = self._of.pop(track, None)
        if visit is not None:
            visit.forget(track)
            return
        picture, verdict = self._pictures.pop(track, Picture()), self._judge.animal(track)
        if verdict is None or track.told or self._beside(track):
            return
        visit = self._visits.get(UNKNOWN)
        if visit is None:
            yield from self._begin(track, verdict, picture)
            self._of.pop(track).forget(track)
        else:
            last = max(track.last_seen, visit.sighting.last_seen)
            visit.change(type="update", last_seen=last, event_end=None, frames=visit.sighting.frames + track.looks)

    def _beside(self, track: Track) -> bool:
        """Whether a known animal was there in these seconds, of which this may be a part."""
        since = track.first.timestamp - self._settings.same_animal
        return any(name != UNKNOWN and visit.sighting.last_seen >= since for name, visit in self._visits.items())

    def _confirm(self, track: Track, verdict: Verdict, frame: Frame | None) -> Iterator[Sighting]:
        """An animal is known, or known to be another than was thought."""
        before, there = self._of.get(track), self._visits.get(verdict.species) or self._relative(track, verdict)
        taken = there is not None or (before is not None and before.settled)
        if before is not None and taken and not verdict.members and verdict.probability >= CERTAIN:
            # Another animal has come to where the first one was: a tiger to the deer that it hunts.
            self._of.pop(track).forget(track)
            track.first, track.trail, before = track.latest, track.trail[-1:], None
        if before is not None and (verdict.members or taken):
            # What has a name is not called by that of a group again, and what is settled stays.
            yield from self._go_on(before, track, None, frame)
        elif before is not None:
            del self._visits[before.sighting.species]
            self._visits[verdict.species] = before
            before.change(**dataclasses.asdict(verdict), box=track.box)
            yield from self._go_on(before, track, verdict, frame, tell=True)
        elif there is not None:
            self._of[track] = there
            there.join(track)
            # A group makes nobody surer of the species in it.
            yield from self._go_on(there, track, verdict if verdict.species == there.sighting.species else None, frame)
        else:
            picture = self._pictures.pop(track, Picture())
            if frame is not None:
                picture.offer(frame, track.box, verdict.probability)
            yield from self._begin(track, verdict, picture)

    def _relative(self, track: Track, verdict: Verdict) -> Visit | None:
        """The visit of a known animal of a group that was there in these seconds: of that this is a part."""
        for name, visit in self._visits.items():
            near = visit.gap(track.last_seen) <= self._settings.same_animal
            if near and self._judge.relative(verdict.species, name):
                return visit
        return None

    def _begin(self, track: Track, verdict: Verdict, picture: Picture) -> Iterator[Sighting]:
        first = track.first
        sighting = Sighting(
            type="new",
            id=_replay_id(first.source, first.index, verdict.species) if first.replay else uuid7(),
            **dataclasses.asdict(verdict),
            event_start=first.timestamp,
            last_seen=track.last_seen,
            event_end=None,
            lighting=track.lighting,
            frames=len(track.trail),
            box=track.box,
            frame_size=first.size,
            source=first.source,
            replay=first.replay,
            pictured=picture.image is not None,
            timestamp_issues=first.timestamp_issues,
        )
        visit = Visit(sighting, track.last_seen, picture)
        visit.join(track)
        self._visits[verdict.species] = self._of[track] = visit
        yield dataclasses.replace(sighting, image=picture.image, pictured_at=picture.taken)

    def _go_on(
        self, visit: Visit, track: Track, verdict: Verdict | None, frame: Frame | None, tell: bool = False
    ) -> Iterator[Sighting]:
        """A visit's animal is seen once more; `verdict` is None where that makes nobody surer."""
        now, before = track.last_seen, visit.sighting
        better = verdict is not None and verdict.probability > before.probability
        probability = verdict.probability if verdict is not None and better else before.probability
        if frame is not None:
            visit.picture.offer(frame, track.box, probability)
        visit.change(
            type="update",
            last_seen=now,
            event_end=None,
            frames=before.frames + (now > before.last_seen),
            probability=probability,
            box=track.box if better else before.box,
            members=verdict.members if verdict is not None and better else before.members,
            count=max(before.count, visit.at_once(now)),
            pictured=before.pictured or visit.picture.image is not None,
        )
        if tell or now - visit.told >= self._settings.update:
            visit.told = now
            yield dataclasses.replace(visit.sighting, image=visit.picture.image, pictured_at=visit.picture.taken)

    def _end(self, visit: Visit) -> Iterator[Sighting]:
        """End a visit; one that had ended before a restart and did not go on has been told."""
        del self._visits[visit.sighting.species]
        for track in list(visit.tracks):
            track.told = True
            self._of.pop(track, None)
            visit.forget(track)
        if visit.sighting.event_end is None:
            yield dataclasses.replace(
                visit.sighting,
                type="end",
                event_end=visit.sighting.last_seen,
                image=visit.picture.image,
                pictured_at=visit.picture.taken,
                evidence=tuple(visit.trail),
            )


def _replay_id(source: str, index: int, species: str) -> str:
    """The same for the same file, place in it and species, so that a second replay tells nobody anything new."""
    import uuid  # only when something was seen

    return str(uuid.uuid5(uuid.UUID(REPLAY_NAMESPACE), f"{source}#{index}#{species}"))


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix time in ms, then random bits; sorts by time."""
    import uuid

    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 2 << 62))
