"""Validation: what is named, with which hint, and what stops a run (E2-E7, E19)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from studio.graph.document import Edge, Graph, Limits, Node, dumps, loads
from studio.graph.problem import Problem
from studio.graph.spec import node
from studio.graph.widgets import Choice, Colour, ModelRef, Number, PictureRef, Prompt, Seed, Slider, Text

Wire = Callable[..., Graph]


def said(problems: list[Problem], level: str = "error") -> list[tuple[str, str, str]]:
    return [(p.node, p.socket, p.message) for p in problems if p.level == level]


def test_sound_document_has_no_problems(lab: Any, wire: Wire) -> None:
    assert lab.engine().check(wire("n: number\n out: show a=n")) == []


def test_unknown_kind_is_kept_named_and_stops_only_its_own_output(lab: Any, wire: Wire) -> None:
    graph = wire(
        "n: number\n g: film_grian a=n\n bad: show a=g\n good: show a=n",
        g={"amount": [1, {"x": None}]},
        good={"name": "g"},
    )
    engine = lab.engine()
    problem = engine.check(graph)[0]
    assert (problem.node, problem.stage, problem.blocking) == ("g", "kinds", False)
    assert "film_grian" in problem.message
    assert loads(dumps(graph)) == graph
    report = engine.run(graph)
    assert report.states() == {"n": "ran", "g": "failed", "bad": "skipped", "good": "ran"}
    assert report.errors[0].node == "g"


def test_missing_plugin_is_named_from_the_documents_own_copy(lab: Any) -> None:
    graph = Graph((Node("g", "film_grain"),), kinds={"film_grain": {"origin": "plugins/film_grain.py"}})
    assert "plugins/film_grain.py" in lab.engine().check(graph)[0].hint


def test_known_kinds_are_copied_into_the_document(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n x: gone").with_kinds(lab.registry())
    assert graph.kinds["number"]["outputs"] == [["int", "Int"]]
    assert "gone" not in graph.kinds


def test_every_trouble_with_sockets_and_types_is_told_at_once(lab: Any, wire: Wire) -> None:
    graph = wire(
        "n: number\n b: blob\n s: add a=b.blob, bb=n\n t: add a=n.integer\n out: show a=s, a=t, name=n"
    )
    found = said(lab.engine().check(graph))
    assert ("s", "a", "Blob: Blob does not fit Int.") in found
    assert ("s", "bb", "There is no input 'bb'.") in found
    assert ("n", "integer", "There is no output 'integer'.") in found
    assert ("out", "a", "Two edges end in 'a': from 's' and from 't'.") in found
    assert ("out", "name", "Number: Int does not fit Text.") in found


def test_edges_to_nowhere_are_named(lab: Any) -> None:
    graph = Graph(
        (Node("n", "number"),), (Edge(("n", "int"), ("gone", "a")), Edge(("m", "int"), ("n", "value")))
    )
    found = [m for _, _, m in said(lab.engine().check(graph))]
    assert "An edge leads to 'gone', which is not in the workflow." in found
    assert "An edge leads from 'm', which is not in the workflow." in found


def test_sub_class_and_whole_number_fit_and_one_fits_a_list(lab: Any, wire: Wire) -> None:
    class Base:
        pass

    class Special(Base):
        pass

    def special() -> object:
        """One."""
        return Special()

    def takes(one: Any, many: Any, ratio: float) -> int:
        """Takes a base value, a list of them, and a decimal."""
        assert isinstance(many, list)
        return len(many)

    special.__annotations__["return"] = Special
    takes.__annotations__.update(one=Base, many=list[Base], ratio=float)
    takes.__annotations__["return"] = int
    engine = lab.engine(node(special), node(takes))
    graph = wire("s: special\n n: number\n t: takes one=s.special, many=s.special, ratio=n\n out: show a=t")
    assert said(engine.check(graph)) == []
    assert engine.run(graph).outputs["out"]["int"] == 1


def test_any_is_allowed_and_noted(lab: Any, wire: Wire) -> None:
    @node
    def size(value: object) -> int:
        """Of anything."""
        return len(str(value))

    problems = lab.engine(size).check(wire("n: number\n s: size value=n\n out: show a=s"))
    assert [(p.level, p.node, p.socket) for p in problems] == [("note", "s", "value")]


def test_cycle_is_spelled_out_and_refused(lab: Any, wire: Wire) -> None:
    graph = wire("a: add a=c\n b: add a=a\n c: add a=b\n out: show a=c")
    problem = next(p for p in lab.engine().check(graph) if p.stage == "cycles")
    assert problem.blocking
    assert problem.message in (
        f"The workflow runs in a circle: {w}." for w in ("a → b → c → a", "b → c → a → b", "c → a → b → c")
    )
    report = lab.engine().run(graph)
    assert report.status == "failed"
    assert "circle" in report.errors[0].message


def test_node_that_feeds_itself_is_a_cycle(lab: Any, wire: Wire) -> None:
    problem = lab.engine().check(wire("a: add a=a\n out: show a=a"))[0]
    assert problem.message == "The workflow runs in a circle: a → a."


def test_cycle_and_unfinished_node_elsewhere_do_not_stop_a_run(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n out: show a=n\n x: add a=y\n y: add a=x\n lonely: add")
    engine = lab.engine()
    assert {p.node for p in engine.check(graph) if p.level == "error"} >= {"lonely"}
    assert not any(p.blocking for p in engine.check(graph))
    assert engine.run(graph).status == "finished"


def test_problem_in_the_way_of_a_target_blocks(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n s: add\n out: show a=s", n={"value": "3"})
    assert [(p.node, p.blocking) for p in lab.engine().check(graph) if p.level == "error"] == [
        ("n", False),
        ("s", True),
    ]


def test_two_nodes_with_one_id_are_refused(lab: Any) -> None:
    report = lab.engine().run(Graph((Node("a", "show"), Node("a", "number"))))
    assert report.errors[0].message == "Two nodes have the id 'a'."


def test_older_version_of_a_node_is_shown_and_does_not_stop(lab: Any) -> None:
    problems = lab.engine().check(Graph((Node("n", "number", kind_version=3),)), ["n"])
    assert [(p.level, p.blocking) for p in problems] == [("warning", False)]
    assert "version 3" in problems[0].message


def test_limits_of_the_host_are_named(lab: Any) -> None:
    engine = lab.engine(limits=Limits(nodes=2))
    problem = engine.check(Graph(tuple(Node(f"n{i}", "number") for i in range(3))), ["n0"])[0]
    assert problem.message == "The workflow has 3 nodes; at most 2 are allowed."


@pytest.mark.parametrize(
    ("name", "value", "said_in_message"),
    [
        ("ratio", "0.5", "not a number"),
        ("ratio", True, "not a number"),
        ("ratio", float("nan"), "not a finite"),
        ("ratio", float("inf"), "not a finite"),
        ("ratio", 1.5, "out of range"),
        ("ratio", None, "not a number"),
        ("count", 3.7, "not a whole number"),
        ("count", 3.0, "not a whole number"),
        ("count", False, "not a whole number"),
        ("count", 10**9, "out of range"),
        ("count", -1, "out of range"),
        ("size", 257, "not on the step of 16"),
        ("flag", "false", "neither true nor false"),
        ("flag", 1, "neither true nor false"),
        ("kind", "eular", "not one of the choices"),
        ("kind", 2, "not one of the choices"),
        ("words", 5, "not text"),
        ("words", "x" * 11, "11 characters"),
        ("prompt", "x" * 10_001, "10001 characters"),
        ("tint", "red", "not a colour"),
        ("tint", "#12345", "not a colour"),
        ("seed", -1, "out of range"),
        ("seed", 2**53, "out of range"),
        ("seed", "7", "not a whole number"),
        ("model", None, "not text"),
        ("picture", "cat.png", "not a reference"),
        ("picture", {"file": "../x"}, "not a SHA-256"),
        ("picture", {"file": "0" * 64, "path": "x"}, "more than a file and a name"),
        ("colour", 1, "There is no setting 'colour'"),
    ],
)
def test_constants_are_checked_strictly(lab: Any, name: str, value: object, said_in_message: str) -> None:
    problems = lab.engine(everything).check(Graph((Node("e", "everything", {name: value}),)), ["e"])
    assert [(p.node, p.socket) for p in problems] == [("e", name)]
    assert said_in_message in problems[0].message
    assert problems[0].hint


@node
def everything(
    ratio: Annotated[float, Slider(0, 1)] = 0.5,
    count: Annotated[int, Slider(0, 100)] = 1,
    size: Annotated[int, Number(64, 2048, 16)] = 64,
    flag: bool = False,
    kind: Annotated[str, Choice("euler", "heun")] = "euler",
    words: Annotated[str, Text(max=10)] = "",
    prompt: Prompt = "",
    tint: Colour = "#ffffff",
    seed: Seed = 0,
    model: ModelRef = "embedded:x",
    picture: PictureRef | None = None,
    maybe: int | None = None,
) -> int:
    """Every widget."""
    return count if maybe is None else maybe


def test_explicit_null_stays_null_and_a_missing_value_takes_the_default(lab: Any) -> None:
    engine = lab.engine(everything)
    assert engine.check(Graph((Node("e", "everything", {"maybe": None, "picture": None}),)), ["e"]) == []
    keys = {
        str(w): engine.plan(Graph((Node("e", "everything", w),)), ["e"])["e"].key
        for w in ({}, {"maybe": None}, {"maybe": 0}, {"count": 1})
    }
    assert keys["{}"] == keys["{'maybe': None}"] == keys["{'count': 1}"]
    assert keys["{'maybe': 0}"] != keys["{}"]


def test_renamed_node_keeps_old_documents_alive(lab: Any) -> None:
    @node(id="new_name", replaces="old_name")
    def renamed() -> int:
        """Has a new name."""
        return 4

    engine = lab.engine(renamed)
    graph = Graph((Node("r", "old_name"),))
    assert engine.check(graph, ["r"]) == []
    assert engine.run(graph, ["r"]).outputs["r"]["int"] == 4


def test_muted_node_skips_its_consumers_and_its_sources(lab: Any, wire: Wire) -> None:
    graph = _with_mode(wire("n: number\n a: add a=n\n out: show a=a\n other: show a=n"), "a", "mute")
    report = lab.engine().run(graph)
    assert report.states() == {"a": "skipped", "out": "skipped", "n": "ran", "other": "ran"}
    assert report.status == "finished"


def test_bypassed_node_lets_its_first_input_of_the_type_through(lab: Any, wire: Wire) -> None:
    graph = wire(
        "n: number\n p: join first=x.blob, second=y.blob\n x: blob\n y: blob\n out: keep blob=p.blob",
        y={"fill": 1},
    )
    graph = _with_mode(graph, "p", "bypass")
    report = lab.engine().run(graph)
    assert report.outputs["out"]["blob"].data == bytes(10)
    assert set(report.nodes) == {"x", "out"}


def test_bypass_without_a_fitting_input_is_refused(lab: Any, wire: Wire) -> None:
    graph = _with_mode(wire("n: number\n out: show a=n"), "n", "bypass")
    problem = lab.engine().check(graph)[0]
    assert problem.blocking
    assert "cannot be bypassed" in problem.message
    assert lab.engine().run(graph).states() == {"n": "failed", "out": "skipped"}


def test_long_row_of_bypassed_nodes_is_followed_without_recursion(lab: Any) -> None:
    nodes = [Node("a", "blob"), Node("b", "blob")]
    edges: list[Edge] = []
    last = "a"
    for i in range(5000):
        nodes.append(Node(f"j{i}", "join", mode="bypass"))
        edges += [Edge((last, "blob"), (f"j{i}", "first")), Edge(("b", "blob"), (f"j{i}", "second"))]
        last = f"j{i}"
    nodes.append(Node("out", "keep"))
    edges.append(Edge((last, "blob"), ("out", "blob")))
    report = lab.engine().run(Graph(tuple(nodes), tuple(edges)))
    assert report.states() == {"a": "ran", "out": "ran"}


def test_validation_of_ten_thousand_nodes_is_linear(lab: Any) -> None:
    nodes = [Node("n0", "number"), *(Node(f"n{i}", "add") for i in range(1, 10_000))]
    edges = [Edge((a.id, "int"), (b.id, "a")) for a, b in itertools.pairwise(nodes)]
    begun = time.thread_time()
    assert lab.engine().check(Graph(tuple(nodes), tuple(edges)), ["n9999"]) == []
    assert time.thread_time() - begun < 1.0


def _with_mode(graph: Graph, id: str, mode: str) -> Graph:
    from dataclasses import replace

    return replace(graph, nodes=tuple(replace(n, mode=mode) if n.id == id else n for n in graph.nodes))
