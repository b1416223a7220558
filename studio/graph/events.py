"""Events of a run (E30): one total order, "since n", and the snapshot that a page draws."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    "queued",
    "planned",
    "started",
    "progress",
    "preview",
    "note",
    "log",
    "warning",
    "finished",
    "failed",
    "skipped",
    "cached",
    "cancelled",
    "done",
)
SETTLED = ("finished", "failed", "skipped", "cached", "cancelled")


@dataclass(frozen=True)
class Event:
    """One fact about a run. `seq` counts from 1 within the run; `data` holds the bytes of a preview."""

    run: str
    seq: int
    kind: str
    node: str = ""
    item: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    data: bytes | None = field(default=None, repr=False)
    time: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a preview as base64."""
        return {
            "run": self.run,
            "seq": self.seq,
            "kind": self.kind,
            "node": self.node,
            "item": self.item,
            "payload": dict(self.payload),
            "time": self.time,
            "data": None if self.data is None else base64.b64encode(self.data).decode(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """The event again."""
        raw = data.get("data")
        return cls(
            str(data["run"]),
            int(data["seq"]),
            str(data["kind"]),
            str(data.get("node", "")),
            data.get("item"),
            dict(data.get("payload") or {}),
            None if raw is None else base64.b64decode(raw),
            float(data.get("time", 0)),
        )


class EventLog:
    """The events of one run, in order; threads may append, wait and follow at once."""

    def __init__(self, run: str, *, first_seq: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.run = run
        self._events: list[Event] = []
        self._first = first_seq
        self._clock = clock
        self._changed = threading.Condition()
        self._listeners: list[Callable[[Event], None]] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"EventLog({self.run!r}, {len(self._events)} events, closed={self._closed})"

    @property
    def closed(self) -> bool:
        """Whether the last event, `done`, is in."""
        return self._closed

    def append(
        self,
        kind: str,
        node: str = "",
        payload: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        item: int | None = None,
    ) -> Event:
        """Add an event; listeners hear of it in order, before the next one. After `done` nothing is added."""
        if kind not in KINDS:
            raise ValueError(f"no event kind {kind!r}")
        with self._changed:
            event = Event(
                self.run,
                self._first + len(self._events) + 1,
                kind,
                node,
                item,
                dict(payload or {}),
                data,
                self._clock(),
            )
            if self._closed:
                return event
            self._events.append(event)
            self._closed = kind == "done"
            for listener in self._listeners:
                listener(event)
            self._changed.notify_all()
        return event

    def since(self, n: int) -> list[Event]:
        """The events with seq > n that this log holds."""
        with self._changed:
            return self._events[max(0, n - self._first) :]

    def wait(self, n: int, timeout: float | None = None) -> list[Event]:
        """As `since`, but waits until there is one, the run is over, or `timeout` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._events) + self._first > n, timeout)
            return self._events[max(0, n - self._first) :]

    def follow(self, since: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """Events as they come, ending after `done`, or when none came for `timeout` seconds."""
        while True:
            events = self.wait(since, timeout)
            if not events:
                return
            for event in events:
                yield event
                since = event.seq
                if event.kind == "done":
                    return

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each later event, in order, on the thread that appends; it must be quick."""
        with self._changed:
            self._listeners.append(listener)


_NODE_STATE = {"started": "running", "finished": "ran"}


def fold(run: str, events: Iterable[Event], *, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The snapshot of a run (ui.md 4.1) in the states of the vocabulary; `before` = an earlier snapshot to go
    on from."""
    old = dict(before or {})
    nodes: dict[str, dict[str, Any]] = {k: dict(v) for k, v in old.get("nodes", {}).items()}
    job: dict[str, Any] = dict(
        old.get("job") or {"state": "queued", "ahead": 0, "step": None, "total": None, "at": None}
    )
    warnings: list[str] = list(old.get("notes", []))
    seq = int(old.get("seq", 0))
    for event in events:
        if event.seq <= seq:
            continue
        seq = event.seq
        if event.kind == "planned":
            job["state"] = "running"
            for planned in event.payload.get("nodes", []):
                nodes.setdefault(planned["id"], {"state": "queued", "reason": planned.get("reason", "")})
        elif event.kind == "done":
            job["state"] = event.payload.get("status", "finished")
        elif event.kind == "warning":
            if event.payload.get("message") not in warnings:
                warnings.append(str(event.payload.get("message")))
        elif event.node:
            _fold_node(nodes.setdefault(event.node, {"state": "queued"}), job, event)
    return {"run": run, "seq": seq, "job": job, "nodes": nodes, "notes": warnings}


def _fold_node(state: dict[str, Any], job: dict[str, Any], event: Event) -> None:
    if event.kind == "started":
        state.update(state="running", progress=0.0, started=event.time)
    elif event.kind == "progress":
        step, total = event.payload["step"], event.payload["total"]
        state.update(progress=event.payload["value"], text=f"{step}/{total}")
        job.update(step=step, total=total, at=event.node)
    elif event.kind == "preview" and event.data is not None:
        state["image"] = "data:image/webp;base64," + base64.b64encode(event.data).decode()
    elif event.kind in SETTLED:
        # what a stopped node had done can be kept (early.py)
        if event.kind != "cancelled" and event.item is None and job.get("at") == event.node:
            job.update(step=None, total=None, at=None)
        state["state"] = _NODE_STATE.get(event.kind, event.kind)
        state.pop("started", None)
        state.pop("text", None)
        for name in ("seconds", "reason"):
            if name in event.payload:
                state[name] = event.payload[name]
        if event.kind == "finished":
            state["progress"] = 1.0
        if event.kind == "failed":
            message, hint = event.payload.get("message", ""), event.payload.get("hint", "")
            state["error"] = f"{message} {hint}".strip()
            job.setdefault(
                "error", {k: event.payload.get(k, "") for k in ("message", "hint", "node", "title")}
            )
