"""Classifier-free guidance (arXiv 2207.12598, eq. 6): v = u + w (c - u), both rows in one batch.

In some steps only: arXiv 2404.07724 (interval), 2506.08351 (the first part). `rescale`: arXiv 2305.08891,
section 3.4, applied to the network's own prediction as diffusers does.
"""

from __future__ import annotations

import math

import torch

from studio.controls.bounds import window, within
from studio.errors import StudioError
from studio.sampling.guidance.pair import Combine, in_steps, pair_guide
from studio.sampling.guidance.pair import row_of as row_of
from studio.values import Guidance, Step

MAX_SCALE = 30.0


def cfg(cfg_scale: float = 3.0, start: float = 0.0, end: float = 1.0, rescale: float = 0.0) -> Guidance:
    """Guidance of strength `cfg_scale`, 0..30, in the steps from `start` to `end` (shares of the run).

    Where it does not act, and at 1 (neutral), the unconditional row is not computed. `rescale` 0..1: how far
    the guided prediction gets the spread (standard deviation) of the conditional one; 0 = not at all.
    """
    check_scale(cfg_scale)
    window(start, end)
    within("rescale", rescale, 0, 1)

    def rule(c: torch.Tensor, u: torch.Tensor, step: Step) -> torch.Tensor:
        guided = u + cfg_scale * (c - u)
        return guided if rescale == 0 else rescaled(guided, c, rescale)

    def made() -> Combine:
        return rule

    params = [("cfg_scale", float(cfg_scale))]
    # only what differs from the plain rule, so that equal rules are equal values
    given = (("start", start, 0.0), ("end", end, 1.0), ("rescale", rescale, 0.0))
    params += [(name, float(value)) for name, value, usual in given if value != usual]
    guide = pair_guide(made, start=start, end=end, neutral=cfg_scale == 1)
    acting = (("rule", "cfg"), ("cfg_scale", float(cfg_scale)), ("rescale", float(rescale)))
    return Guidance("cfg", guide, tuple(params), at=in_steps(acting, start, end, neutral=cfg_scale == 1))


def rescaled(guided: torch.Tensor, c: torch.Tensor, share: float) -> torch.Tensor:
    """A share of the way to the same prediction with the standard deviation of `c`, picture by picture."""
    axes = tuple(range(1, guided.ndim))
    spread = c.std(axes, keepdim=True) / guided.std(axes, keepdim=True).clamp_min(1e-12)
    return share * (guided * spread) + (1 - share) * guided


def check_scale(cfg_scale: float, name: str = "cfg_scale") -> None:
    """StudioError unless a scale is a number that guidance takes."""
    if not (math.isfinite(cfg_scale) and 0 <= cfg_scale <= MAX_SCALE):
        raise StudioError(
            f"A {name} of {cfg_scale} is not possible.",
            socket=name,
            hint=f"Possible: 0 to {MAX_SCALE:g}; 1 = no guidance.",
        )
