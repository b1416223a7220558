"""The cache (E13-E18): a memory tier bounded in bytes, the disk tier behind it, and single flight.

Two tables: key -> entry (which outputs, by content digest) and digest -> value. Keys name the owner (E18), so
a value is found only by whoever could have made it.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.graph.digest import Codecs
from studio.graph.disk_cache import DiskCache

MODES = ("off", "classic", "lru", "disk")
MISSING: Any = object()
"""What `Cache.value` returns for a value that is gone; None is a value."""
_MAX_ENTRIES = 200_000


@dataclass(frozen=True)
class Entry:
    """What is known of one computation: (socket, content digest) of its outputs, seconds it took, its
    notes; `memory_only`: a value of it cannot be kept on disk."""

    outputs: tuple[tuple[str, str], ...]
    seconds: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)
    memory_only: bool = False

    def digest(self, socket: str) -> str:
        """The content digest of one output."""
        return next(digest for name, digest in self.outputs if name == socket)


class MemoryTier:
    """Values by digest, bounded in bytes. Evicts by GreedyDual-Size (Cao & Irani 1997): the value with the
    smallest age + seconds / bytes goes first, so large values that are cheap to make again leave before small
    dear ones."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.nbytes = 0
        self._held: dict[str, tuple[Any, int, float]] = {}
        self._rank: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._age = 0.0
        self._pins: Counter[str] = Counter()

    def __contains__(self, digest: str) -> bool:
        return digest in self._held

    def __len__(self) -> int:
        return len(self._held)

    def get(self, digest: str) -> Any:
        """The value, or MISSING."""
        held = self._held.get(digest)
        if held is None:
            return MISSING
        self._touch(digest, held[1], held[2])
        return held[0]

    def put(self, digest: str, value: object, nbytes: int, seconds: float) -> bool:
        """Keep a value; False if it is larger than the whole limit."""
        if nbytes > self.limit_bytes:
            return False
        if digest not in self._held:
            while self.nbytes + nbytes > self.limit_bytes and self._held:
                if not self._evict():
                    return False
            self._held[digest] = (value, nbytes, seconds)
            self.nbytes += nbytes
        self._touch(digest, nbytes, seconds)
        return True

    def drop(self, digest: str) -> None:
        """Forget one value."""
        held = self._held.pop(digest, None)
        if held is not None:
            self.nbytes -= held[1]
            del self._rank[digest]

    def pinned(self, digest: str) -> bool:
        """Whether a run counts on this value."""
        return digest in self._pins

    def digests(self) -> list[str]:
        """What is held."""
        return list(self._held)

    def _touch(self, digest: str, nbytes: int, seconds: float) -> None:
        rank = self._age + max(seconds, 1e-6) / max(nbytes, 1)
        self._rank[digest] = rank
        heapq.heappush(self._heap, (rank, digest))
        if len(self._heap) > 4 * len(self._held) + 64:  # stale pairs of earlier touches
            self._heap = [(r, d) for d, r in self._rank.items()]
            heapq.heapify(self._heap)

    def pin(self, digests: Iterable[str]) -> list[str]:
        """Keep these values until `unpin`, so that a run finds what its plan counted on; gives those held."""
        held = [digest for digest in digests if digest in self._held]
        self._pins.update(held)
        return held

    def unpin(self, digests: Iterable[str]) -> None:
        """Let values that `pin` gave be evicted again."""
        self._pins.subtract(digests)
        self._pins += Counter()

    def _evict(self) -> bool:
        """Drop the value that is cheapest to make again; False if all that is held is pinned."""
        pinned = []
        try:
            while self._heap:
                rank, digest = heapq.heappop(self._heap)
                if self._rank.get(digest) != rank:
                    continue
                if digest in self._pins:
                    pinned.append((rank, digest))
                    continue
                self._age = rank
                self.drop(digest)
                return True
            return False
        finally:
            for pair in pinned:
                heapq.heappush(self._heap, pair)


@dataclass
class Flight:
    """A computation under way that others wait for."""

    waiters: list[Callable[[object], None]] = field(default_factory=list)


