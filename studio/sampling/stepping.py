"""What samplers are made of: steps, velocity, the first-order step, log-SNR, renoising (sampling 1.2, 2.2).

All for a flow: x = (1 - s) x0 + s e.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from studio.values import Sigmas, Step


def steps_of(sigmas: Sigmas, start: int = 0) -> Iterator[Step]:
    """The steps of a run from number `start` on."""
    values = sigmas.values
    for index in range(start, sigmas.steps):
        yield Step(index, sigmas.steps, values[index], values[index + 1])


def velocity(latent: torch.Tensor, denoised: torch.Tensor, sigma: float) -> torch.Tensor:
    """The slope (x - D) / s in the latent's dtype: the velocity of a flow, the noise of VE.

    Divided in fp64: with D in fp64 (`flow_denoised`) it is bit by bit the velocity that the network gave, so
    that a run does not drift from the stock pipeline's by rounding, which guidance would enlarge.
    """
    return ((precise(latent) - precise(denoised)) / sigma).to(latent.dtype)


def precise(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in fp64, where the device has it."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def advance(latent: torch.Tensor, denoised: torch.Tensor, step: Step) -> torch.Tensor:
    """First-order step x' = x + (s' - s) (x - D) / s: the same for flow and VE, and exactly D at s' = 0."""
    if step.sigma_next == 0:
        return denoised.to(latent.dtype)
    return latent + (step.sigma_next - step.sigma) * velocity(latent, denoised, step.sigma)


def log_snr(sigma: float) -> float:
    """lambda = log((1 - s) / s) of a flow: minus infinity at 1, infinity at 0."""
    if sigma >= 1:
        return -math.inf
    return math.inf if sigma == 0 else math.log((1 - sigma) / sigma)


def renoise(latent: torch.Tensor, low: float, high: float, noise: torch.Tensor) -> torch.Tensor:
    """Up from noise level `low` to `high` by fresh noise: a x + sqrt(s'^2 - a^2 s^2) n.

    a = (1 - s') / (1 - s); 0 <= low <= high <= 1, low < 1. At low 0 the latent is a clean estimate.
    """
    share = (1 - high) / (1 - low)
    spread = math.sqrt(max(high**2 - (share * low) ** 2, 0.0))
    return share * latent + spread * noise.to(latent.dtype)
