"""The five functions that programs may call (gradio_client, curl, MCP); the same checks as the page.

docs/api.md is their manual. On a shared host `visitor` is the token of an owner; a run without one gets a new
owner, whose token is returned.
"""

# No `from __future__ import annotations`: gr.api reads the annotation of what a function returns as it stands
# and makes nothing but "Any" of a text.

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

import gradio as gr
from gradio.context import get_blocks_context

from studio.errors import Refused, StudioError
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.graph.document import Graph
    from studio.studio import Studio

ADDRESSES = ("url", "thumb", "save", "saveWithGraph")
NO_VISITOR = "Call generate or run_graph once without one, keep the 'visitor' of its answer and hand it on."


class Fault(TypedDict):
    """What is wrong and one next step; `node` and `socket` are empty where it is about no node."""

    message: str
    hint: str
    node: str
    socket: str


class Finding(Fault):
    """`level`: "error", or "warning" and "note", with which a graph runs."""

    level: str


class Picture(TypedDict):
    """One picture of the history. `created`: seconds since 1970. Addresses are whole; `saveWithGraph` is null
    where `save` carries the workflow already."""

    id: str
    run: str
    node: str
    item: int | None
    created: float
    title: str
    prompt: str
    negative: str
    seed: int
    model: str
    width: int
    height: int
    starred: bool
    missing: bool
    tags: list[str]
    note: str
    seconds: float | None
    file: str
    url: str
    thumb: str
    save: str
    saveWithGraph: str | None


class Made(TypedDict):
    """`status`: finished, failed, cancelled or refused; `error` is null where all went well."""

    status: str
    run: str
    pictures: list[Picture]
    seconds: float
    warnings: list[str]
    error: Fault | None
    visitor: str


class Checked(TypedDict):
    """`ok` is true where the graph can run."""

    ok: bool
    problems: list[Finding]


class Nodes(TypedDict):
    """Everything that a graph document may hold, by name."""

    types: dict[str, Any]
    categories: dict[str, Any]
    nodes: dict[str, Any]


class Page(TypedDict):
    """A page of the history, newest first; `next` is null at its end."""

    pictures: list[Picture]
    next: str | None
    error: Fault | None


class PublicApi:
    """Results are JSON objects with the same fields always. A mistake of the caller stands in `error`."""

    def __init__(self, studio: "Studio", owners: Owners, pictures: Pictures) -> None:
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
        blocks = get_blocks_context()
        for function in blocks.fns.values() if blocks else ():
            if getattr(function.fn, "__self__", None) is self:
                for answer in function.outputs:
                    answer.label = "answer"  # gr.api calls it "1st"

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
        request: gr.Request | None = None,
    ) -> Made:
        """Makes a picture from a text with the text-to-image workflow and waits for it."""
        try:
            if (width is None) != (height is None):
                raise StudioError("A size needs width and height.", hint="Give both or neither.")
            size = (width, height) if width is not None and height is not None else None
            document = self._studio.text_to_image(
                prompt, negative=negative or None, seed=seed, steps=steps, size=size, cfg_scale=cfg_scale
            )
            return self._run(document, visitor, request)
        except StudioError as error:
            return _refused(error, visitor)

    def run_graph(self, graph: dict[str, Any], visitor: str = "", request: gr.Request | None = None) -> Made:
        """Runs a graph document and waits for it."""
        try:
            return self._run(self._studio.read_document(_json(graph)), visitor, request)
        except StudioError as error:
            return _refused(error, visitor)

    def validate_graph(self, graph: dict[str, Any]) -> Checked:
        """Checks a graph document without running it."""
        try:
            problems = self._studio.check(self._studio.read_document(_json(graph)))
        except StudioError as error:
            return {"ok": False, "problems": [{**_words(error), "level": "error"}]}
        listed: list[Finding] = [
            {"message": p.message, "hint": p.hint, "node": p.node, "socket": p.socket, "level": p.level}
            for p in problems
        ]
        return {"ok": all(p["level"] != "error" for p in listed), "problems": listed}

    def list_nodes(self) -> Nodes:
        """Every kind of node with its sockets and widgets."""
        return cast(Nodes, dict(self._studio.registry.to_json()))

    def get_history(
        self,
        text: str = "",
        limit: int = 20,
        before: str = "",
        visitor: str = "",
        request: gr.Request | None = None,
    ) -> Page:
        """The caller's pictures, newest first; hand `next` in as `before` for older ones."""
        try:
            owner = self._owner(visitor)
            count = max(1, min(int(limit), 100))
            page = self._studio.history.search(owner, text[:500], limit=count, before=before or None)
        except StudioError as error:
            return {"pictures": [], "next": None, "error": _words(error)}
        cards = [_whole(self._pictures.card(item), request) for item in page.items]
        return {"pictures": cards, "next": page.next, "error": None}

    def _owner(self, visitor: str) -> str:
        """Raises Refused, in a program's words: it has no page to reload."""
        try:
            return self._owners.owner(visitor)
        except Refused:
            said = "This studio did not issue that visitor." if visitor else "No visitor was given."
            raise Refused(said, hint=NO_VISITOR) from None

    def _run(self, document: "Graph", visitor: str, request: gr.Request | None) -> Made:
        token = visitor or self._owners.issue()
        owner = self._owner(token)
        report = self._studio.run(document, owner=owner)
        made = self._pictures.made(owner, [output.generation for output in report.outputs])
        return {
            "status": report.status,
            "run": report.run,
            "pictures": [_whole(card, request) for card in made],
            "seconds": report.seconds,
            "warnings": list(report.warnings),
            "error": cast(Fault | None, report.error),
            "visitor": token,
        }


def _whole(card: Mapping[str, object], request: gr.Request | None) -> Picture:
    """A card of the page with addresses that hold outside of it: they begin as the caller's own did."""
    if request is None or request.request is None:
        return cast(Picture, dict(card))
    asked = request.request
    # Only a Space keeps this header (web.py); it ends TLS before us.
    scheme = asked.headers.get("x-forwarded-proto", asked.url.scheme).split(",")[0].strip()
    base = f"{scheme}://{asked.headers.get('host', asked.url.netloc)}/"
    return cast(Picture, {k: base + str(v) if k in ADDRESSES and v else v for k, v in card.items()})


def _json(graph: object) -> str:
    """A caller's object as text again, for the one strict reader. Raises StudioError."""
    try:
        return json.dumps(graph, allow_nan=False)
    except (ValueError, RecursionError):
        raise StudioError("The graph is no JSON object.", hint="NaN and Infinity are not JSON.") from None


def _words(error: StudioError) -> Fault:
    return {"message": error.message, "hint": error.hint, "node": error.node, "socket": error.socket}


def _refused(error: StudioError, visitor: str) -> Made:
    return {
        "status": "refused", "run": "", "pictures": [], "seconds": 0.0, "warnings": [],
        "error": _words(error), "visitor": visitor,
    }  # fmt: skip
