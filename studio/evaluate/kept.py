"""Results of a long evaluation in a file, a line each, so that a stopped one goes on where it stood."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path("runs/eval")


class Kept:
    """The results that a file of `folder` (None = runs/eval below the working directory) holds, named after
    `name` and `mark`: the text of all that they depend on, such as weights, settings and seed. Those of
    another mark lie in another file."""

    def __init__(self, folder: Path | None, name: str, mark: str) -> None:
        digest = hashlib.sha256(mark.encode()).hexdigest()[:12]
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
