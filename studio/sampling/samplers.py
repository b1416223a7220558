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


SAMPLERS: Mapping[str, SampleFunction] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "midpoint": sample_midpoint,
    "midpoint_reuse": sample_midpoint_reuse,
}


def sampler(name: str) -> Sampler:
    """A sampler by name: euler, heun, midpoint or midpoint_reuse."""
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
    change: Callable[[StepResult], StepResult | None] | None = None,
) -> torch.Tensor:
    """Drain a sampler; returns the last latent. `on_step` sees every result and changes nothing.

    `change` may give back what takes a result's place: the sampler is then started again from there.
    """
    if resume is not None:
        latent = resume[1]
    while True:
        for result in sampler.run(denoise, latent, sigmas, noise=noise, resume=resume):
            changed = None if change is None else change(result)
            result = changed or result
            latent = result.latent
            if on_step is not None:
                on_step(result)
            if changed is not None:
                resume = (result.step.index + 1, latent, result.memory)
                break
        else:
            return latent
