"""From a finished output node to the history: what the picture is about, its complete record, one row.

The record (architecture E38) is written before the event that shows the picture leaves the engine.
"""

from __future__ import annotations

import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from studio.about import About, about, ancestors, widgets_of
from studio.errors import StudioError
from studio.graph.context import Device
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

LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


def library_versions() -> dict[str, str]:
    """Versions of everything that may change a picture, read without importing it."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


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
            elif event.kind == "cached":  # how a kept value was made is told of every picture of it
                kept = event.payload.get("notes", {})
                if told := {key: value for key, value in kept.items() if key != "warning"}:
                    self._notes[event.node] = told
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

    def _unread(self) -> set[tuple[str, str]]:
        """Widgets of which their nodes said that they do not read them, as node and name."""
        with self._lock:
            return {(node, name) for node, told in self._notes.items() for name in told.get("unread", ())}

    def _name(self, node: str) -> str:
        return str(about(self._graph, self._registry, node).params.get(node, {}).get("name") or "picture")

    def _keep_one(self, node: str, item: int | None, key: str, image: Image) -> OutputReport:
        facts = about(self._graph, self._registry, node, self._unread())
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
