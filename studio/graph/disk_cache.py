"""The disk tier (E14): values by content digest and entries by key, written whole, checked on reading,
bounded.

No fsync: after a power loss a file may be cut, which its checksum shows; the entry is then deleted and
recomputed. A full or read-only disk only means that nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_MAGIC = b"WEFTVAL1"
_HEADER = struct.Struct(
    ">8sH32sQ"
)  # magic, length of the codec's name, SHA-256 of name and payload, length of payload
_FRESH_SECONDS = 60.0


class DiskCache:
    """`folder/values/ab/<digest>` and `folder/keys/ab/<key>`; together at most `limit_bytes`, least recently
    used goes first. Several processes may use one folder; each counts for itself and looks again before it
    evicts."""

    def __init__(self, folder: Path, *, limit_bytes: int = 4 * 2**30) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self.trouble = ""
        """The last failed write in words, for a banner; empty if all went well."""
        self._bytes: int | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"DiskCache({str(self.folder)!r}, limit_bytes={self.limit_bytes})"

    @property
    def nbytes(self) -> int:
        """Bytes in the folder, as this process knows."""
        with self._lock:
            return self._count()

    def holds(self, digest: str) -> bool:
        """Whether there is a file for the value; its content is checked when read."""
        return self._path("values", digest).exists()

    def read_value(self, digest: str) -> tuple[str, bytes] | None:
        """(codec name, payload); None if absent or damaged, and then the file is gone."""
        data = self._read(self._path("values", digest))
        if data is None:
            return None
        if len(data) >= _HEADER.size:
            magic, name_size, checksum, size = _HEADER.unpack_from(data)
            body = data[_HEADER.size :]
            if (
                magic == _MAGIC
                and len(body) == name_size + size
                and hashlib.sha256(body).digest() == checksum
            ):
                return body[:name_size].decode(), body[name_size:]
        self.forget(digest)
        return None

    def write_value(self, digest: str, codec: str, payload: bytes) -> bool:
        """Keep a value; False if it is larger than the limit or cannot be written."""
        body = codec.encode() + payload
        header = _HEADER.pack(_MAGIC, len(codec.encode()), hashlib.sha256(body).digest(), len(payload))
        return self._write(self._path("values", digest), header + body)

    def read_entry(self, key: str) -> dict[str, Any] | None:
        """The entry of a key: {"outputs", "seconds", "notes"}; None if absent or damaged."""
        path = self._path("keys", key)
        data = self._read(path)
        if data is None:
            return None
        checksum, _, body = data.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() == checksum:
            entry: dict[str, Any] = json.loads(body)
            return entry
        self._remove(path)
        return None

    def write_entry(self, key: str, entry: dict[str, Any]) -> bool:
        """Keep an entry; False if it cannot be written."""
        try:
            body = json.dumps(entry, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            self.trouble = f"A note of a node is not JSON: {error}"
            return False
        return self._write(self._path("keys", key), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def forget(self, digest: str) -> None:
        """Delete a value."""
        self._remove(self._path("values", digest))

    def clear(self) -> None:
        """Delete everything."""
        with self._lock:
            for part in ("values", "keys"):
                shutil.rmtree(self.folder / part, ignore_errors=True)
            self._bytes = 0

    def _path(self, part: str, name: str) -> Path:
        return self.folder / part / name[:2] / name

    def _read(self, path: Path) -> bytes | None:
        try:
            data = path.read_bytes()
            if time.time() - path.stat().st_mtime > _FRESH_SECONDS:
                os.utime(path)
        except OSError:
            # A read-only folder cannot be touched but can be read.
            try:
                return path.read_bytes()
            except OSError:
                return None
        return data

    def _write(self, path: Path, data: bytes) -> bool:
        if len(data) > self.limit_bytes:
            return False
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            old = path.stat().st_size if path.exists() else 0
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            self.trouble = f"The cache on disk is not written: {error.strerror or error}."
            return False
        with self._lock:
            if self._bytes is not None:
                self._bytes += len(data) - old
            if self._count() > self.limit_bytes:
                self._shrink()
        return True

    def _remove(self, path: Path) -> None:
        with self._lock, contextlib.suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            if self._bytes is not None:
                self._bytes -= size

    def _files(self) -> list[tuple[float, int, str]]:
        """(last use, bytes, path) of every file; what others delete meanwhile is left out."""
        found: list[tuple[float, int, str]] = []
        for part in ("values", "keys"):
            for folder, _, names in os.walk(self.folder / part):
                for name in names:
                    path = os.path.join(folder, name)
                    with contextlib.suppress(OSError):
                        stat = os.stat(path)
                        found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _count(self) -> int:
        if self._bytes is None:
            self._bytes = sum(size for _, size, _ in self._files())
        return self._bytes

    def _shrink(self) -> None:
        """Down to 90 % of the limit, so that not every write has to look through the folder."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.limit_bytes * 0.9:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
        self._bytes = total
