"""The five functions that programs may call (gradio_client, curl, MCP); the same checks as the page.

On a shared host `visitor` is the token of an owner; a call without one gets a new owner, whose token is
returned.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.errors import StudioError
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.graph.document import Graph
    from studio.studio import Studio


class PublicApi:
    """Results are JSON objects. A mistake of the caller is `{"status": "refused", "error": {...}}`."""

    def __init__(self, studio: Studio, owners: Owners, pictures: Pictures) -> None:
        self._studio = studio
        self._owners = owners
        self._pictures = pictures

    def register(self) -> None:
        """Called inside the Blocks. Runs wait in the studio's own queue; gradio's must not hold them."""
        gr.api(self.generate, api_name="generate", concurrency_limit=None)
        gr.api(self.run_graph, api_name="run_graph", concurrency_limit=None)
        gr.api(self.validate_graph, api_name="validate_graph")
        gr.api(self.list_nodes, api_name="list_nodes")
        gr.api(self.get_history, api_name="get_history")

    def generate(
        self,
        prompt: str,
        negative: str = "",
        seed: int | None = None,
        steps: int | None = None,
        width: int | None = None,
        height: int | None = None,
        cfg_scale: float | None = None,
        visitor: str = "",
    ) -> dict[str, Any]:
        """Makes a picture from a text with the text-to-image workflow and waits for it."""
        try:
            if (width is None) != (height is None):
                raise StudioError("A size needs width and height.", hint="Give both or neither.")
            size = (width, height) if width is not None and height is not None else None
            document = self._studio.text_to_image(
                prompt, negative=negative or None, seed=seed, steps=steps, size=size, cfg_scale=cfg_scale
            )
            return self._run(document, visitor)
        except StudioError as error:
            return _refused(error)

    def run_graph(self, graph: dict[str, Any], visitor: str = "") -> dict[str, Any]:
        """Runs a graph document and waits for it."""
        try:
            return self._run(self._studio.read_document(_json(graph)), visitor)
        except StudioError as error:
            return _refused(error)

    def validate_graph(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Checks a graph document without running it: {"ok", "problems"}."""
        try:
            problems = self._studio.check(self._studio.read_document(_json(graph)))
        except StudioError as error:
            return {"ok": False, "problems": [_words(error)]}
        listed = [
            {"node": p.node, "socket": p.socket, "message": p.message, "hint": p.hint} for p in problems
        ]
        return {"ok": not listed, "problems": listed}

    def list_nodes(self) -> dict[str, Any]:
        """Every kind of node with its sockets and widgets."""
        return dict(self._studio.registry.to_json())

    def get_history(
        self, text: str = "", limit: int = 20, before: str = "", visitor: str = ""
    ) -> dict[str, Any]:
        """The caller's pictures, newest first: {"pictures", "next"}; hand `next` in as `before`."""
        try:
            owner = self._owners.owner(visitor)
            count = max(1, min(int(limit), 100))
            page = self._studio.history.search(owner, text[:500], limit=count, before=before or None)
        except StudioError as error:
            return _refused(error)
        return {"pictures": [self._pictures.card(item) for item in page.items], "next": page.next}

    def _run(self, document: Graph, visitor: str) -> dict[str, Any]:
        token = visitor or self._owners.issue()
        owner = self._owners.owner(token)
        report = self._studio.run(document, owner=owner)
        made = self._pictures.made(owner, [output.generation for output in report.outputs])
        seconds, warnings = report.seconds, list(report.warnings)
        result = {
            "status": report.status,
            "run": report.run,
            "pictures": made,
            "seconds": seconds,
            "warnings": warnings,
        }
        return {**result, "error": report.error, "visitor": token}


def _json(graph: object) -> str:
    """A caller's object as text again, for the one strict reader. Raises StudioError."""
    try:
        return json.dumps(graph, allow_nan=False)
    except (ValueError, RecursionError):
        raise StudioError("The graph is no JSON object.", hint="NaN and Infinity are not JSON.") from None


def _words(error: StudioError) -> dict[str, str]:
    return {"node": error.node, "socket": error.socket, "message": error.message, "hint": error.hint}


def _refused(error: StudioError) -> dict[str, Any]:
    return {"status": "refused", "error": _words(error)}
