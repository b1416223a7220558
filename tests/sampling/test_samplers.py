"""The laws of every sampler, on the analytic model (sampling 2.2)."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from studio.errors import StudioError
from studio.models.sampler_kinds import KINDS, NOISE, RENOISE, of_kind
from studio.sampling.denoiser import flow_denoised
from studio.sampling.samplers import SAMPLERS, SETTINGS, run_sampler, sampler
from studio.sampling.schedules import flow, flow_diffusers, karras
from studio.sampling.stepping import advance
from studio.values import Sampler, Sigmas, Step, StepResult
from tests.sampling.analytic import denoise, exact, no_noise, noise_like

CALLS = {"heun": 11, "midpoint": 12, "midpoint_reuse": 7, "edm": 11}
NOISY = ("euler_ancestral", "dpmpp_2m_sde", "tcd", "lcm", "scm")


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


def variants() -> list[Sampler]:
    """Every sampler as it is and, where it has settings, at other ones."""
    others = [
        sampler("ghvb", order=4, beta=0.5),
        sampler("ghvb", order=1, beta=0.5),
        sampler("hb", order=3, beta=0.3),
        sampler("hb", order=1),
        sampler("unipc", order=3),
        sampler("edm", churn=8.0, low=0.1, high=0.9, spread=1.003),
    ]
    return [*(sampler(name) for name in SAMPLERS), *others]


@pytest.mark.parametrize("made", variants(), ids=repr)
def test_driven_step_by_step_or_resumed_a_sampler_gives_the_same_bits(made):
    start = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    sigmas, noise = flow(7, 3.0), noise_like(start)
    seen: list[StepResult] = []
    whole = run_sampler(made, denoise, start, sigmas, noise=noise, on_step=seen.append)
    assert whole.dtype == start.dtype and whole.shape == start.shape
    assert torch.equal(whole, run_sampler(made, denoise, start, sigmas, noise=noise))
    assert [result.step.index for result in seen] == list(range(7))
    for result in seen[:-1]:
        again = run_sampler(
            made,
            denoise,
            start,
            sigmas,
            noise=noise,
            resume=(result.step.index + 1, result.latent, result.memory),
        )
        assert torch.equal(again, whole)


@pytest.mark.parametrize("made", variants(), ids=repr)
def test_a_picture_of_a_batch_is_the_picture_alone(made):
    start = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    sigmas = flow(6, 3.0)
    together = run_sampler(made, denoise, start, sigmas, noise=noise_like(start, 40))
    for k in range(3):
        alone = start[k : k + 1]
        assert torch.equal(
            run_sampler(made, denoise, alone, sigmas, noise=noise_like(alone, 40 + k)), together[k : k + 1]
        )


def test_the_table_of_kinds_is_that_of_the_samplers() -> None:
    assert list(KINDS) == list(SAMPLERS)
    assert {name for kind in (NOISE, RENOISE) for name in of_kind(kind)} == set(NOISY)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - set(NOISY)))
def test_what_is_not_stochastic_draws_no_noise_and_finds_the_exact_end(name):
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    ends = run_sampler(sampler(name), denoise, exact(z, 1.0), flow(60, 3.0), noise=no_noise)
    assert (ends - exact(z, 0.0)).abs().max() < 0.05


@pytest.mark.parametrize("made", variants(), ids=repr)
@pytest.mark.parametrize("sigmas", [flow(1), flow(2, 3.0), karras(3, 3.0), Sigmas((1.0, 0.999, 1e-6, 0.0))])
def test_short_and_steep_lists_stay_finite_and_end_in_the_clean_estimate(made, sigmas):
    start = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    last = list(made.run(denoise, start, sigmas, noise=noise_like(start)))[-1]
    assert torch.isfinite(last.latent).all()
    # the midpoint rules end half a step away from their last estimate
    if not made.name.startswith("midpoint"):
        assert torch.equal(last.latent, last.denoised.to(last.latent.dtype))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_sampler_calls_the_network_as_often_as_it_says(name):
    steps: list[Step] = []

    def counted(latent, step):
        steps.append(step)
        return denoise(latent, step)

    start = torch.ones(1, 1, 2, 2)
    run_sampler(sampler(name), counted, start, flow(6, 3.0), noise=noise_like(start))
    assert len(steps) == CALLS.get(name, 6)
    assert all(step.sigma > 0 for step in steps)


@pytest.mark.parametrize(
    ("neutral", "plain"),
    [
        (sampler("euler_ancestral", eta=0.0), "euler"),
        (sampler("tcd", gamma=0.0), "euler"),
        (sampler("dpmpp_2m_sde", eta=0.0), "dpmpp_2m"),
        (sampler("edm", churn=0.0), "heun"),
        (sampler("edm", churn=5.0, low=0.99, high=0.99), "heun"),
        (sampler("ghvb", order=2, beta=1.0), "ab2"),
        (sampler("hb", order=3, beta=1.0), "ab3"),
        (sampler("ghvb", order=1, beta=1.0), "euler"),
        (sampler("hb", order=1, beta=1.0), "euler"),
    ],
    ids=repr,
)
def test_a_neutral_setting_is_the_plain_sampler_bit_by_bit_and_draws_no_noise(neutral, plain):
    start = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    sigmas = flow(9, 3.0)
    assert torch.equal(
        run_sampler(neutral, denoise, start, sigmas, noise=no_noise),
        run_sampler(sampler(plain), denoise, start, sigmas, noise=no_noise),
    )


def test_settings_outside_their_range_are_refused_and_say_what_is_possible():
    for name, known in SETTINGS.items():
        for key, range_ in known.items():
            for wrong in (range_.low - 1, range_.high + 1, float("nan"), "1", True, None):
                with pytest.raises(StudioError, match=f"A {key} of .* is not possible") as raised:
                    sampler(name, **{key: wrong})
                assert f"{range_.high:g}" in raised.value.hint and raised.value.socket == key
    with pytest.raises(StudioError, match="not possible"):
        sampler("ghvb", order=2.5)
    with pytest.raises(StudioError, match="no setting 'eta'"):
        sampler("euler", eta=1.0)


def test_an_unknown_sampler_is_named_with_a_suggestion():
    with pytest.raises(StudioError, match="euler"):
        sampler("eulr")


def test_samplers_compare_and_print_by_name_and_parameters():
    assert sampler("euler") == Sampler("euler", SAMPLERS["heun"]) != sampler("heun")
    assert repr(sampler("euler")) == "Sampler(euler)"
    assert sampler("tcd", gamma=1) == sampler("tcd", gamma=1.0) != sampler("tcd")
    assert repr(sampler("hb", order=3)) == "Sampler(hb, order=3, beta=0.8)"
