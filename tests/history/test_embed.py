"""A picture is a workflow: round trips, the 1 MiB rule, and files made by an enemy."""
from __future__ import annotations

import contextlib
import io
import json
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import PngImagePlugin

from studio.errors import BadDocument
from studio.history.embed import (
    MAX_TEXT,
    Embedded,
    embed,
    encode_png,
    picture_size,
    read_embedded,
    read_record,
    strip,
)

PIXELS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
PNG = encode_png(PIXELS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(allow_nan=False,
                                                                       allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20)
json_objects = st.dictionaries(st.text(), json_values, max_size=6)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(*chunks: bytes) -> bytes:
    """The small picture with chunks behind its header (33 bytes)."""
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def itxt(keyword: bytes, data: bytes, *, packed: bool = True, level: int = 6) -> bytes:
    body = zlib.compress(data, level) if packed else data
    return chunk(b"iTXt", keyword + (b"\0\1\0\0\0" if packed else b"\0\0\0\0\0") + body)


@given(json_objects, json_objects)
@settings(max_examples=25, deadline=None)
def test_any_graph_and_record_come_back_and_pixels_stay(graph: dict[str, object],
                                                        record: dict[str, object]) -> None:
    text = json.dumps(graph)
    png = embed(PNG, text, {"record": record})
    found = read_embedded(png)
    assert found.graph == text
    assert found.record is not None and found.record["record"] == record
    with Pillow.open(io.BytesIO(png)) as picture:
        assert np.array_equal(np.asarray(picture), PIXELS)
        assert picture.text["weft_graph"] == text  # type: ignore[attr-defined]


@given(st.text(max_size=200))
@settings(max_examples=25, deadline=None)
def test_unescaped_text_of_any_script_comes_back(prompt: str) -> None:
    text = json.dumps({"prompt": prompt}, ensure_ascii=False).encode("utf-8", "replace").decode()
    graph, _ = read_embedded(embed(PNG, text, {}))
    assert graph == text


def test_embedding_again_replaces_what_was_there() -> None:
    png = embed(embed(PNG, '{"a": 1}', {"n": 1}), '{"a": 2}', {"n": 2})
    found = read_embedded(png)
    assert isinstance(found, Embedded)
    assert found.graph == '{"a": 2}' and found.record is not None and found.record["n"] == 2
    assert png.count(b"weft_graph") == 1


def test_reading_from_a_path_and_from_bytes_agree(tmp_path: Path) -> None:
    png = embed(PNG, '{"a": 1}', {"n": 1})
    (tmp_path / "p.png").write_bytes(png)
    assert read_embedded(tmp_path / "p.png") == read_embedded(str(tmp_path / "p.png")) == read_embedded(png)


def test_graph_of_one_mebibyte_is_left_out_and_pillow_still_opens_the_picture() -> None:
    for size, carried in ((MAX_TEXT, True), (MAX_TEXT + 1, False)):
        text = '{"a": "' + "x" * (size - 9) + '"}'
        assert len(text) == size
        png = embed(PNG, text, {"generation": "g" * 32})
        with Pillow.open(io.BytesIO(png)) as picture:
            picture.load()
        if carried:
            assert read_embedded(png).graph == text
        else:
            with pytest.raises(BadDocument, match="larger than 1 MiB") as error:
                read_embedded(png)
            assert "g" * 32 in error.value.hint
            record = read_record(png)
            assert record is not None and len(str(record["graph_hash"])) == 64


def test_record_of_one_mebibyte_is_cut_down_to_its_id() -> None:
    png = embed(PNG, "{}", {"generation": "g", "notes": "x" * MAX_TEXT})
    record = read_embedded(png).record
    assert record is not None and record["generation"] == "g" and "notes" not in record


def test_stripped_picture_has_no_text_and_equal_pixels() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Anna")
    buffer = io.BytesIO()
    Pillow.fromarray(PIXELS).save(buffer, "PNG", pnginfo=info)
    bare = strip(embed(buffer.getvalue(), '{"prompt": "secret"}', {"prompt": "secret"}))
    for private in (b"Anna", b"weft", b"tEXt", b"iTXt"):
        assert private not in bare
    with Pillow.open(io.BytesIO(bare)) as picture:
        assert np.array_equal(np.asarray(picture), PIXELS)


def test_alpha_survives() -> None:
    pixels = np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4)
    with Pillow.open(io.BytesIO(encode_png(pixels))) as picture:
        assert picture.mode == "RGBA" and np.array_equal(np.asarray(picture), pixels)


