"""Results of a long evaluation in a file, a line each, so that a stopped one goes on where it stood."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path("runs/eval")
SOURCES = Path(__file__).resolve().parents[1]
# what a result depends on beside its mark: the packages that `evaluate` stands on, and their values
CODE = (
    "blocks",
    "controls",
    "evaluate",
    "layout",
    "models",
    "sampling",
    "scenes",
    "upscaling",
    "pixels.py",
    "values.py",
)


class Kept:
    """The results that a file of `folder` (None = runs/eval below the working directory) holds, named after
    `name`, our own code and `mark`: the text of all else that they depend on, such as weights, settings and
    seed. Those of another mark or of other code lie in another file."""

    def __init__(self, folder: Path | None, name: str, mark: str) -> None:
        digest = hashlib.sha256(f"{mark}\n{code(SOURCES)}".encode()).hexdigest()[:12]
        self.path = (folder or FOLDER) / f"{name}-{digest}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> list[dict[str, Any]]:
        """What was judged before; a last line that a crash cut short does not count."""
        rows = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def add(self, row: dict[str, Any]) -> None:
        """Write one more result."""
        with self.path.open("a") as out:
            out.write(json.dumps(row) + "\n")


def code(sources: Path) -> str:
    """SHA-256 of every source file in `CODE`, with its name."""
    whole = hashlib.sha256()
    for name in CODE:
        place = sources / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            text = file.read_bytes()
            whole.update(f"{file.relative_to(sources).as_posix()} {len(text)}\n".encode() + text)
    return whole.hexdigest()
