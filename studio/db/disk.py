"""The few disk operations that can fail, in one small class: tests hand in one that fails on purpose.

Write order of a file: temp file in the target folder, flush, fsync, rename, fsync of the folder.
"""
from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from studio.errors import StudioError

TEMP_SUFFIX = ".weft-tmp"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class Disk:
    """The real disk. Every method raises OSError as the system does."""

    def write(self, handle: IO[bytes], data: bytes) -> None:
        """All bytes to an open file."""
        handle.write(data)

    def sync(self, handle: IO[bytes]) -> None:
        """The bytes of an open file reach the disk."""
        handle.flush()
        os.fsync(handle.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, at once."""
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        """A rename inside `folder` reaches the disk; nothing where folders cannot be opened (Windows)."""
        if os.name == "nt":
            return
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def make_folder(self, folder: Path) -> None:
        """`folder` and what is above it."""
        folder.mkdir(parents=True, exist_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def free_bytes(self, folder: Path) -> int:
        """Bytes free for us on the disk of `folder` (or of the nearest folder above that exists)."""
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def probe(self, folder: Path) -> None:
        """Raise the OSError that a write into `folder` meets, if any."""
        self.make_folder(folder)
        temp = folder / f".probe-{secrets.token_hex(4)}{TEMP_SUFFIX}"
        try:
            with open(temp, "xb") as handle:
                self.write(handle, b"weft")
                self.sync(handle)
        finally:
            self.remove(temp)


def write_file(disk: Disk, target: Path, data: bytes) -> None:
    """Write `target` whole or not at all; StudioError in words if the disk is full or read-only."""
    write_with(disk, target, lambda handle: disk.write(handle, data), needed=len(data))


def write_with(disk: Disk, target: Path, fill: Callable[[IO[bytes]], None], *, needed: int = 0) -> None:
    """Like `write_file`, for content that `fill` writes itself; `needed`: its size in bytes, if known."""
    temp = target.parent / f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}{TEMP_SUFFIX}"
    try:
        disk.make_folder(target.parent)
        with open(temp, "x+b") as handle:
            fill(handle)
            disk.sync(handle)
        disk.rename(temp, target)
        disk.sync_folder(target.parent)
    except OSError as error:
        raise disk_error(error, disk, target.parent, needed) from error
    finally:
        _forget(disk, temp)


def _forget(disk: Disk, temp: Path) -> None:
    """Remove what is left of a temp file; on a disk that refuses even that, the start sweep does it."""
    try:
        disk.remove(temp)
    except OSError:
        return


def is_full(error: OSError) -> bool:
    """The disk, or our share of it, is full."""
    return error.errno in _FULL


def is_read_only(error: OSError) -> bool:
    """The place refuses writes."""
    return error.errno in _READ_ONLY


def disk_error(error: OSError, disk: Disk, folder: Path, needed: int = 0) -> StudioError:
    """The sentence for an OSError of a write into `folder`; it names sizes, never a full path."""
    if is_full(error):
        try:
            free = f", {_size(disk.free_bytes(folder))} are free"
        except OSError:
            free = ""
        wanted = f" {_size(needed)} were needed{free}." if needed else ""
        return StudioError(f"The disk is full; nothing was saved.{wanted}",
                           hint="Clear the cache or delete pictures, or start with --home on another disk.")
    if is_read_only(error):
        return StudioError(f"The folder '{folder.name}' in Weft's home cannot be written; nothing was saved.",
                           hint="Make it writable, or start with --home and another folder.")
    return StudioError(f"Writing into '{folder.name}' failed: {error.strerror or type(error).__name__}.",
                       hint="Check the disk, or start with --home and another folder.")


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
