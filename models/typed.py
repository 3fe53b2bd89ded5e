"""From what JSON gives to dataclasses, with every value checked against its declared type."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def typed(kind: Any, value: Any, name: str = "") -> Any:
    """`value`, as `json.loads` gives it, as a `kind`: dataclasses of objects, tuples of arrays.

    Args:
        kind: a dataclass, `dict[str, X]`, `tuple[X, ...]`, `X | None`, `Literal[...]`, `float` (a finite number), `Any`
            or a class.
        value: what was read.
        name: of the field, for the message.

    Raises:
        ValueError: a value of another type, as `field = value`.
        KeyError: a field that the dataclass does not have.
        TypeError: a field is missing.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(kind)
        return kind(**{key: typed(hints[key], item, key) for key, item in value.items()})  # type: ignore[operator]
    if origin is dict and isinstance(value, dict):
        return {key: typed(inner[1], item, f"{name}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(typed(inner[0], item, f"{name}.{index}") for index, item in enumerate(value))
    if origin is UnionType:
        return None if value is None else typed(inner[0], value, name)
    if origin is Literal:
        fits = value in inner
    elif kind is float:
        fits = type(value) in (int, float) and math.isfinite(value)
    else:
        fits = kind is Any or type(value) is kind
    if not fits:
        raise ValueError(f"{name} = {value!r}"[:120])
    return value


_hints: Callable[[Any], dict[str, Any]] = functools.cache(get_type_hints)
