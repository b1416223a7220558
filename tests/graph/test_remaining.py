"""How long a run still takes: over all its nodes, by what the plan expects and what its steps have shown."""

from __future__ import annotations

from typing import Any

import pytest

from studio.graph.events import Event
from studio.graph.remaining import NOTHING_LEFT, Remaining
from studio.graph.seen import Seen
from studio.graph.spec import node
from studio.graph.work import tell_work


class Clocked:
    """Events of one run at given moments."""

    def __init__(self, **expected: float | None) -> None:
        self.remaining, self._seq = Remaining(), 0
        nodes = [
            {"id": name, "action": "run", "seconds": seconds, "resources": "gpu"}
            for name, seconds in expected.items()
        ]
        self.say(0, "planned", nodes=nodes)

    def say(self, moment: float, kind: str, node: str = "", **payload: Any) -> dict[str, Any]:
        self._seq += 1
        self.remaining.add([Event("r", self._seq, kind, node, None, payload, None, 100 + moment)])
        return self.remaining.told()

    def steps(self, node: str, begin: float, pace: float, done: int, total: int) -> dict[str, Any]:
        told = self.say(begin, "started", node)
        for step in range(done + 1):
            told = self.say(begin + pace * step, "progress", node, step=step, total=total)
        return told


def test_what_waits_counts_as_the_plan_expects_it() -> None:
    run = Clocked(encode=4.0, paint=20.0, decode=6.0)
    assert run.steps("encode", 0, 1.0, 2, 4)["left_s"] == 2 + 20 + 6
    run.say(4, "finished", "encode")
    told = run.say(4, "started", "paint")
    assert told == {"left_s": 26.0, "least": False, "share": round(4 / 30, 4)}


def test_the_first_step_of_the_last_node_is_not_the_beginning_again() -> None:
    run = Clocked(encode=4.0, paint=20.0)
    run.steps("encode", 0, 1.0, 4, 4)
    run.say(4, "finished", "encode")
    shares = [
        run.say(4 + k, "started" if not k else "progress", "paint", step=k, total=20)["share"]
        for k in range(20)
    ]
    assert shares == sorted(shares) and shares[0] > 0.1


def test_a_machine_that_is_slower_than_usual_is_slow_at_what_follows() -> None:
    run = Clocked(first=10.0, second=10.0)
    run.steps("first", 0, 4.0, 10, 10)
    run.say(40, "finished", "first")
    run.say(40, "started", "other")
    assert 30 < run.remaining.told()["left_s"] <= 40


def test_loading_before_the_first_step_is_no_pace() -> None:
    run = Clocked(paint=None)
    run.say(0, "started", "paint")
    run.say(30, "progress", "paint", step=0, total=10)
    assert run.say(31, "progress", "paint", step=1, total=10)["left_s"] == 9


def test_what_was_never_timed_is_said_to_come_on_top() -> None:
    run = Clocked(paint=None, decode=None)
    assert run.say(0, "started", "paint") == NOTHING_LEFT
    run.say(1, "progress", "paint", step=1, total=10)
    assert run.say(2, "progress", "paint", step=2, total=10) == {"left_s": 8.0, "least": True, "share": None}
    run.say(10, "finished", "paint")
    assert run.say(10, "started", "decode") == NOTHING_LEFT


def test_a_node_that_overruns_is_not_about_to_end() -> None:
    run = Clocked(load=1.0, paint=10.0)
    assert run.say(0, "started", "load")["left_s"] == 11
    run.say(3, "started", "other")
    assert run.remaining.told() == {"left_s": 10.0, "least": False, "share": round(3 / 13, 4)}
    run.say(20, "started", "another")
    assert run.remaining.told() == {"left_s": 10.0, "least": True, "share": None}


def test_nothing_is_told_while_only_what_was_never_timed_runs() -> None:
    run = Clocked(load=None)
    short = {"id": "number", "action": "run", "seconds": None, "resources": ""}
    run.say(0, "planned", nodes=[{**short, "id": "load", "resources": "gpu"}, short])
    run.say(0, "started", "number")
    assert run.say(0, "started", "load") == NOTHING_LEFT


