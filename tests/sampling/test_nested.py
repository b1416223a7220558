"""Nested diffusion: as many calls as planned, Euler with one inner step, finished pictures on the way."""

from __future__ import annotations

import pytest
import torch

from studio.blocks.step_cache import attachment, taylor
from studio.errors import StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_run
from studio.sampling.nested import inner_levels, nested
from studio.sampling.samplers import run_sampler, sampler
from studio.sampling.schedules import flow
from studio.values import Latent, Sigmas
from tests.sampling.analytic import denoise, exact, no_noise


def run(parts, rule, steps=8, **more):
    positive, _, _ = encode_prompt(parts, "a red star", "it")
    negative, _, _ = encode_prompt(parts, "", "it")
    canvas = Latent(64, 64, 1, 3)
    return sample_run(parts, positive, negative, canvas, flow(steps, 3.0), rule, cfg(3.0, 0, 0.75), **more)


def test_one_inner_step_is_euler_bit_by_bit(tiny_parts):
    plain, one = run(tiny_parts, sampler("euler")), run(tiny_parts, nested(1))
    assert torch.equal(plain.latent.tensor, one.latent.tensor)
    assert nested(1) == sampler("euler")


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("inner", [2, 4, 20])
def test_the_whole_run_calls_the_network_once_a_step(tiny_parts, steps, inner):
    seen = []
    made = run(tiny_parts, nested(inner), steps, on_step=seen.append)
    assert made.calls["forwards"] == steps and len(seen) == steps
    assert torch.equal(seen[-1].denoised.to(torch.float32), made.latent.tensor)


def test_what_is_shown_is_the_last_finished_picture(tiny_parts):
    seen = []
    run(tiny_parts, nested(4), 12, on_step=lambda r: seen.append((r.latent, r.denoised)))
    for group in (1, 2):
        first = 4 * group - 1
        assert all(torch.equal(seen[first][1], seen[i][1]) for i in range(first, first + 4))
        assert not torch.equal(seen[first][1], seen[first + 4][1])
        assert all(torch.equal(seen[first][0], seen[i][0]) for i in range(first, first + 4))


def test_an_inner_run_over_all_that_is_left_is_the_plain_run(tiny_parts):
    """Its first finished picture is already the end of an Euler run."""
    plain, whole = run(tiny_parts, sampler("euler")), run(tiny_parts, nested(8))
    assert torch.equal(plain.latent.tensor, whole.latent.tensor)


def test_levels_of_inner_runs_go_down_to_nothing_and_take_what_the_schedule_has():
    sigmas = Sigmas((1.0, 0.8, 0.6, 0.3, 0.1, 0.0))
    assert inner_levels(sigmas, 0, 5) == sigmas.values
    assert inner_levels(sigmas, 3, 2) == (0.3, 0.1, 0.0)
    assert inner_levels(sigmas, 1, 2) == (0.8, 0.3, 0.0)
    assert inner_levels(sigmas, 0, 2) == pytest.approx((1.0, 0.45, 0.0))
    assert inner_levels(sigmas, 4, 4) == pytest.approx((0.1, 0.075, 0.05, 0.025, 0.0))


@pytest.mark.parametrize("index", range(1, 9))
def test_it_goes_on_from_any_step_bit_by_bit(index):
    latent = torch.randn((1, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    results = []
    whole = run_sampler(nested(3), denoise, latent, flow(10), noise=no_noise, on_step=results.append)
    before = results[index - 1]
    resume = (index, before.latent, before.memory)
    again = run_sampler(nested(3), denoise, latent, flow(10), noise=no_noise, resume=resume)
    assert torch.equal(again, whole)


def test_what_counts_on_a_straight_way_is_refused(tiny_parts):
    with pytest.raises(StudioError, match=r"step cache.*nested"):
        run(tiny_parts, nested(4), attachments=[attachment(taylor(2))])
    run(tiny_parts, nested(1), attachments=[attachment(taylor(2))])


@pytest.mark.parametrize("inner", [0, -1, 51])
def test_no_other_number_of_inner_steps_is_possible(inner):
    with pytest.raises(StudioError, match="not possible"):
        nested(inner)


def test_half_a_nested_run_is_nearer_to_the_end_than_the_plain_estimate():
    """On data with a known answer: the finished picture at half of the calls against the clean estimate of
    Euler at the same number of calls, both against the exact end of the path."""
    latent = torch.randn((1, 2, 16, 16), generator=torch.Generator().manual_seed(0))
    sigmas = flow(28, 3.0)
    shown = {}
    for rule in (nested(4), sampler("euler")):
        results = []
        run_sampler(rule, denoise, latent, sigmas, noise=no_noise, on_step=results.append)
        shown[rule.name] = results[13].denoised
    end = exact(latent, 0.0)
    far = {name: float((one - end).square().mean()) for name, one in shown.items()}
    assert far["nested"] < 0.5 * far["euler"]
