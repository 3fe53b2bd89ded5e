"""Ctrl-C that is never lost: Python may raise KeyboardInterrupt where nothing can hear it."""

from __future__ import annotations

import signal
from typing import Any

_asked = False


def listen() -> None:
    """Take over Ctrl-C, unless it is ignored, as in a job in the background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _ask)


def _ask(*_: Any) -> None:
    global _asked  # noqa: PLW0603 - a signal has nobody else to tell.
    _asked = True
    raise KeyboardInterrupt


def check() -> None:
    """Raise KeyboardInterrupt if one was raised within a destructor or a weak reference's callback, and so got lost."""
    if _asked:
        clear()
        raise KeyboardInterrupt


def clear() -> None:
    """The KeyboardInterrupt has arrived."""
    global _asked  # noqa: PLW0603
    _asked = False
