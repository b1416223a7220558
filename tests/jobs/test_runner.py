"""Workers: states, events, cancel, stuck and crashing runs, followers in this and other processes."""
from __future__ import annotations

import asyncio
import errno
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from studio.db.disk import Disk
from studio.db.open import Db, open_home
from studio.errors import Cancelled, StudioError
from studio.graph.events import Event
from studio.jobs.queue import Job, Queue
from studio.jobs.runner import Outcome, RunFunction, Runner, RunToken

from .conftest import GRAPH

LONG = 20.0  # seconds that no test reaches unless it fails
Emit = Callable[[Event], None]
Make = Callable[..., Runner]


@pytest.fixture
def make(queue: Queue) -> Iterator[Make]:
    made: list[Runner] = []

    def making(run: RunFunction, **more: object) -> Runner:
        runner = Runner(queue, run, **more)  # type: ignore[arg-type]
        made.append(runner)
        runner.start()
        return runner

    yield making
    for runner in made:
        runner.close(timeout=2.0)


def two_nodes(job: Job, emit: Emit, cancelled: RunToken) -> Outcome:
    emit(Event(job.id, 1, "queued"))
    emit(Event(job.id, 2, "planned", payload={"nodes": [{"id": "a", "kind": "prompt"}, {"id": "b",
                                                                                        "kind": "sample"}]}))
    emit(Event(job.id, 3, "cached", "a"))
    emit(Event(job.id, 4, "started", "b"))
    emit(Event(job.id, 5, "progress", "b", payload={"value": 0.5, "step": 1, "total": 2}))
    emit(Event(job.id, 6, "finished", "b", payload={"seconds": 1.0}))
    emit(Event(job.id, 7, "done"))
    return Outcome()


class Held:
    """A run that says it has begun and goes on until it is let go or stopped."""

    def __init__(self, *, listens: bool = True) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.listens = listens

    def __call__(self, job: Job, emit: Emit, cancelled: RunToken) -> Outcome:
        emit(Event(job.id, 1, "started", "b"))
        if self.listens:
            cancelled.on_cancel(self.go.set)
        self.begun.set()
        assert self.go.wait(LONG)
        if self.listens and cancelled():
            raise Cancelled()
        emit(Event(job.id, 2, "finished", "b"))
        return Outcome()


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_run_goes_from_queued_to_done_in_one_order(make: Make, queue: Queue) -> None:
    runner = make(two_nodes)
    job = runner.submit(GRAPH, params={"a": 1})
    events = list(runner.events(job.id, timeout=LONG))
    assert kinds(events) == ["queued", "planned", "cached", "started", "progress", "finished", "done"]
    assert [event.seq for event in events] == list(range(1, 8))
    assert events[-1].payload["status"] == "finished" and events[-1].payload["error"] is None
    done = runner.wait(job.id, timeout=LONG)
    assert done.status == "finished" and done.started is not None and done.finished is not None
    assert {path: state.state for (path, _), state in queue.node_states(job.id).items()} == {"a": "cached",
                                                                                             "b": "ran"}


def test_followers_ask_since_n_also_after_the_end_and_from_another_process(make: Make, home: Path) -> None:
    runner = make(two_nodes)
    job = runner.submit(GRAPH)
    runner.wait(job.id, timeout=LONG)
    assert kinds(list(runner.events(job.id, since=5, timeout=LONG))) == ["finished", "done"]
    with open_home(home) as beside:
        other = Runner(Queue(beside), two_nodes)
        assert kinds(list(other.events(job.id, since=3, timeout=LONG))) == ["started", "finished", "done"]
        assert other.wait(job.id, timeout=LONG).status == "finished"


