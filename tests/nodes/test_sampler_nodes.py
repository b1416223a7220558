"""Nodes of samplers and schedules: what stored graphs mean, whole runs, refusals, and found schedules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.nodes.sample import choose_sampler, schedule
from studio.nodes.samplers import churn_sampler, momentum_sampler, noisy_sampler, unipc_sampler
from studio.nodes.schedules import schedule_from_list, shift_for_size
from studio.nodes.step_search import found_schedule
from studio.policy import Policy
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import SAMPLERS, sampler
from studio.sampling.schedules import SCHEDULES, flow, flow_diffusers
from studio.sampling.search.stored import KIND, key_of
from studio.values import Latent, Model, Sampler
from tests.nodes.ready import ready_workflow

CONTEXT = Context()


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request: pytest.FixtureRequest) -> Iterator[Any]:
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


def workflow(**settings: Any) -> Graph:
    settings = {"model.model": "tiny:sd3", "canvas.width": 64, "canvas.height": 64, **settings}
    return ready_workflow("text-to-image", settings)


def put(graph: Graph, id: str, kind: str, **widgets: Any) -> Graph:
    """The graph with a node of another kind in a node's place, its exposed settings gone."""
    nodes = tuple(Node(id, kind, widgets=widgets) if node.id == id else node for node in graph.nodes)
    return replace(graph, nodes=nodes, exposed=tuple(e for e in graph.exposed if e.node != id))


