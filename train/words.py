"""Words for numbers and lists, in messages and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST_LISTED = 10


def counted(n: int, noun: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def some(items: Iterable[str], shown: int = MOST_LISTED) -> str:
    """The first few of a list, and how many more there are."""
    every = list(items)
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more


def listing(parts: Sequence[str], word: str = "and") -> str:
    """`a, b and c`, for a sentence; of many only the first."""
    if len(parts) > MOST_LISTED:
        parts = [*parts[:MOST_LISTED], f"{len(parts) - MOST_LISTED} others"]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
