"""Inverse problems with the frozen model: fill in, and make what was coarse fine again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from studio.api import (
    Conditioning,
    Context,
    Guidance,
    Latent,
    Mask,
    Model,
    Refusal,
    Sigmas,
    Slider,
    StudioError,
    View,
    node,
)
from studio.models.family import parts_of
from studio.nodes.progress import telling
from studio.nodes.sample import Sampled, sampled
from studio.sampling.lead import latent_mask
from studio.sampling.red_diff import Measured, red_diff


def review_restore(view: View) -> Iterator[Refusal]:
    """Nothing left to find."""
    if not view.feeding("mask") and view.widgets.get("block") == 1 and view.widgets.get("weight"):
        yield Refusal(
            "Without a mask and with a block of 1 the whole picture is known: it comes back as it is.",
            "Connect a mask, or raise block.",
            "block",
            "warning",
        )


@node(group="Edit a picture", title="Restore picture (RED-Diff)", resources="gpu", review=review_restore)
def restore_picture(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    guidance: Guidance,
    mask: Mask | None = None,
    block: Annotated[int, Slider(1, 64, 1)] = 1,
    weight: Annotated[float, Slider(0, 10, 0.05)] = 0.25,
    rate: Annotated[float, Slider(0, 1, 0.01)] = 0.1,
    *,
    ctx: Context,
) -> Sampled:
    """Find the likely picture behind what is left of one: parts that are missing, or detail that is lost.

    positive: what the picture shows
    picture: an encoded picture, in full size
    sigmas: more steps find more; strength 1 is usual
    mask: what is missing, white; empty = nothing is
    block: only means over so many points of the latent are known (one is usually 8 pixels); 1 = every point
    weight: of the model beside the picture; 0 = the picture comes back untouched
    rate: how far a step goes
    """
    parts = parts_of(model)
    ctx.policy.check_steps(sigmas.steps, socket="sigmas")
    if picture.tensor is None:
        raise StudioError(
            "There is no picture to restore: the canvas is empty.",
            hint="Connect Encode picture.",
            socket="picture",
        )
    missing = latent_mask(mask, picture, picture.tensor)

    run = red_diff(
        parts,
        positive,
        negative,
        picture,
        sigmas,
        guidance,
        Measured(None if missing is None else 1 - missing, block),
        weight=weight,
        rate=rate,
        on_step=telling(parts, ctx, latents=True),
    )
    return sampled(run, ctx)