def test_many_followers_see_the_same_while_it_happens(make: Make) -> None:
    held = Held()
    runner = make(held)
    job = runner.submit(GRAPH)
    seen: list[list[str]] = [[] for _ in range(5)]
    threads = [threading.Thread(target=lambda one=one: one.extend(kinds(list(runner.events(job.id,
                                                                                           timeout=LONG)))))
               for one in seen]
    for thread in threads:
        thread.start()
    assert held.begun.wait(LONG)
    held.go.set()
    for thread in threads:
        thread.join(LONG)
    assert seen == [["queued", "started", "finished", "done"]] * 5


def test_asyncio_followers_do_not_block_the_loop(make: Make) -> None:
    held = Held()
    runner = make(held)
    job = runner.submit(GRAPH)

    async def watch() -> list[str]:
        return [event.kind async for event in runner.follow(job.id)]

    async def both() -> tuple[list[str], list[str]]:
        one, two = asyncio.create_task(watch()), asyncio.create_task(watch())
        await asyncio.to_thread(held.begun.wait, LONG)
        held.go.set()
        return await asyncio.wait_for(one, LONG), await asyncio.wait_for(two, LONG)

    assert asyncio.run(both()) == (["queued", "started", "finished", "done"],) * 2
    assert asyncio.run(watch()) == ["queued", "started", "finished", "done"]


def test_events_are_for_the_owner_only(make: Make) -> None:
    runner = make(two_nodes)
    job = runner.submit(GRAPH, owner="anna")
    runner.wait(job.id, "anna", timeout=LONG)
    with pytest.raises(StudioError, match="There is no run"):
        runner.events(job.id, "ben")
    with pytest.raises(StudioError, match="There is no run"):
        runner.wait(job.id, "ben")
    assert not runner.cancel(job.id, "ben")


def test_follower_gives_up_after_its_timeout(make: Make) -> None:
    held = Held()
    runner = make(held)
    job = runner.submit(GRAPH)
    assert held.begun.wait(LONG)
    assert kinds(list(runner.events(job.id, timeout=0.01))) == ["queued", "started"]
    assert runner.wait(job.id, timeout=0.01).status == "running"


def test_running_run_stops_when_asked_by_its_owner(make: Make, queue: Queue) -> None:
    held = Held()
    runner = make(held)
    job = runner.submit(GRAPH, owner="anna")
    assert held.begun.wait(LONG)
    assert not runner.cancel(job.id, "ben")
    assert runner.cancel(job.id, "anna")
    assert runner.wait(job.id, "anna", timeout=LONG).status == "cancelled"
    assert not runner.cancel(job.id, "anna")
    assert list(runner.events(job.id, "anna", timeout=LONG))[-1].payload["status"] == "cancelled"


def test_waiting_run_is_cancelled_without_being_called(make: Make, queue: Queue) -> None:
    held = Held()
    runner = make(held)
    first = runner.submit(GRAPH)
    assert held.begun.wait(LONG)
    second = runner.submit(GRAPH)
    assert queue.ahead(second.id) == 1  # the one that runs
    assert runner.cancel(second.id)
    assert kinds(list(runner.events(second.id, timeout=LONG))) == ["queued", "done"]
    held.go.set()
    assert runner.wait(first.id, timeout=LONG).status == "finished"
    assert queue.node_states(second.id) == {}


def test_cancel_after_the_end_undoes_nothing(make: Make) -> None:
    runner = make(two_nodes)
    job = runner.submit(GRAPH)
    runner.wait(job.id, timeout=LONG)
    assert not runner.cancel(job.id) and not runner.cancel("r_unknown")
    assert runner.wait(job.id).status == "finished"


def test_another_process_can_cancel_what_runs_and_what_waits_here(make: Make, home: Path) -> None:
    held = Held()
    runner = make(held)
    running = runner.submit(GRAPH)
    assert held.begun.wait(LONG)
    waiting = runner.submit(GRAPH)
    with open_home(home) as beside:
        other = Runner(Queue(beside), two_nodes)
        assert other.cancel(waiting.id)
        assert other.cancel(running.id)
        assert other.wait(running.id, timeout=LONG).status == "cancelled"
    for job in (running, waiting):
        assert list(runner.events(job.id, timeout=LONG))[-1].payload["status"] == "cancelled"


