"""sightings -> alerts: which sightings are told, once each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from edge.types import Alert, Deployment, Sighting


def alerts(
    sightings: Iterable[Sighting],
    targets: Collection[str],
    alert_interval: timedelta,
    deployment: Deployment,
    model: str,
    last: Mapping[str, datetime] | None = None,
) -> Iterator[Alert]:
    """Yield one alert per visit of a target, at its first confirmation.

    Args:
        sightings: in order of time.
        targets: names of the species to tell of.
        alert_interval: a species is not told again this soon after its last alert, measured in event time.
        deployment: the trap.
        model: name and version of the bundle.
        last: per species the `event_start` of its last alert before a restart.
    """
    told = dict(last or {})
    for sighting in sightings:
        if sighting.type != "new" or sighting.species not in targets:
            continue
        before = told.get(sighting.species)
        if before is not None and timedelta(0) <= sighting.event_start - before < alert_interval:
            continue
        told[sighting.species] = sighting.event_start
        yield Alert(sighting, deployment, model)
