"""Load LoRA, Relay and presets as nodes: what is refused or warned of when the graph is checked, and runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from studio.graph.document import Edge, Graph, Node
from studio.models.family import parts_of
from studio.models.presets import NO_NEGATIVE
from studio.models.tiny import save_tiny
from tests.models.test_lora import factors, written

FEW = {"steps": 4, "most": 8, "cfg": False, "spacing": "flow"}


@pytest.fixture
def lora(store, tmp_path):
    return str(written(tmp_path / "style.safetensors", factors(parts_of(store.load("tiny:sd3")))))


@pytest.fixture
def turbo(store, tmp_path):
    """A folder that is a few-step LoRA over a miniature."""
    base = save_tiny("sd3", tmp_path / "base")
    own = tmp_path / "turbo"
    written(own / "pytorch_lora_weights.safetensors", factors(parts_of(store.load(str(base)))))
    card = {"title": "Quick", "kind": "lora", "base": str(base), "preset": FEW}
    (own / "card.json").write_text(json.dumps(card))
    return str(own)


def graph(model="tiny:sd3", *, steps=4, scale=1.0, avoid="", lora=None, relay=None, more=()):
    """A run; `lora`: settings of Load LoRA after the model; `relay`: (settings, what feeds it)."""
    nodes = [
        Node("model", "load_model", {"model": model}),
        Node("prompt", "encode_prompt", {"text": "a red star"}),
        Node("negative", "encode_prompt", {"text": avoid}),
        Node("canvas", "empty_latent", {"width": 64, "height": 64}),
        Node("schedule", "schedule", {"steps": steps, "spacing": "flow"}),
        Node("sampler", "choose_sampler", {}),
        Node("guidance", "cfg", {"cfg_scale": scale}),
        Node("sample", "sample", {}),
    ]
    whose = "model"
    edges = []
    if lora is not None:
        nodes.append(Node("lora", "load_lora", lora))
        edges.append(Edge(("model", "model"), ("lora", "model")))
        whose = "lora"
    edges += [Edge((whose, "model"), (id, "model")) for id in ("prompt", "negative", "sample")]
    fed = {"positive": "prompt.conditioning", "negative": "negative.conditioning", "latent": "canvas.latent"}
    fed |= {"sampler": "sampler.sampler", "guidance": "guidance.guidance", "sigmas": "schedule.sigmas"}
    if relay is not None:
        settings, sources = relay
        nodes.append(Node("relay", "relay", settings))
        edges += [Edge(tuple(source.split(".")), ("relay", name)) for name, source in sources.items()]
        edges.append(Edge(("schedule", "sigmas"), ("relay", "sigmas")))
        fed |= {"sigmas": "relay.sigmas", "wraps": "relay.wrap"}
    edges += [Edge(tuple(source.split(".")), ("sample", name)) for name, source in fed.items()]
    for node, source, place in more:
        nodes.append(node)
        edges.append(Edge(tuple(source.split(".")), tuple(place.split("."))))
    return Graph(tuple(nodes), tuple(edges))


def told(engine, made):
    return [(p.level, p.message) for p in engine.check(made, ["sample"])]


def latent(engine, made):
    run = engine.run(made, ["sample"])
    assert run.status == "finished", run
    return run.outputs["sample"]["latent"].tensor


def test_a_lora_changes_the_picture_and_strength_0_does_not(engine, lora):
    plain = latent(engine, graph())
    assert torch.equal(latent(engine, graph(lora={"lora": lora, "strength": 0.0})), plain)
    assert not torch.equal(latent(engine, graph(lora={"lora": lora})), plain)
    assert torch.equal(latent(engine, graph()), plain)


def test_a_replaced_lora_file_is_run_anew(caching_engine, lora, store):
    made = graph(lora={"lora": lora})
    first = latent(caching_engine, made)
    written(Path(lora), factors(parts_of(store.load("tiny:sd3")), seed=7))
    assert not torch.equal(latent(caching_engine, made), first)


def test_no_lora_is_refused_before_the_run(engine):
    said = told(engine, graph(lora={"lora": ""}))
    assert ("error", "No LoRA is chosen.") in said
    run = engine.run(graph(lora={"lora": "embedded:nothing"}), ["sample"])
    assert run.status == "failed"
    # a path is not looked at by a check, but by the run
    assert told(engine, graph(lora={"lora": "/nowhere/style.safetensors"})) == []


def test_what_a_few_step_model_rules_out_is_said(engine, turbo):
    assert told(engine, graph(turbo)) == []
    said = told(engine, graph(turbo, steps=50, scale=4.0))
    assert {level for level, _ in said} == {"warning"}
    assert any("made for up to 8 steps; 50" in message for _, message in said)
    assert any("has learnt its guidance" in message for _, message in said)
    cache = (Node("cache", "step_cache", {}), "cache.attachment", "sample.attachments")
    said = told(engine, graph(turbo, steps=8, more=[cache]))
    assert any(level == "error" and "nothing to skip" in message for level, message in said)
    mild = (Node("cache", "step_cache", {"mode": "delta"}), *cache[1:])
    said = told(engine, graph(turbo, steps=4, more=[mild]))
    assert [level for level, message in said if "nothing to skip" in message] == ["warning"]
    assert {level for level, _ in said} == {"warning"}


def test_a_negative_prompt_that_nothing_reads_is_said(engine):
    assert ("warning", NO_NEGATIVE) in told(engine, graph(avoid="a blue house"))
    assert told(engine, graph(avoid="a blue house", scale=3.0)) == []


def test_a_lora_over_the_model_brings_its_own_preset(engine, tmp_path):
    ref = str(tmp_path / "Hyper-SD3-4steps-CFG-lora.safetensors")
    said = told(engine, graph(steps=20, scale=3.0, lora={"lora": ref}))
    assert any("Hyper-SD3 (4 steps) is made for up to 4 steps" in message for _, message in said)
    assert told(engine, graph(steps=20, scale=3.0, lora={"lora": ref, "strength": 0.0})) == []


def relayed(lora, **settings):
    more = [(Node("lora", "load_lora", {"lora": lora}), "model.model", "lora.model")]
    return graph(scale=3.0, relay=({"at": 0.25, **settings}, {"model": "lora.model"}), more=more)


def test_a_relay_runs_and_at_its_ends_is_one_model(engine, lora):
    base, fast = latent(engine, graph(scale=3.0)), latent(engine, graph(scale=3.0, lora={"lora": lora}))
    assert told(engine, relayed(lora)) == []
    assert torch.equal(latent(engine, relayed(lora, at=1.0)), base)
    assert torch.equal(latent(engine, relayed(lora, at=0.0)), fast)
    mixed = latent(engine, relayed(lora))
    assert not torch.equal(mixed, base) and not torch.equal(mixed, fast)


def test_a_relay_to_other_latents_or_without_its_prompts_is_refused(engine, tmp_path):
    other = str(save_tiny("sd3", tmp_path / "other", vae="kl"))
    flux = (Node("other", "load_model", {"model": "tiny:flux"}), "other.model", "relay.model")
    said = told(engine, graph(relay=({}, {}), more=[flux]))
    assert any(level == "error" and "cannot take over" in message for level, message in said)
    assert any("reads prompts in its own way" in message for _, message in said)
    whole = str(save_tiny("sd3", tmp_path / "whole"))
    second = (Node("other", "load_model", {"model": other}), "other.model", "relay.model")
    said = told(engine, graph(whole, relay=({}, {}), more=[second]))
    assert any("cannot take over" in message and "autoencoders" in message for _, message in said)


def test_a_relay_checks_what_it_goes_on_with(engine, turbo):
    fast = (Node("fast", "load_model", {"model": turbo}), "fast.model", "relay.model")
    base = json.loads((Path(turbo) / "card.json").read_text())["base"]
    strong = (Node("strong", "cfg", {"cfg_scale": 4.0}), "strong.guidance", "relay.guidance")
    said = told(engine, graph(base, scale=3.0, relay=({}, {}), more=[fast, strong]))
    assert any("has learnt its guidance" in message for _, message in said)
    soft = (Node("strong", "cfg", {"cfg_scale": 1.0}), "strong.guidance", "relay.guidance")
    assert told(engine, graph(base, scale=3.0, relay=({}, {}), more=[fast, soft])) == []
