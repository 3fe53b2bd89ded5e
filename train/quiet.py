"""Importing TensorFlow, which takes seconds, without what it prints."""

from __future__ import annotations

import os

from models.errors import MissingRuntimeError


def import_tensorflow() -> None:
    """Import TensorFlow without what it prints.

    Raises:
        MissingRuntimeError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Its C++ part writes to the terminal before it reads that setting, past sys.stderr.
    terminal = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    except ImportError as error:
        raise MissingRuntimeError(f"expected TensorFlow, found none ({error}); "
                                  f"type, in the checkout: pip install '.[train]'") from error
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
