"""Stochastic samplers leave the right distribution, and their noise belongs to the picture."""

from __future__ import annotations

import pytest
import torch

from studio.sampling.loop import step_noise
from studio.sampling.samplers import run_sampler, sampler
from studio.sampling.schedules import flow
from studio.sampling.stepping import renoise
from tests.sampling.analytic import MEAN, SPREAD, denoise, noise_like


def drawn(made, steps: int) -> torch.Tensor:
    """120,000 independent samples of the analytic data."""
    start = torch.randn(1, 3, 200, 200, generator=torch.Generator().manual_seed(2))
    return run_sampler(made, denoise, start, flow(steps), noise=noise_like(start))


@pytest.mark.parametrize(
    "made",
    [
        sampler("euler_ancestral"),
        sampler("euler_ancestral", eta=0.5),
        sampler("dpmpp_2m_sde"),
        sampler("dpmpp_2m_sde", eta=0.4),
        sampler("edm", churn=20.0),
        sampler("tcd", gamma=0.05),
    ],
    ids=repr,
)
def test_with_more_steps_mean_and_spread_become_those_of_the_data(made):
    coarse, fine = drawn(made, 8), drawn(made, 160)
    assert fine.mean() == pytest.approx(MEAN, abs=0.01)
    assert fine.std() == pytest.approx(SPREAD, abs=0.025)
    assert abs(fine.std() - SPREAD) < abs(coarse.std() - SPREAD)


@pytest.mark.parametrize(
    "made", [sampler("euler_ancestral"), sampler("lcm"), sampler("edm", churn=20.0)], ids=repr
)
def test_another_seed_gives_another_picture_and_the_same_seed_the_same(made):
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    runs = [run_sampler(made, denoise, start, flow(5), noise=noise_like(start, seed)) for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_step_noise_belongs_to_the_picture_not_to_its_place_in_the_batch():
    batch = step_noise(torch.zeros(3, 2, 4, 4), 7)
    for k in range(3):
        assert torch.equal(step_noise(torch.zeros(1, 2, 4, 4), 7 + k)("p", 5), batch("p", 5)[k : k + 1])
    assert not torch.equal(batch("p", 5), batch("p", 6)) and not torch.equal(batch("p", 5), batch("q", 5))


def test_renoising_gives_the_level_asked_for():
    data = 0.3 * torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noises = [torch.randn(200_000, generator=torch.Generator().manual_seed(k)).double() for k in (1, 2)]
    low = 0.4 * noises[0] + 0.6 * data
    high = renoise(low, 0.4, 0.7, noises[1])
    assert high.std() == pytest.approx((0.3**2 * 0.3**2 + 0.7**2) ** 0.5, abs=0.005)
    assert float((high * data).mean() / (data * data).mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(renoise(low, 0.4, 0.4, noises[1]), low)
