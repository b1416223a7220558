"""One thread at a time changes a network."""

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


class OneThread:
    """A `with` block on a network that one thread at a time is in; others wait, and the same thread a second
    time gets a StudioError of these words. Every instance is a lock of its own."""

    def __init__(self, message: str, hint: str, socket: str = "") -> None:
        self._said = message, hint, socket
        self._locks: WeakKeyDictionary[torch.nn.Module, _Lock] = WeakKeyDictionary()
        self._guard = threading.Lock()

    @contextmanager
    def __call__(self, network: torch.nn.Module) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(network, _Lock())
        if lock.thread == threading.get_ident():
            message, hint, socket = self._said
            raise StudioError(message, hint=hint, socket=socket)
        with lock.lock:
            lock.thread = threading.get_ident()
            try:
                yield
            finally:
                lock.thread = None
