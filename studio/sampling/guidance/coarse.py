"""The coarse part of a picture kept while its detail is painted anew: a low-resolution guide.

What a mean over blocks can see of the clean estimate is taken from the guide, the rest is left:
D + force A+ (A guide - A D), the range and null space of DDNM (arXiv 2212.00490), with A = mean over blocks
and A+ = repeating.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from studio.controls.control import in_range
from studio.errors import StudioError
from studio.sampling.guidance.reference import clean_picture, content, fitted
from studio.values import Denoise, Latent, Settings, Step, Wrap

MOST_BLOCK = 64


def coarse_guide(guide: Latent, force: float = 1.0, block: int = 4, end: float = 1.0) -> Wrap:
    """Keeps the means over `block` x `block` points of the latent (1..64) as in `guide`.

    force: 0..1, the share of the difference that is taken away, 0 = neutral; end: 0..1 of the steps. At the
    right and lower edge a block may be smaller.
    """
    for name, given in (("force", force), ("end", end)):
        if not (math.isfinite(given) and 0 <= given <= 1):
            raise StudioError(f"A {name} of {given} is not possible.", socket=name, hint="Possible: 0 to 1.")
    if not 1 <= block <= MOST_BLOCK:
        raise StudioError(
            f"Blocks of {block} are not possible.", socket="block", hint=f"Possible: 1 to {MOST_BLOCK}."
        )
    picture = clean_picture(
        guide,
        "There is no picture to follow: the latent is empty or full of noise.",
        hint="Connect Encode picture.",
        socket="picture",
    )
    neutral = force == 0 or end == 0

    def wrap(denoise: Denoise) -> Denoise:
        if neutral:
            return denoise

        def guided(latent: torch.Tensor, step: Step) -> torch.Tensor:
            wanted = fitted(picture, latent, "The picture to follow", socket="wraps")
            denoised = denoise(latent, step)
            if not in_range(step, 0, end):
                return denoised
            return denoised + force * block_means(wanted.to(denoised) - denoised, block)

        return guided

    params = (("force", float(force)), ("block", block), ("end", float(end)), ("picture", content(picture)))

    def at(step: Step) -> Settings:
        return () if neutral or not in_range(step, 0, end) else (params[0], params[1], params[3])

    return Wrap("coarse_guide", wrap, params, at=at)


def block_means(values: torch.Tensor, block: int) -> torch.Tensor:
    """Every point replaced by the mean of its block: batch, channel, height, width."""
    height, width = values.shape[-2:]
    means = functional.avg_pool2d(values, block, ceil_mode=True, count_include_pad=False)
    return means.repeat_interleave(block, -2).repeat_interleave(block, -1)[..., :height, :width]
