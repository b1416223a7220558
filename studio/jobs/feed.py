"""The events of one run in memory: one order, any number of followers, old progress forgotten."""
from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

from studio.graph.events import Event
from studio.jobs.journal import PASSING


class Feed:
    """Numbers events and hands them on. Of progress and previews only the newest of each node is kept."""

    def __init__(self, run: str, earlier: list[Event] | None = None) -> None:
        self.run = run
        self._events = list(earlier or ())
        self._seq = self._events[-1].seq if self._events else 0
        self._passing: dict[tuple[str, str, int | None], int] = {}
        self._changed = threading.Condition()
        self._listeners: set[Callable[[], None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"Feed({self.run!r}, seq {self._seq}{', closed' if self._closed else ''})"

    @property
    def closed(self) -> bool:
        """Whether `done` is in."""
        return self._closed

    def append(self, event: Event) -> Event:
        """Add an event under its own number; the numbered event. After `done` nothing is added any more."""
        with self._changed:
            if self._closed:
                return event
            self._seq += 1
            numbered = replace(event, run=self.run, seq=self._seq, time=event.time or time.time())
            if event.kind in PASSING:
                self._forget_older(event)
            self._events.append(numbered)
            self._closed = event.kind == "done"
            listeners = tuple(self._listeners)
            self._changed.notify_all()
        for listener in listeners:
            listener()
        return numbered

    def since(self, seq: int) -> list[Event]:
        """The kept events with a greater number, in order."""
        with self._changed:
            return self._after(seq)

    def wait(self, seq: int, timeout: float | None = None) -> list[Event]:
        """As `since`, but waits for one; empty when closed without any, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._seq > seq or self._closed, timeout)
            return self._after(seq)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every new event, on the thread that brings it."""
        with self._changed:
            self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Stop calling it."""
        with self._changed:
            self._listeners.discard(listener)

    def _after(self, seq: int) -> list[Event]:
        return self._events[bisect_right(self._events, seq, key=lambda event: event.seq):]

    def _forget_older(self, event: Event) -> None:
        place = (event.kind, event.node, event.item)
        old = self._passing.get(place)
        if old is not None:
            del self._events[bisect_right(self._events, old - 1, key=lambda kept: kept.seq)]
        self._passing[place] = self._seq
