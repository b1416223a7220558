"""Open the database of a home: lock, check, refuse what is newer, back up, migrate, recover.

Architecture 7.1 and 8. Servers lock the home; commands take no lock and work beside a server through WAL.
"""
from __future__ import annotations

import os
import secrets
import sqlite3
import time
from pathlib import Path

from sqlite_utils import Database

from studio.db import rescue
from studio.db.database import BUSY_SECONDS, Db, database_error, is_damage
from studio.db.disk import Disk, disk_error, is_full, is_read_only
from studio.db.lock import FileLock, is_free
from studio.db.migrations import migrations
from studio.errors import StudioError

__all__ = ["Db", "HomeInUse", "open_home", "process_alive"]

DATABASE = "studio.db"
BACKUP_EVERY = 24 * 3600.0  # seconds


class HomeInUse(StudioError):  # noqa: N818
    """Another server works on this home."""


def open_home(home: Path, *, serve: bool = False, disk: Disk | None = None) -> Db:
    """The database of `home`, made or brought up to date first.

    `serve`: this process is a server; it locks the home (HomeInUse) and makes the daily backup. A home that
    cannot be written opens as a copy in memory with `read_only` set. StudioError: newer database, damaged and
    in use, no folder.
    """
    home, disk = Path(home).expanduser().absolute(), disk or Disk()
    process = f"{'s' if serve else 'c'}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        disk.probe(home)
    except OSError as error:
        return _without_disk(home, disk, process, error)
    locks: list[FileLock] = []
    try:
        if serve:
            locks.append(_lock_home(home))
        with FileLock(home / "open.lock"):
            others = _others_alive(home)
            locks.append(_lock_process(home, process))
            connection, notices, rebuilt = _checked(home, disk, others=others, serve=serve)
    except BaseException:
        for lock in locks:
            lock.release(remove=True)
        raise
    return Db(connection, home, process=process, disk=disk, notices=notices, locks=locks, rebuilt=rebuilt)


def process_alive(home: Path, process: str) -> bool:
    """Whether the process with this token still runs (its lock file is locked)."""
    return not is_free(home / "processes" / f"{process}.lock")


def _lock_home(home: Path) -> FileLock:
    lock = FileLock(home / "server.lock")
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    if not lock.take(f"process {os.getpid()}, since {started}"):
        raise HomeInUse(f"Another Weft works on {home} ({lock.holder() or 'unknown process'}).",
                        hint="Use that one, stop it, or start with --home and another folder.")
    return lock


def _lock_process(home: Path, process: str) -> FileLock:
    (home / "processes").mkdir(exist_ok=True)
    lock = FileLock(home / "processes" / f"{process}.lock")
    lock.take(process)
    return lock


def _others_alive(home: Path) -> bool:
    """Whether other processes use this home; lock files of dead ones are removed on the way."""
    alive = False
    for path in (home / "processes").glob("*.lock"):
        if is_free(path):
            path.unlink(missing_ok=True)
        else:
            alive = True
    return alive


def _checked(
    home: Path, disk: Disk, *, others: bool, serve: bool
) -> tuple[sqlite3.Connection, list[str], bool]:
    """A connection to a sound, current database, what had to be done for that, in words, and whether a
    damaged one was replaced."""
    path, notices, damage = home / DATABASE, list[str](), ""
    try:
        if path.exists() and (damage := _damage(path, thorough=not others)):
            if others:
                raise StudioError("The database in Weft's home is damaged and other processes use it.",
                                  hint="Close every Weft on this home and start again: it will be rebuilt.")
            notices += rescue.replace_damaged(home, disk, damage)
        connection = _connect(path)
        try:
            _bring_up_to_date(connection, home, disk, notices, serve=serve)
        except BaseException:
            connection.close()
            raise
        return connection, notices, bool(damage)
    except sqlite3.Error as error:
        raise database_error(error, disk, home) from error
    except OSError as error:
        raise disk_error(error, disk, home) from error


def _damage(path: Path, *, thorough: bool) -> str:
    """What is wrong with the file, empty if sound. Reads only, and refuses a newer database on the way."""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    except sqlite3.Error as error:
        return str(error)
    try:
        if thorough and (verdict := rescue.quick_check(connection)):
            return verdict
        _refuse_newer(connection)
    except UnicodeDecodeError as error:
        return str(error)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise
    finally:
        connection.close()
    return ""


def _refuse_newer(connection: sqlite3.Connection) -> None:
    known = {migration.name for migration in migrations.pending(Database(memory=True))}
    applied = [m.name for m in migrations.applied(Database(connection, execute_plugins=False))]
    unknown = [name for name in applied if name not in known]
    if unknown:
        raise StudioError(
            f"The database was made by a newer Weft: it has '{unknown[-1]}', this version knows up to "
            f"'{max(known)}'. Nothing was changed.",
            hint="Update Weft, or start with --home and another folder.")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -32000")  # 32 MB
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, home: Path, disk: Disk, notices: list[str], *,
                      serve: bool) -> None:
    database = Database(connection, execute_plugins=False)
    pending = [migration.name for migration in migrations.pending(database)]
    backup: Path | None = None
    if migrations.applied(database):
        if pending:
            backup = rescue.back_up(connection, home, disk, f"before-{pending[0]}")
        elif serve and rescue.newest_backup_age(home) > BACKUP_EVERY:
            backup = _daily_backup(connection, home, disk, notices)
    if not pending:
        return
    try:
        migrations.apply(database)
    except Exception as error:
        kept = f" The backup is {backup.name} in the folder 'backups'." if backup else ""
        raise StudioError(f"The database could not be brought up to date: {error}. It is unchanged.{kept}",
                          hint="Please report this; the earlier version of Weft still opens it.") from error


def _daily_backup(connection: sqlite3.Connection, home: Path, disk: Disk, notices: list[str]) -> Path | None:
    """The backup of today; a full disk costs the backup, never the start."""
    try:
        return rescue.back_up(connection, home, disk, "daily")
    except StudioError as error:
        notices.append(f"No backup was made: {error.message}")
        return None


def _without_disk(home: Path, disk: Disk, process: str, error: OSError) -> Db:
    """The database as a copy in memory, for a home that cannot be written."""
    if not (is_full(error) or is_read_only(error)):
        raise StudioError(f"{home} cannot be Weft's home: {error.strerror or error}.",
                          hint="Start with --home and a folder that can be made or written.") from error
    why = "The disk is full" if is_full(error) else "Weft's home cannot be written"
    notices = [f"{why}: you can browse and generate, but nothing new is kept in the history."]
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    source = rescue.open_unwritable(home / DATABASE)
    if source is not None:
        try:
            _refuse_newer(source)
            source.backup(connection)
        except sqlite3.DatabaseError:
            notices.append("The database there is damaged and could not be read.")
            connection.close()
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        finally:
            source.close()
    connection.execute("PRAGMA foreign_keys = ON")
    migrations.apply(Database(connection, execute_plugins=False))
    return Db(connection, home, process=process, disk=disk, read_only=True, notices=notices)
