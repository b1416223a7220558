"""The graph document (architecture 4): plain data in, plain data out, nothing lost and nothing run."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from studio.errors import BadDocument, StudioError, did_you_mean
from studio.graph.strict_json import Limits, copied, read_json

FORMAT = "weft/graph"
VERSION = 1
MODES = ("normal", "mute", "bypass")
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema number -> function that makes the next one out of it; none yet, version 1 is the first."""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """One node: an id unique in its graph, a kind, constants by name. `extra` keeps fields we do not know."""

    id: str
    kind: str
    widgets: Json = field(default_factory=dict)
    kind_version: int = 1
    title: str = ""
    pos: tuple[float, ...] = ()
    mode: str = "normal"
    extra: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"id": self.id, "kind": self.kind, "kind_version": self.kind_version}
        if self.title:
            data["title"] = self.title
        data["widgets"] = copy.deepcopy(dict(self.widgets))
        if self.pos:
            data["pos"] = list(self.pos)
        return {**data, "mode": self.mode, **copy.deepcopy(dict(self.extra))}


@dataclass(frozen=True)
class Edge:
    """From an output (node id, socket) to an input (node id, socket)."""

    source: tuple[str, str]
    target: tuple[str, str]
    extra: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"from": list(self.source), "to": list(self.target), **copy.deepcopy(dict(self.extra))}


@dataclass(frozen=True)
class Exposed:
    """A widget that the Create page shows."""

    node: str
    widget: str
    label: str = ""
    order: float = 0
    extra: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "widget": self.widget,
            "label": self.label,
            "order": self.order,
            **copy.deepcopy(dict(self.extra)),
        }


@dataclass(frozen=True)
class Graph:
    """A document in memory. Treat it as a value: `set` returns a new one."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    definitions: Json = field(default_factory=dict)
    groups: tuple[Any, ...] = ()
    notes: tuple[Any, ...] = ()
    kinds: Json = field(default_factory=dict)
    version: int = VERSION
    extra: Json = field(default_factory=dict)

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """Nodes by id; of two with one id (an error that `check` names) the first."""
        return {n.id: n for n in reversed(self.nodes)}

    def node(self, id: str) -> Node:
        """The node of that id; StudioError with the nearest ids otherwise."""
        found = self.by_id.get(id)
        if found is None:
            hint = did_you_mean(id, self.by_id) or f"Nodes here: {', '.join(list(self.by_id)[:12])}."
            raise StudioError(f"No node {id!r} in this workflow.", hint=hint, node=id)
        return found

    def set(self, node_id: str, widget: str, value: object) -> Graph:
        """The same graph with one constant changed."""
        old = self.node(node_id)
        changed = replace(old, widgets={**old.widgets, widget: copy.deepcopy(value)})
        return replace(self, nodes=tuple(changed if n is old else n for n in self.nodes))

    def with_kinds(self, registry: Any) -> Graph:
        """The same graph with `kinds` filled from the registry for every known kind in use, also inside of
        sub-graphs; others are kept."""
        inside = [
            str(node.get("kind"))
            for given in self.definitions.values()
            if isinstance(given, dict) and isinstance(given.get("nodes"), list)
            for node in given["nodes"]
            if isinstance(node, dict)
        ]
        used = {kind: registry.find(kind) for kind in dict.fromkeys((*(n.kind for n in self.nodes), *inside))}
        known = {kind: spec.brief() for kind, spec in used.items() if spec is not None}
        return replace(self, kinds={**self.kinds, **known})

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical form without what is only presentation (pos, title, groups, notes,
        kinds)."""
        nodes = sorted(
            ({"id": n.id, "kind": n.kind, "widgets": n.widgets, "mode": n.mode} for n in self.nodes),
            key=lambda n: str(n["id"]),
        )
        edges = sorted([*e.source, *e.target] for e in self.edges)
        data = {
            "format": FORMAT,
            "version": self.version,
            "nodes": nodes,
            "edges": edges,
            "definitions": {name: _shape(given) for name, given in self.definitions.items()},
        }
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, {len(self.edges)} edges)"


def loads(text: str | bytes, *, limits: Limits = Limits()) -> Graph:
    """The graph in a JSON text. BadDocument names what is wrong and where."""
    return _load(read_json(text, limits), limits)


def load(data: Json, *, limits: Limits = Limits()) -> Graph:
    """The graph in parsed JSON; the data is copied, so that later changes to it do not reach the graph."""
    return _load(copied(data, limits), limits)


def to_json(graph: Graph) -> dict[str, Any]:
    """The document as plain JSON values, copied."""
    return {
        "format": FORMAT,
        "version": graph.version,
        "nodes": [n.to_json() for n in graph.nodes],
        "edges": [e.to_json() for e in graph.edges],
        "exposed": [x.to_json() for x in graph.exposed],
        "definitions": copy.deepcopy(dict(graph.definitions)),
        "groups": copy.deepcopy(list(graph.groups)),
        "notes": copy.deepcopy(list(graph.notes)),
        "kinds": copy.deepcopy(dict(graph.kinds)),
        **copy.deepcopy(dict(graph.extra)),
    }


def dumps(graph: Graph, *, indent: int | None = None) -> str:
    """The document as JSON text."""
    return json.dumps(to_json(graph), indent=indent, ensure_ascii=False, allow_nan=False)


def _shape(definition: object) -> object:
    """A definition without what is only presentation."""
    if not isinstance(definition, dict):
        return definition
    plain = {k: v for k, v in definition.items() if k not in ("title", "help", "groups", "notes")}
    for part, shown_only in (
        ("nodes", ("pos", "title", "kind_version")),
        ("inputs", ("label",)),
        ("outputs", ("label",)),
    ):
        items = plain.get(part)
        if isinstance(items, list):
            plain[part] = [
                {k: v for k, v in item.items() if k not in shown_only} if isinstance(item, dict) else item
                for item in items
            ]
    return plain


