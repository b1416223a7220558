"""UniPC (arXiv 2302.04867): a multistep predictor, and a corrector that costs no further call; B2, data
prediction.

The corrector goes back to where the last step began and takes it again, with the estimate found at its end.
In lambda = log((1 - s) / s) both are Euler's step with a combined estimate; where lambda is infinite
(s = 1, s' = 0) the step is Euler's own and is not corrected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from studio.sampling.stepping import advance, log_snr, precise, steps_of
from studio.values import Denoise, Noise, Resume, Sigmas, Step, StepResult


def sample_unipc(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    order: int = 2,
) -> Iterator[StepResult]:
    """UniPC-`order` (1..3); one call a step. Memory: where the last step began, then the
    estimates, newest first."""
    start, latent, memory = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        if memory:
            latent = _corrected(latent, denoised, memory, sigmas, step, order)
        estimates = (denoised, *memory[1 : order + 1])
        used = _order(order, sigmas, step, len(estimates))
        ahead = advance(latent, _predicted(estimates, sigmas, step, used), step)
        memory = (latent, *estimates[:order])
        latent = ahead
        yield StepResult(step, latent, denoised, memory)


def _corrected(
    latent: torch.Tensor,
    denoised: torch.Tensor,
    memory: Sequence[torch.Tensor],
    sigmas: Sigmas,
    step: Step,
    order: int,
) -> torch.Tensor:
    last = Step(step.index - 1, step.total, sigmas.values[step.index - 1], step.sigma)
    before, estimates = memory[0], memory[1:]
    h = log_snr(last.sigma_next) - log_snr(last.sigma)
    if math.isinf(h):
        return latent
    used = _order(order, sigmas, last, len(estimates))
    ratios = [*_ratios(sigmas, last, used), 1.0]
    points = [*estimates[1:used], denoised]
    weights = np.array([0.5]) if used == 1 else _weights(ratios, h)
    return advance(before, _combined(estimates[0], points, ratios, weights), last)


def _predicted(estimates: Sequence[torch.Tensor], sigmas: Sigmas, step: Step, order: int) -> torch.Tensor:
    if order == 1:
        return estimates[0]
    h = log_snr(step.sigma_next) - log_snr(step.sigma)
    ratios = _ratios(sigmas, step, order)
    # for second order the paper takes 1/2 in place of the solution, which is as exact
    weights = np.array([0.5]) if order == 2 else _weights(ratios, h)
    return _combined(estimates[0], estimates[1:order], ratios, weights)


def _combined(
    first: torch.Tensor, points: Sequence[torch.Tensor], ratios: Sequence[float], weights: np.ndarray
) -> torch.Tensor:
    """D + sum of w (D_k - D) / r_k."""
    total = precise(first)
    for point, ratio, weight in zip(points, ratios, weights, strict=True):
        total = total + float(weight) / ratio * (precise(point) - precise(first))
    return total


def _order(order: int, sigmas: Sigmas, step: Step, estimates: int) -> int:
    """What is possible at a step: no more than its estimates, those of finite lambda, and the steps left."""
    if math.isinf(log_snr(step.sigma)) or step.sigma_next == 0:
        return 1
    finite = sum(sigmas.values[step.index - k] < 1 for k in range(estimates))
    return min(order, finite, step.total - step.index)


def _ratios(sigmas: Sigmas, step: Step, order: int) -> list[float]:
    """(lambda_k - lambda) / h of the earlier levels, newest first."""
    here = log_snr(step.sigma)
    h = log_snr(step.sigma_next) - here
    return [(log_snr(sigmas.values[step.index - k]) - here) / h for k in range(1, order)]


def _weights(ratios: Sequence[float], h: float) -> np.ndarray:
    """The solution of R w = b: powers of the ratios, and the phi functions over B2 = e^-h - 1."""
    b, term, factorial = [], math.expm1(-h) / -h - 1, 1
    for k in range(1, len(ratios) + 1):
        b.append(term * factorial / math.expm1(-h))
        factorial *= k + 1
        term = term / -h - 1 / factorial
    powers = np.vander(np.array(ratios), increasing=True).T
    return np.asarray(np.linalg.solve(powers, np.array(b)))
