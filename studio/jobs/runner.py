"""One worker per device: takes a run, calls the function that Studio handed in, keeps states and events.

Pages and commands only follow; a run goes on when they leave. A worker whose run ignores the wish to stop is
replaced (engine E33): in one process that means its run fails, its thread is left behind and everything it
says is ignored.
"""
from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from studio.errors import Cancelled, StudioError
from studio.graph.context import CancelToken
from studio.graph.events import Event
from studio.graph.gather import Gather
from studio.jobs.feed import Feed
from studio.jobs.follow import Feeds
from studio.jobs.journal import PASSING
from studio.jobs.queue import Job, Queue

log = logging.getLogger(__name__)

_IDLE = 1.0             # seconds between two looks into the queue without being woken
_WATCH = 0.25           # seconds between two looks of the watchdog at running runs
_CALM = ("cached", "skipped", "note", "log")  # written with the next other event
_BUFFER = 200


class RunToken(CancelToken):
    """The wish to stop a run: `token()` asks, and it is the `CancelToken` of the engine. `gather`: where its
    nodes may meet those of runs that are made at the same time; None for a run that is made alone."""

    gather: Gather | None = None

    def __call__(self) -> bool:
        return self.cancelled


@dataclass(frozen=True)
class Outcome:
    """How a run ended: finished, failed or cancelled, and what went wrong in words."""

    status: str = "finished"
    error: Mapping[str, object] | str | None = None

    @property
    def facts(self) -> Mapping[str, object] | None:
        """The error as message, hint, node, title, socket; None if there is none."""
        if isinstance(self.error, str):
            return {"message": self.error} if self.error else None
        return self.error or None


RunFunction = Callable[[Job, Callable[[Event], None], RunToken], "Outcome | None"]


@dataclass(eq=False)
class _Active:
    job: Job
    feed: Feed
    device: str
    token: RunToken = field(default_factory=RunToken)
    waiting: list[Event] = field(default_factory=list)
    node: str = ""
    stop_asked: float | None = None
    settled: bool = False
    quiet: bool = False  # the database refused once; said once
    beside: bool = False  # made together with another run, whose worker waits for it
    lock: threading.RLock = field(default_factory=threading.RLock)


