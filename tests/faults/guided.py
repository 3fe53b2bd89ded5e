"""Junk that is led by what it reaches: atheris over what reads settings, commands, broker URLs and names.

python -m tests.faults.guided [--inputs N]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

SEEDS = (
    b'\0species = ["tiger"]\nevent_gap = 60\nmasks = [[0, 0, 1, 0.1]]\nactive_hours = "18:00-06:00"',
    b'\0max_false_alarms = "1/week"\nalert_intervals = {tiger = 60}\nhide_location = ["tiger=0.1"]',
    b"\1mqtts://example.org:8883",
    b"\2Red fox/+/#",
    b'\x03{"id": "a", "issued": "2026-05-01T06:15:30Z", "alert": "b", "part": "image", "size": 1}',
    b'\x1b{"id": "a", "issued": "2026-05-01T06:15:30Z", "species": "", "minutes": 1.5}',
)
"""What it begins with: the first byte says who reads the rest."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.guided", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed here (pip install '.[fuzz]'): no guided junk")
        return 0
    import atheris

    with atheris.instrument_imports(include=["edge", "models"]):
        from edge.settings import read_settings
        from edge.telling.broker import Broker
        from edge.telling.commands import COMMANDS, MalformedCommandError, read_command
        from edge.telling.topics import Topics
        from models.errors import UsageError

    names = sorted(COMMANDS)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        file = Path(folder) / "settings.toml"

        def one(data: bytes) -> None:
            kind, rest = data[:1] or b"\0", data[1:]
            text = rest.decode("utf-8", "replace")
            with contextlib.suppress(UsageError, MalformedCommandError):
                if kind[0] % 4 == 0:
                    file.write_bytes(rest)
                    read_settings(file, {})
                elif kind[0] % 4 == 1:
                    Broker.parse(text)
                elif kind[0] % 4 == 2:
                    Topics(text).alert(text)
                else:
                    read_command(names[kind[0] // 4 % len(names)], rest)

        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for number, seed in enumerate(SEEDS):
            (seeds / str(number)).write_bytes(seed)
        # The end of this is the end of the process: whoever starts it looks at its exit code.
        os.chdir(folder)
        atheris.Setup(
            [sys.argv[0], f"-runs={options.inputs}", "-seed=7", "-verbosity=0", "-print_final_stats=1", str(seeds)], one
        )
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
