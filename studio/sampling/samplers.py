"""Samplers: pure generator functions of (denoise, latent, sigmas), one StepResult a step (sampling 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch

from studio.errors import StudioError, did_you_mean
from studio.values import Denoise, Noise, Resume, SampleFunction, Sampler, Sigmas, Step, StepResult


def steps_of(sigmas: Sigmas, start: int = 0) -> Iterator[Step]:
    """The steps of a run from number `start` on."""
    values = sigmas.values
    for index in range(start, sigmas.steps):
        yield Step(index, sigmas.steps, values[index], values[index + 1])


def velocity(latent: torch.Tensor, denoised: torch.Tensor, sigma: float) -> torch.Tensor:
    """The slope (x - D) / s in the latent's dtype: the velocity of a flow, the noise of VE.

    Divided in fp64: with D in fp64 (`flow_denoised`) it is bit by bit the velocity that the network
    gave, so that
    a run does not drift from the stock pipeline's by rounding, which guidance would enlarge.
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
        denoised = denoise(latent, step)
        if step.sigma_next == 0:
            latent = denoised.to(latent.dtype)
        else:
            slope = velocity(latent, denoised, step.sigma)
            h = step.sigma_next - step.sigma
            ahead = latent + h * slope
            slope_ahead = velocity(ahead, denoise(ahead, step.at(step.sigma_next)), step.sigma_next)
            latent = latent + h * (0.5 * (slope + slope_ahead))
        yield StepResult(step, latent, denoised)


SAMPLERS: Mapping[str, SampleFunction] = {"euler": sample_euler, "heun": sample_heun}


def sampler(name: str) -> Sampler:
    """A sampler by name: euler or heun."""
    if name not in SAMPLERS:
        raise StudioError(
            f"No sampler called {name!r}.",
            socket="sampler",
            hint=did_you_mean(name, SAMPLERS) or f"Possible: {', '.join(SAMPLERS)}.",
        )
    return Sampler(name, SAMPLERS[name])


def run_sampler(
    sampler: Sampler,
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    on_step: Callable[[StepResult], None] | None = None,
    resume: Resume | None = None,
) -> torch.Tensor:
    """Drain a sampler; returns the last latent. `on_step` sees every result and changes nothing."""
    for result in sampler.run(denoise, latent, sigmas, noise=noise, resume=resume):
        latent = result.latent
        if on_step is not None:
            on_step(result)
    return latent
