"""Try out a new .tflite file: in a temporary folder, and in a child process, as a bad one kills who loads it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models.errors import BundleError, EdgeWatchError

SECONDS = 120
"""A network that needs longer for one picture is of no use on a device."""
ADVICE = "type another --quantize, or train a network of other layers"


@contextlib.contextmanager
def scratch(need: int) -> Iterator[Path]:
    """A temporary folder with room for `need` bytes.

    Raises:
        EdgeWatchError: there is no such room, or it is used up by others before the work is done.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="convert-") as folder:
            room = Path(folder) / "room"
            # TensorFlow's own errors on a full disk are no help.
            with room.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, need)
            room.unlink()
            yield Path(folder)
    except OSError as error:
        raise EdgeWatchError(f"{tempfile.gettempdir()}: expected room for {need / 1e6:.1f} MB of temporary files, "
                             f"found: {error.strerror}; make room or set TMPDIR") from error


def try_out(model: Path) -> None:
    """Run `python -m convert.trial MODEL`.

    Raises:
        BundleError: the runtime refuses the file, or dies of it.
    """
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    try:
        child = subprocess.run([sys.executable, "-m", "convert.trial", str(model)], env=environment, timeout=SECONDS,
                               capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{model.name}: expected an answer within {SECONDS} s, found none; "
                          f"train a smaller network") from error
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise BundleError(f"{model.name}: expected the runtime to run it, found that it dies of it ({name}); "
                          f"{ADVICE}")
    if child.returncode:
        said = child.stderr.strip().splitlines() or ["no reason"]
        raise BundleError(f"{model.name}: expected the runtime to run it, found: {said[-1]}; {ADVICE}")


def main(argv: list[str]) -> int:
    """Run the network on a black and a white picture; 0 if it does."""
    import numpy as np

    from models.interpreter import Interpreter

    network = Interpreter(Path(argv[1]))
    for value in (0, 255):
        found = network.run(np.full((network.size, network.size, 3), value, np.uint8))
        if not np.isfinite(found).all():
            raise BundleError(f"{argv[1]}: expected numbers as logits, found {found}; convert the model again")
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv)
    except EdgeWatchError as found:
        # Of "FILE: what was found; what to do" only the middle is of use: the file is a temporary one.
        print(str(found).removeprefix(f"{sys.argv[1]}: ").rpartition(";")[0], file=sys.stderr)
        code = 1
    raise SystemExit(code)
