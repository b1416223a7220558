"""The start sweep: what a crash, a damaged database or a person's file manager left."""
from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from studio.db.open import Db, open_home
from studio.history.embed import embed, encode_png
from studio.history.store import History, NewGeneration

from .conftest import Add, graph_of, pixels_of, record_of


def put(history: History, data: bytes) -> Path:
    return history.files.path(history.files.write(data))


def test_sound_home_has_nothing_to_repair(history: History, add: Add) -> None:
    add()
    report = history.sweep()
    assert report.words == [] and report.adopted == report.missing == report.removed == 0


def test_row_without_file_is_marked_and_comes_back_with_its_file(history: History, add: Add,
                                                                 tmp_path: Path) -> None:
    made = add()
    path = history.picture("local", made.id)
    shutil.move(path, tmp_path / "away.png")
    (words,) = history.sweep().words
    assert words == "The files of 1 picture are missing; make them again from their workflows."
    assert history.show("local", made.id).missing
    assert [item.id for item in history.search("local", missing=True).items] == [made.id]
    shutil.move(tmp_path / "away.png", path)
    assert history.sweep().found == 1
    assert not history.show("local", made.id).missing


def test_lost_database_is_rebuilt_from_the_pictures(history: History, add: Add, db: Db, home: Path) -> None:
    first = add("a red star", seed=1, negative="rain", title="T", node="save", item=3, key="k1",
                created=500.0)
    second = add("a blue house", seed=2, parents=((first.id, "variation"),))
    db.close()
    (home / "studio.db").write_bytes(b"damaged" * 3000)
    with open_home(home, serve=True) as new:
        rebuilt = History(new)
        assert rebuilt.sweep().adopted == 2
        for made in (first, second):
            found = rebuilt.show("local", made.id)
            for name in ("prompt", "negative", "title", "seed", "created", "model", "width", "height", "file",
                         "pixels",
                         "key", "node", "item", "parents", "record", "graph"):
                assert getattr(found, name) == getattr(made, name), name
        assert rebuilt.document("local", first.id) == graph_of("a red star")
        assert rebuilt.search("local", "star").items[0].id == first.id
        assert rebuilt.find_by_key("local", "k1") is not None
        assert rebuilt.sweep().adopted == 0


def test_adopted_pictures_go_to_the_named_owner_only(history: History, add: Add, db: Db) -> None:
    add("private", owner="anna")
    db.execute("DELETE FROM generations")
    db.execute("DELETE FROM files")
    public = History(db, adopt_owner="recovered")
    assert public.sweep().adopted == 1
    assert public.list("local").items == () and len(public.list("recovered").items) == 1


def test_backup_and_newer_pictures_together(home: Path) -> None:
    with open_home(home) as db:
        history = History(db)
        old = history.add(NewGeneration(owner="anna", pixels=pixels_of(1), graph=graph_of(),
                                        record=record_of()))
        history.star("anna", old.id)
        history.tag("anna", old.id, "best")
    open_home(home, serve=True).close()  # the backup of the day
    with open_home(home) as db:
        newer = History(db).add(NewGeneration(owner="local", pixels=pixels_of(2), graph=graph_of(),
                                              record={}))
    (home / "studio.db").write_bytes(b"damaged" * 3000)
    with open_home(home, serve=True) as db:
        history = History(db)
        assert history.sweep().adopted == 1
        assert history.show("anna", old.id).starred and history.show("anna", old.id).tags == ("best",)
        assert history.get("local", newer.id) is not None


def test_rest_of_a_deletion_is_removed_not_adopted(history: History, add: Add) -> None:
    made = add()
    data = history.picture("local", made.id).read_bytes()
    history.delete("local", made.id)
    path = put(history, data)  # as if the process had died between the rows and the file
    assert history.sweep().removed == 1
    assert not path.exists() and history.list("local").items == ()


def test_files_that_are_not_ours_are_left_alone_and_told(history: History) -> None:
    plain = put(history, encode_png(pixels_of()))
    noise = put(history, b"noise")
    wrong_id = put(history, embed(encode_png(pixels_of()), "{}", {"generation": "../../x"}))
    newer = put(history, embed(encode_png(pixels_of()), "{}", {"version": 99, "generation": "a" * 32}))
    renamed = history.files.path("0" * 64)
    renamed.parent.mkdir(parents=True, exist_ok=True)
    renamed.write_bytes(embed(encode_png(pixels_of()), "{}", {"generation": "b" * 32}))
    report = history.sweep()
    assert (report.unknown, report.adopted) == (5, 0)
    assert "left alone" in report.words[0]
    assert all(path.exists() for path in (plain, noise, wrong_id, newer, renamed))
    assert history.list("local").items == ()


@pytest.mark.parametrize("field", [
    {"created": "yesterday"}, {"created": float(10**30)}, {"seed": "x"}, {"seed": -5}, {"seed": 2**60},
    {"seed": True},
    {"item": [1]}, {"prompt": {"a": 1}}, {"parents": "x"}, {"parents": [["y", "source"], ["c" * 32, "hacker"],
                                                                        3]},
    {"record": [1, 2]}, {"model": None}, {"key": 7}, {"title": "t" * 500_000}])
def test_nonsense_in_a_record_becomes_a_plain_row(history: History, field: dict[str, object]) -> None:
    put(history, embed(encode_png(pixels_of()), graph_of(), {"generation": "a" * 32, "prompt": "p", **field}))
    assert history.sweep().adopted == 1
    found = history.show("local", "a" * 32)
    assert found.parents == () and len(found.title) <= 200
    assert isinstance(found.record, dict) and found.created < 10**11
    assert found.seed is None or 0 <= found.seed < 2**53


def test_old_temp_files_are_removed_and_young_ones_kept(history: History, home: Path) -> None:
    folder = home / "images" / "ab"
    folder.mkdir(parents=True)
    old, young = folder / ".x.1-2.weft-tmp", folder / ".y.1-2.weft-tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert history.sweep().temp == 1
    assert not old.exists() and young.exists()


def test_uploads_come_back_after_a_lost_database(history: History, db: Db) -> None:
    digest = history.put_upload(b"picture", suffix=".jpeg")
    db.execute("DELETE FROM files")
    history.sweep()
    assert history.upload(digest).read_bytes() == b"picture"


def test_expired_deletions_are_purged(history: History, add: Add, db: Db) -> None:
    made = add()
    path = history.picture("local", made.id)
    history.delete("local", made.id, undo=True)
    db.execute("UPDATE generations SET deleted = 1")
    history.sweep()
    assert not path.exists()
