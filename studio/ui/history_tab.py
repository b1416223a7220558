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
        """One page of pictures. Event data: `text` (at most 500 characters), `before` (cursor or null)."""
        data = event._data if isinstance(event._data, dict) else {}
        text, before = data.get("text"), data.get("before")
        text = text[:500] if isinstance(text, str) else ""
        before = before if isinstance(before, str) and len(before) < 200 else None
        try:
            owner = self._owners.owner(token)
            page = self._studio.history.search(owner, text, limit=PAGE, before=before, prefix=True)
        except StudioError as error:
            return bus.dump({"pictures": [], "before": before, "next": None, "says": str(error)})
        cards = [self._pictures.card(item) for item in page.items]
        return bus.dump({"pictures": cards, "before": before, "next": page.next, "says": ""})

    def shelf(self, token: object) -> tuple[str, str]:
        """At load: a valid owner token (a new one where the browser had none) and the newest pictures."""
        kept = token if isinstance(token, str) and self._owners.knows(token) else self._owners.issue()
        try:
            cards = self._pictures.newest(self._owners.owner(kept))
        except StudioError as error:
            return kept, bus.dump({"pictures": [], "says": str(error)})
        return kept, bus.dump({"pictures": cards})
