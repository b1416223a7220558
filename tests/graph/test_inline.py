"""Sub-graphs (E24): put in place before a run, with stable ids; errors, targets, modes, bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from studio.errors import StudioError
from studio.graph.document import Graph, dumps, load, loads
from studio.graph.inline import inline
from studio.graph.spec import BLOCKED, node

Wire = Callable[..., Graph]


def plus(kind: str = "add", **widgets: Any) -> dict[str, Any]:
    """A sub-graph: twice `b` is added to what comes in."""
    return {
        "title": "Plus twice",
        "nodes": [
            {"id": "one", "kind": kind, "title": "First", "widgets": widgets},
            {"id": "two", "kind": "add", "widgets": {}},
        ],
        "edges": [{"from": ["one", "int"], "to": ["two", "a"]}],
        "inputs": [
            {"name": "a", "label": "Number", "to": [["one", "a"]]},
            {"name": "by", "label": "By", "to": [["one", "b"], ["two", "b"]]},
        ],
        "outputs": [{"name": "sum", "label": "Sum", "from": ["two", "int"]}],
    }


def document(graph: Graph, **definitions: Any) -> Graph:
    """The graph with these sub-graphs, once through JSON."""
    return loads(dumps(load({**_json(graph), "definitions": definitions})))


def _json(graph: Graph) -> dict[str, Any]:
    from studio.graph.document import to_json

    return to_json(graph)


LINE = """
    n: number
    s: plus a=n
    t: plus a=s.sum
    out: show a=t.sum
