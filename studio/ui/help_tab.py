"""The Help tab: what is stored where, how much of it there is, and the way to delete all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from studio.errors import StudioError
from studio.ui import asked, bus
from studio.ui.graph_view import broken_plugins
from studio.ui.owners import Owners

if TYPE_CHECKING:
    from studio.studio import Studio


class HelpTab:
    """Handlers of the Help tab. A public host names no folder of its own."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners

    def look(self, token: object) -> str:
        """What is kept for this owner: {"kept"} with pictures, bytes, folder and limits; and the {"plugins"}
        of this computer, null on a host that takes none."""
        try:
            owner = self._owners.owner(token)
            return bus.dump({"kept": self._kept(owner), "plugins": self._plugins()})
        except StudioError as error:
            return bus.dump({"says": str(error)})

    def forget(self, token: object, event: gr.EventData) -> str:
        """Deletes every picture of this owner and the finished runs, for good. Event data: `sure` (true)."""
        try:
            owner = self._owners.owner(token)
            if asked.given(event, "sure") is not True:
                raise StudioError("The page sent no usable change.", hint="Reload the page.")
            gone = self._studio.history.delete_all(owner)
            return bus.dump({"kept": self._kept(owner), "gone": gone})
        except StudioError as error:
            return bus.dump({"says": str(error)})

    def _kept(self, owner: str) -> dict[str, object]:
        studio, policy = self._studio, self._studio.policy
        home = studio.settings.home if not policy.is_public else None
        return {
            "pictures": studio.history.count(owner),
            "bytes": studio.history.bytes_used(owner),
            "home": None if home is None else str(home),
            "places": [] if home is None else [[name, str(home / name)] for name in _there(home)],
            "cache": None if home is None else studio.settings.cache_disk_bytes,
            "hours": policy.lifetime_hours,
            "graphInside": policy.embed_graph,
            "urls": policy.allow_urls or policy.allow_hub,
        }

    def _plugins(self) -> dict[str, object] | None:
        """The folder, and by file what it brings or why it does not load; files are looked at anew."""
        studio = self._studio
        if not studio.policy.allow_plugins:
            return None
        studio.registry.refresh()
        titles = {kind: spec.title for kind, spec in studio.registry.specs.items()}
        loaded = [
            {"file": plugin.file, "nodes": [titles[kind] for kind in plugin.nodes if kind in titles]}
            for plugin in studio.registry.plugins
        ]
        broken = [plugin.to_json() for plugin in broken_plugins(studio)]
        return {"folder": str(studio.settings.plugins_folder), "loaded": loaded, "broken": broken}


def _there(home: Path) -> list[str]:
    """The parts of a home that this page can explain, of those that are there."""
    return [name for name in ("images", "uploads", "studio.db", "cache", "models") if (home / name).exists()]
