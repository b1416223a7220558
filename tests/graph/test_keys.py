"""Keys, file hashes and content digests (E8, E9, E11, E12)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import StudioError
from studio.graph.digest import Codecs
from studio.graph.document import Graph, Node
from studio.graph.keys import FileHashes, FileMark, canonical
from studio.graph.spec import BLOCKED, node

Wire = Callable[..., Graph]
VALUES = [
    1,
    1.0,
    True,
    "1",
    0,
    0.0,
    -0.0,
    False,
    None,
    "",
    "None",
    [],
    {},
    [1],
    [[1]],
    [1, 1],
    {"1": 1},
    {"a": [1]},
    b"1",
    b"",
    [1, [2]],
    [[1], 2],
    10**30,
    "é",
    "e\u0301",
]


def test_values_of_different_type_or_shape_differ() -> None:
    assert len({canonical(v) for v in VALUES}) == len(VALUES)


def test_order_of_keys_does_not_matter_and_list_and_tuple_are_equal() -> None:
    assert canonical({"a": 1, "b": {"c": 2, "d": 3}}) == canonical({"b": {"d": 3, "c": 2}, "a": 1})
    assert canonical([1, (2, 3)]) == canonical((1, [2, 3]))


def test_deep_value_is_written_without_recursion() -> None:
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    assert canonical(deep).startswith(b"l1:l1:")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_equal_bytes_mean_equal_values(a: Any, b: Any) -> None:
    assert (canonical(a) == canonical(b)) == (repr(_sorted(a)) == repr(_sorted(b)))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value)}
    return [_sorted(v) for v in value] if isinstance(value, list) else value


@given(
    st.permutations(["n", "left", "right", "sum", "out"]),
    st.dictionaries(st.sampled_from("abc"), st.text(max_size=3)),
)
def test_keys_do_not_depend_on_ids_order_or_looks(order: list[str], titles: dict[str, str]) -> None:
    from studio.graph.document import Edge
    from studio.graph.engine import Engine
    from studio.graph.registry import Registry

    kinds = {"n": "t_number", "left": "t_add", "right": "t_add", "sum": "t_add", "out": "t_add"}
    names = {id: f"{i}-{titles.get('a', '')}" for i, id in enumerate(order)}
    wires = [("n", "left"), ("n", "right"), ("left", "sum"), ("sum", "out")]
    nodes = tuple(
        Node(names[id], kinds[id], title=titles.get("b", ""), pos=(float(i),)) for i, id in enumerate(order)
    )
    edges = tuple(Edge((names[a], "int"), (names[b], "a")) for a, b in wires)
    engine = Engine(Registry.of(_number, _add))
    found = engine.plan(Graph(nodes, edges), [names["out"]])[names["out"]].key
    plain = Graph(
        tuple(Node(i, k) for i, k in kinds.items()), tuple(Edge((a, "int"), (b, "a")) for a, b in wires)
    )
    assert found == engine.plan(plain, ["out"])["out"].key


@node(id="t_number")
def _number(value: int = 1) -> int:
    """A number."""
    return value


@node(id="t_add")
def _add(a: int, b: int = 1) -> int:
    """A sum."""
    return a + b


def test_key_follows_code_version_constants_and_sources(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n a: add a=n\n out: show a=a")
    keys = {
        lab.engine().plan(g)["out"].key
        for g in (graph, graph.set("n", "value", 2), graph.set("a", "b", 2), graph.set("a", "b", 1))
    }
    assert len(keys) == 3

    def add_v1(a: int, b: int = 1) -> int:
        """A sum."""
        return a + b

    def add_v2(a: int, b: int = 1) -> int:
        """A sum, by other code."""
        return b + a + 0

    plans = [
        lab.engine(node(id="add", version=v)(f)).plan(graph)["out"].key
        for f, v in ((add_v1, 1), (add_v2, 1), (add_v1, 2))
    ]
    assert len(set(plans)) == 3


def test_other_input_of_the_same_value_is_another_key(lab: Any, wire: Wire) -> None:
    text = "x: blob\n y: blob\n j: join first={a}.blob, second={b}.blob\n out: keep blob=j.blob"
    keys = {lab.engine().plan(wire(text.format(a=a, b=b), y={"fill": 1}))["out"].key for a, b in ("xy", "yx")}
    assert len(keys) == 2


def test_reasons_name_what_changed(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("t: text\n d: draw\n n: number\n s: add a=n\n out: show a=s")
    targets = ["t", "d", "out"]
    assert {n.reason for n in engine.plan(graph, targets).nodes} == {"new"}
    engine.run(graph, targets)
    plan = engine.plan(graph.set("t", "text", "a boat").set("d", "seed", 5).set("n", "value", 3), targets)
    assert {n.id: n.reason for n in plan.nodes} == {
        "t": "prompt changed",
        "d": "seed changed",
        "n": "value changed",
        "s": "input a changed",
        "out": "input a changed",
    }
    assert plan.will_run == ("t", "d", "n", "s", "out")
    assert plan.seconds > 0
    engine.cache.clear()
    assert {n.reason for n in engine.plan(graph, targets).nodes} == {"evicted"}
    assert {n.reason for n in engine.plan(graph, targets, use_cache=False).nodes} == {"cache off"}


def test_run_does_what_the_plan_said(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("n: number\n a: add a=n\n b: add a=a\n out: show a=b", b={"b": 2})
    engine.run(graph)
    changed = graph.set("b", "b", 3)
    plan = engine.plan(changed)
    assert plan.will_run == ("b", "out")
    assert engine.run(changed).ran == plan.will_run


def test_changed_code_is_named_as_the_reason(lab: Any, wire: Wire) -> None:
    from studio.graph.seen import Seen

    def add_again(a: int, b: int = 1) -> int:
        """A sum, by other code."""
        return int(a) + b

    seen = Seen()
    graph = wire("n: number\n a: add a=n\n out: show a=a")
    lab.engine(seen=seen).run(graph)
    assert lab.engine(node(id="add")(add_again), seen=seen).plan(graph)["a"].reason == "code changed"


def test_fingerprint_sees_constants_and_files_and_its_failure_means_always_run(
    lab: Any, wire: Wire, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    asked: list[dict[str, Any]] = []

    def of_file(params: dict[str, Any], files: Any) -> str:
        asked.append(params)
        return str(files.sha256(params["path"]))

    @node(fingerprint=of_file)
    def read(path: str = "", a: int = 0) -> int:
        """Reads a file."""
        return len(weights.read_bytes()) + a

    engine = lab.engine(read)
    graph = wire("n: number\n r: read a=n\n out: show a=r", r={"path": str(weights)})
    engine.run(graph)
    assert asked[0] == {"path": str(weights)}
    assert not engine.run(graph).ran
    weights.write_bytes(b"three")
    report = engine.run(graph)
    assert report.nodes["r"].reason == "file changed"
    assert report.outputs["out"]["int"] == 6
    weights.unlink()
    weights.mkdir()
    report = engine.plan(graph)
    assert report["r"].reason == "always-run"


def test_file_hash_is_remembered_until_the_file_changes_and_rechecked_on_demand(tmp_path: Path) -> None:
    class Memo:
        def __init__(self) -> None:
            self.marks: dict[str, FileMark] = {}

        def get(self, path: str) -> FileMark | None:
            return self.marks.get(path)

        def put(self, path: str, mark: FileMark) -> None:
            self.marks[path] = mark

    path, memo = tmp_path / "f", Memo()
    path.write_bytes(b"aaaa")
    files = FileHashes(memo)
    first = files.sha256(path)
    stat = path.stat()
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # looks as before
    assert files.sha256(path) == first
    assert FileHashes(memo).sha256(path) == first
    assert files.sha256(path, recheck=True) != first
    path.write_bytes(b"ccccc")
    assert files.sha256(path) != first
    with pytest.raises(StudioError, match="cannot be read"):
        files.sha256(tmp_path / "gone")


@dataclass(frozen=True)
class Rule:
    """Behaviour with a name."""

    name: str
    params: tuple[tuple[str, float], ...]
    run: Callable[[], int] = field(compare=False, default=lambda: 1)


def test_behaviour_is_digested_by_name_and_parameters_and_stays_in_memory() -> None:
    codecs = Codecs()
    one, same, other = (
        Rule("cfg", (("scale", 3.0),)),
        Rule("cfg", (("scale", 3.0),), lambda: 2),
        Rule("cfg", (("scale", 4.0),)),
    )
    assert codecs.digest(one) == codecs.digest(same)
    assert codecs.digest(one) != codecs.digest(other)
    assert codecs.dump(one) is None


def test_lists_go_to_disk_and_back() -> None:
    codecs = Codecs()
    for value in ([1, "a", None], (1, (2.5, [True])), [], [BLOCKED, 1], {"a": [1, {"b": 2}]}):
        dumped = codecs.dump(value)
        assert dumped is not None
        assert codecs.load(*dumped) == value
        assert codecs.digest(codecs.load(*dumped)) == codecs.digest(value)
    with pytest.raises(ValueError, match="no codec"):
        codecs.load("unknown", b"")
    with pytest.raises(ValueError, match="damaged"):
        codecs.load("list", b"\x00\x00\x00\x00\x05xx")


def test_value_handed_out_cannot_change_what_is_kept() -> None:
    codecs = Codecs()
    kept = {"a": [1, 2]}
    handed = codecs.readonly(kept)
    handed["a"].append(3)
    assert kept == {"a": [1, 2]}


def test_value_without_a_digest_is_made_anew_each_time(lab: Any, wire: Wire) -> None:
    class Odd:
        pass

    def odd() -> object:
        """Something of its own."""
        lab.calls.append("odd")
        return Odd()

    def look(value: object) -> int:
        """Anything."""
        return 1

    odd.__annotations__["return"] = object
    look.__annotations__.update({"value": object, "return": int})
    engine = lab.engine(node(odd), node(look))
    graph = wire("o: odd\n l: look value=o.any\n out: show a=l")
    assert engine.run(graph).status == "finished"
    assert engine.run(graph.set("out", "name", "b")).status == "finished"
    with pytest.raises(StudioError, match="no content digest"):
        Codecs().digest(Odd())