class Runner:
    """The workers of this process. `start` it, `submit` runs, follow their `events`, `close` it.

    `run(job, emit, cancelled)` does the work; see `Outcome`. `stuck_after`: seconds that a run may go on
    after it was asked to stop. `fits(one, other)`: whether two runs of one owner may be made at the same
    time; up to `most` are.
    """

    def __init__(self, queue: Queue, run: RunFunction, *, devices: Sequence[str] = ("cpu",),
                 stuck_after: float = 60.0, fits: Callable[[Job, Job], bool] | None = None,
                 most: int = 4) -> None:
        self.queue = queue
        self._fits, self._most = fits, most
        self._run = run
        self._devices = tuple(devices)
        self._stuck_after = stuck_after
        self._changed = threading.Condition()
        self._active: dict[str, _Active] = {}
        self._feeds = Feeds(queue)
        self._threads: list[threading.Thread] = []
        self._started = self._closing = False

    def __repr__(self) -> str:
        return f"Runner({', '.join(self._devices)}; {len(self._active)} running)"

    def start(self) -> None:
        """Start the workers; a second call does nothing."""
        with self._changed:
            if self._started or self._closing:
                return
            self._started = True
            for device in self._devices:
                self._start_worker(device)
            self._start_thread(self._watch, "weft-watch")

    def close(self, timeout: float = 5.0) -> None:
        """Ask running runs to stop, wait for the workers at most `timeout` seconds, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            threads, left = tuple(self._threads), list(self._active.values())
        for active in left:
            self._ask(active)
        end = time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
        with self._changed:
            left = list(self._active.values())
        for active in left:
            self._settle(active, Outcome("cancelled", "Weft was closed while this was running."))

    def submit(self, document: str, *, owner: str = "local", targets: Sequence[str] | None = None,
               params: Mapping[str, object] | None = None, priority: int = 0) -> Job:
        """Queue a run and wake a worker."""
        return self._enqueue(lambda: self.queue.add(document, owner=owner, targets=targets, params=params,
                                                    priority=priority))

    def resume(self, run: str, owner: str = "local") -> Job:
        """`Queue.resume`, and wake a worker."""
        return self._enqueue(lambda: self.queue.resume(run, owner))

    def requeue(self, run: str, owner: str = "local") -> Job:
        """`Queue.requeue`, and wake a worker."""
        return self._enqueue(lambda: self.queue.requeue(run, owner))

    def _enqueue(self, add: Callable[[], Job]) -> Job:
        """Queue a run and say `queued` before any worker can take it."""
        with self._changed:
            job = add()
            ahead = self.queue.ahead(job.id)
            event = self._feeds.renew(job.id).append(Event(job.id, 0, "queued", payload={"ahead": ahead}))
            self._record([event])
            self._changed.notify_all()
        return job

    def cancel(self, run: str, owner: str = "local") -> bool:
        """Stop a run that waits or runs.

        False, and nothing happens: unknown, another owner's, or over already.
        """
        with self._changed:
            active = self._active.get(run)
        if active is not None:
            if active.job.owner != owner or active.settled:
                return False
            self._ask(active)
            with self._changed:
                self._changed.notify_all()
            return True
        status = self.queue.ask_cancel(run, owner)
        if status == "queued":
            feed = self._feeds.of(run)
            self._record([feed.append(Event(run, 0, "done", payload={"status": "cancelled", "error": None}))])
            self._feeds.tidy()
        return status != ""

    def events(self, run: str, owner: str = "local", since: int = 0,
               timeout: float | None = None) -> Iterator[Event]:
        """The run's events with seq > `since`, then the later ones as they come, up to `done`.

        Ends early when nothing came for `timeout` seconds. StudioError for a run that is not this owner's.
        """
        return self._feeds.events(run, owner, since, timeout)

    def follow(self, run: str, owner: str = "local", since: int = 0) -> AsyncIterator[Event]:
        """As `events`, for asyncio: nothing blocks the loop."""
        return self._feeds.follow(run, owner, since)

    def wait(self, run: str, owner: str = "local", timeout: float | None = None) -> Job:
        """Wait until a run is over, at most `timeout` seconds in all; how it stands then."""
        return self._feeds.wait(run, owner, timeout)

    # -- working

    def _start_worker(self, device: str) -> None:
        self._start_thread(lambda: self._work(device), f"weft-{device}")

    def _start_thread(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def _work(self, device: str) -> None:
        while (active := self._next(device)) is not None:
            beside = self._beside(active)
            kept = self._settle(active, self._call(active))
            with self._changed:
                self._changed.wait_for(lambda: all(other.settled for other in beside))  # noqa: B023 - waited here
            if not kept:
                return  # the watchdog gave this run up; another worker has taken the device

    def _beside(self, active: _Active) -> list[_Active]:
        """Begin the runs that are made together with this one, each on a thread of its own."""
        if self._fits is None:
            return []
        try:
            jobs = self.queue.claim_beside(active.job, self._fits, self._most - 1)
        except StudioError as error:
            log.warning("The queue could not be read: %s", error)
            return []
        others = [_Active(job, self._feeds.of(job.id), active.device, beside=True) for job in jobs]
        if others:
            gather = Gather(1 + len(others))
            active.token.gather = gather
            with self._changed:
                for other in others:
                    other.token.gather = gather
                    self._active[other.job.id] = other
            for other in others:
                self._start_thread(partial(self._see_through, other), "weft-beside")
        return others

    def _see_through(self, active: _Active) -> None:
        self._settle(active, self._call(active))

    def _next(self, device: str) -> _Active | None:
        """The next run of this worker; None when the runner closes."""
        while True:
            with self._changed:
                if self._closing:
                    return None
                job = self._claim()
                if job is not None:
                    active = _Active(job, self._feeds.of(job.id), device)
                    self._active[job.id] = active
                    return active
                self._changed.wait(_IDLE)

    def _claim(self) -> Job | None:
        try:
            return self.queue.claim()
        except StudioError as error:
            log.warning("The queue could not be read: %s", error)
            return None

    def _call(self, active: _Active) -> Outcome:
        """Do the work; whatever it raises becomes an outcome, so that the worker lives on."""
        gather = active.token.gather
        try:
            return self._run(active.job, lambda event: self._emit(active, event), active.token) or Outcome()
        except Cancelled:
            return Outcome("cancelled")
        except StudioError as error:
            return Outcome("failed", {"message": error.message, "hint": error.hint, "node": error.node,
                                      "socket": error.socket})
        except BaseException:  # also SystemExit of a plugin: only this run fails
            reference = secrets.token_hex(2).upper()
            log.exception("Run %s failed, reference %s", active.job.id, reference)
            return Outcome("failed", {"message": f"Something went wrong (reference {reference}).",
                                      "hint": "The log has the details.", "node": active.node})
        finally:
            if gather is not None:
                gather.leave()

    def _emit(self, active: _Active, event: Event) -> None:
        """Number an event, keep it, hand it on. A run that was given up is stopped here."""
        with active.lock:
            if active.settled:
                raise Cancelled()
            if event.kind in ("queued", "done"):
                return
            numbered = active.feed.append(event)
            if event.kind == "started":
                active.node = event.node
            if event.kind in PASSING:
                return
            active.waiting.append(numbered)
            if event.kind not in _CALM or len(active.waiting) >= _BUFFER:
                self._flush(active)

    def _flush(self, active: _Active) -> None:
        events, active.waiting = active.waiting, []
        trouble = self._record(events)
        if trouble and not active.quiet:
            active.quiet = True
            active.feed.append(Event(active.job.id, 0, "warning", payload={
                "message": f"This run is not recorded: {trouble}"}))

    def _record(self, events: list[Event]) -> str:
        """Store events; a disk that refuses costs the record, never the run. What was wrong, in words."""
        try:
            self.queue.journal.write(events)
        except StudioError as error:
            log.warning("Events were not stored: %s", error)
            return str(error)
        return ""

    def _settle(self, active: _Active, outcome: Outcome) -> bool:
        """Store how a run ended, then say `done`. False if somebody else settled it before."""
        with active.lock:
            if active.settled:
                return False
            active.settled = True
            error = outcome.facts
            self._flush(active)
            try:
                self.queue.finish(active.job.id, outcome.status, error)
            except StudioError as trouble:
                log.warning("The end of run %s was not stored: %s", active.job.id, trouble)
            done = active.feed.append(Event(active.job.id, 0, "done", payload={
                "status": outcome.status, "error": dict(error) if error else None,
                "seconds": time.time() - (active.job.started or time.time())}))
            self._record([done])
        with self._changed:
            self._active.pop(active.job.id, None)
            self._changed.notify_all()
        self._feeds.tidy()
        return True

    # -- stopping

    def _ask(self, active: _Active) -> None:
        if active.stop_asked is None:
            active.stop_asked = time.monotonic()
        active.token.cancel()

    def _watch(self) -> None:
        """Carry wishes of other processes to running runs; give up on those that ignore one for too long."""
        while True:
            with self._changed:
                self._changed.wait(min(_WATCH, self._stuck_after / 2))
                if self._closing:
                    return
                active_now = list(self._active.values())
            for active in active_now:
                self._look_after(active)
            self._feeds.close_settled(self._active)

    def _look_after(self, active: _Active) -> None:
        try:
            if active.stop_asked is None and self.queue.cancel_asked(active.job.id):
                self._ask(active)
        except StudioError as error:
            log.warning("The database did not answer: %s", error)
        if active.stop_asked is not None and time.monotonic() - active.stop_asked > self._stuck_after:
            self._replace(active)

    def _replace(self, active: _Active) -> None:
        """Give a stuck run up: it fails, and a new worker takes its device."""
        seconds = self._stuck_after
        where = f"Node '{active.node}'" if active.node else "The run"
        given_up = self._settle(active, Outcome("failed", {
            "message": f"{where} did not stop within {seconds:g} seconds; it was given up.",
            "hint": "Other runs go on. If this repeats, restart Weft.", "node": active.node}))
        if given_up:
            with self._changed:
                if not self._closing and not active.beside:
                    self._start_worker(active.device)
