"""The side store: adding, finding, marking, deleting, and what a failing disk leaves behind."""
from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image as Pillow

from studio.db.disk import Disk
from studio.db.open import Db, open_home
from studio.errors import StudioError
from studio.history import remove
from studio.history.embed import read_embedded
from studio.history.store import History, NewGeneration, pixels_digest

from .conftest import Add, graph_of, pixels_of, record_of


def files_in(home: Path, *folders: str) -> list[str]:
    return sorted(path.name for folder in folders for path in (home / folder).rglob("*") if path.is_file())


def rows(db: Db) -> dict[str, int]:
    return {name: db.one(f"SELECT count(*) FROM {name}")[0] for name in ("generations", "files", "graphs",
                                                                         "parents")}


def test_added_picture_comes_back_with_all_it_was_given(history: History, add: Add) -> None:
    parent = add("the first")
    made = add("a red star", seed=7, run="r_1", node="save", item=2, title="Star", negative="rain", key="k7",
               parents=((parent.id, "variation"),))
    found = history.get("local", made.id)
    assert found == made
    assert (found.prompt, found.seed, found.title, found.negative) == ("a red star", 7, "Star", "rain")
    assert (found.run, found.node, found.item, found.key) == ("r_1", "save", 2, "k7")
    assert (found.width, found.height, found.missing, found.starred) == (24, 16, False, False)
    assert found.parents == ((parent.id, "variation"),)
    assert found.record == record_of(7)
    assert history.document("local", made.id) == graph_of("a red star")


def test_stored_file_is_the_picture_and_carries_graph_and_record(history: History, add: Add) -> None:
    made = add("a red star", seed=3)
    path = history.picture("local", made.id)
    assert path.parent.name == made.file[:2] and path.name == f"{made.file}.png"
    with Pillow.open(path) as picture:
        assert np.array_equal(np.asarray(picture), pixels_of(3))
        assert pixels_digest(np.asarray(picture)) == made.pixels
    graph, record = read_embedded(path)
    assert graph == graph_of("a red star")
    assert record is not None and record["generation"] == made.id and record["record"] == record_of(3)


def test_picture_tells_no_owner_and_no_path_of_this_machine(history: History, home: Path) -> None:
    model = home / "models" / "mine"
    model.mkdir(parents=True)
    graph = graph_of(str(model))
    made = history.add(NewGeneration(owner="anna@example.org", pixels=pixels_of(), graph=graph,
                                     model=str(model),
                                     record={"owner": "anna@example.org", "token": "secret",
                                             "deep": [{"session": "s"}],
                                             "model": {"ref": str(model)}}, prompt="/imagine a cat"))
    carried = read_embedded(history.picture("anna@example.org", made.id))
    for private in ("anna", "secret", "session", str(home)):
        assert private not in carried.graph and private not in str(carried.record)
    assert carried.record is not None and carried.record["prompt"] == "/imagine a cat"
    assert "mine" in carried.graph
    assert history.document("anna@example.org", made.id) == graph


def test_pictures_of_another_owner_do_not_exist(history: History, add: Add) -> None:
    made = add(owner="anna", key="k")
    history.star("anna", made.id)
    assert history.get("ben", made.id) is None
    assert history.find_by_key("ben", "k") is None
    assert history.list("ben").items == () and history.search("ben", "star").items == ()
    assert history.delete("ben", made.id) == 0 and history.undelete("ben", made.id) == 0
    for refused in (lambda: history.show("ben", made.id), lambda: history.show("ben", made.id[:8]),
                    lambda: history.picture("ben", made.id), lambda: history.thumbnail("ben", made.id),
                    lambda: history.document("ben", made.id), lambda: history.star("ben", made.id, False),
                    lambda: history.tag("ben", made.id, "x"), lambda: history.note("ben", made.id, "x")):
        with pytest.raises(StudioError, match="No picture"):
            refused()
    assert history.show("anna", made.id).starred


def test_unique_beginning_of_an_id_is_enough_and_an_ambiguous_one_is_refused(history: History,
                                                                             add: Add) -> None:
    one, two = add(id="abcd1" + "0" * 27), add(id="abcd2" + "0" * 27, seed=1)
    assert history.show("local", "abcd1").id == one.id
    assert history.show("local", "abcd2").id == two.id
    with pytest.raises(StudioError, match="More than one"):
        history.show("local", "abcd")
    for none in ("abc", "%%%%", "abcd'--", "", "zzzz"):
        with pytest.raises(StudioError, match="No picture"):
            history.show("local", none)


def test_find_by_key_gives_the_newest_and_says_when_its_file_is_gone(history: History, add: Add) -> None:
    add("old", key="k", created=100.0)
    newest = add("new", key="k", created=200.0, seed=1)
    add("other", seed=2)
    assert history.find_by_key("local", "k") == newest
    assert history.find_by_key("local", "") is None
    history.picture("local", newest.id).unlink()
    again = history.find_by_key("local", "k")
    assert again is not None and again.id == newest.id and again.missing


