"""What an output node shows, told from its graph: prompt, seed, model, and every setting behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.graph import topology
from studio.graph.definitions import local
from studio.graph.document import Graph
from studio.graph.registry import Registry

Place = tuple[str, str]  # node id, widget name


@dataclass(frozen=True)
class About:
    """What the ancestors of one output node say: the searchable facts of a generation."""

    prompt: str = ""
    negative: str = ""
    seed: int | None = None
    model: str = ""
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _needs(graph: Graph) -> dict[str, list[str]]:
    """The nodes that feed each node."""
    needs: dict[str, list[str]] = {}
    for edge in graph.edges:
        needs.setdefault(edge.target[0], []).append(edge.source[0])
    return needs


def ancestors(graph: Graph, target: str) -> list[str]:
    """Ids of `target` and everything it needs, in document order."""
    needed = topology.ancestors(graph, [target])
    return [node.id for node in graph.nodes if node.id in needed]


def widgets_of(graph: Graph, registry: Registry, within: Collection[str] | None = None) -> dict[str, Place]:
    """Where a document keeps `prompt`, `negative`, `seed`, `model`, and its other widgets by their name.

    Told by the sort of widget, never by a node's id. Exposed widgets come first, in their order, then the
    others in document order; the first one counts. A prompt widget called `negative` or `avoid`, labelled
    "Avoid", or of a node that feeds `negative` sockets only, is the negative one.
    """
    found: dict[str, Place] = {}
    for what, place in _places(graph, registry, within):
        found.setdefault(what, place)
    return found


def _places(graph: Graph, registry: Registry, within: Collection[str] | None) -> list[tuple[str, Place]]:
    """Every widget with its name in `widgets_of`, in the order that counts there."""
    sorts: dict[Place, str] = {}
    specs = local(graph, registry)
    for node in graph.nodes:
        spec = specs.find(node.kind)
        if spec is not None and (within is None or node.id in within):
            sorts.update({(node.id, param.name): param.widget.sort for param in spec.params})
    labels = {(e.node, e.widget): e.label for e in sorted(graph.exposed, key=lambda e: e.order)}
    feeds: dict[str, set[str]] = {}
    for edge in graph.edges:
        feeds.setdefault(edge.source[0], set()).add(edge.target[1])
    found: list[tuple[str, Place]] = []
    for place in [p for p in labels if p in sorts] + [p for p in sorts if p not in labels]:
        sort = sorts[place]
        if sort == "prompt":
            said = labels.get(place, "").strip().casefold() in ("avoid", "negative")
            avoided = said or place[1] in ("negative", "avoid") or feeds.get(place[0]) == {"negative"}
            sort = "negative" if avoided else "prompt"
        found.append((sort if sort in ("prompt", "negative", "seed", "model") else place[1], place))
    return found


def _nearest_prompt(graph: Graph, target: str, prompts: Sequence[Place]) -> Place:
    """The prompt that tells what a picture shows: the one fewest edges away from its output, of equal ones
    the last, of one node the first. That of an edit is nearer than that of the picture it began with."""
    needs = _needs(graph)
    far, queue = {target: 0}, [target]
    for node in queue:  # it grows while it is walked
        for source in needs.get(node, ()):
            if source not in far:
                far[source] = far[node] + 1
                queue.append(source)
    return min(dict(reversed(prompts)).items(), key=lambda place: far.get(place[0], len(far)))


def about(graph: Graph, registry: Registry, target: str, unread: Collection[Place] = ()) -> About:
    """The facts of one output: every parameter behind it with its value, and those that are searched.

    A prompt counts where something is written in it and read: not if an edge feeds the widget, nor if it is
    one of `unread`.
    """
    wanted = set(ancestors(graph, target))
    params: dict[str, dict[str, Any]] = {}
    for node in graph.nodes:
        spec = registry.find(node.kind)
        if node.id in wanted and spec is not None:
            params[node.id] = {
                param.name: node.widgets.get(param.name, param.default) for param in spec.params
            }
    found: dict[str, Any] = {}
    silent = {edge.target for edge in graph.edges} | set(unread)
    prompts: dict[Place, str] = {}
    for what, place in _places(graph, registry, wanted):
        value = params[place[0]][place[1]]
        if what not in ("prompt", "negative"):
            found.setdefault(what, value)
        elif place not in silent and str(value or "").strip():
            found.setdefault(what, str(value))
            if what == "prompt":
                prompts[place] = str(value)
    if prompts:
        found["prompt"] = prompts[_nearest_prompt(graph, target, tuple(prompts))]
    seed = found.get("seed")
    return About(
        found.get("prompt", ""),
        found.get("negative", ""),
        seed if isinstance(seed, int) else None,
        str(found.get("model") or ""),
        params,
    )
