"""The Graph tab: what Python says about the document that the editor shows.

The editor lives in the browser (assets/graph) and edits the page's one document; Create is a form over the
same. Every handler reads the document strictly and answers with a whole message; nothing here keeps state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import gradio as gr

from studio.errors import BadDocument, StudioError
from studio.graph.document import Graph, dumps
from studio.graph.inline import inline
from studio.ui import asked, bus
from studio.ui.forms import panel
from studio.ui.graph_export import as_call, as_python
from studio.ui.owners import Owners
from studio.ui.templates import Templates
from studio.ui.uploads import Uploads

if TYPE_CHECKING:
    from studio.studio import Studio

MOST_TOLD = 60  # problems told at once
MOST_TARGETS = 64
URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]{1,200}/(?:[A-Za-z0-9._~/-]{0,200})")
PARTS = ("node", "socket", "message", "hint", "title", "level", "stage", "blocking")


class GraphTab:
    """Handlers of the Graph tab. Values and event data come from a browser: nothing in them is trusted."""

    def __init__(self, studio: Studio, owners: Owners, templates: Templates) -> None:
        self._studio = studio
        self._owners = owners
        self._templates = templates
        self._uploads = Uploads(studio)

    def look(self, value: object, token: object, event: gr.EventData) -> str:
        """What the document comes to: its problems, the form of Create, and on request the plan.

        Event data: `n` (number of the asking, given back), `plan` (true: what a run would do), `targets`.
        """
        number = asked.given(event, "n")
        answer: dict[str, object] = {"n": number if isinstance(number, int) else 0}
        try:
            document = self._document(value)
            answer["panel"] = fields = panel(document, self._studio.registry)
            answer["template"] = self._templates.name_of(document)
            flat = inline(document, self._studio.registry).graph
            answer["thumbs"] = self._uploads.thumbs(flat, self._pictures(flat))
            answer["problems"] = self._problems(document)
            answer["shown"] = [f"{field['node']} {field['widget']}" for field in fields]
        except StudioError as error:
            answer["problems"] = [_problem(error)]
            return bus.dump(answer)
        if asked.given(event, "plan") is True:
            answer["plan"] = self._plan(document, token, targets_of(event))
        return bus.dump(answer)

    def hand_out(self, value: object, event: gr.EventData) -> str:
        """The document as a text to keep. Event data: `what` (json, python, api), `url` (of this page)."""
        what, url = asked.given(event, "what"), asked.given(event, "url")
        try:
            document = self._document(value).with_kinds(self._studio.registry)
            if what == "python":
                text = as_python(document)
            elif what == "api":
                whole = isinstance(url, str) and URL.fullmatch(url)
                text = as_call(document, str(url) if whole else "http://127.0.0.1:7860/")
            else:
                text = dumps(document, indent=1) + "\n"
        except StudioError as error:
            return bus.dump({"fault": str(error)})
        return bus.dump({"handed": {"what": what if what in ("python", "api") else "json", "text": text}})

    def _problems(self, document: Graph) -> list[dict[str, object]]:
        check = self._studio.check(document)
        return [
            {name: getattr(problem, name, "") for name in PARTS}
            for problem in check[:MOST_TOLD]
            if problem.level != "note"
        ]

    def _plan(self, document: Graph, token: object, targets: list[str] | None) -> Mapping[str, object]:
        """The plan in words of the page; `fault` where there is nothing to plan."""
        try:
            plan = self._studio.plan(document, targets, owner=self._owners.owner(token))
        except StudioError as error:
            return {"fault": str(error)}
        nodes = [
            {"id": node.id, "action": node.action, "reason": node.reason, "seconds": node.seconds}
            for node in plan.nodes
        ]
        return {"nodes": nodes, "seconds": round(plan.seconds, 3), "targets": list(plan.targets)}

    def _pictures(self, document: Graph) -> list[dict[str, object]]:
        """The picture widgets of the document, as `Uploads.thumbs` wants them."""
        found: list[dict[str, object]] = []
        for node in document.nodes:
            spec = self._studio.registry.find(node.kind)
            for param in spec.params if spec else ():
                if param.widget.sort == "picture":
                    found.append({"node": node.id, "widget": param.name, "sort": "picture"})
        return found

    def _document(self, value: object) -> Graph:
        """The document in the editor's value. Raises BadDocument, Refused."""
        if not isinstance(value, str):
            raise BadDocument("The page sent no graph.", hint="Reload the page.")
        return self._studio.read_document(value)


def targets_of(event: gr.EventData) -> list[str] | None:
    """The nodes that a run is to reach; None = all outputs, also for anything that is no list of ids."""
    targets = asked.given(event, "targets")
    if not isinstance(targets, list) or not 0 < len(targets) <= MOST_TARGETS:
        return None
    return [str(target) for target in targets] if all(isinstance(target, str) for target in targets) else None


def _problem(error: StudioError) -> dict[str, object]:
    return {
        "node": error.node,
        "socket": error.socket,
        "message": error.message,
        "hint": error.hint,
        "title": "",
        "level": "error",
        "stage": "document",
        "blocking": True,
    }
