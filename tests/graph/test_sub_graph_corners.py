"""Sub-graphs (E24) at their corners: what is shown far outside, what is named twice, circles, bounds, the
spec of the node that stands for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from studio.graph.definitions import DEEPEST, local
from studio.graph.document import Graph, Limits, load, to_json
from studio.graph.inline import inline

Wire = Callable[..., Graph]


def plus(**changes: Any) -> dict[str, Any]:
    """A sub-graph: twice `b` is added to what comes in."""
    return {
        "title": "Plus",
        "nodes": [{"id": "one", "kind": "add"}, {"id": "two", "kind": "add"}],
        "edges": [{"from": ["one", "int"], "to": ["two", "a"]}],
        "inputs": [
            {"name": "a", "to": [["one", "a"]]},
            {"name": "by", "to": [["one", "b"], ["two", "b"]]},
        ],
        "outputs": [{"name": "sum", "from": ["two", "int"]}],
    } | changes


def document(graph: Graph, **definitions: Any) -> Graph:
    return load({**to_json(graph), "definitions": definitions})


def bypassed(graph: Graph, *ids: str) -> Graph:
    return replace(graph, nodes=tuple(replace(n, mode="bypass") if n.id in ids else n for n in graph.nodes))


def test_a_problem_two_sub_graphs_deep_stands_at_the_outermost_setting(lab: Any, wire: Wire) -> None:
    outer = {
        "title": "Outer",
        "nodes": [{"id": "in", "kind": "plus"}],
        "inputs": [{"name": "a", "to": [["in", "a"]]}, {"name": "more", "to": [["in", "by"]]}],
        "outputs": [{"name": "sum", "from": ["in", "sum"]}],
    }
    graph = wire("n: number\n s: outer a=n\n out: show a=s.sum", s={"more": "much"})
    found = lab.engine().check(document(graph, plus=plus(), outer=outer))
    assert [(p.node, p.socket, p.title) for p in found] == [("s", "more", "Outer")]


def test_a_wrong_setting_of_a_sub_graph_stops_only_what_needs_it(lab: Any, wire: Wire) -> None:
    graph = document(
        wire("n: number\n s: plus a=n\n out: show a=s.sum\n other: show a=n", s={"bye": 3}), plus=plus()
    )
    for targets, blocking in ((["out"], True), (["other"], False)):
        assert [(p.node, p.socket, p.blocking) for p in lab.engine().check(graph, targets)] == [
            ("s", "bye", blocking)
        ]


def test_a_sub_graph_as_target_makes_its_outputs_and_its_output_nodes(lab: Any, wire: Wire) -> None:
    inside = plus(nodes=[*plus()["nodes"], {"id": "k", "kind": "show"}])
    inside["edges"] = [*inside["edges"], {"from": ["one", "int"], "to": ["k", "a"]}]
    report = lab.engine().run(document(wire("n: number\n s: both a=n"), both=inside), ["s"])
    assert report.outputs == {"s/two": {"int": 3}, "s/k": {"int": 2}}


def test_a_sub_graph_that_gives_nothing_is_made_whole_as_target(lab: Any, wire: Wire) -> None:
    inside = {"title": "Alone", "nodes": [{"id": "x", "kind": "number"}]}
    report = lab.engine().run(document(wire("n: number\n s: alone"), alone=inside), ["s"])
    assert report.states() == {"s/x": "ran"}


def test_edges_are_bounded_too(lab: Any, wire: Wire) -> None:
    graph = document(wire("n: number\n s: plus a=n\n out: show a=s.sum"), plus=plus())
    assert inline(graph, lab.registry(), Limits(edges=3)).faults == []
    (fault,) = inline(graph, lab.registry(), Limits(edges=2)).faults
    assert "more than 2 edges" in fault.message


def test_bypassed_sub_graphs_in_a_circle_lead_nowhere(lab: Any, wire: Wire) -> None:
    graph = document(wire("s: plus a=t.sum\n t: plus a=s.sum\n out: show a=s.sum"), plus=plus())
    assert inline(bypassed(graph, "s", "t"), lab.registry()).graph.edges == ()


def test_an_output_of_a_node_that_is_gone_is_told_at_the_sub_graph(lab: Any, wire: Wire) -> None:
    gone = plus(outputs=[{"name": "sum", "from": ["three", "int"]}])
    (found,) = lab.engine().check(document(wire("n: number\n s: plus a=n\n out: show a=s.sum"), plus=gone))
    assert (found.node, found.socket, found.blocking) == ("s", "sum", True)
    assert "'three', which is not in Plus" in found.message


def test_a_bypassed_sub_graph_without_anything_to_pass_says_so(lab: Any, wire: Wire) -> None:
    blobs = {
        "title": "Joined",
        "nodes": [{"id": "j", "kind": "join"}],
        "inputs": [{"name": "a", "to": [["j", "first"]]}, {"name": "b", "to": [["j", "second"]]}],
        "outputs": [{"name": "both", "from": ["j", "blob"]}],
    }
    graph = bypassed(document(wire("s: joined\n out: keep blob=s.both"), joined=blobs), "s")
    (found,) = lab.engine().check(graph)
    assert (found.node, found.socket, found.message) == (
        "s",
        "a",
        "Bypassed, but nothing is connected to 'a'.",
    )
    assert found.blocking


def test_one_edge_into_a_sub_graph_feeds_all_that_its_input_leads_to(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n m: number\n s: plus a=n, by=m\n out: show a=s.sum", m={"value": 10})
    assert lab.engine().run(document(graph, plus=plus())).outputs["out"] == {"int": 21}


@pytest.mark.parametrize("twice", ["named twice", "by two ways"])
def test_a_socket_that_an_input_reaches_twice_gets_one_edge(lab: Any, wire: Wire, twice: str) -> None:
    inner = plus(inputs=[{"name": "a", "to": [["one", "a"]]}, {"name": "b", "to": [["one", "a"]]}])
    ends = [["in", "a"], ["in", "a"]] if twice == "named twice" else [["in", "a"], ["in", "b"]]
    outer = {
        "title": "Outer",
        "nodes": [{"id": "in", "kind": "inner"}],
        "inputs": [{"name": "a", "to": ends}],
        "outputs": [{"name": "sum", "from": ["in", "sum"]}],
    }
    graph = document(wire("n: number\n s: outer a=n\n out: show a=s.sum"), inner=inner, outer=outer)
    assert lab.engine().check(graph) == []
    assert lab.engine().run(graph).outputs["out"] == {"int": 3}
    flat = plus(inputs=[{"name": "a", "to": [["one", "a"], ["one", "a"]]}])
    assert lab.engine().check(document(wire("n: number\n s: flat a=n\n out: show a=s.sum"), flat=flat)) == []


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_a_name_that_is_there_twice_is_refused(lab: Any, wire: Wire, what: str) -> None:
    doubled = plus(**{what: [plus()[what][0]] * 2})
    found = lab.engine().check(document(wire("n: number\n s: plus a=n\n out: show a=n"), plus=doubled))
    assert found[0].node == "s" and "is there twice" in found[0].message


def test_as_many_sub_graphs_in_each_other_as_are_allowed(lab: Any, wire: Wire) -> None:
    def chain(count: int) -> dict[str, Any]:
        ends = [{"name": "n", "from": ["x", "n"]}]
        made = {
            f"d{i}": {"nodes": [{"id": "x", "kind": f"d{i + 1}"}], "outputs": ends} for i in range(count - 1)
        }
        leaf = {"nodes": [{"id": "x", "kind": "number"}], "outputs": [{"name": "n", "from": ["x", "int"]}]}
        return made | {f"d{count - 1}": leaf}

    graph = wire("s: d0\n out: show a=s.n")
    assert lab.engine().run(document(graph, **chain(DEEPEST))).outputs["out"] == {"int": 1}
    assert f"more than {DEEPEST}" in lab.engine().check(document(graph, **chain(DEEPEST + 1)))[0].message


@pytest.mark.parametrize("kind", ["a", "b"])
def test_each_sub_graph_of_a_circle_is_refused_where_it_stands(lab: Any, wire: Wire, kind: str) -> None:
    circle = {
        name: {"nodes": [{"id": "x", "kind": other}], "outputs": [{"name": "n", "from": ["x", "n"]}]}
        for name, other in (("a", "b"), ("b", "a"))
    }
    found = lab.engine().check(document(wire(f"s: {kind}\n out: show a=s.n"), **circle))
    assert [p.node for p in found if "contains itself" in p.message] == ["s"]


def test_a_sub_graph_goes_before_a_kind_of_the_same_name(lab: Any, wire: Wire) -> None:
    own = {
        "nodes": [{"id": "x", "kind": "number", "widgets": {"value": 40}}],
        "outputs": [{"name": "int", "from": ["x", "int"]}],
    }
    graph = document(wire("s: add\n out: show a=s"), add=own)
    assert lab.engine().run(graph).outputs["out"] == {"int": 40}
    spec = local(graph, lab.registry()).find("add")
    assert spec is not None and spec.inputs == spec.params == ()


def test_the_spec_of_a_sub_graph_tells_what_is_inside(lab: Any, wire: Wire) -> None:
    inside = plus(
        nodes=[
            {"id": "one", "kind": "add", "widgets": {"a": 5, "b": 7}},
            {"id": "two", "kind": "add"},
            {"id": "made", "kind": "blob"},
            {"id": "j", "kind": "join"},
            {"id": "k", "kind": "keep"},
        ],
        edges=[
            {"from": ["one", "int"], "to": ["two", "a"]},
            {"from": ["made", "blob"], "to": ["j", "first"]},
            {"from": ["j", "blob"], "to": ["k", "blob"]},
        ],
        inputs=[
            {"name": "a", "label": "Number", "to": [["one", "a"]]},
            {"name": "by", "to": [["one", "b"]]},
            {"name": "free", "to": [["two", "b"]]},
            {"name": "fed", "to": [["j", "first"]]},
            {"name": "open", "label": "Blob", "to": [["j", "second"]]},
        ],
    )
    graph = document(wire("s: all"), all=inside)
    spec = local(graph, lab.registry()).find("all")
    assert spec is not None and spec.output
    assert {p.name: (p.default, p.required) for p in spec.params} == {
        "a": (5, False),
        "by": (7, False),
        "free": (1, False),
    }
    assert {s.name: s.required for s in spec.inputs} == {"fed": False, "open": True}
    assert spec.socket("a").label == "Number" and spec.socket("open").label == "Blob"
    bare = local(document(wire("s: all"), all=plus()), lab.registry()).find("all")
    assert bare is not None and not bare.output
    assert {p.name: p.required for p in bare.params} == {"a": True, "by": False}
