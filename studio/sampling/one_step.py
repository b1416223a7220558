"""Samplers without history: Euler, Heun, and the midpoint rule (sampling 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from studio.sampling.stepping import advance, steps_of, velocity
from studio.values import Denoise, Noise, Resume, Sigmas, Step, StepResult


def sample_euler(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """Euler's method; one call a step. Equals FlowMatchEulerDiscreteScheduler within 1e-6 (rounding)."""
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        latent = advance(latent, denoised, step)
        yield StepResult(step, latent, denoised)


def sample_heun(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """Heun's method (arXiv 2206.00364, alg. 1 without churn): trapezoid, two calls a step, the last one
    Euler."""
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        latent, denoised = heun_step(denoise, latent, step)
        yield StepResult(step, latent, denoised)


def heun_step(denoise: Denoise, latent: torch.Tensor, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of Heun's method: latent, and the clean estimate at its start."""
    denoised = denoise(latent, step)
    if step.sigma_next == 0:
        return denoised.to(latent.dtype), denoised
    slope = velocity(latent, denoised, step.sigma)
    h = step.sigma_next - step.sigma
    ahead = latent + h * slope
    slope_ahead = velocity(ahead, denoise(ahead, step.at(step.sigma_next)), step.sigma_next)
    return latent + h * (0.5 * (slope + slope_ahead)), denoised


def sample_midpoint(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """The explicit midpoint method, two calls a step; RF-Solver (arXiv 2411.04746) is the same rule."""
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        slope = velocity(latent, denoise(latent, step), step.sigma)
        latent, denoised, _ = _over_the_middle(denoise, latent, step, slope)
        yield StepResult(step, latent, denoised)


def sample_midpoint_reuse(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """Midpoint whose predictor is the slope of the last middle: one call a step and one more at the start;
    FireFlow (arXiv 2412.07517)."""
    start, latent, memory = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        slope = memory[0] if memory else velocity(latent, denoise(latent, step), step.sigma)
        latent, denoised, slope = _over_the_middle(denoise, latent, step, slope)
        memory = (slope,)
        yield StepResult(step, latent, denoised, memory)


def _over_the_middle(
    denoise: Denoise, latent: torch.Tensor, step: Step, slope: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A whole step along the slope at its middle, reached along `slope`: latent, clean estimate, slope."""
    middle = (step.sigma + step.sigma_next) / 2
    ahead = latent + (middle - step.sigma) * slope
    denoised = denoise(ahead, step.at(middle))
    slope = velocity(ahead, denoised, middle)
    return latent + (step.sigma_next - step.sigma) * slope, denoised, slope
