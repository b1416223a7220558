"""Hashes of files, kept in the database between starts, so that a large model is read once (engine E11)."""
from __future__ import annotations

import time

from studio.db.database import Db
from studio.graph.keys import FileMark


class FileMemo:
    """The `HashMemo` of `graph.keys.FileHashes` in the table `file_hashes`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def __repr__(self) -> str:
        return f"FileMemo({self._db!r})"

    def get(self, path: str) -> FileMark | None:
        """What is known of the file at this path."""
        row = self._db.one("SELECT size, mtime_ns, inode, sha256 FROM file_hashes WHERE path = ?", (path,))
        return FileMark(row["size"], row["mtime_ns"], row["inode"], row["sha256"]) if row else None

    def put(self, path: str, mark: FileMark) -> None:
        """Remember a file."""
        self._db.execute(
            "INSERT INTO file_hashes (path, size, mtime_ns, inode, sha256, checked) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
            "size = excluded.size, mtime_ns = excluded.mtime_ns, "
            "inode = excluded.inode, sha256 = excluded.sha256, checked = excluded.checked",
            (path, mark.size, mark.mtime_ns, mark.inode, mark.sha256, time.time()))
