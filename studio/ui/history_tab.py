"""The History tab: pictures of this owner by day, searched, marked, exported, looked into and made again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.errors import BUG, Cancelled, StudioError
from studio.reports import Snapshots
from studio.ui import asked, bus
from studio.ui.exports import Exports
from studio.ui.owners import Owners
from studio.ui.picture_detail import detail
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.graph.events import Event
    from studio.replay import Comparison
    from studio.studio import Studio

log = logging.getLogger(__name__)
PAGE = 120  # rows of one answer at most
MOST = 10_000  # pictures changed or exported at once
TOLD_EVERY = 0.3  # seconds between two snapshots of a picture that is made again
MARKS = ("star", "unstar", "delete", "undelete", "tag", "untag", "note")
Asked = Mapping[str, Any]


class HistoryTab:
    """Handlers of the History tab and of the strip below the picture; event data comes from a browser."""

    def __init__(self, studio: Studio, owners: Owners, pictures: Pictures) -> None:
        self._studio = studio
        self._owners = owners
        self._pictures = pictures
        self.exports = Exports(studio, owners)
        self._replays: dict[str, threading.Event] = {}

    def search(self, token: object, event: gr.EventData) -> str:
        """Rows of the pictures that fit, from place `at` on, newest first.

        Event data: `ask` (a number that comes back), `at`, `many` (1..120), `fresh` (true: also the counts by
        day and what can be chosen), `ids` (true: only the ids of all that fit), and the filters `text`,
        `starred`, `plain` (true: no maps, sheets and other helpers), `tag`, `model`, `kind`, `seed`, `since`,
        `until` (Unix seconds), `zone` (minutes that local time is ahead of UTC). What is no such value counts
        as not given.
        """
        data, history = asked.data(event), self._studio.history
        ask = data.get("ask")
        ask = ask if type(ask) is int else 0
        try:
            owner = self._owners.owner(token)
            query = history.query(**_filters(data))
            if data.get("ids") is True:
                return bus.dump({"ask": ask, "ids": list(history.ids(owner, query, MOST))})
            at = _whole(data.get("at"), 0, 10**9, 0)
            many = _whole(data.get("many"), 1, PAGE, PAGE)
            page = history.find(owner, query, limit=many, skip=at)
            answer: dict[str, object] = {
                "ask": ask,
                "at": at,
                "pictures": [self._pictures.card(item) for item in page.items],
                "says": "",
            }
            if data.get("fresh") is True or "fresh" not in data:
                zone = _whole(data.get("zone"), -24 * 60, 24 * 60, 0) * 60.0
                answer["days"] = history.days(owner, query, zone)
                answer["choices"] = self._choices(owner)
        except StudioError as error:
            return bus.dump({"ask": ask, "at": 0, "pictures": [], "days": [], "says": str(error)})
        return bus.dump(answer)

    def _choices(self, owner: str) -> dict[str, list[list[object]]]:
        """What can be asked for: tags, models and kinds of node with how many pictures each."""
        history, registry = self._studio.history, self._studio.registry

        def title(kind: str) -> str:
            return str(getattr(registry.find(kind), "title", "") or kind)

        kinds = [[kind, title(kind), n] for kind, n in history.kinds(owner).items()]
        return {
            "tags": [[tag, tag, n] for tag, n in history.tags(owner).items()],
            "models": [[model, model, n] for model, n in history.models(owner).items()],
            "kinds": sorted(kinds, key=lambda row: str(row[1])),
        }

    def mark(self, token: object, event: gr.EventData) -> str:
        """Stars, tags, notes or deletes pictures, or takes that back; a deletion for ten minutes.

        Event data: `generation` or `generations`, `what` (one of MARKS), `text` (the tag or the note).
        """
        data, history = asked.data(event), self._studio.history
        what, text = data.get("what"), data.get("text")
        try:
            owner = self._owners.owner(token)
            ids = self._given(data)
            if not ids or what not in MARKS:
                raise StudioError("The page sent no usable change.", hint="Reload the page.")
            if what in ("tag", "untag", "note") and not isinstance(text, str):
                raise StudioError("The page sent no text.", hint="Reload the page.")
            if what == "undelete":
                if not history.undelete(owner, *ids):
                    raise StudioError("This cannot be brought back any more.")
                items = [item for name in ids if (item := history.get(owner, name)) is not None]
            else:
                items = [history.show(owner, name) for name in ids]
                if what == "delete":
                    history.delete(owner, *(item.id for item in items), undo=True)
                else:
                    items = [self._marked(owner, item.id, str(what), text) for item in items]
        except StudioError as error:
            return bus.dump({"says": str(error)})
        cards = [self._pictures.card(item) for item in items]
        marked = {"what": what, "text": text, "picture": cards[0], "pictures": cards}
        return bus.dump({"marked": marked})

    def _marked(self, owner: str, name: str, what: str, text: object) -> Any:
        history = self._studio.history
        if what in ("tag", "untag"):
            return history.tag(owner, name, str(text), what == "tag")
        if what == "note":
            return history.note(owner, name, str(text))
        return history.star(owner, name, what == "star")

    def export(self, token: object, event: gr.EventData) -> str:
        """The address of a zip: {"export"}. Event data: `generations`, `strip` (true: pictures alone)."""
        data = asked.data(event)
        try:
            owner = self._owners.owner(token)
            ids = self._given(data)
            if not ids:
                raise StudioError("No picture was chosen for the export.")
            for name in ids:
                self._studio.history.show(owner, name)
        except StudioError as error:
            return bus.dump({"says": str(error)})
        url = self.exports.ticket(owner, ids, strip=data.get("strip") is True)
        return bus.dump({"export": {"url": url, "pictures": len(ids)}})

    def look(self, token: object, event: gr.EventData) -> str:
        """A picture in full: {"detail"}. Event data: `generation`."""
        try:
            owner = self._owners.owner(token)
            found = detail(self._studio, self._pictures, owner, _name(asked.data(event)))
        except StudioError as error:
            return bus.dump({"says": str(error)})
        return bus.dump({"detail": found})

    async def replay(self, token: object, event: gr.EventData) -> AsyncIterator[tuple[object, object]]:
        """Makes a picture again without the cache and compares; yields messages for (History, the job line):
        {"proof"} at the end, and until then how far it is, with `replay`.

        Event data: `generation`, `stop` (true: the replay under way of this owner ends).
        """
        data = asked.data(event)
        generation = ""
        try:
            owner = self._owners.owner(token)
            if data.get("stop") is True:
                if owner in self._replays:
                    self._replays[owner].set()
                return
            generation = _name(data)
            if owner in self._replays:
                raise StudioError("Another picture is being made again.", hint="Wait for it, or stop it.")
        except StudioError as error:
            yield _failed(generation, error), gr.skip()
            return
        stop = threading.Event()
        seen: list[Event] = []
        self._replays[owner] = stop

        def made() -> Comparison:
            try:
                return self._studio.replay(generation, owner, on_event=seen.append, should_stop=stop.is_set)
            finally:
                self._replays.pop(owner, None)

        alone = ThreadPoolExecutor(1, "weft-replay")
        work = asyncio.get_running_loop().run_in_executor(alone, made)
        alone.shutdown(wait=False)
        folded = Snapshots(f"replay-{generation}")
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=TOLD_EVERY)
                new = [one for one in seen[:] if one.seq > folded.seq]
                if new and not work.done():
                    folded.add(new)
                    yield gr.skip(), bus.dump({**folded.page(), "replay": True})
            told = {**(await work).as_json(), "of": generation, "words": work.result().words()}
            proof = bus.dump({"proof": told})
        except Cancelled:
            proof = bus.dump({"proof": {"of": generation, "verdict": "stopped", "words": "Stopped."}})
        except StudioError as error:
            proof = _failed(generation, error)
        except Exception:
            log.exception("A picture could not be made again")
            proof = _failed(generation, BUG)
        finally:
            stop.set()  # a page that was closed waits for no proof
        over = {"run": f"replay-{generation}", "seq": folded.seq + 1, "job": {"state": "done"}}
        yield proof, bus.dump({**over, "replay": True})

    def shelf(self, token: object) -> tuple[str, str]:
        """At load: a valid owner token (a new one where the browser had none) and the newest pictures."""
        kept = token if isinstance(token, str) and self._owners.knows(token) else self._owners.issue()
        try:
            cards = self._pictures.newest(self._owners.owner(kept))
        except StudioError as error:
            return kept, bus.dump({"pictures": [], "says": str(error)})
        return kept, bus.dump({"pictures": cards})

    @staticmethod
    def _given(data: Asked) -> tuple[str, ...]:
        """The ids an event names: none for anything that is no list of at most MOST texts."""
        given = data.get("generations", [data.get("generation")])
        right = isinstance(given, list) and 0 < len(given) <= MOST
        if not right or not all(isinstance(name, str) and 0 < len(name) <= 64 for name in given):
            return ()
        return tuple(dict.fromkeys(given))


def _failed(generation: str, error: StudioError) -> str:
    return bus.dump({"proof": {"of": generation, "verdict": "failed", "words": str(error)}})


def _name(data: Asked) -> str:
    name = data.get("generation")
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise StudioError("The page sent no usable picture.", hint="Reload the page.")
    return name


def _whole(value: object, low: int, high: int, default: int) -> int:
    return min(max(value, low), high) if isinstance(value, int) and type(value) is not bool else default


def _filters(data: Asked) -> dict[str, Any]:
    """The filters of `Query` in an event; a value of another type is left out."""
    found: dict[str, Any] = {"prefix": True}
    for name, given in (("text", "text"), ("tag", "tag"), ("model", "model"), ("node_kind", "kind")):
        value = data.get(given)
        if isinstance(value, str) and value:
            found[name] = value[:500]
    for name in ("since", "until"):
        value = data.get(name)
        if isinstance(value, int | float) and type(value) is not bool and abs(value) < 1e12:
            found[name] = float(value)
    seed = data.get("seed")
    if type(seed) is int and 0 <= seed < 2**53:
        found["seed"] = seed
    if data.get("plain") is True:
        found["helpers"] = False
    if data.get("starred") is True:
        found["starred"] = True
    return found
