"""The See tab: maps of a run's words for the page, and a word's mask as a stored picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from studio.errors import StudioError
from studio.graph.document import Graph, to_json
from studio.ui import asked, bus
from studio.ui.edit_masks import address, cut_of
from studio.ui.owners import Owners
from studio.ui.uploads import Uploads
from studio.watching import watched

if TYPE_CHECKING:
    from studio.studio import Studio


class SeeTab:
    """Handlers of the See tab; event data comes from a browser and is checked."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners
        self._uploads = Uploads(studio)

    def look(self, token: object, event: gr.EventData) -> str:
        """The run that shows where the words of a picture act; nothing of it is stored: {"paint":
        {"document", "targets", "of"}}. Event data: `generation`, `turn` (told back)."""
        turn = asked.turn(event)
        try:
            document, _, generation, sampler = self._made(token, event, anew=True)
        except StudioError as error:
            return bus.dump({"unseen": str(error), "turn": turn})
        targets = None if sampler is None else [sampler]
        paint = {"document": to_json(document), "targets": targets, "of": generation}
        return bus.dump({"paint": paint, "turn": turn})

    def maps(self, token: object, event: gr.EventData) -> str:
        """The maps of the run that made a picture, or looked at it: {"maps"}. Event data: `generation`."""
        from studio.wordmaps import maps_of_run  # loads torch, as a run has done already

        try:
            document, owner, generation, sampler = self._made(token, event)
            found = maps_of_run(self._studio, document, owner, sampler)
            return bus.dump({"maps": {**found, "of": generation}})
        except StudioError as error:
            return bus.dump({"says": str(error)})

    def mask(self, token: object, event: gr.EventData) -> str:
        """The mask of a word: {"mask"}, stored where it is sent `to` another tab (regions, edit), else
        {"cut"}, only to be shown. Event data: `generation`, `word`, `to`, `amount`, `grow`, `follow`, `turn`
        (told back), and `x` and `y` (0..1) for the piece nearest to a point, else the largest."""
        turn = asked.turn(event)
        try:
            document, owner, generation, sampler = self._made(token, event)
            item = self._studio.history.show(owner, generation)
            word, to = asked.text(event, "word", 100), asked.given(event, "to")
            size = item.width, item.height
            data = cut_of(self._studio, document, owner, word, event, size, item.id, sampler)
            if to not in ("regions", "edit"):
                return bus.dump({"cut": {"picture": address(data), "word": word, "turn": turn}})
            stored = self._uploads.store(data, f"mask of {word}")
        except StudioError as error:
            return bus.dump({"says": str(error), "turn": turn})
        return bus.dump({"mask": {"value": stored["value"], "word": word, "to": to, "turn": turn}})

    def _made(
        self, token: object, event: gr.EventData, anew: bool = False
    ) -> tuple[Graph, str, str, str | None]:
        """The document under watch of a picture, its owner and id, and the sampler that is watched in it
        (None = the document as it is). `anew`: one that cannot be watched is refused. Raises StudioError."""
        owner = self._owners.owner(token)
        generation = asked.text(event, "generation", 64)
        document = self._studio.document_of(generation, owner)
        if any(node.kind == "watch_words" for node in document.nodes):
            return document, owner, generation, None
        item = self._studio.history.show(owner, generation)
        try:
            document, sampler = watched(document, item.node, item.prompt, every=True)
        except StudioError:
            if anew:
                raise
            return document, owner, generation, None
        return document, owner, generation, sampler
