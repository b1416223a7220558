"""What each node's key was made of last time, and how long nodes took, by the work they had and by kind:
reasons and estimates of a plan.

Ingredients are kept as short hashes, never as contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import statistics
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

_MAX_ROWS = 20_000
_MAX_WORK = 3_000
_LATEST = 5  # times that are remembered of one amount of work


class Seen:
    """Tables (owner, kind, node id) -> ingredients, kind -> seconds, work -> its latest seconds, and kind ->
    what its first run in a process takes more (imports, weights from the disk); kept in one JSON file if a
    path is given."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rows: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._seconds: dict[str, float] = {}
        self._work: OrderedDict[str, list[float]] = OrderedDict()
        self._cold: dict[str, float] = {}
        self._first: dict[str, tuple[str, float]] = {}  # of this process: kind -> its first work and seconds
        self._changed = False
        self._lock = threading.Lock()
        if path is not None:
            self._read(path)

    def __repr__(self) -> str:
        return f"Seen({len(self._rows)} nodes)"

    def get(self, owner: str, kind: str, node: str) -> Mapping[str, str] | None:
        """The ingredients of that node's last finished run: name -> short hash."""
        with self._lock:
            return self._rows.get(_row(owner, kind, node))

    def put(self, owner: str, rows: Iterable[tuple[str, str, dict[str, str]]]) -> None:
        """Remember (kind, node id, ingredients) of nodes that have a result now."""
        with self._lock:
            for kind, node, ingredients in rows:
                name = _row(owner, kind, node)
                if self._rows.get(name) != ingredients:
                    self._rows[name] = ingredients
                    self._changed = True
                self._rows.move_to_end(name)
            while len(self._rows) > _MAX_ROWS:
                self._rows.popitem(last=False)

    def took(self, kind: str, seconds: float, *work: str) -> None:
        """A node of that kind took so long; the estimate of the kind follows by a third. `work`: see
        `work.tell_work`."""
        amount = work[0] if work else ""
        with self._lock:
            self._changed = True
            begun = self._first.get(kind)
            if begun is None:
                self._first[kind] = (amount, seconds)
                usual = self._usual(kind, *work)
                if usual is not None:
                    old = self._cold.get(kind, 0.0)
                    more = max(seconds - usual, 0.0)
                    self._cold[kind] = old + (more - old) / 3 if kind in self._cold else more
                    return
            elif begun[0] == amount and kind not in self._cold:
                self._cold[kind] = max(begun[1] - seconds, 0.0)
            old = self._seconds.get(kind, seconds)
            self._seconds[kind] = old + (seconds - old) / 3
            for amount in {*work} - {""}:
                self._work[amount] = [*self._work.get(amount, ()), seconds][-_LATEST:]
                self._work.move_to_end(amount)
            while len(self._work) > _MAX_WORK:
                self._work.popitem(last=False)

    def seconds(self, kind: str, *work: str) -> float | None:
        """How long a node of that kind takes, as far as known: by the first amount of `work` that was met,
        else by its kind. Of several times the lower middle: loading and other work only ever add. The first
        run of a kind in this process gets on top what first runs took more."""
        with self._lock:
            usual = self._usual(kind, *work)
            cold = 0.0 if kind in self._first else self._cold.get(kind, 0.0)
            return None if usual is None else usual + cold

    def _usual(self, kind: str, *work: str) -> float | None:
        met = next((self._work[amount] for amount in work if amount in self._work), None)
        return self._seconds.get(kind) if met is None else statistics.median_low(met)

    def save(self) -> None:
        """Write the file if something changed; a disk that cannot be written costs only reasons."""
        if self._path is None:
            return
        with self._lock:
            if not self._changed:
                return
            tables = {"rows": self._rows, "seconds": self._seconds, "work": self._work, "cold": self._cold}
            data = json.dumps(tables).encode()
            self._changed = False
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".seen-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, self._path)

    def _read(self, path: Path) -> None:
        try:
            data = json.loads(path.read_bytes())
            self._rows = OrderedDict(
                (str(k), {str(a): str(b) for a, b in v.items()}) for k, v in data["rows"].items()
            )
            self._seconds = {str(k): float(v) for k, v in data["seconds"].items()}
            self._work = OrderedDict(
                (str(k), [float(s) for s in v][-_LATEST:]) for k, v in data.get("work", {}).items() if v
            )
            self._cold = {str(k): float(v) for k, v in data.get("cold", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._rows, self._seconds, self._work, self._cold = OrderedDict(), {}, OrderedDict(), {}


def _row(owner: str, kind: str, node: str) -> str:
    return hashlib.sha256(f"{owner}\x1f{kind}\x1f{node}".encode()).hexdigest()[:24]
