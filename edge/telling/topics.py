"""The MQTT topics of a trap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from models.errors import UsageError

DEFAULT_PREFIX = "edge-watch"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one trap, `<prefix>/<deployment>/...`.

    Raises:
        UsageError: a prefix that no topic may begin with, or an empty deployment.
    """

    deployment: str
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not self.deployment:
            raise UsageError("a deployment needs a name: give one with --deployment")
        check_prefix(self.prefix)

    @property
    def base(self) -> str:
        # A name may hold what a topic level may not (+ # / and space), so those are percent-encoded.
        return f"{self.prefix}/{quote(self.deployment, safe='')}"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def events(self) -> str:
        return f"{self.base}/events"

    @property
    def health(self) -> str:
        return f"{self.base}/health"

    @property
    def look(self) -> str:
        return self.command("look")

    @property
    def reply(self) -> str:
        return f"{self.base}/reply"

    def command(self, name: str) -> str:
        return f"{self.base}/command/{name}"

    def alert(self, species: str) -> str:
        return f"{self.base}/alert/{species_level(species)}"

    def image(self, species: str) -> str:
        return f"{self.alert(species)}/image"

    def compact(self, species: str) -> str:
        return f"{self.alert(species)}/cbor"


def check_prefix(prefix: str) -> str:
    """Return `prefix` if topics may begin with it; UsageError if not."""
    if not prefix or re.search(r"[+#\x00]|^[/$]|/$", prefix):
        raise UsageError(
            f"expected a topic prefix like {DEFAULT_PREFIX}, no + or # and no / at its ends, got {prefix!r}"
        )
    return prefix


def species_level(species: str) -> str:
    """A species as a topic level: lower case, `[a-z0-9_]`, anything else percent-encoded."""
    return "".join(
        letter if re.fullmatch("[a-z0-9_]", letter) else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in species.lower()
    )