def test_missing_file_is_written_again_with_the_same_bytes(history: History, add: Add) -> None:
    made = add(seed=5, key="k", parents=(("0" * 32, "source"),))
    path = history.picture("local", made.id)
    before = path.read_bytes()
    path.unlink()
    with pytest.raises(StudioError, match="missing"):
        history.picture("local", made.id)
    assert history.show("local", made.id).missing
    assert history.rewrite("local", made.id, pixels_of(5)) == path
    assert path.read_bytes() == before
    assert not history.show("local", made.id).missing


def test_damaged_file_is_replaced_by_rewriting(history: History, add: Add) -> None:
    made = add(seed=5)
    path = history.picture("local", made.id)
    path.write_bytes(b"x" * path.stat().st_size)
    history.rewrite("local", made.id, pixels_of(6))
    found = history.show("local", made.id)
    assert found.pixels == pixels_digest(pixels_of(6))
    assert read_embedded(history.picture("local", made.id)).graph == graph_of("a red star")
    assert history.db.one("SELECT count(*) FROM files")[0] == 1


def test_star_tag_note_and_title_stay(history: History, add: Add) -> None:
    made = add()
    history.star("local", made.id)
    history.tag("local", made.id, "  by   the sea ")
    history.tag("local", made.id, "best")
    history.note("local", made.id, "print this")
    found = history.rename("local", made.id, "Red")
    assert (found.starred, found.tags, found.note, found.title) == (True, ("best", "by the sea"),
                                                                    "print this", "Red")
    assert history.tags("local") == {"best": 1, "by the sea": 1}
    assert history.tag("local", made.id, "best", on=False).tags == ("by the sea",)
    assert not history.star("local", made.id, on=False).starred
    with pytest.raises(StudioError, match="1 to 64 characters, not 0"):
        history.tag("local", made.id, "   ")
    with pytest.raises(StudioError, match="not 100"):
        history.tag("local", made.id, "x" * 100)


def test_deleting_removes_file_texts_and_graph_but_keeps_a_tombstone(history: History, db: Db, add: Add,
                                                                     home: Path) -> None:
    made, other = add("secret wish", seed=1), add("kept", seed=2)
    history.tag("local", made.id, "secret tag")
    history.thumbnail("local", made.id)
    assert history.delete("local", made.id, made.id, "unknown") == 1
    assert files_in(home, "images", "thumbs") == [f"{other.file}.png"]
    assert history.get("local", made.id) is None and history.search("local", "secret").items == ()
    assert history.undelete("local", made.id) == 0
    assert rows(db) == {"generations": 2, "files": 1, "graphs": 1, "parents": 0}
    dump = "\n".join(db._connection.iterdump())
    assert "secret" not in dump


def test_deletion_can_be_undone_for_ten_minutes(history: History, add: Add, db: Db, home: Path) -> None:
    made = add("a red star")
    assert history.delete("local", made.id, undo=True) == 1
    assert history.list("local").items == () and history.search("local", "star").items == ()
    assert history.undelete("local", made.id) == 1
    assert history.show("local", made.id) == made and history.picture("local", made.id).exists()
    history.delete("local", made.id, undo=True)
    db.execute("UPDATE generations SET deleted = deleted - ?", (remove.UNDO_SECONDS + 1,))
    assert history.undelete("local", made.id) == 0
    assert files_in(home, "images") == []


def test_delete_all_leaves_nothing_of_this_owner(history: History, add: Add, db: Db) -> None:
    for seed in range(3):
        add("mine to forget", seed=seed)
    kept = add("theirs", owner="ben", seed=9)
    assert history.delete_all("local") == 3
    assert history.list("local").items == ()
    assert "mine to forget" not in "\n".join(db._connection.iterdump())
    assert history.picture("ben", kept.id).exists()


def test_equal_graphs_are_stored_once(history: History, add: Add, db: Db) -> None:
    one, two = add(seed=1), add(seed=2)
    assert one.graph == two.graph and rows(db)["graphs"] == 1
    history.delete("local", one.id)
    assert history.document("local", two.id) == graph_of()


def test_thumbnail_is_small_made_once_and_missing_pictures_are_named(history: History, add: Add) -> None:
    made = add(pixels=pixels_of(1, width=300, height=100))
    path = history.thumbnail("local", made.id, 64)
    with Pillow.open(path) as small:
        assert small.size == (64, 21) and small.format == "WEBP"
    stamp = path.stat().st_mtime_ns
    assert history.thumbnail("local", made.id, 64).stat().st_mtime_ns == stamp
    with pytest.raises(StudioError, match="16 to 1024"):
        history.thumbnail("local", made.id, 5000)
    history.picture("local", made.id).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(StudioError, match="damaged"):
        history.thumbnail("local", made.id, 32)
    history.files.path(made.file).unlink()
    with pytest.raises(StudioError, match="missing"):
        history.thumbnail("local", made.id, 32)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "/x",
                                  "\0" * 64])
