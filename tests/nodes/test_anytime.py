"""Nodes for any time: pictures of the nested sampler and Stop early, what is neutral and what refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.nodes.anytime import nested_sampler, stop_early
from studio.sampling.samplers import sampler
from tests.nodes.ready import ready_workflow


def graph_of(name: str = "anytime", model: str = "tiny:sd3", **settings: Any) -> Graph:
    given = {"model.model": model, "canvas.width": 64, "canvas.height": 64, "schedule.steps": 8}
    return ready_workflow(name, {**given, **settings})


def attached(graph: Graph, kind: str, **widgets: Any) -> Graph:
    nodes = (*graph.nodes, Node("more", kind, widgets))
    edges = [*graph.edges, Edge(("more", "attachment"), ("sample", "attachments"))]
    return replace(graph, nodes=nodes, edges=tuple(edges))


def stopped(graph: Graph, after: int) -> Graph:
    edges = [e for e in graph.edges if e.target != ("sample", "sampler")]
    edges += [
        Edge(("sampler", "sampler"), ("stop", "sampler")),
        Edge(("stop", "sampler"), ("sample", "sampler")),
    ]
    nodes = (*graph.nodes, Node("stop", "stop_early", {"after": after}))
    return replace(graph, nodes=nodes, edges=tuple(edges))


def picture(engine: Engine, graph: Graph) -> Any:
    report = engine.run(graph)
    assert report.status == "finished", report.errors
    return report.outputs["save"]["image"], report.nodes["sample"].notes


def said(engine: Engine, graph: Graph, level: str = "error") -> str:
    return " ".join(p.message for p in engine.check(graph) if p.level == level)


@pytest.mark.parametrize("model", ["tiny:sd3", "tiny:flux"])
def test_one_step_for_a_picture_is_euler_and_more_are_not(engine: Engine, model: str) -> None:
    plain, _ = picture(engine, graph_of("text-to-image", model, **{"sampler.sampler": "euler"}))
    one, _ = picture(engine, graph_of("anytime", model, **{"sampler.inner": 1}))
    four, notes = picture(engine, graph_of("anytime", model))
    assert one == plain and four != plain
    assert notes["network"]["forwards"] == 8


@pytest.mark.parametrize("after", [0, 8, 900])
def test_a_stop_at_nothing_or_behind_the_end_is_the_whole_run(engine: Engine, after: int) -> None:
    plain, _ = picture(engine, graph_of())
    made, notes = picture(engine, stopped(graph_of(), after))
    assert made == plain and "stopped" not in notes


def test_a_stop_is_told_and_goes_on_from_what_is_there(engine: Engine) -> None:
    picture(engine, graph_of())
    _, notes = picture(engine, stopped(graph_of(), 4))
    assert notes["stopped"] == {"after": 4, "of": 8} and notes["network"]["forwards"] == 0
    assert notes["resumed"] == {"steps": 4, "of": 4}


def test_the_earlier_of_two_stops_counts() -> None:
    twice = stop_early(stop_early(sampler("euler"), 5, ctx=Context()), 9, ctx=Context())
    assert twice.stop_after == 5
    assert stop_early(twice, 3, ctx=Context()).stop_after == 3
    assert stop_early(twice, 0, ctx=Context()).stop_after == 5
    assert nested_sampler(1) == sampler("euler")


def test_what_goes_straight_down_is_refused_beside_it(engine: Engine) -> None:
    cached = attached(graph_of(**{"schedule.steps": 20}), "step_cache", mode="taylor")
    assert "nested" in said(engine, cached)
    assert "nested" in said(engine, stopped(cached, 5))
    assert "nested" not in said(engine, cached.set("sampler", "inner", 1))


def test_rules_made_for_euler_are_refused_beside_it_and_seen_through_a_stop(engine: Engine) -> None:
    guidance = Node("guidance", "cfg_plus_plus", {})
    nodes = [guidance if n.id == "guidance" else n for n in graph_of().nodes]
    graph = replace(graph_of(), nodes=tuple(nodes))
    assert "euler" in said(engine, graph) and "euler" in said(engine, stopped(graph, 5))
    assert "euler" not in said(engine, stopped(graph.set("sampler", "inner", 1), 5))


def test_a_stop_that_does_nothing_is_noted(engine: Engine) -> None:
    assert "does nothing" in said(engine, stopped(graph_of(), 0), "note")
