"""outputs.py: what a stored picture is said to show."""

from __future__ import annotations

import pytest

from studio.graph.document import load, loads
from studio.graph.registry import Registry
from studio.outputs import about, widgets_of
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
