"""Guidance that cannot work is refused when the graph is checked: sampler, model, inner rule, blocks."""

from __future__ import annotations

from typing import Any

import pytest

from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine


def graph(
    rules: list[tuple[str, dict[str, Any]]],
    *,
    model: str = "tiny:sd3",
    sampler: str = "euler",
    sockets: tuple[str, ...] = ("guidance",),
    more: tuple[tuple[Node, str, str], ...] = (),
) -> Graph:
    """A run whose guidance is a chain of rules, the outermost first; `more`: (node, socket, of whom)."""
    nodes = {
        "model": Node("model", "load_model", {"model": model}),
        "prompt": Node("prompt", "encode_prompt", {"text": "a red star"}),
        "canvas": Node("canvas", "empty_latent", {"width": 64, "height": 64}),
        "schedule": Node("schedule", "schedule", {"steps": 5}),
        "sampler": Node("sampler", "choose_sampler", {"sampler": sampler}),
        "sample": Node("sample", "sample", {}),
    }
    edges = [
        Edge(("model", "model"), ("prompt", "model")),
        Edge(("model", "model"), ("sample", "model")),
        Edge(("prompt", "conditioning"), ("sample", "positive")),
        Edge(("prompt", "conditioning"), ("sample", "negative")),
        Edge(("canvas", "latent"), ("sample", "latent")),
        Edge(("schedule", "sigmas"), ("sample", "sigmas")),
        Edge(("sampler", "sampler"), ("sample", "sampler")),
    ]
    below, socket = "sample", "guidance"
    for number, (kind, settings) in enumerate(rules):
        id = f"rule{number}"
        nodes[id] = Node(id, kind, settings)
        edges.append(Edge((id, "guidance"), (below, socket)))
        below, socket = id, sockets[min(number, len(sockets) - 1)]
        if kind == "linear_guidance":
            fed = (("model", "model", "model"), ("prompt", "conditioning", "negative"))
            fed += (("canvas", "latent", "latent"), ("schedule", "sigmas", "sigmas"))
            edges += [Edge((source, out), (id, name)) for source, out, name in fed]
    for node, output, place in more:
        nodes[node.id] = node
        edges.append(Edge((node.id, output), tuple(place.split("."))))  # type: ignore[arg-type]
    return Graph(tuple(nodes.values()), tuple(edges))


def problems(engine: Engine, made: Graph, level: str = "error") -> list[str]:
    return [p.message for p in engine.check(made, ["sample"]) if p.level == level]


CFG = ("cfg", {"cfg_scale": 3.0})
ALONE = ("cfg", {"cfg_scale": 1.0})


@pytest.mark.parametrize(
    ("rules", "settings", "words"),
    [
        ([("cfg_plus_plus", {})], {"sampler": "heun"}, "needs the sampler euler, not heun"),
        ([("linear_guidance", {})], {"sampler": "dpmpp_2m"}, "needs the sampler euler"),
        ([("reflected_guidance", {}), CFG], {"sampler": "heun", "sockets": ("strong",)}, "sampler euler"),
        (
            [("adaptive_guidance", {}), ("cfg_plus_plus", {})],
            {"sampler": "unipc"},
            "needs the sampler euler, not unipc",
        ),
        *(
            ([(kind, {})], {"model": "tiny:flux"}, "guidance distilled into the network")
            for kind in ("cfg_plus_plus", "apg", "cfg_zero", "linear_guidance", "residual_guidance")
        ),
        ([("embedded_guidance", {})], {}, "takes no guidance number"),
        ([("cfg", {"guidance": 3.0})], {}, "takes no guidance number"),
        ([("skip_layer_guidance", {}), ("embedded_guidance", {})], {}, "takes no guidance number"),
        ([("adaptive_guidance", {}), ALONE], {}, "stops the negative side"),
        ([("adaptive_guidance", {}), ("embedded_guidance", {})], {"model": "tiny:flux"}, "has none"),
        ([("adaptive_guidance", {}), ("residual_guidance", {})], {}, "has none"),
        ([("skip_layer_guidance", {"blocks": "0, 7"})], {}, "set to block 7"),
        ([("perturbed_guidance", {"blocks": "0-1"})], {}, "all 2 blocks"),
        ([("smoothed_guidance", {"blocks": "two"})], {}, "'two' is not a block number"),
        ([("residual_guidance", {"mode": "picture"})], {}, "there is none"),
        ([("cfg", {"start": 0.8, "end": 0.2})], {}, "starts at 0.8, after its end at 0.2"),
    ],
)
def test_refused(engine, rules, settings, words):
    found = problems(engine, graph(rules, **settings))
    assert len(found) == 1 and words in found[0], found


