"""What the graph editor draws from: each kind of node, its sockets and widgets, and the sign of each type."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.graph.inline import inline
from studio.ui.theme import SOCKETS

if TYPE_CHECKING:
    from studio.graph.registry import Broken
    from studio.studio import Studio

# Colour, shape and word of a type: never colour alone. Each colour has a contrast of 3 on both grounds.
SIGNS: dict[str, tuple[str, str, str]] = {
    "Model": ("#8a5cc4", "square", "model"),
    "Conditioning": ("#b5731f", "circle", "prompt for the model"),
    "Latent": ("#c2557f", "diamond", "latent picture"),
    "Image": ("#3f7fc1", "circle", "picture"),
    "Mask": ("#4b8757", "circle", "mask"),
    "Sigmas": ("#84842a", "diamond", "noise levels"),
    "Sampler": ("#2b8888", "square", "sampler"),
    "Guidance": ("#c4552f", "square", "guidance"),
    "Attachment": ("#777777", "diamond", "control"),
    "Layout": ("#b0568f", "square", "layout"),
    "Seen": ("#5f7fa8", "diamond", "what was watched"),
    "Wrap": ("#9a6d4f", "diamond", "wrap around the sampler"),
    "Scorer": ("#7f6bb0", "square", "judge"),
    "Upscaler": ("#3d8a74", "square", "upscaler"),
    "Measurement": ("#a3612b", "square", "what is known"),
    "Inversion": ("#a15fb5", "diamond", "inversion"),
    "PanelGrid": ("#6f8a3c", "square", "grid of panels"),
    "Text": ("#6b7f6b", "circle", "text"),
    "Int": ("#5b7db0", "circle", "whole number"),
    "Float": ("#4d86a3", "circle", "number"),
    "Bool": ("#93705f", "circle", "yes or no"),
    "PictureRef": ("#4a7a9c", "square", "picture of your own"),
    "Regions": ("#9c5d86", "circle", "list of regions"),
    "any": ("#7d7d7d", "circle", "anything"),
}
SPARE = ("#8a5cc4", "#3f7fc1", "#4b8757", "#b5731f", "#c2557f", "#2b8888", "#84842a", "#a15fb5")
SHAPES = ("circle", "square", "diamond")
CATEGORIES = {
    "Model": "#8a5cc4",
    "Prompt": "#b5731f",
    "Sampling": "#c2557f",
    "Image": "#3f7fc1",
    "See": "#5f7fa8",
    "Steer": "#c4552f",
    "Layout": "#b0568f",
    "Edit a picture": "#4b8757",
    "Finish": "#2b8888",
}

# What other programs call a node, so that who comes from there finds it; the palette searches these, too.
ALSO = {
    "load_model": "checkpoint loader unet vae",
    "encode_prompt": "clip text encode conditioning",
    "sample": "ksampler denoise",
    "decode": "vae decode",
    "encode_image": "vae encode img2img",
    "decode_by_tiles": "vae decode tiled",
    "encode_by_tiles": "vae encode tiled",
    "empty_latent": "empty latent image width height",
    "schedule": "scheduler sigmas steps denoise",
    "choose_sampler": "ksampler select sampler name",
    "paint_around": "inpaint outpaint",
    "keep_outside": "inpaint composite masked",
    "edit_picture": "img2img instruct edit",
    "regional_prompts": "area conditioning set mask",
    "word_weight": "emphasis prompt weighting",
    "emphasised_prompt": "prompt weighting emphasis attention compel",
    "upscale_picture": "esrgan upscale model",
    "apg": "cfg rescale",
    "perturbed_guidance": "pag",
    "save_image": "output preview",
}


def graph_routes(studio: Studio) -> list[Route]:
    """/weft/registry.json: made anew when asked, so that a reloaded page sees a plugin that has changed."""

    def registry(request: Request) -> Response:
        studio.registry.refresh()
        return JSONResponse(registry_json(studio), headers={"Cache-Control": "no-cache"})

    return [Route("/weft/registry.json", registry, methods=["GET"])]


def registry_json(studio: Studio) -> dict[str, Any]:
    """Plain JSON: types and categories with their signs, kinds with sockets and widgets (ui.md 5.3).

    Each output carries `line`, its type and base types, so that the editor joins what the engine joins.
    `usual` tells what people build: see `usual_nodes`; `broken` which plugins do not load, and why; `titles`
    those of the nodes of ready workflows, which another language has words for.
    """
    known = studio.registry.to_json()
    nodes: dict[str, Any] = {}
    for kind, given in known["nodes"].items():
        entry = dict(given)
        if kind in ALSO:
            entry["also"] = ALSO[kind]
        spec = studio.registry.find(kind)
        if spec is not None:
            lines = {socket.name: list(socket.line) for socket in spec.outputs}
            entry["outputs"] = [
                {**out, "line": lines.get(out["name"]) or [out["type"]]} for out in entry["outputs"]
            ]
        nodes[kind] = entry
    types = {*known["types"], *(socket["type"] for node in nodes.values() for socket in _sockets(node))}
    groups = {str(node["category"]) for node in nodes.values()}
    ready = ready_workflows(studio)
    return {
        "types": {name: _sign(name) for name in sorted(types)},
        "categories": {name: CATEGORIES.get(name) or _spare(name) for name in _in_order(groups)},
        "nodes": nodes,
        "usual": usual_nodes(studio, ready),
        "titles": ready_titles(ready),
        "broken": [plugin.to_json() for plugin in broken_plugins(studio)],
    }


def broken_plugins(studio: Studio) -> tuple[Broken, ...]:
    """What does not load, for the owner of the machine; a host that takes no plugins names none."""
    return studio.registry.broken if studio.policy.allow_plugins else ()


Ready = tuple[Graph, Graph]  # a ready workflow as it is, and with its sub-graphs unpacked


def ready_workflows(studio: Studio) -> list[Ready]:
    """Every ready workflow, as it is and inlined; a broken one tells nothing."""
    found: list[Ready] = []
    for path in sorted(studio.settings.workflows_folder.glob("*.json")):
        with suppress(StudioError):
            graph = studio.workflow(path.stem)
            found.append((graph, inline(graph, studio.registry).graph))
    return found


def usual_nodes(studio: Studio, ready: Sequence[Ready]) -> dict[str, Any]:
    """In how many ready workflows a kind stands (`uses`), takes a type (`takes`), and gives one (`gives`).

    The last two are tables by type and by socket ("sample.latent": what takes it there), then by kind. The
    editor offers first what is used most.
    """
    uses: Counter[str] = Counter()
    takes: dict[str, Counter[str]] = {}
    gives: dict[str, Counter[str]] = {}
    for _, graph in ready:
        specs = {node.id: studio.registry.find(node.kind) for node in graph.nodes}
        uses.update({node.kind for node in graph.nodes})
        joined: set[tuple[str, str, str]] = set()
        for (source, output), (target, input) in ((edge.source, edge.target) for edge in graph.edges):
            giver, taker = specs.get(source), specs.get(target)
            socket = next((s for s in giver.outputs if s.name == output), None) if giver else None
            if giver is None or taker is None or socket is None:
                continue
            for name in (socket.type, f"{giver.kind}.{output}"):
                joined.add(("takes", name, taker.kind))
            for name in (socket.type, f"{taker.kind}.{input}"):
                joined.add(("gives", name, giver.kind))
        for side, name, kind in joined:
            (takes if side == "takes" else gives).setdefault(name, Counter())[kind] += 1
    return {"uses": dict(uses), "takes": _plain(takes), "gives": _plain(gives)}


def ready_titles(ready: Sequence[Ready]) -> dict[str, bool]:
    """The titles that nodes of ready workflows have, also inside of their sub-graphs."""
    nodes = [node for graphs in ready for graph in graphs for node in graph.nodes]
    return dict.fromkeys(sorted({node.title.split(" / ")[-1] for node in nodes if node.title}), True)


def _plain(tables: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {name: dict(table) for name, table in sorted(tables.items())}


def _sockets(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*node["inputs"], *node["outputs"], *node["widgets"]]


def _sign(name: str) -> dict[str, str]:
    if name in SIGNS:
        colour, shape, word = SIGNS[name]
    elif name in SOCKETS:
        colour, shape = SOCKETS[name]
        word = name
    else:
        colour, word = _spare(name), name
        shape = SHAPES[_number(name) % len(SHAPES)]
    return {"color": colour, "shape": shape, "word": word}


def _spare(name: str) -> str:
    return SPARE[_number(name) % len(SPARE)]


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _in_order(groups: set[str]) -> list[str]:
    """The usual groups in the order of a picture's making, then the others by name."""
    return [name for name in CATEGORIES if name in groups] + sorted(groups - set(CATEGORIES))
