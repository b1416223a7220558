"""Sub-graphs put in place of the nodes that stand for them (E24): one flat graph, ids "outer/inner".

Pure and iterative. An id inside depends only on the ids along its way, so a node that draws random numbers
draws the same in every run (E28); and as ids are in no other key, two instances with equal inputs share the
cache. A document without sub-graphs comes back as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from studio.errors import StudioError, did_you_mean
from studio.graph.definitions import Definition, End, Local, Specs, passing
from studio.graph.document import Edge, Graph, Limits, Node
from studio.graph.topology import title_of

SEPARATOR = "/"


@dataclass
class Fault:
    """What is wrong with a node that stands for a sub-graph. `lost`: inputs left without a source."""

    node: str
    socket: str
    message: str
    hint: str = ""
    value: object = None
    stage: str = "sockets"
    lost: tuple[End, ...] = ()


@dataclass
class Instance:
    """A node that was unpacked: its definition, and the settings it gives to what is inside."""

    id: str
    title: str
    definition: Definition
    mode: str
    parent: str
    widgets: dict[str, Any] = field(default_factory=dict)


@dataclass
class Flat:
    """A graph without sub-graphs. `broken`: why a node that stands for one could not be unpacked."""

    graph: Graph
    instances: dict[str, Instance] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    broken: dict[str, StudioError] = field(default_factory=dict)

    def place(self, node: str, socket: str) -> tuple[str, str]:
        """Where a person finds a socket of the flat graph: as far out as it is shown under some name."""
        while (inside := self._parent(node)) is not None:
            end = (node[len(inside.id) + 1 :], socket)
            openings = (*inside.definition.inputs, *inside.definition.outputs)
            shown = next((opening for opening in openings if end in opening.ends), None)
            if shown is None:
                break
            node, socket = inside.id, shown.name
        return node, socket

    def hit(self, fault: Fault) -> set[str]:
        """The nodes of the flat graph that cannot give a result because of a fault."""
        return {
            *(id for id, _ in fault.lost),
            *(n.id for n in self.graph.nodes if n.id.startswith(fault.node + SEPARATOR)),
        }

    def title(self, node: str) -> str:
        """The title of a node that was unpacked; empty for any other."""
        return self.instances[node].title if node in self.instances else ""

    def targets(self, given: Sequence[str] | None, specs: Specs) -> list[str] | None:
        """Targets of a run in the flat graph: of a sub-graph, what makes its outputs and its output nodes."""
        if given is None or not self.instances:
            return None if given is None else list(given)
        found: list[str] = []
        for target in given:
            found += self._targets(target, specs) if target in self.instances else [target]
        return list(dict.fromkeys(found))

    def _targets(self, target: str, specs: Specs) -> list[str]:
        if self.instances[target].mode == "bypass":
            raise StudioError(
                f"{self.title(target)} is bypassed, so it cannot be a target.",
                hint="Switch it on.",
                node=target,
            )
        ends = []
        for opening in self.instances[target].definition.outputs:
            id, socket = f"{target}{SEPARATOR}{opening.ends[0][0]}", opening.ends[0][1]
            while id in self.instances:
                inner = self.instances[id].definition.output(socket)
                if inner is None:
                    break
                id, socket = f"{id}{SEPARATOR}{inner.ends[0][0]}", inner.ends[0][1]
            ends.append(id)
        inside = [n for n in self.graph.nodes if n.id.startswith(target + SEPARATOR)]
        kept = [n.id for n in inside if (spec := specs.find(n.kind)) is not None and spec.output]
        known = [id for id in (*ends, *kept) if id in self.graph.by_id]
        if not known:
            known = [n.id for n in inside]
        if not known:
            raise StudioError(f"There is nothing inside of {self.title(target)}.", node=target)
        return known

    def _parent(self, node: str) -> Instance | None:
        at = node.rfind(SEPARATOR)
        while at > 0:
            if node[:at] in self.instances:
                return self.instances[node[:at]]
            at = node.rfind(SEPARATOR, 0, at)
        return None


def inline(graph: Graph, specs: Specs, limits: Limits = Limits()) -> Flat:
    """The document with every sub-graph put in place of its node. Raises nothing: what is wrong is told."""
    if not any(node.kind in graph.definitions for node in graph.nodes):
        return Flat(graph)
    return _Inliner(graph, specs, limits).flat


class _Inliner:
    """One pass: nodes from the outside in, then edges from end to end, then what Create shows."""

    def __init__(self, graph: Graph, specs: Specs, limits: Limits) -> None:
        self.specs = Local(graph, specs)
        self.limits = limits
        self.flat = Flat(graph)
        self.nodes: list[Node] = []
        self.raw: list[Edge] = []
        self.into: dict[End, End] = {}
        self._walk(graph)
        edges = list(self._edges())
        exposed = [
            replace(shown, node=end[0], widget=end[1])
            for shown in graph.exposed
            for end in (list(self._down((shown.node, shown.widget)))[:1] or [(shown.node, shown.widget)])
        ]
        self.flat.graph = replace(
            graph, nodes=tuple(self.nodes), edges=tuple(edges), exposed=tuple(exposed), groups=(), notes=()
        )

    def _walk(self, graph: Graph) -> None:
        self._take_edges("", graph.edges)
        stack: list[tuple[Node, str, str, str]] = [(n, "", "", "normal") for n in reversed(graph.nodes)]
        while stack:
            node, prefix, titles, mode = stack.pop()
            id = prefix + node.id
            inside = self.flat.instances.get(prefix.removesuffix(SEPARATOR))
            widgets = {**node.widgets, **self._given(inside, node.id)} if inside else node.widgets
            mode = node.mode if mode == "normal" else mode
            definition = self.specs.definition(node.kind)
            fault = self.specs.fault(node.kind) if node.kind in self.specs.own else None
            count = len(self.nodes) + len(stack) + (len(definition.nodes) if definition is not None else 0)
            if definition is not None and count > self.limits.nodes:
                fault = StudioError(
                    f"With its sub-graphs in place the workflow has more than {self.limits.nodes:,} nodes.",
                    hint="Use fewer of them.",
                )
            title = titles + title_of(node, self.specs.find(node.kind))
            if definition is None or fault is not None:
                if fault is not None:
                    self.flat.broken[id] = fault
                shown = title if titles else node.title
                self.nodes.append(replace(node, id=id, widgets=widgets, title=shown, mode=mode))
                continue
            made = Instance(id, title, definition, mode, inside.id if inside else "", dict(widgets))
            self.flat.instances[id] = made
            self._check_widgets(made)
            if mode == "bypass":
                continue
            self._take_edges(id + SEPARATOR, definition.edges)
            stack.extend((n, id + SEPARATOR, f"{title} / ", mode) for n in reversed(definition.nodes))

    def _given(self, inside: Instance, node: str) -> dict[str, Any]:
        """The settings that an instance gives to one of its nodes."""
        return {
            end[1]: inside.widgets[opening.name]
            for opening in inside.definition.inputs
            if opening.name in inside.widgets
            for end in opening.ends
            if end[0] == node
        }

    def _check_widgets(self, made: Instance) -> None:
        names = [opening.name for opening in made.definition.inputs]
        for name, value in made.widgets.items():
            if name not in names:
                hint = did_you_mean(name, names) or f"It has {', '.join(map(repr, names)) or 'none'}."
                self._fault(made.id, name, f"There is no setting {name!r}.", hint, value, "widgets")

    def _fault(
        self,
        node: str,
        socket: str,
        message: str,
        hint: str = "",
        value: object = None,
        stage: str = "sockets",
    ) -> None:
        self.flat.faults.append(Fault(node, socket, message, hint, value, stage))

    # edges

    def _take_edges(self, prefix: str, edges: Sequence[Edge]) -> None:
        for edge in edges:
            (source, out), (target, name) = edge.source, edge.target
            moved = replace(edge, source=(prefix + source, out), target=(prefix + target, name))
            self.raw.append(moved)
            self.into.setdefault(moved.target, moved.source)

    def _edges(self) -> Iterator[Edge]:
        count = 0
        for edge in self.raw:
            before = len(self.flat.faults)
            source = self._up(edge.source)
            if source is None:
                lost = tuple(self._down(edge.target))
                for fault in self.flat.faults[before:]:
                    fault.lost = lost
                continue
            for target in self._down(edge.target, told=True):
                count += 1
                if count > self.limits.edges:
                    self._fault(
                        "",
                        "",
                        f"With its sub-graphs in place it has more than {self.limits.edges:,} edges.",
                        "Use fewer of them.",
                        stage="limits",
                    )
                    return
                yield replace(edge, source=source, target=target)

    def _up(self, end: End) -> End | None:
        """The node inside that gives an output; None where there is none, which is told."""
        seen: set[End] = set()
        while (made := self.flat.instances.get(end[0])) is not None:
            if end in seen:
                return None  # bypassed nodes in a circle
            seen.add(end)
            if made.mode == "bypass":
                before = self._passed(made, end[1])
                if before is None:
                    return None
                end = before
                continue
            opening = made.definition.output(end[1])
            if opening is None:
                names = [one.name for one in made.definition.outputs]
                self._unknown(made.id, end[1], "output", names)
                return None
            inner, socket = opening.ends[0]
            if all(n.id != inner for n in made.definition.nodes):
                self._fault(
                    made.id,
                    end[1],
                    f"The output {end[1]!r} comes from {inner!r}, which is not in {made.title}.",
                    "Open the sub-graph and choose another output.",
                )
                return None
            end = (f"{made.id}{SEPARATOR}{inner}", socket)
        return end

    def _passed(self, made: Instance, out: str) -> End | None:
        """What feeds a bypassed sub-graph and goes on to this output."""
        spec = self.specs.find(made.definition.name)
        socket = spec.output_socket(out) if spec is not None else None
        if spec is None or socket is None:
            self._unknown(made.id, out, "output", [one.name for one in made.definition.outputs])
            return None
        name = passing(spec, socket, {name for id, name in self.into if id == made.id})
        if not name:
            told = f"It cannot be bypassed: no input of type {socket.type} could pass through."
            self._fault(made.id, out, told, "Switch it on, or mute it.", stage="required")
        elif (made.id, name) not in self.into:
            told = f"Bypassed, but nothing is connected to {name!r}."
            self._fault(made.id, name, told, f"Connect a node that gives {socket.type}.", stage="required")
        return self.into.get((made.id, name)) if name else None

    def _down(self, end: End, told: bool = False) -> Iterator[End]:
        """The sockets inside to which an input leads, each once."""
        seen = {end}
        stack = [end]
        while stack:
            id, name = stack.pop()
            made = self.flat.instances.get(id)
            if made is None:
                yield id, name
                continue
            opening = made.definition.input(name)
            if opening is None:
                if told:
                    self._unknown(id, name, "input", [one.name for one in made.definition.inputs])
                continue
            if made.mode == "bypass":
                continue
            inside = [(f"{id}{SEPARATOR}{inner}", socket) for inner, socket in reversed(opening.ends)]
            stack.extend(one for one in inside if one not in seen)
            seen.update(inside)

    def _unknown(self, node: str, name: str, what: str, known: Sequence[str]) -> None:
        hint = did_you_mean(name, known) or (
            f"It has {', '.join(map(repr, known))}." if known else f"It has no {what}s."
        )
        self._fault(node, name, f"There is no {what} {name!r}.", hint, name)
