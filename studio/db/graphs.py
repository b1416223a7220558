"""Documents, content-addressed: history and queue store each text once and refer to it by its hash."""
from __future__ import annotations

import hashlib
import json

from studio.db.database import Db


def add_graph(db: Db, text: str) -> str:
    """Store a document under the SHA-256 of its text; the hash. Inside the caller's transaction."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if db.execute("INSERT OR IGNORE INTO graphs (hash, json) VALUES (?, ?)", (digest, text)) > 0:
        db.execute_many("INSERT OR IGNORE INTO graph_kinds (graph, kind) VALUES (?, ?)",
                        [(digest, kind) for kind in sorted(_kinds(text))])
    return digest


def forget_graph(db: Db, digest: str | None) -> None:
    """Remove a document that no run and no generation refers to any more."""
    db.execute("DELETE FROM graphs WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM runs WHERE graph = hash) "
               "AND NOT EXISTS (SELECT 1 FROM generations WHERE graph = hash)", (digest,))


def _kinds(text: str) -> set[str]:
    """The kinds of all nodes, for the filter; empty for what is no graph."""
    try:
        nodes = json.loads(text)["nodes"]
        return {node["kind"] for node in nodes if isinstance(node["kind"], str)}
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()
