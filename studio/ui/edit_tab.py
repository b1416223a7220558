"""The Edit tab: a picture of the history or an upload becomes the source of an edit, as a ready workflow.

Two ways: "together" paints the old and the new picture side by side from one seed (edit-by-prompt); "picture"
changes the picture itself (edit-picture), and the mask may come from a word that was watched while it was
painted. The page edits the document that it is given; nothing of it is kept here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.errors import StudioError
from studio.graph.document import Graph, loads, to_json
from studio.models.prompt_weights import unweighted
from studio.pixels import read_picture
from studio.ui import asked, bus
from studio.ui.forms import panel
from studio.ui.owners import Owners
from studio.ui.templates import Templates
from studio.ui.uploads import Uploads

if TYPE_CHECKING:
    from studio.studio import Studio

# settings of a picture that a repeated painting of it needs, by kind of node
CARRIED = {
    "empty_latent": ("width", "height", "seed"),
    "schedule": ("steps", "spacing", "shift", "strength"),
    "cfg": ("cfg_scale", "start", "end", "rescale", "guidance"),
    "choose_sampler": ("sampler",),
    "load_model": ("model",),
}
FAR = ("strength", "eta")  # settings of an edit that say how far it may go
MOST_EDITS = 8
# pictures of a size near the model's are not cut: areas as shares of its own, sides in whole steps of pixels
SMALLEST, LARGEST, SIDE = 0.5, 1.5, 16
# ready workflows that paint a picture from one prompt and one seed, whatever else they look at
PLAIN = ("text-to-image", "see-words", "estimates")
PAINTED = ("canvas", "first_schedule", "first_sampler", "guidance", "paint", "picture", "save_before")


class EditTab:
    """Handlers of the Edit tab; event data comes from a browser and is checked."""

    def __init__(self, studio: Studio, owners: Owners, templates: Templates) -> None:
        self._studio = studio
        self._owners = owners
        self._templates = templates
        self._uploads = Uploads(studio)

    def source(self, token: object, event: gr.EventData) -> str:
        """A picture of the history as a source, with its edits: {"source"}. Event data: `generation`."""
        try:
            generation = asked.text(event, "generation", 64)
            owner = self._owners.owner(token)
            item = self._studio.history.show(owner, generation)
            made = self._studio.document_of(item.id, owner)
            prompt = _words_of(made, item.prompt)
            # such a picture comes from one prompt and one seed, and can be painted again beside another
            plain = self._templates.name_of(made) in PLAIN and item.node == "save"
            if plain and self._runs("edit-by-prompt", "edit-picture"):
                ways = {
                    "together": self._like(self._studio.workflow("edit-by-prompt"), made, prompt),
                    "picture": self._like(self._studio.workflow("edit-picture"), made, prompt),
                }
            else:
                data = self._studio.history.handed_out(owner, item.id, strip=True)
                stored = self._uploads.store(data, "source.png")
                way = self._of_file(stored["value"], prompt, (item.width, item.height))
                # its own seed makes the edit, too: what is told of the new picture is what was used
                ways = {"picture": way if item.seed is None else way.set("encode", "seed", item.seed)}
        except (OSError, StudioError) as error:
            return bus.dump({"says": str(error)})
        told = {"id": item.id, "prompt": prompt, "painted": "together" in ways}
        return self._told(ways, {**told, "edits": self._edits(owner, item.id)})

    def _edits(self, owner: str, source: str) -> list[dict[str, object]]:
        """What was made of a picture by edits, the newest last: for a page that was not there."""
        family = self._studio.history.family(owner, source, depth=1)
        children = [family.members[child] for parent, child, role in family.links
                    if parent == source and role == "source"]  # fmt: skip
        found: list[dict[str, object]] = []
        for item in sorted(filter(None, children), key=lambda child: child.created, reverse=True):
            made = self._studio.document_of(item.id, owner) if item.node == "save" else None
            if made is not None and {"before", "edit"} <= _ids(made):
                old, how = made.node("before").widgets.get("text"), made.node("edit").widgets
                far = {name: how[name] for name in FAR if name in how}
                found.append({"id": item.id, "old": old, "words": _words_of(made, item.prompt), "far": far})
            if len(found) == MOST_EDITS:
                break
        return found[::-1]

    def bring(self, token: object, event: gr.EventData) -> str:
        """An upload as a source: {"source"}, its size as `of`. Event data: `name`, `data` (base64)."""
        try:
            self._owners.owner(token)
            data = asked.upload(event, self._studio.policy.max_upload_bytes)
            stored = self._uploads.store(data, asked.text(event, "name", 1000))
            file = self._studio.history.upload(str(stored["value"]["file"])).read_bytes()  # type: ignore[index]
            image = read_picture(file)
            way = self._of_file(stored["value"], "", (image.width, image.height))
        except binascii.Error:
            return bus.dump({"says": "The picture did not arrive whole. Try again."})
        except StudioError as error:
            return bus.dump({"says": str(error)})
        picture = "data:image/png;base64," + base64.b64encode(file).decode()
        size = [image.width, image.height]
        source = {"id": "", "prompt": "", "painted": False, "url": picture, "of": size}
        return self._told({"picture": way}, source)

    def _told(self, ways: Mapping[str, Graph], source: dict[str, object]) -> str:
        registry = self._studio.registry
        found = {
            name: {
                "document": to_json(graph),
                "panel": panel(graph, registry),
                "template": self._templates.name_of(graph),
            }
            for name, graph in ways.items()
        }
        size = next((size for graph in ways.values() if (size := _size_of(graph))), (256, 256))
        return bus.dump({"source": {**source, "ways": found, "width": size[0], "height": size[1]}})

    def _runs(self, *names: str) -> bool:
        return {card.name for card in self._templates.cards} >= set(names)

    def _like(self, graph: Graph, made: Graph, prompt: str) -> Graph:
        """A workflow with model, seed, size, steps and guidance of a picture; its prompt is the old one."""
        values = {
            (node.kind, name): node.widgets.get(name, self._default(node.kind, name))
            for node in reversed(made.nodes)
            for name in CARRIED.get(node.kind, ())
        }
        for node in graph.nodes:
            if node.id == "schedule" and "first_schedule" in _ids(graph):
                continue  # that of the change is the workflow's own
            for name in CARRIED.get(node.kind, ()):
                if values.get((node.kind, name)) is not None:
                    graph = graph.set(node.id, name, values[node.kind, name])
        avoid = next((n for n in made.nodes if n.id == "avoid"), None)
        if avoid is not None and "avoid" in _ids(graph):
            graph = graph.set("avoid", "text", avoid.widgets.get("text", ""))
        return self._worded(graph, prompt)

    def _default(self, kind: str, name: str) -> object:
        """What a setting is where a document leaves it out; None if it has none."""
        spec = self._studio.registry.find(kind)
        return getattr(spec.socket(name), "default", None) if spec else None

    def _of_file(self, picture: object, prompt: str, size: tuple[int, int]) -> Graph:
        """edit-picture with a stored picture of `size` pixels in the place of the one that it paints."""
        data = to_json(self._studio.workflow("edit-picture"))
        nodes: list[dict[str, Any]] = data["nodes"]  # type: ignore[assignment]
        edges: list[dict[str, Any]] = data["edges"]  # type: ignore[assignment]
        data["nodes"] = [node for node in nodes if node["id"] not in PAINTED]
        yours = {"id": "yours", "kind": "load_image", "title": "Your picture", "pos": [340, 400]}
        data["nodes"].append({**yours, "widgets": {"picture": picture}, "mode": "normal"})
        gone = set(PAINTED)
        data["edges"] = [e for e in edges if e["from"][0] not in gone and e["to"][0] not in gone]
        data["edges"].append({"from": ["yours", "image"], "to": ["encode", "image"]})
        shown: list[dict[str, Any]] = data["exposed"]  # type: ignore[assignment]
        data["exposed"] = [entry for entry in shown if entry["node"] not in gone]
        data["exposed"].append({"node": "yours", "widget": "picture", "label": "Picture", "order": 0})
        graph = self._sized(loads(bus.dump(data)), size)
        return self._worded(graph, prompt)

    def _sized(self, graph: Graph, size: tuple[int, int]) -> Graph:
        """The picture's own size where the model can work at it, else the model's: then it is cut to that."""
        cards = self._studio.model_cards()
        own = cards[0].get("size") if cards else None
        if not (isinstance(own, list | tuple) and len(own) == 2) or "encode" not in _ids(graph):
            return graph
        width, height = (int(side) for side in own)
        near = width * height * SMALLEST <= size[0] * size[1] <= width * height * LARGEST
        if near and all(side % SIDE == 0 for side in size):
            width, height = size
        return graph.set("encode", "width", width).set("encode", "height", height)

    def _worded(self, graph: Graph, prompt: str) -> Graph:
        after = "after" if "after" in _ids(graph) else "prompt"
        return graph.set("before", "text", prompt).set(after, "text", prompt)


def _words_of(made: Graph, prompt: str) -> str:
    """What a picture shows: of one that was edited, its new words; its history names the old ones."""
    texts = {node.id: node.widgets.get("text") for node in made.nodes if node.kind == "encode_prompt"}
    new = texts.get("after", texts.get("prompt")) if "before" in texts else None
    return unweighted(new if isinstance(new, str) else prompt)


def _size_of(graph: Graph) -> tuple[int, int] | None:
    """Pixels of the picture that an edit makes: of its canvas, else what the source is cut to."""
    for node in sorted(graph.nodes, key=lambda node: node.kind != "empty_latent"):
        width, height = node.widgets.get("width"), node.widgets.get("height")
        if isinstance(width, int) and isinstance(height, int) and width and height:
            return width, height
    return None


def _ids(graph: Graph) -> set[str]:
    return {node.id for node in graph.nodes}