def _load(data: object, limits: Limits) -> Graph:
    if not isinstance(data, dict):
        raise BadDocument(
            "A workflow is a JSON object.", hint='It starts with {"format": "weft/graph", "version": 1, ...}.'
        )
    if data.get("format") != FORMAT:
        given = repr(data["format"])[:60] if "format" in data else "no format"
        raise BadDocument(
            f"This is not a Weft workflow: {given} instead of {FORMAT!r}.",
            hint="Open a file saved by Weft, or a picture made by it.",
        )
    data = _upgraded(data)
    nodes = read_items(data, "nodes")
    edges = read_items(data, "edges")
    for what, found, most in (("nodes", nodes, limits.nodes), ("edges", edges, limits.edges)):
        if len(found) > most:
            raise BadDocument(
                f"The workflow has {len(found):,} {what}; at most {most:,} are allowed.",
                hint="Split it into smaller workflows.",
            )
    known = ("format", "version", "nodes", "edges", "exposed", "definitions", "groups", "notes", "kinds")
    return Graph(
        nodes=tuple(read_node(item, f"nodes[{i}]") for i, item in enumerate(nodes)),
        edges=tuple(read_edge(item, f"edges[{i}]") for i, item in enumerate(edges)),
        exposed=tuple(_exposed(item, f"exposed[{i}]") for i, item in enumerate(read_items(data, "exposed"))),
        definitions=read_field(data, "definitions", dict, {}, "document"),
        kinds=read_field(data, "kinds", dict, {}, "document"),
        groups=tuple(read_items(data, "groups")),
        notes=tuple(read_items(data, "notes")),
        version=VERSION,
        extra={k: v for k, v in data.items() if k not in known},
    )


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    version = data.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise BadDocument(
            f"The workflow's version is {version!r}; it must be a whole number from 1.",
            hint=f"This studio writes version {VERSION}.",
        )
    if version > VERSION:
        raise BadDocument(
            f"The workflow has version {version}; this studio reads up to {VERSION}.",
            hint="Update Weft to open it.",
        )
    while version < VERSION:
        data = UPGRADES[version](data)
        version += 1
    return data


def read_field(data: Json, name: str, kind: type | tuple[type, ...], default: Any, where: str) -> Any:
    """A field of one of these types; BadDocument for anything else."""
    value = data.get(name, default)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kinds):
        words = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}
        raise BadDocument(f"{where}: {name!r} must be {words[kinds[0]]}, not {repr(value)[:60]}.")
    return value


def read_items(data: Json, name: str, where: str = "document") -> list[Any]:
    """A list of the document; BadDocument for anything else."""
    return list(read_field(data, name, list, [], where))


def _text(data: Json, name: str, where: str) -> str:
    if name not in data:
        raise BadDocument(f"{where} has no {name!r}.")
    value: str = read_field(data, name, str, "", where)
    if not value or len(value) > 200:
        raise BadDocument(f"{where}: {name!r} must be 1 to 200 characters, not {len(value)}.")
    return value


def _rest(data: Json, *known: str) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in known}


def _object(item: object, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadDocument(f"{where} must be an object, not {repr(item)[:60]}.")
    return item


def read_node(item: object, where: str) -> Node:
    """A node in parsed JSON; BadDocument names what is wrong with it."""
    data = _object(item, where)
    mode = read_field(data, "mode", str, "normal", where)
    if mode not in MODES:
        raise BadDocument(
            f"{where}: the mode {mode[:40]!r} is not known.", hint=f"Modes: {', '.join(MODES)}."
        )
    pos = read_field(data, "pos", list, [], where)
    if not all(isinstance(p, (int, float)) and not isinstance(p, bool) for p in pos):
        raise BadDocument(f"{where}: 'pos' holds something that is not a number.")
    return Node(
        id=_text(data, "id", where),
        kind=_text(data, "kind", where),
        kind_version=read_field(data, "kind_version", int, 1, where),
        title=read_field(data, "title", str, "", where),
        widgets=read_field(data, "widgets", dict, {}, where),
        pos=tuple(pos),
        mode=mode,
        extra=_rest(data, "id", "kind", "kind_version", "title", "widgets", "pos", "mode"),
    )


def read_end(data: Json, name: str, where: str) -> tuple[str, str]:
    """A pair [node id, socket name]; BadDocument for anything else."""
    value: Sequence[object] = read_field(data, name, list, [], where)
    if len(value) != 2 or not all(isinstance(v, str) and v for v in value):
        raise BadDocument(
            f"{where}: {name!r} must be [node id, socket name], not {repr(value)[:60]}.",
            hint="Sockets have names; numbers are not accepted.",
        )
    return str(value[0]), str(value[1])


def read_edge(item: object, where: str) -> Edge:
    """An edge in parsed JSON; BadDocument names what is wrong with it."""
    data = _object(item, where)
    return Edge(read_end(data, "from", where), read_end(data, "to", where), _rest(data, "from", "to"))


def _exposed(item: object, where: str) -> Exposed:
    data = _object(item, where)
    return Exposed(
        _text(data, "node", where),
        _text(data, "widget", where),
        read_field(data, "label", str, "", where),
        read_field(data, "order", (int, float), 0, where),
        _rest(data, "node", "widget", "label", "order"),
    )


__all__ = ["BadDocument", "Edge", "Exposed", "Graph", "Limits", "Node", "dumps", "load", "loads", "to_json"]
