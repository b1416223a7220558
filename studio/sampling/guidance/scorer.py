"""Classifier guidance by any differentiable scorer (EluCD, arXiv 2310.11311; arXiv 2105.05233 before it).

The clean estimate moves up the scorer's gradient, D <- D + strength s UNIT n grad score(D), n the numbers of
a picture, so that its size does not count.
The gradient goes through the map from latent to pixels and not through the network. After EluCD: the joint
logit (how much of it there is) rather than the conditional one, and a weight that falls with the noise.
"""

from __future__ import annotations

import torch

from studio.controls.bounds import window, within
from studio.controls.control import in_range
from studio.errors import StudioError, did_you_mean
from studio.models.family import Parts
from studio.sampling.previews import rgb_map
from studio.values import Denoise, Scorer, Settings, Step, Wrap

MOST_STRENGTH = 10.0
# Strength 1 is enough to move a thing of the embedded model; no push is longer than LONGEST (root mean square
# over its numbers).
UNIT, LONGEST = 0.2, 0.5
THROUGH = ("preview", "decoder")


def by_score(
    parts: Parts,
    scorer: Scorer,
    strength: float = 1.0,
    start: float = 0.0,
    end: float = 0.6,
    through: str = "preview",
) -> Wrap:
    """Push clean estimates towards a higher score in the steps from `start` to `end` (shares of the run).

    strength: 0..10, 0 = neutral. through: how a latent becomes pixels for the scorer: "preview" is the
    model's linear map, one pixel a latent point, nearly free; "decoder" the model's own, exact and slow.
    """
    within("strength", strength, 0, MOST_STRENGTH)
    window(start, end)
    if through not in THROUGH:
        hint = did_you_mean(through, THROUGH) or f"Possible: {', '.join(THROUGH)}."
        raise StudioError(f"There is no way {through!r} to pixels.", hint=hint, socket="through")

    def wrap(denoise: Denoise) -> Denoise:
        if strength == 0 or start >= end:
            return denoise

        def steered(latent: torch.Tensor, step: Step) -> torch.Tensor:
            denoised = denoise(latent, step)
            if not in_range(step, start, end):
                return denoised
            push = strength * step.sigma * UNIT * slope(parts, scorer, denoised, through)
            length = push.flatten(1).square().mean(1).sqrt().reshape(-1, 1, 1, 1)
            return denoised + (push * (LONGEST / length.clamp_min(1e-12)).clamp_max(1)).to(denoised.dtype)

        return steered

    given = (("strength", float(strength)), ("start", float(start)), ("end", float(end)))
    params = (("scorer", repr(scorer)), ("through", through), *given)

    def at(step: Step) -> Settings:
        return params[:3] if strength and in_range(step, start, end) else ()

    return Wrap("by_score", wrap, params, at=at)


def slope(parts: Parts, scorer: Scorer, denoised: torch.Tensor, through: str) -> torch.Tensor:
    """The gradient of each picture's score to its estimate, times the numbers in it; fp32, no graph left."""
    with torch.inference_mode(False), torch.enable_grad():
        given = torch.empty(denoised.shape, dtype=torch.float32, device=denoised.device)
        given.copy_(denoised)
        given.requires_grad_(True)
        scores = scorer.score(pixels_of(parts, given, through))
        if scores.shape != (len(denoised),):
            raise StudioError(
                f"The scorer {scorer.name!r} gave {tuple(scores.shape)} for {len(denoised)} pictures.",
                hint="It gives one number a picture.",
            )
        (found,) = torch.autograd.grad(scores.sum(), given)
    if not bool(torch.isfinite(found).all()):
        raise StudioError(
            f"The gradient of {scorer.name!r} is not finite.", hint="Lower the strength, or end it earlier."
        )
    return found * denoised[0].numel()


def pixels_of(parts: Parts, latent: torch.Tensor, through: str) -> torch.Tensor:
    """picture, 3, height, width, 0..1 (about), of a latent; differentiable."""
    if through == "decoder":
        return parts.family.decode(parts, latent) / 2 + 0.5
    weights = torch.tensor(rgb_map(parts), device=latent.device)
    return torch.einsum("bchw,cr->brhw", latent, weights[:-1]) + weights[-1].reshape(1, 3, 1, 1)
