"""Schedules against the scheduler of diffusers, and lists that cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import StudioError
from studio.sampling import spacing
from studio.sampling.schedules import (
    SCHEDULES,
    ays,
    custom,
    flow,
    flow_diffusers,
    flux,
    flux_by_size,
    from_strength,
    schedule,
    shift_by_size,
    written,
)
from studio.values import Sigmas


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 200), shift=st.sampled_from([0.5, 1.0, 1.7, 3.0, 3.16, 12.0]))
def test_flow_diffusers_is_what_the_scheduler_makes_bit_by_bit(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    assert torch.equal(torch.tensor(flow_diffusers(steps, shift).values), scheduler.sigmas)


def test_the_two_schedules_end_where_the_design_measured():
    assert flow_diffusers(28, 3.0).values[-3:] == pytest.approx((0.11091, 0.00893, 0), abs=5e-6)
    assert flow(28, 3.0).values[-3:] == pytest.approx((0.1875, 0.1, 0), abs=5e-6)


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 300), shift=st.floats(0.2, 15))
def test_flow_descends_from_one_to_zero(steps, shift):
    sigmas = flow(steps, shift)
    assert sigmas.values[0] == 1 and sigmas.values[-1] == 0 and sigmas.steps == steps


def test_strength_starts_where_diffusers_starts():
    sigmas = flow_diffusers(28, 3.0)
    for strength in (0.0, 0.1, 0.33, 0.5, 0.6, 0.999, 1.0):
        start = int(max(28 - min(28 * strength, 28), 0))
        assert from_strength(sigmas, strength).values == sigmas.values[start:]
    assert from_strength(sigmas, 0.0).steps == 0


@pytest.mark.parametrize("steps", [0, -1, 10**9, 2.5, True])
def test_impossible_numbers_of_steps_are_refused(steps):
    with pytest.raises(StudioError, match="1 to 1000"):
        flow(steps)
    with pytest.raises(StudioError, match="1 to 1000"):
        flow_diffusers(steps, 3.0)


@pytest.mark.parametrize("shift", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_impossible_shifts_are_refused(shift):
    with pytest.raises(StudioError, match="shift"):
        flow(4, shift)


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_impossible_strengths_are_refused(strength):
    with pytest.raises(StudioError, match=r"outside 0\.\.1"):
        from_strength(flow(4), strength)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((1.0, 0.5, 0.6, 0.0), "Entry 3 .* 0.6, not below"),
        ((1.0, 0.5, 0.5, 0.0), "Entry 3 .* not below"),
        ((1.0, math.nan, 0.0), "Entry 2 .* nan"),
        ((math.inf, 0.0), "Entry 1 .* inf"),
        ((1.0, -0.5, 0.0), "Entry 2 .* -0.5"),
        ((1.0, 0.5), "must be 0"),
        ((), "at least the final 0"),
        (tuple(range(5000, -1, -1)), "at most 1001"),
    ],
)
def test_lists_that_rise_or_hold_no_numbers_are_refused(values, words):
    with pytest.raises(StudioError, match=words) as caught:
        custom(values)
    assert caught.value.hint


def test_an_unknown_schedule_is_named_with_a_suggestion():
    with pytest.raises(StudioError, match="flow_diffusers"):
        schedule("flow_difusers", 4, 1.0)


def test_equal_lists_are_equal_values():
    assert custom(flow(5, 3.0).values) == Sigmas(flow(5, 3.0).values)


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 200), shift=st.sampled_from([0.5, 1.0, 1.7, 3.0, 3.16, 12.0]))
def test_flux_is_what_its_pipeline_makes_bit_by_bit(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=0.7)
    assert torch.equal(torch.tensor(flux(steps, shift).values), scheduler.sigmas)


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 200), tokens=st.integers(1, 20000))
def test_flux_by_size_is_what_its_pipeline_makes_bit_by_bit(steps, tokens):
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    scheduler.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=calculate_shift(tokens))
    assert torch.equal(torch.tensor(flux_by_size(steps, tokens).values), scheduler.sigmas)


def test_a_larger_picture_stays_longer_at_high_noise():
    small, large = flux_by_size(10, 256), flux_by_size(10, 4096)
    assert all(a < b for a, b in zip(small.values[1:-1], large.values[1:-1], strict=True))


@pytest.mark.parametrize("given", [{"tokens": 0}, {"tokens": 256, "max_shift": math.nan}, {"tokens": 2.5}])
def test_impossible_sizes_and_shifts_are_refused(given):
    with pytest.raises(StudioError, match="not possible"):
        flux_by_size(4, **given)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["karras", "exponential"]),
    steps=st.integers(1, 200),
    shift=st.sampled_from([0.5, 1.0, 1.7, 3.0, 12.0]),
)
def test_karras_and_exponential_are_what_the_scheduler_makes_bit_by_bit(name, steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift, **{f"use_{name}_sigmas": True})
    scheduler.set_timesteps(steps)
    assert torch.equal(torch.tensor(schedule(name, steps, shift).values), scheduler.sigmas)


def test_beta_is_what_the_scheduler_makes():
    # FlowMatchEulerDiscreteScheduler(shift=3.0, use_beta_sigmas=True) of 9 steps, with scipy 1.17 installed
    theirs = [1.0, 0.943354, 0.8258882, 0.6735594, 0.5044643, 0.3353692, 0.1830404, 0.0655746, 0.0089286, 0.0]
    assert schedule("beta", 9, 3.0).values == pytest.approx(theirs, abs=1e-7)


def test_quantiles_of_a_beta_distribution_are_those_known_in_closed_form():
    share = np.linspace(0, 1, 41)
    assert spacing.beta_quantile(share, 1, 1) == pytest.approx(share, abs=1e-12)
    assert spacing.beta_quantile(share, 0.5, 0.5) == pytest.approx(np.sin(np.pi * share / 2) ** 2, abs=1e-12)
    assert spacing.beta_quantile(share, 3, 1) == pytest.approx(share ** (1 / 3), abs=1e-12)
    assert spacing.beta_quantile(share, 1, 2.5) == pytest.approx(1 - (1 - share) ** 0.4, abs=1e-12)
    # 0.6, 0.6 by the midpoint rule, after x = t^5 / (t^5 + (1 - t)^5) has smoothed the ends
    t = (np.arange(200_000) + 0.5) / 200_000
    whole = t**5 + (1 - t) ** 5
    x, rest = t**5 / whole, (1 - t) ** 5 / whole
    weight = x**-0.4 * rest**-0.4 * 5 * (t * (1 - t)) ** 4 / whole**2
    below = np.cumsum(weight) / weight.sum()
    for at in (20_000, 60_000, 99_999, 150_000):
        middle = np.array([(x[at] + x[at + 1]) / 2])
        assert spacing.beta_share(middle, 0.6, 0.6)[0] == pytest.approx(below[at], abs=2e-6)


def test_a_flat_beta_is_even_and_the_usual_one_dense_at_both_ends():
    even = np.diff(spacing.beta((1.0, 0.1), 10, 1.0, 1.0).values[:-1])
    assert even == pytest.approx(np.full(9, -0.1), abs=1e-6)
    usual = -np.diff(schedule("beta", 11, 1.0).values[:-1])
    assert usual[0] < usual[4] > usual[-1] and usual[0] == pytest.approx(usual[-1], abs=1e-6)


def test_karras_becomes_exponential_with_a_large_rho():
    ends = (1.0, 0.01)
    assert spacing.karras(ends, 12, rho=100).values == pytest.approx(
        spacing.exponential(ends, 12).values, abs=0.02
    )


def test_align_your_steps_is_the_published_list_at_the_same_log_snr():
    published = (6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152)
    found = ays(10, 1.0)
    assert [v / (1 - v) for v in found.values[1:-1]] == pytest.approx(published, rel=1e-5)
    assert found.values[0] == 1 and found.values[-1] == 0
    shifted = ays(10, 3.0).values[1:-1]
    assert [v / (1 - v) for v in shifted] == pytest.approx([3 * p for p in published], rel=1e-5)
    # 19 steps hold the 10 levels, with their geometric means between them
    assert ays(19).values[2:-1:2] == pytest.approx(found.values[1:-1], abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    steps=st.integers(1, 1000),
    shift=st.floats(0.1, 20),
)
def test_every_schedule_falls_from_one_to_zero_and_can_be_sampled(name, steps, shift):
    sigmas = schedule(name, steps, shift)
    assert sigmas.steps == steps and sigmas.values[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["karras", "exponential", "beta", "ays", "ays_xl"])
@pytest.mark.parametrize(("steps", "shift"), [(0, 3.0), (2001, 3.0), (8, 0.0), (8, math.nan)])
def test_the_further_schedules_refuse_what_the_others_refuse(name, steps, shift):
    with pytest.raises(StudioError, match="not possible"):
        schedule(name, steps, shift)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_impossible_shapes_of_a_list_are_refused(wrong):
    with pytest.raises(StudioError, match="rho"):
        spacing.karras((1.0, 0.1), 4, rho=wrong)
    with pytest.raises(StudioError, match=r"a = .* not possible"):
        spacing.beta((1.0, 0.1), 4, a=wrong)


def test_the_shift_grows_with_the_side_of_the_picture():
    assert shift_by_size(256**2, 256**2, 3.0) == 3.0
    assert shift_by_size(1024**2, 512**2, 3.0) == pytest.approx(6.0)
    assert shift_by_size(128 * 128, 256**2, 3.0) == pytest.approx(1.5)
    with pytest.raises(StudioError, match="0 pixels"):
        shift_by_size(0, 256**2, 3.0)


def test_a_written_list_is_the_list():
    assert written("1, 0.5 0.25;0") == custom((1.0, 0.5, 0.25, 0.0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" , ;", "empty"),
        ("1, half, 0", "'half', entry 2 .* not a number"),
        ("1, nan, 0", "nan"),
        ("1, 0.5, 0.7, 0", "not below the one before"),
        ("1, 0.5", "must be 0"),
        ("14.6, 1, 0", "starts at 14.6"),
        ("1e400, 0", "inf"),
        ("-1, 0", "-1"),
    ],
)
def test_a_written_list_that_cannot_be_is_refused(text, words):
    with pytest.raises(StudioError, match=words) as caught:
        written(text)
    assert caught.value.hint
