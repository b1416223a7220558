"""The Create tab: a form over the exposed widgets of the graph document, and a run as the page sees it.

The page holds the document and nothing else; every handler reads it strictly, checks the owner and answers
with a whole message. A run is a job of the Studio: closing the page ends a subscription, never the run.
"""

from __future__ import annotations

import binascii
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import gradio as gr

from studio import early
from studio.errors import BUG, BadDocument, Refused, StudioError
from studio.graph.document import Graph, to_json
from studio.ui import asked, bus
from studio.ui.forms import missing_kinds, panel
from studio.ui.found import found_for, use_found
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures
from studio.ui.templates import Templates
from studio.ui.uploads import Uploads
from studio.varying import STRENGTH, variations

if TYPE_CHECKING:
    from studio.studio import Studio

log = logging.getLogger(__name__)
MOST_TOLD = 12  # problems told at once
MOST_PARENTS = 8
MOST_VARIED = 8
MOST_SERIES = 8
MOST_PAGES = 500  # runs whose page is remembered
ROLES = ("source", "variation", "inpaint", "upscale", "reuse", "sweep")
RETURNED = "This is as you left it."
STAYED = "These settings name words of their own prompt, so yours did not come along."


class CreateTab:
    """Handlers of the Create tab. Values and event data come from a browser: nothing in them is trusted."""

    def __init__(self, studio: Studio, owners: Owners, pictures: Pictures) -> None:
        self._studio = studio
        self._owners = owners
        self._pictures = pictures
        self._uploads = Uploads(studio)
        self._waiting: dict[str, list[list[Graph]]] = {}  # what did not fit into the queue, by owner
        self._pages: dict[str, str] = {}  # by run: the page that asked for it
        self.templates = Templates(studio)

    def start_message(self) -> str:
        """The document a new page starts with, and its form."""
        return self.message(self._studio.workflow())

    def message(
        self, document: Graph, *, says: str = "", undo: bool = False, seed: bool = False, anew: bool = False
    ) -> str:
        """`undo`: the page offers the way back; `anew`: it offers the untouched template; `seed`: the seed
        came from a picture and is to be kept."""
        fields = panel(document, self._studio.registry)
        return bus.dump(
            {
                "document": to_json(document),
                "panel": fields,
                "template": self.templates.name_of(document),
                "thumbs": self._uploads.thumbs(document, fields),
                "says": says,
                "undo": undo,
                "anew": anew,
                "restored": {"seed": seed},
            }
        )

    # a run

    async def run(
        self,
        value: object,
        token: object,
        targets: Sequence[str] | None = None,
        parents: object = None,
        series: object = None,
        page: object = None,
    ) -> AsyncIterator[str]:
        """Submits the page's document and follows it to its end; yields messages for the bus.

        `targets`: the nodes to reach, None = all outputs. `parents`: [generation, role] of the pictures that
        this one comes from; what is no picture of this owner is left out. `series`: documents in its place,
        all queued at once; what does not fit into the queue follows as there is room. `page`: who asks, told
        with every snapshot of the run, so that another page of this owner knows it as another's.
        """
        document: Graph | None = None
        many = series[:MOST_SERIES] if isinstance(series, list) and series else None
        runs: list[str] = []
        try:
            owner = self._owners.owner(token)
            waiting = [self._document(one) for one in many or [value]]
            kin = self._kin(parents, owner)

            def submit() -> None:
                nonlocal document
                while waiting:
                    document = waiting[0]
                    runs.append(self._studio.submit(document, targets=targets, owner=owner, parents=kin))
                    self._pages[runs[-1]] = page[:64] if isinstance(page, str) else ""
                    for old in list(self._pages)[:-MOST_PAGES]:
                        del self._pages[old]
                    waiting.pop(0)

            try:
                submit()
            except Refused:
                if not runs:
                    raise
            self._waiting.setdefault(owner, []).append(waiting)
        except StudioError as error:
            yield bus.failure(error, title=_title(document, error.node))
            return
        except Exception:
            log.exception("A run could not be submitted")
            yield bus.failure(BUG)
            return
        for run in runs:  # it grows while it is walked
            of = self._made_of(run, owner) if many else None
            async for message in self._follow(run, owner, of, waiting):
                yield message
            with suppress(Refused):
                submit()
        self._waiting[owner] = [left for left in self._waiting.get(owner, ()) if left]

    def _kin(self, parents: object, owner: str) -> list[tuple[str, str]]:
        pairs = parents[:MOST_PARENTS] if isinstance(parents, list) else []
        found = []
        for pair in pairs:
            known = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
            if known and pair[1] in ROLES and self._studio.history.get(owner, pair[0]) is not None:
                found.append((pair[0], pair[1]))
        return found

    async def attach(self, token: object) -> AsyncIterator[str]:
        """A page that was opened or reloaded takes up the run at work, then those that wait behind it, or is
        offered one that broke off."""
        try:
            owner = self._owners.owner(token)
            run = self._studio.live_run(owner)
            offer = self._offer(owner) if run is None else None
        except StudioError:
            return
        if offer is not None:
            yield offer
        followed: set[str] = set()
        while run is not None and run not in followed:
            followed.add(run)
            async for message in self._follow(run, owner, self._made_of(run, owner)):
                yield message
            run = self._studio.live_run(owner)

    def _made_of(self, run: str, owner: str) -> object:
        """What a run is made of, for a page that did not begin it; None where that is not known."""
        job = self._studio.jobs.get(run, owner)
        with suppress(StudioError):
            return None if job is None else to_json(self._studio.read_document(job.document))
        return None

    async def parked(self, token: object, event: gr.EventData) -> AsyncIterator[str]:
        """Resumes a run that a crash broke off and follows it, or discards it and offers the next one.

        Event data: `run`, `choice` (resume, discard).
        """
        jobs = self._studio.jobs
        try:
            owner, run = self._owners.owner(token), asked.text(event, "run", 64)
            if asked.given(event, "choice") == "discard":
                jobs.discard(run, owner)
                yield self._offer(owner) or bus.dump({"run": None, "seq": 0, "job": {"state": "idle"}})
                return
            job = jobs.get(run, owner)
            again = job is not None and "resume" not in jobs.offers(job)
            run = (jobs.requeue(run, owner) if again else jobs.resume(run, owner)).id
        except StudioError as error:
            yield bus.failure(error)
            return
        async for message in self._follow(run, owner, self._made_of(run, owner)):
            yield message

    def _offer(self, owner: str) -> str | None:
        """The newest broken off run as the job line offers it."""
        job = next(iter(self._studio.jobs.parked(owner)), None)
        if job is None:
            return None
        offer = {"name": self._prompt(job.document)}
        return bus.dump({"run": job.id, "seq": 0, "job": {"state": "parked"}, "offer": offer})

    def _prompt(self, text: str) -> str:
        """The beginning of the prompt in a document; empty where there is none."""
        document = self._studio.read_document(text)
        fields = panel(document, self._studio.registry)
        field = next((field for field in fields if field["role"] == "prompt"), None)
        if field is None:
            return ""
        prompt = str(document.node(str(field["node"])).widgets.get(str(field["widget"]), ""))
        return prompt if len(prompt) <= 80 else prompt[:79] + "…"

    async def keep(self, token: object, event: gr.EventData) -> AsyncIterator[str]:
        """Keeps what a run shows: stops it and follows the run that makes the picture. Event data: `run`."""
        try:
            owner = self._owners.owner(token)
            run = early.keep_now(self._studio, asked.text(event, "run", 64), owner)
        except StudioError as error:
            yield bus.failure(error)
            return
        async for message in self._follow(run, owner):
            yield message

    async def _follow(
        self, run: str, owner: str, of: object = None, waiting: Sequence[Graph] = ()
    ) -> AsyncIterator[str]:
        """`of`: the document that the run is made of, told with the first message; `waiting`: what will be
        queued behind it."""
        seq = 0
        try:
            known = early.painters(self._studio, run, owner)
            async for snapshot in bus.relay(self._studio.snapshots(run, owner)):
                seq = int(snapshot.get("seq") or 0)  # type: ignore[call-overload]
                painting = known.at_work(snapshot)
                told = snapshot if painting is None else {**snapshot, "keep": painting[1]}
                behind = len(waiting) + self._studio.jobs.behind(run, owner)
                told = {**told, "job": {**told["job"], "behind": behind}}  # type: ignore[dict-item]
                told = {**told, "page": self._pages.get(run, "")}
                if of is not None:
                    told, of = {**told, "of": of}, None
                yield bus.status(told, self._made(snapshot, owner))
        except StudioError as error:
            yield bus.failure(error, run=run, seq=seq + 1)

    def _made(self, snapshot: Mapping[str, object], owner: str) -> list[dict[str, object]]:
        """Cards of the pictures of a run that has ended; until then the page shows previews.

        The first is the one to show: what the node "save" made, where there are others beside it.
        """
        job, outputs = snapshot.get("job"), snapshot.get("outputs")
        if not isinstance(job, Mapping) or job.get("state") not in ("done", "error", "stopped"):
            return []
        if not isinstance(outputs, list):
            return []
        kept = [output for output in outputs if output.get("generation")]
        kept.sort(key=lambda out: (out.get("node") != "save", str(out.get("node")), out.get("item") or 0))
        cards = {card["id"]: card for card in self._pictures.made(owner, [o["generation"] for o in kept])}
        # a picture that another node made before belongs to the node that shows it now
        return [
            {**cards[output["generation"]], "node": output.get("node"), "item": output.get("item")}
            for output in kept
            if output["generation"] in cards
        ]

    def stop(self, token: object, event: gr.EventData) -> None:
        """Sets the cancel flag of a run; unknown, finished and other people's runs are left alone.

        Event data: `run`, `all` (also those of this owner that wait).
        """
        try:
            owner = self._owners.owner(token)
            named = asked.given(event, "run")
            run = named if isinstance(named, str) else self._studio.live_run(owner)
            if asked.given(event, "all") is True:
                for waiting in self._waiting.pop(owner, []):
                    waiting.clear()
                for job in reversed(self._studio.jobs.live(owner)):  # none begins in between
                    self._studio.cancel(job.id, owner)
            if run is not None:
                self._studio.cancel(run, owner)
        except StudioError:
            return

    # the form

    def examine(self, value: object) -> str:
        """What is wrong with the page's document, before it is run, and what was searched for it."""
        try:
            found = found_for(self._studio, document := self._document(value))
            told = [p for p in self._studio.check(document) if p.level != "note"][:MOST_TOLD]
        except StudioError as error:
            problem = {"node": error.node, "socket": error.socket, "message": error.message}
            return bus.dump({"problems": [{**problem, "hint": error.hint, "title": "", "level": "error"}]})
        names = ("node", "socket", "message", "hint", "title", "level")
        return bus.dump({"problems": [{n: getattr(p, n) for n in names} for p in told], "found": found})

    def choose(self, value: object, event: gr.EventData) -> str:
        """Another template; prompt and seed come along.

        Event data: `name`, `text` (JSON of that template as this page left it, or empty).
        """
        before = kept = None
        with suppress(StudioError):
            before = self._document(value)
        with suppress(StudioError):
            kept = self._studio.read_document(asked.text(event, "text", self._studio.policy.max_json_bytes))
        try:
            name = asked.text(event, "name", 200)
            document = self.templates.open(name, before, kept)
            returned = self.templates.returned(name, kept)
            stayed = before is not None and self.templates.stayed_behind(before, document)
            says = RETURNED if returned else STAYED if stayed else ""
            return self.message(document, says=says, anew=returned)
        except StudioError as error:
            return bus.dump({"says": str(error)})

    def bring(self, token: object, event: gr.EventData) -> str:
        """Stores a picture for a widget. Event data: `node`, `widget`, `name`, `data` (its base64)."""
        place = {"node": asked.given(event, "node"), "widget": asked.given(event, "widget")}
        try:
            self._owners.owner(token)
            data = asked.upload(event, self._studio.policy.max_upload_bytes)
            brought = self._uploads.store(data, asked.text(event, "name", 1000))
        except binascii.Error:
            return bus.dump({"brought": {**place, "fault": "The picture did not arrive whole. Try again."}})
        except StudioError as error:
            return bus.dump({"brought": {**place, "fault": str(error)}})
        return bus.dump({"brought": {**place, **brought}})

    # documents from elsewhere

    def reuse(self, token: object, event: gr.EventData) -> str:
        """The graph of a picture of this owner becomes the page's document."""
        try:
            generation = asked.text(event, "generation", 64)
            document = self._studio.document_of(generation, self._owners.owner(token))
        except StudioError as error:
            return bus.dump({"says": str(error)})
        return self.message(document, says="The settings of this picture are back.", undo=True, seed=True)

    def vary(self, token: object, event: gr.EventData) -> str:
        """The graph that paints variations of a picture: {"vary": {"document", "targets", "of"}}. Event data:
        `generation`, `seeds`, `strength` (0.05 to 1), `turn` (told back)."""
        seeds, turn = asked.given(event, "seeds"), asked.turn(event)
        try:
            owner = self._owners.owner(token)
            generation = asked.text(event, "generation", 64)
            whole = [s for s in seeds if type(s) is int and 0 <= s < 2**53] if isinstance(seeds, list) else []
            if not 1 <= len(whole) <= MOST_VARIED:
                raise BadDocument("The page sent no usable seeds.", hint="Reload the page.")
            item = self._studio.history.show(owner, generation)
            made = self._studio.document_of(generation, owner)
            strength = asked.number(event, "strength", 0.05, 1.0, STRENGTH)
            document, targets = variations(made, item.node, whole, strength)
        except StudioError as error:
            return bus.dump({"says": str(error), "turn": turn})
        vary = {"document": to_json(document), "targets": list(targets), "of": generation}
        return bus.dump({"vary": vary, "turn": turn})

    def open(self, event: gr.EventData) -> str:
        """A document that the page kept, or took out of a dropped picture or file. Read strictly, never run.

        Event data: `text` (JSON), `name` (file name to speak of; empty = kept by this browser).
        """
        name = ""
        try:
            name = asked.text(event, "name", 200)
            text = asked.text(event, "text", self._studio.policy.max_json_bytes)
            document = self._studio.read_document(text)
        except StudioError as error:
            return (
                bus.dump({"says": f"{name} could not be opened: {error}"}) if name else self.start_message()
            )
        if not name:  # the page's own memory
            return self.message(document)
        missing = missing_kinds(document, self._studio.registry)
        says = f"Settings restored from {name}."
        if missing:
            says += f" Not installed here: {', '.join(missing)}. These nodes are kept as they are."
        return self.message(document, says=says, undo=True, seed=True)

    def found(self, value: object, event: gr.EventData) -> str:
        """The page's document with a found list as its schedule. Event data: `node`, `steps`."""
        return use_found(self._studio, lambda: self._document(value), self.message, event)

    def _document(self, value: object) -> Graph:
        """The document inside the component's value. Raises BadDocument, Refused."""
        if not isinstance(value, str):
            raise BadDocument("The page sent no graph.", hint="Reload the page.")
        self._studio.policy.check_json(len(value.encode("utf-8", "replace")))
        try:
            data = json.loads(value)
            text = json.dumps(data["document"], allow_nan=False)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise BadDocument("The page sent a graph that cannot be read.", hint="Reload the page.") from None
        return self._studio.read_document(text)


def _title(document: Graph | None, node: str) -> str:
    """The title of a node for the job line; empty where there is none."""
    found = next((n for n in document.nodes if n.id == node), None) if document and node else None
    return (found.title or found.id) if found else ""
