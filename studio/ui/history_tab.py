"""The History tab: pages of this owner's pictures, searched as the person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from studio.errors import StudioError
from studio.ui import bus
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.studio import Studio

PAGE = 36


class HistoryTab:
    """Handlers of the History tab and of the strip below the picture."""

    def __init__(self, studio: Studio, owners: Owners, pictures: Pictures) -> None:
        self._studio = studio
        self._owners = owners
        self._pictures = pictures

    def search(self, token: object, event: gr.EventData) -> str:
        """One page of pictures. Event data: `text` (at most 500 characters), `before` (cursor or null),
        `starred` (true: starred ones only)."""
        data = event._data if isinstance(event._data, dict) else {}
        text, before = data.get("text"), data.get("before")
        text = text[:500] if isinstance(text, str) else ""
        before = before if isinstance(before, str) and len(before) < 200 else None
        try:
            owner = self._owners.owner(token)
            only = True if data.get("starred") is True else None
            page = self._studio.history.search(
                owner, text, limit=PAGE, before=before, prefix=True, starred=only
            )
        except StudioError as error:
            return bus.dump({"pictures": [], "before": before, "next": None, "says": str(error)})
        cards = [self._pictures.card(item) for item in page.items]
        return bus.dump({"pictures": cards, "before": before, "next": page.next, "says": ""})

    def mark(self, token: object, event: gr.EventData) -> str:
        """Stars or deletes one picture, or takes that back; a deletion can be taken back for ten minutes.

        Event data: `generation`, `what` (star, unstar, delete, undelete).
        """
        data = event._data if isinstance(event._data, dict) else {}
        generation, what, history = data.get("generation"), data.get("what"), self._studio.history
        try:
            owner = self._owners.owner(token)
            if not isinstance(generation, str) or what not in ("star", "unstar", "delete", "undelete"):
                raise StudioError("The page sent no usable change.", hint="Reload the page.")
            if what == "undelete" and not history.undelete(owner, generation):
                raise StudioError("This picture cannot be brought back any more.")
            item = history.show(owner, generation)
            if what in ("star", "unstar"):
                item = history.star(owner, item.id, what == "star")
            elif what == "delete":
                history.delete(owner, item.id, undo=True)
        except StudioError as error:
            return bus.dump({"says": str(error)})
        return bus.dump({"marked": {"what": what, "picture": self._pictures.card(item)}})

    def shelf(self, token: object) -> tuple[str, str]:
        """At load: a valid owner token (a new one where the browser had none) and the newest pictures."""
        kept = token if isinstance(token, str) and self._owners.knows(token) else self._owners.issue()
        try:
            cards = self._pictures.newest(self._owners.owner(kept))
        except StudioError as error:
            return kept, bus.dump({"pictures": [], "says": str(error)})
        return kept, bus.dump({"pictures": cards})
