"""How long a run still takes, over all its nodes, from what the plan expects and what the run has shown.

A node that counts its steps is measured from its first step on, so that what is loaded before it does not
count as pace. Nodes that wait count as the plan expects them, longer or shorter by what this run's steps took
against what was expected: a busy machine is slow at all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from studio.graph.events import SETTLED, Event

NOTHING_LEFT: Mapping[str, Any] = {"left_s": None, "least": False, "share": None}
PRIOR = 2.0  # seconds of steps before a run's own pace counts as much as what was expected
OVER = 1.2  # a node without steps that took so many times what was expected may take any time


class _Steps(NamedTuple):
    """The first and the last step that a node told, as (time, steps done), and how many there are."""

    first: tuple[float, int]
    last: tuple[float, int]
    total: int


class Remaining:
    """Listens to the events of one run, in order; `told` says what is known after the last one."""

    def __init__(self) -> None:
        self._expected: dict[
            str, float | None
        ] = {}  # of nodes that will run; None = unknown and perhaps long
        self._stepped: dict[str, _Steps] = {}
        self._begun: dict[str, float] = {}
        self._start: float | None = None
        self._now = 0.0
        self._measured, self._wanted = 0.0, 0.0  # seconds of finished nodes with steps: real, expected
        self._share = 0.0

    def add(self, events: Iterable[Event]) -> None:
        """Take later events."""
        for event in events:
            self._now = max(self._now, event.time)
            if event.kind == "planned":
                self._start = event.time
                self._expected = {
                    node["id"]: _expected(node)
                    for node in event.payload.get("nodes", ())
                    if node.get("action") == "run"
                }
            elif event.kind == "started" and event.item is None:
                self._begun[event.node] = event.time
            elif event.kind == "progress":
                self._step(event)
            elif event.kind in SETTLED and event.item is None:
                self._settle(event)

    def _step(self, event: Event) -> None:
        step, total = int(event.payload["step"]), int(event.payload["total"])
        first = self._stepped[event.node].first if event.node in self._stepped else (event.time, step)
        self._stepped[event.node] = _Steps(first, (event.time, step), total)

    def _settle(self, event: Event) -> None:
        wanted = self._expected.pop(event.node, None)
        begun = self._begun.pop(event.node, None)
        if event.kind == "finished" and event.node in self._stepped and wanted and begun is not None:
            self._measured += event.time - begun
            self._wanted += wanted

    def told(self) -> dict[str, Any]:
        """`left_s`: seconds, None where nothing is known; `least`: True where more may follow that was never
        timed; `share`: 0..1 of the whole run, None where `least`."""
        if self._start is None or not self._expected:
            return dict(NOTHING_LEFT)
        left, least, known = 0.0, False, False
        slow = (self._measured + PRIOR) / (self._wanted + PRIOR)
        for node, wanted in self._expected.items():
            own = self._own(node, wanted)
            if own is None:
                least = True
            else:
                known = known or own > 0 or node in self._begun
                left += own * (1.0 if node in self._begun else slow)
        if not known or (least and left < 0.05):
            return dict(NOTHING_LEFT)
        if least:
            return {"left_s": round(left, 1), "least": True, "share": None}
        spent = max(self._now - self._start, 0.0)
        self._share = max(self._share, spent / (spent + left) if spent + left > 0 else 0.0)
        return {"left_s": round(left, 1), "least": False, "share": round(self._share, 4)}

    def _own(self, node: str, wanted: float | None) -> float | None:
        """Seconds that a node still takes; None where nothing tells."""
        begun = self._begun.get(node)
        if begun is None:
            return wanted
        spent = self._now - begun
        if node in self._stepped:
            (first, before), (last, step), total = self._stepped[node]
            if step > before:
                pace = (last - first) / (step - before)
                return max(pace * (total - step) - (self._now - last), 0.0)
            if step and wanted is None:
                return spent / step * (total - step)
        if wanted is None or spent > OVER * wanted + PRIOR:
            return None
        return max(wanted - spent, 0.0)


def _expected(node: Mapping[str, Any]) -> float | None:
    """What the plan expects; what was never timed is short unless it claims the device."""
    seconds = node.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None if node.get("resources") else 0.0
