"""The graph and the record inside a PNG, as iTXt chunks `weft_graph` and `weft_record`, and back.

PNG (Third Edition) 11.3.3.4. Reading takes the file for hostile: it walks the chunks, decodes no pixel and
inflates at most 1 MiB a chunk. Pillow refuses the whole picture above that size, so larger texts are never
written.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from studio.errors import BadDocument, StudioError
from studio.history.strict_json import loads_object

GRAPH, RECORD = b"weft_graph", b"weft_record"
MAX_TEXT = 1024 * 1024 - 1  # bytes, unpacked
RECORD_FORMAT, RECORD_VERSION = "weft/record", 1

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_CHUNKS = 65_536
_FOREIGN = {b"parameters": "Stable Diffusion web UI", b"prompt": "ComfyUI", b"workflow": "ComfyUI",
            b"invokeai_metadata": "InvokeAI", b"invokeai_graph": "InvokeAI"}


class Embedded(NamedTuple):
    """What a picture carries: the workflow as JSON text and, if it is there and sound, its record."""

    graph: str
    record: dict[str, object] | None


class _Chunk(NamedTuple):
    kind: bytes
    start: int   # of the whole chunk in the file
    length: int  # of its data


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of an array height, width, 3 or 4 channels; without any text."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or not pixels.size:
        raise StudioError(f"A picture is a uint8 array of height, width, 3 or 4 channels, not {pixels.dtype} "
                          f"{pixels.shape}.")
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def embed(png: bytes, graph: str, record: Mapping[str, object]) -> bytes:
    """`png` with graph and record inside; what it carried of both before is replaced.

    A graph of 1 MiB or more is left out (`graph_hash` in the record names it), a record of that size is cut
    down to its `generation` and `graph_hash`.
    """
    graph_bytes = graph.encode("utf-8", "replace")
    full = {"format": RECORD_FORMAT, "version": RECORD_VERSION, **record,
            "graph_hash": hashlib.sha256(graph_bytes).hexdigest()}
    record_bytes = _dump(full)
    if len(record_bytes) > MAX_TEXT:
        kept = ("format", "version", "generation", "graph_hash")
        record_bytes = _dump({name: full[name] for name in kept if name in full})
    chunks = [_text_chunk(RECORD, record_bytes)]
    if len(graph_bytes) <= MAX_TEXT:
        chunks.append(_text_chunk(GRAPH, graph_bytes))
    return _with_texts(png, chunks, drop=lambda keyword: keyword in (GRAPH, RECORD))


def strip(png: bytes) -> bytes:
    """`png` without any text, time or EXIF chunk; the pixels' bytes are the same."""
    return _with_texts(png, [], drop=lambda keyword: True)


def read_embedded(source: Path | str | bytes) -> Embedded:
    """The workflow (and record) that a PNG carries, from its path or its bytes; no pixel is decoded.

    BadDocument in words: not a PNG, cut off, no workflow inside (whose it is, if known), too large, not sound
    JSON.
    """
    name = "The picture" if isinstance(source, bytes) else f"'{Path(source).name}'"
    with _opened(source, name) as handle:
        texts, foreign = _read_texts(handle, name)
    record: dict[str, object] | None = None
    if RECORD in texts:
        try:
            record = loads_object(_inflate(texts[RECORD], name), "The record in the picture")
        except BadDocument:
            record = None  # a damaged record does not cost the workflow
    if GRAPH not in texts:
        raise _no_graph(name, record, foreign)
    graph = _inflate(texts[GRAPH], name)
    loads_object(graph, "The workflow in the picture")
    return Embedded(graph, record)


def read_record(source: Path | str | bytes) -> dict[str, object] | None:
    """The record alone, also of a picture whose graph was too large to be carried; None if there is none."""
    name = "The picture" if isinstance(source, bytes) else f"'{Path(source).name}'"
    with _opened(source, name) as handle:
        texts, _ = _read_texts(handle, name)
    return loads_object(_inflate(texts[RECORD], name),
                        "The record in the picture") if RECORD in texts else None


def picture_size(source: Path | str | bytes) -> tuple[int, int]:
    """Width and height of a PNG from its header."""
    name = "The picture" if isinstance(source, bytes) else f"'{Path(source).name}'"
    with _opened(source, name) as handle:
        first = next(_chunks(handle, name), None)
        if first is None or first.kind != b"IHDR" or first.length != 13:
            raise BadDocument(f"{name} is damaged: its header is missing.")
        width, height = struct.unpack(">II", _data(handle, first, name)[:8])
    return width, height


