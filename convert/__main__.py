"""`python -m convert`, and the command `convert`."""

from __future__ import annotations

from collections.abc import Sequence

from convert import cli
from models.errors import run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 the job failed, 2 wrong usage."""
    return run("convert", cli.main, argv)


if __name__ == "__main__":
    raise SystemExit(main())
