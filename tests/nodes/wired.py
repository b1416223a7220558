"""A run of the miniature as a graph, with whatever is to steer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.graph.document import Edge, Graph, Node

OLD, NEW = "a red star and a blue house", "a green star and a blue house"
STEPS = 5
# id, kind, widgets, and inputs as "node.output"
Made = tuple[str, str, Mapping[str, Any], Mapping[str, str]]


def graph(*nodes: Made, attach: Sequence[str] = (), **settings: Any) -> Graph:
    """A run of the miniature with these further nodes: (id, kind, widgets, inputs); `attach`: outputs that go
    to the attachments of Sample; settings by "node__input" (an edge "node.output") or "node__widget"."""
    made: dict[str, Node] = {
        "model": Node("model", "load_model", {"model": "tiny:sd3"}),
        "old": Node("old", "encode_prompt", {"text": OLD}),
        "new": Node("new", "encode_prompt", {"text": NEW}),
        "none": Node("none", "encode_prompt", {"text": ""}),
        "canvas": Node("canvas", "empty_latent", {"width": 64, "height": 64, "seed": 3}),
        "steps": Node("steps", "schedule", {"steps": STEPS, "spacing": "flow"}),
        "sampler": Node("sampler", "choose_sampler", {"sampler": "euler"}),
        "cfg": Node("cfg", "cfg", {"cfg_scale": 3.0}),
        "sample": Node("sample", "sample"),
        "decode": Node("decode", "decode"),
        "save": Node("save", "save_image"),
    }
    wires = {
        ("sample", "positive"): "new.conditioning",
        ("sample", "negative"): "none.conditioning",
        ("sample", "latent"): "canvas.latent",
        ("sample", "sigmas"): "steps.sigmas",
        ("sample", "sampler"): "sampler.sampler",
        ("sample", "guidance"): "cfg.guidance",
        ("decode", "latent"): "sample.latent",
        ("save", "image"): "decode.image",
    }
    wires |= {(id, "model"): "model.model" for id in ("old", "new", "none", "sample", "decode")}
    for id, kind, widgets, inputs in nodes:
        made[id] = Node(id, kind, dict(widgets))
        wires |= {(id, name): source for name, source in inputs.items()}
    if attach:
        made["all"] = Node("all", "together")
        places = ("first", "second", "third", "fourth")
        wires |= {("all", place): source for place, source in zip(places, attach, strict=False)}
        wires["sample", "attachments"] = "all.attachments"
    for place, value in settings.items():
        id, name = place.split("__")
        if isinstance(value, str) and value.partition(".")[0] in made:
            wires[id, name] = value
        else:
            made[id] = Node(id, made[id].kind, {**made[id].widgets, name: value})
    edges = (Edge((source.split(".")[0], source.split(".")[1]), end) for end, source in wires.items())
    return Graph(tuple(made.values()), tuple(edges))
