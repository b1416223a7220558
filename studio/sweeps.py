"""Sweeps at work (E40): what is there, what the rest will take, and the cells made one after the other.

A cell is an ordinary run, and a sweep holds one place in the queue at a time, so that other runs get a turn.
A cell whose pictures are in the history under the same keys is not run again: so a sweep that broke off, by
Stop or by a crash, is taken up by starting it again.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.graph.document import Graph
    from studio.graph.plan import Plan
    from studio.graph.sweep import Cell, Sweep
    from studio.studio import Studio

log = logging.getLogger(__name__)
MOST_PLANNED = 200  # cells that are planned for an estimate; the rest counts like them
KEPT = 64  # owners whose last sweep is kept in memory
BUG = {"message": "Something went wrong inside the studio.", "hint": "The log of the studio says more."}


@dataclass(frozen=True)
class Forecast:
    """What a sweep will take. `there`: cells that are made already; `seconds` None: not known yet.

    `outputs`: the pictures of each cell that are there (node, item, generation), for the first MOST_PLANNED.
    """

    cells: int
    there: int
    seconds: float | None
    outputs: tuple[list[dict[str, Any]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        seconds = None if self.seconds is None else round(self.seconds, 1)
        return {
            "cells": self.cells,
            "there": self.there,
            "to_make": self.cells - self.there,
            "seconds": seconds,
        }


@dataclass
class CellState:
    """One cell. `state`: idle, running, done, cached, error, stopped; `outputs`: node, item, generation."""

    state: str = "idle"
    outputs: list[dict[str, Any]] = field(default_factory=list)
    error: Mapping[str, Any] | None = None
    seconds: float = 0.0


def found(studio: Studio, plan: Plan, owner: str) -> list[dict[str, Any]]:
    """The pictures of the history that the planned run would make again; empty unless all are there."""
    outputs: list[dict[str, Any]] = []
    for target in plan.targets:
        key = plan[target].key
        one = studio.history.find_by_key(owner, key)
        several = [(None, one)] if one is not None else []
        while key and one is None:  # an output of several pictures keeps each under its place
            item = studio.history.find_by_key(owner, f"{key}/{len(several)}")
            if item is None:
                break
            several.append((len(several), item))  # type: ignore[arg-type]
        if not several or any(item is None or item.missing for _, item in several):
            return []
        outputs += [
            {"node": target, "item": i, "generation": made.id} for i, made in several if made is not None
        ]
    return outputs


def forecast(studio: Studio, sweep: Sweep, owner: str) -> Forecast:
    """Count and time before the start, from stored timings; what cells share is counted once."""
    planned = sweep.cells[:MOST_PLANNED]
    there, seconds, known = 0, 0.0, True
    counted: set[str] = set()
    outputs: list[list[dict[str, Any]]] = []
    for cell in planned:
        outputs.append([])
        try:
            plan = studio.plan(cell.document, owner=owner)
        except StudioError:
            continue  # it fails at once
        outputs[-1] = found(studio, plan, owner)
        if outputs[-1]:
            there += 1
            continue
        for node in plan.nodes:
            if node.action != "run" or (node.key and node.key in counted):
                continue
            counted.add(node.key)
            known = known and node.seconds is not None
            seconds += node.seconds or 0.0
    share = len(sweep.cells) / max(1, len(planned))
    about = seconds * share if known else None
    return Forecast(len(sweep.cells), round(there * share), about, tuple(outputs))


class RunningSweep:
    """One sweep of one owner, made by `work` on a thread of the caller; other threads read and stop it.

    `state`: running, done, stopped, error (no cell could be made). `version` grows with every change; `at` is
    the cell that is being made, `now` the snapshot of its run.
    """

    def __init__(self, studio: Studio, sweep: Sweep, owner: str) -> None:
        self._studio = studio
        self.sweep, self.owner = sweep, owner
        self.id = "s_" + secrets.token_hex(16)
        self.cells = [CellState() for _ in sweep.cells]
        self.state, self.version = "running", 1
        self.at: int | None = None
        self.now: Mapping[str, Any] = {}
        self.over = threading.Event()
        self.begun = time.monotonic()
        self._run = ""
        self._asked = threading.Event()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RunningSweep({self.sweep!r}, {self.state})"

    @property
    def left(self) -> float | None:
        """Seconds to the end, from the cells that were made so far; None before the first of them."""
        made = sum(cell.state in ("done", "error") for cell in self.cells)
        open_ = sum(cell.state in ("idle", "running") for cell in self.cells)
        return (time.monotonic() - self.begun) / made * open_ if made else None

    def stop(self) -> None:
        """No further cell; the one in the making is stopped. What is finished stays."""
        self._asked.set()
        with self._lock:
            run = self._run
        if run:
            self._studio.cancel(run, self.owner)

    def work(self, on_cell: Callable[[Cell, CellState], None] = lambda cell, state: None) -> None:
        """Makes every cell; a cell that fails does not keep the others from being made."""
        try:
            for place, cell in enumerate(self.sweep.cells):
                if self._asked.is_set():
                    break
                self.at, self.cells[place].state = place, "running"
                self._changed()
                self._make(cell, self.cells[place])
                self._changed()
                on_cell(cell, self.cells[place])
        finally:
            ends = {cell.state for cell in self.cells}
            whole = ends <= {"done", "cached", "error"}
            self.state = "stopped" if not whole else "error" if ends == {"error"} else "done"
            self.at, self.now = None, {}
            self._changed()
            self.over.set()

    def _make(self, cell: Cell, state: CellState) -> None:
        try:
            state.outputs = found(
                self._studio, self._studio.plan(cell.document, owner=self.owner), self.owner
            )
            if state.outputs:
                state.state = "cached"
                return
            self._follow(cell.document, state)
        except StudioError as error:
            words = {"message": error.message, "hint": error.hint, "node": error.node, "socket": error.socket}
            state.state, state.error = "error", words
        except Exception:
            log.exception("A cell of a sweep could not be made")
            state.state, state.error = "error", BUG

    def _follow(self, document: Graph, state: CellState) -> None:
        with self._lock:
            self._run = run = self._studio.submit(document, owner=self.owner)
        if self._asked.is_set():
            self._studio.cancel(run, self.owner)
        for snapshot in self._studio.snapshots(run, self.owner):
            self.now = snapshot
            self._changed()
        with self._lock:
            self._run = ""
        state.state = str(self.now["job"]["state"])
        state.outputs = [dict(output) for output in self.now.get("outputs", ()) if output.get("generation")]
        state.error = self.now.get("error")
        state.seconds = float(self.now["job"].get("seconds") or 0.0)
        if state.state == "stopped":
            self._asked.set()  # whoever stops the run of a cell means the sweep
        elif state.state not in ("done", "cached"):
            state.state = "error"

    def _changed(self) -> None:
        self.version += 1


class Sweeps:
    """The newest sweep of each owner, live or over, so that a page which was reloaded finds it again."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._newest: OrderedDict[str, RunningSweep] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, sweep: Sweep, owner: str) -> RunningSweep:
        """Begin on a thread of its own. Raises StudioError while another one of this owner goes on."""
        with self._lock:
            before = self._newest.get(owner)
            if before is not None and not before.over.is_set():
                raise StudioError("Another comparison is being made.", hint="Stop it first, or wait for it.")
            made = self._newest[owner] = RunningSweep(self._studio, sweep, owner)
            self._newest.move_to_end(owner)
            for other in [name for name, one in self._newest.items() if one.over.is_set()][
                : len(self._newest) - KEPT
            ]:
                del self._newest[other]
        threading.Thread(target=made.work, name="weft-sweep", daemon=True).start()
        return made

    def newest(self, owner: str) -> RunningSweep | None:
        """The last sweep of this owner."""
        with self._lock:
            return self._newest.get(owner)

    def stop(self, id: str, owner: str) -> bool:
        """Stop the sweep of that id; False if it is over, unknown or somebody else's."""
        one = self.newest(owner)
        if one is None or one.id != id or one.over.is_set():
            return False
        one.stop()
        return True
