"""The last word on each node: its report, its event, and what follows for those that hang on it (E22,
E34)."""

from __future__ import annotations

from typing import Any

from studio.graph.events import EventLog
from studio.graph.plan import Plan
from studio.graph.report import NodeError, NodeReport
from studio.graph.resolve import Resolved
from studio.graph.run_state import RUNNING, SETTLED, NodeRun


class Ledger:
    """Reports by node id. `stopped` is set when the run ends early; then nothing is said for others any
    more."""

    def __init__(self, nodes: list[NodeRun], resolved: Resolved, plan: Plan, log: EventLog) -> None:
        self.nodes, self.resolved, self.plan, self.log = nodes, resolved, plan, log
        self.reports: dict[str, NodeReport] = {}
        self.failed: set[int] = set()  # those that failed, and those that hang on them
        self.stopped = False

    def settle(
        self,
        node: NodeRun,
        state: str,
        *,
        seconds: float = 0.0,
        reason: str = "",
        error: NodeError | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """The last word on a node; then on those that hang on it, and on those that only it needed."""
        if node.phase == SETTLED:
            return
        self.write(node, state, seconds, reason, error, extra)
        dead = state in ("failed", "skipped", "cancelled")
        stack = [node]
        while stack:
            at = stack.pop()
            for index in self.resolved.consumers[at.task.index] if dead else ():
                consumer = self.nodes[index]
                if (
                    consumer.phase not in (SETTLED, RUNNING)
                    and not consumer.task.problems
                    and not consumer.task.muted
                ):
                    self._follow(consumer, state, at)
                    stack.append(consumer)
            for source in {s for _, s, _ in at.task.inputs}:
                above = self.nodes[source]
                above.unsettled -= 1
                if above.unsettled == 0:
                    self._unneeded(above, stack)

    def _follow(self, consumer: NodeRun, state: str, source: NodeRun) -> None:
        """What becomes of a node whose source has no result: stopped with it, or skipped."""
        if state == "cancelled":
            self.write(consumer, "cancelled")
        else:
            if source.task.index in self.failed:
                self.failed.add(consumer.task.index)
            before = self.reports[source.task.id]
            own = f"{source.task.title} {'is muted' if source.task.muted else 'has no result'}"
            handed_on = before.state == "skipped" and not source.task.muted
            self.write(consumer, "skipped", reason=before.reason if handed_on else own)

    def _unneeded(self, node: NodeRun, stack: list[NodeRun]) -> None:
        """Everybody who might have used it is settled."""
        if node.phase == SETTLED:
            if not node.task.target:
                node.values = None  # frees the memory; the cache may still hold it
        elif node.phase != RUNNING and not node.task.target and not self.stopped:
            alive = any(
                self.reports[self.nodes[i].task.id].state in ("ran", "cached")
                for i in self.resolved.consumers[node.task.index]
            )
            if alive:
                self.write(node, "cached", reason=node.found or "not needed")
            else:
                self.write(node, "skipped", reason="nothing needs it any more")
            stack.append(node)

    def write(
        self,
        node: NodeRun,
        state: str,
        seconds: float = 0.0,
        reason: str = "",
        error: NodeError | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Report and event of one node, without consequences."""
        extra = extra or {}
        node.phase = SETTLED
        task = node.task
        if state == "failed":
            self.failed.add(task.index)
        if node.reporter is not None:
            node.reporter.close()
        notes = dict(node.entry.notes) if node.entry is not None and state in ("ran", "cached") else {}
        if state == "ran":
            planned = self.plan[task.id]
            reason = planned.reason if planned.action == "run" else "its cached value was lost"
        digests = dict(node.entry.outputs) if node.entry is not None else {}
        self.reports[task.id] = NodeReport(
            state, seconds, reason, task.key, digests, task.title, task.kind, notes, error, extra
        )
        kind = {"ran": "finished"}.get(state, state)
        payload: dict[str, Any] = {
            "seconds": round(seconds, 4),
            "reason": reason,
            **({"notes": notes} if notes else {}),
            **extra,
        }
        for text in notes.get("warning", ()) if state == "cached" else ():
            self.log.append("warning", task.id, {"message": text})  # they belong to the result
        if error is not None:
            payload = {**error.to_json(public=True), "seconds": round(seconds, 4)}
        self.log.append(kind, task.id, payload)
        if state == "skipped" and task.target and not self.stopped and task.index not in self.failed:
            # nothing went wrong, and yet what was asked for is not there
            self.log.append("warning", payload={"message": f"{task.title} was not made: {reason}."})
