"""The nodes that edit: the ready workflows on the miniature, what they choose, what they refuse."""

from __future__ import annotations

import pkgutil

import numpy as np
import pytest

from studio.controls.blend import Blend
from studio.controls.inject_qk import InjectQK
from studio.errors import StudioError
from studio.graph.cache import Cache
from studio.graph.context import Context
from studio.graph.document import loads
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.models.device import guard
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.nodes.calibrated import best_blocks
from studio.nodes.edit import change_words, changed_words, edit_by_prompt, keep_look, keep_subject
from studio.settings import ROOT
from studio.values import Latent, Mask

FOLDER = ROOT / "studio" / "nodes"
MODULES = [f"studio.nodes.{module.name}" for module in pkgutil.iter_modules([str(FOLDER)])]
OLD, NEW = "a red star on the left", "a blue heart on the left"
WORKFLOWS = {
    "edit-by-prompt": {"before.text": OLD, "prompt.text": NEW},
    "keep-the-look": {"before.text": OLD, "prompt.text": "a star on the right", "look.words": "star"},
    "keep-the-subject": {
        "reference_prompt.text": OLD,
        "prompt.text": NEW,
        "watch.words": "star",
        "cut.word": "star",
    },
}


@pytest.fixture(scope="module")
def registry():
    made = Registry(MODULES)
    assert not made.broken
    return made


@pytest.fixture(scope="module")
def store():
    made = ModelStore(device="cpu")
    yield made
    made.close()


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def model(request, store):
    return store.load(request.param)


@pytest.fixture
def engine(registry, store):
    made = Engine(registry, cache=Cache(), codecs=[TensorCodec()], guard=guard, models=store)
    yield made
    made.close()


def prompt(model, text):
    return encode_prompt(parts_of(model), text, "it")[0]


