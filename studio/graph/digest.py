"""Content digests of values (E9), and how values are handed out, measured, saved and loaded (ValueCodec).

The graph knows no tensors: codecs for heavy values are handed in. Built in are JSON values, lists of values,
`BLOCKED`, and frozen dataclasses (behaviour with a name and parameters), which stay in memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import types
from collections.abc import Sequence
from typing import Any, Protocol

from studio.errors import StudioError
from studio.graph.keys import canonical
from studio.graph.spec import BLOCKED


class ValueCodec(Protocol):
    """What the engine must know of one sort of value. `name` is written on disk, so it stays as it is.

    A codec may also have `describe(value) -> str`: sizes, never contents, for messages.
    """

    name: str

    def handles(self, value: object) -> bool:
        """Whether this codec is the one for the value."""
        ...

    def digest(self, value: Any) -> str:
        """SHA-256 of the content in hex; equal values have equal digests."""
        ...

    def nbytes(self, value: Any) -> int:
        """Bytes the value keeps alive; a handle to a model counts small, its store owns the weights."""
        ...

    def readonly(self, value: Any) -> Any:
        """What a node is handed: the same object if nobody can change it, else a copy."""
        ...

    def dump(self, value: Any) -> bytes | None:
        """The bytes to keep on disk; None = memory only."""
        ...

    def load(self, data: bytes) -> Any:
        """The value again; ValueError if the bytes are damaged."""
        ...


class JsonCodec:
    """None, booleans, numbers, texts, bytes, and lists and dicts of them."""

    name = "json"

    def handles(self, value: object) -> bool:
        return json_like(value)

    def digest(self, value: Any) -> str:
        return hashlib.sha256(b"json" + canonical(value)).hexdigest()

    def nbytes(self, value: Any) -> int:
        return len(canonical(value)) + 64

    def readonly(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self.readonly(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.readonly(v) for v in value]
        return value

    def dump(self, value: Any) -> bytes | None:
        return None if not _plain(value) else json.dumps(value, ensure_ascii=True).encode()

    def load(self, data: bytes) -> Any:
        return json.loads(data)


def json_like(value: object) -> bool:
    """Whether `canonical` knows the value."""
    try:
        canonical(value)
    except (TypeError, RecursionError):
        return False
    return True


def _plain(value: object) -> bool:
    """Whether JSON gives the value back as it was: no tuple, no bytes inside."""
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, bytes)):
            return False
        stack.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
    return True


class BlockedCodec:
    """The one value BLOCKED."""

    name = "blocked"

    def handles(self, value: object) -> bool:
        return value is BLOCKED

    def digest(self, value: Any) -> str:
        return hashlib.sha256(b"blocked").hexdigest()

    def nbytes(self, value: Any) -> int:
        return 0

    def readonly(self, value: Any) -> Any:
        return value

    def dump(self, value: Any) -> bytes | None:
        return b""

    def load(self, data: bytes) -> Any:
        return BLOCKED


class Codecs:
    """The codecs in the order they are asked: those handed in, then the built-in ones."""

    def __init__(self, codecs: Sequence[ValueCodec] = ()) -> None:
        self._codecs: tuple[ValueCodec, ...] = (BlockedCodec(), *codecs, JsonCodec())
        self._by_name = {codec.name: codec for codec in self._codecs}

    def _find(self, value: object) -> ValueCodec | None:
        return next((codec for codec in self._codecs if codec.handles(value)), None)

    def digest(self, value: object) -> str:
        """The content digest. StudioError for a value that nobody knows how to digest."""
        codec = self._find(value)
        if codec is not None:
            return codec.digest(value)
        whole = hashlib.sha256()
        if isinstance(value, (list, tuple)):
            whole.update(b"list%d" % len(value))
            parts: Sequence[object] = value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type) and _is_frozen(value):
            whole.update(f"{type(value).__module__}:{type(value).__qualname__}".encode())
            named = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare]
            whole.update(canonical([name for name, _ in named]))
            parts = [item for _, item in named]
        elif isinstance(value, types.FunctionType) and "<" not in value.__qualname__:
            return hashlib.sha256(f"function {value.__module__}:{value.__qualname__}".encode()).hexdigest()
        else:
            raise StudioError(
                f"A {type(value).__name__} has no content digest.",
                hint="Return a value type of studio.api, or a frozen dataclass of plain fields.",
            )
        for part in parts:
            whole.update(self.digest(part).encode())
        return whole.hexdigest()

    def nbytes(self, value: object) -> int:
        """Bytes the value keeps alive; small objects count 256."""
        codec = self._find(value)
        if codec is not None:
            return codec.nbytes(value)
        if isinstance(value, (list, tuple)):
            return 64 + sum(self.nbytes(item) for item in value)
        return 256

    def readonly(self, value: object) -> Any:
        """What a node or caller may be handed without being able to change what is kept."""
        codec = self._find(value)
        if codec is not None:
            return codec.readonly(value)
        if isinstance(value, list):
            return [self.readonly(item) for item in value]
        return value

    def describe(self, value: object) -> str:
        """Sizes, never contents: "Image 256 x 256", "text, 12 characters"."""
        if isinstance(value, str):
            return f"text, {len(value)} characters"
        if value is None or isinstance(value, (bool, int, float)):
            return repr(value)
        if isinstance(value, (list, tuple, dict)):
            return f"{type(value).__name__} of {len(value)}"
        describe = getattr(self._find(value), "describe", None)
        if describe is not None:
            return str(describe(value))
        size = f"{value.width}x{value.height}" if hasattr(value, "width") and hasattr(value, "height") else ""
        return f"{type(value).__name__} {size}".strip()

    def dump(self, value: object) -> tuple[str, bytes] | None:
        """(codec name, bytes) for the disk; None = memory only."""
        codec = self._find(value)
        data = None if codec is None else codec.dump(value)
        if codec is not None and data is not None:
            return codec.name, data
        if not isinstance(value, (list, tuple)) or hasattr(value, "_fields"):
            return None
        parts: list[bytes] = [struct.pack(">?I", isinstance(value, tuple), len(value))]
        for item in value:
            dumped = self.dump(item)
            if dumped is None:
                return None
            name, data = dumped
            parts += [struct.pack(">HQ", len(name.encode()), len(data)), name.encode(), data]
        return "list", b"".join(parts)

    def load(self, name: str, data: bytes) -> Any:
        """The value again. ValueError for damaged bytes or an unknown codec."""
        if name != "list":
            codec = self._by_name.get(name)
            if codec is None:
                raise ValueError(f"no codec called {name!r}")
            return codec.load(data)
        try:
            is_tuple, count = struct.unpack_from(">?I", data)
            at, items = 5, []
            for _ in range(count):
                name_size, size = struct.unpack_from(">HQ", data, at)
                at += 10
                items.append(
                    self.load(
                        data[at : at + name_size].decode(), data[at + name_size : at + name_size + size]
                    )
                )
                at += name_size + size
        except (struct.error, UnicodeError) as error:
            raise ValueError(f"a damaged list: {error}") from error
        return tuple(items) if is_tuple else items


def _is_frozen(value: object) -> bool:
    params = getattr(type(value), "__dataclass_params__", None)
    return bool(params is not None and params.frozen)
