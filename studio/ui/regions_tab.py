"""The Regions tab: a layout is looked over, planned from a sentence, and its painted masks are stored.

The layout itself is a widget of the page's document; nothing of it is kept here. Masks are stored pictures,
known by their hash.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.errors import BadDocument, StudioError
from studio.graph.document import to_json
from studio.graph.widgets import MOST_REGIONS, RegionsWidget, region_problem
from studio.layout.data import layout_json
from studio.layout.lint import Finding, lint
from studio.layout.notes import PASSED_OVER, notes
from studio.layout.plan import plan_sentence
from studio.pixels import encode, read_picture, shrink, to_array, to_mask
from studio.ui import asked, bus
from studio.ui.forms import missing_kinds, panel
from studio.ui.owners import Owners
from studio.ui.uploads import Uploads
from studio.values import Layout, Mask, Region
from studio.watching import watched

if TYPE_CHECKING:
    from studio.studio import Studio

MOST_FOUND = 24  # findings told at once
MASK_SIDE = 512
PATCH = 16  # pixels of a token
PLAIN = ("name", "prompt", "negative", "strength", "start", "end", "role", "locked")


def start_of(studio: Studio, name: str) -> dict[str, object] | None:
    """A ready workflow as a tab of the page starts from it; None where it cannot run here."""
    try:
        document = studio.workflow(name)
    except StudioError:
        return None
    if missing_kinds(document, studio.registry):
        return None
    return {"document": to_json(document), "panel": panel(document, studio.registry), "template": name}


class RegionsTab:
    """Handlers of the Regions tab; event data comes from a browser and is checked."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners
        self._uploads = Uploads(studio)

    def lint(self, event: gr.EventData) -> str:
        """What the linter says of a layout, and which regions are none: {"findings"}. Event data: `prompt`,
        `regions`, `width`, `height`."""
        data = asked.data(event)
        try:
            regions, broken, numbers = self._regions(data.get("regions"))
            layout = Layout(self._text(data, "prompt"), regions)
            width, height = (_side(data.get(name)) for name in ("width", "height"))
            tokens = max(1, height // PATCH), max(1, width // PATCH)
            found = [*broken, *lint(layout, tokens=tokens, numbers=numbers)]
        except StudioError as error:
            return bus.dump({"findings": [], "says": str(error)})
        told = [f.as_json() for f in found if f.about != "regions" and (f.regions or f in broken or regions)]
        return bus.dump({"findings": told[:MOST_FOUND], "says": ""})

    def plan(self, event: gr.EventData) -> str:
        """A sentence turned into regions: {"planned"}. Event data: `prompt`, `width`, `height`."""
        data = asked.data(event)
        try:
            sentence = self._text(data, "prompt")
            width, height = (_side(data.get(name)) for name in ("width", "height"))
            layout, reading = plan_sentence(sentence, aspect=width / height)
        except StudioError as error:
            return bus.dump({"says": str(error)})
        found = layout_json(layout)
        for region in found["regions"]:
            region["box"] = [round(edge, 4) for edge in region["box"]]
        passed = [words[:80] for words in reading.passed_over[:MOST_FOUND]]
        said = [note for note in notes(sentence, reading) if not note.startswith(PASSED_OVER)]
        return bus.dump({"planned": {**found, "passed": passed, "notes": said}})

    def mask(self, token: object, event: gr.EventData) -> str:
        """Stores a painted mask: {"mask"}. Event data: `region` (its id), `data` (a PNG, base64)."""
        data = asked.data(event)
        region = data.get("region")
        if not isinstance(region, str) or len(region) > 100:
            return bus.dump({"says": "The page sent no usable mask. Reload it."})
        try:
            self._owners.owner(token)
            stored = self._uploads.store(self._bytes(data.get("data")), f"mask of {region}")
        except (binascii.Error, StudioError) as error:
            says = str(error) if isinstance(error, StudioError) else "The mask did not arrive whole."
            return bus.dump({"mask": {"region": region, "fault": says}})
        return bus.dump({"mask": {"region": region, "value": stored["value"]}})

    def masks(self, event: gr.EventData) -> str:
        """Masks of a layout that the page has not seen yet: {"masks": data addresses by hash}. Event data:
        `files`."""
        files = asked.data(event).get("files")
        found: dict[str, str] = {}
        for file in files[:64] if isinstance(files, list) else ():
            try:
                data = self._studio.history.upload(str(file)).read_bytes()
                picture = encode(shrink(read_picture(data), MASK_SIDE))
            except (OSError, ValueError, StudioError):
                continue
            found[str(file)] = "data:image/png;base64," + base64.b64encode(picture).decode()
        return bus.dump({"masks": found})

    def look(self, token: object, event: gr.EventData) -> str:
        """Where the words of a picture act: {"looked"}, or, where that is not kept, the run that shows it:
        {"paint": {"document", "targets"}}. Event data: `generation`, `painted` (that run was made), `turn`
        (told back)."""
        return bus.dump({**self._look(token, event), "turn": asked.turn(event)})

    def _look(self, token: object, event: gr.EventData) -> dict[str, object]:
        from studio.wordmaps import maps_of_regions  # loads torch, as a run has done already

        try:
            owner = self._owners.owner(token)
            generation = asked.text(event, "generation", 64)
            item = self._studio.history.show(owner, generation)
            made = self._studio.document_of(generation, owner)
            document, sampler = watched(made, item.node, item.prompt)
        except StudioError as error:
            return {"says": str(error)}
        try:
            found = maps_of_regions(self._studio, document, owner, sampler)
        except StudioError as error:
            if asked.given(event, "painted") is True:
                return {"says": str(error)}
            return {"paint": {"document": to_json(document), "targets": [sampler], "of": generation}}
        return {"looked": {**found, "of": generation}}

    def _bytes(self, data: object) -> bytes:
        most = self._studio.policy.max_upload_bytes
        if not isinstance(data, str) or len(data) > most // 3 * 4 + 4:
            raise BadDocument("The page sent no usable picture.", hint="Reload the page.")
        return base64.b64decode(data, validate=True)

    def _text(self, data: Mapping[str, Any], name: str) -> str:
        text = data.get(name)
        if not isinstance(text, str):
            raise BadDocument(f"The page sent no usable {name}.", hint="Reload the page.")
        self._studio.policy.check_prompt(text, socket=name)
        return text

    def _regions(self, regions: object) -> tuple[tuple[Region, ...], list[Finding], dict[str, int]]:
        """The sound regions of a page's list, with their masks opened; what is wrong with the others; and the
        place of each in the list, from 1, by id. Raises StudioError."""
        self._studio.policy.check_json(len(json.dumps(regions, default=str).encode("utf-8", "replace")))
        if not isinstance(regions, list) or len(regions) > MOST_REGIONS:
            message, hint = RegionsWidget().problem(regions) or ("", "")
            raise BadDocument(message, hint=hint)
        found: list[Region] = []
        broken: list[Finding] = []
        numbers: dict[str, int] = {}
        for place, entry in enumerate(regions, 1):
            problem, mask = region_problem(entry), None
            if problem is None and entry.get("shape", "mask") == "mask":
                try:
                    mask = self._opened(entry)
                except StudioError as error:
                    problem = error.message, error.hint
            if problem is not None:
                ids = (str(entry["id"]),) if isinstance(entry, dict) and "id" in entry else ()
                broken.append(Finding("error", "Val", ids, f"Region {place}: {problem[0]}", problem[1]))
                continue
            numbers.setdefault(entry["id"], place)
            plain = {name: entry[name] for name in PLAIN if name in entry}
            box = tuple(float(edge) for edge in entry.get("box", (0, 0, 1, 1)))
            found.append(Region(entry["id"], box=box, mask=mask, **{"prompt": "", **plain}))  # type: ignore[arg-type]
        return tuple(found), broken, numbers

    def _opened(self, entry: Mapping[str, Any]) -> Mask | None:
        reference = entry.get("mask")
        if reference is None:
            return None
        try:
            data = self._studio.history.upload(reference["file"]).read_bytes()
        except OSError:
            raise StudioError("The mask of a region is gone.", hint="Paint it again.") from None
        pixels = to_array(read_picture(data))
        light = pixels[..., :3].mean(axis=-1)
        return to_mask(light * pixels[..., 3] if pixels.shape[-1] == 4 else light)


def _side(value: object) -> int:
    """A side of a picture in pixels, as it may be."""
    if isinstance(value, bool) or not isinstance(value, int) or not 16 <= value <= 16384:
        return 256
    return value