class Told:
    """A reporter that keeps what nodes warn of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def step(self, i: int, total: int, preview: object) -> None: ...
    def log(self, text: str) -> None: ...
    def note(self, key: str, value: object) -> None: ...


def choices(engine: Engine, kind: str, widget: str) -> tuple[str, ...]:
    param = next(p for p in engine.registry.get(kind).params if p.name == widget)
    return tuple(param.widget.options()["choices"])


def test_stored_graphs_keep_their_meaning(engine: Engine) -> None:
    assert choose_sampler() == sampler("euler")
    assert schedule(ctx=CONTEXT).values == flow_diffusers(20, 3.0).values
    assert choices(engine, "choose_sampler", "sampler")[:4] == ("euler", "heun", "midpoint", "midpoint_reuse")
    assert choices(engine, "schedule", "spacing")[:3] == ("flow_diffusers", "flow", "flux")


def test_the_menus_offer_what_there_is(engine: Engine) -> None:
    offered = choices(engine, "choose_sampler", "sampler")
    assert set(offered) <= set(SAMPLERS) and len(offered) >= 14
    for name in offered:
        assert choose_sampler(name) == sampler(name)
    assert set(choices(engine, "schedule", "spacing")) == set(SCHEDULES)


def test_nodes_with_settings_give_samplers_with_these_settings() -> None:
    assert noisy_sampler("tcd", 0.4) == sampler("tcd", gamma=0.4)
    assert noisy_sampler("dpmpp_2m_sde", 0.4) == sampler("dpmpp_2m_sde", eta=0.4)
    assert momentum_sampler("hb", 3, 0.5) == sampler("hb", order=3, beta=0.5)
    assert churn_sampler(5.0, 0.1, 0.9, 1.01) == sampler("edm", churn=5.0, low=0.1, high=0.9, spread=1.01)
    assert unipc_sampler(3) == sampler("unipc", order=3)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_paints_and_a_picture_of_a_batch_is_the_picture_alone(parts: Any, name: str) -> None:
    positive, _ = parts.family.encode_text(parts, "a red star")
    negative, _ = parts.family.encode_text(parts, "")

    def run(canvas: Latent, made: Sampler) -> torch.Tensor:
        found = sample_latent(parts, positive, negative, canvas, flow(4, 3.0), made, cfg(2.0)).tensor
        assert found is not None
        return found

    made = sampler("edm", churn=4.0) if name == "edm" else sampler(name)
    batch = run(Latent(64, 64, 2, 5), made)
    assert torch.isfinite(batch).all() and batch.std() > 0.01
    assert torch.equal(batch, run(Latent(64, 64, 2, 5), made))
    for k in range(2):
        # another batch shape takes other kernels
        assert (run(Latent(64, 64, 1, 5 + k), made) - batch[k : k + 1]).abs().max() < 5e-5


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("noisy_sampler", {"sampler": "dpmpp_2m_sde"}),
        ("momentum_sampler", {}),
        ("churn_sampler", {}),
        ("unipc_sampler", {}),
    ],
)
def test_guidance_made_for_euler_is_refused_with_every_other_sampler(
    engine: Engine, kind: str, settings: dict[str, Any]
) -> None:
    graph = put(workflow(), "sampler", kind, **settings)
    assert [p for p in engine.check(graph) if p.level == "error"] == []
    guidance = next(e.source[0] for e in graph.edges if e.target[1] == "guidance")
    problems = [p for p in engine.check(put(graph, guidance, "cfg_plus_plus")) if p.level == "error"]
    assert [p.socket for p in problems] == ["sampler"] and "needs the sampler euler" in problems[0].message


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ("", "empty"),
        ("1, 0.5, 0.6, 0", "not below"),
        ("1, nan, 0", "nan"),
        ("1, 0.5", "must be 0"),
        ("1, x, 0", "not a number"),
    ],
)
def test_a_list_that_cannot_be_is_refused_at_its_node_before_the_run(
    engine: Engine, levels: str, words: str
) -> None:
    graph = put(workflow(), "schedule", "schedule_from_list", levels=levels)
    problems = [p for p in engine.check(graph) if p.level == "error"]
    assert [(p.node, p.socket) for p in problems] == [("schedule", "levels")]
    assert words in problems[0].message


def test_a_list_equal_to_the_plain_schedule_gives_the_same_picture(engine: Engine) -> None:
    plain = workflow(**{"schedule.steps": 3})
    written = ", ".join(repr(v) for v in flow_diffusers(3, 3.0).values)
    listed = put(plain, "schedule", "schedule_from_list", levels=written)
    pictures = [engine.run(graph).outputs["save"]["image"] for graph in (plain, listed)]
    assert pictures[0] == pictures[1]
    assert schedule_from_list("1, 0.5, 0", ctx=CONTEXT).values == (1.0, 0.5, 0.0)


def test_the_churn_range_must_be_one(engine: Engine) -> None:
    graph = put(workflow(), "sampler", "churn_sampler", low=0.9, high=0.1)
    assert [(p.node, p.socket) for p in engine.check(graph) if p.level == "error"] == [("sampler", "low")]


def test_the_shift_for_a_size_feeds_a_schedule(engine: Engine) -> None:
    assert shift_for_size(Latent(512, 512), 3.0, 256, ctx=CONTEXT) == pytest.approx(6.0)
    told = Told()
    assert shift_for_size(Latent(2048, 2048), 20.0, 64, ctx=Context(reporter=told)) == 30.0
    assert len(told.warned) == 1 and "a shift of 640; 30 is taken" in told.warned[0]
    graph = workflow(**{"schedule.steps": 2})
    graph = replace(
        graph,
        nodes=(*graph.nodes, Node("shift", "shift_for_size", widgets={"native": 64, "shift": 2.0})),
        edges=(
            *graph.edges,
            Edge(("canvas", "latent"), ("shift", "latent")),
            Edge(("shift", "float"), ("schedule", "shift")),
        ),
    )
    assert engine.run(graph).status == "finished"


def test_a_found_schedule_is_taken_and_a_missing_one_said() -> None:
    guidance, canvas, kept = cfg(3.0), Latent(64, 64), {}
    store = ModelStore(device="cpu", calibrations=lambda *place: kept.get(place))
    model = store.load("tiny:sd3")
    warned: list[str] = []

    class Listening(Context):
        def warn(self, text: str) -> None:
            warned.append(text)

    ctx = Listening(models=store)
    plain = found_schedule(model, canvas, guidance, 2, ctx=ctx)
    assert plain.values == flow_diffusers(2, 3.0).values
    assert len(warned) == 1 and "eval schedule --steps 2" in warned[0]
    kept[model.digest, KIND, key_of(2, 64, 64, guidance)] = {"sigmas": [1.0, 0.4, 0.0]}
    assert found_schedule(model, canvas, guidance, 2, ctx=ctx).values == (1.0, 0.4, 0.0)
    assert found_schedule(model, canvas, guidance, 2, strength=0.5, ctx=ctx).values == (0.4, 0.0)
    assert len(warned) == 1
    for spacing in ("karras", "flow_diffusers"):
        plain = found_schedule(model, canvas, guidance, 2, spacing, 2.0, ctx=ctx)
        assert plain == schedule(2, spacing, 2.0, ctx=ctx), "what is not found is what Schedule gives"
    assert len(warned) == 1
    found_schedule(model, Latent(128, 64), guidance, 2, ctx=ctx)
    assert len(warned) == 2
    store.close()


def fed_as_sample(graph: Graph, *names: str) -> Graph:
    """The node `schedule` gets what Sample gets."""
    fed = {e.target[1]: e.source for e in graph.edges if e.target[0] == "sample"}
    return replace(graph, edges=(*graph.edges, *(Edge(fed[name], ("schedule", name)) for name in names)))


@pytest.mark.parametrize("generations", [0, 1])
def test_what_a_search_in_a_graph_found_is_kept_and_taken_by_the_next_run(
    registry: Registry, generations: int
) -> None:
    kept: dict[tuple[str, str, str], Any] = {}
    store = ModelStore(
        device="cpu",
        calibrations=lambda *place: kept.get(place),
        keep_calibration=lambda digest, kind, key, value: kept.update({(digest, kind, key): dict(value)}),
    )
    engine = Engine(registry, codecs=[TensorCodec()], models=store)
    graph = put(workflow(), "schedule", "search_schedule", steps=2, fine=4, generations=generations)
    graph = fed_as_sample(graph, "model", "positive", "negative", "latent", "guidance")
    report = engine.run(graph)
    assert report.status == "finished", report
    [((digest, kind, key), row)] = kept.items()
    assert digest == store.load("tiny:sd3").digest and (kind, key) == (KIND, key_of(2, 64, 64, cfg(3.0)))
    assert row["settings"] == {"steps": 2, "shift": 3.0, "size": [64, 64]} and row["n"] == 1
    assert row["gain"] == 1 - row["held_out_error"] / row["held_out_plain_error"]
    assert json.loads(json.dumps(row)) == row
    again = fed_as_sample(
        put(workflow(), "schedule", "found_schedule", steps=2), "model", "latent", "guidance"
    )
    second = engine.run(again)
    assert second.outputs["save"]["image"] == report.outputs["save"]["image"]
    engine.close()
    store.close()


def test_a_public_host_keeps_nothing_of_a_visitors_search() -> None:
    kept: list[object] = []
    store = ModelStore(device="cpu", policy=Policy.public(), keep_calibration=lambda *row: kept.append(row))
    assert not store.keep_calibration(Model("tiny:sd3", "sd3", "0" * 64, store, {}), KIND, "k", {})
    assert not kept


@pytest.mark.parametrize("model", ["embedded:scenes-sd3", "embedded:scenes-flux"])
def test_a_size_that_the_model_cannot_paint_is_refused_before_the_run(engine: Engine, model: str) -> None:
    def found(**settings: Any) -> list[tuple[str, str | None]]:
        alone = {"model.model": model, "prompt.text": "a red star", "guidance.cfg_scale": 1.0}
        graph = workflow(**alone, **settings)
        return [(problem.node, problem.socket) for problem in engine.check(graph)]

    assert found() == []
    assert found(**{"canvas.width": 16384}) == [("canvas", "width")]
    assert found(**{"canvas.height": 72}) == [("canvas", "height")]
