"""One connection per process behind one re-entrant lock, and SQLite's errors in words."""
from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from studio.db.disk import Disk
from studio.db.lock import FileLock
from studio.errors import StudioError

Value = str | int | float | bytes | None
Parameters = Sequence[Value] | Mapping[str, Value]
BUSY_SECONDS = 5.0

_FULL, _READ_ONLY, _BUSY, _LOCKED, _CORRUPT, _NOT_A_DB, _CANNOT_OPEN, _IO = 13, 8, 5, 6, 11, 26, 14, 10


class Db:
    """The open database of one home. Made by `open_home`; safe to use from every thread of the process.

    `read_only` homes are browsed from a copy in memory: the queue works on, `writable()` says no. `rebuilt`:
    it took the place of a damaged one.
    """

    def __init__(self, connection: sqlite3.Connection, home: Path, *, process: str, disk: Disk | None = None,
                 read_only: bool = False, notices: Iterable[str] = (),
                 locks: Iterable[FileLock] = (), rebuilt: bool = False) -> None:
        self.home = home
        self.process = process
        self.disk = disk or Disk()
        self.read_only = read_only
        self.rebuilt = rebuilt
        self.notices = tuple(notices)
        self._connection = connection
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        self._depth = 0
        self._locks = tuple(locks)
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Db]:
        """All writes inside happen, or none; a block inside another one joins it.

        Waits at most 5 s for others.
        """
        with self._lock:
            if self._depth:
                yield self
                return
            self._execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self
                self._execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth = 0

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one writing statement; the number of rows it changed."""
        with self._lock:
            return self._execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one writing statement for every row of parameters."""
        with self._lock:
            try:
                self._connection.executemany(sql, rows)
            except sqlite3.Error as error:
                raise self._words(error) from error

    def rows(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            try:
                return self._run(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise self._words(error) from error

    def one(self, sql: str, parameters: Parameters = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def writable(self, what: str) -> None:
        """Raise StudioError if the home cannot be written; `what` is what would have been written."""
        if self.read_only:
            raise StudioError(f"{what} cannot be saved: Weft's home is read-only or its disk is full.",
                              hint="Make room or make it writable, or start with --home and another folder.")

    def close(self) -> None:
        """Close the connection and give back the locks; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._connection.close()
            for lock in self._locks:
                lock.release(remove=True)

    def __enter__(self) -> Db:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Db({str(self.home)!r}{', read-only' if self.read_only else ''})"

    def _execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        try:
            return self._run(sql, parameters)
        except sqlite3.Error as error:
            raise self._words(error) from error

    def _run(self, sql: str, parameters: Parameters) -> sqlite3.Cursor:
        if self._closed:
            raise StudioError("The studio is closed.")
        try:
            return self._connection.execute(sql, parameters)
        except UnicodeEncodeError:  # half a surrogate pair: kept and looked for with '?' in its place
            return self._connection.execute(sql, _encodable(parameters))

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _words(self, error: sqlite3.Error) -> Exception:
        return database_error(error, self.disk, self.home)


def _encodable(parameters: Parameters) -> Parameters:
    def clean(value: Value) -> Value:
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    if isinstance(parameters, Mapping):
        return {name: clean(value) for name, value in parameters.items()}
    return [clean(value) for value in parameters]


def database_error(error: sqlite3.Error, disk: Disk, home: Path) -> Exception:
    """The StudioError for trouble of disk and locks; any other error is our bug and comes back as it is."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == _FULL:
        try:
            free = f" {disk.free_bytes(home)} bytes are free."
        except OSError:
            free = ""
        return StudioError(f"The disk is full; nothing was saved.{free}",
                           hint="Clear the cache or delete pictures, or start with --home on another disk.")
    if code == _READ_ONLY:
        return StudioError("The database in Weft's home cannot be written; nothing was saved.",
                           hint="Make studio.db and its folder writable, or choose another --home.")
    if code in (_BUSY, _LOCKED):
        return StudioError(f"The database was busy for {BUSY_SECONDS:.0f} seconds; nothing was saved.",
                           hint="Another program is writing. Try again.")
    if is_damage(error):
        return StudioError("The database in Weft's home is damaged.",
                           hint="Start Weft again: it moves the file aside and rebuilds from the pictures.")
    if code in (_CANNOT_OPEN, _IO):
        return StudioError(f"The database in Weft's home cannot be used: {error}.",
                           hint="Check the disk, or start with --home and another folder.")
    return error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not a database any more."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (_CORRUPT, _NOT_A_DB)
