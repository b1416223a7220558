"""What a run came to, for commands (`Report`) and for pages (the snapshot of ui.md 4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import BadDocument
from studio.graph.events import Event, fold
from studio.graph.plan import Plan
from studio.graph.problem import Problem
from studio.graph.remaining import NOTHING_LEFT, Remaining
from studio.values import Image

PAGE_WORDS = {"ran": "done", "finished": "done", "failed": "error", "cancelled": "stopped"}
LIVE = ("queued", "running")
PLAN_STATES = {"failed": "failed", "skipped": "skipped", "cached": "cached", "run": "skipped"}
ERROR_FIELDS = ("type", "message", "hint", "node", "title", "socket", "item")


@dataclass(frozen=True)
class NodeReport:
    """One node after a run: ran, cached, skipped, failed or cancelled."""

    state: str
    seconds: float = 0.0
    reason: str = ""
    kind: str = ""
    title: str = ""

    def as_json(self) -> dict[str, Any]:
        """State, seconds and reason."""
        return {"state": self.state, "seconds": round(self.seconds, 4), "reason": self.reason}


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
    # of a picture that was not stored
    image: Image | None = field(default=None, compare=False, repr=False)
    record: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values; `file` is the stored picture until a command puts its own copy there."""
        return {
            "node": self.node,
            "item": self.item,
            "generation": self.generation,
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "file": str(self.path) if self.path else None,
        }


@dataclass(frozen=True)
class Report:
    """A finished run. `engine_seconds` is wall time less the time inside nodes and spent storing pictures;
    `problems` is what the check of the document found."""

    run: str
    status: str
    nodes: Mapping[str, NodeReport] = field(default_factory=dict)
    outputs: tuple[OutputReport, ...] = ()
    seconds: float = 0.0
    engine_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "status": self.status,
            "run": self.run,
            "outputs": [output.as_json() for output in self.outputs],
            "generations": [output.generation for output in self.outputs if output.generation],
            "nodes": {name: node.as_json() for name, node in self.nodes.items()},
            "seconds": round(self.seconds, 4),
            "engine_seconds": round(self.engine_seconds, 4),
            "warnings": list(self.warnings),
            "error": dict(self.error) if self.error else None,
        }


class InvalidDocument(BadDocument):
    """A workflow of which no output can be made. `problems` are all of them, `nodes` the planned states."""

    def __init__(self, problems: Sequence[Problem], plan: Plan | None) -> None:
        first = next((p for p in problems if p.blocking), problems[0])
        more = len([p for p in problems if p.blocking]) - 1
        super().__init__(
            first.message
            + (f" ({more} more problems.)" if more > 1 else " (One more problem.)" if more == 1 else ""),
            hint=first.hint,
            node=first.node,
            socket=first.socket,
        )
        self.problems = tuple(problems)
        self.title = first.title
        self.nodes = (
            {}
            if plan is None
            else {
                node.id: NodeReport(
                    PLAN_STATES[node.action],
                    0.0,
                    "not run: no output can be made" if node.action == "run" else node.reason,
                    node.kind,
                    node.title,
                )
                for node in plan.nodes
            }
        )


def error_fields(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The parts of an error that anybody may see: no trace."""
    if not facts:
        return None
    return {name: facts.get(name, None if name == "item" else "") for name in ERROR_FIELDS}


class Snapshots:
    """Folds the events of one run into full snapshots in the words of the page."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._folded: dict[str, Any] | None = None
        self._outputs: list[dict[str, Any]] = []
        self._titles: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._steppers: set[str] = set()
        self._remaining = Remaining()
        self._error: dict[str, Any] | None = None
        self._seconds: float | None = None

    @property
    def seq(self) -> int:
        """The newest event that is folded in."""
        return int(self._folded["seq"]) if self._folded else 0

    def add(self, events: Iterable[Event]) -> None:
        """Take later events."""
        batch = list(events)
        for event in batch:
            if event.kind == "planned":
                nodes = event.payload.get("nodes", ())
                self._titles = {node["id"]: node.get("title", "") for node in nodes}
                self._kinds = {node["id"]: node.get("kind", "") for node in nodes}
            elif event.kind == "progress":
                self._steppers.add(event.node)
            elif event.kind in ("finished", "cached"):
                self._outputs += event.payload.get("outputs", ())
            elif event.kind == "failed" and self._error is None:
                self._error = error_fields(event.payload)
            elif event.kind == "done":
                self._error = self._error or error_fields(event.payload.get("error"))
                self._seconds = event.payload.get("seconds")
        self._remaining.add(batch)
        self._folded = fold(self._run, batch, before=self._folded)

    def page(self, ahead: int = 0, ended: str = "") -> dict[str, Any]:
        """The snapshot; `ended`: how the run ended when its events are no longer kept."""
        folded = self._folded or fold(self._run, ())
        job = {name: value for name, value in folded["job"].items() if name not in ("error", "at")}
        state = ended or job["state"]
        job.update(state=PAGE_WORDS.get(state, state), ahead=ahead if state == "queued" else 0)
        job |= self._remaining.told() if job["state"] == "running" else NOTHING_LEFT
        job["part"] = self._part(folded["job"].get("at"))
        if self._seconds is not None:
            job["seconds"] = self._seconds
        nodes = {}
        for name, node in folded["nodes"].items():
            shown = {key: value for key, value in node.items() if key != "started"}
            shown["state"] = PAGE_WORDS.get(node["state"], node["state"])
            if self._titles.get(name):
                shown["title"] = self._titles[name]
            nodes[name] = shown
        return {
            "run": self._run,
            "seq": folded["seq"],
            "job": job,
            "nodes": nodes,
            "outputs": list(self._outputs),
            "warnings": list(folded["notes"]),
            "error": self._error,
        }

    def _part(self, node: str | None) -> str:
        """Whose steps are told, where that is not the painting of a picture alone."""
        if node is None or (self._kinds.get(node) == "sample" and self._steppers == {node}):
            return ""
        return self._titles.get(node, "")


def follow(
    folded: Snapshots,
    interval: float,
    *,
    place: Callable[[], tuple[int, str]],
    events: Callable[[int], Iterator[Event]],
) -> Iterator[dict[str, Any]]:
    """Full snapshots of a run as it goes on, at most one in `interval` seconds; the last one is settled.

    `place` says how many runs go first and how this one ended; `events(since)` gives later events and ends
    when none came for a while.
    """
    first = True
    while True:
        begun = time.monotonic()
        batch: list[Event] = []
        where = place()
        for event in events(folded.seq):
            batch.append(event)
            if event.kind == "done" or time.monotonic() - begun >= interval:
                break
        folded.add(batch)
        made = folded.page(*where)
        over = made["job"]["state"] not in LIVE
        if batch or first or over:
            yield made
        if over:
            return
        first = False
        time.sleep(max(0.0, interval - (time.monotonic() - begun)))
