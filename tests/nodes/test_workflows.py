"""Every ready workflow, whatever its file: it checks clean, runs, and an edit shows what was there before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from studio.controls.nasa import WARNING
from studio.graph.document import Graph
from studio.graph.engine import Engine
from studio.models.embedded import DEFAULT, list_embedded
from tests.nodes.ready import FOLDER, changed, ready_workflow

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
# where the picture before comes from, as "node.output"
BEFORE = {
    "change-words": "show_before.image",
    "edit-by-prompt": "show_before.image",
    "keep-the-look": "show_before.image",
    "edit-picture": "picture.image",
    "edit-a-thing": "picture.image",
    "edit-inverted-picture": "picture.image",
    "keep-picture-values": "picture.image",
    "restyle-picture": "picture.image",
    "steer-to-picture": "picture.image",
    "paint-around-picture": "paste.image",
}
EDITS = {"edit_by_prompt", "keep_look", "change_words", "edit_picture", "restyle_picture", "steer_to_picture",
         "inject_values", "paint_around"}  # fmt: skip
OLD, NEW = "a red star on the left", "a blue heart on the left"
TEXTS = {
    "edit-by-prompt": {"before.text": OLD, "prompt.text": NEW},
    "change-words": {"before.text": OLD, "prompt.text": NEW, "change.blocks": "all"},
    "keep-the-look": {"before.text": OLD, "prompt.text": "a star on the right", "look.words": "star"},
    "keep-the-subject": {
        "reference_prompt.text": OLD,
        "prompt.text": NEW,
        "watch.words": "star",
        "cut.word": "star",
    },
    "see-words": {"prompt.text": OLD},
    "see-concepts": {"prompt.text": OLD, "watch.concepts": "star, left"},
    "mask-from-words": {"prompt.text": OLD, "watch.words": "star, left", "mask.word": "star"},
    "mask-to-region": {"prompt.text": OLD, "watch.words": "star, left", "mask.word": "star"},
    "edit-a-thing": {"before.text": OLD, "after.text": NEW, "watch.words": "star, left", "cut.word": "star"},
    "word-weight": {"prompt.text": "a (red:1.6) star"},
    "emphasis": {"prompt.text": "a (red:1.6) star"},
    "avoid-nasa": {"prompt.text": OLD},
    # a LoRA for a miniature is no file of the studio; tests/nodes/test_few_steps.py runs relays with one
    "full-start": {"prompt.text": OLD, "lora.strength": 0.0},
}


@pytest.fixture(scope="module")
def engine(caching_engine: Engine) -> Engine:
    return caching_engine


def small(name: str, **more: Any) -> Graph:
    """The workflow on the miniature at 64 x 64 pixels, in few steps and in words that it reads to the end."""
    graph = ready_workflow(name)
    settings: dict[str, Any] = {"model.model": "tiny:sd3"}
    for node in graph.nodes:
        settings |= {f"{node.id}.{side}": 64 for side in ("width", "height") if node.widgets.get(side)}
        if node.kind == "schedule":
            settings[f"{node.id}.steps"] = 5
    return changed(graph, {**settings, **TEXTS.get(name, {}), **more})


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_workflow_checks_clean_and_runs(engine: Engine, name: str) -> None:
    assert engine.check(ready_workflow(name)) == []
    shown = [(field.node, field.widget) for field in ready_workflow(name).exposed]
    assert len(shown) == len(set(shown))
    report = engine.run(small(name))
    assert report.status == "finished", report.errors


# what measures, follows or paints over a picture, or draws in a few steps: new noise would lead it away
STEADY = {"avoid-nasa", "full-start", "few-step", "keep-the-look", "keep-the-subject", "restore-picture",
          "restyle-picture", "step-cache", "steer-to-picture", "upscale", "edit-a-thing", "edit-picture",
          "edit-inverted-picture", "keep-picture-values", "paint-around-picture"}  # fmt: skip


def test_new_pictures_are_drawn_by_the_sampler_of_the_models_card() -> None:
    card = next(model.card for model in list_embedded() if model.ref == DEFAULT)
    for name in set(NAMES) - STEADY:
        graph = ready_workflow(name)
        empty = {node.id for node in graph.nodes if node.kind == "empty_latent"}
        for run in (node.id for node in graph.nodes if node.kind == "sample"):
            feeds = {edge.target[1]: edge.source[0] for edge in graph.edges if edge.target[0] == run}
            sampler = graph.node(feeds["sampler"])
            if feeds["latent"] in empty and sampler.kind == "choose_sampler":
                assert sampler.widgets["sampler"] == card["sampler"], name
                # another model's sampler can take its place
                assert (sampler.id, "sampler") in {(e.node, e.widget) for e in graph.exposed}, name


def test_a_step_cache_with_new_noise_at_every_step_is_warned_of(engine: Engine) -> None:
    assert engine.check(ready_workflow("step-cache")) == []
    (found,) = engine.check(ready_workflow("step-cache", {"sampler.sampler": "dpmpp_2m_sde"}))
    assert (found.level, found.hint) == ("warning", "Choose euler.") and "falls apart" in found.message


def test_every_edit_saves_the_picture_before() -> None:
    edits = {name for name in NAMES if EDITS & {node.kind for node in ready_workflow(name).nodes}}
    assert edits == set(BEFORE)
    for name in BEFORE:
        before = ready_workflow(name).node("save_before")
        assert (before.kind, before.title, before.widgets["name"]) == (
            "save_image", "Save the picture before", "before"
        )  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_the_picture_before_is_the_one_that_was_edited(engine: Engine, name: str) -> None:
    node, output = BEFORE[name].split(".")
    made = engine.run(small(name), targets=["save", "save_before", node]).outputs
    before, after = made["save_before"]["image"], made["save"]["image"]
    assert before == made[node][output] and before.pixels.shape == after.pixels.shape
    assert not np.array_equal(before.pixels, after.pixels)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("edit-by-prompt", {"edit.tau": 1.0, "edit.words": ""}),
        ("keep-the-look", {"look.start": 0.0, "look.end": 1.0, "look.words": ""}),
        ("change-words", {}),
    ],
)
def test_with_equal_prompts_before_and_after_are_one_picture(
    engine: Engine, name: str, settings: dict[str, Any]
) -> None:
    same = {"before.text": OLD, "prompt.text": OLD}
    made = engine.run(small(name, **settings, **same)).outputs
    before, after = (made[node]["image"].pixels.astype(int) for node in ("save_before", "save"))
    assert np.abs(before - after).max() <= 1


def test_another_prompt_in_all_blocks_and_the_summary_is_the_other_picture(engine: Engine) -> None:
    led = engine.run(small("change-words", **{"change.pooled": "words"})).outputs
    plain = engine.run(small("text-to-image", **{"prompt.text": NEW})).outputs
    assert np.abs(led["save"]["image"].pixels.astype(int) - plain["save"]["image"].pixels).max() <= 1


def test_nasa_says_its_warning_on_the_node_and_in_the_run(engine: Engine) -> None:
    assert "grey or noisy" in ready_workflow("avoid-nasa").node("avoid").title
    report = engine.run(small("avoid-nasa"), use_cache=False)
    assert WARNING in report.nodes["avoid"].warnings
    plain = engine.run(small("avoid-nasa", **{"avoid.alpha": 0.0}), use_cache=False)
    assert plain.nodes["avoid"].warnings == []
    pictures = [run.outputs["save"]["image"].pixels for run in (report, plain)]
    assert not np.array_equal(*pictures)
