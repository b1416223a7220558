"""Samplers that step further down than the next level and come back up with fresh noise.

Ancestral sampling (k-diffusion's rule, carried over to a flow), and the stochastic samplers of consistency
models: LCM (arXiv 2310.04378) and TCD (arXiv 2402.19159).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from studio.sampling.stepping import advance, renoise, steps_of
from studio.values import Denoise, Noise, Resume, Sigmas, Step, StepResult


def sample_euler_ancestral(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    eta: float = 1.0,
) -> Iterator[StepResult]:
    """Euler down to s' (1 + eta (s' / s - 1)), then up to s'. eta: 0..1; 0 = sample_euler."""
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        down = step.sigma_next * (1 + eta * (step.sigma_next / step.sigma - 1))
        latent = _down_and_up(latent, denoised, step, down if eta else step.sigma_next, noise, "ancestral")
        yield StepResult(step, latent, denoised)


def sample_tcd(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    gamma: float = 0.3,
) -> Iterator[StepResult]:
    """Strategic stochastic sampling: Euler down to (1 - gamma) s', then up to s'.

    gamma: 0..1; 0 = sample_euler, 1 = sample_lcm.
    """
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        latent = _down_and_up(latent, denoised, step, (1 - gamma) * step.sigma_next, noise, "consistency")
        yield StepResult(step, latent, denoised)


def sample_lcm(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """Multistep consistency sampling: x' = (1 - s') D + s' n. For models distilled for few steps."""
    yield from sample_tcd(denoise, latent, sigmas, noise=noise, resume=resume, gamma=1.0)


def _down_and_up(
    latent: torch.Tensor, denoised: torch.Tensor, step: Step, down: float, noise: Noise, purpose: str
) -> torch.Tensor:
    lower = advance(latent, denoised, replace(step, sigma_next=down))
    if down == step.sigma_next:
        return lower
    return renoise(lower, down, step.sigma_next, noise(purpose, step.index))
