"""Latent <-> picture through a model's autoencoder."""

from __future__ import annotations

import torch

from studio.errors import StudioError
from studio.models.family import Parts, check_size
from studio.pixels import flatten, resize
from studio.values import Image, Latent


def decode_latent(parts: Parts, latent: Latent, picture: int = 0) -> Image:
    """Picture `picture` (from 0) of a latent; one that still encodes its source gives that picture itself."""
    if not 0 <= picture < latent.batch:
        raise StudioError(
            f"There is no picture {picture}; the latent holds {latent.batch}.",
            socket="picture",
            hint=f"Possible: 0 to {latent.batch - 1}.",
        )
    if latent.source is not None:
        return latent.source
    if latent.tensor is None:
        raise StudioError(
            "The canvas is still empty: there is nothing to decode.",
            socket="latent",
            hint="Put a Sample node between the canvas and the decoder.",
        )
    if latent.family != parts.family.name:
        raise StudioError(
            f"A latent of family {latent.family!r} cannot be decoded by a model of family "
            f"{parts.family.name!r}.",
            socket="latent",
        )
    with torch.inference_mode():
        pixels = parts.family.decode(parts, latent.tensor[picture : picture + 1])[0]
        if not bool(torch.isfinite(pixels).all()):
            raise StudioError(
                "The decoder made values that are not finite numbers.",
                hint="The latent lies far outside of what the decoder knows.",
            )
        levels = (pixels / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).mul(255).round().to("cpu", torch.uint8)
        array = levels.contiguous().numpy()
    array.flags.writeable = False
    return Image(array)


def encode_picture(
    parts: Parts, image: Image, *, seed: int = 0, width: int = 0, height: int = 0, fit: str = "cover"
) -> Latent:
    """The latent of a picture, ready to be sampled from.

    `width` and `height` in pixels; 0 = those of the picture, cut down to the nearest size that the model
    makes.
    `fit`: cover (cut what stands over) or stretch. Transparent parts are laid on white. Without a size
    the latent
    keeps the picture itself, so that strength 0 gives it back untouched.
    """
    step = parts.family.size_step(parts)
    if min(image.width, image.height) < step and not (width and height):
        raise StudioError(
            f"The picture has {image.width}x{image.height} pixels; this model needs at least {step}x{step}.",
            socket="image",
            hint="Give a width and a height to enlarge it.",
        )
    chosen = width or image.width // step * step, height or image.height // step * step
    check_size(parts, *chosen)
    fitted = resize(flatten(image), *chosen, fit=fit)
    with torch.inference_mode():
        pixels = torch.tensor(fitted.pixels).permute(2, 0, 1)[None].float() / 255
        encoded = parts.family.encode_pixels(parts, pixels * 2 - 1).to("cpu", torch.float32)
        with torch.inference_mode(False):
            tensor = torch.empty(encoded.shape).copy_(encoded)
    source = fitted if width or height else image
    return Latent(*chosen, batch=1, seed=seed, tensor=tensor, family=parts.family.name, source=source)
