"""One run: starts what is ready, hears what came of it, stops, leaves stuck nodes (E15, E16, E26,
E32-E34)."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.errors import Cancelled
from studio.graph.cache import Entry
from studio.graph.call import Call, context_of, failure
from studio.graph.context import CancelToken
from studio.graph.demand import Demand
from studio.graph.events import EventLog
from studio.graph.gather import Gather
from studio.graph.kept import Kept
from studio.graph.ledger import Ledger
from studio.graph.plan import Plan
from studio.graph.progress import NodeReporter, PreviewBudget
from studio.graph.report import NodeError, Report
from studio.graph.resolve import Resolved
from studio.graph.run_state import READY, RUNNING, SETTLED, VALUE, Landed, LostValueError, NodeRun, Ready
from studio.graph.worker import Job

if TYPE_CHECKING:
    from studio.graph.engine import Engine

OnOutput = Callable[[str, "int | None", str, Callable[[], dict[str, Any]]], "Mapping[str, Any] | None"]
"""(node id, item, key, load) -> what to add to the event of a target; `load()` gives its outputs by
socket."""
_POLL_SECONDS = 0.05
"""How often a node with a time limit is looked at while it waits in the worker's queue."""


class Run:
    """The coordinator of one run; it lives on the thread that called `Engine.run`."""

    def __init__(
        self,
        engine: Engine,
        resolved: Resolved,
        plan: Plan,
        entries: list[Entry | None],
        *,
        run_id: str,
        log: EventLog,
        cancel: CancelToken,
        use_cache: bool,
        fail_fast: bool,
        on_output: OnOutput | None,
        begun: float,
        gather: Gather | None = None,
    ) -> None:
        self.engine, self.resolved, self.plan, self.gather = engine, resolved, plan, gather
        self.log, self.cancel, self.fail_fast, self.on_output = log, cancel, fail_fast, on_output
        self.run_id, self.begun = run_id, begun
        self.cache = engine.cache if use_cache and engine.cache.mode != "off" else None
        self.nodes = [
            NodeRun(task, entry, len(resolved.consumers[task.index]))
            for task, entry in zip(resolved.tasks, entries, strict=True)
        ]
        self.ready = Ready()
        self.ledger = Ledger(self.nodes, resolved, plan, log)
        self.demand = Demand(
            self.nodes,
            resolved,
            self.cache,
            lazy=on_output is not None,
            cached=self._cached,
            ready=self.ready.add,
            dead=lambda node, reason: self.ledger.settle(node, "skipped", reason=reason),
        )
        self.outputs: dict[str, dict[str, Any]] = {}
        self.errors: list[NodeError] = []
        self.inbox: queue.SimpleQueue[tuple[str, int, Any]] = queue.SimpleQueue()
        self.running: set[int] = set()
        self.flying: set[int] = set()
        self.stop = ""
        self.stop_by: float | None = None
        self.budget = PreviewBudget(engine.clock)
        self.inside = 0.0
        self.made: list[str] = []

    # the loop

    def go(self) -> Report:
        """Run to the end. Errors of nodes are in the report; nothing is raised for them."""
        self.cancel.on_cancel(lambda: self.inbox.put(("cancel", -1, None)))
        try:
            for node in self.nodes:
                if node.task.dead:
                    self._settle_dead(node)
            for node in self.nodes:
                if node.task.target:
                    self.demand.want(node.task.index, VALUE)
            self.demand.drain()
            while self._more():
                self._dispatch()
                if self.running or self._flies():
                    self._hear()
                    self.demand.drain()
        except BaseException:
            self._leave_all()
            raise
        for node in self.nodes:
            if node.phase != SETTLED:
                early = "stopped after the first error" if self.stop == "failed" else ""
                self.ledger.write(node, "cancelled" if self.stop == "cancelled" else "skipped", reason=early)
        return self._report()

    def _more(self) -> bool:
        if self.cancel.cancelled and not self.stop:
            self._stop("cancelled")
        return bool(self.running or self._flies() or (self.ready and not self.stop))

    def _flies(self) -> bool:
        """Whether a node that is still wanted is being made by somebody else."""
        return any(self.nodes[i].phase == READY for i in self.flying)

    def _hear(self) -> None:
        """Take the next message, or see whose time is over."""
        now = time.perf_counter()
        until = [] if self.stop_by is None else [self.stop_by]
        for index in self.running:
            deadline = self.nodes[index].deadline
            if deadline is not None:
                until.append(deadline)
            elif self._limit(self.nodes[index]):
                until.append(now + _POLL_SECONDS)
        try:
            kind, index, what = self.inbox.get(timeout=max(0.0, min(until) - now) if until else None)
        except queue.Empty:
            self._overtime()
            return
        if kind == "cancel" and not self.stop:
            self._stop("cancelled")
        elif kind == "done":
            self._done(self.nodes[index], what)
        elif kind == "landed" and index in self.flying:
            self._landed(self.nodes[index], what)

    def _dispatch(self) -> None:
        """Start what can start: async nodes at once, ordinary ones one at a time."""
        while not self.stop:
            ordinary = all(self.nodes[i].is_async for i in self.running)
            node = self.ready.pick(ordinary, self.nodes)
            if node is None:
                return
            if node.phase == READY:  # else it was settled meanwhile
                self._start(node)

    def _start(self, node: NodeRun) -> None:
        task, spec, index = node.task, node.task.spec, node.task.index
        assert spec is not None
        if self.cache is not None and spec.cache and not task.always:
            if not self.cache.claim(
                node.content_key, lambda outcome: self.inbox.put(("landed", index, outcome))
            ):
                self.flying.add(index)
                return
            node.claimed = True
            node.entry = self.cache.entry(node.content_key)  # another run may just have finished it
            if node.entry is not None and self.demand.usable(node):
                self._land(node, Landed(node.entry, node.values))
                self._cached(node, "found when it was its turn")
                self.demand.drain()
                return
            node.entry = None
        engine = self.engine
        node.reporter = NodeReporter(self.log, task.id, self.budget, engine.encode_preview, engine.clock)
        settings = self.resolved.settings
        kept = Kept(self.cache, settings.owner)
        node.context = context_of(engine, task, settings, node.reporter, self.cancel, kept)
        for text in task.warnings:
            node.reporter.warn(text)
        call = Call(engine, task, self._given(node), node.context, node.reporter)
        node.job = Job(call, lambda job: self.inbox.put(("done", index, job)), group=spec.resources)
        self.running.add(index)
        node.phase = RUNNING
        if self.gather is not None and spec.together is not None:
            self.gather.arrive(engine.workers, node.job, call)
            return
        (engine.workers.submit_async if spec.is_async else engine.workers.submit)(node.job)

    def _given(self, node: NodeRun) -> dict[str, Any]:
        """The values on a node's edges, by input."""
        return {name: (self.nodes[source].values or {}).get(out) for name, source, out in node.task.inputs}

    # what came of it

    def _done(self, node: NodeRun, job: Job) -> None:
        if node.phase != RUNNING:
            return  # a stuck node that came back late
        self.running.discard(node.task.index)
        self.inside += job.seconds
        if isinstance(job.error, Cancelled) or (job.error is not None and self.stop):
            self.ledger.settle(node, "cancelled", seconds=job.seconds)
            self._land(node, Landed())
        elif job.error is not None:
            self._fail(
                node,
                failure(node.task, job.error, self._given(node), self.engine.codecs),
                seconds=job.seconds,
            )
        else:
            self._keep(node, job)

    def _keep(self, node: NodeRun, job: Job) -> None:
        """Store what a node made, and settle it."""
        assert node.reporter is not None
        assert node.task.spec is not None
        values, digests, keepable = job.result
        node.values = values
        node.entry = Entry(
            tuple((name, digests[name]) for name in values), job.seconds, dict(node.reporter.notes)
        )
        if self.cache is not None and node.task.spec.cache and keepable and not node.task.always:
            self.cache.store(dict.fromkeys((node.task.key, node.content_key)), node.entry, values)
        self._land(node, Landed(node.entry, values))
        self.made.append(node.task.id)
        self.engine.seen.took(node.task.kind, job.seconds, *node.task.work)
        extra = self._hook(node)
        if extra is not None:
            self.ledger.settle(node, "ran", seconds=job.seconds, extra=extra)
            self.demand.tell(node)

    def _landed(self, node: NodeRun, outcome: Landed) -> None:
        """Somebody else computed the same: take it, share the failure, or compute it after all."""
        self.flying.discard(node.task.index)
        if node.phase != READY:
            return
        node.entry, node.values = outcome.entry, outcome.values
        if node.entry is not None and self.demand.usable(node):
            self._cached(node, "made at the same time")
        elif outcome.error is not None:
            self._fail(node, replace(outcome.error, node=node.task.id, title=node.task.title))
        else:
            node.entry = None
            self.ready.add(node)

    def _land(self, node: NodeRun, outcome: Landed) -> None:
        """Tell those that wait for the same computation."""
        if node.claimed and self.cache is not None:
            node.claimed = False
            self.cache.land(node.content_key, outcome)

    def _cached(self, node: NodeRun, reason: str) -> None:
        extra = self._hook(node)
        if extra is not None:
            self.ledger.settle(node, "cached", reason=reason, extra=extra)
            self.demand.tell(node)

    def _hook(self, node: NodeRun) -> dict[str, Any] | None:
        """What the studio adds to a target; None if the node is not settled by it: lost, or failed."""
        if not node.task.target:
            return {}

        def load() -> dict[str, Any]:
            if node.values is None:
                node.values = self.demand.load(node)
            self.outputs[node.task.id] = {
                name: self.engine.codecs.readonly(value) for name, value in node.values.items()
            }
            return dict(self.outputs[node.task.id])

        if self.on_output is None:
            load()
            return {}
        try:
            return dict(self.on_output(node.task.id, None, node.task.key, load) or {})
        except LostValueError:
            self.demand.fetch(node)
        except Exception as error:  # noqa: BLE001 - keeping a result may fail in any way; the node is what failed
            self._fail(node, failure(node.task, error, {}, self.engine.codecs))
        return None

    def _fail(self, node: NodeRun, error: NodeError, seconds: float = 0.0) -> None:
        self.errors.append(error)
        self.ledger.settle(node, "failed", seconds=seconds, error=error)
        self._land(node, Landed(error=error))
        if self.fail_fast and not self.stop:
            self._stop("failed")

    def _settle_dead(self, node: NodeRun) -> None:
        """What the plan already knows to have no result."""
        planned = self.plan[node.task.id]
        if planned.action == "failed":
            first = node.task.problems[0]
            self._fail(
                node,
                NodeError("Problem", first.message, first.hint, node.task.id, node.task.title, first.socket),
            )
        else:
            self.ledger.settle(node, "skipped", reason=planned.reason)

    # stopping

    def _limit(self, node: NodeRun) -> float | None:
        return (node.task.spec.timeout if node.task.spec else None) or self.engine.timeout

    def _overtime(self) -> None:
        """A deadline has passed: first tell the node, then leave it."""
        now = time.perf_counter()
        for index in sorted(self.running):
            node = self.nodes[index]
            assert node.job is not None
            assert node.context is not None
            limit = self._limit(node)
            if node.deadline is None and limit and node.job.begun is not None:
                node.deadline = node.job.begun + limit
            if self.stop_by is not None and now >= self.stop_by:
                self._stuck(node, "It did not stop when asked.")
            elif node.deadline is not None and now >= node.deadline:
                if node.overtime:
                    self._stuck(node, node.overtime)
                    continue
                node.overtime = f"It took longer than {limit:g} s and was stopped."
                node.context.expire(node.overtime)
                node.deadline = now + self.engine.stuck_after

    def _stuck(self, node: NodeRun, why: str) -> None:
        """Leave the thread to the node, take a fresh one, and say so (E33)."""
        assert node.job is not None
        node.job.left = True
        if not node.is_async:
            self.engine.workers.replace()
        self.running.discard(node.task.index)
        hint = "A node calls ctx.step() in its loop. Its thread was left behind; a restart frees it."
        seconds = time.perf_counter() - (node.job.begun or time.perf_counter())
        error = NodeError(
            "Stuck", f"{why} It is stuck: it never asks whether to stop.", hint, node.task.id, node.task.title
        )
        self._fail(node, error, seconds)

    def _stop(self, why: str) -> None:
        """Start nothing more; what runs is asked to stop and waited for, but not for ever."""
        self.stop = why
        self.ledger.stopped = True
        self.stop_by = time.perf_counter() + self.engine.stuck_after
        for index in sorted(self.running):
            node = self.nodes[index]
            if node.context is not None:
                node.context.expire("stopped")
            if node.job is not None and node.job.withdraw():
                self.running.discard(index)
                self.ledger.settle(node, "cancelled")
                self._land(node, Landed())
        self.flying.clear()

    def _leave_all(self) -> None:
        """The coordinator itself was interrupted: stop the nodes and let nobody wait."""
        self.cancel.cancel()
        for node in self.nodes:
            if node.job is not None:
                node.job.withdraw()
            self._land(node, Landed())
        self.log.append(
            "done", payload={"status": "cancelled", "seconds": round(time.perf_counter() - self.begun, 4)}
        )

    # the end

    def _report(self) -> Report:
        reports, tasks, owner = self.ledger.reports, self.resolved.tasks, self.resolved.settings.owner
        stopped = self.stop == "cancelled" and any(report.state == "cancelled" for report in reports.values())
        status = "cancelled" if stopped else "failed" if self.errors else "finished"
        usable = [t for t in tasks if reports[t.id].state in ("ran", "cached") and t.spec is not None]
        self.engine.seen.put(owner, [(t.kind, t.id, t.ingredients()) for t in usable])
        self.engine.seen.save()
        if self.cache is not None:
            self.cache.finish_run(
                owner, [key for n in self.nodes for key in (n.task.key, n.content_key) if key]
            )
        warnings = dict.fromkeys(text for t in tasks for text in (*t.warnings, *reports[t.id].warnings))
        made = set(self.made)
        order = [*self.made, *(t.id for t in tasks if t.id not in made)]
        seconds = time.perf_counter() - self.begun
        self.log.append("done", payload={"status": status, "seconds": round(seconds, 4)})
        return Report(
            self.run_id,
            status,
            {id: reports[id] for id in order},
            self.outputs,
            tuple(self.errors),
            tuple(warnings),
            seconds,
            max(0.0, seconds - self.inside),
            self.resolved.settings.seed,
            self.plan,
        )
