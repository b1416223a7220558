"""From a finished output node to the history: what the picture is about, its complete record, one row.

The record (architecture E38) is written before the event that shows the picture leaves the engine.
"""
from __future__ import annotations

import importlib.metadata
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.graph.document import Graph, dumps
from studio.graph.events import Event
from studio.graph.registry import Registry
from studio.history.store import History, NewGeneration, new_record
from studio.values import Image

LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


@dataclass(frozen=True)
class OutputReport:
    """One picture of a run. `generation` is empty and `path` None when the home cannot be written."""

    node: str
    item: int | None
    generation: str
    name: str
    width: int
    height: int
    path: Path | None
    image: Image | None = field(default=None, compare=False, repr=False)


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


def ancestors(graph: Graph, target: str) -> list[str]:
    """Ids of `target` and everything it needs, in document order; linear, no recursion."""
    needs: dict[str, list[str]] = {}
    for edge in graph.edges:
        needs.setdefault(edge.target[0], []).append(edge.source[0])
    seen, stack = {target}, [target]
    while stack:
        for source in needs.get(stack.pop(), ()):
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return [node.id for node in graph.nodes if node.id in seen]


def about(graph: Graph, registry: Registry, target: str) -> About:
    """Prompt, negative prompt, seed and model by the sort of widget, never by a node's name.

    Exposed widgets come first, in their order; then the others in document order. A prompt widget that is
    called `negative` or labelled "Avoid" is the negative one.
    """
    wanted = set(ancestors(graph, target))
    params: dict[str, dict[str, Any]] = {}
    sorts: dict[tuple[str, str], str] = {}
    for node in graph.nodes:
        spec = registry.find(node.kind)
        if node.id not in wanted or spec is None:
            continue
        params[node.id] = {param.name: node.widgets.get(param.name, param.default) for param in spec.params}
        sorts.update({(node.id, param.name): param.widget.sort for param in spec.params})
    labels = {(e.node, e.widget): e.label for e in sorted(graph.exposed, key=lambda e: e.order)}
    order = [place for place in labels if place in sorts] + [place for place in sorts if place not in labels]
    first: dict[str, Any] = {}
    for place in order:
        sort, value = sorts[place], params[place[0]][place[1]]
        if sort == "prompt":
            avoided = place[1] == "negative" or labels.get(place, "").strip().casefold() in ("avoid", "negative")
            sort = "negative" if avoided else "prompt"
        first.setdefault(sort, value)
    seed = first.get("seed")
    return About(str(first.get("prompt") or ""), str(first.get("negative") or ""),
                 seed if isinstance(seed, int) else None, str(first.get("model") or ""), params)


def plugins_used(registry: Registry, kinds: Sequence[str]) -> list[dict[str, str]]:
    """Name, version and digest of every plugin file that gave one of these kinds."""
    used = set(kinds)
    return [{"name": plugin.name, "version": str(getattr(plugin, "version", "") or ""), "digest": plugin.digest}
            for plugin in registry.plugins if used & set(plugin.nodes)]


class OutputKeeper:
    """Stores the pictures of one run; hand `keep` to the engine and every event to `watch`."""

    def __init__(self, history: History, registry: Registry, graph: Graph, *, run: str, owner: str,
                 parents: Sequence[tuple[str, str]], facts: Callable[[str], Mapping[str, Any]],
                 store: bool = True) -> None:
        self._history, self._registry, self._graph = history, registry, graph
        self._run, self._owner, self._parents = run, owner, tuple(parents)
        self._facts, self._store = facts, store
        self._timings: dict[str, float] = {}
        self._notes: dict[str, dict[str, Any]] = {}
        self._warnings: list[str] = []
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()
        self.outputs: list[OutputReport] = []

    def watch(self, event: Event) -> None:
        """Remember keys, timings, notes and warnings for the record."""
        with self._lock:
            if event.kind == "planned":
                self._keys = {node["id"]: node.get("key", "") for node in event.payload.get("nodes", ())}
            elif event.kind == "finished":
                self._timings[event.node] = float(event.payload.get("seconds", 0.0))
            elif event.kind == "note":
                self._notes.setdefault(event.node, {})[str(event.payload.get("key"))] = event.payload.get("value")
            elif event.kind == "warning":
                self._warnings.append(str(event.payload.get("message", "")))

    def keep(self, node: str, key: str, outputs: Mapping[str, object], state: str) -> dict[str, Any]:
        """Store every picture among the outputs of a target node; gives {"generations": ids}."""
        pictures = [(item, image) for value in outputs.values() for item, image in _pictures(value)]
        kept = [self._keep_one(node, item, key if item is None else f"{key}/{item}", image, state)
                for item, image in pictures]
        self.outputs.extend(kept)
        return {"generations": [output.generation for output in kept if output.generation]}

    def _keep_one(self, node: str, item: int | None, key: str, image: Image, state: str) -> OutputReport:
        facts = about(self._graph, self._registry, node)
        name = str(facts.params.get(node, {}).get("name") or "picture")
        generation, path = "", None
        if self._store:
            found = self._history.find_by_key(self._owner, key) if state == "cached" else None
            if found is None:
                found = self._history.add(NewGeneration(
                    owner=self._owner, pixels=image.pixels, graph=dumps(self._graph),
                    record=self._record(node, facts), run=self._run, node=node, item=item, title=name,
                    prompt=facts.prompt, negative=facts.negative, seed=facts.seed, model=facts.model, key=key,
                    parents=self._parents))
            generation = found.id
            try:
                path = self._history.picture(self._owner, generation)
            except StudioError:
                path = self._history.rewrite(self._owner, generation, image.pixels)
        return OutputReport(node, item, generation, name, image.width, image.height, path, image)

    def _record(self, node: str, facts: About) -> dict[str, Any]:
        with self._lock:
            return make_record(self._graph, self._registry, node, facts, self._facts(facts.model), keys=self._keys,
                               timings=self._timings, notes=self._notes, warnings=self._warnings,
                               parents=self._parents)


def make_record(graph: Graph, registry: Registry, node: str, facts: About, machine: Mapping[str, Any], *,
                keys: Mapping[str, str], timings: Mapping[str, float], notes: Mapping[str, Any],
                warnings: Sequence[str], parents: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The record of a picture. `machine` holds `model`, `device` and `dtype` of this computer."""
    nodes = {}
    for name in ancestors(graph, node):
        kind = graph.node(name).kind
        spec = registry.find(kind)
        if spec is not None:
            nodes[name] = {"kind": kind, "version": spec.version, "code": spec.digest, "key": keys.get(name, "")}
    about_nodes = {name: dict(values) for name, values in notes.items() if name in nodes}
    record = new_record(
        seed=facts.seed, model=dict(machine["model"]), versions=library_versions(), device=machine["device"],
        dtype=machine["dtype"], plugins=plugins_used(registry, [entry["kind"] for entry in nodes.values()]),
        timings={name: seconds for name, seconds in timings.items() if name in nodes}, nodes=nodes,
        params={name: dict(values) for name, values in facts.params.items()},
        notes=about_nodes | ({"warnings": list(warnings)} if warnings else {}))
    return record | {"schema": graph.version, "parents": [list(pair) for pair in parents]}


def _pictures(value: object) -> list[tuple[int | None, Image]]:
    """The pictures in an output value: itself, or those of a list with their index."""
    if isinstance(value, Image):
        return [(None, value)]
    if isinstance(value, (list, tuple)):
        return [(index, image) for index, image in enumerate(value) if isinstance(image, Image)]
    return []
