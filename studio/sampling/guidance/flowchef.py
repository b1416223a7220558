"""FlowChef (arXiv 2412.00100, algorithm 1): steering towards a picture, no gradients through the network.

The published inner steps move x down the gradient of the distance between clean estimate and picture, with
the velocity held: x <- x - kappa m (D - y), in closed form (1 - kappa m)^k of the distance after k of them.
Theirs is the gradient of a mean, so that their kappa, 2000 times the rate over the number of elements, falls
with the size of the picture; ours is a share of the distance, whatever the size. While the latent is nearly
noise, a picture counts little in it (1 - s): a kappa far above that share overshoots.
On Euler's update that is the same as another clean estimate: D + dx s / (s - s').
"""

from __future__ import annotations

import math

import torch

from studio.controls.control import in_range
from studio.errors import StudioError
from studio.sampling.guidance.reference import clean_picture, content, fitted
from studio.values import Denoise, Latent, Settings, Step, Wrap

MOST_REPEATS = 100
# A force that changes what the new prompt changes and keeps the rest (docs/measured.md). The published one,
# three inner steps of 1600 over the number of elements, is 0.018 for FLUX at 1024 x 1024 pixels.
FORCE = 0.02


def flowchef(
    reference: Latent,
    kappa: float = FORCE,
    end: float = 0.2,
    hold: int = 1,
    repeats: int = 1,
    inside: torch.Tensor | None = None,
    guide_inside: bool = False,
) -> Wrap:
    """Pull the clean estimates towards `reference` in the first share `end` of the steps.

    kappa: 0..1, the share of the distance that one inner step takes away; repeats: inner steps, 1..100.
    inside: weights 0..1 on the latent's grid, 1 = may change, 0 = is pulled; None = is pulled everywhere, as
    in the first `hold` steps. guide_inside: the run's guidance counts by `inside`, as published for edits;
    what is not inside follows the prompt alone. Neutral with kappa 0, or if nowhere is pulled. For Euler.
    """
    picture = _checked(reference, kappa, end, hold, repeats)
    everywhere = _taken(torch.ones(1), kappa, repeats)
    outside = everywhere if inside is None else _taken(1 - inside, kappa, repeats)
    neutral = kappa == 0 or end == 0 or (hold == 0 and not bool(outside.any()))

    def wrap(denoise: Denoise) -> Denoise:
        if neutral:
            return denoise

        def steered(latent: torch.Tensor, step: Step) -> torch.Tensor:
            wanted = fitted(picture, latent, "The picture to steer towards", socket="wraps")
            denoised = denoise(latent, step)
            taken = everywhere if step.index < hold else outside
            if not in_range(step, 0, end) or not bool(taken.any()):
                return denoised
            distance = denoised - wanted.to(denoised)
            # times s / (s - s'): the sampler goes only that share of the way to its estimate
            reach = step.sigma / (step.sigma - step.sigma_next)
            return denoised - taken.to(denoised) * distance * reach

        return steered

    params = (
        ("kappa", float(kappa)),
        ("end", float(end)),
        ("hold", hold),
        ("repeats", repeats),
        ("picture", content(picture)),
        ("inside", "" if inside is None else content(inside)),
        ("guide_inside", guide_inside),
    )

    def at(step: Step) -> Settings:
        acts = not neutral and in_range(step, 0, end)
        if not acts and not guide_inside:
            return ()
        own = tuple(pair for pair in params if pair[0] not in ("end", "hold"))
        return (*own, ("acts", acts), ("held", step.index < hold))

    return Wrap("flowchef", wrap, params, "" if neutral else "euler", inside if guide_inside else None, at=at)


def _taken(weight: torch.Tensor, kappa: float, repeats: int) -> torch.Tensor:
    """The share of the distance that the inner steps of one sampler step take away, exactly 0 where the
    weight is 0."""
    return 1 - (1 - kappa * weight.double()) ** repeats


def _checked(reference: Latent, kappa: float, end: float, hold: int, repeats: int) -> torch.Tensor:
    possible = (("kappa", kappa, 0, 1), ("end", end, 0, 1), ("repeats", repeats, 1, MOST_REPEATS))
    for name, given, low, high in possible:
        if not (math.isfinite(given) and low <= given <= high):
            raise StudioError(
                f"A {name} of {given} is not possible.", socket=name, hint=f"Possible: {low} to {high}."
            )
    if hold < 0:
        raise StudioError(f"A hold of {hold} steps is not possible.", socket="hold", hint="0 or more.")
    return clean_picture(
        reference,
        "There is no picture to steer towards: the latent is empty or full of noise.",
        hint="Connect Encode picture.",
        socket="picture",
    )
