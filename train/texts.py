"""Text files that a user names on the command line."""

from __future__ import annotations

from pathlib import Path

from models.errors import UsageError


def read_text(path: Path, expected: str, advice: str) -> str:
    """The text of a file in UTF-8, with or without the mark that Excel puts first.

    Args:
        path: the file.
        expected: what it should be, for messages: `a CSV file in UTF-8`.
        advice: what to do if it is not.

    Raises:
        UsageError: there is no such file, it cannot be read, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected {expected}, found {_found(error)}; {advice}") from error


def _found(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, FileNotFoundError):
        return "none"
    return f"one that cannot be read ({error.strerror})" if isinstance(error, OSError) else f"no text ({error})"