def document(name, **more):
    graph = loads((ROOT / "assets" / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    settings = {"model.model": "tiny:sd3", "schedule.steps": 5, **WORKFLOWS[name], **more}
    for place in [node.id for node in graph.nodes if node.kind == "empty_latent"]:
        settings |= {f"{place}.width": 64, f"{place}.height": 64}
    for path, value in settings.items():
        graph = graph.set(*path.split("."), value)
    return graph


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_ready_workflow_fits_its_nodes_and_makes_a_picture_of_its_own(name, engine, registry):
    graph = loads((ROOT / "assets" / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    assert not engine.check(graph)
    for shown in graph.exposed:
        assert shown.widget in {param.name for param in registry.get(graph.node(shown.node).kind).params}
    made = engine.run(document(name))
    assert made.status == "finished", made.errors
    again = engine.run(document(name))
    assert {node.state for node in again.nodes.values()} == {"cached"}
    off = {"edit-by-prompt": {"edit.tau": 0.0, "edit.eta": 0.0}, "keep-the-look": {"look.end": 0.04}}
    plain = engine.run(document(name, **off.get(name, {"subject.strength": 0.0})))
    pictures = [run.outputs["save"]["image"].pixels for run in (made, plain)]
    assert not np.array_equal(*pictures)


def test_the_edit_finds_the_words_that_differ_and_its_blocks(model):
    edit, blend = edit_by_prompt(model, prompt(model, OLD), prompt(model, NEW))
    assert isinstance(edit, InjectQK) and isinstance(blend, Blend)
    # red star -> blue heart: one place each
    assert [span.text for span in blend.source_words] == ["red star"]
    assert [span.text for span in blend.target_words] == ["blue heart"]
    assert blend.max_pool == (model.family == "sd3")
    assert blend.sites and edit.sites is None and edit.few_step_sites
    chosen = edit_by_prompt(model, prompt(model, OLD), prompt(model, NEW), blocks="0", look_at="1")
    assert chosen[0].sites == (0,) and chosen[1].sites == (1,)


def test_equal_prompts_have_nothing_to_blend(model):
    assert len(edit_by_prompt(model, prompt(model, OLD), prompt(model, OLD))) == 1


def test_neighbours_share_an_entry_and_fillers_are_left_out(model):
    parts = parts_of(model)
    before, after = changed_words(parts, "a red star and a boat", "the small blue star and a fish")
    assert [span.text for span in before] == ["red", "boat"]
    assert [span.text for span in after] == ["small blue", "fish"]
    only = changed_words(parts, "a star", "the star")
    assert [span.text for span in only[0]] == ["a"] and [span.text for span in only[1]] == ["the"]


def test_named_words_are_looked_for_in_both_prompts(model):
    before, after = changed_words(parts_of(model), OLD, NEW, "star, left")
    assert [span.text for span in before] == ["star", "left"]
    assert [span.text for span in after] == ["left"]


def test_a_word_in_neither_prompt_is_refused_with_the_nearest(model):
    with pytest.raises(StudioError, match=r"neither prompt.*Did you mean 'heart'") as caught:
        edit_by_prompt(model, prompt(model, OLD), prompt(model, NEW), words="heat")
    assert caught.value.socket == "words"
    with pytest.raises(StudioError, match="is not in the prompt"):
        keep_look(model, prompt(model, OLD), prompt(model, NEW), words="boat")


@pytest.mark.parametrize("socket", ["blocks", "look_at"])
def test_blocks_outside_the_model_are_refused_with_its_range(model, socket):
    with pytest.raises(StudioError, match=r"no block 80.*numbered from 0 to") as caught:
        edit_by_prompt(model, prompt(model, OLD), prompt(model, NEW), **{socket: "0, 80"})
    assert caught.value.socket == socket


def test_block_lists_that_nobody_can_read_are_refused_before_anything_runs(engine):
    problems = engine.check(document("edit-by-prompt", **{"edit.blocks": "first ten"}))
    assert [(p.node, p.socket) for p in problems] == [("edit", "blocks")]


def test_the_look_is_kept_whole_or_apart(model):
    old, new = prompt(model, OLD), prompt(model, "a small star on the left")
    whole, apart = keep_look(model, old, new), keep_look(model, old, new, words="star")
    assert not whole.masked and apart.masked
    assert apart.source_words.text == apart.target_words.text == "star" and apart.map_sites
    renamed = keep_look(model, old, prompt(model, NEW), words="star", new_words="heart")
    assert renamed.target_words.text == "heart"


def test_a_reference_is_one_encoded_picture(model):
    with pytest.raises(StudioError, match="empty canvas"):
        keep_subject(model, Latent(64, 64), prompt(model, OLD))
    parts = parts_of(model)
    import torch

    filled = Latent(64, 64, 2, 4).with_tensor(torch.ones(parts.family.latent_shape(parts, 2, 64, 64)), "x")
    made = keep_subject(model, filled, prompt(model, OLD), Mask(np.zeros((8, 8), np.float32)), text_scale=1.0)
    assert made.picture.shape[0] == 1 and made.is_neutral()


def test_other_words_speak_where_they_are_told(model):
    old, new = prompt(model, OLD), prompt(model, NEW)
    made = change_words(model, old, new, blocks="0-1")
    assert made.prompt is old and made.control.sites == (0, 1)
    led = change_words(model, old, new, pooled="words").prompt
    assert led.pooled is new.pooled and led.embeds is old.embeds


def test_best_blocks_are_what_was_measured(store, model):
    measured = {"map_blocks": {"chosen": [1, 0]}, "localiser": {"best": [1]}}

    class Home(ModelStore):
        def calibration(self, model, kind, key):
            return measured[kind] if key in ("scenes", "colour") else None

    home = Home(device="cpu")
    assert best_blocks(model, ctx=Context(models=home)) == "1, 0"
    assert best_blocks(model, "colour", ctx=Context(models=home)) == "1"
    assert best_blocks(model, "place", ctx=Context(models=home)) == ""
    assert best_blocks(model, ctx=Context(models=store)) == ""


def test_the_store_asks_its_home_first_and_then_the_card(model, tmp_path):
    asked = []

    def kept(digest, kind, key):
        asked.append((digest, kind, key))
        return {"chosen": [5]} if key == "scenes" else None

    store = ModelStore(device="cpu", calibrations=kept)
    assert store.calibration(model, "map_blocks", "scenes") == {"chosen": [5]}
    assert store.calibration(model, "map_blocks", "other") is None
    assert asked[0] == (model.digest, "map_blocks", "scenes")


def test_all_means_every_block_and_nothing_means_the_usual_ones(model):
    old, new = prompt(model, OLD), prompt(model, NEW)
    count = 2 if model.family == "sd3" else 4
    every = tuple(range(count))
    assert change_words(model, old, new, blocks="all").control.sites == every
    assert keep_look(model, old, new, blocks="all").sites == every
    assert len(change_words(model, old, new).control.sites) == 1
    assert keep_look(model, old, new).sites == every[count // 2 :], "the later half"
