"""Samplers on an analytic model: data N(mu, tau^2) has an exact denoiser and an exact path (sampling 2.2)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from studio.errors import StudioError
from studio.sampling.denoiser import flow_denoised
from studio.sampling.samplers import SAMPLERS, advance, run_sampler, sampler
from studio.sampling.schedules import flow, flow_diffusers
from studio.values import Sampler, Sigmas, Step, StepResult

MEAN, SPREAD = 0.7, 0.4


def no_noise(purpose: str, index: int) -> torch.Tensor:
    raise AssertionError("this sampler draws no noise")


def denoise(latent, step):
    alpha, sigma = 1 - step.sigma, step.sigma
    pull = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    return MEAN + pull * (latent - alpha * MEAN)


def exact(z, sigma):
    alpha = 1 - sigma
    return alpha * MEAN + (alpha**2 * SPREAD**2 + sigma**2) ** 0.5 * z


def slope(name: str) -> float:
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    errors, counts = [], (16, 32, 64)
    for count in counts:
        # the part away from both ends; the last sigma of the list is the last one evaluated
        values = [0.9 - 0.8 * i / count for i in range(count + 1)]
        latent, memory = exact(z, 0.9), ()
        generator = sampler(name).run(denoise, latent, Sigmas((*values, 0.0)), noise=no_noise)
        for result in generator:
            if result.step.index == count - 1:
                errors.append(float((result.latent - exact(z, 0.1)).abs().max()))
                break
        assert not memory
    return float(np.polyfit(np.log(counts), np.log(errors), 1)[0])


@pytest.mark.parametrize(("name", "order"), [("euler", 1.0), ("heun", 2.0)])
def test_the_error_falls_with_the_order_of_the_method(name, order):
    assert slope(name) == pytest.approx(-order, abs=0.12)


def test_midpoint_is_of_second_order_at_least():
    # 3 on this field, whose leading terms cancel over the range
    assert slope("midpoint") < -1.88


def test_euler_equals_the_scheduler_bit_by_bit_until_the_last_step():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(12)
    generator = torch.Generator().manual_seed(0)
    start = latent = torch.randn(2, 4, 8, 8, generator=generator)
    velocities = [torch.randn(2, 4, 8, 8, generator=generator) for _ in range(12)]
    results = list(
        sampler("euler").run(
            lambda x, step: flow_denoised(x, velocities[step.index], step),
            start,
            flow_diffusers(12, 3.0),
            noise=no_noise,
        )
    )
    for t, velocity, result in zip(scheduler.timesteps, velocities, results, strict=True):
        latent = scheduler.step(velocity, t, latent, return_dict=False)[0]
        if result.step.sigma_next:
            assert torch.equal(result.latent, latent)
        assert (result.latent - latent).abs().max() < 1e-6


def test_the_last_step_returns_the_clean_estimate_exactly():
    step = Step(3, 4, 0.3, 0.0)
    denoised = torch.tensor([0.1, -7.0, 1e-9])
    assert torch.equal(advance(torch.ones(3), denoised, step), denoised)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_driven_step_by_step_or_resumed_a_sampler_gives_the_same_bits(name):
    start = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    sigmas = flow(7, 3.0)
    seen: list[StepResult] = []
    whole = run_sampler(sampler(name), denoise, start, sigmas, noise=no_noise, on_step=seen.append)
    assert torch.equal(whole, run_sampler(sampler(name), denoise, start, sigmas, noise=no_noise))
    assert [result.step.index for result in seen] == list(range(7))
    for result in seen[:-1]:
        again = run_sampler(
            sampler(name),
            denoise,
            start,
            sigmas,
            noise=no_noise,
            resume=(result.step.index + 1, result.latent, result.memory),
        )
        assert torch.equal(again, whole)


@pytest.mark.parametrize(
    ("name", "calls"), [("euler", 6), ("heun", 11), ("midpoint", 12), ("midpoint_reuse", 7)]
)
def test_a_sampler_calls_the_network_as_often_as_it_says(name, calls):
    steps: list[Step] = []

    def counted(latent, step):
        steps.append(step)
        return denoise(latent, step)

    run_sampler(sampler(name), counted, torch.ones(1, 1, 2, 2), flow(6, 3.0), noise=no_noise)
    assert len(steps) == calls
    assert all(step.sigma > 0 for step in steps)


def test_an_unknown_sampler_is_named_with_a_suggestion():
    with pytest.raises(StudioError, match="euler"):
        sampler("eulr")


def test_samplers_compare_and_print_by_name_and_parameters():
    assert sampler("euler") == Sampler("euler", SAMPLERS["heun"]) != sampler("heun")
    assert repr(sampler("euler")) == "Sampler(euler)"
