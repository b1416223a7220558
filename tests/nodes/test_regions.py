"""Layouts, regions, word weights and avoiding through the real engine."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from studio.controls.negative import Nag
from studio.controls.regional import Regional
from studio.errors import StudioError
from studio.graph.cache import Cache
from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node, dumps, loads
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.models.device import guard
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt as encode
from studio.nodes.avoid import nag, nasa
from studio.nodes.emphasis import emphasised_prompt
from studio.nodes.regions import add_region, layout, painted_mask, regional_prompts
from studio.nodes.words import weighted_prompt, word_weight
from studio.pixels import encode as to_bytes
from studio.settings import ROOT
from studio.values import Image, Layout, Mask, Region

MODULES = [
    f"studio.nodes.{path.stem}"
    for path in sorted((ROOT / "studio" / "nodes").glob("*.py"))
    if path.stem != "__init__"
]
READY = ("regions", "word-weight", "avoid-without-cfg")
TWO = [
    {"id": "a", "prompt": "a red star", "box": [0, 0, 0.5, 1]},
    {"id": "b", "prompt": "a blue ring", "box": [0.5, 0, 1, 1]},
]


def stroke() -> Image:
    """White paint on nothing, in the upper left."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :4] = 255
    return Image(pixels)


PAINTED = to_bytes(stroke(), "PNG")
SHA = hashlib.sha256(PAINTED).hexdigest()


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


@pytest.fixture
def engine(registry, store):
    made = Engine(
        registry,
        cache=Cache(),
        codecs=[TensorCodec()],
        guard=guard,
        models=store,
        open_file=lambda sha: PAINTED,
        check_inputs=True,
    )
    yield made
    made.close()


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def model(request, store):
    return store.load(request.param)


