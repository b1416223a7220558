"""What will run, what comes from the cache, and why (E10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.graph.cache import Cache, Entry
from studio.graph.problem import Problem
from studio.graph.resolve import Resolved, Task
from studio.graph.seen import Seen
from studio.graph.work import tell_work


@dataclass(frozen=True)
class PlannedNode:
    """One node of a plan. `action`: run, cached, failed or skipped; `seconds`: estimate, None if unknown;
    `resources`: the device that it claims, "" for none."""

    id: str
    kind: str
    title: str
    action: str
    reason: str
    seconds: float | None = None
    key: str = ""
    resources: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "title": self.title,
            "action": self.action,
            "reason": self.reason,
            "seconds": self.seconds,
            "key": self.key,
            "resources": self.resources,
        }


@dataclass(frozen=True)
class Plan:
    """The nodes behind the targets in running order, with reasons. A run may do less, never more."""

    nodes: tuple[PlannedNode, ...]
    targets: tuple[str, ...]
    seed: int = 0
    problems: tuple[Problem, ...] = ()
    by_id: Mapping[str, PlannedNode] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, id: str) -> PlannedNode:
        return self.by_id[id]

    @property
    def will_run(self) -> tuple[str, ...]:
        """Ids of the nodes that will run."""
        return tuple(n.id for n in self.nodes if n.action == "run")

    @property
    def seconds(self) -> float:
        """Estimated time of what will run; nodes without an estimate count nothing."""
        return sum(n.seconds or 0.0 for n in self.nodes if n.action == "run")

    def to_json(self) -> dict[str, Any]:
        return {
            "targets": list(self.targets),
            "seed": self.seed,
            "will_run": list(self.will_run),
            "seconds": round(self.seconds, 3),
            "nodes": [n.to_json() for n in self.nodes],
            "problems": [p.to_json() for p in self.problems],
        }


def make_plan(
    resolved: Resolved, cache: Cache | None, seen: Seen, problems: tuple[Problem, ...] = ()
) -> tuple[Plan, list[Entry | None]]:
    """The plan, and what the cache knows of each task. `cache` None = the cache is off for this run."""
    tasks = resolved.tasks
    entries: list[Entry | None] = [
        cache.entry(t.key)
        if cache is not None and t.key and not t.always and t.spec is not None and t.spec.cache
        else None
        for t in tasks
    ]
    wanted: list[set[str]] = [set() for _ in tasks]
    needed = [t.target for t in tasks]
    runs = [False] * len(tasks)
    lost = [False] * len(tasks)
    for task in reversed(tasks):
        if task.dead or not needed[task.index]:
            continue
        entry = entries[task.index]
        if entry is not None and cache is not None:
            names = [digest for name, digest in entry.outputs if task.target or name in wanted[task.index]]
            if all(cache.holds(digest) for digest in names):
                continue
            lost[task.index] = True
        runs[task.index] = True
        for _, source, out in task.inputs:
            needed[source] = True
            wanted[source].add(out)
    if any(runs):
        tell_work(tasks)
    looked = [t.target for t in tasks]  # whether anything that can have a result asks for the node
    for task in reversed(tasks):
        if looked[task.index] and not task.dead:
            for _, source, _ in task.inputs:
                looked[source] = True
    nodes = tuple(
        _planned(
            t,
            entries[t.index],
            runs[t.index],
            needed[t.index] if looked[t.index] else None,
            lost[t.index],
            resolved,
            cache,
            seen,
        )
        for t in tasks
    )
    return Plan(nodes, resolved.targets, resolved.settings.seed, problems, {n.id: n for n in nodes}), entries


def _planned(
    task: Task,
    entry: Entry | None,
    runs: bool,
    needed: bool | None,
    lost: bool,
    resolved: Resolved,
    cache: Cache | None,
    seen: Seen,
) -> PlannedNode:
    def planned(action: str, reason: str, seconds: float | None = None) -> PlannedNode:
        claims = task.spec.resources if task.spec is not None else ""
        return PlannedNode(task.id, task.kind, task.title, action, reason, seconds, task.key, claims)

    if task.muted:
        return planned("skipped", "muted")
    if task.problems:
        return planned("failed", task.problems[0].message)
    if task.doomed:
        return planned("skipped", task.doomed)
    if needed is None:
        return planned("skipped", "not looked at")
    if not runs:
        return planned("cached", "unchanged" if needed else "not needed")
    cost = entry.seconds if entry is not None else _estimate(task, seen)
    return planned("run", _reason(task, entry, lost, resolved, cache, seen), cost)


def _estimate(task: Task, seen: Seen) -> float | None:
    if task.spec is not None and task.spec.cost is not None:
        try:
            return float(task.spec.cost(dict(task.params)))
        except Exception:  # noqa: BLE001 - an estimate is not worth a failure
            return None
    return seen.seconds(task.kind, *task.work)


def _reason(
    task: Task, entry: Entry | None, lost: bool, resolved: Resolved, cache: Cache | None, seen: Seen
) -> str:
    if task.always:
        return "always-run"
    if cache is None or cache.mode == "off":
        return "cache off"
    if task.spec is not None and not task.spec.cache:
        return "not cached"
    if lost:
        return "lives in memory only" if entry is not None and entry.memory_only else "evicted"
    before = seen.get(resolved.settings.owner, task.kind, task.id)
    if before is None:
        return "new"
    return changes(task, before) or "evicted"


def changes(task: Task, before: Mapping[str, str]) -> str:
    """Which ingredients of the key differ from last time, at most three: "prompt changed", "code changed"."""
    words: list[str] = []
    plain = {
        "code": "code",
        "version": "node version",
        "numerics": "device or precision",
        "seed": "run seed",
        "file": "file",
    }
    now = task.ingredients()
    for name in sorted({*now, *before}, key=lambda n: (n not in plain, n)):
        if now.get(name) == before.get(name):
            continue
        if name in plain:
            words.append(plain[name])
        elif name.startswith("="):
            words.append(_param_word(task, name[1:]))
        else:
            words.append(f"input {name[1:]}")
    words = list(dict.fromkeys(words))
    return f"{', '.join(words[:3])} changed" if words else ""


def _param_word(task: Task, name: str) -> str:
    param = next((p for p in task.spec.params if p.name == name), None) if task.spec else None
    if param is not None and param.widget.sort == "prompt":
        return "prompt"
    return name.replace("_", " ")
