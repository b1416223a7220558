"""The Step cache node: what it makes, what stands in the record, and what is refused before a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from studio.blocks.step_cache import delta_dit, fixed_steps
from studio.errors import StudioError
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.problem import Problem
from studio.nodes.step_cache import MODES, made
from tests.nodes.ready import ready_workflow

TEXT = "a red star on the left"
DEFAULTS: dict[str, Any] = {
    "mode": "taylor",
    "every": 2,
    "growth": 0.3,
    "tolerance": 0.1,
    "order": 1,
    "predictor": "newton",
    "warm": 6,
    "last": 0,
    "most": 0,
    "full_steps": "",
}


def graph_of(*caches: dict[str, Any], steps: int = 8, model: str = "tiny:sd3", **settings: Any) -> Graph:
    """The ready picture workflow at small size with these step caches on its run."""
    given = {
        "model.model": model,
        "prompt.text": TEXT,
        "canvas.width": 64,
        "canvas.height": 64,
        "schedule.steps": steps,
        "sampler.sampler": "euler",
        **settings,
    }
    graph = ready_workflow("text-to-image", given)
    nodes, edges = list(graph.nodes), list(graph.edges)
    for i, widgets in enumerate(caches):
        nodes.append(Node(f"cache{i}", "step_cache", widgets=widgets))
        edges.append(Edge((f"cache{i}", "attachment"), ("all", ("first", "second")[i])))
    if caches:
        nodes.append(Node("all", "together"))
        edges.append(Edge(("all", "attachments"), ("sample", "attachments")))
    return replace(graph, nodes=tuple(nodes), edges=tuple(edges))


def found(engine: Engine, graph: Graph, level: str = "error") -> list[Problem]:
    return [problem for problem in engine.check(graph) if problem.level == level]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_makes_a_picture_and_tells_what_it_skipped(engine: Engine, mode: str) -> None:
    cache = {"mode": mode, "warm": 1, "tolerance": 1.0, "full_steps": "1-2, 5"}
    plain, run = engine.run(graph_of()), engine.run(graph_of(cache))
    assert run.status == "finished", run.errors
    told = run.nodes["sample"].notes["step_cache"]
    assert told["pictures"]["0"]["skipped"] and told["steps"] == 8 and told["work"] < 1
    if mode == "fixed steps":
        assert told["pictures"]["0"]["full"] == [1, 2, 5]
    pictures = [one.outputs["save"]["image"].pixels for one in (plain, run)]
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize(
    "cache",
    [{"every": 1}, {"mode": "confidence", "tolerance": 0.0}, {"mode": "fixed steps", "full_steps": "all"}],
)
def test_neutral_settings_give_the_plain_picture_and_no_note(engine: Engine, cache: dict[str, Any]) -> None:
    plain, run = engine.run(graph_of()), engine.run(graph_of(cache))
    assert np.array_equal(*(one.outputs["save"]["image"].pixels for one in (plain, run)))
    assert "step_cache" not in run.nodes["sample"].notes and not found(engine, graph_of(cache), "warning")


def test_a_run_in_which_nothing_was_skipped_says_so(engine: Engine) -> None:
    run = engine.run(graph_of({"mode": "confidence", "tolerance": 0.01}))
    assert run.status == "finished"
    assert run.nodes["sample"].notes["step_cache"]["pictures"]["0"]["skipped"] == []


@pytest.mark.parametrize(
    ("graph", "message", "hint"),
    [
        (graph_of({}, {}), "two step caches", "Disconnect one"),
        (graph_of({}, steps=4), "does not fit a run of 4 steps", "'delta'"),
        (graph_of({"mode": "fixed steps", "full_steps": "1, two"}), "'1, two' cannot be read", "1-4, 7"),
        (graph_of({"mode": "fixed steps", "full_steps": "0, 2"}), "numbered from 1", "1-3"),
    ],
)
def test_what_cannot_work_is_refused_before_the_run(
    engine: Engine, graph: Graph, message: str, hint: str
) -> None:
    (problem, *_) = found(engine, graph)
    assert message in problem.message and hint in problem.hint and problem.node.startswith("cache")


def test_delta_is_for_few_steps_and_a_cache_that_is_off_is_no_problem(engine: Engine) -> None:
    assert not found(engine, graph_of({"mode": "delta"}, steps=4))
    assert not found(engine, graph_of({"every": 1}, steps=4))
    assert not found(engine, graph_of({}, {"every": 1}))[1:]


def test_a_run_that_only_warms_up_is_warned_of(engine: Engine) -> None:
    (problem,) = found(engine, graph_of({"warm": 8}), "warning")
    assert "skip nothing" in problem.message and problem.socket == "warm"


def test_fixed_steps_without_any_are_warned_of(engine: Engine) -> None:
    for written in ("", "  "):
        graph = graph_of({"mode": "fixed steps", "full_steps": written})
        (problem,) = found(engine, graph, "warning")
        assert "names no steps, so nothing is skipped" in problem.message and problem.socket == "full_steps"
    run = engine.run(graph)
    assert run.status == "finished" and "step_cache" not in run.nodes["sample"].notes


def test_guidance_that_changes_blocks_is_refused(engine: Engine) -> None:
    graph = graph_of({})
    nodes = [*graph.nodes, Node("slg", "skip_layer_guidance")]
    edges = [edge for edge in graph.edges if edge.target != ("sample", "guidance")]
    (old,) = [edge for edge in graph.edges if edge.target == ("sample", "guidance")]
    edges += [Edge(old.source, ("slg", "guidance")), Edge(("slg", "guidance"), ("sample", "guidance"))]
    (problem, *_) = found(engine, replace(graph, nodes=tuple(nodes), edges=tuple(edges)))
    assert "changes the blocks" in problem.message
    # under a reflection too
    nodes.append(Node("w2sd", "reflected_guidance"))
    edges = [*edges[:-1], Edge(("slg", "guidance"), ("w2sd", "strong"))]
    edges.append(Edge(("w2sd", "guidance"), ("sample", "guidance")))
    (problem, *_) = found(engine, replace(graph, nodes=tuple(nodes), edges=tuple(edges)))
    assert "changes the blocks" in problem.message and problem.node == "cache0"


def test_settings_become_the_cache() -> None:
    def cache(**more: Any) -> Any:
        return made(**(DEFAULTS | more))

    assert cache().parts[0].limits.warm == 6 and cache(every=1).is_neutral()
    assert cache(mode="delta", warm=1) == delta_dit(2)
    assert cache(mode="fixed steps", full_steps="1-3, 9") == fixed_steps((0, 1, 2, 8))
    assert cache(mode="fixed steps", full_steps=" all ").is_neutral()
    assert cache(mode="first block", order=0, tolerance=0.12).parts[0].gate.tau == 0.12
    with pytest.raises(StudioError, match="cannot be read"):
        cache(mode="fixed steps", full_steps="x")


def test_a_range_of_blocks_and_a_budget_are_those_of_the_cache() -> None:
    plain = made(**DEFAULTS)
    assert made(**DEFAULTS, blocks="all") == made(**DEFAULTS, blocks=" ", budget=0.0) == plain
    part = made(**DEFAULTS, blocks="2-4", budget=0.3).parts[0]
    assert (part.first, part.last, part.limits.budget) == (2, 4, 0.3)
    assert made(**(DEFAULTS | {"every": 1}), blocks="1-2").is_neutral()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": "0, 2"}, "not in one piece"),
        ({"blocks": "some"}, "not a block number"),
        ({"mode": "delta", "blocks": "0-1"}, "ranges of its own"),
        ({"mode": "first block", "blocks": "0-1"}, "block before"),
        ({"blocks": "0-99"}, "not in a network of"),
    ],
)
def test_blocks_that_cannot_be_are_refused_before_the_run(
    engine: Engine, settings: dict[str, Any], words: str
) -> None:
    problems = found(engine, graph_of(settings))
    assert [(problem.node, problem.socket) for problem in problems] == [("cache0", "blocks")]
    assert words in problems[0].message


def test_a_cache_on_some_blocks_lets_the_others_work(engine: Engine) -> None:
    def work(**widgets: Any) -> float:
        report = engine.run(graph_of({"every": 2, "growth": 0.0, "warm": 2, **widgets}))
        assert report.status == "finished", report
        return float(report.nodes["sample"].notes["step_cache"]["work"])

    assert work(blocks="") < work(blocks="1") < 1
