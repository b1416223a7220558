"""The See tab: maps of a run's words for the page, and a word's mask as a stored picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.ui import asked, bus
from studio.ui.owners import Owners
from studio.ui.uploads import Uploads

if TYPE_CHECKING:
    from studio.studio import Studio


class SeeTab:
    """Handlers of the See tab; event data comes from a browser and is checked."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners
        self._uploads = Uploads(studio)

    def maps(self, token: object, event: gr.EventData) -> str:
        """The maps of the run that made a picture: {"maps"}. Event data: `generation`."""
        from studio.wordmaps import maps_of_run  # loads torch, as a run has done already

        try:
            document, owner, generation = self._made(token, event)
            return bus.dump({"maps": {**maps_of_run(self._studio, document, owner), "of": generation}})
        except StudioError as error:
            return bus.dump({"says": str(error)})

    def mask(self, token: object, event: gr.EventData) -> str:
        """The mask of a word, stored: {"mask"}. Event data: `generation`, `word`, `to` (regions, edit), and
        `x` and `y` (0..1) for the piece nearest to a point, else the largest."""
        from studio.wordmaps import mask_of_word

        try:
            document, owner, generation = self._made(token, event)
            item = self._studio.history.show(owner, generation)
            word, to = asked.text(event, "word", 100), asked.text(event, "to", 20)
            at = asked.point(event)
            picture = mask_of_word(self._studio, document, owner, word, (item.width, item.height), at)
            stored = self._uploads.store(picture, f"mask of {word}")
        except StudioError as error:
            return bus.dump({"says": str(error)})
        return bus.dump({"mask": {"value": stored["value"], "word": word, "to": to}})

    def _made(self, token: object, event: gr.EventData) -> tuple[Graph, str, str]:
        owner = self._owners.owner(token)
        generation = asked.text(event, "generation", 64)
        return self._studio.document_of(generation, owner), owner, generation
