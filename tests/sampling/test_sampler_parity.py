"""Our samplers beside the schedulers of diffusers: same levels, same predictions, same latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    UniPCMultistepScheduler,
)

from studio.sampling.samplers import run_sampler, sampler
from studio.values import Sampler, Sigmas, Step
from tests.sampling.analytic import denoise, no_noise

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
SHAPE = (2, 4, 8, 8)


def start() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def drawn(count: int) -> list[torch.Tensor]:
    """One noise for each step, in fp32."""
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(SHAPE, generator=generator) for _ in range(count)]


def theirs(scheduler: Any, latent: torch.Tensor, noises: Sequence[torch.Tensor] = ()) -> torch.Tensor:
    """What the scheduler makes of the analytic model's velocity."""
    total = len(scheduler.timesteps)
    for index, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[index])
        velocity = (latent - denoise(latent, Step(index, total, sigma, 0.0))) / sigma
        more = {"variance_noise": noises[index]} if noises else {}
        latent = scheduler.step(velocity, t, latent, return_dict=False, **more)[0]
    return latent


def ours(made: Sampler, scheduler: Any, latent: torch.Tensor, noises: Sequence[torch.Tensor] = ()):
    sigmas = Sigmas(tuple(float(sigma) for sigma in scheduler.sigmas))
    noise = (lambda purpose, index: noises[index]) if noises else no_noise
    return run_sampler(made, denoise, latent, sigmas, noise=noise)


@pytest.mark.parametrize("steps", [1, 2, 5, 14, 15, 30])
@pytest.mark.parametrize(
    ("made", "scheduler"),
    [
        (sampler("dpmpp_2m"), DPMSolverMultistepScheduler(**FLOW)),
        (sampler("dpmpp_3m", curve=0.5), DPMSolverMultistepScheduler(solver_order=3, **FLOW)),
        (sampler("unipc"), UniPCMultistepScheduler(**FLOW)),
        (sampler("unipc", order=1), UniPCMultistepScheduler(solver_order=1, **FLOW)),
        (sampler("unipc", order=3), UniPCMultistepScheduler(solver_order=3, **FLOW)),
    ],
    ids=["2m", "3m", "unipc2", "unipc1", "unipc3"],
)
def test_multistep_samplers_equal_their_schedulers(made, scheduler, steps):
    scheduler.set_timesteps(steps)
    assert (theirs(scheduler, start()) - ours(made, scheduler, start())).abs().max() < 3e-6


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_the_sde_equals_its_scheduler_with_the_same_noise(steps):
    scheduler = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", **FLOW)
    scheduler.set_timesteps(steps)
    noises = drawn(steps)
    mine = ours(sampler("dpmpp_2m_sde"), scheduler, start(), noises)
    assert (theirs(scheduler, start(), noises) - mine).abs().max() < 3e-6


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_heun_equals_its_scheduler(steps):
    scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(steps)
    latent = start().double()
    levels = (*(float(s) for s in scheduler.sigmas[::2]), 0.0)
    levels = tuple(sorted(set(levels), reverse=True))
    mine = run_sampler(sampler("heun"), denoise, latent, Sigmas(levels), noise=no_noise)
    for index, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[index])
        velocity = (latent - denoise(latent, Step(index, 1, sigma, 0.0))) / sigma
        latent = scheduler.step(velocity, t, latent, return_dict=False)[0]
    assert (mine - latent).abs().max() < 3e-6


@pytest.mark.parametrize("steps", [1, 4, 9])
@pytest.mark.parametrize(
    "scheduler",
    [FlowMatchLCMScheduler(shift=3.0), FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)],
    ids=["lcm", "euler"],
)
@pytest.mark.parametrize("made", [sampler("lcm"), sampler("tcd", gamma=1.0)], ids=repr)
def test_stochastic_renoising_equals_the_schedulers_with_the_same_noise(made, scheduler, steps):
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(4)
    latent = start()
    for index, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[index])
        velocity = (latent - denoise(latent, Step(index, steps, sigma, 0.0))) / sigma
        if isinstance(scheduler, FlowMatchLCMScheduler):
            latent = scheduler.step(velocity, t, latent, generator=generator, return_dict=False)[0]
        else:
            # it draws from the global generator, so what it will draw is set there
            with torch.random.fork_rng():
                torch.random.set_rng_state(generator.get_state())
                latent = scheduler.step(velocity, t, latent, return_dict=False)[0]
                generator.set_state(torch.random.get_rng_state())
    again = torch.Generator().manual_seed(4)
    noises = [torch.randn(SHAPE, generator=again) for _ in range(steps)]
    assert (latent - ours(made, scheduler, start(), noises)).abs().max() < 3e-6
