"""Attachments that cannot be in one run together are told when the graph is checked, exactly where the run
would refuse them, in the words of the nodes; and what may be there twice runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from studio.controls.control import AttentionControl
from studio.controls.region_texts import make_regional
from studio.errors import StudioError
from studio.graph.document import Graph
from studio.graph.engine import Engine
from studio.graph.problem import Problem
from studio.models.family import parts_of
from studio.models.text import encode_prompt
from studio.models.words import segment_conditioning
from studio.nodes.edit import change_words, edit_by_prompt, keep_subject
from studio.nodes.edit_picture import inject_values
from studio.sampling.guidance.cfg import cfg
from studio.sampling.inversion import invert, inverted
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Conditioning, Inversion, Latent, Layout, Model, Region
from tests.nodes.wired import NEW, OLD, STEPS, Made, graph

BOXES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
SAID = ("a green star", "a blue house")

EDIT = {"source": "old.conditioning", "target": "new.conditioning"}
LED = {"model": "model.model", "positive": "new.conditioning"}
WORDS = {"prompt": "new.conditioning", "words": "old.conditioning"}


def regions(**more: Any) -> list[dict[str, Any]]:
    return [
        {"id": str(i), "prompt": said, "box": list(box), **more}
        for i, (said, box) in enumerate(zip(SAID, BOXES, strict=True))
    ]


def errors(engine: Engine, made: Graph) -> list[Problem]:
    return [problem for problem in engine.check(made) if problem.level == "error"]


def edit(**widgets: Any) -> Made:
    return "edit", "edit_by_prompt", {"eta": 0.0, **widgets}, {"model": "model.model", **EDIT}


def painted(**widgets: Any) -> tuple[Made, Made]:
    own = widgets.pop("regions", regions())
    layout = "layout", "layout", {"prompt": NEW, "regions": own}, {}
    return layout, (
        "regions",
        "regional_prompts",
        widgets,
        {"model": "model.model", "layout": "layout.layout"},
    )


class Bench:
    """The same runs by hand, without a check."""

    def __init__(self, engine: Engine) -> None:
        self.model: Model = engine.models.load("tiny:sd3")
        self.parts = parts_of(self.model)
        self.old, self.new, self.none = (self.text(said) for said in (OLD, NEW, ""))

    def text(self, said: str) -> Conditioning:
        return encode_prompt(self.parts, said, "it")[0]

    def inverted(self) -> Inversion:
        picture = Latent(64, 64, 1, 3)
        run = sample_run(
            self.parts, self.old, self.none, picture, flow(STEPS, 3.0), sampler("midpoint"), cfg(1.0)
        )
        return invert(
            self.parts, self.old, self.none, run.latent, flow(STEPS, 3.0), keep_values=2, keep_from=0.5
        )

    def refusal(
        self, *controls: AttentionControl, canvas: Latent | None = None, name: str = "euler"
    ) -> list[str]:
        try:
            sample_run(
                self.parts,
                self.new,
                self.none,
                canvas or Latent(64, 64, 1, 3),
                flow(STEPS, 3.0),
                sampler(name),
                cfg(3.0),
                attachments=controls,
            )
        except StudioError as error:
            return [f"{error.message} {error.hint}"]
        return []


@pytest.fixture(scope="module")
def bench(engine: Engine) -> Bench:
    return Bench(engine)


def said(problems: Sequence[Problem]) -> list[str]:
    return [f"{problem.message} {problem.hint}" for problem in problems]


@pytest.mark.parametrize("block", ["none", "T2I", "I2I"])
@pytest.mark.parametrize(
    ("shown", "own"),
    [
        ({}, {}),
        ({"start": 0.4}, {}),
        ({"end": 0.2}, {}),
        ({}, {"start": 0.4}),
        ({}, {"strength": 0.0}),
        ({"mode": "strict", "base_ratio": 0.5, "single_every": 2}, {}),
    ],
)
def test_an_edit_by_a_block_of_the_scores_and_regions_are_refused_exactly_where_they_meet(
    engine: Engine, bench: Bench, block: str, shown: dict[str, Any], own: dict[str, Any]
) -> None:
    made = graph(
        edit(tau=0.4, block=block),
        *painted(regions=regions(**own), **shown),
        attach=("edit.attachments", "regions.attachment"),
        sample__positive="regions.conditioning",
    )
    boxes = zip(SAID, BOXES, strict=True)
    layout = Layout(NEW, tuple(Region(str(i), said, box, **own) for i, (said, box) in enumerate(boxes)))
    control = make_regional(layout, lambda text: segment_conditioning(bench.parts, text), **shown)
    edits = edit_by_prompt(bench.model, bench.old, bench.new, tau=0.4, block=block, eta=0.0)
    assert said(errors(engine, made)) == bench.refusal(*edits, control)
    meets = block != "none" and not shown.get("start") and not own
    assert bool(errors(engine, made)) == meets
    if meets:
        (problem,) = errors(engine, made)
        assert "'Edit by prompt' and 'Regions' meet in blocks 0-1, step" in problem.message
        assert "Set the block of the edit to none" in problem.hint


@pytest.mark.parametrize("projection", ["qiki", "qk", "qtki", "qikt", "kivi"])
@pytest.mark.parametrize("other", ["change_words", "keep_subject", "inject_values"])
def test_an_edit_that_copies_more_is_refused_exactly_where_another_writes_the_same(
    engine: Engine, bench: Bench, projection: str, other: str
) -> None:
    edits = edit_by_prompt(bench.model, bench.old, bench.new, tau=0.4, projection=projection, eta=0.0)
    control: Any
    more: tuple[Made, ...]
    canvas, name, settings = None, "euler", {}
    if other == "change_words":
        control = change_words(bench.model, bench.new, bench.old, blocks="0")[1]
        more, out = (("other", other, {"blocks": "0"}, {"model": "model.model", **WORDS}),), "control"
    elif other == "keep_subject":
        made = sample_run(
            bench.parts, bench.old, bench.none, Latent(64, 64), flow(2, 3.0), sampler("euler"), cfg(1.0)
        )
        control = keep_subject(bench.model, made.latent, bench.old)
        inputs = {"model": "model.model", "reference": "first.latent", "description": "old.conditioning"}
        more, out = (("other", other, {}, inputs),), "attachment"
    else:
        kept = bench.inverted()
        canvas, name, control = inverted(kept), "midpoint", inject_values(kept, 1)
        told = {"model": "model.model", "positive": "old.conditioning", "negative": "none.conditioning"}
        told |= {"picture": "first.latent", "sigmas": "steps.sigmas"}
        invert_it = ("invert", "invert_picture", {"keep_values": 2}, told)
        more = (invert_it, ("other", other, {"steps": 1}, {"inversion": "invert.inversion"}))
        settings, out = {"sample__latent": "invert.latent", "sampler__sampler": "midpoint"}, "attachment"
    first = {"sampler": "sampler.sampler", "model": "model.model"}
    first |= {"positive": "old.conditioning", "negative": "none.conditioning", "latent": "canvas.latent"}
    first |= {"sigmas": "steps.sigmas", "guidance": "cfg.guidance"}
    whole = graph(
        edit(tau=0.4, projection=projection),
        ("first", "sample", {}, first),
        *more,
        attach=("edit.attachments", f"other.{out}"),
        **settings,
    )
    raised = bench.refusal(*edits, control, canvas=canvas, name=name)
    for technique, node in (
        ("Words in chosen layers", "Change words in chosen blocks"),
        ("Values from the picture", "Put values back"),
    ):
        raised = [told.replace(technique, node) for told in raised]
    assert said(errors(engine, whole)) == raised
    both = {"change_words": ("qk", "qikt"), "keep_subject": ("qk", "qikt"), "inject_values": ("kivi",)}
    assert bool(errors(engine, whole)) == (projection in both[other])
    assert all("projection of the edit to qiki" in problem.hint for problem in errors(engine, whole))


def test_two_old_pictures_are_refused_with_both_prompts(engine: Engine) -> None:
    other = ("other", "encode_prompt", {"text": "a moon"}, {"model": "model.model"})
    look = {"model": "model.model", "source": "other.conditioning", "target": "new.conditioning"}
    kept = ("look", "keep_look", {"start": 0.4, "end": 0.8}, look)
    made = graph(edit(tau=0.2), other, kept, attach=("edit.attachments", "look.attachment"))
    (problem,) = errors(engine, made)
    assert "'Edit by prompt' and 'Keep the look' have different old pictures" in problem.message
    assert "'a moon'" in problem.message and problem.hint == "Connect one prompt to both."
    assert not errors(
        engine, graph(edit(tau=0.0), other, kept, attach=("edit.attachments", "look.attachment"))
    )


TWICE: dict[str, tuple[Made, ...]] = {
    "look": tuple(
        (f"two{i}", "keep_look", {"start": a, "end": b}, {"model": "model.model", **EDIT})
        for i, (a, b) in enumerate(((0.0, 0.4), (0.4, 0.8)))
    ),
    "weight": tuple(
        (
            f"two{i}",
            "word_weight",
            {"words": "star", "weight": 1.5},
            LED,
        )
        for i in range(2)
    ),
    "blocks": tuple((f"two{i}", "watch_blocks", {}, {}) for i in range(2)),
    "estimates": tuple((f"two{i}", "watch_estimates", {"count": 2}, {}) for i in range(2)),
}


@pytest.mark.parametrize("sort", TWICE)
def test_two_of_a_sort_pass_the_check_and_run(engine: Engine, sort: str) -> None:
    made = graph(*TWICE[sort], attach=("two0.attachment", "two1.attachment"))
    assert errors(engine, made) == []
    assert engine.run(made).status == "finished"


def test_words_watched_by_two_are_known_at_the_check_and_shown(engine: Engine) -> None:
    watches = [
        (f"two{i}", "watch_words", {"words": words}, LED) for i, words in enumerate(("star", "house, star"))
    ]
    show = (
        ("show", "show_maps", {}, {"seen": "sample.seen"}),
        ("shown", "save_image", {}, {"image": "show.image"}),
    )
    attach = ("two0.attachment", "two1.attachment")
    for word in ("", "star", "house", "star (2)"):
        made = graph(*watches, *show, attach=attach, show__word=word)
        assert errors(engine, made) == []
        assert engine.run(made).status == "finished"
    (problem,) = errors(engine, graph(*watches, *show, attach=attach, show__word="moon"))
    assert "star, house, star (2)" in problem.hint


def relayed(*nodes: Made, here: Sequence[str], there: str, **settings: Any) -> Graph:
    inputs = {"sigmas": "steps.sigmas", "attachments": there}
    relay = ("relay", "relay", {"at": 0.4, **settings}, inputs)
    wires = {"sample__sigmas": "relay.sigmas", "sample__wraps": "relay.wrap"}
    return graph(*nodes, relay, attach=here, **wires)


NAG = ("nag", "nag", {"avoid": "red"}, {"model": "model.model"})
NASA = ("nasa", "nasa", {"avoid": "blue"}, {"model": "model.model"})


@pytest.mark.parametrize("node", [NAG, TWICE["weight"][0]])
def test_an_attachment_on_both_sides_of_a_relay_is_refused(engine: Engine, node: Made) -> None:
    out = f"{node[0]}.attachment"
    (problem,) = errors(engine, relayed(node, here=(out,), there=out))
    assert problem.node == "relay" and "is connected to 'Sample' and to 'Relay'" in problem.message
    assert "switch its keep_controls off" in problem.hint
    made = relayed(node, here=(out,), there=out, keep_controls=False)
    assert errors(engine, made) == [] and engine.run(made).status == "finished"


def test_attachments_of_a_relay_must_go_with_those_that_go_on(engine: Engine) -> None:
    (problem,) = errors(engine, relayed(NAG, NASA, here=("nag.attachment",), there="nasa.attachment"))
    assert problem.node == "relay" and "'Avoid (NAG)' and 'Avoid (NASA)' cannot be used" in problem.message
    assert "With keep_controls off those of 'Sample' end with the first part." in problem.hint
    apart = {"here": ("nag.attachment",), "there": "nasa.attachment", "keep_controls": False}
    assert errors(engine, relayed(NAG, NASA, **apart)) == []


@pytest.mark.parametrize(
    ("kind", "own", "path", "message"),
    [
        ("inject_values", 5, 7, "'Put values back' cannot follow 'Invert picture'.*no noise level"),
        ("inject_values", 5, 10, "it has 10 steps, and the run 5"),
        ("follow_picture", 5, 7, "'Follow the picture' cannot follow 'Invert picture'.*no noise level"),
        ("follow_picture", 5, 10, ""),
        ("inject_values", 5, 5, ""),
        ("", 5, 5, "ends at noise level 1, and 'Sample' begins at 0.8"),
    ],
)
def test_an_inverted_picture_on_another_schedule_is_refused_before_it_is_inverted(
    engine: Engine, kind: str, own: int, path: int, message: str
) -> None:
    first = {"model": "model.model", "positive": "old.conditioning", "negative": "none.conditioning"}
    sampled = first | {"latent": "canvas.latent", "sigmas": "steps.sigmas", "guidance": "cfg.guidance"}
    told = first | {"picture": "first.latent", "sigmas": "path.sigmas"}
    nodes: list[Made] = [
        ("first", "sample", {}, sampled | {"sampler": "sampler.sampler"}),
        ("path", "schedule", {"steps": path, "spacing": "flow"}, {}),
        ("invert", "invert_picture", {}, told),
    ]
    attach: tuple[str, ...] = ()
    if kind:
        nodes.append(("held", kind, {}, {"inversion": "invert.inversion"}))
        attach = ("held.attachment",)
    settings = {"sample__latent": "invert.latent", "sampler__sampler": "midpoint", "steps__steps": own}
    late = {} if kind else {"steps__strength": 0.6}
    made = graph(*nodes, attach=attach, **settings, **late)
    found = errors(engine, made)
    if not message:
        assert found == [] and engine.run(made).status == "finished"
        return
    (problem,) = found
    assert (problem.node, problem.socket) == ("sample", "sigmas")
    assert re.search(message, problem.message) and "Connect one Schedule to both" in problem.hint


def test_an_edit_with_a_blend_is_refused_beside_the_nested_sampler(engine: Engine) -> None:
    nested = ("down", "nested_sampler", {}, {})
    for eta, words, refused in ((0.5, "", True), (0.0, "star", False)):
        node = edit(eta=eta, words=words, tau=0.4)
        made = graph(
            node, nested, attach=("edit.attachments",), sample__sampler="down.sampler", steps__steps=8
        )
        found = errors(engine, made)
        assert [(p.node, p.socket) for p in found] == ([("edit", "eta")] if refused else [])
        if refused:
            assert "'Edit by prompt'" in found[0].message and "eta to 0" in found[0].hint
        else:
            assert engine.run(made).status == "finished"


@pytest.mark.parametrize(
    ("shown", "own", "warned"),
    [
        ({"mode": "strict", "base_ratio": 0.0}, {}, True),
        ({"mode": "strict", "base_ratio": 0.2}, {}, False),
        ({"mode": "strict", "base_ratio": 0.0, "end": 0.6}, {}, False),
        ({"mode": "strict", "base_ratio": 0.0}, {"box": [0, 0, 0.5, 1]}, False),
        ({"mode": "open"}, {}, False),
    ],
)
def test_a_weight_that_no_part_of_the_picture_reads_is_a_warning(
    engine: Engine, shown: dict[str, Any], own: dict[str, Any], warned: bool
) -> None:
    weight = TWICE["weight"][0]
    made = graph(
        *painted(regions=regions(**own), borders=1.0, **shown),
        weight,
        attach=("regions.attachment", f"{weight[0]}.attachment"),
        sample__positive="regions.conditioning",
    )
    report = engine.run(made)
    found = [warning for warning in report.warnings if "changed nothing" in str(warning)]
    assert report.status == "finished" and bool(found) == warned
    if warned:
        assert "'Word weight' changed nothing: with 'Regions'" in str(found[0])