def test_only_hashes_name_stored_files(history: History, name: str) -> None:
    with pytest.raises(StudioError, match="64 hexadecimal digits"):
        history.files.path(name)


def test_uploads_are_kept_by_hash(history: History) -> None:
    digest = history.put_upload(b"some picture", suffix=".webp")
    assert history.upload(digest).read_bytes() == b"some picture"
    assert history.put_upload(b"some picture", suffix=".webp") == digest
    with pytest.raises(StudioError, match="not here"):
        history.upload("0" * 64)
    with pytest.raises(StudioError):
        history.put_upload(b"x", suffix=".png/../../x")


def test_bytes_used_counts_stored_files_of_the_owner(history: History, add: Add) -> None:
    made = add()
    assert history.bytes_used("local") == history.picture("local", made.id).stat().st_size
    assert history.bytes_used("ben") == 0
    history.delete("local", made.id)
    assert history.bytes_used("local") == 0


class FailingAt(Disk):
    """Works until it is told where to fail."""

    step = ""

    def sync(self, handle: IO[bytes]) -> None:
        self._maybe("sync")
        super().sync(handle)

    def write(self, handle: IO[bytes], data: bytes) -> None:
        if self.step == "write":
            super().write(handle, data[:len(data) // 2])
        self._maybe("write")
        super().write(handle, data)

    def rename(self, source: Path, target: Path) -> None:
        self._maybe("rename")
        super().rename(source, target)

    def _maybe(self, step: str) -> None:
        if step == self.step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_full_disk_leaves_neither_file_nor_row(home: Path, step: str) -> None:
    disk = FailingAt()
    with open_home(home, disk=disk) as db:
        history = History(db)
        new = NewGeneration(owner="local", pixels=pixels_of(), graph=graph_of(), record=record_of())
        disk.step = step
        with pytest.raises(StudioError, match="disk is full"):
            history.add(new)
        assert files_in(home, "images") == []
        assert rows(db) == {"generations": 0, "files": 0, "graphs": 0, "parents": 0}
        disk.step = ""
        assert history.add(new).id == new.id


def test_full_database_leaves_neither_file_nor_row(history: History, db: Db, home: Path) -> None:
    db.execute(f"PRAGMA max_page_count = {db.one('PRAGMA page_count')[0] + 1}")
    with pytest.raises(StudioError, match="disk is full"):
        history.add(NewGeneration(owner="local", pixels=pixels_of(), graph=graph_of("x" * 50_000), record={}))
    assert files_in(home, "images") == [] and rows(db)["generations"] == 0


def test_full_disk_costs_the_thumbnail_not_the_gallery(home: Path) -> None:
    disk = FailingAt()
    with open_home(home, disk=disk) as db:
        history = History(db)
        made = history.add(NewGeneration(owner="local", pixels=pixels_of(), graph=graph_of(), record={}))
        disk.step = "write"
        assert history.thumbnail("local", made.id) == history.picture("local", made.id)


def test_read_only_home_is_browsed_and_refuses_changes_in_words(home: Path, add: Add, db: Db) -> None:
    made = add("a red star")
    db.close()
    disk = FailingAt()
    disk.step = "write"
    with open_home(home, disk=disk) as read_only:
        history = History(read_only)
        assert history.search("local", "star").items == (made,)
        assert history.picture("local", made.id).exists() and history.document("local", made.id)
        for refused in (lambda: history.star("local", made.id), lambda: history.delete("local", made.id),
                        lambda: history.tag("local", made.id, "x"), lambda: history.put_upload(b"x"),
                        lambda: history.rewrite("local", made.id, pixels_of()),
                        lambda: history.add(NewGeneration(owner="a", pixels=pixels_of(), graph="{}",
                                                          record={}))):
            with pytest.raises(StudioError, match="read-only or its disk is full"):
                refused()
        assert history.sweep().words == []


def test_texts_that_no_file_can_hold_are_cleaned(history: History, add: Add) -> None:
    made = add("half \ud83d and zero \0 and \N{WHITE MEDIUM STAR}")
    assert history.show("local", made.id).prompt == "half ? and zero  and \N{WHITE MEDIUM STAR}"
    assert history.search("local", "\N{WHITE MEDIUM STAR}").items[0].id == made.id


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
                                    np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(history: History, pixels: np.ndarray) -> None:
    with pytest.raises(StudioError, match="A picture is a uint8 array"):
        history.add(NewGeneration(owner="local", pixels=pixels, graph="{}", record={}))


def test_foreign_keys_hold(db: Db) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO tags (generation, tag) VALUES ('nobody', 'x')")
