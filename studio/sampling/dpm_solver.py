"""DPM-Solver++ for a flow: multistep of order 2 and 3, and the SDE of order 2 (arXiv 2211.01095).

In lambda = log((1 - s) / s) the exact step is Euler's with a clean estimate extrapolated from those before.
Where lambda is infinite (s = 1, s' = 0) nothing can be extrapolated, and the step is of first order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from studio.sampling.stepping import advance, log_snr, precise, steps_of
from studio.values import Denoise, Noise, Resume, Sigmas, Step, StepResult

# With fewer steps than this the last but one is of second order at most, as in DPMSolverMultistepScheduler.
FEW = 15


def sample_dpmpp_2m(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """DPM-Solver++(2M), algorithm 2, midpoint form: D + (h / 2 h_) (D - D_); one call a step."""
    yield from _multistep(denoise, latent, sigmas, 2, resume)


def sample_dpmpp_3m(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    curve: float = 1.0,
) -> Iterator[StepResult]:
    """DPM-Solver++(3M): two estimates before; one call a step.

    curve: the weight of the second difference. 1 = its exact integral, third order. The authors' code and
    DPMSolverMultistepScheduler take 0.5, which makes it second order.
    """
    yield from _multistep(denoise, latent, sigmas, 3, resume, curve)


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    eta: float = 1.0,
) -> Iterator[StepResult]:
    """SDE-DPM-Solver++(2M): x' = (s'/s) e^-eh x + (1 - s') (1 - e^-(1+e)h) D + noise.

    eta: 0..1, the share of the published noise; 0 = sample_dpmpp_2m.
    """
    if eta == 0:
        yield from _multistep(denoise, latent, sigmas, 2, resume)
        return
    start, latent, memory = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        if step.sigma_next == 0:
            latent = denoised.to(latent.dtype)
        else:
            ahead = extrapolated((denoised, *memory), sigmas, step, 2)
            h = log_snr(step.sigma_next) - log_snr(step.sigma)
            kept = step.sigma_next / step.sigma * math.exp(-eta * h)
            drawn = (1 - step.sigma_next) * -math.expm1(-(1 + eta) * h)
            spread = step.sigma_next * math.sqrt(-math.expm1(-2 * eta * h))
            mean = kept * precise(latent) + drawn * precise(ahead)
            latent = (mean + spread * precise(noise("dpmpp_2m_sde", step.index))).to(latent.dtype)
        memory = (denoised,)
        yield StepResult(step, latent, denoised, memory)


def extrapolated(
    estimates: Sequence[torch.Tensor], sigmas: Sigmas, step: Step, order: int, curve: float = 1.0
) -> torch.Tensor:
    """The clean estimate with which a first-order step is one of `order`; lower where there are fewer
    estimates, newest first, with finite lambda. curve: see `sample_dpmpp_3m`."""
    here, first = log_snr(step.sigma), estimates[0]
    h = log_snr(step.sigma_next) - here
    if step.total < FEW:
        order = min(order, step.total - step.index)
    levels = [log_snr(sigmas.values[step.index - k]) for k in range(len(estimates))]
    order = min(order, next((k for k, level in enumerate(levels) if math.isinf(level)), len(levels)))
    if order < 2 or math.isinf(h):
        return first
    now, before = precise(first), precise(estimates[1])
    r0 = (here - levels[1]) / h
    rise = (now - before) / r0
    if order == 2:
        return now + 0.5 * rise
    r1 = (levels[1] - levels[2]) / h
    second = (before - precise(estimates[2])) / r1
    slope = rise + r0 / (r0 + r1) * (rise - second)
    bend = (rise - second) / (r0 + r1)
    whole = -math.expm1(-h)
    # integrals of s and s^2 over the step, weighted as the exact solution weights the estimate
    return now + (1 - whole / h) / whole * slope + curve * (1 - 2 * (h - whole) / h**2) / whole * bend


def _multistep(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    order: int,
    resume: Resume | None,
    curve: float = 1.0,
) -> Iterator[StepResult]:
    start, latent, memory = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        estimates = (denoised, *memory)
        latent = advance(latent, extrapolated(estimates, sigmas, step, order, curve), step)
        memory = estimates[: order - 1]
        yield StepResult(step, latent, denoised, memory)
