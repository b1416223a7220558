"""Nodes of several runs that are computed in one call (`@node(together=...)`).

Runs that may have such nodes are begun at the same time and share a `Gather`. A node of that sort waits there
until every other run of the group waits too, is over, or lets too long pass; those whose keys agree are then
one call on the engine's worker. Each run keeps its own progress, events, cancel and result, and where the
common call fails, each is called alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from studio.graph.worker import Job, Workers

if TYPE_CHECKING:
    from studio.graph.call import Call

PATIENCE = 2.0
"""Seconds that nodes wait for one that does not come, counted from the last that came."""


class Gather:
    """Where the nodes of `runs` runs meet."""

    def __init__(self, runs: int, patience: float = PATIENCE) -> None:
        self._going = runs
        self._patience = patience
        self._waiting: list[tuple[Workers, Job, Call]] = []
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Gather({self._going} going, {len(self._waiting)} waiting)"

    def arrive(self, workers: Workers, job: Job, call: Call) -> None:
        """A node of one run is ready."""
        with self._lock:
            self._waiting.append((workers, job, call))
            if len(self._waiting) >= self._going:
                self._flush()
                return
            self._stop_timer()
            self._timer = threading.Timer(self._patience, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def leave(self) -> None:
        """A run is over."""
        with self._lock:
            self._going -= 1
            if self._waiting and len(self._waiting) >= self._going:
                self._flush()

    def flush(self) -> None:
        """Wait no longer."""
        with self._lock:
            self._flush()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._stop_timer()
        waiting, self._waiting = self._waiting, []
        groups: dict[object, list[tuple[Workers, Job, Call]]] = {}
        for number, (workers, job, call) in enumerate(waiting):
            key = _key(call)
            groups.setdefault(("alone", number) if key is None else ("group", key), []).append(
                (workers, job, call)
            )
        for group in groups.values():
            workers = group[0][0]
            if len(group) == 1:
                workers.submit(group[0][1])
                continue
            pairs = [(job, call) for _, job, call in group]
            # the jobs of the group answer for themselves
            workers.submit(Job(_common(pairs), lambda job: None, group=group[0][1].group))


def _key(call: Call) -> object | None:
    """What the node says of its own arguments; one whose arguments are wrong is called alone and says so."""
    spec = call.task.spec
    assert spec is not None
    if spec.together is None:
        return None
    try:
        key = spec.together.key(call.handed())
    except Exception:  # noqa: BLE001 - whatever is wrong with the arguments, the call itself tells it
        return None
    return None if key is None else (spec.kind, key)


def _common(pairs: list[tuple[Job, Call]]) -> Callable[[], None]:
    """The one call of a group."""

    def work() -> None:
        going = [(job, call) for job, call in pairs if job.begin()]
        if len(going) == 1:
            _alone(*going[0])
        if len(going) < 2:
            return
        open_ones = dict(enumerate(going))
        handed: list[Mapping[str, Any]] = []
        for _, call in going:
            call.reporter.start()
            handed.append(call.handed())

        def done(number: int, outcome: object) -> None:
            pair = open_ones.pop(number, None)
            if pair is not None:
                _answer(*pair, outcome)

        spec = going[0][1].task.spec
        assert spec is not None
        assert spec.together is not None
        try:
            with going[0][1].restored():
                spec.together.run(handed, done)
        except Exception as error:  # noqa: BLE001 - one of them is the cause: each on its own tells which
            for _, call in open_ones.values():
                call.reporter.log(f"Not made together with others: {type(error).__name__}: {error}")
        for job, call in list(open_ones.values()):
            _alone(job, call)

    return work


def _alone(job: Job, call: Call) -> None:
    try:
        job.finish(result=call())
    except BaseException as error:  # noqa: BLE001 - as in `Job.run`
        job.finish(error=error)


def _answer(job: Job, call: Call, outcome: object) -> None:
    if isinstance(outcome, BaseException):
        call.context.close()
        job.finish(error=outcome)
        return
    try:
        job.finish(result=call.finish(outcome))
    except BaseException as error:  # noqa: BLE001 - as in `Job.run`
        job.finish(error=error)
    finally:
        call.context.close()
