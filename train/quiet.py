"""TensorFlow, whose import takes seconds, without what it prints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from models.errors import MissingRuntimeError


def import_tensorflow() -> None:
    """Import TensorFlow without what it prints.

    Raises:
        MissingRuntimeError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        # Its C++ part writes to the terminal before it reads that setting.
        with quiet():
            import keras  # noqa: F401
            import tensorflow
        tensorflow.get_logger().setLevel("ERROR")  # Its Python part has a level of its own.
    except ImportError as error:
        raise MissingRuntimeError(f"expected TensorFlow, found none ({error}); "
                                  f"type, in the checkout: pip install '.[train]'") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what is printed meanwhile from the terminal, also what C++ writes past sys.stdout and sys.stderr."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with open(os.devnull, "wb") as nowhere:
            for number in kept:
                os.dup2(nowhere.fileno(), number)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, terminal in kept.items():
            os.dup2(terminal, number)
            os.close(terminal)
