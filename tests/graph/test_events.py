"""Events in order, since n, and the snapshot (E30)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from studio.graph.context import Context
from studio.graph.document import Graph
from studio.graph.events import Event, EventLog, fold
from studio.graph.progress import NodeReporter, PreviewBudget
from studio.graph.spec import node

Wire = Callable[..., Graph]


def kinds(log: EventLog) -> list[tuple[str, str]]:
    return [(e.kind, e.node) for e in log.since(0)]


def test_events_of_a_run_are_in_order_and_a_late_reader_asks_since_n(lab: Any, wire: Wire) -> None:
    log = EventLog("r1")
    log.append("queued")
    engine = lab.engine()
    graph = wire("n: number\n out: show a=n")
    engine.run(graph, log=log)
    assert kinds(log) == [
        ("queued", ""),
        ("planned", ""),
        ("started", "n"),
        ("finished", "n"),
        ("started", "out"),
        ("finished", "out"),
        ("done", ""),
    ]
    assert [e.seq for e in log.since(0)] == [1, 2, 3, 4, 5, 6, 7]
    assert [e.seq for e in log.since(5)] == [6, 7]
    assert [e.run for e in log.since(6)] == ["r1"]
    assert next(iter(log.follow(since=6))).kind == "done"
    assert log.append("started", "late").seq == 8
    assert log.since(7) == []  # nothing comes after done


def test_event_survives_json() -> None:
    event = Event("r", 3, "preview", "s", None, {"mime": "image/webp"}, b"\x00\xff", 1.5)
    assert Event.from_json(event.to_json()) == event


def test_progress_never_goes_back(lab: Any, wire: Wire) -> None:
    @node
    def jumpy(*, ctx: Context) -> int:
        """Reports nonsense."""
        for i in (1, 3, 2, 50, 4):
            ctx.step(i, 4)
            time.sleep(0.05)
        return 1

    log = EventLog("r")
    lab.engine(jumpy).run(wire("j: jumpy\n out: show a=j"), log=log)
    values = [e.payload["value"] for e in log.since(0) if e.kind == "progress"]
    assert values == sorted(values)
    assert values[-1] == 1.0
    assert max(values) <= 1.0


def test_previews_are_at_most_four_a_second_and_two_percent_of_the_run() -> None:
    now = 0.0

    def clock() -> float:
        return now

    def dear_preview() -> Any:
        nonlocal now
        now += 0.03
        return "picture"

    log = EventLog("r")
    reporter = NodeReporter(log, "n", PreviewBudget(clock), lambda picture: b"webp", clock)
    for step in range(1000):
        now += 0.01
        reporter.step(step, 1000, dear_preview)
    previews = [e for e in log.since(0) if e.kind == "preview"]
    assert previews
    assert len(previews) * 0.03 <= 0.02 * now
    cheap = NodeReporter(log2 := EventLog("r"), "n", PreviewBudget(clock), lambda picture: b"webp", clock)
    begun = now
    for step in range(1000):
        now += 0.01
        cheap.step(step, 1000, lambda: "picture")
    count = sum(e.kind == "preview" for e in log2.since(0))
    assert 30 <= count <= 4 * (now - begun) + 1


def test_preview_that_fails_costs_only_itself(lab: Any, wire: Wire) -> None:
    def broken() -> Any:
        raise ValueError("no picture")

    @node
    def sampler(*, ctx: Context) -> int:
        """Shows previews."""
        for i in range(20):
            time.sleep(0.01)
            ctx.step(i + 1, 20, preview=broken)
        return 1

    report = lab.engine(sampler, encode_preview=lambda image: b"").run(wire("s: sampler\n out: show a=s"))
    assert report.status == "finished"
    assert report.warnings == ("No preview: ValueError: no picture",)


def test_snapshot_of_events_tells_states_progress_and_errors(lab: Any, wire: Wire) -> None:
    log = EventLog("r")
    graph = wire("s: slow\n f: fail a=s\n out: show a=f", s={"steps": 3})
    lab.engine().run(graph, log=log)
    events = log.since(0)
    shown = fold("r", events)
    assert shown["job"]["state"] == "failed"
    assert shown["nodes"]["s"]["state"] == "ran"
    assert shown["nodes"]["out"]["state"] == "skipped"
    assert "no luck" in shown["nodes"]["f"]["error"]
    assert fold("r", events[4:], before=fold("r", events[:4])) == shown
    assert fold("r", events[:2], before=shown) == shown  # a late message changes nothing


def test_listeners_hear_events_in_order_and_followers_end_after_done() -> None:
    log = EventLog("r")
    heard: list[int] = []
    log.subscribe(lambda event: heard.append(event.seq))
    threads = [
        threading.Thread(target=lambda: [log.append("log", payload={}) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.append("done")
    assert heard == list(range(1, 202))
    assert len(list(log.follow())) == 201


def test_unknown_event_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no event kind"):
        EventLog("r").append("finnished")
