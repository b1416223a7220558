"""What a run knows of each node, and which ready node is next."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Any

from studio.graph.cache import Entry
from studio.graph.context import Context
from studio.graph.progress import NodeReporter
from studio.graph.report import NodeError
from studio.graph.resolve import Task
from studio.graph.worker import Job

DIGEST, VALUE = 1, 2
"""What is asked of a node: only which value it has, or the value itself."""
IDLE, RESOLVING, FETCHING, READY, RUNNING, SETTLED = range(6)


class LostValueError(Exception):
    """A value that the cache held is gone."""


@dataclass
class NodeRun:
    """One task during a run. `unsettled` counts the consumers without a last word; `waiting` the inputs
    missing."""

    task: Task
    entry: Entry | None
    unsettled: int
    need: int = 0
    phase: int = IDLE
    waiting: int = 0
    values: dict[str, Any] | None = None
    content_key: str = ""
    claimed: bool = False
    job: Job | None = None
    context: Context | None = None
    reporter: NodeReporter | None = None
    deadline: float | None = None
    overtime: str = ""
    found: str = ""
    """Why a result turned out to be there although the plan did not say so."""

    @property
    def is_async(self) -> bool:
        """Whether it runs beside the others."""
        return self.task.spec is not None and self.task.spec.is_async


@dataclass(frozen=True)
class Landed:
    """The outcome of a computation that others waited for; all None = it was cancelled."""

    entry: Entry | None = None
    values: dict[str, Any] | None = None
    error: NodeError | None = None


class Ready:
    """Nodes that can start. Among ordinary ones: those that use no model or the model last used come first,
    by their place in the plan; so a model is not swapped in and out (E26). Async nodes do not wait for each
    other."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[int]] = {}
        self._async: deque[int] = deque()
        self._group = ""

    def __bool__(self) -> bool:
        return bool(self._async) or any(self._heaps.values())

    def add(self, node: NodeRun) -> None:
        """The node's inputs are there."""
        if node.is_async:
            self._async.append(node.task.index)
        else:
            heapq.heappush(self._heaps.setdefault(node.task.group, []), node.task.index)

    def pick(self, ordinary: bool, nodes: list[NodeRun]) -> NodeRun | None:
        """The next one, an ordinary one only if `ordinary`; None if there is none to start now."""
        if self._async:
            return nodes[self._async.popleft()]
        heaps = [heap for group in ("", self._group) if (heap := self._heaps.get(group))]
        heaps = heaps or [heap for heap in self._heaps.values() if heap]
        if not ordinary or not heaps:
            return None
        node = nodes[heapq.heappop(min(heaps, key=lambda heap: heap[0]))]
        self._group = node.task.group or self._group
        return node