def fails_with(error: BaseException) -> RunFunction:
    def run(job: Job, emit: Emit, cancelled: RunToken) -> Outcome:
        emit(Event(job.id, 1, "started", "b"))
        raise error

    return run


@pytest.mark.parametrize(("error", "status", "message"), [
    (StudioError("Steps is 0.", hint="Give 1 or more.", node="b", socket="steps"), "failed", "Steps is 0."),
    (Cancelled(), "cancelled", ""), (ZeroDivisionError("x / 0"), "failed", "Something went wrong (reference"),
    (SystemExit(3), "failed", "Something went wrong"), (KeyboardInterrupt(), "failed",
                                                        "Something went wrong"),
    (MemoryError(), "failed", "Something went wrong")])
def test_whatever_a_run_raises_the_worker_lives_on(make: Make, error: BaseException, status: str,
                                                   message: str) -> None:
    functions: list[RunFunction] = [fails_with(error), two_nodes]
    runner = make(lambda job, emit, cancelled: functions.pop(0)(job, emit, cancelled))
    bad, good = runner.submit(GRAPH), runner.submit(GRAPH)
    job = runner.wait(bad.id, timeout=LONG)
    assert job.status == status
    assert message in str(job.error or "")
    if isinstance(error, StudioError) and status == "failed":
        assert job.error == {"message": "Steps is 0.", "hint": "Give 1 or more.", "node": "b",
                             "socket": "steps"}
    assert "x / 0" not in str(job.error)
    assert runner.wait(good.id, timeout=LONG).status == "finished"


def test_outcome_of_the_function_is_the_end_of_the_run(make: Make) -> None:
    runner = make(lambda job, emit, cancelled: Outcome("failed", {"message": "two nodes failed",
                                                                  "node": "b"}))
    job = runner.submit(GRAPH)
    assert list(runner.events(job.id, timeout=LONG))[-1].payload["error"] == {"message": "two nodes failed",
                                                                              "node": "b"}
    assert runner.wait(job.id).error == {"message": "two nodes failed", "node": "b"}


def test_stuck_run_is_given_up_and_its_worker_replaced(make: Make) -> None:
    stuck, late = Held(listens=False), threading.Event()
    functions: list[RunFunction] = [stuck, two_nodes]

    def run(job: Job, emit: Emit, cancelled: RunToken) -> Outcome | None:
        function = functions.pop(0)
        try:
            return function(job, emit, cancelled)
        except Cancelled:
            late.set()
            raise

    runner = make(run, stuck_after=0.05)
    bad, good = runner.submit(GRAPH), runner.submit(GRAPH)
    assert stuck.begun.wait(LONG)
    runner.cancel(bad.id)
    assert runner.wait(good.id,
                       timeout=LONG).status == "finished"  # by the new worker: the old one still hangs
    job = runner.wait(bad.id, timeout=LONG)
    assert job.status == "failed" and "Node 'b' did not stop within 0.05 seconds" in str(job.error)
    stuck.go.set()
    assert late.wait(LONG)  # what it says afterwards is refused
    assert kinds(list(runner.events(bad.id, timeout=LONG))) == ["queued", "started", "done"]
    again = runner.submit(GRAPH)
    functions.append(two_nodes)
    assert runner.wait(again.id, timeout=LONG).status in ("finished", "failed")


def test_two_devices_run_two_owners_at_once(make: Make, queue: Queue) -> None:
    meeting = threading.Barrier(2, timeout=LONG)

    def run(job: Job, emit: Emit, cancelled: RunToken) -> Outcome:
        meeting.wait()
        return Outcome()

    runner = make(run, devices=("cuda:0", "cuda:1"))
    jobs = [runner.submit(GRAPH, owner=owner) for owner in ("anna", "ben")]
    assert [runner.wait(job.id, job.owner, timeout=LONG).status for job in jobs] == ["finished", "finished"]


