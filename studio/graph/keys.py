"""Keys (E8): a canonical, typed form of constants; Merkle ahead keys built bottom-up; hashes of files
(E11)."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from studio.errors import StudioError


def canonical(value: object) -> bytes:
    """One byte string per value and type: 1, 1.0, True and "1" differ, -0.0 and 0.0 differ, dict order does
    not matter, list and tuple are equal. Raises TypeError for what is not JSON-like. Not recursive."""
    simple = _scalar(value) or _flat(value)
    if simple is not None:
        return simple
    out: list[bytes] = []
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, _Raw):
            out.append(item.data)
        elif isinstance(item, (list, tuple)):
            out.append(b"l%d:" % len(item))
            stack.extend(reversed(item))
        elif isinstance(item, Mapping):
            if not all(isinstance(k, str) for k in item):
                raise TypeError("a key in an object is not text")
            out.append(b"d%d:" % len(item))
            for key in sorted(item, reverse=True):
                stack.append(item[key])
                stack.append(_Raw(_scalar(key) or b""))
        else:
            simple = _scalar(item)
            if simple is None:
                raise TypeError(f"{type(item).__name__} has no canonical form")
            out.append(simple)
    return b"".join(out)


@dataclass(frozen=True)
class _Raw:
    data: bytes


def _flat(value: object) -> bytes | None:
    """The usual settings of a node, a dict of scalars, without the work list; None for anything else."""
    if type(value) is not dict:
        return None
    parts = [b"d%d:" % len(value)]
    for key in sorted(value) if all(type(k) is str for k in value) else ():
        item = _scalar(value[key])
        if item is None:
            return None
        parts += (_scalar(key) or b"", item)
    return b"".join(parts) if len(parts) == 2 * len(value) + 1 else None


def _scalar(value: object) -> bytes | None:
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return b"s%d:%s" % (len(data), data)
    if isinstance(value, bool):
        return b"T" if value else b"F"
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, float):
        return b"f" + struct.pack(">d", value)
    if value is None:
        return b"N"
    if isinstance(value, bytes):
        return b"b%d:%s" % (len(value), value)
    return None


def short(data: bytes) -> str:
    """16 hex digits for comparing an ingredient with what it was last time."""
    return hashlib.sha256(data).hexdigest()[:16]


def node_key(prefix: bytes, inputs: list[tuple[str, bytes]]) -> str:
    """The key of a node from its own part and (socket name, token) of each connected input, sorted by socket.

    With ahead keys of the sources as tokens it is the ahead key; with content digests it is the content key,
    by which a node is found again when an input was made anew but came out equal (E9).
    """
    whole = hashlib.sha256(prefix)
    for name, token in sorted(inputs):
        whole.update(canonical(name))
        whole.update(b"%d:" % len(token))
        whole.update(token)
    return whole.hexdigest()


def node_prefix(
    *,
    kind: str,
    version: int,
    code: str,
    params: Mapping[str, object],
    owner: str,
    numerics: str,
    draw: tuple[int, str] | None,
    fingerprint: object,
    nonce: str,
) -> bytes:
    """The part of a key that is the node's own. `owner` is empty for shared nodes (E18); `draw` = (run seed,
    path) for nodes that draw random numbers (E28); `nonce` is fresh for nodes that always run, so nothing
    below them is found by its ahead key."""
    # Every canonical form says where it ends, so that strung together they stay apart.
    rest = [list(draw) if draw else None, fingerprint, nonce]
    return (
        _of_kind(kind, version, code, owner, numerics)
        + canonical(dict(params))
        + b"".join(map(canonical, rest))
    )


@lru_cache(maxsize=1000)
def _of_kind(kind: str, version: int, code: str, owner: str, numerics: str) -> bytes:
    return b"weft-key/2" + canonical([kind, version, code, owner, numerics])


@dataclass(frozen=True)
class FileMark:
    """What a file looked like when its content was hashed."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


class HashMemo(Protocol):
    """Where file hashes are remembered; the studio's database, or a dict."""

    def get(self, path: str) -> FileMark | None: ...
    def put(self, path: str, mark: FileMark) -> None: ...


class _DictMemo:
    def __init__(self) -> None:
        self._marks: dict[str, FileMark] = {}

    def get(self, path: str) -> FileMark | None:
        return self._marks.get(path)

    def put(self, path: str, mark: FileMark) -> None:
        self._marks[path] = mark


class FileHashes:
    """SHA-256 of files, remembered by path, size, mtime_ns and inode."""

    def __init__(self, memo: HashMemo | None = None) -> None:
        self._memo: HashMemo = memo if memo is not None else _DictMemo()
        self._lock = threading.Lock()

    def sha256(self, path: str | Path, *, recheck: bool = False) -> str:
        """The content hash in hex; `recheck` reads the file even if it looks unchanged. StudioError if
        unreadable."""
        path = Path(path).absolute()
        try:
            stat = path.stat()
            with self._lock:
                mark = self._memo.get(str(path))
            if (
                not recheck
                and mark
                and (mark.size, mark.mtime_ns, mark.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            ):
                return mark.sha256
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StudioError(f"The file {path.name!r} cannot be read: {error.strerror or error}.") from error
        with self._lock:
            self._memo.put(str(path), FileMark(stat.st_size, stat.st_mtime_ns, stat.st_ino, digest))
        return digest
