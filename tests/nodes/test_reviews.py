"""Bad input is refused when a graph is checked: which node, which setting, why, and what to do instead."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import pytest

from studio.errors import StudioError
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.problem import Problem
from studio.models import outline
from studio.models.family import parts_of
from studio.models.text import encode_prompt
from studio.nodes.edit import edit_by_prompt, keep_look
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Latent
from tests.nodes.ready import changed, ready_workflow

OLD, NEW = "a red star on the left", "a blue heart on the left"
PROMPTS = {
    "edit-by-prompt": {"before.text": OLD, "prompt.text": NEW},
    "keep-the-look": {"before.text": OLD, "prompt.text": "a star on the right", "look.words": "star"},
    "see-concepts": {"watch.concepts": "star, house"},
}
LONG = "a red star " * 20
BOX = {"id": "a", "prompt": "a star", "box": [0, 0, 1, 1]}
MANY = {"layout.regions": [{**BOX, "id": str(i)} for i in range(1000)]}


def region(**settings: Any) -> dict[str, Any]:
    """A layout of one region with such settings."""
    return {"layout.regions": [{**BOX, **settings}]}


def workflow(name: str, **more: Any) -> Graph:
    """A ready workflow on the miniature (two blocks, 16 tokens, five steps), with settings "node.widget"."""
    graph = ready_workflow(name)
    prompt = {"prompt.text": OLD} if "prompt" in graph.by_id else {}
    settings = {"model.model": "tiny:sd3", "schedule.steps": 5, **prompt, **PROMPTS.get(name, {}), **more}
    return changed(graph, settings)


def refused(engine: Engine, graph: Graph) -> list[Problem]:
    return [p for p in engine.check(graph) if p.level == "error"]


@pytest.mark.parametrize(
    ("name", "settings", "socket", "message", "hint"),
    [
        ("edit-by-prompt", {"edit.words": "heat"}, "edit.words", "'heat' is in neither prompt", "'heart'"),
        ("edit-by-prompt", {"edit.blocks": "0, 80"}, "edit.blocks", "no block 80.* 2 blocks", "0 to 1"),
        ("edit-by-prompt", {"edit.look_at": "9"}, "edit.look_at", "no block 9", "0 to 1"),
        ("edit-by-prompt", {"edit.blocks": "two"}, "edit.blocks", "'two' is not a block number", "0-3"),
        ("edit-by-prompt", {"edit.tau": 0.1}, "edit.tau", "tau from 0 to 0.1.*one of its 5 steps", "0.2"),
        ("edit-by-prompt", {"edit.eta": 0.1}, "edit.eta", "eta from 0 to 0.1", "more steps"),
        ("edit-by-prompt", {"prompt.text": f"{LONG}tree"}, "edit.words", "past the token limit", "Shorten"),
        ("keep-the-look", {"look.words": "stra"}, "look.words", "'stra' is not in the prompt", "'star'"),
        (
            "keep-the-look",
            {"look.new_words": "boat"},
            "look.new_words",
            "'boat' is not in",
            "It|The prompt has",
        ),
        ("keep-the-look", {"look.start": 0.9}, "look.start", "starts at 0.9 and ends at 0.5", "below end"),
        ("keep-the-look", {"look.start": 0.0, "look.end": 0.1}, "look.end", "less than one of", "0.2"),
        ("keep-the-look", {"look.blocks": "2"}, "look.blocks", "no block 2", "0 to 1"),
        ("keep-the-subject", {"subject.end": 0.1}, "subject.end", "less than one of its 5", "0.2"),
        ("avoid-without-cfg", {"avoid.end": 0.1}, "avoid.end", "What you avoid.*less than one", "0.2"),
        ("avoid-without-cfg", {"avoid.avoid": LONG}, "avoid.avoid", "only 16 tokens fit. Left out", "fewer"),
        (
            "regions",
            region(prompt=LONG),
            "layout.regions",
            "'a', prompt: .*Left out",
            "fewer",
        ),
        (
            "regions",
            region(start=0.5, end=0.52),
            "regions.start",
            "Region 'a'.*one of its 5",
            "0.2",
        ),
        (
            "regions",
            region(box=[0, 0, 1.5, 1]),
            "layout.regions",
            "leaves the canvas",
            "inside is",
        ),
        (
            "regions",
            region(box=[0.5, 0, 0.5, 1]),
            "layout.regions",
            "has no size",
            "Right is beyond",
        ),
        (
            "regions",
            MANY,
            "layout.regions",
            "1,000 regions",
            "At most 64",
        ),
        (
            "regions",
            region(strength=float("nan")),
            "layout.regions",
            "nan is not a finite",
            "0 to 2",
        ),
        ("see-words", {"watch.words": "stra"}, "watch.words", "'stra' is not in the prompt", "'star'"),
        ("see-words", {"watch.blocks": "7"}, "watch.blocks", "block 7, which", "0 to 1"),
        ("see-words", {"watch.end": 0.1}, "watch.end", "Watching words from 0 to 0.1", "0.2"),
        ("see-blocks", {"watch.blocks": "7"}, "watch.blocks", "block 7, which", "0 to 1"),
        ("see-regions", {"watch.blocks": "7"}, "watch.blocks", "block 7, which", "0 to 1"),
        ("see-regions", {"watch.end": 0.01}, "watch.end", "Watching regions from 0 to 0.01", "0."),
        ("see-concepts", {"watch.concepts": "star"}, "watch.concepts", "one alone", "two or more"),
        ("see-concepts", {"watch.blocks": "1"}, "watch.blocks", "text stream of their own", "blocks 0"),
        ("see-concepts", {"watch.concepts": f"star, {LONG}"}, "watch.concepts", "Left out", "fewer"),
        ("word-weight", {"prompt.text": "a (star:9)"}, "prompt.text", "weight 9 is out of range", "0 to 4"),
        (
            "word-weight",
            {"prompt.text": f"{LONG}(boat:2)"},
            "prompt.text",
            "'boat' stands past the",
            "Shorten",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    engine: Engine, name: str, settings: dict[str, Any], socket: str, message: str, hint: str
) -> None:
    problems = refused(engine, workflow(name, **settings))
    assert socket in {f"{p.node}.{p.socket}" for p in problems}, problems
    found = next(p for p in problems if f"{p.node}.{p.socket}" == socket)
    assert re.search(message, found.message) and re.search(hint, found.hint), found
    assert found.blocking
    assert "sample" not in engine.run(workflow(name, **settings)).ran


@pytest.mark.parametrize("text", [LONG, "\u661f " * 40])
def test_a_prompt_that_is_cut_is_a_warning_that_says_what_was_left_out(engine: Engine, text: str) -> None:
    for graph in (
        workflow("text-to-image", **{"prompt.text": text}),
        workflow("word-weight", **{"prompt.text": text}),
    ):
        problems = engine.check(graph)
        assert [(p.node, p.socket, p.level) for p in problems] == [("prompt", "text", "warning")]
        assert "only 16 tokens fit. Left out: " in problems[0].message and not problems[0].blocking
    assert (
        engine.run(workflow("text-to-image", **{"prompt.text": text, "canvas.width": 64})).status
        == "finished"
    )


def together(graph: Graph, more: Node, wires: dict[str, tuple[str, str]], out: str) -> Graph:
    """The graph with one more attachment beside the one that Sample has."""
    edges = [e for e in graph.edges if e.target != ("sample", "attachments")]
    first = next(e.source for e in graph.edges if e.target == ("sample", "attachments"))
    edges += [Edge(source, (more.id, socket)) for socket, source in wires.items()]
    edges += [Edge(first, ("all", "first")), Edge((more.id, out), ("all", "second"))]
    edges.append(Edge(("all", "attachments"), ("sample", "attachments")))
    return replace(graph, nodes=(*graph.nodes, more, Node("all", "together")), edges=tuple(edges))


def edit_and_look(edit: dict[str, Any], look: dict[str, Any]) -> Graph:
    graph = workflow("edit-by-prompt", **{f"edit.{name}": value for name, value in edit.items()})
    prompts = {"source": ("before", "conditioning"), "target": ("prompt", "conditioning")}
    node = Node("look", "keep_look", look)
    return together(graph, node, {"model": ("model", "model"), **prompts}, "attachment")


EDITS = ({}, {"projection": "qi"}, {"block": "T2I"}, {"blocks": "0"}, {"tau": 0.0}, {"projection": "qikt"})
LOOKS = (
    {"start": 0.0},
    {"start": 0.25},
    {"start": 0.0, "words": "left"},
    {"start": 0.0, "text_too": True},
    {"start": 0.0, "blocks": "0"},
    {"start": 0.0, "blocks": "all"},
)


@pytest.mark.parametrize(("edit", "look"), list(itertools.product(EDITS, LOOKS)))
@pytest.mark.parametrize("steps", [5, 4])
def test_an_edit_and_a_look_are_refused_exactly_where_the_run_would_refuse_them(
    engine: Engine, edit: dict[str, Any], look: dict[str, Any], steps: int
) -> None:
    edit = {"tau": 0.25, "eta": 0.0, **edit}
    look = {"end": 0.5, **look}
    graph = edit_and_look(edit, look).set("schedule", "steps", steps)
    problems = refused(engine, graph)
    model = engine.models.load("tiny:sd3")
    parts = parts_of(model)
    old, new, empty = (encode_prompt(parts, text, "it")[0] for text in (OLD, NEW, ""))
    raised = None
    try:
        controls = [
            *edit_by_prompt(model, old, new, **edit),
            keep_look(model, old, new, **look),
        ]
        canvas = Latent(64, 64, 1, 3)
        sample_run(
            parts, new, empty, canvas, flow(steps, 3.0), sampler("euler"), cfg(1.0), attachments=controls
        )
    except StudioError as error:
        raised = [("sample", "attachments", error.message, error.hint)]
    assert [(p.node, p.socket, p.message, p.hint) for p in problems] == (raised or [])


def test_the_refusal_of_two_that_meet_speaks_to_an_artist(engine: Engine) -> None:
    (problem,) = refused(engine, edit_and_look({"tau": 0.4}, {"start": 0.2, "end": 0.8}))
    assert problem.message == (
        "'Edit by prompt' and 'Keep the look' meet in block 1, step 2 of 5: both lay out the new picture "
        "after the old one, each in its own way."
    )
    assert problem.hint.startswith("Let one of them end before the other starts")


def test_attachments_and_prompts_of_another_family_are_refused(engine: Engine) -> None:
    graph = workflow("edit-by-prompt")
    other = Node("other", "load_model", {"model": "tiny:flux"})
    moved = [("edit", "model"), ("avoid", "model")]
    edges = [replace(e, source=("other", "model")) if e.target in moved else e for e in graph.edges]
    problems = refused(engine, replace(graph, nodes=(*graph.nodes, other), edges=tuple(edges)))
    places = {("edit", "model"), ("sample", "negative"), ("paint_before", "negative")}
    assert {(p.node, p.socket) for p in problems} == places
    assert all("(flux)" in p.message and "(sd3)" in p.message for p in problems)


def test_a_guidance_number_for_a_model_that_takes_none_is_refused(engine: Engine) -> None:
    graph = workflow("text-to-image")
    nodes = [Node(n.id, "embedded_guidance") if n.id == "guidance" else n for n in graph.nodes]
    graph = replace(graph, nodes=tuple(nodes))
    (problem,) = refused(engine, graph)
    assert (problem.node, problem.socket) == (
        "sample",
        "guidance",
    ) and "no guidance number" in problem.message
    assert refused(engine, graph.set("model", "model", "tiny:flux")) == []


@pytest.mark.parametrize(
    "name", ["edit-by-prompt", "keep-the-look", "keep-the-subject", "see-words", "regions", "word-weight"]
)
def test_a_network_that_cannot_be_steered_is_refused_with_those_that_can(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = outline.outline_of("tiny:sd3")
    assert told is not None
    strange = replace(told, network="UNet2DConditionModel", sites=())
    monkeypatch.setattr("studio.nodes.prompt.outline_of", lambda ref: strange)
    problems = refused(engine, workflow(name))
    assert {p.socket for p in problems} == {"model"}  # of each Sample that is steered
    assert "UNet2DConditionModel" in problems[0].message and "SD3Transformer2DModel" in problems[0].hint


def chain(count: int, **settings: Any) -> Graph:
    """The Regions workflow with so many regions added one by one."""
    graph = workflow("regions", **{"layout.regions": []})
    nodes = [Node(f"add{i}", "add_region", {"prompt": "a star", **settings}) for i in range(count)]
    before = ["layout", *(node.id for node in nodes[:-1])]
    edges = [Edge((a, "layout"), (b.id, "layout")) for a, b in zip(before, nodes, strict=True)]
    last = Edge((nodes[-1].id, "layout"), ("regions", "layout"))
    kept = [e for e in graph.edges if e.target != ("regions", "layout")]
    return replace(graph, nodes=(*graph.nodes, *nodes), edges=(*kept, *edges, last))


def test_added_regions_are_counted_and_measured(engine: Engine) -> None:
    assert refused(engine, chain(64)) == []
    (problem,) = refused(engine, chain(65))
    assert (problem.node, problem.socket) == ("add64", "layout") and "64 regions already" in problem.message
    (problem,) = refused(engine, chain(1, right=0.0))
    assert problem.node == "add0" and "has no size" in problem.message
    problems = refused(engine, chain(2, negative=LONG))
    assert {(p.node, p.socket) for p in problems} == {("add0", "negative"), ("add1", "negative")}


def test_a_fault_seen_from_two_runs_is_told_once(engine: Engine) -> None:
    graph = workflow("edit-by-prompt", **{"edit.tau": 0.1})
    again = Node("again", "sample")
    same = [replace(e, target=("again", e.target[1])) for e in graph.edges if e.target[0] == "sample"]
    problems = refused(engine, replace(graph, nodes=(*graph.nodes, again), edges=(*graph.edges, *same)))
    assert [(p.node, p.socket) for p in problems] == [("edit", "tau")]


def test_a_setting_that_an_edge_feeds_is_left_to_the_run(engine: Engine) -> None:
    graph = workflow("edit-by-prompt", **{"edit.blocks": "99"})
    best = Node("best", "best_blocks")
    edges = (Edge(("model", "model"), ("best", "model")), Edge(("best", "text"), ("edit", "blocks")))
    graph = replace(graph, nodes=(*graph.nodes, best), edges=(*graph.edges, *edges))
    assert refused(engine, graph) == []


def test_a_cleaner_reference_with_another_sampler_is_refused(engine: Engine) -> None:
    graph = workflow("keep-the-subject", **{"subject.cleaner": 9.0})
    assert refused(engine, graph) == []
    problems = refused(engine, graph.set("sampler", "sampler", "heun"))
    assert [(p.node, p.socket) for p in problems] == [("sample", "sampler")]
    assert "needs the sampler euler" in problems[0].message
