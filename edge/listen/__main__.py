"""`python -m edge.listen`."""

from __future__ import annotations

import sys

from edge.listen import main

if __name__ == "__main__":
    sys.exit(main())
