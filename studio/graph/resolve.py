"""From a document to tasks: constants filled in, bypass followed, topological order, keys bottom-up (E7, E8,
E28).

A `Resolved` is a snapshot (E39): edits of the document, the registry or the values handed in do not reach it.
"""

from __future__ import annotations

import copy
import inspect
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from studio.errors import StudioError
from studio.graph.check import choose_targets
from studio.graph.definitions import Specs, passing
from studio.graph.document import Edge, Graph, Node
from studio.graph.keys import canonical, node_key, node_prefix, short
from studio.graph.problem import Problem
from studio.graph.spec import NodeSpec
from studio.graph.topology import title_of

STICKY_TYPES = ("Model",)
"""Nodes fed by the same output of these types run together, so that what it stands for is loaded once
(E26)."""


class Files(Protocol):
    """Who knows content hashes of files."""

    def sha256(self, path: Any) -> str: ...


@dataclass(frozen=True)
class Settings:
    """What of a run enters keys, beside the document."""

    seed: int
    owner: str
    numerics: str
    files: Files


@dataclass
class Task:
    """One node ready to be planned. `inputs`: (socket, index of the source task, its output socket).

    `problems` make it fail, `doomed` says why there will be none, `muted` gives blocked values.
    `sources` = (socket, token in the ahead key) of each connected input. `work`: see `work.tell_work`.
    """

    index: int
    id: str
    kind: str
    title: str
    spec: NodeSpec | None
    target: bool
    params: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[str, int, str], ...] = ()
    problems: tuple[Problem, ...] = ()
    doomed: str = ""
    muted: bool = False
    always: bool = False
    warnings: list[str] = field(default_factory=list)
    prefix: bytes = b""
    key: str = ""
    group: str = ""
    settings: Settings | None = field(default=None, repr=False)
    fingerprint: object = None
    sources: tuple[tuple[str, str], ...] = ()
    work: tuple[str, str, str] = ("", "", "")

    @property
    def dead(self) -> bool:
        """It will not have a result, whatever happens."""
        return bool(self.problems or self.doomed or self.muted)

    def ingredients(self) -> dict[str, str]:
        """What the key is made of, as short hashes, for reasons."""
        assert self.spec is not None
        assert self.settings is not None
        return {
            "version": str(self.spec.version),
            "code": self.spec.digest[:16],
            "numerics": self.settings.numerics,
            "seed": str(self.settings.seed) if self.spec.random else "",
            "file": short(canonical(self.fingerprint)),
            **{f"={name}": short(canonical(value)) for name, value in self.params.items()},
            **{f">{name}": token[:16] for name, token in self.sources},
        }


@dataclass
class Resolved:
    """The tasks of a run in topological order, targets, and the problems that concern the whole document."""

    tasks: list[Task]
    targets: tuple[str, ...]
    consumers: list[list[int]]
    problems: tuple[Problem, ...]
    settings: Settings

    def task(self, id: str) -> Task:
        """The task of a node."""
        return next(t for t in self.tasks if t.id == id)


def resolve(
    graph: Graph, specs: Specs, problems: Sequence[Problem], targets: Sequence[str] | None, settings: Settings
) -> Resolved:
    """The tasks behind the targets. StudioError for no target; other trouble stands in the tasks or in
    `problems`."""
    chosen = choose_targets(graph, specs, targets)
    whole = tuple(
        p for p in problems if p.level == "error" and (not p.node or (p.stage == "cycles" and p.blocking))
    )
    if whole:
        return Resolved([], chosen, [], whole, settings)
    by_node: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.level == "error":
            by_node.setdefault(problem.node, []).append(problem)
    fed, jumped = _edges_without_bypass(graph, specs)
    order = _order(fed, chosen)
    for id in set(order) & jumped:
        title = title_of(graph.node(id), specs.find(graph.node(id).kind))
        by_node.setdefault(id, []).append(
            Problem(id, "", f"{title} is bypassed, so it cannot be a target.", "Switch it on.", title=title)
        )
    ids = {id: i for i, id in enumerate(order)}
    tasks = [
        _task(graph.node(id), i, id in chosen, specs, fed.get(id, {}), ids, tuple(by_node.get(id, ())))
        for i, id in enumerate(order)
    ]
    consumers: list[list[int]] = [[] for _ in tasks]
    for task in tasks:
        for source in dict.fromkeys(index for _, index, _ in task.inputs):
            consumers[source].append(task.index)
        _finish(task, tasks, settings)
    return Resolved(tasks, chosen, consumers, (), settings)


def as_run(graph: Graph, specs: Specs) -> Graph:
    """A graph without sub-graphs as it really runs: muted nodes gone, bypassed ones jumped over."""
    if all(node.mode == "normal" for node in graph.nodes):
        return graph
    fed, _ = _edges_without_bypass(graph, specs)
    live = {node.id for node in graph.nodes if node.mode == "normal"}
    edges = [
        Edge(source, (id, name))
        for id, sockets in fed.items()
        for name, source in sockets.items()
        if id in live and source[0] in live
    ]
    return replace(graph, nodes=tuple(n for n in graph.nodes if n.id in live), edges=tuple(edges))