"""


def test_a_sub_graph_runs_as_its_nodes_would(lab: Any, wire: Wire) -> None:
    graph = document(wire(LINE, n={"value": 1}, s={"by": 10}), plus=plus())
    report = lab.engine().run(graph)
    assert report.outputs["out"] == {"int": 23}  # 1 + 10 + 10, and the default 1 twice
    assert set(report.states()) == {"n", "s/one", "s/two", "t/one", "t/two", "out"}
    assert report.nodes["s/one"].title == "Plus twice / First"


def test_a_document_without_instances_is_left_alone(wire: Wire, lab: Any) -> None:
    graph = document(wire("n: number\n out: show a=n"), plus=plus())
    assert inline(graph, lab.registry()).graph is graph
    assert lab.engine().check(graph) == []


def test_equal_instances_share_the_cache_and_unpacking_runs_nothing(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    twice = document(
        wire("n: number\n s: plus a=n\n t: plus a=n\n out: show a=s.sum\n more: show a=t.sum"), plus=plus()
    )
    engine.run(twice)
    assert lab.calls.count("add") == 2  # the second instance finds what the first one made
    lab.calls.clear()
    flat = wire("n: number\n one: add a=n\n two: add a=one\n out: show a=two")
    report = engine.run(flat)
    assert "add" not in lab.calls
    assert report.outputs["out"] == {"int": 3}


def test_random_nodes_inside_draw_by_their_path(lab: Any, wire: Wire) -> None:
    inside = {
        "title": "Luck",
        "nodes": [{"id": "d", "kind": "dice"}],
        "outputs": [{"name": "n", "from": ["d", "int"]}],
    }
    text = "a: luck\n b: luck\n x: show a=a.n\n y: show a=b.n"
    first = lab.engine().run(document(wire(text), luck=inside), seed=3).outputs
    again = lab.engine(cache=None).run(document(wire(text), luck=inside), seed=3, use_cache=False).outputs
    assert first == again
    assert first["x"] != first["y"]


def test_sub_graphs_in_sub_graphs(lab: Any, wire: Wire) -> None:
    outer = {
        "title": "Outer",
        "nodes": [{"id": "in", "kind": "plus", "widgets": {"by": 5}}],
        "inputs": [{"name": "a", "to": [["in", "a"]]}, {"name": "more", "to": [["in", "by"]]}],
        "outputs": [{"name": "sum", "from": ["in", "sum"]}],
    }
    graph = document(wire("n: number\n s: outer a=n\n out: show a=s.sum"), plus=plus(), outer=outer)
    report = lab.engine().run(graph)
    assert report.outputs["out"] == {"int": 11}
    assert "s/in/two" in report.nodes
    assert lab.engine().run(graph.set("s", "more", 7)).outputs["out"] == {"int": 15}


def test_an_error_names_the_outer_node_and_the_way_inside(lab: Any, wire: Wire) -> None:
    inside = {
        "title": "Trouble",
        "nodes": [{"id": "f", "kind": "fail", "title": "Bad luck"}],
        "inputs": [{"name": "a", "to": [["f", "a"]]}],
        "outputs": [{"name": "n", "from": ["f", "int"]}],
    }
    report = lab.engine().run(document(wire("n: number\n s: trouble a=n\n out: show a=s.n"), trouble=inside))
    assert report.status == "failed"
    assert (report.errors[0].node, report.errors[0].title) == ("s/f", "Trouble / Bad luck")
    assert report.states()["out"] == "skipped"


def test_problems_stand_where_a_person_finds_them(lab: Any, wire: Wire) -> None:
    graph = document(wire("s: plus\n out: show a=s.sum", s={"by": "much"}), plus=plus())
    found = {(p.node, p.socket): p for p in lab.engine().check(graph)}
    assert found["s", "a"].message == "The setting 'a' has no value."
    assert found["s", "a"].title == "Plus twice"
    assert "much" in str(found["s", "by"].value)
    assert all(p.blocking for p in found.values())
    hidden = plus(b="wrong")
    hidden["inputs"].pop()
    inside = lab.engine().check(document(wire("n: number\n s: plus a=n\n out: show a=s.sum"), plus=hidden))
    assert [(p.node, p.socket, p.title) for p in inside] == [("s/one", "b", "Plus twice / First")]


def test_unknown_sockets_and_settings_are_named_and_stop_what_hangs_on_them(lab: Any, wire: Wire) -> None:
    graph = document(
        wire("n: number\n s: plus a=n, c=n\n out: show a=s.total\n other: show a=n", s={"bye": 3}),
        plus=plus(),
    )
    found = {(p.node, p.socket): p for p in lab.engine().check(graph)}
    assert "no input 'c'" in found["s", "c"].message
    assert found["s", "bye"].hint == "Did you mean 'by'?"
    assert "no output 'total'" in found["s", "total"].message
    report = lab.engine().run(graph)
    assert report.states()["out"] == "failed"
    assert report.outputs["other"] == {"int": 1}


def test_a_sub_graph_that_holds_itself_is_refused(lab: Any, wire: Wire) -> None:
    def holding(kind: str, title: str) -> dict[str, Any]:
        return {
            "title": title,
            "nodes": [{"id": "x", "kind": kind}],
            "outputs": [{"name": "n", "from": ["x", "n"]}],
        }

    graph = document(
        wire("n: number\n s: a\n out: show a=s.n\n o: show a=n"), a=holding("b", "A"), b=holding("a", "B")
    )
    problem = next(p for p in lab.engine().check(graph) if p.node == "s")
    assert problem.message == "The sub-graph 'A' contains itself: A → B → A."
    report = lab.engine().run(graph)
    assert report.states() == {"s": "failed", "out": "skipped", "n": "ran", "o": "ran"}


def test_a_broken_definition_is_named_only_where_it_is_used(lab: Any, wire: Wire) -> None:
    unused = document(wire("n: number\n out: show a=n"), odd=5)
    assert lab.engine().check(unused) == []
    used = document(wire("n: number\n s: odd\n out: show a=n"), odd={"nodes": [{"kind": 3}]})
    assert [p.node for p in lab.engine().check(used)] == ["s"]
    assert lab.engine().run(used).status == "finished"


def test_nesting_and_multiplying_are_bounded(lab: Any, wire: Wire) -> None:
    def doubled(inner: str) -> dict[str, Any]:
        return {"title": inner, "nodes": [{"id": "l", "kind": inner}, {"id": "r", "kind": inner}],
                "outputs": [{"name": "n", "from": ["l", "n"]}]}  # fmt: skip

    leaf = {
        "title": "leaf",
        "nodes": [{"id": "x", "kind": "number"}],
        "outputs": [{"name": "n", "from": ["x", "int"]}],
    }
    bomb = {f"d{i}": doubled(f"d{i + 1}") for i in range(30)} | {"d30": leaf}
    begun = time.perf_counter()
    found = lab.engine().check(document(wire("s: d0\n out: show a=s.n"), **bomb))
    assert time.perf_counter() - begun < 5
    assert any("more than 10,000 nodes" in p.message for p in found)
    deep = {f"d{i}": {"nodes": [{"id": "x", "kind": f"d{i + 1}"}]} for i in range(3000)} | {"d3000": leaf}
    told = lab.engine().check(document(wire("n: number\n s: d0\n out: show a=n"), **deep))
    assert "more than 32" in told[0].message


def test_mute_and_bypass_of_a_sub_graph(lab: Any, wire: Wire) -> None:
    graph = document(wire(LINE), plus=plus())
    muted = _moded(graph, "s", "mute")
    assert lab.engine().run(muted).states()["out"] == "skipped"
    assert lab.calls == []
    passed = lab.engine().run(_moded(graph, "s", "bypass"))
    assert passed.outputs["out"] == {"int": 3}
    assert not any(id.startswith("s/") for id in passed.nodes)
    none = plus()
    none["inputs"] = none["inputs"][1:]
    none["nodes"][0]["kind"] = "number"
    none["nodes"][0]["title"] = ""
    none["inputs"][0]["to"] = [["two", "b"]]
    found = lab.engine().check(
        _moded(document(wire("s: plus\n out: show a=s.sum"), plus=none), "s", "bypass")
    )
    assert [(p.node, p.message[3:21]) for p in found] == [("s", "cannot be bypassed")]
    assert (
        lab.engine()
        .run(_moded(document(wire("s: plus\n out: show a=s.sum"), plus=none), "s", "bypass"))
        .status
        == "failed"
    )


def _moded(graph: Graph, id: str, mode: str) -> Graph:
    data = _json(graph)
    next(n for n in data["nodes"] if n["id"] == id)["mode"] = mode
    return load(data)


def test_targets_inside_and_of_the_whole_sub_graph(lab: Any, wire: Wire) -> None:
    graph = document(wire(LINE), plus=plus())
    assert lab.engine().run(graph, ["s"]).outputs == {"s/two": {"int": 3}}
    assert lab.engine().run(graph, ["s/one"]).outputs == {"s/one": {"int": 2}}
    with pytest.raises(StudioError, match="bypassed"):
        lab.engine().run(_moded(graph, "s", "bypass"), ["s"])
    with pytest.raises(StudioError, match="No node 's/three'"):
        lab.engine().run(graph, ["s/three"])


def test_outputs_inside_are_made_without_being_asked_for(lab: Any, wire: Wire) -> None:
    inside = {
        "title": "Keep",
        "nodes": [{"id": "k", "kind": "show"}],
        "inputs": [{"name": "a", "to": [["k", "a"]]}],
    }
    report = lab.engine().run(document(wire("n: number\n s: sink a=n"), sink=inside))
    assert report.outputs == {"s/k": {"int": 1}}


def test_what_create_shows_leads_inside(lab: Any, wire: Wire) -> None:
    data = _json(document(wire(LINE), plus=plus()))
    data["exposed"] = [{"node": "s", "widget": "by", "label": "By", "order": 1}]
    flat = inline(load(data), lab.registry()).graph
    assert [(x.node, x.widget, x.label) for x in flat.exposed] == [("s/one", "b", "By")]


def test_presentation_inside_does_not_change_the_hash(wire: Wire) -> None:
    looks = plus()
    looks["nodes"][0].update(title="Other", pos=[5, 5])
    looks["inputs"][0]["label"] = "Else"
    assert document(wire(LINE), plus=plus()).hash == document(wire(LINE), plus=looks).hash
    assert document(wire(LINE), plus=plus()).hash != document(wire(LINE), plus=plus(b=4)).hash


def test_blocked_items_are_missing_from_a_list_and_nothing_else(lab: Any, wire: Wire) -> None:
    @node
    def some(a: int) -> list[int]:
        """The second of three has no result."""
        return [a, BLOCKED, a + 2]

    @node
    def total(numbers: list[int]) -> int:
        """Their sum."""
        return sum(numbers)

    graph = wire("n: number\n s: some a=n\n t: total numbers=s.ints\n out: show a=t")
    assert lab.engine(some, total).run(graph).outputs["out"] == {"int": 4}


def test_an_edge_into_a_setting_passes_a_bypassed_node(lab: Any, wire: Wire) -> None:
    graph = _moded(wire("n: number\n m: number value=n\n out: show a=m", n={"value": 8}), "m", "bypass")
    assert lab.engine().run(graph).outputs["out"] == {"int": 8}
