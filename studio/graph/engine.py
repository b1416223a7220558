"""The engine: check, plan and run a document against a registry (E10, E19-E39). It knows specs, no
catalogue."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.graph.cache import Cache
from studio.graph.check import Asked, check, check_flat, outside
from studio.graph.context import CancelToken, Device, ModelLoader
from studio.graph.definitions import Specs
from studio.graph.digest import Codecs, ValueCodec
from studio.graph.document import Graph, Limits
from studio.graph.events import EventLog
from studio.graph.gather import Gather
from studio.graph.inline import inline
from studio.graph.keys import FileHashes
from studio.graph.plan import Plan, make_plan
from studio.graph.problem import Problem
from studio.graph.report import NodeError, Report
from studio.graph.resolve import Files, Resolved, Settings, resolve
from studio.graph.run import OnOutput, Run
from studio.graph.seen import Seen
from studio.graph.worker import Guard, Workers

if TYPE_CHECKING:
    from studio.policy import Policy


class Engine:
    """One engine per device: its ordinary nodes run one after the other, whoever asks.

    `guard` surrounds each ordinary node (grad off, global random state put back); `async_guard` each async
    node, which must not touch state of the whole process. `timeout`: seconds a node may take unless it says
    otherwise. `stuck_after`: seconds that a node which was told to stop may take to do so. `check_inputs`
    re-hashes the inputs after each node and names the culprit (E13; for tests).
    """

    def __init__(
        self,
        registry: Specs,
        *,
        cache: Cache | None = None,
        codecs: Sequence[ValueCodec] = (),
        seen: Seen | None = None,
        files: Files | None = None,
        # what the studio hands in, so that nothing here knows torch or Pillow
        guard: Guard = nullcontext,
        async_guard: Guard = nullcontext,
        generator: Callable[[int], Any] | None = None,
        models: ModelLoader | None = None,
        policy: Policy | None = None,
        open_file: Callable[[str], bytes] | None = None,
        encode_preview: Callable[[Any], bytes] | None = None,
        # numbers
        device: Device = Device(),
        numerics: str = "fast",
        limits: Limits = Limits(),
        timeout: float | None = None,
        stuck_after: float = 30.0,
        check_inputs: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.registry = registry
        self.codecs = Codecs(codecs)
        self.cache = cache if cache is not None else Cache("lru")
        self.cache.codecs = self.codecs
        self.seen = seen if seen is not None else Seen()
        self.files: Files = files if files is not None else FileHashes()
        self.generator, self.models, self.policy, self.open_file = generator, models, policy, open_file
        self.encode_preview = encode_preview
        self.device, self.numerics, self.limits = device, numerics, limits
        self.timeout, self.stuck_after, self.check_inputs = timeout, stuck_after, check_inputs
        self.clock = clock
        self.workers = Workers(guard, async_guard)

    def __repr__(self) -> str:
        return f"Engine({self.device}, {self.cache!r})"

    def check(self, graph: Graph, targets: Sequence[str] | None = None) -> list[Problem]:
        """Every problem of the document, those that stop a run marked as blocking. Raises for unknown
        targets."""
        return check(graph, self.registry, targets, limits=self.limits, asked=self._asked())

    def plan(
        self,
        graph: Graph,
        targets: Sequence[str] | None = None,
        *,
        seed: int = 0,
        owner: str = "local",
        use_cache: bool = True,
    ) -> Plan:
        """What would run, what comes from the cache, and why. Raises StudioError if there is no target."""
        resolved, problems = self._resolve(graph, targets, seed, owner)
        return make_plan(resolved, self.cache if use_cache else None, self.seen, problems)[0]

    def run(
        self,
        graph: Graph,
        targets: Sequence[str] | None = None,
        *,
        seed: int = 0,
        owner: str = "local",
        run_id: str = "",
        log: EventLog | None = None,
        cancel: CancelToken | None = None,
        use_cache: bool = True,
        fail_fast: bool = False,
        on_output: OnOutput | None = None,
        gather: Gather | None = None,
    ) -> Report:
        """Make the targets and say what came of it. Errors of nodes are in the report; StudioError only for
        no target.

        `gather`: where nodes of runs that are made at the same time may become one call; not with strict
        numerics.

        Blocks; call it from a thread of your own. The document is a value, so later edits do not reach the
        run (E39).
        """
        run_id = run_id or (log.run if log is not None else f"r_{uuid.uuid4().hex[:16]}")
        log = log if log is not None else EventLog(run_id)
        begun = time.perf_counter()
        resolved, problems = self._resolve(graph, targets, seed, owner)
        plan, entries = make_plan(resolved, self.cache if use_cache else None, self.seen, problems)
        log.append("planned", payload=plan.to_json())
        if resolved.problems:
            return _refused(run_id, plan, resolved, log, begun)
        run = Run(
            self,
            resolved,
            plan,
            entries,
            run_id=run_id,
            log=log,
            cancel=cancel or CancelToken(),
            use_cache=use_cache,
            fail_fast=fail_fast,
            on_output=on_output,
            begun=begun,
            gather=gather if self.numerics == "fast" else None,
        )
        # What the plan counts on stays while the run goes: it may do less than planned, never more (E10).
        counted = self.cache.pin(digest for e in entries if e is not None for _, digest in e.outputs)
        try:
            return run.go()
        finally:
            self.cache.unpin(counted)

    def close(self) -> None:
        """Let the worker end and write what was learnt."""
        self.workers.close()
        self.seen.save()

    def _asked(self) -> Asked | None:
        return None if self.policy is None else self.policy.check_reference

    def _resolve(
        self, graph: Graph, targets: Sequence[str] | None, seed: int, owner: str
    ) -> tuple[Resolved, tuple[Problem, ...]]:
        """The tasks of a run, and the document's problems as a person sees them."""
        numerics = f"{self.device.kind}/{self.device.dtype}/{self.numerics}"
        settings = Settings(seed=seed, owner=owner, numerics=numerics, files=self.files)
        specs = _Snapshot(self.registry)
        flat = inline(graph, specs, self.limits)
        chosen = flat.targets(targets, specs)
        problems = check_flat(flat, specs, chosen, limits=self.limits, asked=self._asked())
        inside = [
            Problem(id, at.socket, at.message, at.hint, stage=at.stage, title=flat.title(at.node))
            for at in flat.faults
            for id in flat.hit(at)
        ]
        resolved = resolve(flat.graph, specs, [*problems, *inside], chosen, settings)
        return resolved, tuple(outside(flat, problems))


class _Snapshot:
    """The specs as they are now: a reload during the run does not reach it."""

    def __init__(self, registry: Specs) -> None:
        self._registry = registry
        self._found: dict[str, Any] = {}

    def find(self, kind: str) -> Any:
        if kind not in self._found:
            self._found[kind] = self._registry.find(kind)
        return self._found[kind]

    def known(self) -> Any:
        return self._registry.known()


def _refused(run_id: str, plan: Plan, resolved: Resolved, log: EventLog, begun: float) -> Report:
    """The report of a document that cannot run at all."""
    errors = tuple(
        NodeError("Problem", p.message, p.hint, p.node, p.title, p.socket) for p in resolved.problems
    )
    seconds = time.perf_counter() - begun
    log.append(
        "done",
        payload={"status": "failed", "seconds": round(seconds, 4), "error": errors[0].to_json(public=True)},
    )
    return Report(run_id, "failed", {}, {}, errors, (), seconds, seconds, plan.seed, replace(plan))
