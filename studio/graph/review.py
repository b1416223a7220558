"""Checks that a node brings along: refuse a combination before anything runs (`@node(review=...)`).

A review sees the document, never values: the settings of its node and of whatever feeds its inputs. It gives
refusals; what can be known only from values is refused by the node itself when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.graph.definitions import passing
from studio.graph.document import Edge, Node
from studio.graph.node_spec import NodeSpec
from studio.graph.topology import title_of


@dataclass(frozen=True)
class Refusal:
    """Why a node will not work as it is connected; `level`: "error" or "warning". `at`: the node that it is
    about, if not the one that looked; one of those that feed it."""

    message: str
    hint: str = ""
    socket: str = ""
    level: str = "error"
    at: View | None = None


@dataclass(frozen=True)
class View:
    """A node as a review sees it: its kind, title, technique and settings (defaults filled in; a setting
    that an edge feeds is missing), and what feeds it."""

    kind: str
    title: str
    technique: str
    widgets: Mapping[str, Any]
    _id: str = field(repr=False)
    _graph: _Graph = field(repr=False, compare=False)

    def feeding(self, socket: str) -> tuple[View, ...]:
        """The nodes whose values reach a socket: one, none, or several through nodes that only collect
        (a list made of lists) or are bypassed."""
        return tuple(self._graph.feeding(self._id, socket))


@dataclass(frozen=True)
class _Graph:
    nodes: Mapping[str, Node]
    spec: Mapping[str, NodeSpec | None]
    fed: Mapping[str, Mapping[str, Edge]]

    def view(self, id: str) -> View | None:
        node, spec = self.nodes[id], self.spec[id]
        if spec is None or node.mode == "mute":
            return None
        settings = {p.name: node.widgets.get(p.name, p.default) for p in spec.params}
        for name in self.fed[id]:
            settings.pop(name, None)
        return View(spec.kind, title_of(node, spec), spec.technique, settings, id, self)

    def feeding(self, id: str, socket: str) -> Iterator[View]:
        stack, seen = [(id, socket)], set()
        while stack:
            at = stack.pop()
            edge = self.fed[at[0]].get(at[1])
            if edge is None or at in seen or edge.source[0] not in self.nodes:
                continue
            seen.add(at)
            source = edge.source[0]
            spec = self.spec[source]
            view = self.view(source)
            if view is None or spec is None:
                continue
            out = spec.output_socket(edge.source[1])
            if out is not None and self.nodes[source].mode == "bypass":
                through = [name for name in (passing(spec, out, self.fed[source]),) if name]
            else:
                gathers = out is not None and out.many
                through = [s.name for s in spec.inputs if gathers and out is not None and s.type == out.type]
            if through:
                stack += [(source, name) for name in reversed(through)]
            else:
                yield view


def reviews(
    nodes: Mapping[str, Node], spec: Mapping[str, NodeSpec | None], fed: Mapping[str, Mapping[str, Edge]]
) -> Iterator[tuple[str, Refusal]]:
    """(node id, refusal) of every node whose kind has a review and that takes part; each only once."""
    graph = _Graph(nodes, spec, fed)
    told: set[tuple[str, str, str]] = set()
    for id, node in nodes.items():
        kind = spec[id]
        if kind is None or kind.review is None or node.mode != "normal":
            continue
        view = graph.view(id)
        if view is None:
            continue
        try:
            found = list(kind.review(view))
        except Exception as error:  # noqa: BLE001
            # a plugin's own check must not keep anybody from working
            found = [Refusal(f"Its own check failed: {type(error).__name__}: {error}", level="warning")]
        for refusal in found:
            place = refusal.at._id if refusal.at else id
            if (place, refusal.socket, refusal.message) not in told:
                told.add((place, refusal.socket, refusal.message))
                yield place, refusal
