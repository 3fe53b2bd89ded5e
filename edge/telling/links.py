"""What a trap talks over, and what that means for how much it says, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.telling.payloads import Link, Pictures


@dataclass(frozen=True, slots=True)
class Talk:
    """How a trap talks over one kind of link.

    `window`: so many bytes are under way at a time, little enough that what is urgent does not wait behind pictures.
    `pictures`: what is sent of an alert's picture before anybody asks. `events`: whether changes of visits are told.
    `health_s`: how often health is told. `keepalive_s`: the longest silence before the connection is checked; mobile
    networks forget a connection that is silent for some minutes, and a satellite's minutes cost money. `confirm_s` and
    `slowest`: what is unconfirmed for this long, and a second for each `slowest` bytes under way, shows that the
    connection is dead. `pauses_s`: the first and the longest wait before connecting again. `subscribers_s`: the longest
    wait before it is tried again whether somebody is subscribed by now.
    """

    window: int
    pictures: Pictures
    events: bool
    health_s: float
    keepalive_s: int
    confirm_s: float
    slowest: float
    pauses_s: tuple[float, float]
    subscribers_s: float


LINKS: Mapping[Link, Talk] = {
    "lan": Talk(512_000, "whole", True, 60, 60, 30, 1000, (1, 60), 300),
    "cell": Talk(64_000, "crop", True, 600, 240, 60, 500, (2, 300), 1800),
    "satellite": Talk(16_000, "nothing", False, 3600, 1200, 180, 50, (10, 900), 7200),
}
