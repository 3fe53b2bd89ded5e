"""TensorFlow without what it prints."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(debug: bool = False) -> Iterator[None]:
    """Keep what TensorFlow and its C++ libraries print from the terminal, unless `debug`."""
    if debug:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for saved, number in zip(kept, (1, 2), strict=True):
                os.dup2(saved, number)
                os.close(saved)
