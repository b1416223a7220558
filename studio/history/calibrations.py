"""What was measured about a model, kept by the hash of its weights: block rankings, localiser results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from studio.db.database import Db
from studio.errors import StudioError


class Calibrations:
    """Rows of the table `calibrations`: (model digest, kind, key) -> JSON values.

    `kind` is what was measured ("map_blocks", "localiser"), `key` under which circumstances ("scenes",
    "colour"). New weights have a new digest, so that nothing measured on others is ever taken for theirs.
    """

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, digest: str, kind: str, key: str, value: Mapping[str, Any]) -> None:
        """Keep a result in place of an earlier one."""
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise StudioError(f"{digest!r} is not the digest of a model.")
        self._db.writable("The calibration")
        text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
        self._db.execute(
            "INSERT INTO calibrations (model_hash, kind, key, json) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (model_hash, kind, key) DO UPDATE SET json = excluded.json",
            (digest, kind, key, text),
        )

    def get(self, digest: str, kind: str, key: str) -> dict[str, Any] | None:
        """A result, or None if this was not measured on these weights."""
        row = self._db.one(
            "SELECT json FROM calibrations WHERE model_hash = ? AND kind = ? AND key = ?", (digest, kind, key)
        )
        return None if row is None else _read(row["json"])

    def any(self, kind: str) -> bool:
        """Whether anything of a kind was measured, on whatever weights."""
        return self._db.one("SELECT 1 FROM calibrations WHERE kind = ? LIMIT 1", (kind,)) is not None

    def all(self, digest: str, kind: str) -> dict[str, dict[str, Any]]:
        """Every result of a kind by key."""
        rows = self._db.rows(
            "SELECT key, json FROM calibrations WHERE model_hash = ? AND kind = ? ORDER BY key",
            (digest, kind),
        )
        found = {str(row["key"]): _read(row["json"]) for row in rows}
        return {key: value for key, value in found.items() if value is not None}


def _read(text: str) -> dict[str, Any] | None:
    """The JSON object of a row; None for a damaged one, which counts as not measured."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
