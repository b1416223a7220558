"""Backups, and what happens to a damaged database: moved aside under a dated name, never deleted.

What comes back: stars, tags and queue from the newest sound backup, pictures from the records inside our PNGs
(the history's start sweep reads them).
"""
from __future__ import annotations

import errno
import shutil
import sqlite3
import time
from pathlib import Path
from typing import IO

from studio.db.disk import Disk, write_with

BACKUPS = "backups"
KEEP = 3


def quick_check(connection: sqlite3.Connection) -> str:
    """Empty if the database is sound, else SQLite's first complaint."""
    try:
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # complaints may quote damaged bytes
        return str(error)
    return "" if verdict == "ok" else verdict


def back_up(connection: sqlite3.Connection, home: Path, disk: Disk, reason: str) -> Path:
    """A whole copy in `home`/backups; only the newest few are kept. StudioError if there is no room."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = _unused(home / BACKUPS / f"studio-{stamp}-{reason}.db")

    def fill(handle: IO[bytes]) -> None:
        copy = sqlite3.connect(handle.name)
        try:
            connection.backup(copy)
        except sqlite3.OperationalError as error:
            raise OSError(errno.ENOSPC, str(error)) from error
        finally:
            copy.close()

    write_with(disk, target, fill)
    for old in _backups(home)[KEEP:]:
        disk.remove(old)
    return target


def newest_backup_age(home: Path) -> float:
    """Seconds since the newest backup; infinite if there is none."""
    found = _backups(home)
    return time.time() - found[0].stat().st_mtime if found else float("inf")


def replace_damaged(home: Path, disk: Disk, damage: str) -> list[str]:
    """Move the damaged database aside and put the newest sound backup in its place, if there is one.

    In words.
    """
    path = home / "studio.db"
    aside = _unused(home / f"studio.db.corrupt-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            disk.rename(old, aside.with_name(aside.name + suffix))
    words = [f"The database was damaged ({damage.splitlines()[0][:100]}). It was kept as {aside.name}."]
    for backup in _backups(home):
        if _is_sound(backup):
            _copy(disk, backup, path)
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(backup.stat().st_mtime))
            words.append(f"Stars, tags and queue come from the backup of {when}; "
                         "newer pictures are read back from their files.")
            return words
    words.append("There was no backup: pictures are read back from their files, stars and tags are lost.")
    return words


def open_unwritable(path: Path) -> sqlite3.Connection | None:
    """A connection to a database in a folder that cannot be written, or None if there is none to be read."""
    if not path.exists():
        return None
    # A database closed in order needs no file beside it; a write-ahead log is read too, if possible.
    log = path.with_name(path.name + "-wal")
    closed = not log.exists() or log.stat().st_size == 0
    for mode in ("mode=ro&immutable=1",) if closed else ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.DatabaseError:
            connection.close()
    return None


def _copy(disk: Disk, source: Path, target: Path) -> None:
    with open(source, "rb") as opened:
        write_with(disk, target, lambda handle: shutil.copyfileobj(opened, handle))


def _backups(home: Path) -> list[Path]:
    """Backups, newest first."""
    return sorted((home / BACKUPS).glob("studio-*.db"), key=lambda path: path.stat().st_mtime, reverse=True)


def _is_sound(path: Path) -> bool:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return quick_check(connection) == ""
    finally:
        connection.close()


def _unused(path: Path) -> Path:
    """`path`, or the same with a number if it exists."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
