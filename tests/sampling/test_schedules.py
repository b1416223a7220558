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
from studio.sampling.schedules import (
    custom,
    flow,
    flow_diffusers,
    flux,
    flux_by_size,
    from_strength,
    schedule,
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
        ((1.0, 0.5, 0.6, 0.0), "not below"),
        ((1.0, 0.5, 0.5, 0.0), "not below"),
        ((1.0, math.nan, 0.0), "nan"),
        ((math.inf, 0.0), "inf"),
        ((1.0, -0.5, 0.0), "-0.5"),
        ((1.0, 0.5), "must be 0"),
        ((), "at least the final 0"),
        (tuple(range(5000, -1, -1)), "at most 1001"),
    ],
)
def test_lists_that_rise_or_hold_no_numbers_are_refused(values, words):
    with pytest.raises(StudioError, match=words):
        custom(values)


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
