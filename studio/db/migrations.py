"""The shape of the database, as a list of small steps (architecture 7.2, 7.3).

A released migration is never edited; a change of shape is a new function with a test from the old shape.
"""
from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

migrations = Migrations("studio")

# Symbols such as emoji are words too ('So'), so that a prompt made of them can be found.
_FTS = """
CREATE VIRTUAL TABLE generations_fts USING fts5(
    title, prompt, negative, note, tags,
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);
CREATE TRIGGER generations_insert AFTER INSERT ON generations BEGIN
    INSERT INTO generations_fts (rowid, title, prompt, negative, note, tags)
    VALUES (new.number, new.title, new.prompt, new.negative, new.note, '');
END;
CREATE TRIGGER generations_update AFTER UPDATE OF title, prompt, negative, note ON generations BEGIN
    UPDATE generations_fts
    SET title = new.title, prompt = new.prompt, negative = new.negative, note = new.note
    WHERE rowid = new.number;
END;
CREATE TRIGGER generations_delete AFTER DELETE ON generations BEGIN
    DELETE FROM generations_fts WHERE rowid = old.number;
END;
CREATE TRIGGER tags_insert AFTER INSERT ON tags BEGIN
    UPDATE generations_fts
    SET tags = (SELECT coalesce(group_concat(tag, ' '), '') FROM tags WHERE generation = new.generation)
    WHERE rowid = (SELECT number FROM generations WHERE id = new.generation);
END;
CREATE TRIGGER tags_delete AFTER DELETE ON tags BEGIN
    UPDATE generations_fts
    SET tags = (SELECT coalesce(group_concat(tag, ' '), '') FROM tags WHERE generation = old.generation)
    WHERE rowid = (SELECT number FROM generations WHERE id = old.generation);
END;
"""

_TABLES = """
CREATE TABLE graphs (hash TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE graph_kinds (
    graph TEXT NOT NULL REFERENCES graphs(hash) ON DELETE CASCADE, kind TEXT NOT NULL,
    PRIMARY KEY (graph, kind)
) WITHOUT ROWID;
CREATE TABLE files (
    hash TEXT PRIMARY KEY, kind TEXT NOT NULL, mime TEXT NOT NULL, bytes INTEGER NOT NULL, width INTEGER,
    height INTEGER, created REAL NOT NULL, missing INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE generations (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, run TEXT NOT NULL DEFAULT '',
    node TEXT NOT NULL DEFAULT '', item INTEGER, created REAL NOT NULL, title TEXT NOT NULL DEFAULT '',
    prompt TEXT NOT NULL DEFAULT '', negative TEXT NOT NULL DEFAULT '', seed INTEGER,
    model TEXT NOT NULL DEFAULT '', width INTEGER, height INTEGER, file TEXT REFERENCES files(hash),
    graph TEXT REFERENCES graphs(hash), pixels TEXT NOT NULL DEFAULT '', key TEXT NOT NULL DEFAULT '',
    record TEXT NOT NULL DEFAULT '{}', starred INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
    deleted REAL, purged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX generations_by_time ON generations (owner, created DESC, id DESC) WHERE deleted IS NULL;
CREATE INDEX generations_by_key ON generations (owner, key, created DESC) WHERE key != '';
CREATE INDEX generations_by_seed ON generations (owner, seed) WHERE deleted IS NULL;
CREATE INDEX generations_by_file ON generations (file);
CREATE INDEX generations_by_graph ON generations (graph);
CREATE INDEX generations_by_run ON generations (run);
CREATE INDEX generations_deleted ON generations (deleted) WHERE deleted IS NOT NULL AND purged = 0;
CREATE TABLE parents (
    child TEXT NOT NULL, parent TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (child, parent, role)
) WITHOUT ROWID;
CREATE INDEX parents_by_parent ON parents (parent);
CREATE TABLE tags (
    generation TEXT NOT NULL REFERENCES generations(id) ON DELETE CASCADE, tag TEXT NOT NULL,
    PRIMARY KEY (generation, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags (tag);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, status TEXT NOT NULL,
    process TEXT NOT NULL DEFAULT '', priority INTEGER NOT NULL DEFAULT 0,
    graph TEXT NOT NULL REFERENCES graphs(hash),
    targets TEXT, params TEXT NOT NULL DEFAULT '{}', batch TEXT NOT NULL DEFAULT '',
    retried_from TEXT NOT NULL DEFAULT '', crashes INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL, started REAL, finished REAL
);
CREATE INDEX runs_live ON runs (status, process) WHERE status IN ('queued', 'running', 'parked');
CREATE INDEX runs_by_owner ON runs (owner, started);
CREATE INDEX runs_by_graph ON runs (graph);
CREATE TABLE run_nodes (
    run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, path TEXT NOT NULL,
    item INTEGER NOT NULL DEFAULT -1, kind TEXT NOT NULL DEFAULT '',
    key TEXT NOT NULL DEFAULT '', digest TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL, seconds REAL, error TEXT NOT NULL DEFAULT '', PRIMARY KEY (run, path, item)
) WITHOUT ROWID;
CREATE INDEX run_nodes_by_kind ON run_nodes (kind, seconds) WHERE status = 'ran';
CREATE TABLE events (
    run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, seq INTEGER NOT NULL,
    node TEXT NOT NULL DEFAULT '', item INTEGER, kind TEXT NOT NULL, payload TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE file_hashes (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    sha256 TEXT NOT NULL, checked REAL NOT NULL
);
CREATE TABLE calibrations (
    model_hash TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (model_hash, kind, key)
) WITHOUT ROWID;
"""


def run_script(db: Database, script: str) -> None:
    """Run several statements inside the open transaction; sqlite3's executescript would commit it first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if statement.rstrip().endswith(";") and _complete(statement):
            db.conn.execute(statement)
            statement = ""
    if statement.strip():
        raise ValueError(f"unfinished SQL: {statement.strip()[:80]}")


def _complete(statement: str) -> bool:
    return sqlite3.complete_statement(statement)


def m001_initial(db: Database) -> None:
    """Introduced in 0.1; this migration makes every table of architecture 7.2 and the full-text index."""
    run_script(db, _TABLES)
    run_script(db, _FTS)


migrations()(m001_initial)
