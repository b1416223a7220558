"""The stochastic sampler of EDM (arXiv 2206.00364, algorithm 2) on a flow: Heun's method with churn.

EDM's noise level is s / (1 - s). Raised by 1 + g it is s^ = s (1 + g) / (1 + g s), and the latent there
x^ = (x + s sqrt((1 + g)^2 - 1) n) / (1 + g s).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from studio.sampling.one_step import heun_step
from studio.sampling.stepping import steps_of
from studio.values import Denoise, Noise, Resume, Sigmas, StepResult


def sample_edm(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    churn: float = 0.0,
    low: float = 0.0,
    high: float = 1.0,
    spread: float = 1.0,
) -> Iterator[StepResult]:
    """Two calls a step, the last one Euler.

    churn: S_churn, 0..100, fresh noise over the whole run; 0 = sample_heun. It acts at noise levels from
    `low` (S_min) to `high` (S_max), 0..1, but never on pure noise. spread: S_noise, 0.9..1.1.
    """
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        acts = churn > 0 and low <= step.sigma <= high and step.sigma < 1
        gain = min(churn / step.total, math.sqrt(2) - 1) if acts else 0.0
        raised = step
        if gain:
            scale = 1 / (1 + gain * step.sigma)
            fresh = spread * step.sigma * math.sqrt((1 + gain) ** 2 - 1)
            latent = scale * (latent + fresh * noise("churn", step.index).to(latent.dtype))
            raised = replace(step, sigma=step.sigma * (1 + gain) * scale)
        latent, denoised = heun_step(denoise, latent, raised)
        yield StepResult(step, latent, denoised)
