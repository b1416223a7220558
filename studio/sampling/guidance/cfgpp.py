"""CFG++ (arXiv 2406.08070, algorithm 2): the guided estimate, renoised with the unconditional noise.

For a flow x = (1 - s) x0 + s e and Euler's step this is CFG whose scale depends on the step:
w = lambda s (1 - s') / (s - s').
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.controls.bounds import within
from studio.sampling.denoiser import flow_denoised
from studio.sampling.guidance.pair import row_of
from studio.values import Denoise, Guidance, Predict, Row, Step


def cfgpp(strength: float = 0.5) -> Guidance:
    """CFG++ of `strength` (lambda), 0..1: 0 = the unconditional run, 1 = the prompt's own estimate. For the
    sampler euler."""
    within("strength", strength, 0, 1)

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        uncond = row_of(rows, "uncond")
        if strength == 0:
            return lambda latent, step: flow_denoised(latent, predict(latent, step, (uncond,))[0], step)
        cond = row_of(rows, "cond")

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            u, c = predict(latent, step, (uncond, cond))
            return flow_denoised(latent, u + scale_at(strength, step) * (c - u), step)

        return denoise

    return Guidance("cfgpp", guide, (("strength", float(strength)),), only_sampler="euler")


def scale_at(strength: float, step: Step) -> float:
    """The cfg_scale that CFG++ amounts to at a step of a flow."""
    return strength * step.sigma * (1 - step.sigma_next) / (step.sigma - step.sigma_next)
