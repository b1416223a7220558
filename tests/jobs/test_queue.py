"""The durable queue: order, limits, owners, crashes."""
from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.db.open import Db, open_home
from studio.errors import Refused, StudioError
from studio.graph.events import Event
from studio.jobs.queue import Job, Queue

from .conftest import GRAPH

CRASHER = """
import sys
from pathlib import Path
from studio.db.open import open_home
from studio.graph.events import Event
from studio.jobs.queue import Queue
db = open_home(Path(sys.argv[1]), serve=sys.argv[2] == "serve")
queue = Queue(db)
if len(sys.argv) > 3:
    run = queue.resume(sys.argv[3], "local").id
else:
    run = queue.add("{}").id
    queue.add("{}")
queue.claim()
queue.journal.write([
    Event(run, 1, "started", "a"), Event(run, 2, "finished", "a", payload={"seconds": 2.5, "key": "k"}),
    Event(run, 3, "started", "b")])
print(run, flush=True)
sys.stdin.read()
"""


def crash(home: Path, *arguments: str) -> str:
    """A process that dies by kill -9 in the middle of a run; the run's id."""
    process = subprocess.Popen([sys.executable, "-c", CRASHER, str(home), *arguments], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return run


def claimed(queue: Queue) -> Job:
    job = queue.claim()
    assert job is not None
    return job


def test_added_run_comes_back_whole(queue: Queue) -> None:
    job = queue.add(GRAPH, owner="anna", targets=("s", "t"),
                    params={"use_cache": False, "parents": [["x", "source"]]},
                    priority=3, batch="b")
    assert queue.get(job.id, "anna") == job
    assert (job.status, job.document, job.targets, job.priority, job.batch) == ("queued", GRAPH, ("s", "t"),
                                                                                3, "b")
    assert job.params == {"use_cache": False, "parents": [["x", "source"]]}
    assert queue.get(job.id, "ben") is None and queue.get("r_unknown", "anna") is None
    assert queue.add(GRAPH).targets is None


def test_runs_of_one_owner_go_by_priority_then_age(queue: Queue) -> None:
    first, second, urgent = queue.add(GRAPH), queue.add(GRAPH), queue.add(GRAPH, priority=1)
    assert [queue.ahead(job.id) for job in (first, second, urgent)] == [0, 1, 2]
    order = []
    for _ in range(3):
        order.append(claimed(queue).id)
        queue.finish(order[-1], "finished")
    assert order == [urgent.id, first.id, second.id]
    assert queue.claim() is None and queue.ahead(first.id) == 0


def test_turn_is_fair_between_owners(queue: Queue) -> None:
    many = [queue.add(GRAPH, owner="greedy", priority=9) for _ in range(3)]
    one = queue.add(GRAPH, owner="modest")
    order = []
    for _ in range(4):
        job = claimed(queue)
        order.append(job.owner)
        queue.finish(job.id, "finished")
    assert order == ["greedy", "modest", "greedy", "greedy"]
    assert many and one


def test_owner_with_enough_running_waits(db: Db) -> None:
    queue = Queue(db, per_owner_running=1)
    first = queue.add(GRAPH)
    queue.add(GRAPH)
    other = queue.add(GRAPH, owner="ben")
    assert claimed(queue).id == first.id
    assert claimed(queue).id == other.id
    assert queue.claim() is None
    queue.finish(first.id, "failed", {"message": "no"})
    assert claimed(queue).owner == "local"


def test_full_queue_is_refused_with_the_numbers(db: Db) -> None:
    queue = Queue(db, per_owner_waiting=2, total_waiting=3)
    queue.add(GRAPH)
    queue.add(GRAPH)
    with pytest.raises(Refused, match="2 of your runs are waiting; at most 2 may"):
        queue.add(GRAPH)
    queue.add(GRAPH, owner="ben")
    with pytest.raises(Refused, match="3 runs are waiting; the queue holds 3"):
        queue.add(GRAPH, owner="carl")
    assert len(queue.newest("local")) == 2


def test_end_is_settled_once(queue: Queue) -> None:
    job = queue.add(GRAPH)
    claimed(queue)
    assert queue.finish(job.id, "failed", {"message": "no", "node": "s"})
    assert not queue.finish(job.id, "finished")
    found = queue.get(job.id, "local")
    assert found is not None and found.over and found.status == "failed"
    assert found.error == {"message": "no", "node": "s"} and found.finished is not None
    with pytest.raises(ValueError, match="not 'ran'"):
        queue.finish(job.id, "ran")


def test_cancel_is_for_the_owner_and_for_what_is_not_over(queue: Queue) -> None:
    waiting, running = queue.add(GRAPH), queue.add(GRAPH, priority=1)
    claimed(queue)
    assert queue.ask_cancel(waiting.id, "ben") == "" and queue.ask_cancel("r_none", "local") == ""
    assert queue.ask_cancel(waiting.id, "local") == "queued"
    assert queue.status(waiting.id) == "cancelled" and queue.claim() is None
    assert not queue.cancel_asked(running.id)
    assert queue.ask_cancel(running.id, "local") == "running" and queue.cancel_asked(running.id)
    queue.finish(running.id, "finished")
    assert queue.ask_cancel(running.id, "local") == ""


def test_process_claims_only_its_own_runs(queue: Queue, home: Path) -> None:
    mine = queue.add(GRAPH)
    with open_home(home) as beside:
        command = Queue(beside)
        assert command.claim() is None
        theirs = command.add(GRAPH)
        assert claimed(queue).id == mine.id
        assert queue.claim() is None
        assert claimed(command).id == theirs.id
        assert queue.recover() == []
        assert queue.status(theirs.id) == "running"
        command.finish(theirs.id, "finished")


def test_run_of_a_killed_server_is_parked_and_its_finished_nodes_are_known(home: Path) -> None:
    run = crash(home, "serve")
    with open_home(home, serve=True) as db:
        queue = Queue(db)
        assert [job.id for job in queue.recover()] == [run]
        job = queue.parked("local")[0]
        assert job.crashes == 1 and job.error == {"message": "Weft ended while this was running."}
        assert queue.offers(job) == ("resume", "requeue", "discard")
        states = queue.node_states(run)
        assert (states["a", None].state, states["a", None].seconds, states["a", None].key) == ("ran", 2.5,
                                                                                               "k")
        assert states["b", None].state == "cancelled"
        waiting = queue.claim()
        assert waiting is not None and waiting.id != run  # what only waited is taken over, what ran is not
        assert queue.claim() is None
        assert queue.recover() == []


def test_run_that_crashes_twice_is_not_resumed_again(home: Path) -> None:
    run = crash(home, "serve")
    with open_home(home, serve=True) as db:
        queue = Queue(db)
        queue.recover()
        for other in queue.live("local"):
            queue.ask_cancel(other.id, "local")
    with open_home(home, serve=True) as db:
        Queue(db).recover()
    assert crash(home, "serve", run) == run
    with open_home(home, serve=True) as db:
        queue = Queue(db)
        (job,) = queue.recover()
        assert (job.id, job.crashes) == (run, 2)
        assert queue.offers(job) == ("requeue", "discard")
        with pytest.raises(StudioError, match="broke off 2 times"):
            queue.resume(run, "local")
        again = queue.requeue(run, "local")
        assert (again.retried_from, again.crashes, again.status) == (run, 2, "queued")
        assert queue.status(run) == "cancelled"


def test_runs_of_a_killed_command_wait_for_nobody(home: Path) -> None:
    crash(home, "command")
    with open_home(home, serve=True) as db:
        queue = Queue(db)
        assert len(queue.recover()) == 2 and queue.claim() is None
        assert sorted(job.crashes for job in queue.parked("local")) == [0, 1]


def test_parked_runs_are_resumed_or_discarded_by_their_owner_only(home: Path) -> None:
    run = crash(home, "serve")
    with open_home(home, serve=True) as db:
        queue = Queue(db)
        queue.recover()
        for refused in (lambda: queue.resume(run, "ben"), lambda: queue.requeue(run, "ben")):
            with pytest.raises(StudioError, match="There is no run"):
                refused()
        assert not queue.discard(run, "ben")
        resumed = queue.resume(run, "local")
        assert resumed.status == "queued" and resumed.error is None
        with pytest.raises(StudioError, match="this one is queued"):
            queue.resume(run, "local")
        with pytest.raises(StudioError, match="wait for its end"):
            queue.requeue(run, "local")
        assert not queue.discard(run, "local")


def test_finished_run_can_be_queued_again(queue: Queue) -> None:
    job = queue.add(GRAPH, targets=("s",), params={"a": 1})
    claimed(queue)
    queue.finish(job.id, "finished")
    again = queue.requeue(job.id, "local")
    assert (again.document, again.targets, again.params, again.retried_from) == (GRAPH, ("s",), {"a": 1},
                                                                                 job.id)
    assert queue.status(job.id) == "finished"


def test_old_events_and_runs_are_forgotten_with_their_graphs(queue: Queue, db: Db) -> None:
    old, young, parked = (queue.add(f'{{"n": {number}}}') for number in range(3))
    for job in (old, young):
        queue.journal.write([Event(job.id, 1, "queued")])
        queue.finish(job.id, "finished")
    db.execute("UPDATE runs SET finished = 5 WHERE id = ?", (old.id,))
    db.execute("UPDATE runs SET status = 'parked' WHERE id = ?", (parked.id,))
    queue.recover()
    assert [job.id for job in queue.newest("local")] == [parked.id, young.id]
    assert len(queue.journal.events(young.id)) == 1 and queue.journal.events(old.id) == []
    assert db.one("SELECT count(*) FROM graphs")[0] == 2


def test_live_lists_running_before_waiting(queue: Queue) -> None:
    first, second = queue.add(GRAPH), queue.add(GRAPH, priority=1)
    claimed(queue)
    assert [(job.id, job.status) for job in queue.live("local")] == [(second.id, "running"),
                                                                     (first.id, "queued")]
    assert queue.live("ben") == []
