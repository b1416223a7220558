"""Pictures in and out."""

from __future__ import annotations

from typing import Annotated

from studio.api import Choice, Context, Image, Latent, Model, Number, PictureRef, Seed, Text, node
from studio.models.family import parts_of
from studio.models.pictures import decode_latent, encode_picture
from studio.pixels import read_picture


@node(group="Image")
def decode(model: Model, latent: Latent, picture: Annotated[int, Number(0, 63)] = 0) -> Image:
    """Turn a finished latent into a picture.

    picture: which one, if the canvas holds several, each with a Decode of its own; 0 is the first
    """
    return decode_latent(parts_of(model), latent, picture)


@node(group="Image", title="Encode picture")
def encode_image(
    model: Model,
    image: Image,
    seed: Seed = 0,
    fit: Annotated[str, Choice("cover", "stretch")] = "cover",
    width: Annotated[int, Number(0, 2048, 16, lowest="as the picture")] = 0,
    height: Annotated[int, Number(0, 2048, 16, lowest="as the picture")] = 0,
    *,
    ctx: Context,
) -> Latent:
    """Turn a picture into a latent to start from; the schedule's strength says how much may change.

    seed: decides the noise that is laid over it
    fit: cover cuts what stands over, stretch changes the proportions
    width: pixels
    height: pixels
    """
    ctx.policy.check_pixels(width or image.width, height or image.height, socket="image")
    return encode_picture(parts_of(model), image, seed=seed, width=width, height=height, fit=fit)


@node(group="Image", title="Load picture")
def load_image(picture: PictureRef, *, ctx: Context) -> Image:
    """A picture that was put into the studio: PNG, JPEG or WEBP."""
    return read_picture(ctx.open_file(picture["file"]), max_pixels=ctx.policy.max_decoded_pixels)


@node(group="Image", title="Save picture", output=True)
def save_image(image: Image, name: Text = "weft") -> Image:
    """Keep a picture in the history.

    name: of the file when the picture is handed out
    """
    return image
