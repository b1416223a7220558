"""Schedules that were searched for a model, offered where they fit: the same weights, size and guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from studio.errors import StudioError, did_you_mean
from studio.graph.document import Edge, Graph, Node
from studio.graph.registry import Registry
from studio.history.calibrations import Calibrations

KIND, FOUND = "found_schedule", "found"
PLAIN = ("schedule", KIND)  # nodes whose spacing is chosen
FED = ("model", "latent", "guidance")  # what the found schedule must know, as Sample gets it
KEPT_AS = "schedule"
# what says which sampler steps along a list, and the one that lists are searched with
RULE, CHOICE, MEASURED = "sampler", "choose_sampler", "euler"
Offer = dict[str, Any]


def offers(
    document: Graph, registry: Registry, kept: Calibrations, digest: Callable[[str], str]
) -> list[Offer]:
    """The lists that fit a schedule of the document: `node`, `steps`, `gain` (None where not known).

    digest: of a model's weights by its reference; asked only if something was found for any model.
    """
    if not kept.any(KEPT_AS):
        return []
    found: list[Offer] = []
    for node in document.nodes:
        run = _run_of(document, node)
        if run is None:
            continue
        try:
            found += _fitting(document, registry, kept, digest, node, run)
        except StudioError:
            continue
    return found


def wired(document: Graph, registry: Registry, node: str, steps: int) -> Graph:
    """The document with the found list of so many steps in the place of a schedule, stepped along by euler,
    as it was searched; `offers` says which."""
    schedule = document.node(node)
    run = _run_of(document, schedule)
    if run is None:
        possible = [one.id for one in document.nodes if _run_of(document, one) is not None]
        raise StudioError(
            f"{schedule.title or node!r} takes no found schedule.",
            hint=did_you_mean(node, possible) or "Take the Schedule of a run that starts from noise.",
        )
    spec = registry.get(KIND)
    known = {param.name for param in spec.params}
    widgets = {name: value for name, value in schedule.widgets.items() if name in known}
    changed = replace(
        schedule,
        kind=KIND,
        kind_version=spec.version,
        widgets=widgets | {"steps": steps, "spacing": FOUND},
    )
    places = {(node, name) for name in (*FED, "steps", "spacing")}
    edges = [edge for edge in document.edges if edge.target not in places]
    edges += [Edge(run[name], (node, name)) for name in FED]
    nodes = tuple(changed if one.id == node else one for one in document.nodes)
    rule = run.get(RULE, ("", ""))[0]
    nodes = tuple(
        replace(one, widgets={**one.widgets, RULE: MEASURED}) if one.id == rule else one for one in nodes
    )
    return replace(document, nodes=nodes, edges=tuple(edges))


def _run_of(document: Graph, node: Node) -> Mapping[str, tuple[str, str]] | None:
    """Where the run that this schedule feeds gets its model, canvas and guidance; None if there is none."""
    if node.kind not in PLAIN or node.mode != "normal":
        return None
    for edge in document.edges:
        if edge.source[0] == node.id and edge.target[1] == "sigmas":
            fed = {e.target[1]: e.source for e in document.edges if e.target[0] == edge.target[0]}
            free = RULE not in fed or _chosen(document, fed[RULE][0], node.id)
            if all(name in fed for name in FED) and free:
                return {name: fed[name] for name in (*FED, RULE) if name in fed}
    return None


def _chosen(document: Graph, id: str, schedule: str) -> bool:
    """Whether that node gives a sampler by a setting that can be changed, to runs of that schedule alone."""
    wired_in = any(edge.target == (id, RULE) for edge in document.edges)
    runs = {edge.target[0] for edge in document.edges if edge.source[0] == id}
    same = {edge.target[0] for edge in document.edges if edge.source[0] == schedule}
    return document.node(id).kind == CHOICE and not wired_in and runs <= same


def _fitting(
    document: Graph,
    registry: Registry,
    kept: Calibrations,
    digest: Callable[[str], str],
    node: Node,
    run: Mapping[str, tuple[str, str]],
) -> Iterator[Offer]:
    from studio.sampling.search import stored

    model, canvas = (document.node(run[name][0]) for name in ("model", "latent"))
    ref, width, height = model.widgets.get("model"), *map(canvas.widgets.get, ("width", "height"))
    wired_in = {edge.target for edge in document.edges}
    fixed = not {(model.id, "model"), (canvas.id, "width"), (canvas.id, "height")} & wired_in
    guidance = _guidance(document, registry, run["guidance"][0])
    whole = model.kind == "load_model" and canvas.kind == "empty_latent" and fixed
    if not whole or guidance is None or not isinstance(ref, str):
        return
    if not isinstance(width, int) or not isinstance(height, int):
        return
    for key, row in kept.all(digest(ref), KEPT_AS).items():
        sigmas = stored.read(row)
        if sigmas is None or row.get("found") is False:
            continue
        if key == stored.key_of(sigmas.steps, width, height, guidance):
            gain = row.get("gain")
            known = isinstance(gain, int | float) and not isinstance(gain, bool)
            yield {"node": node.id, "steps": sigmas.steps, "gain": gain if known else None}


def _guidance(document: Graph, registry: Registry, id: str) -> Any:
    """The guidance that a node gives, where that follows from settings alone; None where only the run can
    tell."""
    node = document.node(id)
    spec = registry.find(node.kind)
    if spec is None or spec.origin != "built-in" or spec.context or node.mode != "normal":
        return None
    fed = {edge.target[1]: edge.source for edge in document.edges if edge.target[0] == id}
    given = {param.name: node.widgets.get(param.name, param.default) for param in spec.params}
    for name, (source, _) in fed.items():
        socket = spec.socket(name)
        found = None
        if name not in given and socket is not None and getattr(socket, "type", "") == "Guidance":
            found = _guidance(document, registry, source)
        if found is None:
            return None
        given[name] = found
    if any(socket.name not in given for socket in spec.inputs):
        return None
    return spec.function(**given)
