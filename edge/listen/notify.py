"""Notifications (ntfy, Telegram and a hundred others) by Apprise; the only module that knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from edge.listen.answers import LaterError
from edge.listen.services import Item
from models.errors import MissingRuntimeError, UsageError

try:
    import apprise
except ImportError as error:
    raise MissingRuntimeError(
        "expected Apprise for the notifications of --forward, found it not installed; "
        "type, in the checkout: pip install '.[forward]'"
    ) from error

_WITH_PICTURE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Apprise:
    """A line of text to one Apprise URL, with the picture if it has come.

    One URL, so that a service that is away makes no other say everything twice. Apprise does not say why something was
    not taken; in case it was the picture, the third try and those after it go without.
    """

    name: str
    url: str = field(repr=False)
    seconds_between: ClassVar[float] = 0.0
    picture_s: ClassVar[float] = 10.0

    def __post_init__(self) -> None:
        if not apprise.Apprise().add(self.url):
            raise UsageError(f"[{self.name}]: expected a url of Apprise, as ntfys://ntfy.sh/topic, found another")

    def send(self, item: Item) -> None:
        service = apprise.Apprise()
        service.add(self.url)
        picture = item.picture if item.tries < _WITH_PICTURE else None
        if not service.notify(body=_line(item), title=item.title, attach=str(picture) if picture else None):
            raise LaterError("it was not taken; --debug shows what Apprise says, which may name a token")


def _line(item: Item) -> str:
    alert = item.alert
    parts = [f"{alert['event_start']}", f"{100 * float(alert['probability']):.0f} % sure"]
    if isinstance(alert.get("count"), int) and alert["count"] > 1:
        parts.append(f"{alert['count']} at once")
    location = alert.get("location")
    if isinstance(location, dict):
        parts.append(f"{location.get('latitude')}, {location.get('longitude')}")
    return "; ".join(parts)
