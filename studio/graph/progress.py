"""Progress and previews of a running node, bounded (E31)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from studio.graph.digest import json_like
from studio.graph.events import EventLog

if TYPE_CHECKING:
    from studio.values import Image

PREVIEW_GAP = 0.25
"""Seconds between two previews of one run: at most four a second."""
PREVIEW_SHARE = 0.02
"""Part of a run's time that previews may take."""
PROGRESS_GAP = 0.04
"""Seconds between two progress events of one node; the first and the last always come."""


class PreviewBudget:
    """Whether a preview may be made now: for one run, whatever its nodes do."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun = clock()
        self._last = float("-inf")
        self._spent = 0.0
        self._dearest = 0.001  # what the first one is assumed to take

    def allows(self) -> bool:
        """True if the gap has passed and another preview as dear as the dearest so far stays within the
        share."""
        now = self._clock()
        return now - self._last >= PREVIEW_GAP and self._spent + self._dearest <= PREVIEW_SHARE * (
            now - self._begun
        )

    def make(self, preview: Callable[[], Any]) -> Any:
        """Make one, and count what it took, also when it fails."""
        begun = self._last = self._clock()
        try:
            return preview()
        finally:
            took = self._clock() - begun
            self._spent += took
            self._dearest = max(took, self._dearest if self._spent > took else 0.0)


class NodeReporter:
    """Where one node's context sends what it reports. After `close` nothing comes through any more."""

    def __init__(
        self,
        log: EventLog,
        node: str,
        budget: PreviewBudget,
        encode: Callable[[Any], bytes] | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._log, self._node, self._budget, self._encode, self._clock = log, node, budget, encode, clock
        self._done = 0.0
        self._sent = float("-inf")
        self._closed = False
        self._lock = threading.Lock()
        self.notes: dict[str, Any] = {}

    def close(self) -> None:
        """The node is settled; a thread that still runs speaks to nobody."""
        with self._lock:
            self._closed = True

    def _emit(self, kind: str, payload: dict[str, Any], data: bytes | None = None) -> None:
        with self._lock:
            if not self._closed:
                self._log.append(kind, self._node, payload, data=data)

    def start(self) -> None:
        """The node begins."""
        self._emit("started", {})

    def step(self, i: int, total: int, preview: Callable[[], Image] | None) -> None:
        """`i` of `total` steps done; never goes back, never above 1."""
        value = min(1.0, max(self._done, i / total if total > 0 else 0.0))
        now = self._clock()
        if value > self._done or self._sent == float("-inf"):
            self._done = value
            if value >= 1.0 or now - self._sent >= PROGRESS_GAP:
                self._sent = now
                self._emit("progress", {"value": value, "step": min(i, total), "total": total})
        if preview is not None and self._encode is not None and not self._closed and self._budget.allows():
            self._preview(preview, self._encode)

    def _preview(self, preview: Callable[[], Image], encode: Callable[[Any], bytes]) -> None:
        try:
            data = self._budget.make(lambda: encode(preview()))
        except Exception as error:  # noqa: BLE001 - a preview must not cost the picture
            self._encode = None
            self.warn(f"No preview: {type(error).__name__}: {error}")
            return
        self._emit("preview", {"mime": "image/webp"}, data)

    def log(self, text: str) -> None:
        """A line of text, cut to 2,000 characters."""
        self._emit("log", {"message": text[:2000]})

    def note(self, key: str, value: object) -> None:
        """A fact for the record; the key "warning" is a warning or a list of them."""
        if key == "warning":
            for text in value if isinstance(value, (list, tuple)) else [value]:
                self.warn(str(text))
            return
        if not json_like(value):
            raise TypeError(f"the note {key!r} is a {type(value).__name__}, which JSON does not know")
        self.notes[key] = value
        self._emit("note", {"key": key, "value": value})

    def warn(self, text: str) -> None:
        """Something the user should know."""
        warnings = self.notes.setdefault("warning", [])
        if text not in warnings:
            warnings.append(text)
            self._emit("warning", {"message": text})
