"""What the path from frame to alert knows beyond one visit, and health tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.cameras import Camera
from edge.deciding.privacy import People
from edge.seeing.outside import Looks, by_command, open_trigger
from edge.seeing.spots import FILE_NAME, Spots
from edge.seeing.tampering import Guard
from edge.seeing.throttle import Bucket
from edge.settings import Settings
from edge.telling.heard import Snooze
from models.errors import UsageError


@dataclass(slots=True)
class Senses:
    """The same for as long as the path runs.

    `guard`: whether the camera sees what it should. `bucket`: how often the model is asked. `spots`: where things move
    without an animal; it hears of the predictions, and the crops of later frames ask it. `sensor`: whether something
    outside the pictures asks for a look; `looks`: commands that do, None where nobody listens for them. `snooze`: of
    what no alerts are to leave now. `people`: whether a person is there, and in how many frames one was.
    """

    guard: Guard = field(default_factory=Guard)
    bucket: Bucket = field(default_factory=Bucket)
    spots: Spots = field(default_factory=Spots)
    sensor: Callable[[], bool] = lambda: False
    looks: Looks | None = None
    snooze: Snooze = field(default_factory=Snooze)
    people: People = field(default_factory=People)


def open_senses(settings: Settings, camera: Camera) -> Senses:
    """The senses of a camera; those of a replay take nothing over from before, and leave nothing behind.

    Raises:
        UsageError: a sensor that is none, or with a recording.
        EdgeWatchError: the sensor cannot be read.
    """
    senses = Senses(bucket=Bucket(settings.looks_per_second))
    if camera.live:
        senses.spots = Spots(settings.data / FILE_NAME)
    if settings.trigger is not None:
        if not camera.live:
            raise UsageError(f"--trigger: expected a live camera, found the recording {camera.name}; leave it out")
        looks = Looks()
        senses.sensor = open_trigger(settings.trigger, looks)
        if by_command(settings.trigger):
            senses.looks = looks
    return senses
