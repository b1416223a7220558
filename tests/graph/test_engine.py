"""Running: what runs, what comes from the cache, in every cache mode (E9, E13-E19, E26-E29, E39)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import StudioError
from studio.graph.cache import Cache
from studio.graph.context import Context
from studio.graph.disk_cache import DiskCache
from studio.graph.document import Graph
from studio.graph.engine import Engine
from studio.graph.events import EventLog
from studio.graph.seen import Seen
from studio.graph.spec import node

Wire = Callable[..., Graph]
DIAMOND = """
    n: number
    left: add a=n
    right: add a=n
    sum: add a=left, b=right
    out: show a=sum
"""


@pytest.fixture(params=["off", "classic", "lru", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    """Every mode."""
    return Cache(request.param, disk=DiskCache(tmp_path / "cache") if request.param == "disk" else None)


def test_result_is_the_same_in_every_cache_mode(lab: Any, wire: Wire, cache: Cache) -> None:
    engine = lab.engine(cache=cache)
    graph = wire(DIAMOND, n={"value": 5}, left={"b": 2}, right={"b": 3})
    results = [engine.run(graph).outputs["out"] for _ in range(2)]
    results.append(engine.run(graph.set("n", "value", 6)).outputs["out"])
    assert results == [{"int": 15}, {"int": 15}, {"int": 17}]


def test_unchanged_rerun_runs_no_node(lab: Any, wire: Wire, cache: Cache) -> None:
    engine = lab.engine(cache=cache)
    graph = wire(DIAMOND, left={"b": 2})
    first = engine.run(graph)
    lab.calls.clear()
    again = engine.run(graph)
    if cache.mode == "off":
        assert len(again.ran) == 5
        return
    assert lab.calls == []
    assert set(again.states().values()) == {"cached"}
    assert again.outputs == first.outputs
    assert again.nodes["out"].key == first.nodes["out"].key


def test_change_of_the_output_name_runs_only_the_output(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire(DIAMOND)
    engine.run(graph)
    report = engine.run(graph.set("out", "name", "other"))
    assert report.ran == ("out",)
    assert report.nodes["out"].reason == "name changed"
    assert report.nodes["n"].reason == "not needed"


def test_two_equal_branches_compute_once(lab: Any, wire: Wire) -> None:
    lab.engine().run(wire(DIAMOND))
    assert lab.calls.count("add") == 2  # left and right are the same sum; `sum` is another


def test_equal_result_of_a_rerun_node_stops_the_change(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("n: number\n s: sign a=n\n more: add a=s\n out: show a=more", n={"value": 5})
    engine.run(graph)
    lab.calls.clear()
    report = engine.run(graph.set("n", "value", 6))
    assert lab.calls == ["number", "sign"]
    assert report.nodes["more"].state == "cached"
    assert report.nodes["more"].reason == "inputs came out equal"
    lab.calls.clear()
    assert not engine.run(graph.set("n", "value", 6)).ran


def test_second_process_finds_results_on_disk_and_loads_only_what_it_needs(
    lab: Any, wire: Wire, tmp_path: Path
) -> None:
    graph = wire("m: load\n n: number\n u: use model=m.model, a=n\n out: keep blob=u.blob")
    lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(graph)
    lab.calls.clear()
    second = lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path)))
    report = second.run(graph)
    assert lab.calls == []
    assert report.outputs["out"]["blob"].data == b"tiny 1"
    assert report.nodes["m"].reason == "not needed"
    assert len(second.cache.memory) == 1  # only the picture itself was read


def test_value_kept_in_memory_only_is_made_again_only_when_a_node_that_runs_needs_it(
    lab: Any, wire: Wire, tmp_path: Path
) -> None:
    graph = wire("m: load\n n: number\n u: use model=m.model, a=n\n out: keep blob=u.blob")
    lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(graph)
    lab.calls.clear()
    report = lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(graph.set("n", "value", 2))
    assert lab.calls == ["load", "number", "use", "keep"] or lab.calls == ["number", "load", "use", "keep"]
    assert report.nodes["m"].reason == "lives in memory only"


@pytest.mark.parametrize("inputs", ["a=n, model=m.model", "model=m.model, a=n"])
@pytest.mark.parametrize("joined", ["first=u.blob, second=x.blob", "second=x.blob, first=u.blob"])
def test_known_digest_of_a_lost_value_is_waited_for_again(
    lab: Any, wire: Wire, tmp_path: Path, inputs: str, joined: str
) -> None:
    """`x` has the model made anew while `u`, which waits for `n`, counts on the digest it had before."""
    before = wire(
        "m: load\n c: number\n d: add a=c\n w: use model=m.model, a=c\n"
        " out: keep blob=w.blob\n seen: show a=d"
    )
    lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(before)
    graph = wire(
        f"n: number\n m: load\n c: number\n d: add a=c\n u: use {inputs}\n"
        f" x: use model=m.model, a=d\n both: join {joined}\n out: keep blob=both.blob"
    )
    report = lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(graph.set("n", "value", 2))
    assert report.status == "finished"
    assert report.outputs["out"]["blob"].data == b"tiny 2tiny 2"


def test_damaged_value_on_disk_is_made_again(lab: Any, wire: Wire, tmp_path: Path) -> None:
    graph = wire("b: blob\n out: keep blob=b.blob")
    lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(graph)
    for file in (tmp_path / "values").rglob("*"):
        if file.is_file():
            data = bytearray(file.read_bytes())
            data[-1] ^= 1
            file.write_bytes(data)
    lab.calls.clear()
    report = lab.engine(cache=Cache("disk", disk=DiskCache(tmp_path))).run(graph)
    assert report.status == "finished"
    assert lab.calls == ["blob"]  # the output is the same value, so it is whole again, too
    assert report.outputs["out"]["blob"].data == bytes(10)
    assert report.nodes["b"].reason == "its cached value was lost"


def test_always_run_node_runs_but_what_hangs_on_it_only_if_its_result_changed(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("c: clock\n out: show a=c")
    engine.run(graph)
    lab.calls.clear()
    report = engine.run(graph)
    assert lab.calls == ["clock"]
    assert report.nodes["c"].reason == "always-run"
    assert report.nodes["out"].reason == "inputs came out equal"


def test_node_with_cache_off_is_made_again_only_when_needed(lab: Any, wire: Wire) -> None:
    @node(cache=False)
    def cheap(value: int = 1) -> int:
        """A number."""
        lab.calls.append("cheap")
        return value

    engine = lab.engine(cheap)
    graph = wire("c: cheap\n out: show a=c")
    engine.run(graph)
    assert not engine.run(graph).ran
    assert engine.run(graph.set("out", "name", "b")).ran == ("c", "out")


def test_only_what_the_targets_need_runs(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n a: add a=n\n out: show a=a\n other: draw\n far: show a=other")
    report = lab.engine().run(graph, ["a"])
    assert set(report.nodes) == {"n", "a"}
    assert report.outputs == {"a": {"int": 2}}


def test_empty_list_of_targets_is_an_error_and_not_all(lab: Any, wire: Wire) -> None:
    with pytest.raises(StudioError, match="list of targets is empty"):
        lab.engine().run(wire("n: number\n out: show a=n"), [])
    with pytest.raises(StudioError, match="no output node"):
        lab.engine().run(wire("n: number"))
    with pytest.raises(StudioError, match="Did you mean 'out'"):
        lab.engine().run(wire("n: number\n out: show a=n"), ["outt"])


def test_order_is_the_same_for_equal_graphs_and_one_output_is_finished_first(lab: Any, wire: Wire) -> None:
    lines = ["a: number", "b: add a=a", "x: show a=b", "c: number", "d: add a=c", "y: show a=d"]
    widgets = {"c": {"value": 9}, "x": {"name": "1"}, "y": {"name": "2"}}
    one = lab.engine().run(wire("\n".join(lines), **widgets))
    other = lab.engine().run(wire("\n".join(reversed(lines)), **widgets))
    assert one.ran == other.ran == ("a", "b", "x", "c", "d", "y")


def test_nodes_of_one_model_run_together(lab: Any, wire: Wire) -> None:
    graph = wire(
        """n1: number
        n2: number
        m1: load
        m2: load
        a: use model=m1.model, a=n1
        b: use model=m2.model, a=n1
        c: use model=m1.model, a=n2
        d: use model=m2.model, a=n2
        left: join first=a.blob, second=b.blob
        right: join first=c.blob, second=d.blob
        all: join first=left.blob, second=right.blob
        out: keep blob=all.blob""",
        m2={"name": "other"},
        n2={"value": 3},
    )
    ran = [id for id in lab.engine().run(graph).ran if id in "abcd"]
    assert ran in (["a", "c", "b", "d"], ["b", "d", "a", "c"], ["a", "c", "d", "b"]), ran


def test_visitors_do_not_share_results_but_share_what_is_marked(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("m: load\n n: number\n u: use model=m.model, a=n\n out: keep blob=u.blob")
    first = engine.run(graph, owner="anna")
    second = engine.run(graph, owner="ben")
    assert second.ran == ("n", "u", "out")
    assert second.nodes["m"].state == "cached"
    assert first.nodes["out"].key != second.nodes["out"].key


def test_random_numbers_follow_the_run_seed_and_the_place_of_the_node(lab: Any, wire: Wire) -> None:
    graph = wire("d: dice\n e: dice\n sum: add a=d, b=e\n out: show a=sum")

    def values(**options: Any) -> list[int]:
        engine: Engine = lab.engine(cache=Cache("off"))
        return [engine.run(graph, ["d", "e"], **options).outputs[i]["int"] for i in "de"]

    assert values(seed=3) == values(seed=3)
    assert values(seed=3) != values(seed=4)
    assert values(seed=3)[0] != values(seed=3)[1]


def test_drawing_without_saying_so_is_an_error(lab: Any, wire: Wire) -> None:
    @node
    def secret(*, ctx: Context) -> int:
        """Draws."""
        return int(ctx.rng.integers(9))

    report = lab.engine(secret).run(wire("s: secret\n out: show a=s"))
    assert "random=True" in report.errors[0].hint


def test_run_works_on_a_snapshot_of_document_and_registry(lab: Any, wire: Wire) -> None:
    widgets: dict[str, Any] = {"value": 4}

    @node
    def edit(a: int) -> int:
        """Changes the document that is running."""
        widgets["value"] = 5
        engine.registry = lab.registry()
        return a

    engine = lab.engine(edit)
    graph = wire(
        "first: number\n e: edit a=first\n late: number\n sum: add a=e, b=late\n out: show a=sum",
        late=widgets,
    )
    assert engine.run(graph).outputs["out"]["int"] == 5


def test_node_that_changes_its_input_is_named(lab: Any, wire: Wire) -> None:
    class Grid:
        __weft_type__ = "Grid"

        def __init__(self, cells: Any) -> None:
            self.cells = cells

    class GridCodec:
        name = "grid"

        def handles(self, value: object) -> bool:
            return isinstance(value, Grid)

        def digest(self, value: Grid) -> str:
            return f"{hash(value.cells.tobytes()):x}"

        def nbytes(self, value: Grid) -> int:
            return int(value.cells.nbytes)

        def readonly(self, value: Grid) -> Grid:
            return value

        def dump(self, value: Grid) -> bytes | None:
            return None

        def load(self, data: bytes) -> Grid:
            raise ValueError

    def grid() -> Grid:
        """Cells."""
        return Grid(np.zeros(3))

    def spoil(grid: Grid) -> int:
        """Writes into what others use."""
        grid.cells[0] = 1
        return 1

    for function in (grid, spoil):
        function.__annotations__ = {
            k: {"Grid": Grid, "int": int}[v] for k, v in function.__annotations__.items()
        }
    engine = lab.engine(node(grid), node(spoil), codecs=[GridCodec()])
    report = engine.run(wire("g: grid\n s: spoil grid=g.grid\n out: show a=s"))
    assert "changed its input 'grid'" in report.errors[0].message
    assert report.errors[0].node == "s"


def test_numerics_and_device_enter_the_key(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n out: show a=n")
    keys = {lab.engine(numerics=n).run(graph).nodes["out"].key for n in ("fast", "strict")}
    assert len(keys) == 2


def test_reasons_survive_in_a_file(lab: Any, wire: Wire, tmp_path: Path) -> None:
    graph = wire("t: text\n out: show a=n\n n: number")
    lab.engine(seen=Seen(tmp_path / "seen.json")).run(graph, ["t"])
    plan = lab.engine(seen=Seen(tmp_path / "seen.json")).plan(graph.set("t", "text", "a boat"), ["t"])
    assert plan["t"].reason == "prompt changed"
    assert "star" not in (tmp_path / "seen.json").read_text()


def test_chain_of_ten_thousand_nodes_is_planned_and_run_without_recursion(lab: Any) -> None:
    from studio.graph.document import Edge, Limits, Node

    nodes = [Node("n0", "number"), *(Node(f"n{i}", "add") for i in range(1, 10_000)), Node("out", "show")]
    edges = [Edge((a.id, "int"), (b.id, "a")) for a, b in itertools.pairwise(nodes)]
    graph = Graph(tuple(nodes), tuple(edges))
    engine = lab.engine(check_inputs=False, limits=Limits(nodes=20_000))
    begun = time.thread_time()
    plan = engine.plan(graph)
    assert time.thread_time() - begun < 1.0
    assert len(plan.will_run) == 10_001
    assert engine.run(graph).outputs["out"]["int"] == 10_000


def test_what_was_asked_for_and_not_made_is_told_with_its_cause(lab: Any, wire: Wire) -> None:
    graph = wire("n: number\n b: block a=n\n more: add a=b\n out: show a=more\n other: show a=n")
    report = lab.engine().run(graph)
    assert report.status == "finished" and report.states()["out"] == "skipped"
    assert report.nodes["out"].reason == "Block gave no result"
    log = EventLog("r")
    muted = Graph(tuple(replace(n, mode="mute") if n.id == "b" else n for n in graph.nodes), graph.edges)
    report = lab.engine().run(muted, run_id="r", log=log)
    assert report.nodes["out"].reason == "Block is muted"
    told = [event.payload["message"] for event in log.since(0) if event.kind == "warning"]
    assert told == ["Show was not made: Block is muted."]
    assert lab.engine().plan(muted)["out"].reason == "Block is muted"
    failing = EventLog("f")
    lab.engine().run(wire("n: number\n f: fail a=n\n out: show a=f"), run_id="f", log=failing)
    assert not [event for event in failing.since(0) if event.kind == "warning"]
    off = Graph(tuple(replace(n, mode="mute") if n.kind == "show" else n for n in graph.nodes), graph.edges)
    with pytest.raises(StudioError, match="Show, Show are switched off"):
        lab.engine().run(off)


def test_warnings_of_a_node_from_the_cache_are_told_again(lab: Any, wire: Wire) -> None:
    @node
    def doubtful(a: int, *, ctx: Context) -> int:
        """Warns."""
        ctx.warn("Half of it is guessed.")
        return a

    def run(name: str, more: int) -> tuple[dict[str, str], list[tuple[str, str]]]:
        log = EventLog(name)
        graph = wire("n: number\n d: doubtful a=n\n sum: add a=d\n out: show a=sum", sum={"b": more})
        report = engine.run(graph, run_id=name, log=log)
        assert report.warnings == ("Half of it is guessed.",)
        return report.states(), [(e.node, e.payload["message"]) for e in log.since(0) if e.kind == "warning"]

    engine = lab.engine(doubtful)
    told = [("d", "Half of it is guessed.")]
    assert run("first", 1) == ({"n": "ran", "d": "ran", "sum": "ran", "out": "ran"}, told)
    assert run("other sum", 2) == ({"n": "cached", "d": "cached", "sum": "ran", "out": "ran"}, told)
    assert run("again", 2) == (dict.fromkeys(("n", "d", "sum", "out"), "cached"), told)
