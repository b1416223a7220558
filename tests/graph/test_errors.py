"""Events, progress, cancel, time limits and errors (E30-E34)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

from studio.errors import StudioError
from studio.graph.context import CancelToken, Context
from studio.graph.document import Graph
from studio.graph.events import EventLog
from studio.graph.spec import node
from studio.graph.widgets import Slider

Wire = Callable[..., Graph]


def kinds(log: EventLog) -> list[tuple[str, str]]:
    return [(e.kind, e.node) for e in log.since(0)]


def test_cancel_inside_a_step_ends_the_run_at_once_and_keeps_what_was_finished(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("n: number\n s: slow\n sum: add a=n, b=s\n out: show a=sum")
    cancel, log, reports = CancelToken(), EventLog("r"), []
    thread = threading.Thread(target=lambda: reports.append(engine.run(graph, cancel=cancel, log=log)))
    thread.start()
    assert lab.entered.wait(5)
    begun = time.perf_counter()
    cancel.cancel()
    thread.join(5)
    assert time.perf_counter() - begun < 2.0
    report = reports[0]
    assert report.status == "cancelled"
    assert report.states() == {"n": "ran", "s": "cancelled", "sum": "cancelled", "out": "cancelled"}
    assert kinds(log)[-1] == ("done", "")
    lab.release.set()
    lab.calls.clear()
    again = engine.run(graph)
    assert again.status == "finished"
    assert "number" not in lab.calls  # it resumes where it stopped


def test_cancel_before_the_start_runs_nothing_and_cancel_afterwards_undoes_nothing(
    lab: Any, wire: Wire
) -> None:
    graph = wire("n: number\n out: show a=n")
    early = CancelToken()
    early.cancel()
    engine = lab.engine()
    assert engine.run(graph, cancel=early).status == "cancelled"
    assert lab.calls == []
    late = CancelToken()
    report = engine.run(graph, cancel=late)
    late.cancel()
    assert report.status == "finished"
    assert engine.run(graph, cancel=late).status == "finished"  # all of it is there already


def test_cancel_of_a_run_that_waits_for_another_one_does_not_touch_that_one(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    cancel, reports = CancelToken(), {}
    graph = wire("s: slow\n out: show a=s")
    first = threading.Thread(target=lambda: reports.update(first=engine.run(graph)))
    first.start()
    assert lab.entered.wait(5)
    other = wire("n: number\n out: show a=n")
    second = threading.Thread(target=lambda: reports.update(second=engine.run(other, cancel=cancel)))
    second.start()
    time.sleep(0.05)
    cancel.cancel()
    second.join(2)
    assert reports["second"].status == "cancelled"
    lab.release.set()
    first.join(5)
    assert reports["first"].status == "finished"


def test_error_names_node_socket_sizes_and_hint_and_stops_only_what_hangs_on_it(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n f: fail a=n\n bad: show a=f\n good: show a=n", good={"name": "good"})
    log = EventLog("r")
    report = lab.engine().run(graph, log=log)
    assert report.status == "failed"
    assert report.states() == {"n": "ran", "good": "ran", "f": "failed", "bad": "skipped"}
    error = report.errors[0]
    assert (error.type, error.message, error.node, error.title) == (
        "ValueError",
        "ValueError: no luck",
        "f",
        "Fail",
    )
    assert error.inputs == {"a": "1"}
    assert "bug" in error.hint
    assert "no luck" in error.trace
    assert "trace" not in error.to_json(public=True)
    assert report.nodes["bad"].reason == "Fail has no result"
    failed = next(e for e in log.since(0) if e.kind == "failed")
    assert failed.payload["message"] == "ValueError: no luck"
    assert "trace" not in failed.payload


def test_error_tells_sizes_of_inputs_and_never_their_contents(lab: Any, wire: Wire) -> None:
    @node
    def picky(words: str, more: str = "secret") -> int:
        """Fails."""
        raise StudioError("Not these words.", socket="words")

    graph = wire("t: text\n p: picky words=t.text\n out: show a=p", t={"text": "my secret plan"})
    error = lab.engine(picky).run(graph).errors[0]
    assert error.inputs == {"words": "text, 14 characters", "more": "text, 6 characters"}
    assert error.socket == "words"


def test_failed_node_stores_nothing_and_is_tried_again(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("n: number\n f: fail a=n\n out: show a=f")
    engine.run(graph)
    lab.calls.clear()
    assert engine.run(graph).status == "failed"
    assert lab.calls == ["fail"]


def test_fail_fast_stops_the_rest(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n f: fail a=n\n a: show a=f\n z: number\n zz: show a=z", z={"value": 8})
    report = lab.engine().run(graph, fail_fast=True)
    assert report.states()["zz"] == "skipped"
    assert report.status == "failed"
    assert "zz" not in lab.calls


def test_no_result_here_skips_consumers_without_failing_the_run(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n b: block a=n\n out: show a=b\n other: show a=n", other={"name": "y"})
    engine = lab.engine()
    for _ in range(2):
        report = engine.run(graph)
        assert report.status == "finished"
        assert report.states()["out"] == "skipped"
        assert report.nodes["out"].reason == "Block gave no result"
        assert report.states()["other"] in ("ran", "cached")


def test_node_that_ends_the_program_or_takes_too_much_memory_only_fails(lab: Any, wire: Wire) -> None:
    @node
    def quitter() -> int:
        """Quits."""
        raise SystemExit(3)

    @node
    def glutton() -> int:
        """Fills memory."""
        raise MemoryError

    engine = lab.engine(quitter, glutton)
    assert "sys.exit" in engine.run(wire("q: quitter\n out: show a=q")).errors[0].message
    assert engine.run(wire("q: glutton\n out: show a=q")).errors[0].message == "Out of memory."
    assert engine.run(wire("n: number\n out: show a=n")).status == "finished"


def test_wrong_result_type_is_a_named_error(lab: Any, wire: Wire) -> None:
    @node
    def liar() -> int:
        """Says int, gives text."""
        return "seven"  # type: ignore[return-value]

    error = lab.engine(liar).run(wire("q: liar\n out: show a=q")).errors[0]
    assert error.message == "The node returned text, 5 characters; it declares Int."


def test_value_from_an_edge_obeys_the_settings_limits(lab: Any, wire: Wire) -> None:
    @node
    def percent(value: Annotated[int, Slider(0, 100)] = 5) -> int:
        """Percent."""
        return value

    graph = wire("n: number\n p: percent value=n\n out: show a=p", n={"value": 700})
    error = lab.engine(percent).run(graph).errors[0]
    assert error.socket == "value"
    assert "700 is out of range" in error.message


def test_node_over_its_time_limit_is_stopped_in_its_next_step(lab: Any, wire: Wire) -> None:
    engine = lab.engine(timeout=0.2)
    begun = time.perf_counter()
    report = engine.run(wire("s: slow\n out: show a=s", s={"steps": 10**6}))
    assert time.perf_counter() - begun < 5
    assert report.errors[0].message == "It took longer than 0.2 s and was stopped."


def test_stuck_node_fails_its_run_and_a_fresh_worker_goes_on(lab: Any, wire: Wire) -> None:
    hold = threading.Event()

    @node(timeout=0.1)
    def deaf() -> int:
        """Never asks whether to stop."""
        hold.wait(20)
        return 1

    engine = lab.engine(deaf, stuck_after=0.1)
    log = EventLog("r")
    report = engine.run(wire("d: deaf\n out: show a=d"), log=log)
    assert report.status == "failed"
    assert report.errors[0].type == "Stuck"
    assert report.errors[0].node == "d"
    assert engine.run(wire("n: number\n out: show a=n")).status == "finished"
    before = len(log.since(0))
    hold.set()
    time.sleep(0.05)
    assert len(log.since(0)) == before  # what it still says reaches nobody
    engine.close()


def test_node_that_ignores_cancel_is_left_behind(lab: Any, wire: Wire) -> None:
    hold = threading.Event()

    @node
    def deaf() -> int:
        """Never asks whether to stop."""
        lab.entered.set()
        hold.wait(20)
        return 1

    engine = lab.engine(deaf, stuck_after=0.1)
    cancel, reports = CancelToken(), []
    thread = threading.Thread(
        target=lambda: reports.append(engine.run(wire("d: deaf\n out: show a=d"), cancel=cancel))
    )
    thread.start()
    assert lab.entered.wait(5)
    cancel.cancel()
    thread.join(5)
    assert reports
    assert reports[0].errors[0].type == "Stuck"
    assert engine.run(wire("n: number\n out: show a=n")).status == "finished"
    hold.set()


def test_notes_and_warnings_are_kept_with_the_result(lab: Any, wire: Wire) -> None:
    @node
    def knows(*, ctx: Context) -> int:
        """Warns."""
        ctx.warn("I do not know 'dragon'.")
        ctx.note("unknown_words", {"dragon": ["dog"]})
        return 1

    engine = lab.engine(knows)
    graph = wire("k: knows\n out: show a=k")
    for _ in range(2):
        log = EventLog("r")
        report = engine.run(graph, log=log)
        assert report.warnings == ("I do not know 'dragon'.",)
        assert report.nodes["k"].notes["unknown_words"] == {"dragon": ["dog"]}
        settled = next(e for e in log.since(0) if e.node == "k" and e.kind in ("finished", "cached"))
        assert settled.payload["notes"]["warning"] == ["I do not know 'dragon'."]


def test_output_hook_adds_to_the_event_and_reads_a_cached_target_only_when_it_asks(
    lab: Any, wire: Wire
) -> None:
    engine = lab.engine()
    graph = wire("b: blob\n out: keep blob=b.blob")
    seen: list[Any] = []

    def hook(node_id: str, item: int | None, key: str, load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        seen.append((node_id, key))
        if len(seen) == 1:
            assert load()["blob"].data == bytes(10)
        return {"generation": "g1"}

    log = EventLog("r")
    first = engine.run(graph, on_output=hook, log=log)
    assert (
        next(e for e in log.since(0) if e.node == "out" and e.kind == "finished").payload["generation"]
        == "g1"
    )
    assert first.nodes["out"].extra == {"generation": "g1"}
    second = engine.run(graph, on_output=hook)
    assert second.outputs == {}  # nobody asked for it
    assert seen[0] == seen[1]

    def full(*_: Any) -> None:
        raise StudioError("The disk is full.", hint="Free 2 MB.")

    third = engine.run(graph, on_output=full)
    assert third.states()["out"] == "failed"
    assert third.errors[0].message == "The disk is full."
