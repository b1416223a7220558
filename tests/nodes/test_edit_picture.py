"""Nodes for real pictures: ready workflows run, neutral settings give the picture, misfits are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from studio.errors import StudioError
from studio.graph.context import CancelToken, Context
from studio.graph.document import Node, dumps, loads
from studio.graph.engine import Engine
from studio.graph.events import EventLog
from studio.models.codec import TensorCodec
from studio.models.device import guard
from studio.models.loading import ModelStore
from studio.nodes.paint_around import paste_picture
from studio.policy import Policy
from studio.values import Image
from tests.nodes.ready import changed, ready_workflow

# what makes a workflow give its picture back, or leave the plain run
NEUTRAL = {
    "edit-picture": {"edit.strength": 0.0},
    "edit-inverted-picture": {"values.steps": 0, "edit.tau": 0.0},
    "keep-picture-values": {"values.steps": 0},
    "restyle-picture": {"restyle.faithful": 0.0},
    "steer-to-picture": {"steer.force": 0.0},
    "paint-around-picture": {"around.cycles": 0},
}


@pytest.fixture(scope="module")
def engine(caching_engine):
    return caching_engine


def small(name, **more):
    """The workflow at 64 x 64 pixels with few steps."""
    graph = ready_workflow(name)
    settings = {"model.model": "tiny:sd3", "first_schedule.steps": 2, "schedule.steps": 6}
    sized = [node.id for node in graph.nodes if node.kind in ("empty_latent", "paste_picture")]
    settings |= {f"{node}.{side}": 64 for node in sized for side in ("width", "height")}
    return changed(graph, {**settings, **more})


def rewired(graph, target, source=None):
    """The graph with another edge, or none, into a socket."""
    data = json.loads(dumps(graph))
    node, socket = target.split(".")
    data["edges"] = [edge for edge in data["edges"] if edge["to"] != [node, socket]]
    if source:
        data["edges"].append({"from": source.split("."), "to": [node, socket]})
    return loads(json.dumps(data))


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_ready_workflow_runs_and_does_something(name, engine, registry):
    graph = ready_workflow(name)
    assert not engine.check(graph)
    for shown in graph.exposed:
        assert shown.widget in {param.name for param in registry.get(graph.node(shown.node).kind).params}
    made = engine.run(small(name))
    assert made.status == "finished", made.errors
    assert {node.state for node in engine.run(small(name)).nodes.values()} == {"cached"}
    neutral = engine.run(small(name, **NEUTRAL[name]))
    assert neutral.status == "finished", neutral.errors
    pictures = [run.outputs["save"]["image"].pixels for run in (made, neutral)]
    assert pictures[0].shape == (64, 64, 3) and not np.array_equal(*pictures)


def test_what_changes_nothing_gives_the_picture_itself(engine):
    graph = small("edit-picture", **{"edit.strength": 0.0})
    made = engine.run(graph, targets=["save", "picture"])
    assert made.outputs["save"]["image"] == made.outputs["picture"]["image"]
    same = small("edit-picture", **{"after.text": "a red star", "before.text": "a red star"})
    same = same.set("edit", "target_scale", 1.5)
    made = engine.run(same, targets=["save", "picture"])
    assert made.outputs["save"]["image"] == made.outputs["picture"]["image"]


def test_controls_are_noted_and_progress_runs_to_the_end(engine):
    log = EventLog("run")
    made = engine.run(small("edit-inverted-picture"), log=log, use_cache=False)
    told = made.nodes["sample"].notes["controls"]["controls"]
    assert {"edit", "inject_v"} <= {control["technique"] for control in told}
    for node, last in (("invert", 6), ("sample", 6)):
        steps = [e.payload["step"] for e in log.since(0) if e.kind == "progress" and e.node == node]
        assert steps == sorted(steps) and steps[-1] == last
    log = EventLog("run")
    engine.run(small("paint-around-picture", **{"around.cycles": 3}), log=log, use_cache=False)
    steps = [e.payload["step"] for e in log.since(0) if e.kind == "progress" and e.node == "around"]
    assert steps[-1] == 3 * 1 + 3
    log = EventLog("run")
    engine.run(small("restyle-picture"), log=log, use_cache=False)
    assert [e.payload["step"] for e in log.since(0) if e.kind == "progress" and e.node == "restyle"][-1] == 12


@pytest.mark.parametrize(
    ("name", "node"),
    [("edit-picture", "edit"), ("edit-inverted-picture", "invert"), ("restyle-picture", "restyle"),
     ("paint-around-picture", "around")],
)  # fmt: skip
def test_a_cancel_inside_the_steps_stops_the_run(engine, name, node):
    log, cancel = EventLog("run"), CancelToken()

    def stop(event):
        if event.kind == "progress" and event.node == node:
            cancel.cancel()

    log.subscribe(stop)
    made = engine.run(small(name, **{"schedule.steps": 60}), log=log, cancel=cancel, use_cache=False)
    assert made.status == "cancelled" and made.nodes[node].state == "cancelled"


def problems(engine, graph, level="error"):
    return [(p.node, p.socket, p.message) for p in engine.check(graph) if p.level == level]


def test_a_sampler_that_a_method_cannot_use_is_found_before_anything_runs(engine):
    graph = small("steer-to-picture", **{"first_sampler.sampler": "heun"})
    ((node, socket, message),) = problems(engine, graph)
    assert (node, socket) == ("sample", "sampler") and "needs the sampler euler, not heun" in message
    assert not problems(engine, graph.set("steer", "force", 0.0))
    graph = small("keep-picture-values", **{"sampler.sampler": "midpoint"})
    ((node, socket, message),) = problems(engine, graph)
    assert "needs the sampler midpoint_reuse" in message


def test_guidance_for_euler_is_refused_beside_a_sampler_node_without_a_choice(engine):
    others = {"first_sampler": Node("first_sampler", "unipc_sampler"),
              "guidance": Node("guidance", "cfg_plus_plus")}  # fmt: skip
    graph = small("restyle-picture")
    graph = replace(graph, nodes=tuple(others.get(node.id, node) for node in graph.nodes), exposed=())
    found = {(node, socket): message for node, socket, message in problems(engine, graph)}
    assert "needs the sampler euler, not unipc" in found["restyle", "sampler"]


def test_a_run_that_does_not_start_from_the_inverted_picture_is_warned_of(engine):
    graph = rewired(small("keep-picture-values"), "sample.latent", "canvas.latent")
    told = [found for found in problems(engine, graph, "warning") if found[1] != "text"]
    ((node, socket, message),) = told
    assert (node, socket) == ("sample", "latent") and "starts from another latent" in message


def test_a_stored_path_has_no_place_in_flow_edit(engine):
    data = json.loads(dumps(small("edit-picture")))
    inverted = json.loads(dumps(small("edit-inverted-picture")))
    data["nodes"] += [node for node in inverted["nodes"] if node["id"] in ("invert", "follow")]
    data["edges"] += [edge for edge in inverted["edges"] if edge["to"][0] in ("invert", "follow")]
    data["edges"].append({"from": ["follow", "attachment"], "to": ["edit", "attachments"]})
    ((node, socket, message),) = problems(engine, loads(json.dumps(data)))
    assert (node, socket) == ("edit", "attachments") and "needs no stored path" in message


@pytest.mark.parametrize(
    ("name", "widget", "value"),
    [
        ("edit-picture", "edit.strength", 1.2),
        ("edit-picture", "edit.strength", float("nan")),
        ("edit-picture", "edit.average", 0),
        ("edit-picture", "edit.target_scale", -1.0),
        ("edit-inverted-picture", "invert.method", "midpont"),
        ("edit-inverted-picture", "invert.keep_values", -1),
        ("restyle-picture", "restyle.end", -0.1),
        ("restyle-picture", "restyle.start", 0.9),
        ("steer-to-picture", "steer.force", 2),
        ("paint-around-picture", "around.low", 0.9),
        ("paint-around-picture", "around.until", 0.6),
        ("paint-around-picture", "around.cycles", 51),
        ("paint-around-picture", "paste.size", 0),
    ],
)
def test_impossible_settings_are_found_before_anything_runs(engine, name, widget, value):
    graph = ready_workflow(name)
    node, setting = widget.split(".")
    assert {problem[0] for problem in problems(engine, graph.set(node, setting, value))} == {node}


def test_a_picture_that_is_not_there_or_noise_is_refused(engine):
    empty = engine.run(rewired(small("edit-picture"), "edit.picture", "canvas.latent"))
    assert empty.errors[0].node == "edit" and "canvas is empty" in empty.errors[0].message
    noisy = engine.run(rewired(small("edit-inverted-picture"), "decode.latent", "invert.latent"))
    assert noisy.status == "finished"
    other = engine.run(small("keep-picture-values", **{"values.steps": 4}))
    assert other.errors[0].node == "values" and "keeps those of 3" in other.errors[0].message


def test_a_mask_of_another_size_is_refused(engine):
    graph = small("paint-around-picture", **{"paste.width": 64, "paste.height": 96})
    graph = rewired(graph, "encode.image", "picture.image")
    made = engine.run(graph)
    assert made.errors[0].node == "around" and "64x96 pixels, the picture 64x64" in made.errors[0].message


def test_too_many_steps_for_a_public_host_are_refused(registry):
    store = ModelStore(device="cpu")
    host = replace(Policy.public(), allow_paths=True)  # for the miniature
    engine = Engine(registry, codecs=[TensorCodec()], guard=guard, models=store, policy=host)
    graph = small("paint-around-picture", **{"around.cycles": 50, "schedule.steps": 40})
    made = engine.run(graph)
    assert [error.node for error in made.errors] == ["around"]
    engine.close()
    store.close()


def test_a_picture_lies_where_it_was_pasted_and_the_mask_says_so():
    image = Image(np.full((20, 40, 3), 7, np.uint8))
    ctx = Context()
    canvas, mask = paste_picture(image, 100, 80, x=1.0, y=0.0, size=0.5, ctx=ctx)
    assert (canvas.width, canvas.height, mask.width, mask.height) == (100, 80, 100, 80)
    inside = np.zeros((80, 100), bool)
    inside[:25, 50:] = True
    assert np.array_equal(mask.values, inside) and (canvas.pixels[inside] == 7).all()
    assert (canvas.pixels[~inside] == 128).all()
    whole, everywhere = paste_picture(Image(np.zeros((16, 16, 3), np.uint8)), 64, 64, size=1.0, ctx=ctx)
    assert not whole.pixels.any() and everywhere.values.all()
    with pytest.raises(StudioError):
        paste_picture(image, 2048, 2048, ctx=Context(policy=Policy.public()))