def _opened(source: Path | str | bytes, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return open(source, "rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a path without zero bytes is needed"
        raise BadDocument(f"{name} cannot be read: {reason}.") from error


def _chunks(handle: BinaryIO, name: str) -> Iterator[_Chunk]:
    """All chunks up to IEND; only their headers are read."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    if handle.read(8) != _SIGNATURE:
        raise BadDocument(f"{name} is not a PNG picture.",
                          hint="Workflows travel in PNG files saved by Weft.")
    start = 8
    for _ in range(_MAX_CHUNKS):
        handle.seek(start)
        head = handle.read(8)
        if len(head) < 8:
            raise BadDocument(f"{name} is cut off after {size} bytes.")
        length, kind = struct.unpack(">I4s", head)
        if length > 0x7FFFFFFF or start + 12 + length > size:
            raise BadDocument(f"{name} is cut off or damaged: a part of {length} bytes does not fit in.")
        yield _Chunk(kind, start, length)
        if kind == b"IEND":
            return
        start += 12 + length
    raise BadDocument(f"{name} has more than {_MAX_CHUNKS} parts.")


def _data(handle: BinaryIO, chunk: _Chunk, name: str) -> bytes:
    handle.seek(chunk.start + 4)
    checked = handle.read(4 + chunk.length)
    (wanted,) = struct.unpack(">I", handle.read(4))
    if zlib.crc32(checked) != wanted:
        raise BadDocument(f"{name} is damaged: the checksum of its text is wrong.")
    return checked[4:]


def _read_texts(handle: BinaryIO, name: str) -> tuple[dict[bytes, bytes], str]:
    """Data of our chunks by keyword, and whose workflow the picture carries otherwise, if known."""
    found: dict[bytes, bytes] = {}
    foreign = ""
    for chunk in _chunks(handle, name):
        if chunk.kind not in _TEXT_KINDS:
            continue
        handle.seek(chunk.start + 8)
        keyword = handle.read(min(chunk.length, 80)).split(b"\0", 1)[0]
        if keyword in (GRAPH, RECORD) and chunk.kind == b"iTXt":
            if chunk.length > MAX_TEXT + 1024:
                raise BadDocument(f"{name} carries {chunk.length} bytes of text; at most 1 MiB is read.")
            if keyword in found:
                raise BadDocument(f"{name} carries {keyword.decode()} twice.")
            found[keyword] = _data(handle, chunk, name)
        else:
            foreign = foreign or _FOREIGN.get(keyword, "")
    return found, foreign


def _inflate(data: bytes, name: str) -> str:
    """The text of an iTXt chunk's data, at most 1 MiB."""
    try:
        _, rest = data.split(b"\0", 1)
        flag, method, rest = rest[0], rest[1], rest[2:]
        _, _, packed = rest.split(b"\0", 2)
    except (ValueError, IndexError) as error:
        raise BadDocument(f"{name} is damaged: its text is not of the PNG form.") from error
    if flag == 1 and method == 0:
        unpacker = zlib.decompressobj()
        try:
            packed = unpacker.decompress(packed, MAX_TEXT + 1)
        except zlib.error as error:
            raise BadDocument(f"{name} is damaged: its text cannot be unpacked.") from error
        if len(packed) <= MAX_TEXT and not unpacker.eof:
            raise BadDocument(f"{name} is damaged: its text is cut off.")
    elif flag != 0:
        raise BadDocument(f"{name} is damaged: its text is packed in an unknown way.")
    if len(packed) > MAX_TEXT:
        raise BadDocument(f"{name} carries more than 1 MiB of text; that is not read.")
    try:
        return packed.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDocument(f"{name} is damaged: its text is not UTF-8.") from error


def _no_graph(name: str, record: Mapping[str, object] | None, foreign: str) -> BadDocument:
    if record is not None and isinstance(generation := record.get("generation"), str):
        return BadDocument(f"{name} does not carry its workflow, which is larger than 1 MiB.",
                           hint=f"It is in the history of the studio that made it, as {generation[:40]}.")
    if foreign:
        return BadDocument(f"{name} carries a workflow of {foreign}, not of Weft.",
                           hint="It cannot be opened here.")
    return BadDocument(f"{name} carries no Weft workflow.",
                       hint="It was saved by another program, or exported without its workflow.")


def _dump(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8",
                                                                                                "replace")


def _text_chunk(keyword: bytes, text: bytes) -> bytes:
    data = keyword + b"\0\1\0\0\0" + zlib.compress(text, 6)
    return struct.pack(">I", len(data)) + b"iTXt" + data + struct.pack(">I", zlib.crc32(b"iTXt" + data))


def _with_texts(png: bytes, add: list[bytes], *, drop: Callable[[bytes], bool]) -> bytes:
    """`png` without the text chunks that `drop` names, with `add` behind its header."""
    handle = io.BytesIO(png)
    parts = [_SIGNATURE]
    for chunk in _chunks(handle, "The picture"):
        whole = png[chunk.start:chunk.start + 12 + chunk.length]
        if chunk.kind in (*_TEXT_KINDS, b"tIME", b"eXIf") and drop(whole[8:88].split(b"\0", 1)[0]):
            continue
        parts.append(whole)
        if chunk.kind == b"IHDR":
            parts += add
    return b"".join(parts)