def test_what_turns_out_to_be_there_takes_no_time() -> None:
    run = Clocked(encode=4.0, paint=20.0)
    run.say(0, "cached", "paint")
    assert run.say(0, "started", "encode")["left_s"] == 4


def test_time_goes_by_the_work_of_a_node_not_by_its_kind_alone(lab: Any, wire: Any) -> None:
    seen = Seen()
    engine = lab.engine(seen=seen)
    few, many = (wire("s: slow\n out: show a=s", s={"steps": steps}) for steps in (1, 80))
    for graph in (few, many):
        engine.run(graph)
    short, long = (engine.plan(graph, use_cache=False)["s"].seconds for graph in (few, many))
    assert short is not None and long is not None and short < long
    other = engine.plan(wire("s: slow\n out: show a=s", s={"steps": 20}), use_cache=False)["s"].seconds
    assert other is not None and short < other < long  # of the kind, where the work is new


def test_words_and_seeds_are_no_work_sizes_also_those_of_the_sources_are(lab: Any, wire: Any) -> None:
    def works(**settings: Any) -> dict[str, tuple[str, str, str]]:
        lines = "t: text\n n: number\n a: add a=n\n d: draw top=a\n out: show a=d, name=t.str"
        engine = lab.engine()
        resolved, _ = engine._resolve(wire(lines, **settings), None, 0, "local")
        tell_work(resolved.tasks)
        return {task.id: task.work for task in resolved.tasks}

    plain = works()
    assert all(len(exact) == 16 and exact == rough for exact, rough, _ in plain.values())
    assert works(t={"text": "a boat"}, d={"seed": 7}) == plain
    larger = works(n={"value": 9})
    assert [id for id in plain if larger[id] != plain[id]] == [id for id in plain if id != "t"]


def test_a_new_strength_is_timed_like_the_others_a_new_number_of_steps_is_not(lab: Any, wire: Any) -> None:
    @node
    def shade(a: int, amount: float = 0.5) -> int:
        """Of some strength."""
        return round(a * amount)

    engine = lab.engine(shade)

    def coarse(**settings: Any) -> str:
        graph = wire("s: slow\n g: shade a=s\n out: show a=g", **settings)
        resolved, _ = engine._resolve(graph, None, 0, "local")
        tell_work(resolved.tasks)
        return next(task.work[2] for task in resolved.tasks if task.id == "g")

    assert coarse(g={"amount": 0.2}) == coarse(g={"amount": 0.4})
    assert coarse(s={"steps": 3}) != coarse(s={"steps": 4})


def test_of_several_times_the_lower_middle_counts(tmp_path: Any) -> None:
    seen = Seen(tmp_path / "seen.json")
    for seconds in (70.0, 33.0):
        seen.took("paint", seconds, "w1", "w0")
    seen.save()
    again = Seen(tmp_path / "seen.json")
    again.took("paint", 70.0, "w1", "w0")  # the first of a process counts apart
    assert again.seconds("paint", "w1", "w0") == again.seconds("paint", "other", "w0") == 33.0
    assert again.seconds("paint", "other", "another") == pytest.approx(70 - 37 / 3)
    assert again.seconds("unknown", "w9") is None


def test_the_first_run_of_a_kind_in_a_process_takes_longer_and_that_is_learnt(tmp_path: Any) -> None:
    path = tmp_path / "seen.json"
    seen = Seen(path)
    seen.took("load", 21.0, "w1", "w0")
    assert seen.seconds("load", "w1", "w0") == 21.0, "nothing else is known"
    seen.took("load", 1.0, "w1", "w0")
    assert seen.seconds("load", "w1", "w0") == 1.0
    seen.save()
    for took in (21.0, 30.0):
        again = Seen(path)
        assert again.seconds("load", "w1", "w0") == pytest.approx(21.0), "in a new process it loads again"
        assert again.seconds("load", "other", "w0") == pytest.approx(21.0)
        again.took("load", took, "w1", "w0")
        assert again.seconds("load", "w1", "w0") == 1.0, "a first run says nothing of the next"
    again.save()
    assert Seen(path).seconds("load", "w1", "w0") == pytest.approx(24.0)
