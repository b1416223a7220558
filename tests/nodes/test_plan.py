"""The nodes of layouts and panels through the real engine, and their ready workflows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from studio.errors import StudioError
from studio.graph.cache import Cache
from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node, loads
from studio.graph.engine import Engine
from studio.graph.events import EventLog
from studio.graph.registry import Registry
from studio.layout.data import layout_json
from studio.layout.panels import grid_for, split
from studio.models.codec import TensorCodec
from studio.models.device import guard
from studio.models.loading import ModelStore
from studio.nodes import plan as nodes
from studio.policy import Policy
from studio.settings import ROOT
from studio.values import Image, Layout, Region

NAMES = ("model", "prompt", "sample", "guidance", "image", "regions", "plan")


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry([f"studio.nodes.{name}" for name in NAMES])
    assert not made.broken
    return made


@pytest.fixture(scope="module")
def engine(registry: Registry) -> Any:
    store = ModelStore(device="cpu")
    made = Engine(
        registry,
        cache=Cache(),
        codecs=[TensorCodec()],
        guard=guard,
        models=store,
        policy=Policy.local(),  # type: ignore[list-item]
    )
    yield made
    made.close()
    store.close()


def context(policy: Policy | None = None) -> Context:
    return Context(policy=policy or Policy.local(), path="n")


def picture(seed: int, width: int = 64, height: int = 48) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def warnings_of(log: EventLog) -> list[str]:
    return [event.payload["message"] for event in log.since(0) if event.kind == "warning"]


def graph_of(name: str) -> Graph:
    return loads((ROOT / "assets" / "workflows" / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["plan-from-a-sentence", "panels"])
def test_the_ready_workflows_fit_the_nodes_there_are(name: str, engine: Engine, registry: Registry) -> None:
    graph = graph_of(name)
    assert not engine.check(graph)
    for shown in graph.exposed:
        node = graph.node(shown.node)
        assert shown.widget in {param.name for param in registry.get(node.kind).params}
        assert all(edge.target != (shown.node, shown.widget) for edge in graph.edges)
    assert graph.node("model").widgets["model"] == "embedded:scenes-sd3"


def small(graph: Graph, **more: object) -> Graph:
    for node, widget, value in (("model", "model", "tiny:sd3"), ("schedule", "steps", 2)):
        graph = graph.set(node, widget, value)
    for name, value in more.items():
        graph = graph.set(*name.split("__"), value)
    return graph


def test_a_sentence_becomes_a_picture_and_its_layout_is_drawn_over_it(engine: Engine) -> None:
    sentence = "a red star on the left, a blue house on the right, at night"
    graph = small(
        graph_of("plan-from-a-sentence"),
        plan__sentence=sentence,
        canvas__width=64,
        canvas__height=64,
        draw__width=128,
        draw__height=128,
    )
    report = engine.run(graph)
    assert report.status == "finished", report.errors
    assert report.outputs["save"]["image"].pixels.shape == (64, 64, 3)
    drawn = report.outputs["save_layout"]["image"]
    assert (drawn.width, drawn.height) == (128, 128)
    other = engine.run(graph.set("plan", "sentence", "a red star on the right"))
    assert not np.array_equal(other.outputs["save"]["image"].pixels, report.outputs["save"]["image"].pixels)


def test_panels_are_painted_as_one_and_split(engine: Engine) -> None:
    graph = small(
        graph_of("panels"),
        panels__panels="a red star\na blue star\na star\na moon",
        panels__width=64,
        panels__height=64,
    )
    report = engine.run(graph)
    assert report.status == "finished", report.errors
    whole, parts = report.outputs["save"]["image"], report.outputs["split"]["images"]
    assert (whole.width, whole.height) == (128, 128)
    assert tuple(parts) == split(whole, grid_for(4, 64, 64))


def test_passed_over_words_are_named_and_the_prompt_keeps_them(engine: Engine) -> None:
    sentence = "a cat despite everything"
    graph = Graph((Node("plan", "plan_layout", {"sentence": sentence}),))
    log = EventLog("r")
    report = engine.run(graph, ["plan"], log=log)
    layout = report.outputs["plan"]["layout"]
    assert layout.prompt == sentence
    assert [region.prompt for region in layout.regions] == ["a cat"]
    (said,) = warnings_of(log)
    assert "'despite everything'" in said
    nothing, log = Graph((Node("plan", "plan_layout", {"sentence": "at night"}),)), EventLog("r")
    assert not engine.run(nothing, ["plan"], log=log).outputs["plan"]["layout"].regions
    assert "names no thing" in warnings_of(log)[0]


def test_a_layout_is_tidied_checked_and_drawn_in_a_graph(engine: Engine) -> None:
    regions = [
        {"id": "a", "prompt": "a cat", "box": [0.15, 0.15, 0.4, 0.4]},
        {"id": "b", "prompt": "a dog", "box": [0.3, 0.3, 0.7, 0.7], "locked": True},
    ]
    graph = Graph(
        (
            Node("layout", "layout", {"prompt": "a cat and a dog", "regions": regions}),
            Node("tidy", "tidy_layout"),
            Node("before", "check_layout"),
            Node("after", "check_layout"),
            Node("draw", "draw_layout", {"width": 96, "height": 64}),
        ),
        (
            Edge(("layout", "layout"), ("tidy", "layout")),
            Edge(("layout", "layout"), ("before", "layout")),
            Edge(("tidy", "layout"), ("after", "layout")),
            Edge(("tidy", "layout"), ("draw", "layout")),
        ),
    )
    report = engine.run(graph, ["tidy", "before", "after", "draw"])
    assert report.errors == ()
    a, b = report.outputs["tidy"]["layout"].regions
    assert b.box == (0.3, 0.3, 0.7, 0.7)
    assert max(a.box[0] - b.box[2], b.box[0] - a.box[2], a.box[1] - b.box[3], b.box[1] - a.box[3]) >= 0.019
    assert "Region 2 covers" in report.outputs["before"]["report"]
    assert report.outputs["after"]["report"].startswith("Nothing to mend.")
    assert report.outputs["draw"]["image"].pixels.shape == (64, 96, 3)
    again = engine.run(graph, ["draw"])
    assert {again.nodes[name].state for name in ("layout", "tidy", "draw")} == {"cached"}


def test_a_picture_below_moves_the_plan_and_is_checked() -> None:
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[8:56, 20:44] = (230, 20, 20)
    below = Image(pixels)
    plain = nodes.plan_layout("a small cat", ctx=context())
    around = nodes.plan_layout("a small cat", picture=below, ctx=context())
    assert plain.regions[0].box != around.regions[0].box
    checked = nodes.check_layout(around, below, 128, 128, ctx=context())
    assert "Occ" in checked.report
    assert checked.picture.width == 448


def test_references_fill_the_first_panels() -> None:
    given = [picture(1), picture(2, 20, 20)]
    made = nodes.panel_sheet(
        "a cat\nthe same cat\nthe cat asleep\nthe cat awake", "", 64, 48, True, given, ctx=context()
    )
    assert made.grid.references == 2
    assert (made.width, made.height) == (128, 96) == (made.sheet.width, made.sheet.height)
    assert split(made.sheet, made.grid)[0] == given[0]
    assert made.mask.values.mean() == 0.5
    painted = picture(5, 128, 96)
    pasted = nodes.paste_references(painted, made.sheet, made.grid)
    assert nodes.split_panels(pasted, made.grid) == nodes.split_panels(painted, made.grid)
    assert nodes.split_panels(pasted, made.grid, True)[0] == given[0]


def test_a_single_panel_is_a_plain_call() -> None:
    made = nodes.panel_sheet("a red star", "", 64, 64, ctx=context())
    assert (made.prompt, made.width, made.height) == ("a red star", 64, 64)
    assert nodes.split_panels(picture(0, 64, 64), made.grid) == [picture(0, 64, 64)]


def test_what_is_refused() -> None:
    with pytest.raises(StudioError) as caught:
        nodes.panel_sheet("a cat", "", 64, 64, True, [picture(0)], ctx=context())
    assert caught.value.socket == "panels" and caught.value.hint
    with pytest.raises(StudioError, match="13 panels"):
        nodes.panel_sheet("\n".join("abcdefghijklm"), ctx=context())
    public = Policy.public()
    with pytest.raises(StudioError):
        nodes.panel_sheet("\n".join("abcdefghijkl"), "", 2048, 2048, ctx=context(public))
    with pytest.raises(StudioError):
        nodes.plan_layout("a cat " * public.max_prompt, ctx=context(public))
    with pytest.raises(StudioError):
        nodes.draw_layout(Layout("p"), None, 2048, 2048, ctx=context(public))


def test_plain_data_of_a_plan_goes_into_the_layout_node(engine: Engine) -> None:
    planned = nodes.plan_layout("two red stars above a green tree, at night", ctx=context())
    data = json.loads(json.dumps(layout_json(planned)))
    widgets = {"prompt": data["prompt"], "regions": data["regions"], "background": data["background"]}
    report = engine.run(Graph((Node("layout", "layout", widgets),)), ["layout"])
    assert report.outputs["layout"]["layout"] == planned
    assert isinstance(planned.regions[0], Region)
