"""The document: strict JSON in, the same out (E1, E2, and the bad input of issue 2)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import BadDocument, StudioError
from studio.graph.document import Edge, Graph, Limits, Node, dumps, load, loads, to_json

HEAD = '{"format": "weft/graph", "version": 1'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 10_000 + "]" * 10_000, "deeper than 64 levels"),
        ('{"a": ' * 10_000 + "1" + "}" * 10_000, "deeper than 64 levels"),
        (HEAD + ', "version": 1}', "'version' stands twice"),
        (HEAD + ', "nodes": [{"id": "a", "kind": "k", "widgets": {"x": NaN}}]}', "NaN is not a number"),
        (HEAD + ', "x": -Infinity}', "-Infinity is not a number"),
        (HEAD + ', "x": 1e999}', "too large"),
        (HEAD + ', "x": 1' + "0" * 5000 + "}", "digits"),
        (HEAD + ', "nodes": [{"id": "a", "ki', "truncated"),
        (HEAD + ', "nodes": [', "truncated"),
        (HEAD + ', "x": "\\ud800"}', "half a character"),
        ("", "empty"),
        ("not json", "Not valid JSON"),
        ("[]", "JSON object"),
        ('{"nodes": []}', "no format"),
        ('{"format": "weft/graph", "version": 7}', "version 7; this studio reads up to 1"),
        ('{"format": "weft/graph", "version": true}', "whole number"),
        (HEAD + ', "nodes": [{"kind": "k"}]}', "has no 'id'"),
        (HEAD + ', "nodes": [{"id": 3, "kind": "k"}]}', "must be text"),
        (HEAD + ', "nodes": [{"id": "a", "kind": "k", "mode": "maybe"}]}', "'maybe' is not known"),
        (HEAD + ', "nodes": {"id": "a"}}', "must be a list"),
        (HEAD + ', "edges": [{"from": ["a", 0], "to": ["b", "x"]}]}', "Sockets have names"),
        (HEAD + ', "edges": [["a", "b"]]}', "must be an object"),
    ],
)
def test_bad_text_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(BadDocument) as caught:
        loads(text)
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadDocument, match="not UTF-8"):
        loads(b"\x89PNG\r\n")


def test_many_quotes_in_an_open_text_are_read_in_linear_time() -> None:
    with pytest.raises(BadDocument, match="truncated"):
        loads(HEAD + ', "x": "' + '\\"' * 500_000)


def test_limits_are_named_with_both_numbers() -> None:
    nodes = ",".join(f'{{"id": "n{i}", "kind": "k"}}' for i in range(5))
    with pytest.raises(BadDocument, match="5 nodes; at most 3"):
        loads(f'{HEAD}, "nodes": [{nodes}]}}', limits=Limits(nodes=3))
    with pytest.raises(BadDocument, match="at most 10 are allowed"):
        loads(HEAD + "}", limits=Limits(bytes=10))


def test_parsed_data_is_held_to_the_same_rules() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(BadDocument, match="deeper"):
        load({"format": "weft/graph", "version": 1, "notes": deep})
    with pytest.raises(BadDocument, match="not a JSON value"):
        load({"format": "weft/graph", "version": 1, "x": float("nan")})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(min_size=1, max_size=6)
NODES = st.builds(
    lambda id, kind, widgets, extra: {
        "id": id,
        "kind": kind,
        "kind_version": 1,
        "widgets": widgets,
        "mode": "normal",
        **{f"x-{k}": v for k, v in extra.items()},
    },
    NAMES,
    NAMES,
    st.dictionaries(NAMES, JSON, max_size=3),
    st.dictionaries(NAMES, JSON, max_size=2),
)
EDGES = st.builds(lambda a, b, c, d: {"from": [a, b], "to": [c, d]}, NAMES, NAMES, NAMES, NAMES)


@given(st.lists(NODES, max_size=4), st.lists(EDGES, max_size=4), JSON)
def test_nothing_is_lost_by_loading_and_saving(
    nodes: list[dict[str, object]], edges: list[dict[str, object]], more: object
) -> None:
    data = {
        "format": "weft/graph",
        "version": 1,
        "nodes": nodes,
        "edges": edges,
        "exposed": [],
        "definitions": {"d": more},
        "groups": [more],
        "notes": [],
        "kinds": {},
        "from_the_future": more,
    }
    text = json.dumps(data)
    graph = loads(text)
    again = loads(dumps(graph))
    assert to_json(again) == data
    assert json.dumps(to_json(again), sort_keys=True) == json.dumps(data, sort_keys=True)


def test_graph_hash_ignores_looks_and_order_but_not_contents() -> None:
    a, b = Node("a", "k", {"x": 1}), Node("b", "k")
    edge = Edge(("a", "o"), ("b", "i"))
    first = Graph((a, b), (edge,))
    looks = Graph((b, Node("a", "k", {"x": 1}, title="Mine", pos=(3.0, 4.0))), (edge,), notes=("hello",))
    assert first.hash == looks.hash
    assert first.hash != first.set("a", "x", 2).hash
    assert first.hash != first.set("a", "x", 1.0).hash


def test_setting_a_widget_makes_a_new_graph_and_names_the_nearest_node() -> None:
    graph = Graph((Node("sample", "k", {"x": 1}),))
    assert graph.set("sample", "x", 2).node("sample").widgets == {"x": 2}
    assert graph.node("sample").widgets == {"x": 1}
    with pytest.raises(StudioError, match="Did you mean 'sample'"):
        graph.node("smaple")


def test_loaded_graph_is_a_copy_of_the_data() -> None:
    data = {"format": "weft/graph", "version": 1, "nodes": [{"id": "a", "kind": "k", "widgets": {"x": [1]}}]}
    graph = load(data)
    data["nodes"][0]["widgets"]["x"].append(2)  # type: ignore[index]
    assert graph.node("a").widgets == {"x": [1]}
