"""Load mask and Put back outside a mask: files of every sort, sizes, refusals, and pixels that stay."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.graph.document import loads, to_json
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.models.loading import ModelStore
from studio.nodes.masks import fitted, keep_outside, load_mask
from studio.policy import Policy
from studio.values import Image, Latent, Mask
from tests.nodes.test_workflows import small

REF: Any = {"file": "0" * 64, "name": "mine.png"}


def context(data: bytes) -> Any:
    said: list[str] = []
    policy = Policy.local()
    return SimpleNamespace(open_file=lambda digest: data, policy=policy, warn=said.append, said=said)


def png(mode: str, array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(array, mode).save(file, "PNG")
    return file.getvalue()


def half(width: int = 8, height: int = 4) -> np.ndarray:
    grey = np.zeros((height, width), np.uint8)
    grey[:, : width // 2] = 255
    return grey


def test_white_is_inside_in_a_grey_file() -> None:
    mask = load_mask(REF, ctx=context(png("L", half())))
    assert mask.values.shape == (4, 8) and mask.values[:, :4].all() and not mask.values[:, 4:].any()


@pytest.mark.parametrize("colour", [0, 255], ids=["black paint", "white paint"])
def test_what_is_opaque_is_inside_in_a_file_with_transparency(colour: int) -> None:
    pixels = np.full((4, 8, 4), colour, np.uint8)
    pixels[..., 3] = half()
    mask = load_mask(REF, ctx=context(png("RGBA", pixels)))
    assert np.array_equal(mask.values > 0.5, half() > 0)


def test_an_opaque_alpha_channel_says_nothing() -> None:
    pixels = np.dstack([half()] * 3 + [np.full((4, 8), 255, np.uint8)])
    assert np.array_equal(load_mask(REF, ctx=context(png("RGBA", pixels))).values > 0.5, half() > 0)


def test_inverted_and_read_by_choice() -> None:
    found = load_mask(REF, invert=True, ctx=context(png("L", half())))
    assert not found.values[:, :4].any() and found.values[:, 4:].all()
    with pytest.raises(StudioError, match="no transparency") as error:
        load_mask(REF, read="alpha", ctx=context(png("L", half())))
    assert error.value.socket == "read"


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", png("L", half())[:40], b"<svg xmlns='http://www.w3.org/2000/svg'/>"],
    ids=repr,
)
def test_wrong_files_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(StudioError, match="picture"):
        load_mask(REF, ctx=context(data))


def test_an_empty_mask_is_refused_with_a_hint() -> None:
    with pytest.raises(StudioError, match="empty") as error:
        load_mask(REF, ctx=context(png("L", np.zeros((4, 4), np.uint8))))
    assert error.value.hint


def test_a_photograph_is_taken_with_a_warning() -> None:
    ctx = context(png("RGB", np.full((4, 4, 3), (200, 30, 30), np.uint8)))
    load_mask(REF, ctx=ctx)
    assert "brightness" in ctx.said[0]
    ctx = context(png("L", half()))
    load_mask(REF, ctx=ctx)
    assert ctx.said == []


def test_it_gets_the_size_of_the_picture_or_of_the_canvas() -> None:
    picture = Image(np.zeros((32, 64, 3), np.uint8))
    canvas = Latent(64, 32, 1, 0, None, "sd3")
    data = png("L", half())
    by_picture = load_mask(REF, image=picture, ctx=context(data))
    by_canvas = load_mask(REF, latent=canvas, ctx=context(data))
    assert by_picture == by_canvas and by_picture.values.shape == (32, 64)
    assert by_picture.values[:, :28].min() == 1 and by_picture.values[:, 36:].max() == 0
    with pytest.raises(StudioError, match="64x32"):
        load_mask(REF, image=Image(np.zeros((8, 8, 3), np.uint8)), latent=canvas, ctx=context(data))


def test_cover_cuts_as_pictures_are_cut_and_stretch_does_not() -> None:
    wide = np.zeros((4, 8), np.float32)
    wide[:, 2:6] = 1  # the middle square
    assert fitted(Mask(wide), 4, 4).values.min() == 1
    assert fitted(Mask(wide), 4, 4, "stretch").values.min() < 0.5
    mask = Mask(wide)
    assert fitted(mask, 8, 4) is mask


def test_outside_the_old_picture_stays_to_the_bit_and_inside_the_new_one_shows() -> None:
    rng = np.random.default_rng(0)
    old, new = (Image(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(2))
    values = np.zeros((40, 40), np.float32)
    values[10:30, 10:30] = 1
    for soften in (0, 4):
        made = keep_outside(new, old, Mask(values), soften)
        outside = values == 0
        assert np.array_equal(made.pixels[outside], old.pixels[outside])
        assert np.array_equal(made.pixels[15:25, 15:25], new.pixels[15:25, 15:25])
    at_edge = keep_outside(new, old, Mask(values), 4).pixels[10, 20]
    assert not np.array_equal(at_edge, new.pixels[10, 20])


def test_a_full_mask_is_the_new_picture_itself_also_at_the_border() -> None:
    new, old = Image(np.zeros((16, 16, 3), np.uint8)), Image(np.full((16, 16, 3), 9, np.uint8))
    assert keep_outside(new, old, Mask(np.ones((16, 16), np.float32)), 4) is new


def test_an_old_picture_of_another_size_is_cut_as_it_was_encoded() -> None:
    old = np.zeros((16, 32, 3), np.uint8)
    old[:, 8:24] = 255
    made = keep_outside(
        Image(np.zeros((16, 16, 3), np.uint8)), Image(old), Mask(np.zeros((16, 16), np.float32))
    )
    assert made.pixels.min() == 255
    with pytest.raises(StudioError, match="8x8"):
        keep_outside(Image(old), Image(old), Mask(np.ones((8, 8), np.float32)))


@pytest.mark.parametrize("ref", ["tiny:sd3", "tiny:flux"])
def test_a_loaded_mask_bounds_an_edit_in_a_real_run(registry: Registry, store: ModelStore, ref: str) -> None:
    painted = png("L", half(16, 16))
    engine = Engine(registry, codecs=[TensorCodec()], models=store, open_file=lambda digest: painted)
    graph = small("edit-a-thing", **{"model.model": ref})
    document: Any = to_json(graph)
    document["nodes"] = [n for n in document["nodes"] if n["id"] not in ("watch", "cut")]
    document["edges"] = [e for e in document["edges"] if not {e["from"][0], e["to"][0]} & {"watch", "cut"}]
    document["exposed"] = []
    mask = {"id": "mask", "kind": "load_mask", "widgets": {"picture": REF}, "pos": [0, 0], "mode": "normal"}
    document["nodes"].append(mask)
    for source, target in (
        ("encode.latent", "mask.latent"),
        ("mask.mask", "edit.mask"),
        ("mask.mask", "outside.mask"),
    ):
        document["edges"].append({"from": source.split("."), "to": target.split(".")})
    graph = loads(json.dumps(document))
    assert [p for p in engine.check(graph) if p.level == "error"] == []
    report = engine.run(graph)
    assert report.errors == () and report.status == "finished"
    before, after = (report.outputs[node]["image"].pixels for node in ("save_before", "save"))
    inside = np.zeros(before.shape[:2], bool)
    inside[:, : before.shape[1] // 2 + 4] = True  # bilinear: an edge of 4 source pixels each
    assert np.array_equal(before[~inside], after[~inside]) and not np.array_equal(before, after)
    engine.close()
