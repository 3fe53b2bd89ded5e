"""A small disk in memory, that a test can fill."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.broker import require


@contextlib.contextmanager
def mounted(disk: Path, megabytes: int) -> Iterator[Path]:
    """Mount a tmpfs of that size at `disk`, which is made; without the right to, as `require` says."""
    require(os.geteuid() == 0, "the right to mount")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
