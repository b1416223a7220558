"""The nodes through the real engine: the ready workflow, what is cached, and what they refuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from studio.errors import StudioError
from studio.graph.cache import Cache
from studio.graph.context import CancelToken, Context
from studio.graph.disk_cache import DiskCache
from studio.graph.document import dumps, loads
from studio.graph.engine import Engine
from studio.graph.events import EventLog
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.models.device import guard
from studio.models.loading import ModelStore
from studio.nodes.image import load_image, save_image
from studio.nodes.sample import empty_latent, schedule
from studio.pixels import encode
from studio.policy import Policy
from studio.settings import ROOT
from studio.values import Image

MODULES = [f"studio.nodes.{name}" for name in ("model", "prompt", "sample", "guidance", "image")]
WORKFLOW = ROOT / "assets" / "workflows" / "text-to-image.json"


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
        encode_preview=lambda image: encode(image, "WEBP"),
    )
    yield made
    made.close()


@pytest.fixture
def document():
    graph = loads(WORKFLOW.read_text(encoding="utf-8"))
    for node, widget, value in (
        ("model", "model", "tiny:sd3"),
        ("canvas", "width", 64),
        ("canvas", "height", 64),
        ("schedule", "steps", 4),
        ("prompt", "text", "a red star on the left"),
    ):
        graph = graph.set(node, widget, value)
    return graph


def states(report):
    return {name: node.state for name, node in report.nodes.items()}


def test_the_ready_workflow_fits_the_nodes_there_are(engine, registry):
    graph = loads(WORKFLOW.read_text(encoding="utf-8"))
    assert not engine.check(graph)
    assert 9 <= len(graph.nodes) <= 10
    assert [e.label for e in graph.exposed][:5] == ["Prompt", "Avoid", "Width", "Height", "Seed"]
    for shown in graph.exposed:
        kind = registry.get(graph.node(shown.node).kind)
        assert shown.widget in {param.name for param in kind.params}
    assert loads(dumps(graph)).hash == graph.hash


def test_a_prompt_becomes_a_picture_and_an_unchanged_run_does_nothing(engine, document):
    first = engine.run(document)
    assert first.status == "finished" and set(states(first).values()) == {"ran"}
    picture = first.outputs["save"]["image"]
    assert (picture.width, picture.height) == (64, 64) and picture.pixels.std() > 1
    again = engine.run(document)
    assert set(states(again).values()) == {"cached"} and again.outputs["save"]["image"] == picture
    renamed = engine.run(document.set("save", "name", "other"))
    assert [name for name, state in states(renamed).items() if state == "ran"] == ["save"]
    seeded = engine.run(document.set("canvas", "seed", 1))
    assert states(seeded)["model"] == states(seeded)["prompt"] == "cached"
    assert seeded.outputs["save"]["image"] != picture


def test_a_second_process_takes_the_picture_from_disk_and_loads_no_model(registry, document, tmp_path):
    def fresh():
        store = ModelStore(device="cpu")
        return store, Engine(
            registry,
            cache=Cache("disk", disk=DiskCache(tmp_path)),
            codecs=[TensorCodec()],
            guard=guard,
            models=store,
        )

    store, engine = fresh()
    first = engine.run(document)
    engine.close()
    store.close()
    store, engine = fresh()
    again = engine.run(document)
    assert set(states(again).values()) == {"cached"} and store.loaded == ()
    assert again.outputs["save"]["image"] == first.outputs["save"]["image"]
    engine.close()
    store.close()


def test_previews_and_progress_come_while_it_paints(engine, document):
    log = EventLog("run")
    engine.run(document.set("schedule", "steps", 30), log=log, use_cache=False)
    events = log.since(0)
    steps = [event.payload["step"] for event in events if event.kind == "progress" and event.node == "sample"]
    assert steps == sorted(steps) and steps[-1] == 30
    previews = [event.data for event in events if event.kind == "preview"]
    assert all(data[:4] == b"RIFF" for data in previews)


def test_a_cancel_inside_the_steps_stops_the_run(engine, document):
    log, cancel = EventLog("run"), CancelToken()

    def stop(event):
        if event.kind == "progress" and event.node == "sample":
            cancel.cancel()

    log.subscribe(stop)
    report = engine.run(document.set("schedule", "steps", 200), log=log, cancel=cancel, use_cache=False)
    assert report.status == "cancelled" and states(report)["sample"] == "cancelled"


def test_an_unknown_word_is_a_warning_and_the_picture_is_made(engine, document):
    report = engine.run(document.set("prompt", "text", "a red dragon"))
    assert report.status == "finished"
    assert any("does not know 'dragon'" in warning for warning in report.warnings)
    assert report.nodes["prompt"].notes["unknown_words"] == {"dragon": []}


@pytest.mark.parametrize("text", ["", "🐉🐉🐉", "star " * 1900, "\u202e\0"])
def test_odd_prompts_make_a_picture(engine, document, text):
    assert engine.run(document.set("prompt", "text", text)).status == "finished"


@pytest.mark.parametrize(
    ("node", "widget", "value"),
    [
        ("canvas", "width", 250),
        ("canvas", "width", -64),
        ("canvas", "height", 10**9),
        ("canvas", "width", 64.5),
        ("schedule", "steps", 0),
        ("schedule", "steps", 10**9),
        ("schedule", "steps", True),
        ("canvas", "seed", -1),
        ("canvas", "seed", 2**53),
        ("guidance", "cfg_scale", 31),
        ("schedule", "strength", 1.5),
        ("sampler", "sampler", "eulr"),
        ("schedule", "shift", 0),
        ("prompt", "text", "a" * 10_001),
        ("decode", "picture", -1),
    ],
)
def test_impossible_widgets_are_found_before_anything_runs(engine, document, node, widget, value):
    problems = engine.check(document.set(node, widget, value))
    assert [(problem.node, problem.socket) for problem in problems] == [(node, widget)]
    assert problems[0].hint


def test_a_size_beyond_the_model_fails_with_the_possible_ones(engine, document):
    report = engine.run(document.set("canvas", "width", 1024))
    error = report.errors[0]
    assert report.status == "failed" and error.node == "sample" and "nearest is 512" in error.hint


def test_a_missing_model_fails_alone_and_says_where_to_look(engine, document):
    report = engine.run(document.set("model", "model", "embedded:nothing"))
    assert report.errors[0].node == "model" and report.errors[0].hint
    assert states(report)["save"] == "skipped"


def test_a_picture_of_the_batch_that_is_not_there_is_named(engine, document):
    report = engine.run(document.set("decode", "picture", 3))
    assert "the latent holds 1" in report.errors[0].message
    batch = document.set("canvas", "batch", 2)
    first, second = (engine.run(batch.set("decode", "picture", k)).outputs["save"]["image"] for k in (0, 1))
    assert first != second


def img2img(document, strength):
    """The workflow starting from a stored picture instead of an empty canvas."""
    data = json.loads(dumps(document))
    data["nodes"] = [node for node in data["nodes"] if node["id"] != "canvas"]
    data["exposed"] = [shown for shown in data["exposed"] if shown["node"] != "canvas"]
    data["nodes"] += [
        {
            "id": "load",
            "kind": "load_image",
            "kind_version": 1,
            "title": "",
            "mode": "normal",
            "pos": [0, 0],
            "widgets": {"picture": {"file": "a" * 64, "name": "x.png"}},
        },
        {
            "id": "encode",
            "kind": "encode_image",
            "kind_version": 1,
            "title": "",
            "mode": "normal",
            "pos": [0, 0],
            "widgets": {"seed": 3},
        },
    ]
    data["edges"] = [edge for edge in data["edges"] if edge["from"][0] != "canvas"] + [
        {"from": ["load", "image"], "to": ["encode", "image"]},
        {"from": ["model", "model"], "to": ["encode", "model"]},
        {"from": ["encode", "latent"], "to": ["sample", "latent"]},
    ]
    return loads(json.dumps(data)).set("schedule", "strength", strength)


def test_a_picture_at_strength_zero_comes_out_untouched(registry, store, document):
    given = Image(np.random.default_rng(1).integers(0, 256, (70, 66, 3), dtype=np.uint8))
    engine = Engine(
        registry,
        codecs=[TensorCodec()],
        guard=guard,
        models=store,
        open_file=lambda sha256: encode(given, "PNG"),
    )
    assert engine.run(img2img(document, 0.0)).outputs["save"]["image"] == given
    changed = engine.run(img2img(document, 0.5))
    assert changed.status == "finished" and changed.outputs["save"]["image"].pixels.shape == (64, 64, 3)
    engine.close()


def test_load_image_reads_the_stored_file_and_refuses_bombs_by_policy():
    data = encode(Image(np.zeros((4, 5, 3), np.uint8)))
    name = hashlib.sha256(data).hexdigest()
    ctx = Context(open_file={name: data}.__getitem__)
    assert load_image({"file": name}, ctx=ctx).width == 5
    with pytest.raises(StudioError):
        load_image({"file": name}, ctx=Context())


def test_a_public_host_bounds_pixels_and_steps():
    ctx = Context(policy=Policy.public())
    with pytest.raises(StudioError):
        empty_latent(2048, 2048, ctx=ctx)
    with pytest.raises(StudioError):
        schedule(151, ctx=ctx)


def test_saving_changes_nothing():
    image = Image(np.zeros((4, 5, 3), np.uint8))
    assert save_image(image, "x") is image


def test_every_node_and_every_widget_has_a_help_text(registry):
    for spec in registry.specs.values():
        assert spec.help
    assert Path(WORKFLOW).is_file()
