"""Events and node states in the database."""
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.db.open import Db
from studio.graph.events import Event
from studio.graph.keys import FileMark
from studio.jobs.file_memo import FileMemo
from studio.jobs.queue import Queue

from .conftest import GRAPH


def test_lasting_events_come_back_and_passing_ones_do_not(queue: Queue) -> None:
    run = queue.add(GRAPH).id
    events = [Event(run, 1, "queued", payload={"ahead": 0}, time=1.5),
              Event(run, 2, "started", "s", 3, time=2.0),
              Event(run, 3, "progress", "s", payload={"value": 0.5}),
              Event(run, 4, "preview", "s", data=b"webp"),
              Event(run, 5, "finished", "s", 3, payload={"seconds": 1.0}), Event(run, 6, "done")]
    queue.journal.write(events)
    assert queue.journal.events(run) == [events[0], events[1], events[4], events[5]]
    assert [event.seq for event in queue.journal.events(run, since=2)] == [5, 6]
    assert queue.journal.last_seq(run) == 6
    queue.journal.write(events)
    assert len(queue.journal.events(run)) == 4


def test_plan_gives_kinds_and_keys_and_items_have_their_own_rows(queue: Queue) -> None:
    run = queue.add(GRAPH).id
    queue.journal.write([
        Event(run, 1, "planned", payload={"nodes": [{"id": "a", "kind": "prompt", "key": "k1"},
                                                    {"id": "b", "kind": "sample", "key": None}]}),
        Event(run, 2, "cached", "a"), Event(run, 3, "started", "b"),
        Event(run, 4, "failed", "b", payload={"message": "out of paint", "seconds": 3})])
    queue.journal.write([Event(run, 5, "finished", "m", 0), Event(run, 6, "finished", "m", 1)])
    states = queue.node_states(run)
    assert (states["a", None].state, states["a", None].kind, states["a", None].key) == ("cached", "prompt",
                                                                                        "k1")
    assert (states["b", None].state, states["b", None].kind) == ("failed", "sample")
    assert states["b", None].error == "out of paint"
    assert states["m", 0].state == states["m", 1].state == "ran"


def test_estimates_are_medians_of_what_really_ran(queue: Queue) -> None:
    for seconds in (1.0, 5.0, 2.0):
        run = queue.add(GRAPH).id
        queue.journal.write([Event(run, 1, "planned", payload={"nodes": [{"id": "s", "kind": "sample"},
                                                                         {"id": "c", "kind": "prompt"}]}),
                             Event(run, 2, "finished", "s", payload={"seconds": seconds}),
                             Event(run, 3, "cached", "c")])
    assert queue.typical_seconds() == {"sample": 2.0}
    assert queue.typical_seconds(["sample", "unknown"]) == {"sample": 2.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(payload=st.dictionaries(st.text(), json_values, max_size=4), node=st.text(max_size=20))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_payload_comes_back(queue: Queue, payload: dict[str, object], node: str) -> None:
    run = queue.add(GRAPH, owner=f"owner {queue.db.one('SELECT count(*) FROM runs')[0]}").id
    event = Event(run, 1, "note", node.encode("utf-8", "replace").decode(), payload=payload, time=3.25)
    queue.journal.write([event])
    assert queue.journal.events(run) == [event]
    queue.finish(run, "finished")


def test_file_marks_are_remembered(db: Db) -> None:
    memo = FileMemo(db)
    assert memo.get("/a") is None
    for mark in (FileMark(1, 2, 3, "x"), FileMark(10, 2**62, 2**62, "y")):
        memo.put("/a", mark)
        assert memo.get("/a") == mark
    with pytest.raises(Exception, match="NOT NULL"):
        memo.put("/b", FileMark(1, 2, 3, None))  # type: ignore[arg-type]
