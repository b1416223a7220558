"""Opening a home: locks, newer and damaged databases, backups, homes that cannot be written."""
from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlite_utils import Database

from studio.db import open as opening
from studio.db.disk import Disk
from studio.db.migrations import migrations
from studio.db.open import Db, HomeInUse, open_home, process_alive
from studio.errors import StudioError

HOLDER = """
import sys
from pathlib import Path
from studio.db.open import open_home
db = open_home(Path(sys.argv[1]), serve=sys.argv[2] == "serve")
print(db.process, flush=True)
sys.stdin.read()
"""


def hold(home: Path, *, serve: bool) -> tuple[subprocess.Popen[str], str]:
    """Another process that has the home open, and its token in the queue."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(home), "serve" if serve else "command"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


class NoWrites(Disk):
    """A disk that refuses every write with one error."""

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, handle: object, data: bytes) -> None:
        raise OSError(self.number, os.strerror(self.number))


def add_file_row(home: Path, name: str = "kept") -> None:
    with open_home(home) as db:
        db.execute("INSERT INTO files (hash, kind, mime, bytes, created) "
                   "VALUES (?, 'image', 'image/png', 1, 0)", (name,))


def file_rows(home: Path) -> list[str]:
    with open_home(home) as db:
        return [row["hash"] for row in db.rows("SELECT hash FROM files ORDER BY hash")]


def test_fresh_home_gets_a_current_database_in_wal_mode(home: Path) -> None:
    with open_home(home / "deep" / "er") as db:
        assert db.notices == () and not db.read_only
        assert db.one("PRAGMA journal_mode")[0] == "wal"
        assert db.one("PRAGMA foreign_keys")[0] == 1
        assert db.one("SELECT count(*) FROM generations")[0] == 0


def test_second_server_on_one_home_is_refused_and_told_who_holds_it(home: Path) -> None:
    with open_home(home, serve=True):
        before = {path: path.stat().st_mtime_ns for path in home.iterdir()}
        with pytest.raises(HomeInUse, match=f"process {os.getpid()}") as refused:
            open_home(home, serve=True)
        assert "--home" in refused.value.hint
        assert {path: path.stat().st_mtime_ns for path in home.iterdir()} == before
    with open_home(home, serve=True) as again:
        assert not again.read_only


def test_command_opens_and_writes_beside_a_server(home: Path) -> None:
    with open_home(home, serve=True) as server:
        add_file_row(home, "beside")
        assert [row["hash"] for row in server.rows("SELECT hash FROM files")] == ["beside"]


def test_lock_of_a_killed_server_is_taken_over_and_its_death_is_known(home: Path) -> None:
    process, token = hold(home, serve=True)
    try:
        with pytest.raises(HomeInUse):
            open_home(home, serve=True)
        assert process_alive(home, token)
    finally:
        kill(process)
    with open_home(home, serve=True) as db:
        assert not process_alive(home, token)
        assert process_alive(home, db.process)


def test_newer_database_is_refused_before_any_write(home: Path) -> None:
    add_file_row(home)
    newer = sqlite3.connect(home / "studio.db")
    newer.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                  "VALUES ('studio', 'm999_future', '')")
    newer.commit()
    newer.close()
    before = (home / "studio.db").read_bytes()
    with pytest.raises(StudioError, match=r"newer Weft.*m999_future.*m001_initial") as refused:
        open_home(home, serve=True)
    assert "Update Weft" in refused.value.hint
    assert (home / "studio.db").read_bytes() == before
    assert not (home / "backups").exists()


@pytest.mark.parametrize("damage", ["garbage", "flipped", "empty header", "directory page"])
def test_damaged_database_is_moved_aside_and_a_sound_one_made(home: Path, damage: str) -> None:
    add_file_row(home)
    path = home / "studio.db"
    whole = bytearray(path.read_bytes())
    if damage == "garbage":
        whole = bytearray(os.urandom(9000))
    elif damage == "flipped":
        for place in range(4096, len(whole), 97):
            whole[place] ^= 0xFF
    elif damage == "empty header":
        whole[:100] = bytes(100)
    else:
        whole[100:4096] = bytes(3996)
    path.write_bytes(whole)
    with open_home(home, serve=True) as db:
        assert "damaged" in db.notices[0] and "corrupt-" in db.notices[0]
        assert db.one("SELECT count(*) FROM generations")[0] == 0
    aside = [found for found in home.glob("studio.db.corrupt-*") if found.name[-4:] not in ("-wal", "-shm")]
    assert [found.read_bytes() for found in aside] == [bytes(whole)]


def test_damaged_database_comes_back_from_the_newest_sound_backup(home: Path) -> None:
    add_file_row(home, "in the backup")
    with open_home(home, serve=True):  # a server makes the backup of the day
        pass
    add_file_row(home, "after the backup")
    bad = home / "backups" / "studio-newest-but-bad.db"
    bad.write_bytes(b"no database")
    os.utime(bad, (time.time() + 60, time.time() + 60))
    (home / "studio.db").write_bytes(b"no database at all" * 100)
    with open_home(home, serve=True) as db:
        assert any("backup of" in words for words in db.notices)
        assert [row["hash"] for row in db.rows("SELECT hash FROM files")] == ["in the backup"]


def test_damaged_database_in_use_by_others_is_left_alone(home: Path) -> None:
    add_file_row(home)
    process, _ = hold(home, serve=False)
    try:
        (home / "studio.db").write_bytes(b"no database" * 1000)
        with pytest.raises(StudioError, match="damaged and other processes use it"):
            open_home(home, serve=True)
        assert not list(home.glob("*.corrupt-*"))
    finally:
        kill(process)


def test_cut_off_write_ahead_log_loses_only_its_end(home: Path) -> None:
    process, _ = hold(home, serve=False)
    add_file_row(home, "first")
    wal = home / "studio.db-wal"
    length = wal.stat().st_size
    add_file_row(home, "second")
    kill(process)  # the log stays behind
    with open(wal, "r+b") as handle:
        handle.truncate(length + 100)
    assert file_rows(home) == ["first"]


@pytest.mark.parametrize(("number", "words"), [(errno.EROFS, "cannot be written"),
                                               (errno.ENOSPC, "disk is full")])
def test_home_that_cannot_be_written_is_browsed_from_memory(home: Path, number: int, words: str) -> None:
    add_file_row(home)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with open_home(home, serve=True, disk=NoWrites(number)) as db:
        assert db.read_only and words in db.notices[0]
        assert [row["hash"] for row in db.rows("SELECT hash FROM files")] == ["kept"]
        db.execute("UPDATE files SET missing = 1")  # stays in memory
        with pytest.raises(StudioError, match="The star cannot be saved"):
            db.writable("The star")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_empty_home_that_cannot_be_written_still_opens(tmp_path: Path) -> None:
    with open_home(tmp_path / "new", disk=NoWrites(errno.EACCES)) as db:
        assert db.read_only
        assert db.one("SELECT count(*) FROM runs")[0] == 0


def test_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StudioError, match="taken") as refused:
        open_home(tmp_path / "taken")
    assert "--home" in refused.value.hint


def test_full_disk_fails_the_whole_transaction_in_words(home: Path) -> None:
    with open_home(home) as db:
        pages = db.one("PRAGMA page_count")[0]
        db.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(StudioError, match="disk is full; nothing was saved"), db.transaction():
            for number in range(100):
                db.execute("INSERT INTO graphs (hash, json) VALUES (?, ?)", (str(number), "x" * 5000))
        assert db.one("SELECT count(*) FROM graphs")[0] == 0
        db.execute("INSERT INTO graphs (hash, json) VALUES ('small', 'x')")


def test_database_busy_for_too_long_is_an_error_in_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0.0)
    with (open_home(home) as db, open_home(home) as other, other.transaction(),
          pytest.raises(StudioError, match="busy"), db.transaction()):
        raise AssertionError("must not get in")


def test_error_inside_a_transaction_undoes_the_inner_block_too(home: Path) -> None:
    def inner(db: Db) -> None:
        with db.transaction():
            db.execute("INSERT INTO graphs (hash, json) VALUES ('a', '{}')")

    def half(db: Db) -> None:
        with db.transaction():
            inner(db)
            raise KeyError

    with open_home(home) as db:
        with pytest.raises(KeyError):
            half(db)
        assert db.rows("SELECT * FROM graphs") == []


def test_failing_migration_keeps_the_old_shape_and_names_the_backup(
        home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_file_row(home)

    def m002_breaks(db: Database) -> None:
        db.conn.execute("CREATE TABLE half_done (x)")
        raise RuntimeError("no such luck")

    monkeypatch.setattr(migrations, "_migrations", list(migrations._migrations))
    migrations()(m002_breaks)
    with pytest.raises(StudioError, match=r"no such luck.*unchanged.*before-m002_breaks\.db"):
        open_home(home, serve=True)
    monkeypatch.undo()
    assert len(list((home / "backups").glob("*before-m002_breaks.db"))) == 1
    with open_home(home) as db:
        assert db.rows("SELECT name FROM sqlite_master WHERE name = 'half_done'") == []
    assert file_rows(home) == ["kept"]


def test_only_the_newest_backups_are_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BACKUP_EVERY", -1.0)
    for _ in range(8):
        open_home(home, serve=True).close()
    assert len(list((home / "backups").glob("studio-*.db"))) == 3


def test_closed_database_says_so(home: Path) -> None:
    db = open_home(home)
    db.close()
    db.close()
    for used in (lambda: db.rows("SELECT 1"), lambda: db.execute("DELETE FROM tags")):
        with pytest.raises(StudioError, match="closed"):
            used()


def test_closing_leaves_no_lock_files(home: Path) -> None:
    open_home(home, serve=True).close()
    assert list((home / "processes").iterdir()) == []
    assert not (home / "server.lock").exists()
