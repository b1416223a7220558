"""Large pictures to latents and back by tiles: memory is that of one tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from studio.errors import StudioError
from studio.models.family import Parts
from studio.models.outline import outline_of
from studio.models.pictures import decode_latent
from studio.pixels import opaque
from studio.sampling.tiled import SHARED
from studio.sampling.tiles import Axis, tile_axis, windows
from studio.upscaling.run import Pixels, join
from studio.values import Image, Latent

# A quarter of what neighbours share counts nothing on either side: there an autoencoder guesses the outside.
MARGIN = 0.25


def encode_by_tiles(
    parts: Parts,
    image: Image,
    side: int,
    overlap: int = -1,
    *,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Latent:
    """The latent of a picture of any size, ready to be sampled from by tiles.

    Sides grow to whole steps of the model, right and below, by what is mirrored there; transparent parts get
    the colours beside them (`opaque`); `framed` takes both back. `side`: of a tile in pixels; `overlap`: -1 =
    a quarter. The latent keeps the picture itself: strength 0 gives it back.
    """
    step = parts.family.size_step(parts)
    check_smallest(image.width, image.height, step)
    width, height = (-(-own // step) * step for own in (image.width, image.height))
    more = ((0, height - image.height), (0, width - image.width), (0, 0))
    fitted = np.pad(opaque(image).pixels, more, mode="reflect")
    shape = parts.family.latent_shape(parts, 1, width, height)
    rows, columns = _axes(parts, width, height, shape, side, overlap)
    pixels = width // shape[3]
    tensor = torch.zeros(shape)
    places = windows(rows, columns)
    for number, window in enumerate(places):
        if on_step is not None:
            on_step(number, len(places))
        cut = fitted[window.y0 * pixels : window.y1 * pixels, window.x0 * pixels : window.x1 * pixels]
        with torch.inference_mode():
            given = torch.tensor(np.ascontiguousarray(cut)).permute(2, 0, 1)[None].float() / 255
            made = parts.family.encode_pixels(parts, given * 2 - 1).to("cpu", torch.float32)
        share = torch.from_numpy(window.shares).float()
        with torch.inference_mode(False):
            own = torch.empty(made.shape).copy_(made)
        tensor[..., window.y0 : window.y1, window.x0 : window.x1] += own if len(places) == 1 else share * own
    return Latent(width, height, 1, seed, tensor, parts.family.name, source=image)


def decode_by_tiles(
    parts: Parts,
    latent: Latent,
    side: int,
    overlap: int = -1,
    *,
    picture: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Image:
    """Picture `picture` of a latent of any size, decoded tile by tile and feathered; see `decode_latent`."""
    one_tile = side >= max(latent.width, latent.height)
    if latent.tensor is None or latent.source is not None or one_tile or picture >= latent.batch:
        return decode_latent(parts, latent, picture)
    own = latent.tensor[picture : picture + 1]
    rows, columns = _axes(parts, latent.width, latent.height, tuple(own.shape), side, overlap)
    pixels = latent.width // own.shape[3]

    def piece(y: slice, x: slice, done: int, total: int) -> Pixels:
        if on_step is not None:
            on_step(done, total)
        size = ((x.stop - x.start) * pixels, (y.stop - y.start) * pixels)
        part = replace(latent, width=size[0], height=size[1], batch=1, tensor=own[..., y, x].contiguous())
        return decode_latent(parts, part).pixels

    return Image(join(piece, rows, columns, pixels))


def check_smallest(width: int, height: int, step: int) -> None:
    """StudioError for a picture that is smaller than one step of a model, in pixels."""
    if min(width, height) < step:
        raise StudioError(
            f"The picture has {width}x{height} pixels; this model needs at least {step}x{step}.",
            socket="image",
            hint="Enlarge it first.",
        )


def smallest_for(model: str) -> int:
    """The shortest side in pixels that the model of a reference paints, as `check_smallest` has it; 0 where
    that cannot be told without loading it."""
    found = outline_of(model)
    return 0 if found is None or found.sides is None else found.sides[0]


def framed(painted: Image, like: Image) -> Image:
    """A picture that was painted from `like` in its size and with its alpha: what `encode_by_tiles` added is
    cut off again. StudioError for pictures whose sizes have nothing to do with each other."""
    if painted is like:
        return painted
    over = (painted.width - like.width, painted.height - like.height)
    if min(over) < 0 or over[0] >= like.width or over[1] >= like.height:
        raise StudioError(
            f"The latent makes {painted.width}x{painted.height} pixels, and the picture to be like has "
            f"{like.width}x{like.height}.",
            socket="like",
            hint="Connect the picture that Encode large picture was given, or nothing.",
        )
    pixels = painted.pixels[: like.height, : like.width, :3]
    if like.has_alpha:
        pixels = np.dstack([pixels, like.pixels[..., 3]])
    return Image(np.ascontiguousarray(pixels))


def _axes(
    parts: Parts, width: int, height: int, shape: tuple[int, ...], side: int, overlap: int
) -> tuple[Axis, Axis]:
    """Tiles in points of the latent; `side` and `overlap` in pixels."""
    pixels = width // shape[3]
    least = 2 * parts.family.size_step(parts)
    if side < least or side % pixels:
        near = max(round(side / pixels) * pixels, least)
        raise StudioError(
            f"Tiles of {side} pixels are not possible with this model.",
            socket="tile",
            hint=f"At least {least}, in steps of {pixels}; the nearest is {near}.",
        )
    shared = -(-(round(side * SHARED) if overlap < 0 else overlap) // pixels)
    margin = int(shared * MARGIN)
    rows, columns = (tile_axis(length, side // pixels, shared, margin=margin) for length in shape[2:4])
    return rows, columns
