"""The rows of one picture, written the same way by `History.add` and by the start sweep, and its PNG."""
from __future__ import annotations

import json
import time
from collections.abc import Mapping

from studio.db.database import Db, Value
from studio.db.graphs import add_graph
from studio.history.embed import embed, encode_png
from studio.history.generation import NewGeneration, clean
from studio.history.scrub import scrub, scrub_graph

MAX_TITLE = 200


def make_png(new: NewGeneration, pixels: str) -> bytes:
    """The bytes to be stored: picture, graph and all that its row holds, but no owner and no path."""
    carried: dict[str, object] = {
        "generation": new.id, "created": new.created, "title": new.title, "prompt": new.prompt,
        "negative": new.negative, "seed": new.seed, "model": scrub(new.model), "node": new.node,
        "item": new.item,
        "key": new.key, "pixels": pixels, "parents": [list(pair) for pair in new.parents],
        "record": scrub(dict(new.record)),
    }
    return embed(encode_png(new.pixels), scrub_graph(new.graph), carried)


def add_rows(db: Db, new: NewGeneration, *, digest: str, size: int, width: int, height: int,
             pixels: str) -> None:
    """Insert graph, file, generation and parents; inside the caller's transaction."""
    graph = add_graph(db, new.graph) if new.graph else None
    add_file(db, digest, size, width, height)
    values: dict[str, Value] = {
        "id": new.id, "owner": new.owner, "run": new.run, "node": new.node, "item": new.item,
        "created": new.created,
        "title": clean(new.title, MAX_TITLE), "prompt": clean(new.prompt), "negative": clean(new.negative),
        "seed": new.seed, "model": clean(new.model, 500), "width": width, "height": height, "file": digest,
        "graph": graph, "pixels": pixels, "key": new.key, "record": to_json(new.record)}
    db.execute(
        f"INSERT INTO generations ({', '.join(values)}) VALUES (:{', :'.join(values)})"
        # the sweep of a server that starts at this moment may have adopted the file already
        " ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, run = excluded.run", values)
    db.execute_many("INSERT OR IGNORE INTO parents (child, parent, role) VALUES (?, ?, ?)",
                    [(new.id, parent, role) for parent, role in new.parents])


def add_file(db: Db, digest: str, size: int, width: int, height: int) -> None:
    """Store the facts of a picture file."""
    db.execute(
        "INSERT INTO files (hash, kind, mime, bytes, width, height, created) "
        "VALUES (?, 'image', 'image/png', ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET missing = 0",
        (digest, size, width, height, time.time()))


def to_json(value: Mapping[str, object]) -> str:
    """JSON text that UTF-8 can hold."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
