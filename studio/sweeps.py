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

from studio.errors import BUG, StudioError

if TYPE_CHECKING:
    from studio.graph.document import Graph
    from studio.graph.plan import Plan
    from studio.graph.sweep import Cell, Sweep
    from studio.studio import Studio

log = logging.getLogger(__name__)
MOST_PLANNED = 200  # cells that are planned for an estimate; the rest counts like them
KEPT = 64  # owners whose last sweep is kept in memory
PRIOR = 2.0  # seconds of finished cells before their own pace counts as much as what was expected


@dataclass(frozen=True)
class Forecast:
    """What a sweep will take. `there`: cells that are made already; `seconds` None: not known yet.

    `outputs`: the pictures of each cell that are there (node, item, generation), for the first MOST_PLANNED;
    `each`: the seconds of each of these, None where not known.
    """

    cells: int
    there: int
    seconds: float | None
    outputs: tuple[list[dict[str, Any]], ...] = ()
    each: tuple[float | None, ...] = ()

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
    there = 0
    counted: set[str] = set()
    outputs: list[list[dict[str, Any]]] = []
    each: list[float | None] = []
    for cell in planned:
        outputs.append([])
        each.append(0.0)
        try:
            plan = studio.plan(cell.document, owner=owner)
        except StudioError:
            continue  # it fails at once
        outputs[-1] = found(studio, plan, owner)
        if outputs[-1]:
            there += 1
            continue
        fresh = [n for n in plan.nodes if n.action == "run" and not (n.key and n.key in counted)]
        counted.update(n.key for n in fresh)
        timed = [n for n in fresh if n.seconds is not None]  # light ones that never ran take next to nothing
        known = bool(timed or not fresh) and all(n in timed or not n.resources for n in fresh)
        each[-1] = sum(n.seconds or 0.0 for n in fresh) if known else None
    share = len(sweep.cells) / max(1, len(planned))
    about = None if None in each else sum(seconds or 0.0 for seconds in each) * share
    return Forecast(len(sweep.cells), round(there * share), about, tuple(outputs), tuple(each))


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
        self._expected: tuple[float | None, ...] = (None,) * len(self.cells)
        self._since = time.monotonic()  # when the cell at work was begun
        self._run = ""
        self._asked = threading.Event()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RunningSweep({self.sweep!r}, {self.state})"

    @property
    def left(self) -> float | None:
        """Seconds to the end: what is expected of the cells that are open, at the pace of those that were
        made; None where nothing tells."""
        pairs = list(zip(self.cells, self._expected, strict=False))
        timed = [(cell.seconds, wanted) for cell, wanted in pairs if cell.state == "done"]
        known = [(took, wanted) for took, wanted in timed if wanted]
        slow = (sum(took for took, _ in known) + PRIOR) / (sum(wanted for _, wanted in known) + PRIOR)
        usual = sum(took for took, _ in timed) / len(timed) if timed else None
        left = 0.0
        for cell, wanted in pairs:
            own = usual if wanted is None else wanted * slow
            if cell.state == "running":
                told = self.now.get("job", {}).get("left_s")
                spent = time.monotonic() - self._since
                own = told if told is not None else None if own is None else max(own - spent, 0.0)
            if cell.state in ("idle", "running"):
                if own is None:
                    return None
                left += own
        return left

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
            self._expect()
            for place, cell in enumerate(self.sweep.cells):
                if self._asked.is_set():
                    break
                self.at, self.now, self._since = place, {}, time.monotonic()
                self.cells[place].state = "running"
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

    def _expect(self) -> None:
        """What each cell will take; those that are too many to be planned count like the others."""
        each = forecast(self._studio, self.sweep, self.owner).each
        usual = None if None in each or not each else sum(s or 0.0 for s in each) / len(each)
        self._expected = each + (usual,) * (len(self.cells) - len(each))

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
            state.state, state.error = "error", {"message": BUG.message, "hint": BUG.hint}

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
