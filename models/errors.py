"""The error tree, and how every command ends: one line, and exit code 0, 1 or 2."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence


class EdgeWatchError(Exception):
    """The job failed: one line that says what was expected, what was found and what to do."""

    exit_code = 1


class UsageError(EdgeWatchError, ValueError):
    """The command was called with something that cannot be meant (exit code 2)."""

    exit_code = 2


class BundleError(EdgeWatchError, ValueError):
    """A model bundle is missing, damaged or not what it says."""


class GateError(EdgeWatchError):
    """A conversion missed a gate. The only error of several lines: what was missed, by which layers, what to do."""


class UnknownSpeciesError(UsageError):
    """A species that the model does not know."""


class ImageError(EdgeWatchError, ValueError):
    """A picture that cannot be read, or is refused before it is decoded."""


class MissingRuntimeError(EdgeWatchError, ImportError):
    """A library that this command needs is not installed; the message says what to type."""


class CameraError(EdgeWatchError, OSError):
    """A camera or file that gives no frames."""


class StuckCameraError(CameraError):
    """A live camera that gives no new frames however often it is opened again."""


class OutboxError(EdgeWatchError, OSError):
    """Something could not be stored or read: a full disk, a read-only one, a file from a newer version.

    `level`: at which it is to be logged where the program goes on; low for what was said before.
    """

    level = logging.ERROR


def run(program: str, main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's `main`; turn its errors into one line on stderr (missed gates: some more) and an exit code.

    With `--debug` among the arguments the traceback shows.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return main(arguments)
    except EdgeWatchError as error:
        if "--debug" in arguments:
            raise
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
