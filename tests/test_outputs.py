"""about.py and outputs.py: what a stored picture is said to show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.about import about, widgets_of
from studio.graph.document import Edge, load, loads
from studio.graph.registry import Registry
from studio.settings import ROOT
from studio.studio import NODE_MODULES

WORKFLOWS = ROOT / "assets" / "workflows"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(NODE_MODULES)


@pytest.mark.parametrize(
    ("name", "output", "shows"),
    [
        ("text-to-image", "save", "prompt"),
        ("edit-picture", "save", "after"),
        ("edit-picture", "save_before", "before"),
        ("edit-by-prompt", "save", "prompt"),
        ("edit-by-prompt", "save_before", "before"),
        ("change-words", "save", "prompt"),
        ("edit-inverted-picture", "save", "after"),
        ("keep-picture-values", "save", "after"),
        ("keep-the-look", "save", "prompt"),
        ("keep-the-subject", "save", "prompt"),
        ("restyle-picture", "save", "after"),
        ("steer-to-picture", "save", "after"),
        ("paint-around-picture", "save", "after"),
        ("regions", "save", "layout"),
        ("see-regions", "save", "layout"),
        ("upscale", "save", "prompt"),
    ],
)
def test_a_picture_is_told_by_the_prompt_that_made_it(
    registry: Registry, name: str, output: str, shows: str
) -> None:
    graph = loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    for node in graph.nodes:
        if node.kind == "encode_prompt" and node.id != "avoid":
            graph = graph.set(node.id, "text", f"words of {node.id}")
        elif node.kind == "layout":
            graph = graph.set(node.id, "prompt", f"words of {node.id}")
    graph = graph.set("avoid", "text", "what to avoid")
    facts = about(graph, registry, output)
    assert (facts.prompt, facts.negative) == (f"words of {shows}", "what to avoid")


def test_a_prompt_that_nobody_reads_tells_nothing(registry: Registry) -> None:
    graph = loads((WORKFLOWS / "upscale.json").read_text("utf-8")).set("larger", "prompt", "a blue house")
    assert about(graph, registry, "save").prompt == "a blue house"
    own = "a red star on the left and a blue house on the right, at night"
    assert about(graph, registry, "save", {("larger", "prompt")}).prompt == own
    # a widget that an edge feeds is not read either
    fed = replace(graph, edges=(*graph.edges, Edge(("save", "image"), ("larger", "prompt"))))
    assert about(fed, registry, "save").prompt == own
    silent = graph.set("larger", "prompt", " ").set("prompt", "text", "")
    assert about(silent, registry, "save").prompt == ""


def test_what_a_technique_avoids_is_not_what_the_picture_shows(registry: Registry) -> None:
    graph = loads((WORKFLOWS / "avoid-without-cfg.json").read_text("utf-8"))
    place = next((node.id, "avoid") for node in graph.nodes if node.kind == "nag")
    graph = replace(graph.set(*place, "a boat"), exposed=())
    facts = about(graph, registry, "save")
    assert (facts.prompt, facts.negative) == (graph.by_id["prompt"].widgets["text"], "a boat")


@pytest.mark.model
def test_an_enlarged_picture_keeps_its_prompt_whatever_an_upscaler_does_not_read(studio) -> None:
    """Also where only its name changes, so that all of it comes from the cache."""
    graph = loads((WORKFLOWS / "upscale.json").read_text("utf-8"))
    for place, value in {
        ("canvas", "width"): 64, ("canvas", "height"): 64, ("schedule", "steps"): 2,
        ("larger", "prompt"): "words for another upscaler",
    }.items():  # fmt: skip
        graph = graph.set(*place, value)
    told = {}
    for name in ("weft", "other"):
        report = studio.run(graph.set("save", "name", name))
        assert report.status == "finished", report.error
        told[name] = studio.history.show("local", report.outputs[0].generation)
    assert {item.prompt for item in told.values()} == {graph.by_id["prompt"].widgets["text"]}
    notes = [item.record["notes"] for item in told.values()]
    assert notes[0]["paint"]["network"]["forwards"] == 2
    assert notes[0] == notes[1]
    assert "paint" in told["weft"].record["timings"] and "paint" not in told["other"].record["timings"]


def test_a_flag_still_sets_the_first_prompt_of_a_workflow(registry: Registry) -> None:
    graph = loads((WORKFLOWS / "edit-picture.json").read_text("utf-8"))
    assert widgets_of(graph, registry)["prompt"] == ("before", "text")


def test_a_record_tells_of_the_nodes_that_ran_and_of_those_switched_off(studio) -> None:
    """A bypassed or muted node's settings made nothing; a node in a sub-graph is told by its way."""
    document = load(
        {
            "format": "weft/graph",
            "version": 1,
            "nodes": [
                {"id": "plan", "kind": "plan_layout", "widgets": {"sentence": "a red star"}},
                {"id": "more", "kind": "add_region", "mode": "bypass", "widgets": {}},
                {"id": "look", "kind": "sub:look", "widgets": {"width": 64}},
                {"id": "other", "kind": "plan_layout", "mode": "mute", "widgets": {"sentence": "a boat"}},
            ],
            "edges": [
                {"from": ["plan", "layout"], "to": ["more", "layout"]},
                {"from": ["more", "layout"], "to": ["look", "layout"]},
            ],
            "definitions": {
                "sub:look": {
                    "title": "Look",
                    "nodes": [
                        {"id": "draw", "kind": "draw_layout", "widgets": {"height": 64}},
                        {"id": "save", "kind": "save_image", "widgets": {"name": "look"}},
                    ],
                    "edges": [{"from": ["draw", "image"], "to": ["save", "image"]}],
                    "inputs": [
                        {"name": "layout", "to": [["draw", "layout"]]},
                        {"name": "width", "to": [["draw", "width"]]},
                    ],
                    "outputs": [],
                }
            },
        }
    )
    report = studio.run(document)
    assert report.status == "finished", report.error
    kept = studio.history.show("local", report.outputs[0].generation)
    assert (kept.node, kept.width, kept.title) == ("look/save", 64, "look")
    assert set(kept.record["nodes"]) == set(kept.record["params"]) == {"plan", "look/draw", "look/save"}
    assert kept.record["off"] == {"more": "bypass", "other": "mute"}
    again = studio.replay(kept.id)
    assert again.verdict == "equal" and not again.changes
    assert studio.document_of(kept.id).hash == document.hash
