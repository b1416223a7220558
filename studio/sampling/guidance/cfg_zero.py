"""CFG-Zero* (arXiv 2503.18886): the unconditional prediction scaled to fit the conditional one, and no
velocity at all in the first steps, where a flow's guess is worse than none."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.controls.bounds import window
from studio.errors import StudioError
from studio.sampling.guidance.cfg import check_scale
from studio.sampling.guidance.pair import Combine, each, in_steps, pair_guide
from studio.sampling.samplers import precise
from studio.values import Denoise, Guidance, Predict, Row, Settings, Step

MOST_STEPS = 10


def cfg_zero(cfg_scale: float = 3.0, zero_steps: int = 1, start: float = 0.0, end: float = 1.0) -> Guidance:
    """v = a u + w (c - a u), a = <c, u> / |u|^2 for each picture; `cfg_scale` w 0..30, at 1 the prompt alone.

    zero_steps: steps at the start with v = 0, for which the network is not called; 0..10, and never all of
    the run. Neutral with scale 1 and 0 steps.
    """
    check_scale(cfg_scale)
    window(start, end)
    if not 0 <= zero_steps <= MOST_STEPS:
        raise StudioError(
            f"{zero_steps} steps without velocity are not possible.",
            hint=f"Possible: 0 to {MOST_STEPS}; 1 is usual.",
            socket="zero_steps",
        )

    def rule(c: torch.Tensor, u: torch.Tensor, step: Step) -> torch.Tensor:
        fitted = each(fit(c, u)) * u
        return fitted + cfg_scale * (c - fitted)

    def made() -> Combine:
        return rule

    inner = pair_guide(made, start=start, end=end, neutral=cfg_scale == 1)

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        guided = inner(predict, rows)
        if zero_steps == 0:
            return guided

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            if step.total <= zero_steps:
                raise StudioError(
                    f"{zero_steps} steps without velocity are all {step.total} steps of this run.",
                    hint="Take more steps, or fewer without velocity.",
                    socket="zero_steps",
                )
            return precise(latent) if step.index < zero_steps else guided(latent, step)

        return denoise

    params = (
        ("cfg_scale", float(cfg_scale)),
        ("zero_steps", zero_steps),
        ("start", float(start)),
        ("end", float(end)),
    )
    rule_at = in_steps((("rule", "cfg_zero"), params[0]), start, end, neutral=cfg_scale == 1)

    def at(step: Step) -> Settings:
        return (("zero", True),) if step.index < zero_steps else rule_at(step)

    return Guidance("cfg_zero", guide, params, at=at)


def fit(c: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The factor of `u` that comes nearest to `c`, picture by picture; 0 where u is nothing."""
    c, u = c.flatten(1), u.flatten(1)
    return (c * u).sum(1) / ((u * u).sum(1) + 1e-8)
