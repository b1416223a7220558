"""What nodes keep from run to run beside their results: values under keys of their own (`Context.kept`).

In the cache's two tiers and their limits (E14), each owner's apart from the others' (E18). Without a cache,
or in a run that does not use it, nothing is kept and nothing found; results are the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.graph.cache import Cache


class Kept:
    """The kept values of one owner. `Kept()` alone keeps nothing."""

    def __init__(self, cache: Cache | None = None, owner: str = "local") -> None:
        self._cache = cache
        self._owner = owner

    def __repr__(self) -> str:
        return f"Kept({self._cache!r}, {self._owner!r})"

    def get(self, key: str) -> Any:
        """The value under a key, never to be written to; None if it is gone or was never there."""
        return None if self._cache is None else self._cache.recall(self._place(key))

    def put(self, key: str, value: Any, seconds: float = 0.0, *, disk: bool = True) -> None:
        """Keep lists of tensors, values and JSON values; `seconds`: what it cost to make, which decides how
        long it stays. `disk`: in both tiers. One that is larger than the limit is not kept."""
        if self._cache is not None:
            self._cache.keep(self._place(key), value, seconds, disk=disk)

    def _place(self, key: str) -> str:
        return hashlib.sha256(f"kept\0{self._owner}\0{key}".encode()).hexdigest()
