"""The See nodes through the real engine: ready workflows, pictures of what was seen, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.graph.context import Context
from studio.graph.document import Graph, loads, to_json
from studio.graph.engine import Engine
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.nodes.see import (
    mask_from_words,
    show_blocks,
    show_estimates,
    show_maps,
    show_mask,
    watch_concepts,
    watch_words,
)
from studio.sampling import samplers
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.schedules import flow
from studio.settings import ROOT
from studio.values import Conditioning, Image, Latent, Mask, Model, Seen, SeenMap

FOLDER = ROOT / "assets" / "workflows"
PROMPT = "a red star and a blue house at night"
MODELS = ("tiny:sd3", "tiny:flux")
FLOWS = {
    "see-words": ("save", "save_maps", "save_blocks"),
    "see-blocks": ("save", "save_chart"),
    "see-concepts": ("save", "save_maps"),
    "estimates": ("save", "save_strip"),
    "mask-from-words": ("save", "save_mask"),
    "mask-to-region": ("save", "save_again"),
}
every_model = pytest.mark.parametrize("ref", MODELS)


@pytest.fixture(scope="module")
def engine(caching_engine: Engine) -> Engine:
    return caching_engine


@cache
def workflow(name: str, ref: str = "tiny:sd3") -> Graph:
    graph = loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    settings: list[tuple[str, str, Any]] = [
        ("model", "model", ref),
        ("canvas", "width", 96),
        ("canvas", "height", 64),
        ("schedule", "steps", 4),
        ("prompt", "text", PROMPT),
    ]
    if name == "mask-to-region":
        settings.append(("layout", "prompt", "a red star and a green tree at night"))
    for node, widget, value in settings:
        graph = graph.set(node, widget, value)
    return graph


def run(engine: Engine, graph: Graph) -> dict[str, Any]:
    report = engine.run(graph)
    assert report.errors == () and report.status == "finished"
    return report.outputs


@pytest.mark.parametrize("name", FLOWS)
def test_the_ready_workflow_fits_the_nodes_there_are(engine: Engine, name: str) -> None:
    graph = loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert not engine.check(graph)
    for shown in graph.exposed:
        kind = engine.registry.get(graph.node(shown.node).kind)
        assert shown.widget in {param.name for param in kind.params}
    assert graph.exposed[0].label == "Prompt"


@every_model
@pytest.mark.parametrize("name", FLOWS)
def test_the_ready_workflow_makes_its_pictures_and_leaves_the_plain_one_as_it_was(
    engine: Engine, name: str, ref: str
) -> None:
    plain = run(engine, workflow("text-to-image", ref))["save"]["image"]
    outputs = run(engine, workflow(name, ref))
    assert set(outputs) == set(FLOWS[name])
    picture = outputs["save"]["image"]
    assert (picture.width, picture.height) == (96, 64)
    if name == "see-concepts":
        assert np.abs(picture.pixels.astype(int) - plain.pixels.astype(int)).max() <= 1
    else:
        assert picture == plain
    for target in FLOWS[name][1:]:
        assert outputs[target]["image"].pixels.std() > 1


@every_model
def test_regions_are_watched_and_their_picture_is_as_it_was(engine: Engine, ref: str) -> None:
    def ready(name: str) -> Graph:
        graph = loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        for node, widget, value in (
            ("model", "model", ref),
            ("canvas", "width", 96),
            ("schedule", "steps", 3),
        ):
            graph = graph.set(node, widget, value)
        return graph

    outputs = run(engine, ready("see-regions"))
    assert outputs["save"]["image"] == run(engine, ready("regions"))["save"]["image"]
    assert outputs["save_maps"]["image"].pixels.std() > 1
    seen = engine.run(ready("see-regions"), ["sample"]).outputs["sample"]["seen"]
    (map,) = seen.maps
    assert map.labels[:4] == ("1 moon", "1: yellow", "1: moon", "1: night") and len(map.labels) == 16
    for range in ("own", "between words", "plain"):
        assert show_maps(seen, of="regions", word="1: moon", range=range).pixels.std() > 1
    with pytest.raises(StudioError, match="'1: hose' was not watched"):
        show_maps(seen, of="regions", word="1: hose")
    graph = ready("see-regions")
    without = [e for e in graph.edges if e.target[0] != "both"]
    first = next(replace(e, target=("both", "first")) for e in graph.edges if e.target == ("both", "second"))
    alone = replace(graph, edges=(*without, first))
    told = [p for p in engine.check(alone) if p.node == "watch"]
    assert [p.socket for p in told] == ["regions"] and "does not lead this run" in told[0].message


@every_model
def test_the_last_estimate_is_the_final_picture_and_the_strip_ends_with_it(engine: Engine, ref: str) -> None:
    graph = workflow("estimates", ref)
    for sampler in ("euler", "heun"):
        for batch in (1, 2):
            chosen = graph.set("sampler", "sampler", sampler).set("canvas", "batch", batch)
            report = engine.run(chosen, ["sample", "strip"])
            made = report.outputs["sample"]
            assert [estimate.step for estimate in made["seen"].estimates] == [0, 1, 2, 3]
            assert torch.equal(made["seen"].estimates[-1].latent, made["latent"].tensor)
            first = made["seen"].estimates[0].latent
            assert first.shape == made["latent"].tensor.shape and not torch.equal(
                first, made["latent"].tensor
            )
    few = engine.run(graph.set("watch", "count", 2), ["sample"]).outputs["sample"]["seen"]
    assert [estimate.step for estimate in few.estimates] == [0, 3]


@every_model
def test_one_panel_for_each_word_and_one_section_for_each_block_and_step(engine: Engine, ref: str) -> None:
    graph = workflow("see-words", ref)
    seen = engine.run(graph, ["sample"]).outputs["sample"]["seen"]
    assert seen.maps[0].labels == ("red", "star", "blue", "house", "night", "other words", "rest of the text")
    sizes = {
        grid: show_maps(seen, grid=grid, word="star, house").width for grid in ("mean", "blocks", "steps")
    }
    blocks = len({map.index for map in seen.maps if map.step >= 0})
    assert blocks == 2  # both of sd3, the middle of the four of flux
    assert sizes["steps"] > sizes["mean"]
    one, two = (show_maps(seen, grid="blocks", word=word).height for word in ("star", "star, house"))
    assert two > 1.6 * one


def test_the_heat_map_lies_over_the_picture_as_told(engine: Engine) -> None:
    outputs = engine.run(workflow("see-words"), ["sample", "decode"]).outputs
    seen, picture = outputs["sample"]["seen"], outputs["decode"]["image"]
    alone = show_maps(seen, picture, word="star", strength=0.0).pixels
    heat = show_maps(seen, picture, word="star", strength=1.0).pixels
    without = show_maps(seen, None, word="star").pixels
    assert np.array_equal(heat, without)
    assert not np.array_equal(alone, heat)
    squares = show_maps(seen, None, word="star", smooth=False).pixels
    body = squares[71 : 71 + 299, 28 : 28 + 448]
    assert len(np.unique(body.reshape(-1, 3), axis=0)) <= 24
    for range in ("own", "between words", "plain"):
        assert not np.array_equal(show_maps(seen, picture, range=range).pixels, alone)


@every_model
def test_a_mask_has_the_size_of_the_picture_and_obeys_its_settings(engine: Engine, ref: str) -> None:
    report = engine.run(workflow("mask-from-words", ref), ["sample", "decode"])
    seen, picture = report.outputs["sample"]["seen"], report.outputs["decode"]["image"]
    ctx = Context()
    plain = mask_from_words(seen, picture, "house", ctx=ctx)
    assert (plain.width, plain.height) == (96, 64)
    assert set(np.unique(plain.values)) <= {0.0, 1.0} and 0 < plain.values.mean() < 1
    every = mask_from_words(seen, picture, "house", pick="all", ctx=ctx)
    assert bool((every.values >= plain.values).all())
    grown = mask_from_words(seen, picture, "house", grow=5, ctx=ctx)
    assert bool((grown.values >= plain.values).all()) and grown.values.sum() > plain.values.sum()
    soft = mask_from_words(seen, picture, "house", soften=8, ctx=ctx)
    assert len(np.unique(soft.values)) > 8
    corner = mask_from_words(seen, picture, "house", pick="point", x=0.0, y=0.0, ctx=ctx)
    assert corner.values.sum() > 0
    squares = mask_from_words(seen, picture, "house", smooth=False, ctx=ctx).values
    side = 64 // seen.maps[0].values.shape[1]
    assert np.array_equal(
        squares, np.kron(squares[side // 2 :: side, side // 2 :: side], np.ones((side, side)))
    )
    both = mask_from_words(seen, picture, "star, house", ctx=ctx)
    assert both != plain
    assert mask_from_words(seen, picture, "house", amount=0.5, follow=False, ctx=ctx) == plain
    more = mask_from_words(seen, picture, "house", pick="all", amount=0.8, ctx=ctx)
    assert bool((more.values >= every.values).all()) and more.values.sum() > every.values.sum()
    less = mask_from_words(seen, picture, "house", grow=-2, ctx=ctx)
    assert bool((less.values <= plain.values).all()) and less.values.sum() < plain.values.sum()
    along = mask_from_words(seen, picture, "house", follow=True, ctx=ctx)
    assert along.values.shape == plain.values.shape and 0 < along.values.mean() < 1


def test_a_mask_along_edges_without_its_picture_is_refused_at_the_check(engine: Engine) -> None:
    data = to_json(workflow("mask-from-words").set("mask", "follow", True))
    data["edges"] = [edge for edge in data["edges"] if edge["to"] != ["mask", "image"]]  # type: ignore[union-attr]
    told = [p for p in engine.check(loads(json.dumps(data))) if p.node == "mask"]
    assert [(p.socket, p.stage) for p in told] == [("image", "required")] and "gives Image" in told[0].hint


def test_pictures_of_a_batch_have_maps_and_masks_of_their_own(engine: Engine) -> None:
    graph = workflow("mask-from-words").set("canvas", "batch", 2)
    report = engine.run(graph, ["sample", "decode"])
    seen, picture = report.outputs["sample"]["seen"], report.outputs["decode"]["image"]
    first, second = (mask_from_words(seen, picture, "house", picture=k, ctx=Context()) for k in (0, 1))
    assert first != second
    with pytest.raises(StudioError, match="no picture 2; the run made 2"):
        mask_from_words(seen, picture, picture=2, ctx=Context())


@pytest.mark.parametrize(("covered", "warned"), [(3, 0), (15, 1)])
def test_a_word_that_is_everywhere_is_warned_about(covered: int, warned: int) -> None:
    values = torch.full((1, 4, 4, 3), 0.2)
    values[0, ..., 0] = 0.1
    values.view(16, 3)[:covered, 0] = 0.9
    seen = Seen((SeenMap("word_maps", "cond", values, labels=("tree", "other words", "rest of the text")),))
    told: list[str] = []
    picture = Image(np.zeros((64, 64, 3), np.uint8))
    mask = mask_from_words(seen, picture, "tree", smooth=False, ctx=Context(reporter=Told(told)))
    assert mask.values.mean() == covered / 16
    assert len(told) == warned and all("'tree' covers 94%" in text for text in told)


class Told:
    """A reporter that writes warnings down."""

    def __init__(self, told: list[str]) -> None:
        self.warn = told.append

    def note(self, key: str, value: object) -> None:
        json.dumps(value)


def test_the_shown_mask_keeps_the_inside_and_pales_the_outside() -> None:
    rng = np.random.default_rng(1)
    picture = Image(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    values = np.zeros((40, 60), np.float32)
    values[10:30, 20:40] = 1
    shown = show_mask(picture, Mask(values)).pixels
    assert np.array_equal(shown[10:30, 20:40], picture.pixels[10:30, 20:40])
    assert shown[0:5, 0:10].mean() > 150 and np.ptp(shown[0, 0].astype(int)) <= 8
    with pytest.raises(StudioError, match="60x40"):
        show_mask(picture, Mask(values[:, :30]))


def test_the_chart_s_table_is_noted_in_the_record(engine: Engine) -> None:
    report = engine.run(workflow("see-blocks"), ["chart"], use_cache=False)
    table = report.nodes["chart"].notes["blocks"]
    assert len(table) == 8 and json.loads(json.dumps(table)) == table
    assert table[0]["t2i"] + table[0]["i2i"] == pytest.approx(1, abs=1e-6)


# refused


@pytest.mark.parametrize(
    ("words", "hint"),
    [("sta", "'star'"), ("star, hous", "'house'"), ("red house", "'red, house'"), ("dragon", "red")],
)
def test_a_word_that_is_not_in_the_prompt_is_refused_before_anything_runs(
    engine: Engine, words: str, hint: str
) -> None:
    problems = engine.check(workflow("see-words").set("watch", "words", words))
    assert [(p.node, p.socket, p.level) for p in problems] == [("watch", "words", "error")]
    assert "is not in the prompt" in problems[0].message and hint in problems[0].hint


@pytest.mark.parametrize(
    ("name", "widget", "value"),
    [
        ("see-words", "blocks", "one"),
        ("see-words", "start", 1.0),
        ("see-blocks", "blocks", "7-3"),
        ("see-concepts", "end", 0.0),
    ],
)
def test_settings_that_choose_nothing_are_refused_before_anything_runs(
    engine: Engine, name: str, widget: str, value: object
) -> None:
    problems = engine.check(workflow(name).set("watch", widget, value))
    assert [p.node for p in problems] == ["watch"] and problems[0].hint


def test_a_block_that_the_model_lacks_is_refused_with_those_it_has(engine: Engine) -> None:
    report = engine.run(workflow("see-words").set("watch", "blocks", "0-9"))
    assert report.errors[0].node == "watch" and "0 to 1" in report.errors[0].hint


@pytest.mark.parametrize("ref", MODELS)
@pytest.mark.parametrize(
    ("written", "measured", "watched"),
    [
        ("", [1], {"tiny:sd3": (1,), "tiny:flux": (1,)}),
        ("", [99], {"tiny:sd3": (0, 1), "tiny:flux": (1, 2)}),
        ("", None, {"tiny:sd3": (0, 1), "tiny:flux": (1, 2)}),
        ("all", [1], {"tiny:sd3": (0, 1), "tiny:flux": (0, 1, 2, 3)}),
    ],
)
def test_words_are_watched_where_the_card_says_and_the_picture_is_the_same(
    store: ModelStore, ref: str, written: str, measured: list[int] | None, watched: dict[str, tuple[int, ...]]
) -> None:
    card = {} if measured is None else {"calibrations": {"map_blocks": {"scenes": {"chosen": measured}}}}
    model = replace(store.load(ref), card=card)
    parts = parts_of(model)
    old, empty = (encode_prompt(parts, text, "it")[0] for text in (PROMPT, ""))
    control = watch_words(model, old, "star", written, every=True, spread=0)

    def painted(*controls: Any) -> Run:
        canvas = Latent(64, 64, 1, 3)
        return sample_run(
            parts, old, empty, canvas, flow(3, 3.0), samplers.sampler("euler"), cfg(2.0), attachments=controls
        )

    looked, plain = painted(control), painted()
    assert {seen.index for seen in looked.seen.maps if seen.step >= 0} == set(watched[ref])
    assert looked.latent.tensor is not None and plain.latent.tensor is not None
    assert torch.equal(looked.latent.tensor, plain.latent.tensor)


def test_the_ready_workflow_watches_the_best_blocks_alone() -> None:
    graph = loads((FOLDER / "see-words.json").read_text(encoding="utf-8"))
    assert graph.node("watch").widgets["blocks"] == ""


@pytest.fixture
def model(store: ModelStore) -> Model:
    return store.load("tiny:sd3")


def conditioning(engine: Engine) -> Conditioning:
    found = engine.run(workflow("text-to-image"), ["prompt"]).outputs["prompt"]["conditioning"]
    assert isinstance(found, Conditioning)
    return found


def test_the_words_of_a_prompt_are_found_as_they_are_written(engine: Engine, model: Model) -> None:
    positive = conditioning(engine)
    control: Any = watch_words(model, positive, "RED STAR, house")
    assert control.labels[:2] == ("red star", "house") and len(control.words[0].tokens) == 2
    assert control.where.blocks and control.technique == "word_maps"
    with pytest.raises(StudioError, match="'hose' is not in the prompt"):
        watch_words(model, positive, "hose")


def test_looking_at_what_nobody_watched_says_what_to_connect(model: Model) -> None:
    picture = Image(np.zeros((8, 8, 3), np.uint8))
    for call in (
        lambda: show_maps(Seen()),
        lambda: show_maps(Seen(), of="concepts"),
        lambda: show_blocks(Seen(), ctx=Context()),
        lambda: show_estimates(model, Seen(), ctx=Context()),
        lambda: mask_from_words(Seen(), picture, ctx=Context()),
    ):
        with pytest.raises(StudioError) as caught:
            call()
        assert "Watch" in caught.value.hint and caught.value.socket == "seen"


def test_a_word_that_was_not_watched_and_a_grid_that_was_not_kept_are_refused(engine: Engine) -> None:
    seen = engine.run(workflow("mask-from-words"), ["sample"]).outputs["sample"]["seen"]
    with pytest.raises(StudioError, match="'hous' was not watched") as caught:
        show_maps(seen, word="hous")
    assert "'house'" in caught.value.hint
    with pytest.raises(StudioError, match="Only the mean") as caught:
        show_maps(seen, grid="steps")
    assert "every" in caught.value.hint


def test_concepts_that_the_model_does_not_know_are_warned_about(model: Model) -> None:
    told: list[str] = []

    control: Any = watch_concepts(model, "star, dragon", ctx=Context(reporter=Told(told)))
    assert control.labels == ("star", "dragon")
    assert any("dragon" in text for text in told)
    with pytest.raises(StudioError, match="one alone"):
        watch_concepts(model, "star, ,", ctx=Context())
