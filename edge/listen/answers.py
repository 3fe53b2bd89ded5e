"""What a service may answer besides that it has taken an alert."""

from __future__ import annotations


class HopelessError(Exception):
    """What a service will never take; the text says why. `asked`: the service itself said so."""

    def __init__(self, why: str, *, asked: bool = True) -> None:
        super().__init__(why)
        self.asked = asked


class LaterError(Exception):
    """What a service did not take now. `after_s`: how long it asks to be left alone."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s
