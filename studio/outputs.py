"""From a finished output node to the history: what the picture is about, its complete record, one row.

The record (architecture E38) is written before the event that shows the picture leaves the engine.
"""

from __future__ import annotations

import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from studio.errors import StudioError
from studio.graph.context import Device
from studio.graph.definitions import local
from studio.graph.document import Graph, dumps
from studio.graph.events import Event
from studio.graph.inline import inline
from studio.graph.registry import Registry
from studio.graph.report import Report as EngineReport
from studio.graph.resolve import as_run
from studio.history.generation import NewGeneration, new_record, pixels_digest
from studio.history.store import History
from studio.reports import NodeReport, OutputReport, Report, error_fields
from studio.values import Image

Place = tuple[str, str]  # node id, widget name
LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


@dataclass(frozen=True)
class About:
    """What the ancestors of one output node say: the searchable facts of a generation."""

    prompt: str = ""
    negative: str = ""
    seed: int | None = None
    model: str = ""
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def library_versions() -> dict[str, str]:
    """Versions of everything that may change a picture, read without importing it."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _needs(graph: Graph) -> dict[str, list[str]]:
    """The nodes that feed each node."""
    needs: dict[str, list[str]] = {}
    for edge in graph.edges:
        needs.setdefault(edge.target[0], []).append(edge.source[0])
    return needs


def ancestors(graph: Graph, target: str) -> list[str]:
    """Ids of `target` and everything it needs, in document order; linear, no recursion."""
    needs = _needs(graph)
    seen, stack = {target}, [target]
    while stack:
        for source in needs.get(stack.pop(), ()):
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return [node.id for node in graph.nodes if node.id in seen]


def widgets_of(graph: Graph, registry: Registry, within: Collection[str] | None = None) -> dict[str, Place]:
    """Where a document keeps `prompt`, `negative`, `seed`, `model`, and its other widgets by their name.

    Told by the sort of widget, never by a node's id. Exposed widgets come first, in their order, then the
    others in document order; the first one counts. A prompt widget called `negative`, labelled "Avoid", or
    of a node that feeds `negative` sockets only, is the negative one.
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
            avoided = said or place[1] == "negative" or feeds.get(place[0]) == {"negative"}
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


def about(graph: Graph, registry: Registry, target: str) -> About:
    """The facts of one output: every parameter behind it with its value, and those that are searched."""
    wanted = set(ancestors(graph, target))
    params: dict[str, dict[str, Any]] = {}
    for node in graph.nodes:
        spec = registry.find(node.kind)
        if node.id in wanted and spec is not None:
            params[node.id] = {
                param.name: node.widgets.get(param.name, param.default) for param in spec.params
            }
    places = widgets_of(graph, registry, wanted)
    prompts = [place for what, place in _places(graph, registry, wanted) if what == "prompt"]
    if prompts:
        places["prompt"] = _nearest_prompt(graph, target, prompts)
    found = {what: params[node][name] for what, (node, name) in places.items()}
    seed = found.get("seed")
    return About(
        str(found.get("prompt") or ""),
        str(found.get("negative") or ""),
        seed if isinstance(seed, int) else None,
        str(found.get("model") or ""),
        params,
    )


def plugins_used(registry: Registry, kinds: Sequence[str]) -> list[dict[str, str]]:
    """Name, version and digest of every plugin file that gave one of these kinds."""
    used = set(kinds)
    return [
        {
            "name": plugin.name,
            "version": ", ".join(f"{kind} {registry.get(kind).version}" for kind in plugin.nodes),
            "digest": plugin.digest,
        }
        for plugin in registry.plugins
        if used & set(plugin.nodes)
    ]


