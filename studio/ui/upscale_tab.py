"""The Upscale tab: a picture, an engine and a factor become a graph of Load upscaler and Upscale picture.

The graph is that of the ready workflow `upscale` with the person's picture in the place of the painted one,
and without its second half where no detail is painted anew. Nothing of it is kept here.
"""

from __future__ import annotations

import base64
import binascii
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.errors import BadDocument, StudioError
from studio.graph.document import Graph, loads, to_json
from studio.graph.widgets import PictureRefWidget
from studio.models.prompt_weights import unweighted
from studio.pixels import encode, read_picture, shrink
from studio.ui import asked, bus
from studio.ui.forms import panel
from studio.ui.owners import Owners
from studio.ui.uploads import LONGEST_SIDE, Uploads
from studio.values import Image

if TYPE_CHECKING:
    from studio.history.store import Generation
    from studio.studio import Studio
    from studio.upscalers import FoundUpscaler

FACTORS = (2, 3, 4)
# what the person's picture takes the place of
PAINTED = ("canvas", "schedule", "guidance", "paint", "picture")
REDRAWN = ("model", "prompt", "avoid", "sampler", "encode", "detail", "mild", "tiles", "coarse",
           "repaint", "decode")  # fmt: skip
MOST_LOOKED_AT = 40  # pictures of the history that may tell how long it takes
ENOUGH = 5  # of them
MOST_SIDE = 65_536


