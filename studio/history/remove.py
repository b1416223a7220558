"""Deleting: a tombstone keeps the lineage, texts and record go, the file goes when no row refers to it."""
from __future__ import annotations

from collections.abc import Sequence

from studio.db.database import Db
from studio.db.graphs import forget_graph
from studio.history.files import Files

UNDO_SECONDS = 600.0
_EMPTY = """
UPDATE generations
SET purged = 1, title = '', prompt = '', negative = '', note = '', record = '{}', seed = NULL, model = '',
    file = NULL, graph = NULL, pixels = '', key = '', run = '', node = '', starred = 0
WHERE id = ?
"""


def purge(db: Db, files: Files, identities: Sequence[str]) -> None:
    """Empty the rows of deleted pictures, then remove their files: never a row without its file."""
    removed: set[str] = set()
    with db.transaction():
        for identity in identities:
            row = db.one("SELECT file, graph FROM generations WHERE id = ?", (identity,))
            if row is None:
                continue
            db.execute("DELETE FROM tags WHERE generation = ?", (identity,))
            db.execute(_EMPTY, (identity,))
            if row["file"] and db.execute("DELETE FROM files WHERE hash = ? AND NOT EXISTS "
                                          "(SELECT 1 FROM generations WHERE file = hash)", (row["file"],)):
                removed.add(row["file"])
            forget_graph(db, row["graph"])
    for digest in removed:
        files.remove(digest)


def purge_expired(db: Db, files: Files, now: float) -> int:
    """Purge what was deleted with undo and whose time is over. How many."""
    ids = [row["id"] for row in db.rows(
        "SELECT id FROM generations WHERE deleted IS NOT NULL AND purged = 0 AND deleted <= ?",
        (now - UNDO_SECONDS,))]
    if ids:
        purge(db, files, ids)
    return len(ids)
