"""The start sweep: rows without files are marked, files without rows are adopted from their embedded records.

It repairs what a crash left and rebuilds the history after a damaged database. One bad file never stops it.
"""
from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.db.database import Db
from studio.errors import StudioError
from studio.history.embed import RECORD_FORMAT, RECORD_VERSION, picture_size, read_embedded, read_record
from studio.history.files import UPLOADS, Files
from studio.history.generation import ROLES, NewGeneration, clean, is_id
from studio.history.remove import purge_expired
from studio.history.rows import add_rows

_MAX_SEED = 2**53 - 1
_NOTHING = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class SweepReport:
    """How many files were adopted, missing, found again, removed; temp files removed; files not ours."""

    adopted: int = 0
    missing: int = 0
    found: int = 0
    removed: int = 0
    temp: int = 0
    unknown: int = 0

    @property
    def words(self) -> list[str]:
        """What a person should know, as sentences; empty if there is nothing."""
        said = [
            (self.adopted, "Read back into the history from the files: {}."),
            (self.missing, "The files of {} are missing; make them again from their workflows."),
            (self.found, "The missing files of {} are here again."),
            (self.unknown, "Damaged or not Weft's, and left alone in the images folder: {}."),
        ]
        return [text.format("1 picture" if n == 1 else f"{n} pictures") for n, text in said if n]


def sweep(db: Db, files: Files, adopt_owner: str) -> SweepReport:
    """Bring rows and files into agreement."""
    temp = files.sweep_temp()
    purge_expired(db, files, time.time())
    known = {row["hash"]: bool(row["missing"])
             for row in db.rows("SELECT hash, missing FROM files WHERE kind = 'image'")}
    paths = dict(files.walk())
    lost = [digest for digest, missing in known.items() if digest not in paths and not missing]
    back = [digest for digest, missing in known.items() if digest in paths and missing]
    with db.transaction():
        db.execute_many("UPDATE files SET missing = 1 WHERE hash = ?", [(digest,) for digest in lost])
        db.execute_many("UPDATE files SET missing = 0 WHERE hash = ?", [(digest,) for digest in back])
    counts = {"adopted": 0, "removed": 0, "unknown": 0}
    for digest, path in paths.items():
        if digest not in known:
            try:
                counts[_settle(db, files, digest, path, adopt_owner)] += 1
            except StudioError:
                counts["unknown"] += 1
    _register_uploads(db, files)
    return SweepReport(missing=len(lost), found=len(back), temp=temp, **counts)


def _settle(db: Db, files: Files, digest: str, path: Path, owner: str) -> str:
    """A file without a row: adopted; removed if its picture was deleted; else unknown and left alone."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        return "unknown"
    record = read_record(data)
    if record is None or record.get("format") != RECORD_FORMAT or record.get("version") != RECORD_VERSION:
        return "unknown"
    identity = record.get("generation")
    if not is_id(identity):
        return "unknown"
    row = db.one("SELECT file, deleted FROM generations WHERE id = ?", (str(identity),))
    if row is not None:
        # The rest of a deletion, or of a picture that was written again with other bytes.
        files.remove(digest)
        return "removed"
    try:
        graph = read_embedded(data).graph
    except StudioError:
        graph = ""  # too large to be carried; the picture itself is kept
    new = _from_record(record, owner, graph)
    width, height = picture_size(data)
    with db.transaction():
        add_rows(db, new, digest=digest, size=len(data), width=width, height=height,
                 pixels=_text(record, "pixels", 64))
    return "adopted"


def _from_record(record: Mapping[str, object], owner: str, graph: str) -> NewGeneration:
    """The row of an embedded record; every field is checked, since a file is a stranger's word."""
    created, seed, item, kept = (record.get(name) for name in ("created", "seed", "item", "record"))
    now = time.time()
    return NewGeneration(
        id=_text(record, "generation", 32), owner=owner, pixels=_NOTHING, graph=graph,
        created=min(float(created), now) if isinstance(created,
                                                       (int, float)) and math.isfinite(created) else now,
        record=kept if isinstance(kept, dict) else {},
        node=_text(record, "node", 200), key=_text(record, "key", 128), title=_text(record, "title"),
        prompt=_text(record, "prompt"), negative=_text(record, "negative"), model=_text(record, "model", 500),
        item=_count(item), seed=_count(seed),
        parents=_parents(record.get("parents")))


def _text(record: Mapping[str, object], name: str, limit: int = 100_000) -> str:
    value = record.get(name)
    return clean(value, limit) if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_SEED
    return value if fits and isinstance(value, int) else None


def _parents(value: object) -> list[tuple[str, str]]:
    pairs = value[:100] if isinstance(value, list) else []
    return [(pair[0], pair[1]) for pair in pairs
            if isinstance(pair, list) and len(pair) == 2 and is_id(pair[0]) and pair[1] in ROLES]


def _register_uploads(db: Db, files: Files) -> None:
    known = {row["hash"] for row in db.rows("SELECT hash FROM files WHERE kind = 'upload'")}
    rows = [(digest, f"image/{path.suffix[1:]}", path.stat().st_size, time.time())
            for digest, path in files.walk(UPLOADS) if digest not in known]
    with db.transaction():
        db.execute_many("INSERT OR IGNORE INTO files (hash, kind, mime, bytes, created) "
                        "VALUES (?, 'upload', ?, ?, ?)",
                        rows)