def test_size_comes_from_the_header() -> None:
    assert picture_size(PNG) == (7, 5)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "not a PNG"), (b"GIF89a" + b"\0" * 50, "not a PNG"), (PNG[:4], "not a PNG"), (PNG[:20], "cut off"),
    (PNG[:-6], "cut off"), (PNG, "carries no Weft workflow"),
    (PNG[:33] + struct.pack(">I4s", 2**31 - 1, b"IDAT") + b"\0" * 40, "does not fit"),
    (PNG[:33] + struct.pack(">I4s", 0xFFFFFFFF, b"iTXt") + b"weft_graph\0", "does not fit"),
    (with_chunk(itxt(b"weft_graph", b"{")), "not sound JSON"),
    (with_chunk(itxt(b"weft_graph", b"[]")), "not a JSON object"),
    (with_chunk(itxt(b"weft_graph", b'{"a": NaN}')), "NaN"),
    (with_chunk(itxt(b"weft_graph", b'{"a": 1e999}')), "too large"),
    (with_chunk(itxt(b"weft_graph", b'{"a": 1, "a": 2}')), "twice"),
    (with_chunk(itxt(b"weft_graph", b'{"a":' * 10_000)), "nested 10000 deep"),
    (with_chunk(itxt(b"weft_graph", b"\xff\xfe")), "not UTF-8"),
    (with_chunk(itxt(b"weft_graph", b"{}"), itxt(b"weft_graph", b"{}")), "twice"),
    (with_chunk(chunk(b"iTXt", b"weft_graph\0\1\0\0\0no zlib")), "cannot be unpacked"),
    (with_chunk(chunk(b"iTXt", b"weft_graph\0\1\0\0\0" + zlib.compress(b"{}")[:-3])), "cut off"),
    (with_chunk(chunk(b"iTXt", b"weft_graph\0\7\0\0\0{}")), "unknown way"),
    (with_chunk(chunk(b"iTXt", b"weft_graph")), "not of the PNG form"),
    (with_chunk(chunk(b"iTXt", b"weft_graph\0\1")), "not of the PNG form"),
    (with_chunk(itxt(b"weft_graph", b"{}")[:-4] + b"\0\0\0\0"), "checksum"),
    (with_chunk(itxt(b"weft_graph", b"x" * (MAX_TEXT + 2000), packed=False)), "1 MiB"),
    (with_chunk(chunk(b"tEXt", b"parameters\0a cat, Steps: 20")), "Stable Diffusion web UI"),
    (with_chunk(chunk(b"tEXt", b"workflow\0{}")), "ComfyUI"),
    (with_chunk(itxt(b"invokeai_metadata", b"{}")), "InvokeAI"),
])
def test_hostile_and_foreign_files_get_a_sentence(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=words):
        read_embedded(data)
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(BadDocument, match=r"bad\.png|JSON|twice|nested|UTF-8"):
        read_embedded(tmp_path / "bad.png")


def test_text_bomb_is_refused_in_bounded_memory_and_time() -> None:
    bomb = with_chunk(itxt(b"weft_graph", b" " * 20_000_000, level=1))
    assert len(bomb) < 200_000
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(BadDocument, match="more than 1 MiB"):
        read_embedded(bomb)
    assert time.perf_counter() - start < 5.0
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_pixel_bomb_is_read_without_decoding_pixels() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 1, 0, 0, 0, 0))
    bomb = PNG[:8] + header + itxt(b"weft_graph", b'{"ok": 1}') + chunk(b"IDAT", b"whatever") + chunk(b"IEND",
                                                                                                      b"")
    assert read_embedded(bomb).graph == '{"ok": 1}'
    assert picture_size(bomb) == (100_000, 100_000)


def test_many_small_parts_are_bounded() -> None:
    with pytest.raises(BadDocument, match="more than 65536 parts"):
        read_embedded(PNG[:33] + chunk(b"tEXt", b"a\0b") * 66_000 + PNG[33:])


def test_damaged_record_does_not_cost_the_workflow() -> None:
    found = read_embedded(with_chunk(itxt(b"weft_record", b"{"), itxt(b"weft_graph", b'{"a": 1}')))
    assert found == ('{"a": 1}', None)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(BadDocument, match=f"'{path.name}' cannot be read"):
            read_embedded(path)
    with pytest.raises(BadDocument, match="cannot be read"):
        read_embedded("a\0b.png")


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_random_bytes_never_raise_anything_but_a_sentence(noise: bytes) -> None:
    for data in (noise, PNG[:33] + noise, with_chunk(chunk(b"iTXt", b"weft_graph" + noise))):
        with contextlib.suppress(BadDocument):
            read_embedded(data)
