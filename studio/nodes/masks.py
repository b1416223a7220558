"""Masks as files, and what lies outside a mask put back."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageFilter, ImageOps

from studio.api import Choice, Context, Image, Latent, Mask, PictureRef, Slider, StudioError, node
from studio.nodes.regions import painted_mask
from studio.pixels import flatten, read_picture, resize, to_array, to_image, to_mask

COLOURED = 24  # levels by which the channels of a pixel may differ before it is no grey any more
Values = npt.NDArray[np.float32]
READ = ("auto", "brightness", "alpha")


@node(group="Image", title="Load mask")
def load_mask(
    picture: PictureRef,
    image: Image | None = None,
    latent: Latent | None = None,
    read: Annotated[str, Choice(*READ)] = "auto",
    fit: Annotated[str, Choice("cover", "stretch")] = "cover",
    invert: bool = False,
    *,
    ctx: Context,
) -> Mask:
    """A painted mask from a file: PNG, JPEG or WEBP. White, or what is opaque, is inside.

    picture: the file; the page stores what is painted in Edit as such a one
    image: the picture it belongs to: the mask gets its size
    latent: or the canvas it belongs to: the mask gets its size in pixels
    read: auto = the opacity of a file that has some transparency, else its brightness
    fit: for a mask of another size: cover keeps its proportions and cuts what stands over, as Encode picture
        does with pictures; stretch changes them
    invert: inside becomes outside
    """
    found = read_picture(ctx.open_file(picture["file"]), max_pixels=ctx.policy.max_decoded_pixels)
    by_alpha = read == "alpha" or (
        read == "auto" and found.has_alpha and int(found.pixels[..., 3].min()) < 255
    )
    if read == "alpha" and not found.has_alpha:
        raise StudioError(
            f"{picture.get('name') or 'The file'} has no transparency to read a mask from.",
            socket="read",
            hint="Set read to brightness, or save the mask as a PNG with alpha.",
        )
    if by_alpha:
        mask = to_mask(to_array(found)[..., 3])
    else:
        mask = painted_mask(found)
        spread = np.ptp(found.pixels[..., :3].astype(np.int16), axis=-1)
        if float((spread > COLOURED).mean()) > 0.05:
            ctx.warn("This file is a coloured picture; its brightness was taken as the mask.")
    if invert:
        mask = Mask(1 - mask.values)
    if not mask.values.any():
        raise StudioError(
            "The mask is empty: nothing lies inside it.", socket="picture", hint="Paint white, or invert it."
        )
    size = _size_of(image, latent)
    return mask if size is None else fitted(mask, *size, fit)


@node(group="Image", title="Put back outside a mask")
def keep_outside(
    image: Image,
    before: Image,
    mask: Mask,
    soften: Annotated[int, Slider(0, 64, 1)] = 4,
) -> Image:
    """The new picture inside a mask, the old one outside it, pixel by pixel.

    before: the old picture; one of another size is cut to that of the new one, as Encode picture does
    mask: where the new picture shows, white
    soften: pixels inside the edge over which both mix; outside the old picture stays as it was
    """
    if (mask.width, mask.height) != (image.width, image.height):
        raise StudioError(
            f"The mask has {mask.width}x{mask.height} pixels, the picture {image.width}x{image.height}.",
            socket="mask",
            hint="Connect the picture to Load mask, so that the mask gets its size.",
        )
    weight = _softened(mask.values, soften)
    if float(weight.min()) == 1:
        return image
    old = resize(flatten(before), image.width, image.height, fit="cover")
    share = weight[..., None]
    mixed = to_array(flatten(image)) * share + to_array(old) * (1 - share)
    pixels = np.array(to_image(mixed).pixels)
    outside = weight == 0
    pixels[outside] = old.pixels[outside]
    return Image(pixels)


def fitted(mask: Mask, width: int, height: int, fit: str = "cover") -> Mask:
    """The mask at another size, without ringing; `fit` as in `pixels.resize`. The same size gives itself."""
    if (mask.width, mask.height) == (width, height):
        return mask
    picture = Pillow.fromarray(np.ascontiguousarray(mask.values))
    if fit == "cover":
        made = ImageOps.fit(picture, (width, height), method=Pillow.Resampling.BILINEAR)
    else:
        made = picture.resize((width, height), Pillow.Resampling.BILINEAR)
    return to_mask(np.asarray(made, dtype=np.float32))


def _size_of(image: Image | None, latent: Latent | None) -> tuple[int, int] | None:
    """The size a mask must get; StudioError if two inputs ask for different ones."""
    sizes = {(found.width, found.height) for found in (image, latent) if found is not None}
    if len(sizes) > 1:
        (a, b), (c, d) = sorted(sizes)
        raise StudioError(
            f"The picture and the canvas differ in size: {a}x{b} and {c}x{d} pixels.",
            socket="image",
            hint="Connect one of the two.",
        )
    return next(iter(sizes), None)


def _softened(values: Values, side: int) -> Values:
    """Weights that fall from 1 to 0 over `side` pixels inside the edge of a mask; never above the mask."""
    if not side:
        return values
    # the picture's border is no edge of the mask
    levels = np.pad((values * 255).round().astype(np.uint8), side, mode="edge")
    near = np.asarray(Pillow.fromarray(levels).filter(ImageFilter.BoxBlur(side)), dtype=np.float32)
    near = near[side:-side, side:-side]
    inner = np.clip(2 * near / 255 - 1, 0, 1)
    found: Values = np.minimum(values, inner)
    return found
