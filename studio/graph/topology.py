"""Ways through a graph: who feeds whom, what leads to the targets, circles. Iterative and linear (E7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from studio.graph.document import Edge, Graph, Node
from studio.graph.spec import NodeSpec


def incoming(graph: Graph) -> dict[str, list[Edge]]:
    """Edges by the node they end in."""
    found: dict[str, list[Edge]] = {n.id: [] for n in graph.nodes}
    for edge in graph.edges:
        found.setdefault(edge.target[0], []).append(edge)
    return found


def reached(ways: Mapping[str, Iterable[str]], starts: Iterable[str]) -> set[str]:
    """The starts and everything that a way leads to; `ways`: where one comes from a node in one step."""
    found: set[str] = set()
    stack = list(starts)
    while stack:
        id = stack.pop()
        if id not in found:
            found.add(id)
            stack.extend(ways.get(id, ()))
    return found


def ancestors(graph: Graph, targets: Iterable[str]) -> set[str]:
    """The targets and everything that leads to them."""
    return reached({id: [e.source[0] for e in edges] for id, edges in incoming(graph).items()}, targets)


def find_cycle(sources: Mapping[str, Sequence[str]]) -> list[str]:
    """One cycle as node ids in the direction of the edges, its first node again at the end; [] if there is
    none."""
    waiting = {id: len(set(from_)) for id, from_ in sources.items()}
    consumers: dict[str, list[str]] = {id: [] for id in sources}
    for id, from_ in sources.items():
        for source in set(from_):
            consumers[source].append(id)
    ready = [id for id, n in waiting.items() if n == 0]
    while ready:
        for consumer in consumers[ready.pop()]:
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                ready.append(consumer)
    left = {id for id, n in waiting.items() if n}
    if not left:
        return []
    # Every node left has a source that is left, so walking up must come back somewhere.
    at = min(left)
    path: list[str] = []
    place: dict[str, int] = {}
    while at not in place:
        place[at] = len(path)
        path.append(at)
        at = next(s for s in sources[at] if s in left)
    circle = path[place[at] :][::-1]
    return [*circle, circle[0]]


def title_of(node: Node, spec: NodeSpec | None) -> str:
    """What a person calls the node."""
    return node.title or (spec.title if spec else node.kind)
