"""One finished picture of the history, the way it is handed in and the way it comes back."""
from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Parents = tuple[tuple[str, str], ...]
ROLES = ("source", "variation", "inpaint", "upscale", "reuse", "sweep")
ID_LENGTH = 32
# What the ready workflows call a picture that stands beside their result: the one before, maps, a mask.
HELPERS = ("before", "reference", "layout", "mask", "estimates", "blocks", "concept-maps",
           "region-maps", "word-maps", "word-maps-by-block", "weft-worse")
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class NewGeneration:
    """A finished picture for `History.add`.

    `pixels`: uint8, height, width, 3 or 4 channels. `graph`: the document as JSON text. `record`: see
    `new_record`. `model`: reference or digest, what the filter by model finds. `key`: the output node's ahead
    key. `parents`: ids of other generations with their role, one of ROLES.
    """

    owner: str
    pixels: npt.NDArray[np.uint8] = field(repr=False)
    graph: str = field(repr=False)
    record: Mapping[str, object] = field(repr=False)
    # where it came from
    run: str = ""
    node: str = ""
    item: int | None = None
    key: str = ""
    parents: Sequence[tuple[str, str]] = ()
    # what is searched and shown
    title: str = ""
    prompt: str = ""
    negative: str = ""
    seed: int | None = None
    model: str = ""
    id: str = field(default_factory=lambda: new_id())
    created: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A row of the history.

    `created` is Unix time; `graph`, `file`, `pixels` are hashes; `missing`: no file.
    """

    id: str
    owner: str
    run: str
    node: str
    item: int | None
    created: float
    title: str
    prompt: str
    negative: str
    seed: int | None
    model: str
    width: int
    height: int
    file: str
    graph: str
    pixels: str
    key: str
    starred: bool
    note: str
    missing: bool
    tags: tuple[str, ...] = ()
    parents: Parents = ()
    record_json: str = field(default="{}", repr=False)

    @property
    def record(self) -> dict[str, object]:
        """The record (E38), parsed anew: yours to change."""
        found: dict[str, object] = json.loads(self.record_json)
        return found

    @property
    def helper(self) -> bool:
        """Whether it stands beside the result of a ready workflow, and is none itself."""
        return self.title in HELPERS and self.node.rpartition("/")[2] != "save"

    @property
    def name(self) -> str:
        """A short label: the title, or the first words of the prompt, or the id."""
        text = " ".join((self.title or self.prompt).split())
        return text if len(text) <= 60 else text[:59] + "…" if text else self.id[:8]

    def as_json(self) -> dict[str, object]:
        """Everything but the owner, for `--json`."""
        return {
            "id": self.id, "created": self.created, "title": self.title, "prompt": self.prompt,
            "negative": self.negative, "seed": self.seed, "model": self.model, "width": self.width,
            "height": self.height, "file": self.file, "graph": self.graph, "pixels": self.pixels,
            "run": self.run,
            "node": self.node, "item": self.item, "starred": self.starred, "note": self.note,
            "tags": list(self.tags),
            "missing": self.missing, "parents": [list(pair) for pair in self.parents], "record": self.record,
        }


def new_record(
    *, seed: int | None, model: Mapping[str, object], versions: Mapping[str, str],
    device: str, dtype: str, plugins: Sequence[object], timings: Mapping[str, float],
    nodes: Mapping[str, object], params: Mapping[str, object] | None = None,
    notes: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The record of E38 as a JSON object; a keyword for each ingredient, so that none is forgotten.

    `model`: ref, family, digest. `timings`: seconds by node. `nodes`: kind, version, code digest, key by node
    id. `notes`: decisions that nodes noted (sites used, steps skipped, retries).
    """
    return {"seed": seed, "model": dict(model), "versions": dict(versions), "device": device, "dtype": dtype,
            "plugins": list(plugins), "timings": dict(timings), "nodes": dict(nodes),
            "params": dict(params or {}),
            "notes": dict(notes or {})}


def new_id() -> str:
    """A random, unguessable id: 128 bit, 32 hexadecimal digits."""
    return secrets.token_hex(ID_LENGTH // 2)


def is_id(text: object) -> bool:
    """Whether this can be the id of a generation."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def pixels_digest(pixels: npt.NDArray[np.uint8]) -> str:
    """SHA-256 over shape and bytes of decoded pixels: the same for equal pictures in different files."""
    head = "x".join(str(side) for side in pixels.shape).encode()
    return hashlib.sha256(head + b"\0" + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def clean(text: str, limit: int = 100_000) -> str:
    """Text that SQLite and UTF-8 can hold: without zero bytes, half surrogates replaced, cut at `limit`."""
    return text[:limit].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def from_row(row: sqlite3.Row, tags: tuple[str, ...] = (), parents: Parents = ()) -> Generation:
    """The generation of a joined row of `generations` and `files`."""
    return Generation(
        id=row["id"], owner=row["owner"], run=row["run"], node=row["node"], item=row["item"],
        created=row["created"],
        title=row["title"], prompt=row["prompt"], negative=row["negative"], seed=row["seed"],
        model=row["model"],
        width=row["width"] or 0, height=row["height"] or 0, file=row["file"] or "", graph=row["graph"] or "",
        pixels=row["pixels"], key=row["key"], starred=bool(row["starred"]), note=row["note"],
        missing=bool(row["missing"]), tags=tags, parents=parents, record_json=row["record"])
