"""What FLUX-like models want of a schedule."""

from __future__ import annotations

from typing import Annotated

from studio.api import Context, Latent, Model, Number, Sigmas, Slider, node
from studio.models.family import check_size, parts_of
from studio.sampling import schedules


@node(group="Sampling", title="Schedule by size")
def schedule_by_size(
    model: Model,
    latent: Latent,
    steps: Annotated[int, Slider(1, 200, 1)] = 20,
    base_shift: Annotated[float, Number(-5, 5, 0.05)] = 0.5,
    max_shift: Annotated[float, Number(-5, 5, 0.05)] = 1.15,
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Sigmas:
    """How the noise is taken away, as FLUX does it: the larger the picture, the longer its composition takes.

    latent: the canvas, or the encoded picture; its size decides
    steps: more steps are slower and finer
    base_shift: for a picture of 256 tokens (256 x 256 pixels); 0 = none
    max_shift: for one of 4096 tokens (1024 x 1024 pixels)
    strength: for starting from a picture: 0 keeps it untouched, 1 ignores it
    """
    ctx.policy.check_steps(steps, socket="steps")
    parts = parts_of(model)
    check_size(parts, latent.width, latent.height)
    side = parts.family.size_step(parts)
    tokens = (latent.width // side) * (latent.height // side)
    sigmas = schedules.flux_by_size(steps, tokens, base_shift, max_shift)
    return schedules.from_strength(sigmas, strength)