class OutputKeeper:
    """Stores the pictures of one run; hand `keep` to the engine and every event to `watch`.

    `facts(model ref)` gives model, device and dtype for the record. `store` False keeps pictures in memory
    only (a replay, a home that cannot be written); `reuse` False makes a new row also for a known key.
    """

    def __init__(
        self,
        history: History,
        registry: Registry,
        graph: Graph,
        *,
        run: str,
        owner: str,
        parents: Sequence[tuple[str, str]],
        facts: Callable[[str], Mapping[str, Any]],
        store: bool = True,
        reuse: bool = True,
    ) -> None:
        self._history, self._registry = history, registry
        self._text = dumps(graph)
        flat = inline(graph, registry).graph
        self._graph = as_run(flat, registry)  # facts are told of the nodes that really run
        self._off = {node.id: node.mode for node in flat.nodes if node.mode != "normal"}
        self._run, self._owner, self._parents = run, owner, tuple(parents)
        self._facts, self._store, self._reuse = facts, store, reuse
        self._began: set[str] = set()
        self._timings: dict[str, float] = {}
        self._notes: dict[str, dict[str, Any]] = {}
        self._warnings: list[str] = []
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()
        self.outputs: list[OutputReport] = []
        self.seconds = 0.0  # spent on storing

    def watch(self, event: Event) -> None:
        """Remember keys, timings, notes and warnings for the record."""
        with self._lock:
            if event.kind == "planned":
                self._keys = {node["id"]: node.get("key", "") for node in event.payload.get("nodes", ())}
            elif event.kind == "started":
                self._began.add(event.node)
            elif event.kind == "finished":
                self._timings[event.node] = float(event.payload.get("seconds", 0.0))
            elif event.kind == "note":
                self._notes.setdefault(event.node, {})[str(event.payload.get("key"))] = event.payload.get(
                    "value"
                )
            elif (
                event.kind == "warning"
                and (text := str(event.payload.get("message", ""))) not in self._warnings
            ):
                self._warnings.append(text)

    def keep(
        self, node: str, item: int | None, key: str, load: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Store the pictures of a target node; called by the engine before it says that the node is done.

        An output that was cached and is in the history already is not even loaded. Gives the event's
        `outputs`.
        """
        begun = time.perf_counter()
        kept = self._known(node, key)
        if not kept:
            pictures = [pair for value in load().values() for pair in _pictures(value)]
            kept = [
                self._keep_one(node, index, key if index is None else f"{key}/{index}", image)
                for index, image in pictures
            ]
        self.outputs.extend(kept)
        self.seconds += time.perf_counter() - begun
        return {
            "outputs": [
                {"node": kept_one.node, "item": kept_one.item, "generation": kept_one.generation}
                for kept_one in kept
                if kept_one.generation
            ]
        }

    def _known(self, node: str, key: str) -> list[OutputReport]:
        """The picture of an unchanged single output: made before, not run now, its file still there."""
        if not self._store or node in self._began:
            return []
        found = self._history.find_by_key(self._owner, key)
        if found is None:
            return []
        try:
            path = self._history.picture(self._owner, found.id)
        except StudioError:
            return []
        return [OutputReport(node, None, found.id, self._name(node), found.width, found.height, path)]

    def _name(self, node: str) -> str:
        return str(about(self._graph, self._registry, node).params.get(node, {}).get("name") or "picture")

    def _keep_one(self, node: str, item: int | None, key: str, image: Image) -> OutputReport:
        facts = about(self._graph, self._registry, node)
        name = str(facts.params.get(node, {}).get("name") or "picture")
        if not self._store:
            return OutputReport(
                node, item, "", name, image.width, image.height, None, image, self._record(node, facts)
            )
        found = self._history.find_by_key(self._owner, key) if self._reuse else None
        if found is None or found.pixels != pixels_digest(image.pixels):
            found = self._history.add(
                NewGeneration(
                    owner=self._owner,
                    pixels=image.pixels,
                    graph=self._text,
                    record=self._record(node, facts),
                    run=self._run,
                    node=node,
                    item=item,
                    title=name,
                    prompt=facts.prompt,
                    negative=facts.negative,
                    seed=facts.seed,
                    model=facts.model,
                    key=key,
                    parents=self._parents,
                )
            )
        try:
            path = self._history.picture(self._owner, found.id)
        except StudioError:
            path = self._history.rewrite(self._owner, found.id, image.pixels)
        return OutputReport(node, item, found.id, name, image.width, image.height, path, image)

    def report(self, made: EngineReport) -> Report:
        """The engine's report with the pictures that were kept."""
        nodes = {
            name: NodeReport(node.state, node.seconds, node.reason, node.kind, node.title)
            for name, node in made.nodes.items()
        }
        error = error_fields(made.errors[0].to_json(public=True)) if made.errors else None
        engine_seconds = max(0.0, made.engine_seconds - self.seconds)
        warnings = tuple(dict.fromkeys([*self._warnings, *made.warnings]))
        notes = {name: node.notes for name, node in made.nodes.items() if node.notes}
        told = (made.seconds, engine_seconds, warnings, notes, error, made.plan.problems)
        return Report(made.run, made.status, nodes, tuple(self.outputs), *told)

    def _record(self, node: str, facts: About) -> dict[str, Any]:
        with self._lock:
            record = make_record(
                self._graph,
                self._registry,
                node,
                facts,
                self._facts(facts.model),
                keys=self._keys,
                timings=self._timings,
                notes=self._notes,
                warnings=self._warnings,
                parents=self._parents,
            )
            return record | ({"off": dict(self._off)} if self._off else {})


def set_widgets(graph: Graph, registry: Registry, values: Mapping[str, object]) -> Graph:
    """The document with these widgets set, by the names of `widgets_of`; None leaves one as it is."""
    places = widgets_of(graph, registry)
    for what, value in values.items():
        if value is None:
            continue
        if what not in places:
            raise StudioError(f"This workflow has no widget for {what}.", hint="Set it on its node instead.")
        graph = graph.set(*places[what], value)
    return graph


class ModelFacts(Protocol):
    """What a record asks of the model store; neither call loads weights."""

    def family(self, ref: str) -> str: ...
    def digest(self, ref: str) -> str: ...


def machine_facts(models: ModelFacts, device: Device, ref: str) -> dict[str, Any]:
    """Model, device and dtype for a record. An unreadable model is named, not raised."""
    model = {"ref": ref, "family": "", "digest": ""}
    with suppress(StudioError):
        model.update(family=models.family(ref), digest=models.digest(ref))
    return {"model": model, "device": device.kind, "dtype": device.dtype}


def make_record(
    graph: Graph,
    registry: Registry,
    node: str,
    facts: About,
    machine: Mapping[str, Any],
    *,
    keys: Mapping[str, str],
    timings: Mapping[str, float],
    notes: Mapping[str, Any],
    warnings: Sequence[str],
    parents: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The record of a picture. `machine` holds `model`, `device` and `dtype` of this computer."""
    nodes = {}
    for name in ancestors(graph, node):
        kind = graph.node(name).kind
        spec = registry.find(kind)
        if spec is not None:
            nodes[name] = {
                "kind": kind,
                "version": spec.version,
                "code": spec.digest,
                "key": keys.get(name, ""),
            }
    about_nodes = {name: dict(values) for name, values in notes.items() if name in nodes}
    record = new_record(
        seed=facts.seed,
        model=dict(machine["model"]),
        versions=library_versions(),
        device=machine["device"],
        dtype=machine["dtype"],
        plugins=plugins_used(registry, [str(entry["kind"]) for entry in nodes.values()]),
        timings={name: seconds for name, seconds in timings.items() if name in nodes},
        nodes=nodes,
        params={name: dict(values) for name, values in facts.params.items()},
        notes=about_nodes | ({"warnings": list(warnings)} if warnings else {}),
    )
    return record | {"schema": graph.version, "parents": [list(pair) for pair in parents]}


def _pictures(value: object) -> list[tuple[int | None, Image]]:
    """The pictures in an output value: itself, or those of a list with their index."""
    if isinstance(value, Image):
        return [(None, value)]
    if isinstance(value, (list, tuple)):
        return [(index, image) for index, image in enumerate(value) if isinstance(image, Image)]
    return []
