"""Each migration from the shape before it."""
from __future__ import annotations

from sqlite_utils import Database

from studio.db.migrations import migrations

TABLES = {"graphs", "graph_kinds", "files", "generations", "parents", "tags", "runs", "run_nodes", "events",
          "file_hashes", "calibrations", "generations_fts"}


def found(db: Database, text: str) -> list[int]:
    query = "SELECT rowid FROM generations_fts WHERE generations_fts MATCH ?"
    return [row[0] for row in db.conn.execute(query, (text,))]


def fresh() -> Database:
    db = Database(memory=True)
    migrations.apply(db)
    return db


def test_m001_makes_every_table_from_an_empty_database() -> None:
    db = Database(memory=True)
    assert migrations.pending(db)[0].name == "m001_initial"
    migrations.apply(db)
    assert set(db.table_names()) >= TABLES
    assert migrations.pending(db) == []
    assert migrations.applied(db)[0].name == "m001_initial"


def test_applying_twice_changes_nothing() -> None:
    db = fresh()
    before = db.schema
    migrations.apply(db)
    assert db.schema == before


def test_every_migration_says_when_it_was_introduced() -> None:
    for migration in migrations._migrations:
        assert (migration.fn.__doc__ or "").startswith("Introduced in "), migration.name
        assert "this migration" in (migration.fn.__doc__ or "")


def test_full_text_index_follows_rows_and_tags() -> None:
    db = fresh()
    db.conn.execute("INSERT INTO generations (id, owner, created, prompt) "
                    "VALUES ('g', 'me', 0, 'a red star')")
    db.conn.execute("INSERT INTO tags VALUES ('g', 'favourite')")
    assert found(db, "star") == found(db, "favourite") == [1]
    db.conn.execute("UPDATE generations SET prompt = 'a blue house', note = 'hung up' WHERE id = 'g'")
    assert found(db, "star") == []
    assert found(db, "house") == found(db, "hung") == found(db, "favourite") == [1]
    db.conn.execute("DELETE FROM tags")
    assert found(db, "favourite") == [] and found(db, "house") == [1]
    db.conn.execute("DELETE FROM generations")
    assert found(db, "house") == []


def test_two_tags_are_both_found_and_one_leaves_alone() -> None:
    db = fresh()
    db.conn.execute("INSERT INTO generations (id, owner, created) VALUES ('g', 'me', 0)")
    db.conn.executemany("INSERT INTO tags VALUES ('g', ?)", [("sea",), ("night sky",)])
    assert found(db, "sea") == found(db, "sky") == [1]
    db.conn.execute("DELETE FROM tags WHERE tag = 'sea'")
    assert found(db, "sea") == [] and found(db, "sky") == [1]