class Told(Context):
    """A context that keeps its warnings."""

    def __init__(self, **more):
        super().__init__(open_file=lambda sha: PAINTED, **more)
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def ready(name):
    graph = loads((ROOT / "assets" / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    for widget, value in (("width", 64), ("height", 64)):
        graph = graph.set("canvas", widget, value)
    return graph.set("schedule", "steps", 3).set("model", "model", "tiny:sd3")


@pytest.mark.parametrize("name", READY)
def test_ready_workflows_fit_the_nodes_there_are_and_run(engine, registry, name):
    whole = loads((ROOT / "assets" / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    assert not engine.check(whole) and loads(dumps(whole)).hash == whole.hash
    assert whole.node("model").widgets["model"] == "embedded:scenes-sd3"
    for shown in whole.exposed:
        kind = registry.get(whole.node(shown.node).kind)
        assert shown.widget in {param.name for param in kind.params}
    first = engine.run(ready(name))
    assert first.status == "finished"
    assert engine.run(ready(name)).ran == ()


@pytest.mark.parametrize(
    ("name", "node", "widget", "value"),
    [
        ("regions", "layout", "regions", []),
        ("word-weight", "prompt", "text", "a red star on the left and a blue house on the right, at night"),
        ("avoid-without-cfg", "avoid", "avoid", ""),
    ],
)
def test_each_technique_set_to_nothing_gives_the_plain_picture(engine, name, node, widget, value):
    graph = ready(name)
    picture = engine.run(graph).outputs["save"]["image"]
    off = engine.run(graph.set(node, widget, value)).outputs["save"]["image"]
    loose = tuple(edge for edge in graph.edges if edge.target != ("sample", "attachments"))
    plain = engine.run(replace(graph, edges=loose).set(node, widget, value)).outputs["save"]["image"]
    assert off == plain and picture != plain


def test_a_layout_is_read_from_its_list_with_painted_masks():
    entry = {
        "id": "m",
        "name": "Moon",
        "prompt": "a ring",
        "negative": "red",
        "shape": "mask",
        "mask": {"file": SHA, "name": "moon.png"},
        "strength": 0.5,
        "start": 0.25,
        "end": 0.75,
        "locked": True,
    }
    made = layout("a scene", [*TWO, entry], "the sky", ctx=Told())
    assert made.prompt == "a scene" and made.background == "the sky"
    assert made.regions[0] == Region("a", "a red star", (0.0, 0.0, 0.5, 1.0))
    moon = made.regions[2]
    assert (moon.name, moon.negative, moon.strength, moon.start, moon.end) == ("Moon", "red", 0.5, 0.25, 0.75)
    assert moon.locked and moon.mask == Mask(np.kron([[1, 0], [0, 0]], np.ones((4, 4))).astype(np.float32))
    # a box stays a box although a mask was painted before
    box = {**entry, "shape": "box", "box": [0, 0, 1, 1]}
    assert layout("", [box], ctx=Told()).regions[0].mask is None


def test_an_empty_mask_is_refused_by_name():
    dark = to_bytes(Image(np.zeros((4, 4, 3), np.uint8)), "PNG")
    context = Context(open_file=lambda sha: dark)
    with pytest.raises(StudioError, match="mask of region 'm' is empty"):
        layout("", [{"id": "m", "mask": {"file": SHA}, "shape": "mask"}], ctx=context)


def test_paint_is_white_and_there():
    grey = np.full((2, 2, 4), 128, np.uint8)
    assert np.allclose(painted_mask(Image(grey)).values, (128 / 255) ** 2, atol=1e-6)
    assert np.allclose(painted_mask(Image(grey[..., :3].copy())).values, 128 / 255, atol=1e-6)


def test_regions_are_added_on_top_with_an_id_of_their_own():
    made = add_region(Layout("w"), "a star", 0, 0, 0.5, 1)
    made = add_region(made, "a ring", mask=Mask(np.ones((2, 2), np.float32)), name="ring")
    made = add_region(made, "a ring", name="ring")
    assert [region.id for region in made.regions] == ["region 1", "ring", "ring (3)"]
    assert made.regions[0].box == (0, 0, 0.5, 1) and made.regions[1].mask is not None
    with pytest.raises(StudioError, match="has no size"):
        add_region(made, "x", 0.5, 0, 0.5, 1)
    with pytest.raises(StudioError, match="never"):
        add_region(made, "x", start=0.5, end=0.5)
    for _ in range(61):
        made = add_region(made, "x")
    with pytest.raises(StudioError, match="64 regions already"):
        add_region(made, "x")


def test_regional_prompts_gives_the_base_prompt_and_the_control(model):
    context = Told()
    made = regional_prompts(model, layout("a scene", TWO, ctx=context), ctx=context)
    control = made.attachment
    assert made.conditioning.text == "a scene" and isinstance(control, Regional)
    assert [text.prompt.text for text in control.regions] == ["a red star", "a blue ring"]
    assert regional_prompts(model, Layout("a scene"), ctx=context).attachment.is_neutral()
    edited = Layout("", (Region("b", "a green boat"),))
    other = regional_prompts(model, layout("a scene", TWO, ctx=context), edited, ctx=context).attachment
    assert other.regions[0].edited is None and other.regions[1].edited.text == "a green boat"


def test_warnings_name_the_region(model):
    context = Told()
    entries = [
        {"id": "a", "name": "Sky", "prompt": "a dragon (star:1.3)", "box": [0, 0, 0.5, 1]},
        {"id": "b", "prompt": "a ring", "box": [0, 0, 1, 1]},
    ]
    regional_prompts(model, layout("a wizard", entries, ctx=context), ctx=context)
    said = "\n".join(context.warnings)
    assert "does not know 'wizard'" in said
    assert "Region 'Sky': " in said and "'dragon'" in said
    assert "Region 'Sky': weights such as" in said
    assert "Region 'Sky' lies wholly under others" in said
    again = Told()
    mute = [{**entries[1], "prompt": " "}, {**entries[0], "name": ""}]
    regional_prompts(model, layout("a wizard", mute, ctx=again), ctx=again)
    said = "\n".join(again.warnings)
    assert "Region 1 has no prompt, so the prompt of the whole picture paints there." in said
    assert "Region 2: " in said and "Region 'a'" not in said
    again = Told()
    regional_prompts(model, layout("", entries, ctx=again), overlap="share", ctx=again)
    assert not any("wholly" in text for text in again.warnings)


def test_the_run_says_what_of_an_edited_layout_nobody_reads(model):
    plain = Layout("a red star", (Region("a", "a star"), Region("b", "a ring", (0.0, 0.0, 0.5, 1.0))))
    context = Told()
    emptied = replace(plain, regions=(replace(plain.regions[0], prompt=""), plain.regions[1]))
    control = regional_prompts(model, plain, emptied, ctx=context).attachment
    assert [text.emptied for text in control.regions] == [True, False] and not context.warnings
    moved = replace(plain.regions[1], box=(0.0, 0.0, 1.0, 1.0), strength=0.5)
    other = replace(plain, regions=(moved,), background="the sea")
    regional_prompts(model, plain, other, ctx=context)
    assert any("region 'b'" in text and "not its box and strength" in text for text in context.warnings)
    assert any("background of the edited layout" in text for text in context.warnings)


def test_a_prompt_without_weights_is_bit_equal_and_one_with_weights_is_the_plain_one_and_a_control(model):
    context = Told()
    plain, _, _ = encode(parts_of(model), "a red star (small)", model.title)
    made = weighted_prompt(model, "a red star (small)", ctx=context)
    assert made.attachment.is_neutral() and made.conditioning.text == plain.text
    assert (made.conditioning.embeds == plain.embeds).all()
    weighed = weighted_prompt(model, "a (red (star:1.5):2) on the left", ctx=context)
    assert weighed.conditioning.text == "a red star on the left"
    control = weighed.attachment
    assert [(span.text, weight) for span, weight in control.words] == [("red", 2.0), ("star", 3.0)]
    assert not control.is_neutral()


def test_an_emphasised_prompt_without_weights_is_bit_equal_and_with_them_says_so(model):
    plain, _, _ = encode(parts_of(model), "a red star (small)", model.title)
    made = emphasised_prompt(model, "a red star (small)", ctx=Told())
    assert (made.text, made.family) == (plain.text, plain.family)
    assert (made.embeds == plain.embeds).all() and (made.pooled == plain.pooled).all()
    context = Told()
    weighed = emphasised_prompt(model, "a red (zyxwv star:1.5) (small)", ctx=context)
    assert weighed.text == "a red zyxwv star (small)" and not (weighed.embeds == plain.embeds).all()
    assert any("'zyxwv'" in text for text in context.warnings)


def test_word_weight_finds_its_words_in_every_encoder(model):
    positive = weighted_prompt(model, "a red star and a red ring", ctx=Told()).conditioning
    assert word_weight(model, positive).is_neutral()
    ((span, weight),) = word_weight(model, positive, "red", 2.0).words
    assert weight == 2.0 and span.tokens == tuple(sorted(span.tokens)) and len(span.tokens) >= 2
    with pytest.raises(StudioError, match="'rde'") as raised:
        word_weight(model, positive, "rde", 2.0)
    assert "red" in raised.value.hint


def test_avoiding_takes_the_negative_texts_of_a_layout(model):
    context = Told()
    parts = (Region("a", "x", negative="red"), Region("b", "y"), Region("c", "z", negative="a wizard"))
    control = nag(model, "blue", Layout("w", parts), ctx=context)
    assert isinstance(control, Nag) and control.negative.text == "blue"
    assert [(region.id, text.text) for region, text in control.regions] == [("a", "red"), ("c", "a wizard")]
    assert any("Region 3: " in text for text in context.warnings)
    assert nag(model, ctx=context).is_neutral() and nasa(model, ctx=context).is_neutral()
    for made in (nag, nasa):
        ways = made(model, "blue", ctx=context), made(model, "blue", overlap="share", ctx=context)
        assert [way.overlap for way in ways] == ["order", "share"]
    quiet = Told()
    nasa(model, ctx=quiet)
    assert quiet.warnings == []
    nasa(model, "red", ctx=quiet)
    assert any("NAG does the same" in text for text in quiet.warnings)


@pytest.mark.parametrize(
    ("kind", "widgets", "socket", "what"),
    [
        ("layout", {"regions": [{"id": "a", "box": [0, 0, 2, 1]}]}, "regions", "leaves the canvas"),
        (
            "layout",
            {"regions": [{"id": str(i), "box": [0, 0, 1, 1]} for i in range(1000)]},
            "regions",
            "1,000",
        ),
        ("add_region", {"left": 0.5, "right": 0.5}, "", "has no size"),
        ("regional_prompts", {"start": 0.9, "end": 0.1}, "start", "starts at 0.9 and ends at 0.1"),
        ("regional_prompts", {"mode": "opne"}, "mode", "not one of the choices"),
        ("nag", {"start": 0.9, "end": 0.1}, "start", "starts at 0.9"),
        ("weighted_prompt", {"text": "a (star:1,3)"}, "text", "is not a weight"),
        ("emphasised_prompt", {"text": "a (star:1,3)"}, "text", "is not a weight"),
        ("emphasised_prompt", {"text": "a star (,:2)"}, "text", "no word in it"),
        ("emphasised_prompt", {"text": "a star " * 20 + "(moon:2)"}, "text", "past the token limit"),
        ("word_weight", {"weight": 9}, "weight", "out of range"),
    ],
)
def test_bad_settings_are_found_before_anything_runs(engine, registry, kind, widgets, socket, what):
    spec = registry.get(kind)
    makers = {"Model": "load_model", "Layout": "layout", "Conditioning": "encode_prompt"}
    nodes, edges = {"it": Node("it", kind, widgets, kind_version=spec.version)}, []
    for wanted in spec.inputs:
        if wanted.required:
            maker = makers[wanted.type]
            nodes[maker] = Node(maker, maker, {"model": "tiny:sd3"} if maker == "load_model" else {})
            edges.append(Edge((maker, registry.get(maker).outputs[0].name), ("it", wanted.name)))
    if "encode_prompt" in nodes:
        edges.append(Edge(("load_model", "model"), ("encode_prompt", "model")))
        nodes.setdefault("load_model", Node("load_model", "load_model", {"model": "tiny:sd3"}))
    problems = [
        p for p in engine.check(Graph(tuple(nodes.values()), tuple(edges)), ["it"]) if p.level == "error"
    ]
    assert [(p.node, p.socket) for p in problems] == [("it", socket)]
    assert what in problems[0].message and problems[0].hint


def test_a_word_that_the_prompt_does_not_have_is_found_before_anything_runs(engine):
    graph = ready("word-weight")
    nodes = (*graph.nodes, Node("w", "word_weight", {"words": "wizard", "weight": 2.0}))
    nodes = (*nodes, Node("plain", "encode_prompt", {"text": "a red star"}))
    edges = [
        edge
        for edge in graph.edges
        if edge.target[0] != "sample" or edge.target[1] not in ("positive", "attachments")
    ]
    edges += [
        Edge(("model", "model"), ("plain", "model")),
        Edge(("model", "model"), ("w", "model")),
        Edge(("plain", "conditioning"), ("w", "positive")),
        Edge(("plain", "conditioning"), ("sample", "positive")),
        Edge(("w", "attachment"), ("sample", "attachments")),
    ]
    problems = engine.check(replace(graph, nodes=nodes, edges=tuple(edges)), ["save"])
    assert [(p.node, p.socket) for p in problems if p.level == "error"] == [("w", "words")]


def test_a_plain_prompt_with_weights_is_told_which_node_reads_them(engine, model):
    from studio.nodes.prompt import encode_prompt

    context = Told()
    made = encode_prompt(model, "a (star:1.3)", ctx=context)
    assert made.text == "a (star:1.3)" and any("Emphasised prompt" in text for text in context.warnings)
    quiet = Told()
    encode_prompt(model, "a star, night", ctx=quiet)
    assert quiet.warnings == []
