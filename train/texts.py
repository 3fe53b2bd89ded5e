"""Text and JSON files that a user names on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import EdgeWatchError, UsageError


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


def read_json(path: Path) -> Any:
    """What is in a JSON file.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        EdgeWatchError: it is no JSON.
    """
    text = read_text(path, "a JSON file in UTF-8", "name another")
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise EdgeWatchError(f"{path}: expected JSON, found {f'none ({error})' if text.strip() else 'an empty file'}; "
                             f"write it again or name another file") from error


def objects(path: Path, content: Mapping[str, Any], name: str, needed: Mapping[str, type]) -> list[dict[str, Any]]:
    """The list of objects that a JSON file has under a name.

    Args:
        path: the file, for messages.
        content: what is in it.
        name: of the list.
        needed: the type of each field that an object must have.

    Raises:
        EdgeWatchError: there is no such list, it has something else in it, or a field is missing or of another type.
    """
    found = content.get(name)
    if not isinstance(found, list):
        raise EdgeWatchError(f"{path}: expected a list {name}, found {'none' if found is None else _kind(found)}; "
                             f"write the file again or name another")
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise EdgeWatchError(f"{path}: expected an object in {name}[{place}], found {_kind(entry)}; correct it")
        for field, kind in needed.items():
            if type(entry.get(field)) is not kind:
                raise EdgeWatchError(f"{path}: expected {KINDS[kind]} as {field} in {name}[{place}], found "
                                     f"{_kind(entry[field]) if field in entry else 'none'}; correct it")
    return found


KINDS = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object", bool: "a truth value",
         type(None): "null"}
"""What the types of JSON are called in messages."""


def _kind(value: object) -> str:
    return KINDS[type(value)] + (f" ({value!r})" if isinstance(value, (str, int, float)) else "")
