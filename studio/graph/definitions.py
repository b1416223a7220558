"""Sub-graphs (E24): a definition of the document, read strictly, and the spec of the nodes that stand for it.

    "definitions": {"sub:finish": {"title": "Finish", "nodes": [...], "edges": [...],
        "inputs":  [{"name": "image", "label": "Picture", "to": [["grain", "image"]]}],
        "outputs": [{"name": "image", "label": "Picture", "from": ["fade", "image"]}]}}

A node whose kind is the name of a definition stands for it. Its inputs and settings are the definition's
`inputs`: each leads to sockets or settings inside, by name; so one list serves both, and what is inside tells
which. A definition of the document goes before a kind of the registry that has the same name.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from studio.errors import BadDocument, StudioError
from studio.graph.document import (
    Edge,
    Graph,
    Node,
    read_edge,
    read_end,
    read_field,
    read_items,
    read_node,
)
from studio.graph.node_spec import NodeSpec, Param, Socket
from studio.graph.types import ANY

GROUP = "Sub-graphs"
DEEPEST = 32
"""How many sub-graphs may lie in each other."""
End = tuple[str, str]


class Specs(Protocol):
    """What the engine needs of a registry."""

    def find(self, kind: str) -> NodeSpec | None:
        """The spec of a kind, also under its former name; None if unknown."""
        ...

    def known(self) -> Iterable[str]:
        """The kinds there are, for suggestions."""
        ...


@dataclass(frozen=True)
class Opening:
    """What a sub-graph shows outside under a name: `ends` inside, one for an output."""

    name: str
    label: str
    ends: tuple[End, ...]


@dataclass(frozen=True)
class Definition:
    """One sub-graph of a document."""

    name: str
    title: str
    help: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    inputs: tuple[Opening, ...]
    outputs: tuple[Opening, ...]

    def input(self, name: str) -> Opening | None:
        """The input or setting of that name."""
        return next((opening for opening in self.inputs if opening.name == name), None)

    def output(self, name: str) -> Opening | None:
        """The output of that name."""
        return next((opening for opening in self.outputs if opening.name == name), None)


def read_definition(name: str, given: object) -> Definition:
    """The definition in parsed JSON; BadDocument names what is wrong with it."""
    where = f"sub-graph {name[:80]!r}"
    if not isinstance(given, dict):
        raise BadDocument(f"The {where} must be an object, not {repr(given)[:60]}.")
    return Definition(
        name,
        read_field(given, "title", str, "", where) or name,
        read_field(given, "help", str, "", where),
        tuple(read_node(n, f"{where}: nodes[{i}]") for i, n in enumerate(read_items(given, "nodes", where))),
        tuple(read_edge(e, f"{where}: edges[{i}]") for i, e in enumerate(read_items(given, "edges", where))),
        tuple(_openings(given, "inputs", where)),
        tuple(_openings(given, "outputs", where)),
    )


def _openings(given: dict[str, Any], what: str, where: str) -> Iterator[Opening]:
    taken: set[str] = set()
    for i, item in enumerate(read_items(given, what, where)):
        place = f"{where}: {what}[{i}]"
        if not isinstance(item, dict):
            raise BadDocument(f"{place} must be an object, not {repr(item)[:60]}.")
        name = read_field(item, "name", str, "", place)
        if not name or name in taken:
            raise BadDocument(
                f"{place}: the name {name[:60]!r} is {'there twice' if name else 'empty'}.",
                hint="Each input and each output has a name of its own.",
            )
        taken.add(name)
        if what == "outputs":
            ends: tuple[End, ...] = (read_end(item, "from", place),)
        else:
            pairs = read_field(item, "to", list, [], place)
            ends = tuple(dict.fromkeys(read_end({"to": pair}, "to", place) for pair in pairs))
        yield Opening(name, read_field(item, "label", str, "", place), ends)


class Local:
    """The specs of a document: those of the registry, and one for each of its sub-graphs.

    `find` gives None for a sub-graph that is broken or contains itself; `fault(kind)` says why.
    """

    def __init__(self, graph: Graph, specs: Specs) -> None:
        self.own = graph.definitions
        self._specs = specs
        self._read: dict[str, Definition | StudioError] = {}
        self._made: dict[str, NodeSpec | None] = {}

    def known(self) -> Iterable[str]:
        """All kinds, those of the document first."""
        return (*self.own, *self._specs.known())

    def find(self, kind: str) -> NodeSpec | None:
        """The spec of a kind or of a sub-graph."""
        if kind not in self.own:
            return self._specs.find(kind)
        if kind not in self._made:
            definition = self.definition(kind)
            self._made[kind] = None if definition is None else self._spec(definition)
        return self._made[kind]

    def definition(self, kind: str) -> Definition | None:
        """The sub-graph of that name; None if there is none, or a broken one."""
        found = self._known(kind) if kind in self.own else None
        return found if isinstance(found, Definition) else None

    def fault(self, kind: str) -> StudioError | None:
        """Why a sub-graph of the document cannot be used; None if it can."""
        found = self._known(kind)
        return found if isinstance(found, StudioError) else None

    def _known(self, kind: str) -> Definition | StudioError:
        if not self._read:
            for name, given in self.own.items():
                try:
                    self._read[name] = read_definition(name, given)
                except StudioError as error:
                    self._read[name] = error
            self._survey()
        return self._read[kind]

    def _survey(self) -> None:
        """Find sub-graphs that hold themselves or are nested too deep. One walk down, iterative.

        Every circle keeps at least one node that is refused, so that nothing is unpacked for ever.
        """
        depth: dict[str, int] = {}
        faults: dict[str, StudioError] = {}
        for start in self._read:
            path: list[str] = []
            stack: list[tuple[str, bool]] = [(start, False)]
            while stack:
                name, closing = stack.pop()
                found = self._read[name]
                if isinstance(found, StudioError) or (not closing and name in depth):
                    continue
                inner = [n.kind for n in found.nodes if n.kind in self._read]
                if closing:
                    path.pop()
                    depth[name] = 1 + max((depth.get(kind, 0) for kind in inner), default=0)
                    if depth[name] > DEEPEST:
                        faults[name] = _too_deep(found)
                    continue
                if name in path:
                    circle = path[path.index(name) :]
                    line = [getattr(self._read[one], "title", one) for one in (*circle, name)]
                    for one in circle:
                        faults.setdefault(one, _in_itself(line))
                    continue
                path.append(name)
                stack.append((name, True))
                stack.extend((kind, False) for kind in dict.fromkeys(inner))
        self._read.update(faults)

    def _spec(self, definition: Definition) -> NodeSpec:
        by_id = {n.id: n for n in reversed(definition.nodes)}
        fed = {edge.target for edge in definition.edges}
        inputs: list[Socket] = []
        params: list[Param] = []
        for opening in definition.inputs:
            inside = [found for end in opening.ends if (found := self._inside(by_id, end)) is not None]
            node, first = inside[0] if inside else (None, Socket(opening.name, ANY, False, line=(ANY,)))
            label = opening.label or first.label
            if isinstance(first, Param):
                given = node is not None and first.name in node.widgets
                default = node.widgets[first.name] if node is not None and given else first.default
                params.append(
                    replace(
                        first,
                        name=opening.name,
                        label=label,
                        default=default,
                        required=first.required and not given,
                    )
                )
            else:
                needed = any(
                    isinstance(socket, Socket) and socket.required and (node.id, socket.name) not in fed
                    for node, socket in inside
                )
                inputs.append(replace(first, name=opening.name, label=label, required=needed))
        outputs: list[Socket] = []
        for opening in definition.outputs:
            maker = by_id.get(opening.ends[0][0])
            spec = self.find(maker.kind) if maker is not None else None
            socket = spec.output_socket(opening.ends[0][1]) if spec is not None else None
            socket = socket or Socket(opening.name, ANY, line=(ANY,))
            outputs.append(replace(socket, name=opening.name, label=opening.label or socket.label))
        specs = [self.find(n.kind) for n in definition.nodes]
        return NodeSpec(
            definition.name,
            _never,
            tuple(inputs),
            tuple(params),
            tuple(outputs),
            title=definition.title,
            group=GROUP,
            help=definition.help,
            output=any(spec is not None and spec.output for spec in specs),
            origin="this workflow",
        )

    def _inside(self, by_id: dict[str, Node], end: End) -> tuple[Node, Socket | Param] | None:
        node = by_id.get(end[0])
        spec = self.find(node.kind) if node is not None else None
        socket = spec.socket(end[1]) if spec is not None else None
        return None if node is None or socket is None else (node, socket)


def _in_itself(line: Sequence[str]) -> StudioError:
    return StudioError(
        f"The sub-graph {line[0]!r} contains itself: {' → '.join(line)}.",
        hint="Take it out of itself; a sub-graph is put in place of its node before a run.",
    )


def _too_deep(found: Definition) -> StudioError:
    return StudioError(
        f"The sub-graph {found.title!r} holds more than {DEEPEST} sub-graphs in each other.",
        hint="Unpack some of them.",
    )


def _never(*args: object) -> object:
    raise StudioError("A sub-graph is put in place of its node before a run.")


def local(graph: Graph, specs: Specs) -> Specs:
    """The specs of a document: the registry itself where the document has no sub-graphs."""
    return Local(graph, specs) if graph.definitions else specs


def passing(spec: NodeSpec, out: Socket, fed: Container[str]) -> str:
    """The input that goes on to an output when the node is bypassed: the first of the same type, or "".

    A setting counts as an input while an edge feeds it.
    """
    for socket in spec.inputs:
        if socket.type == out.type and socket.many == out.many:
            return socket.name
    settings = (p.name for p in spec.params if p.type == out.type and p.name in fed and not out.many)
    return next(settings, "")


__all__ = ["GROUP", "Definition", "Local", "Opening", "Specs", "local", "passing", "read_definition"]
