"""One thread at a time has controls on a network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch

from studio.errors import StudioError


class _Lock:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: int | None = None


_LOCKS: WeakKeyDictionary[torch.nn.Module, _Lock] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


@contextmanager
def alone(transformer: torch.nn.Module) -> Iterator[None]:
    """Wait until no other thread has controls on this network; StudioError if this thread has."""
    with _LOCKS_GUARD:
        lock = _LOCKS.setdefault(transformer, _Lock())
    if lock.thread == threading.get_ident():
        raise StudioError(
            "Controls are attached to this network already.", hint="Attach all controls of a run together."
        )
    with lock.lock:
        lock.thread = threading.get_ident()
        try:
            yield
        finally:
            lock.thread = None