class UpscaleTab:
    """Handlers of the Upscale tab; event data comes from a browser and is checked."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners
        self._uploads = Uploads(studio)

    def look(self, token: object) -> str:
        """The engines that are here: {"engines", "folder", "factors"}."""
        from studio.upscalers import folder_of

        try:
            self._owners.owner(token)
            engines = [
                {"ref": found.ref, "title": found.title, "factors": made,
                 "problem": found.problem or ("" if made else "It mends a picture in its own size only.")}
                for found in self._engines()
                for made in [[factor for factor in FACTORS if _passes(found, factor)]]
            ]  # fmt: skip
        except (OSError, StudioError) as error:
            return bus.dump({"says": str(error)})
        folder = folder_of(self._studio)
        return bus.dump({"engines": engines, "folder": None if folder is None else str(folder)})

    def source(self, token: object, event: gr.EventData) -> str:
        """A picture of the history to enlarge, or one that was brought before: {"source"}. Event data:
        `generation`, or `picture` (a reference)."""
        try:
            owner = self._owners.owner(token)
            if (asked_for := asked.given(event, "picture")) is not None:
                return self._again(asked_for)
            item = self._studio.history.show(owner, asked.text(event, "generation", 64))
            data = self._studio.history.handed_out(owner, item.id, strip=True)
            source, _ = self._stored(data, "picture.png")
        except (OSError, StudioError) as error:
            return bus.dump({"says": str(error)})
        return bus.dump({"source": {**source, "id": item.id, "prompt": unweighted(item.prompt)}})

    def bring(self, token: object, event: gr.EventData) -> str:
        """An upload to enlarge: {"source"}. Event data: `name`, `data` (its base64)."""
        try:
            self._owners.owner(token)
            data = asked.upload(event, self._studio.policy.max_upload_bytes)
            source, image = self._stored(data, asked.text(event, "name", 1000))
        except binascii.Error:
            return bus.dump({"says": "The picture did not arrive whole. Try again."})
        except (OSError, StudioError) as error:
            return bus.dump({"says": str(error)})
        return bus.dump({"source": {**source, "id": "", "prompt": "", "url": _url(image)}})

    def plan(self, token: object, event: gr.EventData) -> str:
        """What a choice would make: {"plan": {"n", "width", "height", "tiles", "seconds", "fault"}}.

        Event data: `n` (told back), `width`, `height` of the picture, `engine`, `factor`, `redraw` (0..1),
        `tile`. `seconds`: from runs of the history with this engine; None where there is none.
        """
        told: dict[str, object] = {"n": _number(event)}
        try:
            owner = self._owners.owner(token)
            width, height = (_side(event, name) for name in ("width", "height"))
            engine, factor, redraw, tile = self._choice(event)
            self._studio.policy.check_enlarged(width * factor, height * factor, socket="scale")
            if redraw:
                self._studio.policy.check_pixels(width * factor, height * factor, socket="scale")
                self._check_redrawn(width, height, factor, engine)
            told |= {"width": width * factor, "height": height * factor}
            told["tiles"] = self._tiles(engine, width, height, factor, tile)
            told["seconds"] = self._seconds(owner, engine.ref, width * height * factor**2, redraw)
        except StudioError as error:
            told["fault"] = str(error)
        return bus.dump({"plan": told})

    def make(self, token: object, event: gr.EventData) -> str:
        """The graph of a choice: {"ready": {"document", "panel", "template"}}. Event data: as for `plan`, and
        `picture` (a reference), `prompt`, `seed`."""
        try:
            self._owners.owner(token)
            engine, factor, redraw, tile = self._choice(event)
            graph = self._graph(
                asked.given(event, "picture"), engine, factor, redraw, tile,
                asked.text(event, "prompt", self._studio.policy.max_prompt), asked.given(event, "seed"),
            )  # fmt: skip
        except StudioError as error:
            return bus.dump({"says": str(error)})
        fields = panel(graph, self._studio.registry)
        return bus.dump({"ready": {"document": to_json(graph), "panel": fields, "template": "upscaled"}})

    def _graph(
        self, picture: object, engine: FoundUpscaler, factor: int, redraw: float, tile: int,
        prompt: str, seed: object,
    ) -> Graph:  # fmt: skip
        data: dict[str, Any] = dict(to_json(self._studio.workflow("upscale")))
        gone = {*PAINTED, *(() if redraw else REDRAWN)}
        yours = {"id": "yours", "kind": "load_image", "title": "Your picture", "pos": [980, 160]}
        nodes = [node for node in data["nodes"] if node["id"] not in gone]
        nodes.append({**yours, "widgets": {"picture": picture}, "mode": "normal"})
        edges = [e for e in data["edges"] if e["from"][0] not in gone and e["to"][0] not in gone]
        edges.append({"from": ["yours", "image"], "to": ["larger", "image"]})
        last = "larger"
        passes = _passes(engine, factor)
        if len(passes) > 1:
            first = next(node for node in nodes if node["id"] == "larger")
            nodes.append({**first, "id": "again", "title": "Once more", "pos": [1240, 400],
                          "widgets": {**first["widgets"]}})  # fmt: skip
            for edge in edges:
                if edge["from"] == ["larger", "image"]:
                    edge["from"] = ["again", "image"]
            edges.append({"from": ["larger", "image"], "to": ["again", "image"]})
            edges.append({"from": ["upscaler", "upscaler"], "to": ["again", "upscaler"]})
            last = "again"
        if not redraw:
            edges.append({"from": [last, "image"], "to": ["save", "image"]})
        shown = [entry for entry in data["exposed"] if entry["node"] not in gone]
        shown.append({"node": "yours", "widget": "picture", "label": "Picture", "order": 0})
        graph = loads(bus.dump({**data, "nodes": nodes, "edges": edges, "exposed": shown}))
        graph = graph.set("upscaler", "upscaler", engine.ref)
        for name, scale in zip(("larger", "again"), passes, strict=False):
            graph = graph.set(name, "scale", scale).set(name, "tile", tile)
        if redraw:
            graph = graph.set("prompt", "text", prompt).set("detail", "strength", redraw)
            if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
                graph = graph.set("encode", "seed", seed)
        return graph

    def _engines(self) -> list[FoundUpscaler]:
        from studio.upscalers import found_upscalers

        return found_upscalers(self._studio)

    def _choice(self, event: gr.EventData) -> tuple[FoundUpscaler, int, float, int]:
        """Engine, factor, share that is painted anew, side of a tile. Raises StudioError."""
        ref = asked.text(event, "engine", 1000)
        engine = next((found for found in self._engines() if found.ref == ref), None)
        if engine is None:
            raise BadDocument("This upscaler is not here any more.", hint="Choose another one.")
        if engine.problem:
            raise StudioError(engine.problem, hint="Choose another one.")
        factor, redraw, tile = (asked.given(event, name) for name in ("factor", "redraw", "tile"))
        if (
            factor not in FACTORS
            or isinstance(tile, bool)
            or not isinstance(tile, int)
            or not 0 <= tile <= 4096
        ):
            raise BadDocument("The page sent no usable setting.", hint="Reload the page.")
        if isinstance(redraw, bool) or not isinstance(redraw, int | float) or not 0 <= redraw <= 1:
            raise BadDocument("The page sent no usable strength.", hint="Reload the page.")
        if not _passes(engine, factor):
            made = ", ".join(str(f) for f in FACTORS if _passes(engine, f))
            raise StudioError(f"{engine.title} does not make {factor} times.", hint=f"It makes {made}.")
        return engine, factor, float(redraw), tile

    def _check_redrawn(self, width: int, height: int, factor: int, engine: FoundUpscaler) -> None:
        from studio.upscalers import check_redrawn

        model = self._studio.workflow("upscale").by_id["model"].widgets.get("model")
        check_redrawn(str(model), width, height, factor, [f for f in FACTORS if _passes(engine, f)])

    def _tiles(self, engine: FoundUpscaler, width: int, height: int, factor: int, tile: int) -> int:
        from studio.upscalers import tiles_of

        count = 0
        for scale in _passes(engine, factor):
            count += tiles_of(self._studio, engine.ref, width, height, tile)
            width, height = round(width * scale), round(height * scale)
        return count

    def _seconds(self, owner: str, ref: str, pixels: int, redraw: float) -> float | None:
        """By the middle pace of the newest runs with this engine, with detail painted anew or without."""
        paces: list[float] = []
        page = self._studio.history.search(owner, node_kind="upscale_picture", limit=MOST_LOOKED_AT)
        for item in page.items:
            timings = item.record.get("timings")
            if not isinstance(timings, Mapping) or self._engine_of(item, owner) != ref:
                continue
            spent = [timings.get(name) for name in ("larger", "again", "encode", "repaint", "decode")]
            known = [float(value) for value in spent if isinstance(value, int | float)]
            painted = isinstance(timings.get("repaint"), int | float)
            if not known or not isinstance(timings.get("larger"), int | float) or painted != bool(redraw):
                continue
            paces.append(sum(known) / max(1, item.width * item.height))
            if len(paces) == ENOUGH:
                break
        return round(statistics.median_low(paces) * pixels, 1) if paces else None

    def _engine_of(self, item: Generation, owner: str) -> object:
        try:
            made = self._studio.document_of(item.id, owner)
        except StudioError:
            return None
        return next((n.widgets.get("upscaler") for n in made.nodes if n.kind == "load_upscaler"), None)

    def _again(self, given: object) -> str:
        """The source that a reference names; what is no reference, or is gone, is said."""
        if not isinstance(given, dict) or PictureRefWidget().problem(given) is not None:
            raise BadDocument("The page sent no usable picture.", hint="Choose it again.")
        data = self._studio.history.upload(given["file"]).read_bytes()
        image = read_picture(data, max_pixels=self._studio.policy.max_decoded_pixels)
        facts = {"value": given, "width": image.width, "height": image.height, "url": _url(image)}
        return bus.dump({"source": {**facts, "id": "", "prompt": ""}})

    def _stored(self, data: bytes, name: str) -> tuple[dict[str, Any], Image]:
        """The facts of a picture that is stored as large as it is, and the picture."""
        image = read_picture(data, max_pixels=self._studio.policy.max_decoded_pixels)
        stored = self._uploads.store(data, name, whole=True)
        return {"value": stored["value"], "width": image.width, "height": image.height}, image


def _passes(engine: FoundUpscaler, factor: int) -> tuple[float, ...]:
    from studio.upscalers import passes_of

    return () if engine.problem else passes_of(engine.scales, factor)


def _url(image: Image) -> str:
    """A picture as the page shows it, no larger than it can."""
    return "data:image/png;base64," + base64.b64encode(encode(shrink(image, LONGEST_SIDE))).decode()


def _number(event: gr.EventData) -> int:
    value = asked.given(event, "n")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _side(event: gr.EventData, name: str) -> int:
    value = asked.given(event, name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SIDE:
        raise BadDocument("The page sent no usable size.", hint="Reload the page.")
    return value
