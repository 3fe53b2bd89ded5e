"""`python -m edge.telling.schemas`: write the schemas anew, after a change of a type."""

from __future__ import annotations

from pathlib import Path

from edge.telling.schemas import documents

if __name__ == "__main__":
    for name, text in documents().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
        print(f"edge/telling/schemas/{name}")
