"""Random graphs and edits: the engine gives what plain calls give, and never runs more than it planned."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.graph.cache import Cache
from studio.graph.context import CancelToken, Context
from studio.graph.disk_cache import DiskCache
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.events import SETTLED, EventLog
from studio.graph.registry import Registry
from studio.graph.spec import node


@node
def source(value: int = 0) -> int:
    """A number."""
    return value


@node
def mix(a: int, b: int, factor: int = 1) -> int:
    """Many inputs, few results, so that equal values come about."""
    return (a + factor * b) % 3


@node(cache=False)
def loose(a: int) -> int:
    """Never kept."""
    return a + 1


@node(always_run=True)
def pulse(a: int) -> int:
    """Always runs."""
    return -a


@node
def brittle(a: int) -> int:
    """Fails at 1."""
    if a == 1:
        raise ValueError("one")
    return a


@node
def patient(a: int, *, ctx: Context) -> int:
    """Asks whether to stop."""
    ctx.step(1, 1)
    return a


REGISTRY = Registry.of(source, mix, loose, pulse, brittle, patient)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """An acyclic graph of up to 12 nodes; every node may be used several times, or not at all."""
    nodes, edges = [Node("n0", "source", {"value": draw(st.integers(0, 2))})], []
    for i in range(1, draw(st.integers(2, 12))):
        kind = draw(st.sampled_from(["source", "mix", "mix", "loose", "pulse", "brittle", "patient"]))
        widgets = {"value": draw(st.integers(0, 2))} if kind == "source" else {}
        nodes.append(
            Node(f"n{i}", kind, {**widgets, **({"factor": draw(st.integers(0, 2))} if kind == "mix" else {})})
        )
        for name in {"source": (), "mix": ("a", "b")}.get(kind, ("a",)):
            edges.append(Edge((f"n{draw(st.integers(0, i - 1))}", "int"), (f"n{i}", name)))
    return Graph(tuple(nodes), tuple(edges))


def plain(graph: Graph, target: str) -> int | None:
    """What plain calls give; None if something fails on the way."""
    values: dict[str, int | None] = {}
    for item in graph.nodes:  # sources stand before their users
        given = {e.target[1]: values[e.source[0]] for e in graph.edges if e.target[0] == item.id}
        spec = REGISTRY.get(item.kind)
        extra = {"ctx": Context()} if spec.context else {}
        try:
            values[item.id] = (
                None if None in given.values() else spec.function(**given, **item.widgets, **extra)
            )
        except ValueError:
            values[item.id] = None
    return values[target]


@pytest.mark.parametrize("mode", ["off", "classic", "lru", "tight", "disk", "broken disk"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    graph=graphs(),
    edits=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2)), max_size=4),
    pick=st.data(),
)
def test_engine_gives_what_plain_calls_give(
    mode: str, graph: Graph, edits: list[tuple[int, int]], pick: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = DiskCache(Path(folder)) if "disk" in mode else None
        name = {"tight": "lru", "broken disk": "disk"}.get(mode, mode)
        engine = Engine(
            REGISTRY,
            cache=Cache(name, memory_bytes=150 if mode != "lru" else 10**6, disk=disk),
            check_inputs=True,
        )
        for place, value in [(0, 0), *edits]:
            changed = graph.nodes[place % len(graph.nodes)]
            widget = {"source": "value", "mix": "factor"}.get(changed.kind)
            graph = graph.set(changed.id, widget, value) if widget else graph
            targets = pick.draw(
                st.lists(st.sampled_from([n.id for n in graph.nodes]), min_size=1, max_size=3, unique=True)
            )
            if mode == "broken disk":
                for file in list(Path(folder, "values").rglob("*"))[::2]:
                    if file.is_file():
                        file.write_bytes(b"damaged")
            plan = engine.plan(graph, targets)
            log = EventLog("r")
            report = engine.run(graph, targets, log=log)
            _holds(graph, targets, plan.will_run, report, log, strict=mode not in ("broken disk", "tight"))
        engine.close()


def _holds(
    graph: Graph, targets: list[str], planned: tuple[str, ...], report: Any, log: EventLog, *, strict: bool
) -> None:
    expected = {t: plain(graph, t) for t in targets}
    assert {t: v["int"] for t, v in report.outputs.items()} == {
        t: v for t, v in expected.items() if v is not None
    }
    assert report.status == ("failed" if None in expected.values() else "finished")
    if strict:
        assert set(report.ran) | {n for n, r in report.nodes.items() if r.state == "failed"} <= set(planned)
    settled = [e.node for e in log.since(0) if e.kind in SETTLED]
    assert sorted(settled) == sorted(report.nodes)  # each node has exactly one last word
    started = [e.node for e in log.since(0) if e.kind == "started"]
    assert len(set(started)) == len(started)
    assert log.since(0)[-1].kind == "done"


@settings(max_examples=25, deadline=None)
@given(graph=graphs(), stops=st.lists(st.floats(0, 0.01), min_size=2, max_size=4))
def test_runs_that_share_an_engine_and_are_stopped_at_any_time_end_and_leave_it_usable(
    graph: Graph, stops: list[float]
) -> None:
    engine = Engine(REGISTRY)
    target = graph.nodes[-1].id
    reports: list[Any] = []
    threads: list[threading.Thread] = []
    for seconds in stops:
        token = CancelToken()
        threads.append(
            threading.Thread(
                target=lambda token=token: reports.append(engine.run(graph, [target], cancel=token))
            )
        )
        threads.append(threading.Timer(seconds, token.cancel))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(reports) == len(stops)
    assert {r.status for r in reports} <= {"finished", "failed", "cancelled"}
    expected = plain(graph, target)
    for report in reports:
        if report.status == "finished":
            assert report.outputs[target]["int"] == expected
    after = engine.run(graph, [target])
    assert after.outputs.get(target, {}).get("int") == expected
    engine.close()