class Cache:
    """Both tiers behind one lock. Modes (E17): "off" keeps nothing, "classic" what the owner's last run used,
    "lru" as much as fits into memory, "disk" that and the disk tier. The results are the same in every
    mode."""

    def __init__(
        self, mode: str = "lru", *, memory_bytes: int = 512 * 2**20, disk: DiskCache | None = None
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"no cache mode {mode!r}; there are {', '.join(MODES)}")
        if mode == "disk" and disk is None:
            raise ValueError("the mode 'disk' needs a DiskCache")
        self.mode = mode
        self.codecs = Codecs()
        self.memory = MemoryTier(memory_bytes)
        self.disk = disk if mode == "disk" else None
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._flights: dict[str, Flight] = {}
        self._last: dict[str, frozenset[str]] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"Cache({self.mode!r}, {len(self.memory)} values, {self.memory.nbytes:,} bytes)"

    def entry(self, key: str) -> Entry | None:
        """What is known under a key, from memory or disk."""
        if self.mode == "off":
            return None
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
        if found is not None or self.disk is None:
            return found
        data = self.disk.read_entry(key)
        if data is None:
            return None
        found = Entry(
            tuple((str(n), str(d)) for n, d in data["outputs"]),
            float(data["seconds"]),
            data["notes"],
            data.get("memory_only") is True,
        )
        with self._lock:
            self._remember(key, found)
        return found

    def holds(self, digest: str) -> bool:
        """Whether the value can be had without computing it (a damaged file shows only on reading)."""
        with self._lock:
            if digest in self.memory:
                return True
        return self.disk is not None and self.disk.holds(digest)

    def value(self, digest: str, seconds: float = 0.0) -> Any:
        """The value, or MISSING. `seconds`: what it cost to make, for keeping it in memory again."""
        with self._lock:
            found = self.memory.get(digest)
        if found is not MISSING or self.disk is None:
            return found
        stored = self.disk.read_value(digest)
        if stored is None:
            return MISSING
        try:
            found = self.codecs.load(*stored)
        except Exception:  # noqa: BLE001 - a codec may fail in any way on what an older version wrote
            self.disk.forget(digest)
            return MISSING
        with self._lock:
            self.memory.put(digest, found, self.codecs.nbytes(found), seconds)
        return found

    def store(self, keys: Iterable[str], entry: Entry, values: Mapping[str, object]) -> None:
        """Keep an entry under its keys, and its values by socket name."""
        if self.mode == "off":
            return
        digests = dict(entry.outputs)
        with self._lock:
            for key in keys:
                self._remember(key, entry)
            for name, value in values.items():
                self.memory.put(digests[name], value, self.codecs.nbytes(value), entry.seconds)
        if self.disk is None:
            return
        written = [self._write(self.disk, digests[name], value) for name, value in values.items()]
        data = {
            "outputs": [list(pair) for pair in entry.outputs],
            "seconds": entry.seconds,
            "notes": dict(entry.notes),
            **({} if all(written) else {"memory_only": True}),
        }
        for key in keys:
            self.disk.write_entry(key, data)

    def keep(self, place: str, value: object, seconds: float = 0.0, *, disk: bool = True) -> None:
        """Keep a value under a name that says how it was made, without an entry; see `kept`."""
        if self.mode == "off":
            return
        with self._lock:
            self.memory.put(place, value, self.codecs.nbytes(value), seconds)
        if disk and self.disk is not None:
            self._write(self.disk, place, value)

    def _write(self, disk: DiskCache, digest: str, value: object) -> bool:
        """Put a value on the disk, unless it lies there; False for one that only the memory can hold."""
        if disk.holds(digest):
            return True
        dumped = self.codecs.dump(value)
        if dumped is not None:
            disk.write_value(digest, *dumped)
        return dumped is not None

    def recall(self, place: str) -> Any:
        """What `keep` kept; None if it is gone."""
        found = self.value(place)
        return None if found is MISSING else found

    def pin(self, digests: Iterable[str]) -> list[str]:
        """Keep values in memory while a run counts on them (E10); give the answer to `unpin`."""
        with self._lock:
            return self.memory.pin(digests)

    def unpin(self, digests: Iterable[str]) -> None:
        """The end of `pin`."""
        with self._lock:
            self.memory.unpin(digests)

    def finish_run(self, owner: str, keys: Iterable[str]) -> None:
        """For the mode "classic": forget what this owner's last run did not use."""
        if self.mode != "classic":
            return
        with self._lock:
            before = self._last.get(owner, frozenset())
            self._last[owner] = now = frozenset(keys)
            kept = frozenset().union(*self._last.values())
            for key in before - now - kept:
                self._entries.pop(key, None)
            alive = {digest for entry in self._entries.values() for _, digest in entry.outputs}
            for digest in self.memory.digests():
                if digest not in alive and not self.memory.pinned(digest):
                    self.memory.drop(digest)

    def clear(self) -> None:
        """Forget everything, on disk too."""
        with self._lock:
            self._entries.clear()
            for digest in self.memory.digests():
                self.memory.drop(digest)
        if self.disk is not None:
            self.disk.clear()

    def _remember(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > _MAX_ENTRIES:
            self._entries.popitem(last=False)

    # single flight (E16)

    def claim(self, key: str, waiter: Callable[[object], None]) -> bool:
        """True: compute it and call `land`. False: somebody does; `waiter` hears the outcome."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                self._flights[key] = Flight()
                return True
            flight.waiters.append(waiter)
            return False

    def land(self, key: str, outcome: object) -> None:
        """The claimed computation is over; every waiter gets the outcome, also a failure."""
        with self._lock:
            flight = self._flights.pop(key, None)
        for waiter in flight.waiters if flight else ():
            waiter(outcome)