def test_full_disk_costs_the_record_of_events_not_the_run(make: Make, db: Db) -> None:
    def run(job: Job, emit: Emit, cancelled: RunToken) -> Outcome:
        db.execute(f"PRAGMA max_page_count = {db.one('PRAGMA page_count')[0]}")
        for number in range(50):
            emit(Event(job.id, 1, "finished", f"n{number}", payload={"text": "x" * 5000}))
        db.execute("PRAGMA max_page_count = 1000000")
        return Outcome()

    runner = make(run)
    job = runner.submit(GRAPH)
    events = list(runner.events(job.id, timeout=LONG))
    assert kinds(events).count("finished") == 50 and kinds(events).count("warning") == 1
    assert "disk is full" in next(event for event in events if event.kind == "warning").payload["message"]
    assert runner.wait(job.id, timeout=LONG).status == "finished"


class ReadOnly(Disk):
    """Refuses every write."""

    def write(self, handle: IO[bytes], data: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system")


def test_runs_go_on_in_a_home_that_cannot_be_written(home: Path) -> None:
    with open_home(home) as db:
        old = Queue(db).add(GRAPH)
    with open_home(home, serve=True, disk=ReadOnly()) as db:
        queue = Queue(db)
        queue.recover()
        runner = Runner(queue, two_nodes)
        runner.start()
        try:
            job = runner.submit(GRAPH)
            assert kinds(list(runner.events(job.id, timeout=LONG)))[-1] == "done"
            assert runner.wait(job.id, timeout=LONG).status == "finished"
        finally:
            runner.close()
    with open_home(home) as db:
        assert [run.id for run in Queue(db).newest("local")] == [old.id]


def test_closing_stops_runs_and_leaves_waiting_ones_in_the_queue(make: Make, queue: Queue) -> None:
    held = Held()
    runner = make(held)
    first = runner.submit(GRAPH)
    assert held.begun.wait(LONG)
    second = runner.submit(GRAPH)
    runner.close(timeout=LONG)
    assert queue.status(first.id) == "cancelled" and queue.status(second.id) == "queued"


def test_closing_does_not_wait_for_what_hangs(make: Make, queue: Queue) -> None:
    held = Held(listens=False)
    runner = make(held)
    job = runner.submit(GRAPH)
    assert held.begun.wait(LONG)
    runner.close(timeout=0.05)
    assert queue.status(job.id) == "cancelled"
    held.go.set()


SERVER = """
import sys, threading
from pathlib import Path
from studio.db.open import open_home
from studio.graph.events import Event
from studio.jobs.queue import Queue
from studio.jobs.runner import Runner
def run(job, emit, cancelled):
    emit(Event(job.id, 1, "started", "a"))
    emit(Event(job.id, 2, "finished", "a", payload={"seconds": 1.0}))
    emit(Event(job.id, 3, "started", "b"))
    print(job.id, flush=True)
    threading.Event().wait()
runner = Runner(Queue(open_home(Path(sys.argv[1]), serve=True)), run)
runner.start()
runner.submit("{}")
threading.Event().wait()
"""


def test_killed_server_offers_its_run_and_the_resumed_one_goes_on_in_order(home: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with open_home(home, serve=True) as db:
        queue = Queue(db)
        assert [job.id for job in queue.recover()] == [run]
        runner = Runner(queue, two_nodes)
        runner.start()
        try:
            assert queue.status(run) == "parked"  # nothing starts again by itself
            assert kinds(list(runner.events(run, timeout=LONG))) == ["queued", "started", "finished",
                                                                     "started"]
            runner.resume(run)
            events = list(runner.events(run, timeout=LONG))
            assert kinds(events)[:5] == ["queued", "started", "finished", "started", "queued"]
            assert kinds(events)[-1] == "done"
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert runner.wait(run, timeout=LONG).status == "finished"
        finally:
            runner.close()
