"""SCM is diffusers' SCMScheduler step by step, in the coordinates of a flow."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import SCMScheduler

from studio.errors import StudioError
from studio.sampling import samplers, schedules
from studio.sampling.scm import angle_of, level_of
from studio.values import Sigmas

SHAPE = (2, 4, 8, 8)
DATA = 0.5  # sigma_data of SANA-Sprint


def velocity_field(latent, sigma):
    """Any smooth network: its trigflow output as a function of flow coordinates."""
    return torch.tanh(latent * (1 + sigma)) - 0.3 * latent


def draws(count):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(SHAPE, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_every_step_is_that_of_the_scheduler(steps, monkeypatch):
    """SanaSprintPipeline's loop with SCMScheduler beside ours, the same network, the same noise."""
    scheduler = SCMScheduler(prediction_type="trigflow", sigma_data=DATA)
    scheduler.set_timesteps(steps, intermediate_timesteps=1.3 if steps == 2 else None)
    first, *fresh = draws(steps + 1)
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_scm.randn_tensor", lambda *a, **k: fresh[scheduler.step_index]
    )
    theirs, path = first * DATA, []
    for angle in scheduler.timesteps[:-1]:
        level = torch.sin(angle) / (torch.cos(angle) + torch.sin(angle))
        flow_latent = theirs / DATA / (torch.cos(angle) + torch.sin(angle))
        # the network is trained on trigflow's prediction: D = cos x - sin f sigma_data
        output = DATA * velocity_field(flow_latent, float(level))
        theirs, denoised = scheduler.step(output, angle, theirs, return_dict=False)
        path.append((theirs / DATA, denoised / DATA))

    def denoise(latent, step):
        angle = angle_of(step.sigma)
        trig = latent * (math.cos(angle) + math.sin(angle))
        return math.cos(angle) * trig - math.sin(angle) * velocity_field(latent, step.sigma)

    sampler, sigmas = samplers.sampler("scm"), schedules.schedule("scm", steps, 1.0)
    ours = list(sampler.run(denoise, first, sigmas, noise=lambda purpose, index: fresh[index]))
    assert len(ours) == len(path) == steps
    for result, (latent, denoised) in zip(ours, path, strict=True):
        angle = angle_of(result.step.sigma_next)
        scale = math.cos(angle) + math.sin(angle)
        # their first angle, 1.5708, lies beyond pi / 2: its cosine is -3.7e-6, ours 0
        assert (result.latent * scale - latent).abs().max() < 2e-5
        assert (result.denoised - denoised).abs().max() < 2e-5


def test_it_is_lcm_on_its_levels():
    noise = draws(4)

    def denoise(latent, step):
        return torch.sin(latent) * (1 - step.sigma)

    sigmas = schedules.schedule("scm", 4, 1.0)
    ends = [
        list(samplers.sampler(name).run(denoise, noise[0], sigmas, noise=lambda p, i: noise[i]))[-1].latent
        for name in ("scm", "lcm")
    ]
    assert (ends[0] - ends[1]).abs().max() < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 5, 1000])
def test_levels_are_the_schedulers_angles(steps):
    scheduler = SCMScheduler()
    scheduler.set_timesteps(steps, intermediate_timesteps=1.3 if steps == 2 else None)
    sigmas = schedules.schedule("scm", steps, 1.0)
    assert sigmas.values[0] == 1.0 and sigmas.values[-1] == 0.0 and sigmas.steps == steps
    for level, angle in zip(sigmas.values[1:], scheduler.timesteps[1:].tolist(), strict=True):
        assert angle_of(level) == pytest.approx(angle, abs=2e-6)


def test_angles_and_levels_are_each_others_inverse():
    for level in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert level_of(angle_of(level)) == pytest.approx(level, abs=1e-12)
    assert level_of(math.pi / 4) == pytest.approx(0.5)


def test_it_goes_on_from_the_middle_bit_by_bit():
    noise = draws(4)

    def denoise(latent, step):
        return torch.cos(latent) * (1 - step.sigma)

    sampler, sigmas = samplers.sampler("scm"), Sigmas((1.0, 0.7, 0.4, 0.0))
    whole = list(sampler.run(denoise, noise[0], sigmas, noise=lambda p, i: noise[i]))
    rest = sampler.run(
        denoise, noise[3], sigmas, noise=lambda p, i: noise[i], resume=(1, whole[0].latent, ())
    )
    assert torch.equal(list(rest)[-1].latent, whole[-1].latent)


@pytest.mark.parametrize("steps", [0, 1001, 2.0])
def test_impossible_steps_are_refused(steps):
    with pytest.raises(StudioError, match="steps are not possible"):
        schedules.schedule("scm", steps, 1.0)
