""""Keep this": what a run shows while it goes on, or when it was stopped, becomes a picture of the history.

The kept picture is the result of a document of its own: that of the run, with a node "Stop early" at the
sampler of the node that was painting. Its run goes on from the states that the first one stored, so that it
costs no network call, and a replay of it gives the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.graph.document import Edge, Graph, Node
from studio.graph.inline import inline

if TYPE_CHECKING:
    from studio.studio import Studio

KIND, SOCKET = "stop_early", "sampler"


@dataclass(frozen=True)
class Painters:
    """The nodes of a run's document that can end early."""

    document: Graph
    nodes: frozenset[str] = frozenset()

    def at_work(self, snapshot: Mapping[str, Any]) -> tuple[str, int] | None:
        """(node, steps done) of the node that paints in a snapshot (ui.md 4.1), or painted when the run was
        stopped; None if there is nothing to keep."""
        job = snapshot.get("job")
        nodes = snapshot.get("nodes")
        step = job.get("step") if isinstance(job, Mapping) else None
        if not isinstance(step, int) or step < 1 or not isinstance(nodes, Mapping):
            return None
        for name, node in nodes.items():
            if name in self.nodes and node.get("state") in ("running", "stopped") and node.get("progress"):
                return name, step
        return None


def painters(studio: Studio, run: str, owner: str) -> Painters:
    """The painters of a run of this owner; none for a run that is not there."""
    job = studio.jobs.get(run, owner)
    if job is None:
        return Painters(Graph())
    # the names of nodes inside sub-graphs are those of the flat document, and so are a run's
    flat = inline(studio.read_document(job.document), studio.registry).graph
    fed = {edge.target[0] for edge in flat.edges if edge.target[1] == SOCKET}
    found = []
    for node in flat.nodes:
        spec = studio.registry.find(node.kind)
        if node.id in fed and spec is not None and node.kind != KIND and spec.resources:
            found.append(node.id)
    return Painters(flat, frozenset(found))


def keep_now(studio: Studio, run: str, owner: str = "local") -> str:
    """Stops a run if it goes on, and queues one that keeps what it shows; gives the new run's id.

    StudioError if there is no such run of this owner, or nothing in it to keep.
    """
    job = studio.jobs.get(run, owner)
    if job is None:
        raise StudioError("This run is not known any more.", hint="Start it again.")
    known = painters(studio, run, owner)
    found = known.at_work(studio.snapshot(run, owner))
    if found is None:
        raise StudioError(
            "There is nothing to keep yet.",
            hint="Wait until the picture has begun to show; a finished one is in the history already.",
        )
    studio.cancel(run, owner)
    pairs = job.params.get("parents")
    parents = [(str(a), str(b)) for a, b in pairs] if isinstance(pairs, list) else []
    document = ended(known.document, *found)
    return studio.submit(document, targets=job.targets, owner=owner, parents=parents)


def ended(document: Graph, node: str, after: int) -> Graph:
    """The document with the run of `node` ending after so many steps."""
    taken, name, count = document.by_id, "keep_this", 1
    while name in taken:
        count += 1
        name = f"keep_this_{count}"
    at = taken[node].pos
    place = (at[0] - 220.0, at[1] + 140.0) if len(at) == 2 else ()
    stop = Node(name, KIND, {"after": after}, title="Keep this", pos=place)
    edges = []
    for edge in document.edges:
        if edge.target == (node, SOCKET):
            edges += [replace(edge, target=(name, SOCKET)), Edge((name, SOCKET), (node, SOCKET))]
        else:
            edges.append(edge)
    return replace(document, nodes=(*document.nodes, stop), edges=tuple(edges))