@pytest.mark.parametrize(
    ("rules", "settings"),
    [
        ([CFG], {"sampler": "heun"}),
        ([CFG], {"model": "tiny:flux"}),
        ([("adaptive_guidance", {}), CFG], {}),
        ([("adaptive_guidance", {"threshold": 1.0}), ALONE], {}),
        ([("adaptive_guidance", {}), ("embedded_guidance", {"cfg_scale": 2.0})], {"model": "tiny:flux"}),
        ([("skip_layer_guidance", {"end": 1.0}), ("adaptive_guidance", {}), CFG], {}),
        ([("perturbed_guidance", {"blocks": "1"}), ("embedded_guidance", {})], {"model": "tiny:flux"}),
        ([("smoothed_guidance", {})], {"sampler": "heun"}),
        ([("apg", {"cfg_scale": 1.0})], {"model": "tiny:flux"}),
        (
            [("reflected_guidance", {"start": 0.5, "end": 0.5}), CFG],
            {"sampler": "heun", "sockets": ("strong",)},
        ),
        ([("cfg_zero", {}),], {"sampler": "unipc"}),
        ([("linear_guidance", {})], {}),
    ],
)  # fmt: skip
def test_accepted(engine, rules, settings):
    assert problems(engine, graph(rules, **settings)) == []


def test_the_weak_side_of_a_reflection_must_be_able_to_go_back(engine):
    weak = ((Node("weak", "cfg_plus_plus", {}), "guidance", "rule0.weak"),)
    rules = [("reflected_guidance", {}), CFG]
    (found,) = problems(engine, graph(rules, sockets=("strong",), more=weak))
    assert "goes forwards only" in found
    plain = ((Node("weak", "cfg", {"cfg_scale": 1.5}), "guidance", "rule0.weak"),)
    assert problems(engine, graph(rules, sockets=("strong",), more=plain)) == []


@pytest.mark.parametrize(("end", "warned"), [(0.2, True), (0.21, False)])
def test_the_first_step_is_none_for_skip_layer_guidance(engine, end, warned):
    made = graph([("skip_layer_guidance", {"start": 0.0, "end": end})])
    assert bool(problems(engine, made, "warning")) is warned
    assert problems(engine, graph([("perturbed_guidance", {"start": 0.0, "end": end})]), "warning") == []


@pytest.mark.parametrize("kind", ["skip_layer_guidance", "perturbed_guidance", "smoothed_guidance"])
def test_controls_in_the_same_blocks_are_refused_and_watching_the_estimates_is_not(engine, kind):
    watch = ((Node("watch", "watch_estimates", {}), "attachment", "sample.attachments"),)
    assert problems(engine, graph([(kind, {"end": 1.0})], more=watch)) == []
    words = ((Node("watch", "watch_blocks", {}), "attachment", "sample.attachments"),)
    (found,) = problems(engine, graph([(kind, {"end": 1.0})], more=words))
    assert "changes the model's blocks itself" in found
    off = graph([(kind, {"scale": 0.0})], more=words)
    assert problems(engine, off) == []


def test_a_range_that_holds_no_step_is_a_warning(engine):
    made = graph([("cfg", {"start": 0.0, "end": 0.1})])
    assert problems(engine, made) == []
    (warning,) = problems(engine, made, "warning")
    assert "less than one of its 5 steps" in warning


def test_the_calls_of_a_run_are_noted(engine):
    report = engine.run(graph([("adaptive_guidance", {"threshold": -1.0}), CFG]), ["sample"])
    assert report.errors == ()
    noted = report.nodes["sample"].notes["network"]
    assert noted == {"forwards": 5, "rows": 6, "by_role": {"uncond": 1, "cond": 5}}


def test_a_second_pass_over_learnt_guidance_is_warned_of(engine):
    found = problems(engine, graph([CFG], model="tiny:flux"), "warning")
    assert len(found) == 1 and "twice the time" in found[0]
    alone = problems(engine, graph([ALONE], model="tiny:flux"), "warning")
    assert not any("twice the time" in message for message in alone)
    assert not problems(engine, graph([("cfg", {"cfg_scale": 1.0, "guidance": 4.0})], model="tiny:flux"))
