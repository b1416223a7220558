"""Pictures that nobody expects - one pixel, 20,000 wide, transparent, 16 bits deep - through every node that
makes pictures larger or brings them back: handled, or refused with what is possible."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.models.loading import ModelStore
from studio.nodes.known import degrade_picture, known_picture, put_back_known
from studio.nodes.upscale import encode_by_tiles, load_upscaler, resize_picture, upscale_picture
from studio.pixels import read_picture
from studio.values import Image
from tests.nodes.ready import ready_workflow

SHAPES = [(1, 1, 3), (1, 1, 4), (1, 90, 3), (70, 50, 4), (1, 20_000, 3)]


def picture(*shape: int) -> Image:
    return Image(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def sixteen_bits() -> Image:
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    file = io.BytesIO()
    Pillow.fromarray(values).save(file, "PNG")
    return read_picture(file.getvalue())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("upscaler", ["lanczos", "embedded:scenes-upscale-x2"])
def test_odd_pictures_are_made_larger(ctx: Context, upscaler: str, shape: tuple[int, ...]) -> None:
    if upscaler != "lanczos" and shape[1] == 20_000:
        shape = (1, 2_000, 3)  # the same path in a tenth of the time; the tiles of 20,000 are in test_run.py
    made = upscale_picture(picture(*shape), load_upscaler(upscaler, ctx=ctx), scale=2.0, ctx=ctx)
    assert made.pixels.shape == (2 * shape[0], 2 * shape[1], shape[2])


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_pictures_are_resized_made_worse_and_put_back(ctx: Context, shape: tuple[int, ...]) -> None:
    image = picture(*shape)
    assert resize_picture(image, 1.0, ctx=ctx) is image
    worse = degrade_picture(image, blur="disc", radius=3.0)
    assert worse.image.pixels.shape == (*shape[:2], 3)
    known = known_picture(image, shrink=2, ctx=ctx)
    assert (known.width, known.height) == (2 * shape[1], 2 * shape[0]) and not known.image.has_alpha
    back = put_back_known(Image(np.zeros((known.height, known.width, 3), np.uint8)), known)
    assert known.difference(back) < 1e-4


def test_sixteen_bits_become_eight_and_go_through(ctx: Context) -> None:
    image = sixteen_bits()
    assert image.pixels.dtype == np.uint8 and image.pixels.max() == 255 and image.pixels.min() == 0
    assert upscale_picture(image, load_upscaler("lanczos", ctx=ctx), scale=2.0, ctx=ctx).width == 128
    assert degrade_picture(image, shrink=4).image.width == 16


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model, ctx: encode_by_tiles(model, picture(1, 1, 3), ctx=ctx), "1x1 pixels"),
        (lambda model, ctx: encode_by_tiles(model, picture(64, 64, 3), tile=50, ctx=ctx), "Tiles of 50"),
        (lambda model, ctx: encode_by_tiles(model, picture(64, 64, 3), 0, 64, 60, ctx=ctx), "half a tile"),
        (lambda model, ctx: degrade_picture(picture(1, 1, 3), shrink=2), "1x1 pixels cannot be shrunk 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_names_what_is_possible(
    store: ModelStore, ctx: Context, call: Callable[..., Any], said: str
) -> None:
    with pytest.raises(StudioError, match=said) as caught:
        call(store.load("tiny:sd3"), ctx)
    assert caught.value.hint


def test_a_tile_larger_than_the_picture_is_one_tile(store: ModelStore, ctx: Context) -> None:
    latent = encode_by_tiles(store.load("tiny:sd3"), picture(64, 80, 4), tile=4096, ctx=ctx)
    assert (latent.width, latent.height) == (80, 64)


def test_what_is_known_of_a_size_that_the_model_cannot_make_is_refused(engine: Engine) -> None:
    """19 x 10 pixels, twice the size: no canvas has 38 x 20."""
    graph = ready_workflow("restore-picture", {"model.model": "tiny:sd3", "schedule.steps": 2})
    nodes = [
        node if node.id != "worse" else Node("worse", "known_picture", {"shrink": 2, "blur": "none"})
        for node in graph.nodes
    ]
    nodes += [Node("small", "resize_picture", {"factor": 0.15})]
    edges = [
        Edge(("worse", "measurement"), edge.target) if edge.source == ("worse", "known") else edge
        for edge in graph.edges
        if edge.target != ("worse", "image")
    ]
    edges += [Edge(("picture", "image"), ("small", "image")), Edge(("small", "image"), ("worse", "image"))]
    settings = {"canvas.width": 128, "canvas.height": 64}
    small: Graph = replace(graph, nodes=tuple(nodes), edges=tuple(edges))
    for place, value in settings.items():
        small = small.set(*place.split("."), value)
    report = engine.run(small, targets=["restore"])
    assert report.status == "failed"
    (error,) = [error for error in report.errors if error.node == "again"]
    assert error.socket in ("width", "height") and "64" in f"{error.message} {error.hint}", error
