"""sightings -> alerts: which sightings are told, once each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from edge.deciding.rules import place
from edge.options import Hours
from edge.settings import Settings
from edge.types import Alert, Sighting


def alerts(
    sightings: Iterable[Sighting],
    settings: Settings,
    model: str,
    last: Mapping[str, datetime] | None = None,
    alerted: Collection[str] = (),
    snoozed: Callable[[str], bool] = lambda _: False,
) -> Iterator[Alert]:
    """Yield one alert per visit of a target, as soon as all that the settings ask for is fulfilled.

    That is mostly at its first confirmation, and at a later `update`, or even its `end`, where the visit has yet to
    last, or turns out to be of a target only then.

    Args:
        sightings: in order of time.
        settings: the rules, with the species as the model names them (`edge.deciding.rules.checked`).
        model: name and version of the bundle.
        last: per species the `event_start` of its last alert before a restart; a species is not told again within its
            interval, measured in event time.
        alerted: ids of visits that were told before a restart and may go on.
        snoozed: whether somebody does not want to be told of a species now.
    """
    told, done = dict(last or {}), set(alerted)
    for sighting in sightings:
        targets = [name for name in _targets(sighting, settings.species) if not snoozed(name)]
        rested = [name for name in targets if not _recent(sighting, told.get(name), interval(name, settings))]
        if rested and sighting.id not in done and _fulfilled(sighting, settings):
            told |= dict.fromkeys(targets, sighting.event_start)
            done.add(sighting.id)
            yield Alert(sighting, place(settings, sighting), model)
        if sighting.type == "end":
            done.discard(sighting.id)


def active(moment: datetime, hours: Hours | None) -> bool:
    """Whether a time lies in the active hours, from the first to before the second, by its own clock."""
    if hours is None:
        return True
    now, (begin, end) = moment.time(), hours
    return begin <= now < end if begin < end else now >= begin or now < end


def _targets(sighting: Sighting, wanted: Collection[str]) -> list[str]:
    """The targets that a sighting tells of: its species, or those that it may be where several share the evidence."""
    names = [name for name in sighting.members if name in wanted]
    return names or [name for name in (sighting.species,) if name in wanted]


def _fulfilled(sighting: Sighting, settings: Settings) -> bool:
    return (
        sighting.frames >= settings.least_frames
        and sighting.last_seen - sighting.event_start >= settings.least_seconds
        and sighting.count >= settings.least_count
        and active(sighting.last_seen, settings.active_hours)
    )


def interval(name: str, settings: Settings) -> timedelta:
    """In which a target is alerted of once at most."""
    return settings.alert_intervals.get(name, settings.alert_interval)


def _recent(sighting: Sighting, before: datetime | None, interval: timedelta) -> bool:
    return before is not None and timedelta(0) <= sighting.event_start - before < interval
