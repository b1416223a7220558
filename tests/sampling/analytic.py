"""A model whose answer is known: data N(mu, tau^2) under a flow (sampling 2.2)."""

from __future__ import annotations

import torch

from studio.sampling.loop import step_noise
from studio.values import Noise, Step

MEAN, SPREAD = 0.7, 0.4


def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
    """The exact clean estimate."""
    alpha, sigma = 1 - step.sigma, step.sigma
    pull = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    return MEAN + pull * (latent - alpha * MEAN)


def exact(z: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact path of pure noise z."""
    alpha = 1 - sigma
    return alpha * MEAN + (alpha**2 * SPREAD**2 + sigma**2) ** 0.5 * z


def no_noise(purpose: str, index: int) -> torch.Tensor:
    raise AssertionError("this sampler draws no noise")


def noise_like(latent: torch.Tensor, seed: int = 0) -> Noise:
    """The step noise of a run of this shape."""
    return step_noise(latent, seed)
