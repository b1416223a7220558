"""Pictures made larger: resizing, upscalers by tiles, and painting anew by tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from studio.api import (
    Choice,
    Context,
    FileRef,
    Image,
    Latent,
    Model,
    Number,
    Seed,
    Slider,
    StudioError,
    Text,
    Upscaler,
    Wrap,
    node,
)
from studio.models.family import parts_of
from studio.models.loading import FileDigest
from studio.nodes.upscale_checks import review_enlarge, review_overlap, review_upscaler
from studio.policy import Policy
from studio.sampling.guidance.coarse import coarse_guide
from studio.sampling.tiled import tiles_wrap
from studio.upscaling.engines import DEFAULT, FILTERS, filtered, upscaler_file, upscaler_of
from studio.upscaling.latents import decode_by_tiles as decode_tiled
from studio.upscaling.latents import encode_by_tiles as encode_tiled
from studio.upscaling.latents import framed
from studio.upscaling.run import enlarge

OWN = -1


def _content(params: Mapping[str, object], files: FileDigest) -> object:
    """What an upscaler is made of: the hash of its file. What is no such file is said when the node runs."""
    ref = str(params["upscaler"]).strip()
    if ref in FILTERS:
        return ref
    path = upscaler_file(ref, Policy.local())
    return files.sha256(path) if path.suffix == ".safetensors" and path.is_file() else "missing"


@node(group="Image", title="Resize picture")
def resize_picture(
    image: Image,
    factor: Annotated[float, Number(0.01, 16)] = 1.0,
    how: Annotated[str, Choice(*FILTERS)] = "lanczos",
    *,
    ctx: Context,
) -> Image:
    """Make a picture smaller or larger without painting anything new.

    factor: 1 leaves the picture as it is, 0.5 is half as wide and high
    how: lanczos is sharp and smooth, area is right for much smaller pictures, nearest keeps hard pixels
    """
    width, height = (max(1, round(side * factor)) for side in (image.width, image.height))
    ctx.policy.check_pixels(width, height, socket="factor")
    return filtered(image, width, height, how)


@node(group="Image", title="Load upscaler", fingerprint=_content, review=review_upscaler)
def load_upscaler(upscaler: FileRef = DEFAULT, *, ctx: Context) -> Upscaler:
    """Choose what makes pictures larger.

    upscaler: embedded:scenes-upscale-x2, lanczos, area, nearest, or the path of a safetensors file with a
    Real-ESRGAN network (RRDBNet, SRVGGNetCompact; others where spandrel is installed)
    """
    return upscaler_of(upscaler, ctx.policy, ctx.models.device)


@node(group="Image", title="Upscale picture", resources="gpu", review=review_enlarge)
def upscale_picture(
    image: Image,
    upscaler: Upscaler,
    guide: Image | None = None,
    scale: Annotated[float, Slider(1, 16, 0.1)] = 2.0,
    tile: Annotated[int, Number(0, 4096, lowest="automatic")] = 0,
    overlap: Annotated[int, Number(OWN, 1024, lowest="automatic")] = OWN,
    prompt: Text = "",
    steps: Annotated[int, Number(1, 100)] = 1,
    seed: Seed = 0,
    *,
    ctx: Context,
) -> Image:
    """Make a picture larger with an upscaler, tile by tile, so that large pictures need no more memory.

    guide: a picture of the full size to follow, for upscalers that need one
    scale: how many times as wide and high; 1 leaves the picture as it is; in between, it is made larger
    first; beyond what the upscaler makes, it runs again on its result
    tile: side of a tile in pixels; automatic = what suits the upscaler
    overlap: pixels that neighbouring tiles share; automatic = what suits the upscaler
    prompt: what the picture shows, for upscalers that read it
    steps: for upscalers that work in steps
    seed: for upscalers that draw noise
    """
    ctx.policy.check_enlarged(round(image.width * scale), round(image.height * scale), socket="scale")
    ctx.policy.check_steps(steps, socket="steps")
    found = enlarge(
        upscaler,
        image,
        scale,
        tile=tile,
        overlap=overlap,
        prompt=prompt,
        steps=steps,
        seed=seed,
        guide=guide,
        on_step=ctx.step,
    )
    if prompt.strip() and not (found.tiles and "prompt" in upscaler.needs):
        ctx.note("unread", ["prompt"])
    if found.tiles:
        told = {
            "upscaler": upscaler.name,
            "scale": found.scale,
            "passes": found.passes,
            "tiles": found.tiles,
            "seam": found.seam,
        }
        ctx.note("upscale", told)
    return found.image


@node(group="Sampling", title="Tiles", technique="tiles", review=review_overlap)
def tiles(
    tile: Annotated[int, Number(32, 4096, 16)] = 256,
    overlap: Annotated[int, Number(OWN, 2048, lowest="automatic")] = OWN,
) -> Wrap:
    """Lets Sample paint pictures larger than the model makes: in overlapping tiles, for the wraps of Sample.

    tile: side in pixels; best is the size that the model was made for
    overlap: pixels that neighbours share; automatic = a quarter of the tile
    """
    return tiles_wrap(tile, overlap)


@node(group="Sampling", title="Keep the coarse picture")
def keep_coarse(
    picture: Latent,
    wraps: list[Wrap] = [],  # noqa: B006 - read only
    force: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    block: Annotated[int, Slider(1, 64, 1)] = 4,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> list[Wrap]:
    """Keeps large shapes and colours of a picture while its detail is painted anew; for the wraps of Sample.

    picture: an encoded picture in the size of the canvas
    wraps: others for the same run, such as Tiles
    force: how much of the difference is taken away in each step; 0 = nothing
    block: how coarse: means over so many points of the latent are kept; one point is usually 8 pixels
    end: where it ends, as a share of the steps; 1 = never
    """
    return [*wraps, coarse_guide(picture, force, block, end)]


@node(group="Image", title="Encode large picture", resources="gpu", review=review_overlap)
def encode_by_tiles(
    model: Model,
    image: Image,
    seed: Seed = 0,
    tile: Annotated[int, Number(32, 4096, 16)] = 256,
    overlap: Annotated[int, Number(OWN, 2048, lowest="automatic")] = OWN,
    *,
    ctx: Context,
) -> Latent:
    """Turn a picture of any size into a latent, tile by tile; for Sample with Tiles. Sides that are no whole
    steps of the model grow by what is mirrored there, and transparent parts get the colours beside them:
    connect the picture to Decode large picture too, which takes both back.

    seed: decides the noise that is laid over it, one noise for the whole picture
    tile: side in pixels
    overlap: pixels that neighbours share; automatic = a quarter of the tile
    """
    ctx.policy.check_pixels(image.width, image.height, socket="image")
    _check_overlap(tile, overlap)
    return encode_tiled(parts_of(model), image, tile, overlap, seed=seed, on_step=ctx.step)


@node(group="Image", title="Decode large picture", resources="gpu", review=review_overlap)
def decode_by_tiles(
    model: Model,
    latent: Latent,
    like: Image | None = None,
    tile: Annotated[int, Number(32, 4096, 16)] = 256,
    overlap: Annotated[int, Number(OWN, 2048, lowest="automatic")] = OWN,
    picture: Annotated[int, Number(0, 63)] = 0,
    *,
    ctx: Context,
) -> Image:
    """Turn a finished latent of any size into a picture, tile by tile.

    like: the picture that was encoded: the result has its size and its transparent parts
    tile: side in pixels
    overlap: pixels that neighbours share; automatic = a quarter of the tile
    picture: which one, if the canvas holds several; 0 is the first
    """
    _check_overlap(tile, overlap)
    made = decode_tiled(parts_of(model), latent, tile, overlap, picture=picture, on_step=ctx.step)
    return made if like is None else framed(made, like)


def _check_overlap(tile: int, overlap: int) -> None:
    if overlap > tile // 2:
        raise StudioError(
            f"An overlap of {overlap} is more than half a tile of {tile}.",
            socket="overlap",
            hint=f"Possible: 0 to {tile // 2}, or -1.",
        )
