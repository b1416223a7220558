"""Adams-Bashforth along the velocity, and its momentum forms HB and GHVB (arXiv 2307.11118).

The weights are those of the list's own, uneven steps; for even ones they are the published ones. The last
step, to 0, is Euler's: it returns the clean estimate itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import comb

import numpy as np
import torch

from studio.sampling.stepping import advance, steps_of, velocity
from studio.values import Denoise, Noise, Resume, SampleFunction, Sigmas, Step, StepResult


def sample_adams(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    order: int = 2,
) -> Iterator[StepResult]:
    """Adams-Bashforth of `order` 1..4, the PLMS of arXiv 2202.09778 on uneven steps; one call a step. Memory:
    the velocities before, newest first."""
    yield from sample_ghvb(denoise, latent, sigmas, noise=noise, resume=resume, order=order, beta=1.0)


def sample_ghvb(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    order: int = 2,
    beta: float = 0.8,
) -> Iterator[StepResult]:
    """Generalised heavy ball: v = (1 - beta) v + beta d, then a step of `order` 1..4 along the v.

    beta: above 0 to 1; 1 = sample_adams, less = more momentum, steadier at few steps and high cfg_scale.
    """
    start, latent, memory = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        slope = velocity(latent, denoised, step.sigma)
        smooth = slope if beta == 1 or not memory else (1 - beta) * memory[0] + beta * slope
        slopes = (smooth, *memory)[:order]
        if step.sigma_next == 0:
            latent = advance(latent, denoised, step)
        else:
            weights = ghvb_weights(sigmas, step, len(slopes), beta)
            latent = latent + (step.sigma_next - step.sigma) * _sum(weights, slopes)
        # momentum needs the one before, whatever the order
        memory = slopes[: max(order - 1, 1)]
        yield StepResult(step, latent, denoised, memory)


def sample_hb(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    order: int = 2,
    beta: float = 0.8,
) -> Iterator[StepResult]:
    """Heavy ball: v = (1 - beta) v + beta AB(d), a step along v; of first order unless beta is 1.

    order: of the inner Adams-Bashforth, 1..4; beta: above 0 to 1. Memory: v, then the velocities before.
    """
    start, latent, memory = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        slopes = (velocity(latent, denoised, step.sigma), *memory[1:])[:order]
        if step.sigma_next == 0:
            latent = advance(latent, denoised, step)
            yield StepResult(step, latent, denoised, memory)
            return
        ahead = _sum(adams_weights(sigmas, step, len(slopes)), slopes)
        smooth = ahead if beta == 1 or not memory else (1 - beta) * memory[0] + beta * ahead
        latent = latent + (step.sigma_next - step.sigma) * smooth
        memory = (smooth, *slopes[: order - 1])
        yield StepResult(step, latent, denoised, memory)


def adams(order: int) -> SampleFunction:
    """`sample_adams` of one order."""
    return partial(sample_adams, order=order)


def adams_weights(sigmas: Sigmas, step: Step, count: int) -> list[float]:
    """Weights, newest first, of the last `count` velocities: exact for a velocity that is a polynomial of
    degree count - 1 in sigma."""
    h = step.sigma_next - step.sigma
    at = np.array([(sigmas.values[step.index - k] - step.sigma) / h for k in range(count)])
    powers = np.vander(at, increasing=True).T
    return [float(w) for w in np.linalg.solve(powers, 1 / np.arange(1.0, count + 1))]


def ghvb_weights(sigmas: Sigmas, step: Step, count: int, beta: float) -> list[float]:
    """The same for smoothed velocities: d = v + c (v - v_) with c = (1 - beta) / beta, put into the Adams
    weights; the one v too many follows from a difference of order `count` that is 0."""
    plain = adams_weights(sigmas, step, count)
    if beta == 1:
        return plain
    c = (1 - beta) / beta
    found = [0.0] * (count + 1)
    for k, weight in enumerate(plain):
        found[k] += weight * (1 + c)
        found[k + 1] -= weight * c
    beyond = found.pop()
    return [w - beyond * (-1) ** (count + k) * comb(count, k) for k, w in enumerate(found)]


def _sum(weights: Sequence[float], slopes: Sequence[torch.Tensor]) -> torch.Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = total + weight * slope
    return total