def _edges_without_bypass(
    graph: Graph, specs: Specs
) -> tuple[dict[str, dict[str, tuple[str, str]]], set[str]]:
    """Node -> input -> (source, output) with bypassed nodes jumped over, and the nodes jumped over."""
    direct: dict[str, dict[str, tuple[str, str]]] = {}
    muted = {n.id for n in graph.nodes if n.mode == "mute"}  # what leads to them is not needed
    for edge in graph.edges:
        if edge.source[0] in graph.by_id and edge.target[0] not in muted:
            direct.setdefault(edge.target[0], {}).setdefault(edge.target[1], edge.source)
    through: dict[tuple[str, str], tuple[str, str]] = {}
    jumped: set[str] = set()
    for node in graph.nodes:
        spec = specs.find(node.kind) if node.mode == "bypass" else None
        if spec is None:
            continue
        jumped.add(node.id)
        for out in spec.outputs:
            name = passing(spec, out, direct.get(node.id, {}))
            if name and name in direct.get(node.id, {}):
                through[node.id, out.name] = direct[node.id][name]

    def origin(source: tuple[str, str]) -> tuple[str, str]:
        way = []
        while source in through:
            way.append(source)
            source = through[source]
        for passed in way:
            through[passed] = source  # shortens long rows of bypassed nodes
        return source

    return {
        id: {name: origin(source) for name, source in sockets.items()} for id, sockets in direct.items()
    }, jumped


def _order(fed: dict[str, dict[str, tuple[str, str]]], targets: Sequence[str]) -> list[str]:
    """Nodes behind the targets, sources first, depth first: one target is finished before the next is
    begun."""
    order: list[str] = []
    done: set[str] = set()
    for target in targets:
        stack: list[tuple[str, bool]] = [(target, False)]
        while stack:
            id, closing = stack.pop()
            if closing:
                order.append(id)
            elif id not in done:
                done.add(id)
                stack.append((id, True))
                sources = [source for _, (source, _) in sorted(fed.get(id, {}).items())]
                stack.extend((source, False) for source in reversed(sources) if source not in done)
    return order


def _task(
    node: Node,
    index: int,
    target: bool,
    specs: Specs,
    fed: dict[str, tuple[str, str]],
    ids: dict[str, int],
    problems: tuple[Problem, ...],
) -> Task:
    spec = specs.find(node.kind)
    muted = node.mode == "mute"
    task = Task(
        index,
        node.id,
        node.kind,
        title_of(node, spec),
        spec,
        target,
        problems=() if muted else problems,
        muted=muted,
    )
    task.inputs = tuple((name, ids[source], out) for name, (source, out) in sorted(fed.items()))
    if spec is not None and not problems:
        for param in spec.params:
            if param.name not in fed:
                value = node.widgets.get(param.name, param.default)
                task.params[param.name] = (
                    value if isinstance(value, (str, int, float, bool, type(None))) else copy.deepcopy(value)
                )
    return task


def _finish(task: Task, tasks: list[Task], settings: Settings) -> None:
    """Key, group, and what follows from the sources, which come earlier in `tasks`."""
    dead = next((tasks[i] for _, i, _ in task.inputs if tasks[i].dead), None)
    if dead is not None:
        task.doomed = dead.doomed or f"{dead.title} {'is muted' if dead.muted else 'has no result'}"
    if task.dead or task.spec is None:
        return
    spec = task.spec
    task.settings = settings
    task.fingerprint = _fingerprint(task, spec, settings)
    task.prefix = node_prefix(
        kind=spec.kind,
        version=spec.version,
        code=spec.digest,
        params=task.params,
        owner="" if spec.share else settings.owner,
        numerics=settings.numerics,
        draw=(settings.seed, task.id) if spec.random else None,
        fingerprint=task.fingerprint,
        nonce=uuid.uuid4().hex if task.always else "",
    )
    task.sources = tuple((name, f"{tasks[i].key}/{out}") for name, i, out in task.inputs)
    task.key = node_key(task.prefix, [(name, token.encode()) for name, token in task.sources])
    lines = {s.name: s.type for s in spec.inputs}
    task.group = next((token for name, token in task.sources if lines.get(name) in STICKY_TYPES), "")


def _fingerprint(task: Task, spec: NodeSpec, settings: Settings) -> object:
    task.always = spec.always_run
    if spec.fingerprint is None:
        return None
    try:
        takes = len(inspect.signature(spec.fingerprint).parameters)
        params = dict(task.params)
        found = spec.fingerprint(params, settings.files) if takes > 1 else spec.fingerprint(params)
        canonical(found)
    except Exception as error:  # noqa: BLE001 - whatever a plugin's function raises, the node runs (E12)
        said = error.message if isinstance(error, StudioError) else f"{type(error).__name__}: {error}"
        task.warnings.append(f"{task.title}: its fingerprint failed, so it always runs. {said}")
        task.always = True
        return None
    return found
