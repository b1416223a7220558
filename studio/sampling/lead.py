"""What editing loops share: the velocity of every trajectory under its own guidance, and masks on the grid of
the latent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from studio.controls.tokens import mask_share
from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.guidance.cfg import MAX_SCALE, row_of
from studio.sampling.trajectories import Trajectories
from studio.values import Latent, Mask, Predict, Row, Step

Velocity = Callable[[torch.Tensor, Step], torch.Tensor]


def led_velocity(
    parts: Parts,
    predict: Predict,
    rows: Sequence[Row],
    beside: Trajectories,
    scales: Mapping[str, float],
) -> Velocity:
    """velocity(state, step) of all trajectories, each led by its prompt as strongly as `scales` says by role.

    A scale is what the model knows: for a guidance-distilled network its guidance number, one pass; for any
    other the scale w of u + w (c - u), where a run with 1 everywhere asks for the positive rows alone.
    """
    strengths = [check_scale(role, scales[role]) for role in beside.roles]
    cond = row_of(rows, "cond")
    if getattr(parts.transformer.config, "guidance_embeds", False):
        led = replace(cond, guidance=tuple(strengths))
        return lambda state, step: predict(state, step, (led,))[0]
    if all(strength == 1 for strength in strengths):
        return lambda state, step: predict(state, step, (cond,))[0]
    uncond = row_of(rows, "uncond")

    def velocity(state: torch.Tensor, step: Step) -> torch.Tensor:
        without, given = predict(state, step, (uncond, cond))
        pairs = zip(without.split(beside.batch), given.split(beside.batch), strengths, strict=True)
        return torch.cat([c if w == 1 else u + w * (c - u) for u, c, w in pairs])

    return velocity


def check_scale(name: str, scale: float) -> float:
    """A guidance scale, 0..30; StudioError naming whose it is."""
    if not (math.isfinite(scale) and 0 <= scale <= MAX_SCALE):
        raise StudioError(
            f"A guidance of {scale} for the {name} is not possible.",
            socket=f"{name}_scale",
            hint=f"Possible: 0 to {MAX_SCALE:g}; 1 = no guidance.",
        )
    return scale


def latent_mask(mask: Mask | None, latent: Latent, like: torch.Tensor) -> torch.Tensor | None:
    """A mask as weights on the latent's grid, 1, 1, height, width: the mean of the pixels of each point.

    None if there is no mask. StudioError unless it has the picture's size in pixels.
    """
    if mask is None:
        return None
    if (mask.width, mask.height) != (latent.width, latent.height):
        raise StudioError(
            f"The mask has {mask.width}x{mask.height} pixels, the picture {latent.width}x{latent.height}.",
            hint="Paint the mask on the picture itself, after it was cut to the model's size.",
            socket="mask",
        )
    share = mask_share(mask, (like.shape[-2], like.shape[-1]))
    # sums of 1/n are off by rounding; what is all or nothing must be exactly that
    weights = torch.from_numpy(share).to(like)
    weights = torch.where(weights > 1 - 1e-6, 1.0, torch.where(weights < 1e-6, 0.0, weights))
    return weights[None, None]
