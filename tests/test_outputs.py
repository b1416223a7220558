"""outputs.py: what a stored picture is said to show."""

from __future__ import annotations

import pytest

from studio.graph.document import loads
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
    ],
)
def test_a_picture_is_told_by_the_prompt_that_made_it(
    registry: Registry, name: str, output: str, shows: str
) -> None:
    graph = loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    for node in graph.nodes:
        if node.kind == "encode_prompt" and node.id != "avoid":
            graph = graph.set(node.id, "text", f"words of {node.id}")
    graph = graph.set("avoid", "text", "what to avoid")
    facts = about(graph, registry, output)
    assert (facts.prompt, facts.negative) == (f"words of {shows}", "what to avoid")


def test_a_flag_still_sets_the_first_prompt_of_a_workflow(registry: Registry) -> None:
    graph = loads((WORKFLOWS / "edit-picture.json").read_text("utf-8"))
    assert widgets_of(graph, registry)["prompt"] == ("before", "text")
