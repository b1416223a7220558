"""The Compare tab: axes over the page's document, an estimate, and a sweep as the page sees it.

A sweep is made by the studio (sweeps.py); the page follows it over the run's own channel, so that job line,
preview and Stop are those of any run. Closing the page ends a subscription, never the sweep.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.errors import BadDocument, StudioError
from studio.graph.document import Graph
from studio.graph.sweep import MOST_AXES, Axis, Sweep, make_axis, make_sweep
from studio.pixels import encode, read_picture
from studio.sheet import sheet
from studio.sweeps import CellState, RunningSweep, Sweeps, forecast, found
from studio.ui import asked, bus
from studio.ui.create import BUG
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.studio import Studio

log = logging.getLogger(__name__)
PACE = 0.25  # seconds between two messages of a page
LONGEST = 20_000  # characters of an axis' values
MOST_CARDS = 4000
CARD = ("id", "url", "thumb", "width", "height", "seed", "seconds", "prompt", "title", "file", "save",
        "saveWithGraph")  # fmt: skip


class CompareTab:
    """Handlers of the Compare tab. Event data come from a browser and are checked."""

    def __init__(self, studio: Studio, owners: Owners, pictures: Pictures) -> None:
        self._studio = studio
        self._owners = owners
        self._pictures = pictures
        self.sweeps = Sweeps(studio)
        self._cards: dict[tuple[str, str], Mapping[str, Any]] = {}

    def estimate(self, token: object, event: gr.EventData) -> str:
        """What a table comes to: {"told"}: values or fault of each axis, count, time, what is there.

        Event data: `n` (given back), `document` (JSON text), `axes` (list of node, widget, text, find).
        """
        told: dict[str, object] = {"n": _number(event), "axes": [], "fault": ""}
        try:
            owner = self._owners.owner(token)
            document = self._document(event)
            axes: list[Axis] = []
            lines: list[dict[str, object]] = []
            for wanted in _axes(event):
                try:
                    axes.append(self._axis(document, wanted))
                    lines.append({"labels": list(axes[-1].labels), "fault": ""})
                except StudioError as error:
                    lines.append({"labels": [], "fault": str(error)})
            told["axes"] = lines
            if len(axes) == len(lines):
                sweep = self._sweep(document, axes)
                ahead = forecast(self._studio, sweep, owner)
                cells = [CellState("done" if made else "idle", made) for made in ahead.outputs]
                rest = [CellState() for _ in sweep.cells[len(cells) :]]
                told |= {**ahead.to_json(), "table": self._table(sweep, [*cells, *rest], owner)}
        except StudioError as error:
            told["fault"] = str(error)
        return bus.dump({"told": told})

    async def start(self, token: object, event: gr.EventData) -> AsyncIterator[str]:
        """Starts a sweep and follows it; yields messages for the bus. Event data: `document`, `axes`."""
        try:
            owner = self._owners.owner(token)
            document = self._document(event)
            sweep = self._sweep(document, [self._axis(document, wanted) for wanted in _axes(event)])
            running = self.sweeps.start(sweep, owner)
        except StudioError as error:
            yield bus.failure(error)
            return
        except Exception:
            log.exception("A comparison could not be started")
            yield bus.failure(BUG)
            return
        async for message in self.follow(running):
            yield message

    def live(self, token: object) -> RunningSweep | None:
        """The sweep that goes on for this owner; a page that was reloaded follows it again."""
        try:
            running = self.sweeps.newest(self._owners.owner(token))
        except StudioError:
            return None
        return running if running is not None and not running.over.is_set() else None

    def halt(self, token: object, event: gr.EventData) -> bool:
        """Stops the sweep that a page names; False if it is none of this owner's. Event data: `run`."""
        run = asked.given(event, "run")
        try:
            return isinstance(run, str) and self.sweeps.stop(run, self._owners.owner(token))
        except StudioError:
            return False

    def sheet(self, token: object, event: gr.EventData) -> str:
        """The pictures that are there as one labelled PNG: {"sheet"}, a data address.

        Event data: `n`, `document`, `axes`, `title` (first line of the picture).
        """
        answer: dict[str, object] = {"n": _number(event)}
        try:
            owner = self._owners.owner(token)
            document = self._document(event)
            sweep = self._sweep(document, [self._axis(document, wanted) for wanted in _axes(event)])
            title = asked.given(event, "title")
            answer["sheet"] = self._drawn(sweep, owner, title[:200] if isinstance(title, str) else "")
        except (OSError, StudioError) as error:
            answer["says"] = str(error)
        return bus.dump(answer)

    def _drawn(self, sweep: Sweep, owner: str, title: str) -> str:
        pictures = {}
        for cell in sweep.cells:
            shown = _shown(found(self._studio, self._studio.plan(cell.document, owner=owner), owner))
            if shown is not None:
                path = self._studio.history.picture(owner, str(shown["generation"]))
                pictures[cell.at] = read_picture(path.read_bytes())
        if not pictures:
            raise StudioError("There is no picture in this table yet.", hint="Make them first.")
        axes = [(axis.title, axis.labels) for axis in sweep.axes]
        drawn = sheet(pictures, axes, title=title, fonts=self._studio.settings.assets_folder / "ui" / "fonts")
        return "data:image/png;base64," + base64.b64encode(encode(drawn, "PNG")).decode()

    async def follow(self, running: RunningSweep) -> AsyncIterator[str]:
        """Messages of a sweep for the bus, up to its end; with the table whenever a cell changed."""
        version, cells = 0, ""
        told: set[str] = set()
        while True:
            over = running.over.is_set()  # read first: what came with the end is still told
            if running.version != version:
                version = running.version
                message = self._message(running, version)
                now = " ".join(state.state for state in running.cells)
                if now != cells or over:
                    cells = now
                    message["sweep"] = self._table(running.sweep, running.cells, running.owner)
                    made = [str(o["generation"]) for state in running.cells for o in state.outputs]
                    fresh = [generation for generation in made if generation not in told]
                    told.update(fresh)
                    if fresh:
                        message["pictures"] = self._pictures.made(running.owner, fresh[:-25:-1])
                yield bus.dump(message)
            if over:
                return
            await asyncio.sleep(PACE)

    def _message(self, running: RunningSweep, version: int) -> dict[str, Any]:
        """A snapshot in the form of a run's (ui.md 4.1), with the place in the table."""
        now, at = running.now, running.at
        job = dict(now.get("job") or {})
        done = sum(state.state in ("done", "cached", "error") for state in running.cells)
        job |= {"state": running.state, "cell": done, "cells": len(running.cells), "left_s": running.left,
                "least": False}  # fmt: skip
        message: dict[str, Any] = {"run": running.id, "seq": version, "job": job, "nodes": {}, "warnings": []}
        failed = [state for state in running.cells if state.state == "error"]
        if running.state == "running":
            message["nodes"] = now.get("nodes") or {}
            message["at"] = running.sweep.cells[at].at if at is not None else None
        elif running.state == "error":
            message["error"] = {
                "title": "",
                **(failed[0].error or {"message": "No picture could be made.", "hint": ""}),
            }
        elif failed:
            message["warnings"] = [f"{len(failed)} of {len(running.cells)} pictures could not be made."]
        return message

    def _table(self, sweep: Sweep, states: Sequence[CellState], owner: str) -> dict[str, Any]:
        """Axes, and cells with their pictures."""
        cells = []
        for cell, state in zip(sweep.cells, states, strict=True):
            told: dict[str, Any] = {"at": cell.at, "name": sweep.name(cell), "state": state.state}
            shown = _shown(state.outputs)
            card = self._card(owner, str(shown["generation"])) if shown is not None else None
            if card is not None:
                told["picture"] = card
            if state.error:
                told["says"] = f"{state.error.get('message', '')} {state.error.get('hint', '')}".strip()
            cells.append(told)
        cells.sort(key=lambda told: tuple(reversed(told["at"])))  # row by row
        axes = [{"title": axis.title, "labels": list(axis.labels)} for axis in sweep.axes]
        return {"axes": axes, "cells": cells}

    def _card(self, owner: str, generation: str) -> Mapping[str, Any] | None:
        """What a table needs of a picture; kept, since a table is told again with each new one."""
        if (owner, generation) not in self._cards:
            made = self._pictures.made(owner, [generation])
            if not made:
                return None
            if len(self._cards) >= MOST_CARDS:
                self._cards.clear()
            self._cards[owner, generation] = {name: made[0][name] for name in CARD}
        return self._cards[owner, generation]

    def _axis(self, document: Graph, wanted: Mapping[str, str]) -> Axis:
        most = self._studio.policy.max_cells
        find = wanted["find"].strip()
        return make_axis(
            document, self._studio.registry, wanted["node"], wanted["widget"], wanted["text"], find, most=most
        )

    def _sweep(self, document: Graph, axes: Sequence[Axis]) -> Sweep:
        return make_sweep(
            document, axes, most=self._studio.policy.max_cells, seconds=self._studio.engine.seen.seconds
        )

    def _document(self, event: gr.EventData) -> Graph:
        text = asked.given(event, "document")
        if not isinstance(text, str):
            raise BadDocument("The page sent no graph.", hint="Reload the page.")
        return self._studio.read_document(text)


def _shown(outputs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The picture of a cell: that of the node that saves the result; others are notes beside it."""
    return next((output for output in outputs if output["node"] == "save"), outputs[0] if outputs else None)


def _number(event: gr.EventData) -> int:
    """The number of an asking, given back with the answer."""
    number = asked.given(event, "n")
    return number if isinstance(number, int) else 0


def _axes(event: gr.EventData) -> list[dict[str, str]]:
    """The axes that a page sent, as texts."""
    given = asked.given(event, "axes")
    if not isinstance(given, list) or len(given) > MOST_AXES:
        raise BadDocument("The page sent no usable axes.", hint="Reload the page.")
    for axis in given:
        texts = (
            [axis.get(name) for name in ("node", "widget", "text", "find")]
            if isinstance(axis, dict)
            else [None]
        )
        if any(not isinstance(text, str) or len(text) > LONGEST for text in texts):
            raise BadDocument("The page sent no usable axes.", hint="Reload the page.")
    return given
