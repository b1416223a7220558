"""Inversion: orders there and back on a field that is known exactly, the kept path, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.inversion import METHODS, invert, inverted, walk
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Sigmas, Step

MEANS, SPREAD = (-0.8, 1.1), 0.35
STEPS = 4


def field(x, step):
    """The velocity of a flow to two Gaussians, E[noise - data | x]: smooth at both ends."""
    alpha, sigma = 1 - step.sigma, step.sigma
    variance = alpha**2 * SPREAD**2 + sigma**2
    off = torch.stack([x - alpha * mean for mean in MEANS])
    weights = torch.softmax(-(off**2) / (2 * variance), dim=0)
    data = torch.tensor(MEANS, dtype=x.dtype).reshape(2, *[1] * x.ndim) + alpha * SPREAD**2 / variance * off
    return (weights * (sigma / variance * off - data)).sum(0)


def last(velocity, x, levels, method):
    for _, state in walk(velocity, x, levels, method):
        x = state
    return x


def round_trip(method, count):
    x = torch.linspace(-1.5, 2, 15, dtype=torch.float64)
    down = flow(count).values
    noise = last(field, x, down[::-1], method)
    return float((last(field, noise, down, method) - x).abs().max())


@pytest.mark.parametrize(
    ("method", "low", "high"), [("euler", 0.7, 1.3), ("midpoint", 2.5, 4), ("midpoint_reuse", 2.5, 4)]
)
def test_the_error_there_and_back_falls_with_the_order(method, low, high):
    counts = (16, 32, 64, 128)
    errors = [round_trip(method, count) for count in counts]
    slope = -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])
    assert low <= slope <= high, errors


def test_both_midpoint_rules_are_far_nearer_than_euler():
    euler, midpoint, reuse = (round_trip(method, 32) for method in METHODS)
    assert midpoint < euler / 100 and reuse < euler / 100


def test_the_second_order_form_of_rf_solver_is_the_midpoint_rule():
    x = torch.linspace(-1.5, 2, 15, dtype=torch.float64)
    step = Step(0, 1, 0.3, 0.45)
    h = step.sigma_next - step.sigma
    slope = field(x, step)
    derivative = (field(x + h / 2 * slope, step.at(step.sigma + h / 2)) - slope) / (h / 2)
    published = x + h * slope + h**2 / 2 * derivative
    assert (published - last(field, x, (0.3, 0.45), "midpoint")).abs().max() < 1e-14


@pytest.mark.parametrize(("method", "calls"), [("euler", 6), ("midpoint", 12), ("midpoint_reuse", 7)])
def test_a_walk_calls_the_network_as_often_as_it_says(method, calls):
    seen = []

    def counted(x, step):
        seen.append(step)
        return x * 0

    last(counted, torch.ones(1), flow(6).values[::-1], method)
    assert len(seen) == calls and {step.index for step in seen} == set(range(6))


@pytest.mark.parametrize("method", METHODS)
def test_the_sampler_of_the_name_walks_the_same_way_down(method):
    x = torch.linspace(-1.5, 2, 15, dtype=torch.float64)
    sigmas = flow(6)
    results = sampler(method).run(
        lambda latent, step: latent - step.sigma * field(latent, step), x, sigmas, noise=None
    )
    states = [state for _, state in walk(field, x, sigmas.values, method)]
    for result, state in zip(results, states, strict=True):
        assert (result.latent - state).abs().max() < 1e-12


@pytest.fixture
def run(tiny_parts, tiny_picture):
    def inverted_run(latent=tiny_picture, sigmas=None, text="a red star", **kwargs):
        prompts = (encode_prompt(tiny_parts, words, "it")[0] for words in (text, ""))
        return invert(tiny_parts, *prompts, latent, sigmas or flow(STEPS, 3.0), **kwargs)

    return inverted_run


def back(parts, path, sigmas, text="a red star", scale=1.0, **kwargs):
    prompts = [encode_prompt(parts, words, "it")[0] for words in (text, "")]
    name = sampler(path.sampler)
    return sample_run(parts, *prompts, inverted(path), sigmas, name, cfg(scale), **kwargs)


@pytest.mark.parametrize("method", METHODS)
def test_a_path_leads_from_the_picture_to_noise_and_back(run, tiny_parts, tiny_picture, method):
    sigmas = flow(12, 1.0)
    path = run(method=method, sigmas=sigmas)
    assert path.states.shape == (13, *tiny_picture.tensor.shape) and path.sampler == method
    assert torch.equal(path.states[-1], tiny_picture.tensor)
    assert torch.equal(path.at(sigmas.values[3]), path.states[3])
    noise = inverted(path)
    assert noise.sigma == 1.0 and noise.source is None and torch.equal(noise.tensor, path.states[0])
    made = back(tiny_parts, path, sigmas).latent
    away = float((made.tensor - tiny_picture.tensor).abs().mean())
    other = float(
        (back(tiny_parts, path, sigmas, text="a blue house").latent.tensor - made.tensor).abs().mean()
    )
    far = float((path.states[0] - tiny_picture.tensor).abs().mean())
    assert made.sigma == 0 and away < far / 4 and other > 1e-4


def test_a_path_may_end_at_the_strength_of_the_schedule(run, tiny_parts, tiny_picture):
    sigmas = from_strength(flow(10, 1.0), 0.5)
    path = run(sigmas=sigmas)
    assert inverted(path).sigma == sigmas.values[0] == pytest.approx(0.5)
    made = back(tiny_parts, path, sigmas).latent
    assert (made.tensor - tiny_picture.tensor).abs().mean() < 0.1


def test_a_latent_on_its_way_needs_the_schedule_that_starts_there(run, tiny_parts):
    path = run(sigmas=from_strength(flow(10, 1.0), 0.5))
    for other in (flow(10, 1.0), Sigmas((0.0,))):
        with pytest.raises(StudioError, match=r"stands at noise level 0\.5"):
            back(tiny_parts, path, other)


def test_without_a_guidance_scale_the_negative_prompt_is_not_asked_for(run, tiny_parts, recorded):
    distilled = bool(getattr(tiny_parts.transformer.config, "guidance_embeds", False))
    for scale, rows in ((1.0, 1), (2.0, 1 if distilled else 2)):
        with recorded(tiny_parts.transformer) as calls:
            run(scale=scale, method="euler")
        assert [call["hidden_states"].shape[0] for call in calls] == [rows] * STEPS


def test_values_of_the_first_steps_back_are_kept_and_change_nothing(run, tiny_parts):
    path, plain = run(keep_values=2, keep_from=0.0), run()
    assert torch.equal(path.states, plain.states) and not plain.values
    sites = {value.site for value in path.values}
    assert {(value.step, value.half) for value in path.values} == {
        (s, h) for s in (0, 1) for h in (True, False)
    }
    assert len(path.values) == 4 * len(sites)
    halved = run(keep_values=2, keep_from=0.5)
    assert 0 < len({value.site for value in halved.values}) < len(sites) or len(sites) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method": "midpont"}, "'midpont'"),
        ({"scale": -1.0}, "guidance of -1"),
        ({"keep_values": STEPS + 1}, "values of 5 steps"),
        ({"keep_values": -1}, "values of -1 steps"),
        ({"keep_from": 1.5}, "from 1.5"),
        ({"sigmas": Sigmas((0.0,))}, "leads nowhere"),
        ({"sigmas": Sigmas((14.0, 0.0))}, "from 1 to 0"),
        ({"latent": Latent(64, 64)}, "empty"),
        ({"latent": Latent(64, 64, tensor=torch.zeros(1, 4, 4, 4), family="sd3")}, "shape"),
    ],
)
def test_bad_input_is_refused_before_the_network_runs(run, tiny_parts, recorded, given, words):
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match=words):
        run(**given)
    assert not calls
