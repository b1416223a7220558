"""Locks between processes: a file that the system unlocks when its holder dies, however it dies.

flock on Linux and macOS, a locked byte on Windows; both end with the process, so `kill -9` leaves no stale
lock.
"""
from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from studio.errors import StudioError

if sys.platform == "win32":
    import msvcrt

    _BYTE = 1 << 30  # far behind the text, which others may read while the byte is locked

    def _lock(handle: IO[bytes]) -> bool:
        handle.seek(_BYTE)
        try:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(handle: IO[bytes]) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class FileLock:
    """A lock on a small file that also tells, in words, who holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def take(self, text: str = "", *, wait: float = 0.0) -> bool:
        """Take the lock, waiting at most `wait` seconds; `text` says who holds it.

        False: somebody else has it.
        """
        end = time.monotonic() + wait
        while True:
            # Opened anew each time: the holder may have removed the file between two tries.
            handle = open(self.path, "a+b")  # noqa: SIM115 - stays open while the lock is held
            if _lock(handle) and self._is_current(handle):
                handle.truncate(0)
                handle.write(text.encode())
                handle.flush()
                self._handle = handle
                return True
            handle.close()
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; `remove` also removes the file."""
        if self._handle is None:
            return
        if remove and os.name != "nt":  # an open file cannot be removed on Windows
            self.path.unlink(missing_ok=True)
        self._handle.close()
        self._handle = None
        if remove and os.name == "nt":
            try:
                self.path.unlink(missing_ok=True)
            except OSError:
                return

    def holder(self) -> str:
        """What the holder wrote about itself; empty if nobody did."""
        try:
            return self.path.read_bytes()[:200].decode(errors="replace")
        except OSError:
            return ""

    def __enter__(self) -> FileLock:
        if not self.held and not self.take(wait=10.0):
            raise StudioError("Another process is opening Weft's home and does not finish.",
                              hint="Wait a moment and try again.")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"FileLock({self.path.name}, {'held' if self.held else 'not held'})"

    def _is_current(self, handle: IO[bytes]) -> bool:
        """Whether the locked file is still the one at the path (not removed by the previous holder)."""
        if os.name == "nt":
            return True
        try:
            return os.path.samestat(os.fstat(handle.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock at `path`; a missing file is free. Takes the lock for a moment."""
    if not path.exists():
        return True
    lock = FileLock(path)
    try:
        taken = lock.take(lock.holder())
    except OSError:
        return False
    lock.release()
    return taken
