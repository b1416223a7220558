"""Checks that nodes bring along (`@node(review=...)`)."""

from __future__ import annotations

from collections.abc import Iterator

from studio.graph.check import check
from studio.graph.document import Edge, Graph, Node
from studio.graph.review import Refusal, View
from studio.graph.spec import node


class Thing:
    """A value."""


@node(technique="red")
def red(amount: float = 0.5) -> Thing:
    """Red."""
    return Thing()


@node(technique="blue")
def blue() -> Thing:
    """Blue."""
    return Thing()


@node
def both(first: list[Thing], second: list[Thing] = []) -> list[Thing]:  # noqa: B006
    """Both."""
    return [*first, *second]


def review(view: View) -> Iterator[Refusal]:
    found = view.feeding("things")
    names = [source.technique for source in found]
    if sorted(names) == ["blue", "red"]:
        amounts = [source.widgets.get("amount") for source in found]
        yield Refusal(f"red and blue: {amounts}", "take one", "things")
    if view.widgets.get("level") == 7:
        raise ValueError("seven")


@node(review=review, output=True)
def use(things: list[Thing], level: int = 0) -> None:
    """Use."""


KINDS = {fn.spec.kind: fn.spec for fn in (red, blue, both, use)}


class Specs:
    find = staticmethod(KINDS.get)
    known = staticmethod(lambda: KINDS)


def graph(nodes: list[Node], edges: list[tuple[str, str, str, str]]) -> Graph:
    return Graph(nodes=tuple(nodes), edges=tuple(Edge((a, b), (c, d)) for a, b, c, d in edges))


def reviewed(nodes: list[Node], edges: list[tuple[str, str, str, str]]) -> list[tuple[str, str, str]]:
    problems = [p for p in check(graph(nodes, edges), Specs()) if p.stage == "reviews"]
    return [(p.node, p.message, p.level) for p in problems]


def out(fn: object) -> str:
    return fn.spec.outputs[0].name  # type: ignore[attr-defined]


TWO = [Node("r", "red"), Node("b", "blue"), Node("t", "both"), Node("u", "use")]
WIRES = [
    ("r", out(red), "t", "first"),
    ("b", out(blue), "t", "second"),
    ("t", out(both), "u", "things"),
]


def test_a_review_sees_through_a_list_and_refuses_before_the_run() -> None:
    assert reviewed(TWO, WIRES) == [("u", "red and blue: [0.5, None]", "error")]


def test_settings_are_those_of_the_document() -> None:
    nodes = [Node("r", "red", widgets={"amount": 2.0}), *TWO[1:]]
    assert reviewed(nodes, WIRES)[0][1] == "red and blue: [2.0, None]"


def test_one_technique_passes() -> None:
    assert reviewed([TWO[0], TWO[3]], [("r", out(red), "u", "things")]) == []


def test_a_muted_node_takes_no_part() -> None:
    nodes = [TWO[0], Node("b", "blue", mode="mute"), TWO[2], TWO[3]]
    assert reviewed(nodes, WIRES) == []


def test_a_review_that_fails_is_a_warning_and_stops_nothing() -> None:
    nodes = [TWO[0], Node("u", "use", widgets={"level": 7})]
    problems = check(graph(nodes, [("r", out(red), "u", "things")]), Specs())
    assert [(p.level, p.blocking) for p in problems] == [("warning", False)]
    assert "seven" in problems[0].message
